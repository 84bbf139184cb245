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
	d      *Decider[S, E]
	stream string
	remembered[S]
	unchecked bool   // the stream was not held against the remembered event yet
	losses    uint64 // what the cache had seen at the beginning
	base      uint64 // where the fold began: the version of a cached state or of a snapshot
	fresh     bool   // the stream was read to its end
	folded    int    // events read

	command uuid.UUID // zero: nothing is looked for
	next    uuid.UUID // of the command's event to be met next
	met     []eventstore.RecordedEvent
}

func (d *Decider[S, E]) folding(stream string) folding[S, E] {
	return folding[S, E]{d: d, stream: stream, losses: d.cache.lossesSeen()}
}

// lookFor makes the fold look for a command's events.
func (f *folding[S, E]) lookFor(command uuid.UUID) {
	if command != uuid.Nil {
		f.command, f.next = command, eventID(command, f.stream, 1)
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
	f.remembered, cached = f.d.cache.get(f.stream)
	if !cached && f.d.snapshots != nil {
		f.state, f.version = f.d.loadSnapshot(ctx, f.stream)
	}
	f.base = f.version
	f.unchecked = f.version > 0 && f.d.cache.size > 0 // which has the event's ID, or needs it
	return cached
}

// remember puts the state into the cache.
func (f *folding[S, E]) remember() { f.d.cache.put(f.stream, f.remembered, f.losses) }

// lost makes the fold begin at the start of a stream that has lost events.
func (f *folding[S, E]) lost(ctx context.Context) {
	f.d.logger.WarnContext(ctx, "a stream has lost events that were there; it is folded anew", "stream", f.stream, "remembered", f.version)
	f.d.cache.lost(f.stream)
	began := f.d.folding(f.stream)
	began.folded = f.folded
	began.lookFor(f.command)
	*f = began
}

// catchUp reads the stream to its end. Where it goes on from what the cache remembers, it
// begins with the last event of that, and folds the stream anew if it is not there.
func (f *folding[S, E]) catchUp(ctx context.Context) error {
	f.fresh = false
	after := f.version
	if f.unchecked {
		after--
	}
	for event, err := range f.d.store.ReadStream(ctx, f.stream, eventstore.ReadOptions{After: after}) {
		switch {
		case err != nil:
			return err
		case !f.unchecked:
			if err := f.take(ctx, event); err != nil {
				return err
			}
			continue
		case f.last != uuid.Nil && f.last != event.ID:
			f.lost(ctx)
			return f.catchUp(ctx)
		}
		f.last, f.unchecked = event.ID, false
	}
	if f.unchecked { // the stream ends before it
		f.lost(ctx)
		return f.catchUp(ctx)
	}
	f.fresh = true
	return nil
}

// take folds an event.
func (f *folding[S, E]) take(ctx context.Context, event eventstore.RecordedEvent) error {
	f.meet(event)
	value, ok, err := f.d.codec.Decode(ctx, event)
	if err != nil {
		return err
	}
	if ok {
		f.state = f.d.evolve(f.state, value)
	}
	f.version, f.last = event.Version, event.ID
	f.folded++
	return nil
}

// appended takes in that events were stored after the state. It returns false where the
// state is not to be kept.
//
// What others begin with, in the cache or a snapshot, is folded from the events as they
// are stored: it shares no memory with what was decided, and a codec that loses something
// cannot make it differ from the stream. Without either the state is the caller's alone,
// and is folded from what was decided, which saves decoding it.
func (f *folding[S, E]) appended(ctx context.Context, events []E, result eventstore.AppendResult) (kept bool) {
	before, d := f.version, f.d
	f.version, f.last = result.Version, result.Events[len(result.Events)-1].ID
	due := d.snapshotDue(before, f.version)
	if d.cache.size == 0 && !due {
		f.state = d.Fold(f.state, events...)
		return true
	}
	state := f.state
	for _, event := range result.Events {
		value, ok, err := d.codec.Decode(ctx, event)
		if err != nil {
			d.logger.WarnContext(ctx, "an event that was appended cannot be decoded; its state is not kept", "stream", f.stream, "version", event.Version, "error", err)
			f.state = d.Fold(f.state, events...)
			return false
		}
		if ok {
			state = d.evolve(state, value)
		}
	}
	f.state = state
	if due {
		d.saveSnapshot(ctx, f.stream, f.state, f.version)
	}
	return true
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
		if event.ID == f.next {
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
