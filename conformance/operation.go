package conformance

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// operation is one step of a differential run. It does not depend on the steps
// before it, so that a list stays meaningful when some are left out.
type operation struct {
	text string
	// run does the step and returns what a caller can see of its outcome, in
	// words that do not depend on the backend.
	run func(ctx context.Context, s *side) string
}

// abilities are what both sides of a differential run can do.
type abilities struct {
	multiStream, globalOrder, recordTime bool
	precision                            time.Duration
	window                               uint64
}

// generator makes operations. All chance comes from its seed.
type generator struct {
	abilities
	*rand.Rand
	streams, types, names []string

	past     map[string][]eventstore.Event // every event asked for, by stream
	sequence int
}

func generate(seed uint64, count int, can abilities) []operation {
	g := &generator{
		abilities: can,
		Rand:      rand.New(rand.NewPCG(seed, 0)), //nolint:gosec // repeatable on purpose
		streams:   []string{"Order-1", "Order-2", "Order", "order-1", "Cart-100%", "Cart-1_0"},
		types:     []string{"Placed", "placed", "Pla_ed", "Shipped"},
		names:     []string{"billing", "Billing"},
		past:      make(map[string][]eventstore.Event),
	}
	kinds := []struct {
		weight int
		make   func() operation
		needs  bool
	}{
		{30, g.append, true},
		{12, g.repeat, true},
		{8, g.reuse, true},
		{6, g.appendStreams, can.multiStream},
		{14, g.readStream, true},
		{14, g.readAll, can.globalOrder},
		{4, g.subscribe, can.globalOrder},
		{6, g.saveSnapshot, true},
		{4, g.loadSnapshot, true},
		{1, g.deleteSnapshot, true},
		{6, g.saveCheckpoint, can.globalOrder},
		{4, g.loadCheckpoint, can.globalOrder},
		{1, g.deleteCheckpoint, can.globalOrder},
	}
	var makers []func() operation
	for _, kind := range kinds {
		for range kind.weight {
			if kind.needs {
				makers = append(makers, kind.make)
			}
		}
	}
	list := make([]operation, 0, count+4)
	for range count {
		list = append(list, pick(g, makers)())
	}
	for handle := range 2 {
		for _, stream := range g.streams {
			list = append(list, readStreamOperation(handle, stream, eventstore.ReadOptions{}))
		}
		if can.globalOrder {
			list = append(list, readAllOperation(handle, noMark, noMark, eventstore.ReadAllOptions{}))
		}
	}
	return list
}

func pick[T any](g *generator, from []T) T { return from[g.IntN(len(from))] }

func (g *generator) handle() int { return g.IntN(2) }

// events makes 1 to 4 events that the stream has not seen.
func (g *generator) events(stream string) []eventstore.Event {
	events := make([]eventstore.Event, 1+g.IntN(4))
	for i := range events {
		g.sequence++
		events[i] = eventstore.Event{ID: g.id(), Type: pick(g, g.types), Data: fmt.Appendf(nil, `{"n": %d}`, g.sequence)}
		switch g.IntN(4) {
		case 0:
			events[i].ContentType = "application/octet-stream"
			events[i].Data = binary.BigEndian.AppendUint64(nil, g.Uint64())
		case 1:
			events[i] = events[i].WithCorrelationID(fmt.Sprint(g.IntN(3))).WithMetadata("note", "ä 'quoted' \"%_\\")
		}
	}
	g.past[stream] = append(g.past[stream], events...)
	return events
}

func (g *generator) id() uuid.UUID {
	var id uuid.UUID
	binary.BigEndian.PutUint64(id[:8], g.Uint64())
	binary.BigEndian.PutUint64(id[8:], g.Uint64())
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80 // version 4, RFC 9562
	return id
}

// condition is an expected version that is made when the stream's is known.
type condition struct {
	text string
	at   func(current uint64) eventstore.ExpectedVersion
}

func (g *generator) condition() condition {
	exactly := func(plus int) func(uint64) eventstore.ExpectedVersion {
		return func(current uint64) eventstore.ExpectedVersion {
			return eventstore.Exactly(uint64(max(0, int(current)+plus)))
		}
	}
	always := func(e eventstore.ExpectedVersion) func(uint64) eventstore.ExpectedVersion {
		return func(uint64) eventstore.ExpectedVersion { return e }
	}
	return pick(g, []condition{
		{"any", always(eventstore.Any())},
		{"any", always(eventstore.Any())},
		{"its version", exactly(0)},
		{"its version", exactly(0)},
		{"its version", exactly(0)},
		{"its version plus one", exactly(+1)},
		{"its version minus one", exactly(-1)},
		{"none", always(eventstore.NoStream())},
		{"exists", always(eventstore.StreamExists())},
		{"nothing valid", always(eventstore.ExpectedVersion{})},
	})
}

// stream is one of a few, which grow, or now and then one that nobody has used.
func (g *generator) stream() string {
	if g.IntN(8) == 0 {
		g.sequence++
		return fmt.Sprintf("Fresh-%d", g.sequence)
	}
	return pick(g, g.streams)
}

func (g *generator) append() operation {
	stream := g.stream()
	part := eventstore.StreamAppend{Stream: stream, Events: g.events(stream)}
	if g.recordTime && g.IntN(4) == 0 {
		part.RecordedAt = new(time.Unix(1_000_000_000+int64(g.IntN(1e9)), int64(g.IntN(1e9))).UTC().Truncate(g.precision))
		for i, event := range part.Events {
			part.Events[i] = event.WithMetadata(keptTime, "yes")
		}
	}
	return g.appendParts("append", part)
}

// appendParts appends to each part's stream with an expectation of its own.
func (g *generator) appendParts(verb string, parts ...eventstore.StreamAppend) operation {
	handle := g.handle()
	text := fmt.Sprintf("%s through handle %d:", verb, handle)
	conditions := make([]condition, len(parts))
	for i, part := range parts {
		conditions[i] = g.condition()
		text += fmt.Sprintf(" %d events to %q expecting %s;", len(part.Events), part.Stream, conditions[i].text)
	}
	return operation{text, func(ctx context.Context, s *side) string {
		asked := make([]eventstore.StreamAppend, len(parts))
		for i, part := range parts {
			current, err := s.handle(handle).StreamVersion(ctx, part.Stream)
			if err != nil {
				return describeError(err)
			}
			part.Expected = conditions[i].at(current)
			asked[i] = part
		}
		results, err := s.handle(handle).AppendStreams(ctx, asked...)
		if err != nil {
			return describeError(err)
		}
		return s.describeResults(results)
	}}
}

// recent returns a run of 1 to 4 events that were asked for earlier, near enough
// to the stream's end for a bounded idempotency window.
func (g *generator) recent(stream string) []eventstore.Event {
	past := g.past[stream]
	if g.window > 0 && uint64(len(past)) > g.window {
		past = past[uint64(len(past))-g.window:]
	}
	if len(past) == 0 {
		return g.events(stream)
	}
	start := g.IntN(len(past))
	end := min(len(past), start+1+g.IntN(4))
	return append([]eventstore.Event(nil), past[start:end]...)
}

// repeat appends events again, exactly as they were.
func (g *generator) repeat() operation {
	stream := pick(g, g.streams)
	return g.appendParts("repeat", eventstore.StreamAppend{Stream: stream, Events: g.recent(stream)})
}

// reuse appends events again with something changed.
func (g *generator) reuse() operation {
	stream := pick(g, g.streams)
	events := g.recent(stream)
	switch i := g.IntN(len(events)); g.IntN(6) {
	case 0:
		events[i].Type += "2"
	case 1:
		events[i].Data = []byte(`"changed"`)
	case 2:
		events[i] = events[i].WithMetadata("changed", "yes")
	case 3:
		events = append(events, g.events(stream)...)
	case 4:
		events = append(g.events(stream), events...)
	case 5:
		g.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
	}
	return g.appendParts("reuse", eventstore.StreamAppend{Stream: stream, Events: events})
}

func (g *generator) appendStreams() operation {
	var parts []eventstore.StreamAppend
	for range 2 + g.IntN(2) {
		stream := g.stream()
		events := g.events(stream)
		if g.IntN(4) == 0 {
			events = g.recent(stream)
		}
		parts = append(parts, eventstore.StreamAppend{Stream: stream, Events: events})
	}
	return g.appendParts("append", parts...)
}
