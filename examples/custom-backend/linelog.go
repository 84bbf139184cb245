package linelog

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/gofrs/flock"
	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventstore/adapter"
)

// lockRetry is how often a writer tries to get the file's lock.
const lockRetry = time.Millisecond

// Backend is one handle on a file; it implements [eventstore.Backend]. Several
// handles, also of several processes, may use one file.
type Backend struct {
	writing chan struct{} // has room for this handle's one writer,
	lock    *flock.Flock  // and this is held by the one of all handles
	hint    adapter.Hint  // wakes this handle's subscriptions

	mu     sync.Mutex // guards everything below
	file   *os.File
	closed bool
	offset int64           // the end of the last whole line that was read
	state  *memory.Backend // what the lines up to there add up to
}

var _ eventstore.Backend = (*Backend)(nil)

// line is one line of the file: exactly one field is set.
type line struct {
	Store          uuid.UUID                           `json:"store,omitzero"`
	Append         []eventstore.StreamAppend           `json:"append,omitempty"`
	Seal           *eventstore.SealRequest             `json:"seal,omitempty"`
	Save           *eventstore.SaveCheckpointRequest   `json:"save,omitempty"`
	Delete         *eventstore.DeleteCheckpointRequest `json:"delete,omitempty"`
	Swap           *eventstore.SwapLeaseRequest        `json:"swap,omitempty"`
	Snapshot       *eventstore.SaveSnapshotRequest     `json:"snapshot,omitempty"`
	DeleteSnapshot *eventstore.DeleteSnapshotRequest   `json:"deleteSnapshot,omitempty"`
}

// Open opens the file, and initialises it if it is new.
func Open(ctx context.Context, path string) (*Backend, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open line log: %w", err)
	}
	b := &Backend{file: file, writing: make(chan struct{}, 1), lock: flock.New(path + ".lock"), state: memory.New()}
	_, err = write(ctx, b, func() (none struct{}, entry *line, err error) {
		if b.offset > 0 {
			return none, nil, nil // somebody has initialised it
		}
		entry = &line{Store: uuid.New()}
		return none, entry, b.apply(ctx, *entry)
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
	b.hint.Notify() // so that this handle's subscriptions notice
	return errors.Join(b.file.Close(), b.lock.Close())
}

// read answers from a state that is up to date.
func read[T any](ctx context.Context, b *Backend, ask func() (T, error)) (none T, err error) {
	if err := ctx.Err(); err != nil {
		return none, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return none, eventstore.ErrClosed
	}
	if err := b.catchUp(ctx); err != nil {
		return none, err
	}
	return ask()
}

// write makes a change and appends its line, if there is one. The file's lock is
// held from the look at the state until the line is in the file, so that the lines
// are in the order in which their changes were made. Readers do not wait for it.
func write[T any](ctx context.Context, b *Backend, change func() (T, *line, error)) (none T, err error) {
	select {
	case b.writing <- struct{}{}: // the file's lock keeps out other handles only
		defer func() { <-b.writing }()
	case <-ctx.Done():
		return none, ctx.Err()
	}
	if _, err := b.lock.TryLockContext(ctx, lockRetry); err != nil {
		return none, fmt.Errorf("lock the line log: %w", err)
	}
	defer func() { _ = b.lock.Unlock() }()
	return read(ctx, b, func() (T, error) {
		result, entry, err := change()
		if err != nil || entry == nil {
			return result, err
		}
		if err := b.append(*entry); err != nil {
			// The change was made in memory alone. What the file holds is read anew.
			b.state, b.offset = memory.New(), 0
			return none, err
		}
		b.hint.Notify()
		return result, nil
	})
}

// append writes a line. Once it is in the file nothing may fail, for it is stored
// and every other handle sees it.
func (b *Backend) append(entry line) error {
	text, err := json.Marshal(entry)
	if err != nil {
		return fmt.Errorf("encode a line: %w", err)
	}
	text = append(text, '\n')
	// A writer that crashed may have left a line without its end: it was never
	// acknowledged, no reader took it, and it goes now.
	if err := b.file.Truncate(b.offset); err != nil {
		return fmt.Errorf("write the line log: %w", err)
	}
	if _, err := b.file.WriteAt(text, b.offset); err != nil {
		if undo := b.file.Truncate(b.offset); undo != nil {
			return fmt.Errorf("%w: %w", eventstore.ErrUnknownOutcome, errors.Join(err, undo))
		}
		return fmt.Errorf("write the line log: %w", err)
	}
	b.offset += int64(len(text))
	return nil
}

// catchUp makes the changes whose whole lines were added since the last time.
func (b *Backend) catchUp(ctx context.Context) error {
	reader := bufio.NewReader(io.NewSectionReader(b.file, b.offset, 1<<62))
	for {
		text, err := reader.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil // what is left has no end yet
		}
		if err != nil {
			return fmt.Errorf("read the line log: %w", err)
		}
		var entry line
		if err := json.Unmarshal(text, &entry); err != nil {
			return fmt.Errorf("the line at byte %d of the line log is damaged: %w", b.offset, err)
		}
		if err := b.apply(ctx, entry); err != nil {
			return fmt.Errorf("the line at byte %d of the line log: %w", b.offset, err)
		}
		b.offset += int64(len(text))
	}
}

// apply makes a line's change, which comes to the same as when it was made first.
func (b *Backend) apply(ctx context.Context, entry line) (err error) {
	records := b.state.Records()
	switch {
	case entry.Store != uuid.Nil:
		b.state = memory.NewLogWithID(entry.Store).Open(nil)
	case entry.Append != nil:
		for i := range entry.Append {
			entry.Append[i].Expected = eventstore.Any() // it was judged
		}
		_, err = b.state.Append(ctx, eventstore.AppendRequest{Parts: entry.Append})
	case entry.Seal != nil:
		_, err = b.state.Seal(ctx, *entry.Seal)
	case entry.Save != nil:
		err = records.Checkpoints.Save(ctx, *entry.Save)
	case entry.Delete != nil:
		err = records.Checkpoints.Delete(ctx, *entry.Delete)
	case entry.Swap != nil:
		_, err = records.Checkpoints.SwapLease(ctx, *entry.Swap)
	case entry.Snapshot != nil:
		err = records.Snapshots.Save(ctx, *entry.Snapshot)
	case entry.DeleteSnapshot != nil:
		err = records.Snapshots.Delete(ctx, *entry.DeleteSnapshot)
	}
	return err
}
