package eventstore

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"log/slog"
	"math/rand/v2"
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
	// RetryFor is how long an operation is tried again after ErrUnavailable or
	// ErrUnknownOutcome, within the context's deadline. Zero means 15 s; a
	// negative value means never.
	RetryFor time.Duration
	// PageSize is the most events that a read asks for at once; 0 means 512, and
	// 2,048 from the second page of a read on. A page also ends at 4 MiB. A
	// subscription holds one page in memory. A read holds one, and from its second
	// page on two: the next is fetched while the caller works.
	PageSize int
	// Logger hears of retries, lost subscriptions and failed handlers; nil logs
	// nothing.
	Logger *slog.Logger
	// Observe, where not nil, is called after each append with what it did. It
	// runs in the caller's goroutine.
	Observe func(context.Context, Observation)
}

// Observation is what [Options].Observe learns of an append.
type Observation struct {
	// Stream is the stream of the first part.
	Stream string
	// Events counts the events of all parts.
	Events   int
	Attempts int
	Duration time.Duration
	Err      error
}

const (
	defaultRetryFor = 15 * time.Second
	defaultPageSize = 512
	longPageSize    = 2048 // of a read that has shown to be long: what a page costs counts less
	maxPageBytes    = 4 << 20
)

// Store is an event store, whatever backend holds it. It is safe for concurrent use.
type Store struct {
	backend  Backend
	options  Options
	limits   Limits
	caps     Capabilities
	logger   *slog.Logger
	longPage int             // events a page, from the second of a read on
	lifetime context.Context //nolint:containedctx // the store's own lifetime: Close ends what runs in it
	end      context.CancelFunc
	closed   atomic.Bool
}

// New returns a Store over a backend, which the Store then owns: closing the
// Store closes it. New does no I/O. The error says which option is invalid or
// which capability the backend did not declare.
func New(backend Backend, opts *Options) (*Store, error) {
	if backend == nil {
		return nil, invalid("backend", "it is nil; open one, for example with memory.New")
	}
	s := &Store{backend: backend, caps: backend.Capabilities()}
	if opts != nil {
		s.options = *opts
	}
	if err := s.caps.Validate(); err != nil {
		return nil, &InvalidError{Field: "backend", Reason: err.Error()}
	}
	if s.options.PageSize < 0 {
		return nil, invalid("option PageSize", "%d is negative", s.options.PageSize)
	}
	s.longPage = cmp.Or(s.options.PageSize, longPageSize)
	if s.options.PageSize == 0 {
		s.options.PageSize = defaultPageSize
	}
	if s.options.RetryFor == 0 {
		s.options.RetryFor = defaultRetryFor
	}
	s.limits = PortableLimits()
	if s.options.BackendLimits {
		s.limits = s.caps.Limits
	}
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

// Close ends the store's subscriptions and closes the backend. Later calls on
// the store return ErrClosed; a second Close returns nil.
func (s *Store) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	s.end()
	return opError("close", "", s.backend.Close())
}

// Info is what identifies a store and says how far it extends.
type Info struct {
	// ID is the store's identity, written when it was first initialised.
	ID uuid.UUID
	// Head is the position of the last event; zero in an empty store.
	Head Position
}

// Info reads the store's identity and head.
func (s *Store) Info(ctx context.Context) (Info, error) {
	info, err := s.info(ctx)
	return info, opError("info", "", err)
}

func (s *Store) info(ctx context.Context) (Info, error) {
	if err := s.ready(ctx); err != nil {
		return Info{}, err
	}
	page, err := again(ctx, s, func() (Page, error) {
		return s.backend.ReadAll(ctx, ReadAllRequest{Backward: true, PageSize: PageSize{MaxEvents: 1, MaxBytes: 1}})
	})
	info := Info{ID: page.Store}
	if len(page.Events) > 0 {
		info.Head = page.Events[0].Position
	}
	return info, err
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

// again calls a read, and calls it again while the backend is unavailable.
func again[T any](ctx context.Context, s *Store, call func() (T, error)) (T, error) {
	result, err := call()
	if err == nil || !errors.Is(err, ErrUnavailable) {
		return result, err
	}
	for retry := s.newRetry(); ; {
		if !retry.wait(ctx) {
			return result, retry.giveUp(ctx, err)
		}
		if result, err = call(); err == nil || !errors.Is(err, ErrUnavailable) {
			return result, err
		}
	}
}

// jitter spreads a pause over ±25 % so that many callers do not return at once.
func jitter(d time.Duration) time.Duration {
	return d*3/4 + rand.N(d/2+1) //nolint:gosec // not a secret: it only spreads callers out
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
