package conformance

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// noMark stands for the zero position where a mark is asked for.
const noMark = -1

// manyEvents ends a read that a broken backend would never end. No list of
// operations writes so many.
const manyEvents = 100_000

// keptTime is the metadata key of events whose record time both sides preserve.
const keptTime = "kept-time"

// mark is the n-th place that an append of this side ended at, or the zero one.
func (s *side) mark(n int) eventstore.Place {
	if n == noMark || len(s.marks) == 0 {
		return eventstore.Place{}
	}
	return s.marks[n%len(s.marks)]
}

// describeMark names a position by the append that returned it.
func (s *side) describeMark(p eventstore.Position) string {
	if p.IsZero() {
		return "zero"
	}
	if i, ok := s.index[p]; ok {
		return fmt.Sprintf("the end of append %d", i)
	}
	return "inside an append"
}

func (s *side) describeResults(results []eventstore.AppendResult) string {
	var b strings.Builder
	for _, r := range results {
		if _, known := s.index[r.Position]; !known && !r.Duplicate {
			s.index[r.Position] = len(s.marks)
			s.marks = append(s.marks, r.Events[len(r.Events)-1].Place())
		}
		fmt.Fprintf(&b, "versions %d to %d, duplicate %t, %s; ", firstVersion(r), r.Version, r.Duplicate, s.describeMark(r.Position))
	}
	return b.String()
}

// describeEvents lists what a read found, and says where its positions are not
// in order.
func (s *side) describeEvents(events []eventstore.RecordedEvent, backward bool) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d events", len(events))
	for i, e := range events {
		hash := fnv.New64a()
		fmt.Fprintf(hash, "%s|%q|%q|%q|%q", e.ID, e.Type, e.Data, e.ContentType, e.Metadata)
		fmt.Fprintf(&b, "; %q %d %x %s", e.Stream, e.Version, hash.Sum64(), s.describeMark(e.Position))
		if e.Metadata[keptTime] != "" {
			b.WriteString(" recorded " + e.RecordedAt.Format(time.RFC3339Nano))
		}
		if i > 0 && events[i-1].Position.Before(e.Position) == backward {
			b.WriteString(" POSITION OUT OF ORDER")
		}
	}
	return b.String()
}

// describeError names an error by its class and the facts that the contract gives it.
func describeError(err error) string {
	var conflict *eventstore.ConflictError
	var invalid *eventstore.InvalidError
	var reused *eventstore.EventIDReusedError
	switch {
	case err == nil:
		return "no error"
	case errors.As(err, &conflict):
		return fmt.Sprintf("conflict on %q: expected %s, actual %d", conflict.Stream, conflict.Expected, conflict.Actual)
	case errors.As(err, &invalid):
		return "invalid " + invalid.Field
	case errors.As(err, &reused):
		return fmt.Sprintf("event ID reused in %q", reused.Stream)
	}
	for _, class := range []error{
		eventstore.ErrInvalid, eventstore.ErrConflict, eventstore.ErrEventIDReused, eventstore.ErrUnknownOutcome,
		eventstore.ErrUnsupported, eventstore.ErrClosed, eventstore.ErrUnavailable,
		eventstore.ErrForeignCheckpoint, eventstore.ErrCheckpointAhead,
	} {
		if errors.Is(err, class) {
			return class.Error()
		}
	}
	return "an error of no class"
}

func (g *generator) readStream() operation {
	opts := eventstore.ReadOptions{Backward: g.IntN(2) == 0}
	for _, bound := range []*uint64{&opts.After, &opts.Before} {
		if g.IntN(2) == 0 {
			*bound = g.Uint64N(12)
		}
	}
	if g.IntN(2) == 0 {
		opts.Limit = g.IntN(8)
	}
	stream := pick(g, g.streams)
	if g.IntN(8) == 0 {
		stream = "Absent-1"
	}
	return readStreamOperation(g.handle(), stream, opts)
}

func readStreamOperation(handle int, stream string, opts eventstore.ReadOptions) operation {
	text := fmt.Sprintf("read stream %q through handle %d: %+v", stream, handle, opts)
	return operation{text, func(ctx context.Context, s *side) string {
		events, err := collectAtMost(manyEvents, s.handle(handle).ReadStream(ctx, stream, opts))
		if err != nil {
			return describeError(err)
		}
		return s.describeEvents(events, opts.Backward)
	}}
}

// position chooses a mark: one for each append so far, roughly, or none.
func (g *generator) position() int {
	if g.IntN(2) == 0 {
		return noMark
	}
	return g.IntN(1 << 16)
}

func (g *generator) filter() eventstore.Filter {
	var f eventstore.Filter
	for g.IntN(4) == 0 {
		f.Categories = append(f.Categories, eventstore.Category(pick(g, g.streams)))
	}
	for g.IntN(4) == 0 {
		stream := pick(g, g.streams)
		f.StreamPrefixes = append(f.StreamPrefixes, pick(g, []string{stream[:1+g.IntN(len(stream))], "%", "Cart-1%", "Order_", "O%r", "ORDER"}))
	}
	for g.IntN(4) == 0 {
		f.Types = append(f.Types, pick(g, g.types))
	}
	return f
}

func (g *generator) readAll() operation {
	opts := eventstore.ReadAllOptions{Backward: g.IntN(2) == 0, Filter: g.filter()}
	if g.IntN(2) == 0 {
		opts.Limit = g.IntN(12)
	}
	return readAllOperation(g.handle(), g.position(), g.position(), opts)
}

func readAllOperation(handle, after, before int, opts eventstore.ReadAllOptions) operation {
	text := fmt.Sprintf("read all through handle %d, after mark %d, before mark %d: backward %t, limit %d, filter %+v",
		handle, after, before, opts.Backward, opts.Limit, opts.Filter)
	return operation{text, func(ctx context.Context, s *side) string {
		opts := opts
		opts.After, opts.Before = s.mark(after).Position, s.mark(before).Position
		events, err := collectAtMost(manyEvents, s.handle(handle).ReadAll(ctx, opts))
		if err != nil {
			return describeError(err)
		}
		return s.describeEvents(events, opts.Backward)
	}}
}

// subscribe subscribes after a mark and leaves when it has caught up.
func (g *generator) subscribe() operation {
	handle, after, filter := g.handle(), g.position(), g.filter()
	text := fmt.Sprintf("subscribe through handle %d after mark %d until caught up: filter %+v", handle, after, filter)
	return operation{text, func(ctx context.Context, s *side) string {
		var events []eventstore.RecordedEvent
		for message, err := range s.handle(handle).Subscribe(ctx, eventstore.SubscribeOptions{After: s.mark(after).Position, Filter: filter}) {
			switch {
			case err != nil:
				return describeError(err)
			case message.Kind == eventstore.MessageEvent:
				events = append(events, message.Event)
			case message.Kind == eventstore.MessageCaughtUp:
				return s.describeEvents(events, false)
			}
		}
		return "the subscription ended without an error"
	}}
}

func (g *generator) saveSnapshot() operation {
	handle, stream, kind := g.handle(), pick(g, g.streams[:3]), pick(g, g.names)
	back, schema, data := g.IntN(6)-1, g.IntN(3), fmt.Appendf(nil, "%x\x00\xff", g.Uint64())
	text := fmt.Sprintf("save snapshot %q of %q through handle %d: %d before the stream's version, schema %d", kind, stream, handle, back, schema)
	return operation{text, func(ctx context.Context, s *side) string {
		current, err := s.handle(handle).StreamVersion(ctx, stream)
		if err != nil {
			return describeError(err)
		}
		saved := describeError(s.handle(handle).SaveSnapshot(ctx, eventstore.Snapshot{
			Stream: stream, Type: kind, Version: uint64(max(0, int(current)-back)), SchemaVersion: schema, Data: data,
		}))
		return saved + "; then " + s.describeSnapshot(ctx, handle, stream, kind)
	}}
}

func (s *side) describeSnapshot(ctx context.Context, handle int, stream, kind string) string {
	snapshot, ok, err := s.handle(handle).LoadSnapshot(ctx, stream, kind)
	if err != nil || !ok {
		return fmt.Sprintf("found %t, %s", ok, describeError(err))
	}
	return fmt.Sprintf("%q %q at %d, schema %d: %q", snapshot.Stream, snapshot.Type, snapshot.Version, snapshot.SchemaVersion, snapshot.Data)
}

func (g *generator) loadSnapshot() operation {
	handle, stream, kind := g.handle(), pick(g, g.streams[:3]), pick(g, g.names)
	text := fmt.Sprintf("load snapshot %q of %q through handle %d", kind, stream, handle)
	return operation{text, func(ctx context.Context, s *side) string {
		return s.describeSnapshot(ctx, handle, stream, kind)
	}}
}

func (g *generator) deleteSnapshot() operation {
	handle, stream, kind := g.handle(), pick(g, g.streams[:3]), pick(g, g.names)
	text := fmt.Sprintf("delete snapshot %q of %q through handle %d", kind, stream, handle)
	return operation{text, func(ctx context.Context, s *side) string {
		return describeError(s.handle(handle).DeleteSnapshot(ctx, stream, kind))
	}}
}

// saveCheckpoint saves one of this store, and now and then one that must be
// refused: of another store, or ahead of the head.
func (g *generator) saveCheckpoint() operation {
	handle, name, at, what := g.handle(), pick(g, g.names), g.position(), g.IntN(8)
	foreign := g.id()
	text := fmt.Sprintf("save checkpoint %q through handle %d at mark %d (foreign %t, ahead %t)", name, handle, at, what == 0, what == 1)
	return operation{text, func(ctx context.Context, s *side) string {
		info, err := s.handle(handle).Info(ctx)
		if err != nil {
			return describeError(err)
		}
		checkpoint := eventstore.Checkpoint{Name: name, Store: info.ID, Place: s.mark(at)}
		switch what {
		case 0:
			checkpoint.Store = foreign
		case 1:
			checkpoint.Place = placeBeyond(info.Head)
		}
		saved := describeError(s.handle(handle).SaveCheckpoint(ctx, checkpoint))
		return saved + "; then " + s.describeCheckpoint(ctx, handle, name)
	}}
}

func (s *side) describeCheckpoint(ctx context.Context, handle int, name string) string {
	checkpoint, ok, err := s.handle(handle).LoadCheckpoint(ctx, name)
	if err != nil || !ok {
		return fmt.Sprintf("found %t, %s", ok, describeError(err))
	}
	info, err := s.handle(handle).Info(ctx)
	if err != nil {
		return describeError(err)
	}
	return fmt.Sprintf("%q of this store: %t, at %s", checkpoint.Name, checkpoint.Store == info.ID && info.ID != uuid.Nil, s.describeMark(checkpoint.Place.Position))
}

func (g *generator) loadCheckpoint() operation {
	handle, name := g.handle(), pick(g, g.names)
	text := fmt.Sprintf("load checkpoint %q through handle %d", name, handle)
	return operation{text, func(ctx context.Context, s *side) string {
		return s.describeCheckpoint(ctx, handle, name)
	}}
}

func (g *generator) deleteCheckpoint() operation {
	handle, name := g.handle(), pick(g, g.names)
	text := fmt.Sprintf("delete checkpoint %q through handle %d", name, handle)
	return operation{text, func(ctx context.Context, s *side) string {
		return describeError(s.handle(handle).DeleteCheckpoint(ctx, name))
	}}
}

// placeBeyond returns a place that no store with this head has reached.
func placeBeyond(head eventstore.Place) eventstore.Place {
	head.Stream = cmp.Or(head.Stream, "Order-beyond")
	head.Position, head.Version = beyond(head.Position), head.Version+1<<40
	return head
}

// beyond returns a position that no store with this head has reached.
func beyond(head eventstore.Position) eventstore.Position {
	hi, lo := head.Words()
	return eventstore.NewPosition(hi+1<<40, lo)
}
