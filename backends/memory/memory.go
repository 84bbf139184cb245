package memory

import (
	"context"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// Log is a store's data: it lives as long as it is referred to.
type Log struct {
	id   uuid.UUID
	hint eventstore.Hint

	mu          sync.RWMutex
	events      chunks // the one at index i has the position i+1
	streams     map[string]*stream
	checkpoints map[string]eventstore.Checkpoint
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
func NewLog() *Log {
	return &Log{
		id:          uuid.New(),
		streams:     make(map[string]*stream),
		checkpoints: make(map[string]eventstore.Checkpoint),
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
		GlobalOrder:         eventstore.Yes(),
		LivePush:            eventstore.Yes(),
		PollInterval:        b.poll,
		PreservedRecordTime: eventstore.Yes(),
		Durability:          eventstore.SurvivesNothing,
		TimePrecision:       time.Nanosecond,
		Limits: eventstore.Limits{
			MaxAppendEvents: 1 << 20,
			MaxAppendBytes:  large,
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
	return eventstore.Follow(ctx, req, eventstore.FollowSource{Page: b.ReadAll, Hint: &b.log.hint, Poll: b.poll})
}

// Append implements [eventstore.Backend]. One lock is held from the check of the
// versions until the events can be read: that is what makes the order total and
// keeps late arrivals out.
func (b *Backend) Append(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.AppendResult, error) {
	if err := b.ready(ctx); err != nil {
		return nil, err
	}
	now := time.Now().UTC()
	results := make([]eventstore.AppendResult, len(req.Parts))
	if err := b.log.append(req.Parts, results, now); err != nil {
		return nil, err
	}
	b.log.hint.Notify()
	return results, nil
}

func (l *Log) append(parts []eventstore.StreamAppend, results []eventstore.AppendResult, now time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	before := l.events.length
	for i, part := range parts {
		result, err := l.appendPart(part, now)
		if err != nil {
			l.truncate(before)
			return err
		}
		results[i] = result
	}
	return nil
}

func (l *Log) appendPart(part eventstore.StreamAppend, now time.Time) (eventstore.AppendResult, error) {
	s := l.streams[part.Stream]
	decision, err := eventstore.Decide(part, s.version(), func(id uuid.UUID) (eventstore.RecordedEvent, bool, error) {
		i, ok := l.find(s, id)
		if !ok {
			return eventstore.RecordedEvent{}, false, nil
		}
		return *l.events.at(i), true, nil
	})
	if err != nil || !decision.Write {
		return decision.Result, err
	}
	if s == nil {
		s = &stream{}
		l.streams[part.Stream] = s
	}
	if !part.RecordedAt.IsZero() {
		now = part.RecordedAt.UTC()
	}
	first := s.version() + 1
	for _, event := range part.Events {
		l.add(s, part.Stream, event, now)
	}
	last := l.events.at(l.events.length - 1)
	return eventstore.AppendResult{FirstVersion: first, Version: last.Version, Position: last.Position}, nil
}

func (s *stream) version() uint64 {
	if s == nil {
		return 0
	}
	return uint64(len(s.versions))
}

// find returns the index in the log of the stream's event with this ID.
func (l *Log) find(s *stream, id uuid.UUID) (int, bool) {
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

// truncate takes back what a failed append of several parts wrote. Nobody has
// seen it, for the lock was held.
func (l *Log) truncate(length int) {
	for i := l.events.length - 1; i >= length; i-- {
		event := l.events.at(i)
		name := event.Stream
		s := l.streams[name]
		s.versions = s.versions[:len(s.versions)-1]
		delete(s.ids, event.ID)
		if len(s.versions) == 0 {
			delete(l.streams, name)
		}
	}
	l.events.truncate(length)
}
