package decider

import (
	"context"
	"strconv"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// folding is a stream's state as far as it is known, and which of the events met on the
// way are the command's.
type folding[S, E any] struct {
	d       *Decider[S, E]
	stream  string
	state   S
	version uint64
	base    uint64 // where the fold began: the version of a cached state or of a snapshot
	fresh   bool   // the stream was read to its end
	folded  int    // events read

	command uuid.UUID // zero: nothing is looked for
	first   uuid.UUID // of the command's events
	next    uuid.UUID // of the one to be met next
	met     []eventstore.RecordedEvent
}

func (d *Decider[S, E]) folding(stream string) folding[S, E] {
	return folding[S, E]{d: d, stream: stream}
}

// lookFor makes the fold look for a command's events.
func (f *folding[S, E]) lookFor(command uuid.UUID) {
	if command != uuid.Nil {
		f.command, f.first = command, eventID(command, f.stream, 1)
		f.next = f.first
	}
}

// eventID is that of a command's n-th event on a stream, from 1. The stream is part of
// it because a command may decide on several, and because some stores take an ID once.
func eventID(command uuid.UUID, stream string, n int) uuid.UUID {
	name := make([]byte, 0, 128)
	name = append(append(name, stream...), 0) // which no stream's name has in it
	return uuid.NewSHA1(command, strconv.AppendInt(name, int64(n), 10))
}

// begin takes what is remembered of the stream: a cached state, else a snapshot.
func (f *folding[S, E]) begin(ctx context.Context) (cached bool) {
	f.state, f.version, cached = f.d.cache.get(f.stream)
	if !cached && f.d.snapshots != nil {
		f.state, f.version = f.d.loadSnapshot(ctx, f.stream)
	}
	f.base = f.version
	return cached
}

// forget makes the fold begin at the stream's start.
func (f *folding[S, E]) forget() {
	f.d.cache.remove(f.stream)
	began := f.d.folding(f.stream)
	began.folded = f.folded
	began.lookFor(f.command)
	*f = began
}

// catchUp reads the stream to its end.
func (f *folding[S, E]) catchUp(ctx context.Context) error {
	for event, err := range f.d.store.ReadStream(ctx, f.stream, eventstore.ReadOptions{After: f.version}) {
		if err != nil {
			return err
		}
		if event.ID == f.next {
			f.meet(event)
		}
		value, ok, err := f.d.codec.Decode(ctx, event)
		if err != nil {
			return err
		}
		if ok {
			f.state = f.d.evolve(f.state, value)
		}
		f.version = event.Version
		f.folded++
	}
	f.fresh = true
	return nil
}

// meet notes an event that is the command's next one. The IDs are derived one at a
// time, when the one before was met: most events are of other commands.
func (f *folding[S, E]) meet(event eventstore.RecordedEvent) (met bool) {
	if event.ID != f.next || f.command == uuid.Nil {
		return false
	}
	f.met = append(f.met, event)
	f.next = eventID(f.command, f.stream, len(f.met)+1)
	return true
}

// search looks for the command's events among those that the fold did not read.
func (f *folding[S, E]) search(ctx context.Context) error {
	if f.command == uuid.Nil || f.base == 0 || len(f.met) > 0 {
		return nil
	}
	// Backward: what is repeated was mostly done a short while ago.
	for event, err := range f.d.store.ReadStream(ctx, f.stream, eventstore.ReadOptions{Before: f.base + 1, Backward: true}) {
		if err != nil {
			return err
		}
		if event.ID == f.first {
			return f.collect(ctx, event.Version)
		}
	}
	return nil
}

// collect reads the command's events, whose first one has a version.
func (f *folding[S, E]) collect(ctx context.Context, version uint64) error {
	for event, err := range f.d.store.ReadStream(ctx, f.stream, eventstore.ReadOptions{After: version - 1}) {
		if err != nil {
			return err
		}
		if !f.meet(event) {
			break
		}
	}
	return nil
}
