package memory

import (
	"context"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventstore/adapter"
)

// Log is a store's data: it lives as long as it is referred to.
type Log struct {
	id   uuid.UUID
	hint adapter.Hint

	mu          sync.RWMutex
	events      chunks // the one at index i has the position i+1
	seal        *eventstore.SealedError
	streams     map[string]*stream
	checkpoints map[string]adapter.Progress
	snapshots   map[snapshotKey]eventstore.Snapshot
}

// stream lists a stream's events: the version v is at index versions[v-1] of the log.
type stream struct {
	versions []int
	ids      map[uuid.UUID]int // from an ID to its index in the log; nil while the stream is short
}

// Above this length a stream gets a map of its event IDs; below, a scan is as
// fast and a short stream costs no map.
const scanLength = 8

// Options configures a handle. The zero value, like nil, means the defaults.
type Options struct {
	// Poll is how often a subscription looks for events if no hint reaches it;
	// 0 means 1 s.
	Poll time.Duration
}

// NewLog returns an empty log with an identity of its own.
func NewLog() *Log { return NewLogWithID(uuid.New()) }

// NewLogWithID returns an empty log with a given identity, as a copy of another
// store has that was restored from a backup.
func NewLogWithID(id uuid.UUID) *Log {
	return &Log{
		id:          id,
		streams:     make(map[string]*stream),
		checkpoints: make(map[string]adapter.Progress),
		snapshots:   make(map[snapshotKey]eventstore.Snapshot),
	}
}

// New returns a handle on a new log.
func New() *Backend { return NewLog().Open(nil) }

// Open returns a handle on the log. Closing one handle leaves the others open.
func (l *Log) Open(opts *Options) *Backend {
	b := &Backend{log: l, poll: time.Second}
	if opts != nil && opts.Poll > 0 {
		b.poll = opts.Poll
	}
	return b
}

// Backend is a handle on a [Log]; it implements [eventstore.Backend].
type Backend struct {
	log    *Log
	poll   time.Duration
	closed atomic.Bool
}

var _ eventstore.Backend = (*Backend)(nil)

// Capabilities declares what a memory store can do.
func (b *Backend) Capabilities() eventstore.Capabilities {
	const large = 1 << 30
	return eventstore.Capabilities{
		Backend:             "memory",
		MultiStreamAppend:   eventstore.Yes(),
		ContiguousAppends:   eventstore.Yes(),
		GlobalOrder:         eventstore.Yes(),
		WholeStreams:        eventstore.Yes(),
		ExactData:           eventstore.Yes(),
		BinaryData:          eventstore.Yes(),
		Metadata:            eventstore.Yes(),
		StreamScopedIDs:     eventstore.Yes(),
		Checkpoints:         eventstore.Yes(),
		Snapshots:           eventstore.Yes(),
		Seal:                eventstore.Yes(),
		LivePush:            eventstore.Yes(),
		PollInterval:        b.poll,
		PreservedRecordTime: eventstore.Yes(),
		Durability:          eventstore.SurvivesNothing,
		TimePrecision:       time.Nanosecond,
		Limits: eventstore.Limits{
			MaxAppendEvents: 1 << 20,
			MaxAppendBytes:  large,
			MaxAppendParts:  1 << 20,
			MaxEventBytes:   large,
			MaxStreamBytes:  1 << 16,
			MaxTypeBytes:    1 << 16,
		},
	}
}

// Close closes this handle.
func (b *Backend) Close() error {
	b.closed.Store(true)
	b.log.hint.Notify() // so that this handle's subscriptions notice
	return nil
}

func (b *Backend) ready(ctx context.Context) error {
	if b.closed.Load() {
		return eventstore.ErrClosed
	}
	return ctx.Err()
}

// Subscribe implements [eventstore.Backend].
func (b *Backend) Subscribe(ctx context.Context, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
	return adapter.Follow(ctx, req, adapter.FollowSource{Page: b.ReadAll, Info: b.Info, Hint: &b.log.hint, Poll: b.poll})
}

// Info implements [eventstore.Backend].
func (b *Backend) Info(ctx context.Context) (eventstore.Info, error) {
	if err := b.ready(ctx); err != nil {
		return eventstore.Info{}, err
	}
	b.log.mu.RLock()
	defer b.log.mu.RUnlock()
	return b.log.info(), nil
}

func (l *Log) info() eventstore.Info {
	info := eventstore.Info{ID: l.id, Head: l.place(l.events.length)}
	if l.seal != nil {
		info.Sealed, info.SealReason = true, l.seal.Reason
	}
	return info
}

// place is that of the event with a number, from 1; zero where there is none.
func (l *Log) place(number int) eventstore.Place {
	if number < 1 || number > l.events.length {
		return eventstore.Place{}
	}
	return l.events.at(number - 1).Place()
}

// Seal implements [eventstore.Backend].
func (b *Backend) Seal(ctx context.Context, req eventstore.SealRequest) (eventstore.Info, error) {
	if err := b.ready(ctx); err != nil {
		return eventstore.Info{}, err
	}
	b.log.mu.Lock()
	defer b.log.mu.Unlock()
	switch {
	case req.Lift:
		b.log.seal = nil
	case b.log.seal == nil:
		b.log.seal = &eventstore.SealedError{Reason: req.Reason}
	}
	b.log.hint.Notify()
	return b.log.info(), nil
}

// Append implements [eventstore.Backend]. One lock is held from the check of the
// versions until the events can be read: that is what makes the order total and
// keeps late arrivals out.
func (b *Backend) Append(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
	if err := b.ready(ctx); err != nil {
		return nil, err
	}
	results, err := b.log.append(req.Parts, time.Now().UTC())
	if err != nil {
		return nil, err
	}
	b.log.hint.Notify()
	return results, nil
}

func (l *Log) append(parts []eventstore.StreamAppend, now time.Time) ([]eventstore.PartResult, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	decisions, err := adapter.Judge(parts, adapter.Streams{Version: l.version, Find: l.find, Sealed: l.seal})
	if err != nil {
		return nil, err
	}
	results := make([]eventstore.PartResult, len(parts))
	for i, decision := range decisions {
		if decision.Write {
			results[i].Recorded = l.write(parts[i], now)
		} else {
			results[i] = eventstore.PartResult{Recorded: decision.Recorded, Duplicate: decision.Recorded != nil}
		}
	}
	return results, nil
}

func (l *Log) version(name string) (uint64, error) { return l.streams[name].version(), nil }

// find looks for an event's ID in a stream.
func (l *Log) find(name string, event eventstore.Event) (adapter.Met, error) {
	i, ok := l.index(l.streams[name], event.ID)
	if !ok {
		return adapter.Met{}, nil
	}
	stored := l.events.at(i)
	return adapter.Met{
		Found:    true,
		Recorded: eventstore.Recorded{Version: stored.Version, Position: stored.Position, RecordedAt: stored.RecordedAt},
		Same:     event.SameContent(stored.Event),
	}, nil
}

// write adds a part's events, which were judged under the same lock.
func (l *Log) write(part eventstore.StreamAppend, now time.Time) []eventstore.Recorded {
	s := l.streams[part.Stream]
	if s == nil {
		s = &stream{}
		l.streams[part.Stream] = s
	}
	if part.RecordedAt != nil {
		now = part.RecordedAt.UTC()
	}
	recorded := make([]eventstore.Recorded, len(part.Events))
	for i, event := range part.Events {
		l.add(s, part.Stream, event, now)
		recorded[i] = eventstore.Recorded{
			Version: s.version(), Position: eventstore.NewPosition(uint64(l.events.length), 0), RecordedAt: now,
		}
	}
	return recorded
}

func (s *stream) version() uint64 {
	if s == nil {
		return 0
	}
	return uint64(len(s.versions))
}

// index returns the index in the log of the stream's event with this ID.
func (l *Log) index(s *stream, id uuid.UUID) (int, bool) {
	if s == nil {
		return 0, false
	}
	if s.ids != nil {
		i, ok := s.ids[id]
		return i, ok
	}
	for _, i := range s.versions {
		if l.events.at(i).ID == id {
			return i, true
		}
	}
	return 0, false
}

func (l *Log) add(s *stream, name string, event eventstore.Event, at time.Time) {
	i := l.events.length
	s.versions = append(s.versions, i)
	l.events.add(eventstore.RecordedEvent{
		Event:      event,
		Stream:     name,
		Version:    s.version(),
		Position:   eventstore.NewPosition(uint64(i)+1, 0),
		RecordedAt: at,
	})
	switch {
	case s.ids != nil:
		s.ids[event.ID] = i
	case len(s.versions) > scanLength:
		s.ids = make(map[uuid.UUID]int, 2*scanLength)
		for _, j := range s.versions {
			s.ids[l.events.at(j).ID] = j
		}
	}
}
