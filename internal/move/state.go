package move

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/gob"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/transfer"
)

// state is what a move keeps in a file for its next start: the digests of what it
// has read. It is a cache. Where the stores no longer hold the events at its places
// it is dropped, and everything is read again.
type state struct {
	FromID, ToID uuid.UUID
	AsJSON       bool
	From, To     savedTail
}

// savedTail has a place's position as text, for its fields are its own.
type savedTail struct {
	Digests  *transfer.Digests
	Refused  *decisions
	Position string
	Stream   string
	Version  uint64
	ID       uuid.UUID
}

func (s savedTail) place() eventstore.Place {
	position, err := eventstore.ParsePosition(s.Position)
	if err != nil {
		return eventstore.Place{}
	}
	return eventstore.Place{Position: position, Stream: s.Stream, Version: s.Version, ID: s.ID}
}

// statePath returns the file of a move; "" where none is kept.
func statePath(dir string, from, to uuid.UUID) string {
	if dir == "" {
		return ""
	}
	return filepath.Join(dir, "move-"+from.String()+"-"+to.String())
}

// write stores a state, whole or not at all: a digest of it stands before it.
func (s *state) write(path string) error {
	var text bytes.Buffer
	text.Write(make([]byte, sha256.Size))
	if err := gob.NewEncoder(&text).Encode(s); err != nil {
		return fmt.Errorf("encode the state: %w", err)
	}
	sum := sha256.Sum256(text.Bytes()[sha256.Size:])
	copy(text.Bytes(), sum[:])
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("keep the state: %w", err)
	}
	next := path + ".next"
	if err := os.WriteFile(next, text.Bytes(), 0o600); err != nil {
		return fmt.Errorf("keep the state: %w", err)
	}
	if err := os.Rename(next, path); err != nil {
		return fmt.Errorf("keep the state: %w", err)
	}
	return nil
}

// readState returns the state of an earlier run; nil where there is none that is whole.
func readState(path string) *state {
	text, err := os.ReadFile(path)
	if err != nil || len(text) < sha256.Size {
		return nil
	}
	sum := sha256.Sum256(text[sha256.Size:])
	if !bytes.Equal(sum[:], text[:sha256.Size]) {
		return nil
	}
	s := new(state)
	if gob.NewDecoder(bytes.NewReader(text[sha256.Size:])).Decode(s) != nil {
		return nil
	}
	return s
}

// load takes up the digests of an earlier run, each where its store still holds the
// event up to which they were taken.
func (m *mover) load(ctx context.Context) error {
	saved := readState(m.statePath)
	if saved == nil || saved.FromID != m.fromInfo.ID || saved.ToID != m.toInfo.ID || saved.AsJSON != m.asJSON {
		return nil
	}
	for _, side := range []struct {
		tail   *tail
		saved  savedTail
		before *int
	}{{m.fromTail, saved.From, &m.report.From.Before}, {m.toTail, saved.To, &m.report.To.Before}} {
		place := side.saved.place()
		if side.saved.Digests == nil || side.saved.Digests.Streams == nil || !place.Named() {
			continue
		}
		here, ok, err := transfer.Holds(ctx, side.tail.store, place)
		if err != nil {
			return fmt.Errorf("%s: %w", side.tail.name, err)
		}
		if ok && here == place {
			side.tail.digests, side.tail.place, m.resumed = side.saved.Digests, place, true
			if side.tail.refused != nil && side.saved.Refused != nil {
				side.tail.refused = side.saved.Refused
			}
			*side.before = side.saved.Digests.Events
		}
	}
	return nil
}

// keepState stores the state again and again, so that it costs at most a twentieth
// of the time, until ctx is done or writers wait. Where it cannot, it gives up;
// saveState is called once more by who can say so.
func (m *mover) keepState(ctx context.Context) {
	pause := m.opts.StateEvery
	for m.statePath != "" && !m.closing.Load() {
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		began := time.Now()
		if m.saveState() != nil {
			return
		}
		pause = max(m.opts.StateEvery, 20*time.Since(began))
	}
}

// keepStateNow stores the state, where one is kept, or says why it cannot.
func (m *mover) keepStateNow() {
	if m.statePath == "" {
		return
	}
	if err := m.saveState(); err != nil {
		m.tell("the digests are not kept for a next start, which will read both stores again: %v", err)
	}
}

func (m *mover) saveState() error {
	m.saving.Lock()
	defer m.saving.Unlock()
	s := &state{FromID: m.fromInfo.ID, ToID: m.toInfo.ID, AsJSON: m.asJSON, From: m.fromTail.saved(), To: m.toTail.saved()}
	return s.write(m.statePath)
}

// dropState removes the file of a move that is done.
func (m *mover) dropState() {
	if m.statePath != "" {
		_ = os.Remove(m.statePath) // a file that stays is read by nobody
		_ = os.Remove(m.sealedAtPath())
	}
}
