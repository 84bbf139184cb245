package decider

import (
	"cmp"
	"container/list"
	"context"
	"fmt"
	"iter"
	"log/slog"
	"time"

	"github.com/switchyard-dev/switchyard/codec"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// Decider decides on streams whose events E add up to a state S. It is safe for
// concurrent use.
type Decider[S, E any] struct {
	store     *eventstore.Store
	codec     *codec.Codec[E]
	evolve    func(S, E) S
	retry     Retry
	cache     cache[S]
	snapshots *Snapshots
	turns     turns
	metadata  bool // events may have some
	tracer    Tracer
	logger    *slog.Logger
}

// Options configures a [Decider]. The zero value, like nil, means the defaults.
type Options struct {
	// Retry says how often a decision that was overtaken is made anew.
	Retry Retry
	// CacheSize is how many states are kept in memory, by stream, the least recently
	// used out first; 0 is none. A state in the cache saves reading its stream. One that
	// is old is never wrong in effect: what is decided on it is only appended if it is
	// the newest, and what cannot be appended, a refusal or a decision that there is
	// nothing to do, is decided again on the newest.
	//
	// Only a store that loses events, restored from a backup under a running process, can
	// make it wrong: an append may meet a stream that has grown again to exactly the
	// version remembered. Whatever reads the stream notices: it finds another event where
	// the last one was, and folds the stream anew.
	CacheSize int
	// Snapshots, where not nil, keeps states in the store, so that a long stream need
	// not be read from its start.
	Snapshots *Snapshots
	// Tracer, where not nil, hears of every [Decider.Do], at its start and its end.
	Tracer Tracer
	// Logger hears of snapshots that are of no use or cannot be kept, of streams that
	// lost events, and of a Tracer that panics; nil logs nothing.
	Logger *slog.Logger
}

// Retry says how often and how fast a decision is made again after a conflict.
type Retry struct {
	// Attempts counts the decisions of a call, the first one too; 0 means 10. A decision
	// on a state from the cache that was not read up to date does not count: that it was
	// old is no sign of a crowd.
	Attempts int
	// Pause bounds the random wait after the first conflict; it doubles up to
	// MaxPause. 0 means 2 ms, and 250 ms for MaxPause.
	Pause, MaxPause time.Duration
}

// New returns a Decider. evolve returns the state after an event; S's zero value is the
// state before the first one. evolve is pure: it changes nothing that the state it is given
// points to, because others hold that state. It copies a map before it changes it, with
// maps.Clone, and a slice with slices.Clone; it appends to slices.Clip(s), because append
// writes into the room behind a slice, which states share. Package eventtest checks that.
//
// Errors: ErrInvalid names what is missing or out of range; ErrUnsupported for
// Snapshots, on a store without.
func New[S, E any](store *eventstore.Store, c *codec.Codec[E], evolve func(S, E) S, opts *Options) (*Decider[S, E], error) {
	switch {
	case store == nil:
		return nil, invalid("store", "it is nil; make one with eventstore.New")
	case c == nil:
		return nil, invalid("codec", "it is nil; make one with codec.New")
	case evolve == nil:
		return nil, invalid("evolve", "it is nil; give the function that returns the state after an event")
	}
	var o Options
	if opts != nil {
		o = *opts
	}
	d := &Decider[S, E]{store: store, codec: c, evolve: evolve, retry: o.Retry, tracer: o.Tracer, logger: o.Logger, metadata: store.Capabilities().Metadata.Supported()}
	if err := d.retry.fill(); err != nil {
		return nil, err
	}
	if o.CacheSize < 0 {
		return nil, invalid("option CacheSize", "%d is negative; 0 is no cache", o.CacheSize)
	}
	d.cache.size, d.cache.entries = o.CacheSize, make(map[string]*list.Element)
	var err error
	if d.snapshots, err = o.Snapshots.checked(store); err != nil {
		return nil, err
	}
	d.turns.waiting = make(map[string][]chan struct{})
	d.logger = cmp.Or(d.logger, slog.New(slog.DiscardHandler))
	return d, nil
}

func invalid(field, format string, args ...any) error {
	return &eventstore.InvalidError{Field: field, Reason: fmt.Sprintf(format, args...)}
}

// fill puts in the defaults.
func (r *Retry) fill() error {
	if r.Attempts < 0 || r.Pause < 0 || r.MaxPause < 0 {
		return invalid("option Retry", "a number or a duration is negative; zero means the default")
	}
	r.Attempts = cmp.Or(r.Attempts, 10)
	r.Pause = cmp.Or(r.Pause, 2*time.Millisecond)
	r.MaxPause = cmp.Or(r.MaxPause, 250*time.Millisecond)
	return nil
}

// Load returns a stream's state and version as they are now; of an absent stream, zeros
// and no error. It always reads: with a cache or a snapshot what is new, and of the cache
// the last event that it remembers. What the state points to is shared with other calls:
// the caller does not change it.
//
// Errors: ErrUnknownEvent, and what else keeps an event from being decoded; those of
// [eventstore.Store.ReadStream].
func (d *Decider[S, E]) Load(ctx context.Context, stream string) (S, uint64, error) {
	f := d.folding(stream)
	f.begin(ctx)
	if err := f.catchUp(ctx); err != nil {
		var none S
		return none, 0, err
	}
	f.remember()
	return f.state, f.version, nil
}

// Fold returns what events make of a state. It does no I/O, and the state that it is given
// stays as it is.
func (d *Decider[S, E]) Fold(state S, events ...E) S {
	for _, event := range events {
		state = d.evolve(state, event)
	}
	return state
}

// Read yields a stream's events after a version, decoded; 0 is all of them. It ends
// after the first error; errors are as in [Decider.Load].
func (d *Decider[S, E]) Read(ctx context.Context, stream string, after uint64) iter.Seq2[codec.Decoded[E], error] {
	return d.codec.Each(ctx, d.store.ReadStream(ctx, stream, eventstore.ReadOptions{After: after}))
}
