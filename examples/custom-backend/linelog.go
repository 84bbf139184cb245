package linelog

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"sync"
	"time"

	"github.com/gofrs/flock"
	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// Poll is how often a subscription looks for events of other handles, and
// lockRetry how often a writer tries to get the file's lock.
const (
	Poll      = 20 * time.Millisecond
	lockRetry = time.Millisecond
)

// Backend is one handle on a file; it implements [eventstore.Backend]. Several
// handles, also of several processes, may use one file.
type Backend struct {
	lock *flock.Flock // held by the one writer

	mu     sync.Mutex // guards everything below
	file   *os.File
	offset int64 // the end of the last whole line that was read
	state
	closed bool
}

// state is what the lines of the file add up to.
type state struct {
	store       uuid.UUID
	events      []eventstore.RecordedEvent // the one at index i has the position i+1
	streams     map[string][]int           // a stream's events, as indexes
	ids         map[eventKey]int
	checkpoints map[string]eventstore.Checkpoint
	snapshots   map[snapshotKey]eventstore.Snapshot
}

type (
	eventKey struct {
		stream string
		id     uuid.UUID
	}
	snapshotKey struct{ stream, snapshotType string }
)

var _ eventstore.Backend = (*Backend)(nil)

// Open opens the file, and initialises it if it is new.
func Open(ctx context.Context, path string) (*Backend, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open line log: %w", err)
	}
	b := &Backend{file: file, lock: flock.New(path + ".lock"), state: state{
		streams:     make(map[string][]int),
		ids:         make(map[eventKey]int),
		checkpoints: make(map[string]eventstore.Checkpoint),
		snapshots:   make(map[snapshotKey]eventstore.Snapshot),
	}}
	err = b.write(ctx, func() (*line, error) {
		if b.store != uuid.Nil {
			return nil, nil
		}
		return &line{Store: uuid.New()}, nil
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open line log: %w", err), b.Close())
	}
	return b, nil
}

// Close closes this handle.
func (b *Backend) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil
	}
	b.closed = true
	return errors.Join(b.file.Close(), b.lock.Close())
}

// Capabilities declares what a line log can do.
func (b *Backend) Capabilities() eventstore.Capabilities {
	return eventstore.Capabilities{
		Backend:             "linelog",
		MultiStreamAppend:   eventstore.Yes(),
		GlobalOrder:         eventstore.Yes(),
		LivePush:            eventstore.No("a file tells nobody that it grew"),
		PollInterval:        Poll,
		PreservedRecordTime: eventstore.Yes(),
		Durability:          eventstore.SurvivesProcessCrash, // written, not flushed
		TimePrecision:       time.Nanosecond,
		Limits:              eventstore.PortableLimits(),
	}
}

// Append implements [eventstore.Backend]. The lock is held from the check of the
// versions until the line is in the file: readers see lines in the order in
// which their writers checked.
func (b *Backend) Append(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.AppendResult, error) {
	results := make([]eventstore.AppendResult, len(req.Parts))
	err := b.write(ctx, func() (*line, error) {
		now, entry := time.Now().UTC(), &line{}
		written := &written{Backend: b, versions: make(map[string]uint64), ids: make(map[eventKey]eventstore.RecordedEvent)}
		for i, part := range req.Parts {
			decision, err := eventstore.Decide(part, written.version(part.Stream), written.find(part.Stream))
			if err != nil {
				return nil, err
			}
			if !decision.Write {
				results[i] = decision.Result
				continue
			}
			at := now
			if !part.RecordedAt.IsZero() {
				at = part.RecordedAt.UTC()
			}
			results[i].FirstVersion = written.version(part.Stream) + 1
			for _, event := range part.Events {
				recorded := written.add(part.Stream, event, at)
				entry.Append = append(entry.Append, recorded)
				results[i].Version, results[i].Position = recorded.Version, recorded.Position
			}
		}
		if len(entry.Append) == 0 {
			return nil, nil // all of it was there
		}
		return entry, nil
	})
	if err != nil {
		return nil, err
	}
	return results, nil
}

// written is the state together with what the append at hand adds to it, for
// later parts see what earlier ones write.
type written struct {
	*Backend
	count    int
	versions map[string]uint64
	ids      map[eventKey]eventstore.RecordedEvent
}

func (w *written) version(stream string) uint64 {
	return max(w.versions[stream], uint64(len(w.streams[stream])))
}

func (w *written) find(stream string) func(uuid.UUID) (eventstore.RecordedEvent, bool, error) {
	return func(id uuid.UUID) (eventstore.RecordedEvent, bool, error) {
		if i, ok := w.Backend.ids[eventKey{stream, id}]; ok {
			return w.events[i], true, nil
		}
		event, ok := w.ids[eventKey{stream, id}]
		return event, ok, nil
	}
}

func (w *written) add(stream string, event eventstore.Event, at time.Time) eventstore.RecordedEvent {
	w.count++
	recorded := eventstore.RecordedEvent{
		Event: event, Stream: stream, RecordedAt: at,
		Version:  w.version(stream) + 1,
		Position: eventstore.NewPosition(uint64(len(w.events)+w.count), 0),
	}
	w.versions[stream] = recorded.Version
	w.ids[eventKey{stream, event.ID}] = recorded
	return recorded
}

// Subscribe implements [eventstore.Backend].
func (b *Backend) Subscribe(ctx context.Context, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
	return eventstore.Follow(ctx, req, eventstore.FollowSource{Page: b.ReadAll, Poll: Poll})
}

// line is one line of the file: exactly one field is set.
type line struct {
	Store             uuid.UUID                  `json:"store,omitzero"`
	Append            []eventstore.RecordedEvent `json:"append,omitempty"`
	Checkpoint        *eventstore.Checkpoint     `json:"checkpoint,omitempty"`
	CheckpointDeleted string                     `json:"checkpointDeleted,omitempty"`
	Snapshot          *eventstore.Snapshot       `json:"snapshot,omitempty"`
	SnapshotDeleted   *eventstore.Snapshot       `json:"snapshotDeleted,omitempty"`
}

// write appends the line that decide returns, holding the file's lock. Nothing
// is written where decide returns nil or an error.
func (b *Backend) write(ctx context.Context, decide func() (*line, error)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return eventstore.ErrClosed
	}
	if _, err := b.lock.TryLockContext(ctx, lockRetry); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("%w: lock the line log: %w", eventstore.ErrUnavailable, err)
	}
	defer func() { _ = b.lock.Unlock() }()
	if err := b.catchUp(); err != nil {
		return err
	}
	entry, err := decide()
	if err != nil || entry == nil {
		return err
	}
	text, err := json.Marshal(entry)
	if err != nil {
		return fmt.Errorf("encode a line: %w", err)
	}
	// A writer that crashed may have left a line without its end: it was never
	// acknowledged, no reader took it, and it goes now.
	if err := b.file.Truncate(b.offset); err != nil {
		return fmt.Errorf("%w: %w", eventstore.ErrUnavailable, err)
	}
	if _, err := b.file.WriteAt(append(text, '\n'), b.offset); err != nil {
		if undo := b.file.Truncate(b.offset); undo != nil {
			return fmt.Errorf("%w: %w", eventstore.ErrUnknownOutcome, errors.Join(err, undo))
		}
		return fmt.Errorf("%w: %w", eventstore.ErrUnavailable, err)
	}
	return b.catchUp()
}

// catchUp reads the whole lines that were added since the last time.
func (b *Backend) catchUp() error {
	reader := bufio.NewReader(io.NewSectionReader(b.file, b.offset, 1<<62))
	for {
		text, err := reader.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil // what is left has no end yet
		}
		if err != nil {
			return fmt.Errorf("%w: read the line log: %w", eventstore.ErrUnavailable, err)
		}
		var entry line
		if err := json.Unmarshal(text, &entry); err != nil {
			return fmt.Errorf("the line at byte %d of the line log is damaged: %w", b.offset, err)
		}
		b.apply(entry)
		b.offset += int64(len(text))
	}
}

func (s *state) apply(entry line) {
	if entry.Store != uuid.Nil {
		s.store = entry.Store
	}
	for _, event := range entry.Append {
		i := len(s.events)
		s.events = append(s.events, event)
		s.streams[event.Stream] = append(s.streams[event.Stream], i)
		s.ids[eventKey{event.Stream, event.ID}] = i
	}
	if c := entry.Checkpoint; c != nil {
		s.checkpoints[c.Name] = *c
	}
	delete(s.checkpoints, entry.CheckpointDeleted)
	if c := entry.Snapshot; c != nil {
		s.snapshots[snapshotKey{c.Stream, c.Type}] = *c
	}
	if c := entry.SnapshotDeleted; c != nil {
		delete(s.snapshots, snapshotKey{c.Stream, c.Type})
	}
}
