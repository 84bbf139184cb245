package eventstore

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
)

// Options configures a [Store]. The zero value, like nil, means the defaults.
type Options struct {
	// BackendLimits lifts [PortableLimits] to the backend's own limits.
	BackendLimits bool
	// AllowReserved accepts stream IDs and event types that start with '$'.
	AllowReserved bool
	// ReadAnyName lets a stream be read whose ID no append is allowed, because it is
	// too long or has control characters: other programs may have written it. An ID
	// that is empty, no UTF-8, or has a NUL is still refused.
	ReadAnyName bool
	// RetryFor is how long an operation is tried again after ErrUnavailable or
	// ErrUnknownOutcome, within the context's deadline. Zero means 15 s; a
	// negative value means never.
	RetryFor time.Duration
	// PageSize is the most events that a read asks for at once; 0 means 512, then
	// 2,048, and 8,192 from the third page of a read on. A page also ends at 4 MiB. A
	// subscription holds one page in memory. A read holds one, and from its second
	// page on two: the next is fetched while the caller works.
	PageSize int
	// Logger hears of retries, lost subscriptions and failed handlers; nil logs
	// nothing.
	Logger *slog.Logger
	// Tracer, where not nil, hears of every append, read, subscription and call of
	// a handler, at its start and at its end.
	Tracer Tracer
}

const (
	defaultRetryFor = 15 * time.Second
	defaultPageSize = 512
	pageGrowth      = 4    // of a read that shows to be long: what a page costs counts less
	longPageSize    = 8192 // is as far as it goes
	maxPageBytes    = 4 << 20
)

// Store is an event store, whatever backend holds it. It is safe for concurrent use.
type Store struct {
	backend  Backend
	records  Records
	options  Options
	limits   Limits
	names    names
	caps     Capabilities
	logger   *slog.Logger
	longPage int             // the most events of a page, however long a read is
	lifetime context.Context //nolint:containedctx // the store's own lifetime: Close ends what runs in it
	end      context.CancelFunc
	closed   atomic.Bool

	mu      sync.Mutex
	running map[string]struct{} // the names of durable subscriptions that run
	idle    chan struct{}       // closed once the store is closed and none runs
}

// New returns a Store over a backend, which the Store then owns: closing the
// Store closes it. New does no I/O. The error says which option is invalid. What
// the backend does not declare is taken as absent.
func New(backend Backend, opts *Options) (*Store, error) {
	if backend == nil {
		return nil, invalid("backend", "it is nil; open one, for example with memory.New")
	}
	s := &Store{backend: backend, caps: backend.Capabilities().orAbsent(), records: backend.Records(), running: make(map[string]struct{}), idle: make(chan struct{})}
	if opts != nil {
		s.options = *opts
	}
	if s.options.PageSize < 0 {
		return nil, invalid("option PageSize", "%d is negative", s.options.PageSize)
	}
	if s.caps.Checkpoints.supported && s.records.Checkpoints == nil || s.caps.Snapshots.supported && s.records.Snapshots == nil {
		return nil, invalid("backend", "it declares Checkpoints or Snapshots and its Records have none")
	}
	var err error
	if s.names, err = s.caps.Limits.names(); err != nil {
		return nil, &InvalidError{Field: "backend", Reason: err.Error()}
	}
	s.longPage = cmp.Or(s.options.PageSize, longPageSize)
	s.options.PageSize = cmp.Or(s.options.PageSize, defaultPageSize)
	s.options.RetryFor = cmp.Or(s.options.RetryFor, defaultRetryFor)
	s.limits = PortableLimits()
	if s.options.BackendLimits {
		s.limits = s.caps.Limits
	}
	s.limits.StreamPattern, s.limits.TypePattern = s.caps.Limits.StreamPattern, s.caps.Limits.TypePattern
	s.logger = s.options.Logger
	if s.logger == nil {
		s.logger = slog.New(slog.DiscardHandler)
	}
	s.lifetime, s.end = context.WithCancel(context.Background())
	return s, nil
}

// Capabilities returns what the backend declares. It does no I/O.
func (s *Store) Capabilities() Capabilities { return s.caps }

// Limits returns the limits in force. It does no I/O.
func (s *Store) Limits() Limits { return s.limits }

// Close ends the store's subscriptions, also while their handlers work, and
// closes the backend. Durable subscriptions whose handlers heed their context save
// their checkpoints and release their leases first; Close waits for that for 1 s
// at most. Later calls on the store return ErrClosed; a second Close returns nil.
func (s *Store) Close() error {
	s.mu.Lock()
	again := s.closed.Swap(true)
	if !again && len(s.running) == 0 {
		close(s.idle)
	}
	s.mu.Unlock()
	if again {
		return nil
	}
	s.end()
	timer := time.NewTimer(closeGrace)
	defer timer.Stop()
	select {
	case <-s.idle:
	case <-timer.C:
	}
	return opError("close", "", s.backend.Close())
}

// closeGrace is how long Close waits for durable subscriptions: a handler that
// does not heed its context, or that calls Close itself, must not hold it up.
const closeGrace = time.Second

// Info is what identifies a store and says how far it extends.
type Info struct {
	// ID is the store's identity, written when it was first initialised.
	ID uuid.UUID
	// Head is the place of the last event; zero in an empty store, and without
	// GlobalOrder.
	Head Place
	// Sealed is true where appends are refused, and SealReason says why.
	Sealed     bool
	SealReason string
}

// Info reads the store's identity, its last event and whether it is sealed.
func (s *Store) Info(ctx context.Context) (Info, error) {
	info, err := s.info(ctx)
	return info, opError("info", "", err)
}

func (s *Store) info(ctx context.Context) (Info, error) {
	if err := s.ready(ctx); err != nil {
		return Info{}, err
	}
	return again(ctx, s, func() (Info, error) { return s.backend.Info(ctx) })
}

// ready refuses a call on a closed store or with a done context, before any I/O.
func (s *Store) ready(ctx context.Context) error {
	if s.closed.Load() {
		return ErrClosed
	}
	return ctx.Err()
}

func (s *Store) pageSize() PageSize {
	return PageSize{MaxEvents: s.options.PageSize, MaxBytes: maxPageBytes}
}

func (s *Store) unsupported(feature string, capability Capability) error {
	return &UnsupportedError{Feature: feature, Reason: capability.reason}
}

// untilClosed returns a context that also ends, with the cause ErrClosed, when
// the store is closed.
func (s *Store) untilClosed(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(s.lifetime, func() { cancel(ErrClosed) })
	return ctx, func() {
		stop()
		cancel(nil)
	}
}

// ended returns why a context is done: ErrClosed where the store was closed.
func ended(ctx context.Context) error {
	if errors.Is(context.Cause(ctx), ErrClosed) {
		return ErrClosed
	}
	return ctx.Err()
}

// single makes an iterator yield an error when it is ranged over a second time.
func single[T any](seq iter.Seq2[T, error]) iter.Seq2[T, error] {
	var used atomic.Bool
	return func(yield func(T, error) bool) {
		if used.Swap(true) {
			var none T
			yield(none, invalid("iterator", "it was used before; each read and subscription is for one use, so call the method again"))
			return
		}
		seq(yield)
	}
}
