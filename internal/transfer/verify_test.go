package transfer

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/eventstore"
)

func TestVerifyNamesTheFirstDifference(t *testing.T) {
	event := func() eventstore.Event {
		return eventstore.Event{
			ID: uuid.MustParse("01890a5d-ac96-774b-bcce-b302099a8057"), Type: "T", Data: []byte(`"x"`),
			ContentType: "application/json", Metadata: map[string]string{"k": "v"},
		}
	}
	for field, change := range map[string]func(e *eventstore.Event){
		"id":           func(e *eventstore.Event) { e.ID = uuid.New() },
		"type":         func(e *eventstore.Event) { e.Type = "U" },
		"content type": func(e *eventstore.Event) { e.ContentType = "text/plain" },
		"data":         func(e *eventstore.Event) { e.Data = []byte(`"y"`) },
		"metadata":     func(e *eventstore.Event) { e.Metadata = map[string]string{"k": "w"} },
		"event":        nil,
	} {
		t.Run(field, func(t *testing.T) {
			a, b := newStore(t, nil), newStore(t, nil)
			fill(t, a, 3, 30)
			fill(t, b, 3, 30)
			_, err := a.Append(t.Context(), "counter-1", eventstore.Exactly(10), event())
			require.NoError(t, err)
			if change != nil {
				changed := event()
				change(&changed)
				_, err = b.Append(t.Context(), "counter-1", eventstore.Exactly(10), changed)
				require.NoError(t, err)
			}
			_, err = b.Append(t.Context(), "later", eventstore.NoStream(), event())
			require.NoError(t, err)

			report, err := Verify(t.Context(), a, b, nil)
			require.NoError(t, err)
			require.False(t, report.Equal())
			require.Equal(t, 2, report.Differing)
			require.NotEqual(t, report.A.Digest, report.B.Digest)
			require.Equal(t, "counter-1", report.First.Stream)
			require.EqualValues(t, 11, report.First.Version)
			require.Equal(t, field, report.First.Field)
			require.NotEqual(t, report.First.A, report.First.B)
		})
	}
}

func TestVerifyNamesTheFirstEventOfAnotherOrder(t *testing.T) {
	a, b := newStore(t, nil), newStore(t, nil)
	one := eventstore.Event{ID: uuid.New(), Type: "T", Data: []byte("1")}
	for _, step := range []struct {
		store   *eventstore.Store
		streams []string
	}{{a, []string{"w", "x", "y", "z"}}, {b, []string{"w", "y", "x", "z"}}} {
		for _, stream := range step.streams {
			_, err := step.store.Append(t.Context(), stream, eventstore.NoStream(), one)
			require.NoError(t, err)
		}
	}
	report, err := Verify(t.Context(), a, b, nil)
	require.NoError(t, err)
	require.False(t, report.Equal())
	require.Zero(t, report.Differing)
	require.Equal(t, report.A, report.B, "each stream is the same")
	require.Equal(t, &Discrepancy{
		Stream: "x", Version: 1, Field: "order",
		A: `version 1 of stream "x" comes next`, B: `version 1 of stream "y" comes next`,
	}, report.First)
}

// What was changed, parked or skipped keeps its turn in the order.
func TestVerifyFindsAnotherOrderOfWhatWasChangedOnItsWay(t *testing.T) {
	for _, remedies := range [][]Remedy{{KeepBytes, Rename}, {Park}, {Skip}} {
		f := dirty()
		target := openFilled(t, strict{memory.New(), nil})
		_, err := Copy(t.Context(), openFilled(t, f), target, &CopyOptions{OnRefused: remedies})
		require.NoError(t, err)
		swapped := 0
		for i := range len(f.events) - 1 {
			if f.events[i].Stream == f.events[i+1].Stream {
				continue
			}
			other := *f
			other.events = slices.Clone(f.events)
			x, y := &other.events[i], &other.events[i+1]
			*x, *y = *y, *x
			x.Position, y.Position = y.Position, x.Position
			report, err := Verify(t.Context(), target, openFilled(t, &other), nil)
			require.NoError(t, err)
			require.False(t, report.Equal())
			require.Zero(t, report.Differing)
			require.Equal(t, "order", report.First.Field)
			require.Equal(t, f.events[i].Stream, report.First.Stream)
			require.Equal(t, f.events[i].Version, report.First.Version)
			swapped++
		}
		require.Greater(t, swapped, 10)
	}
}

func TestTheOrderOfEventsHasADigestOfItsOwn(t *testing.T) {
	x := eventstore.RecordedEvent{Stream: "x", Version: 1, Event: eventstore.Event{ID: uuid.New(), Type: "T"}}
	y := x
	y.Stream = "y" // the same event in another stream
	one, two := NewDigests(false, ""), NewDigests(false, "")
	one.Add(x)
	one.Add(y)
	two.Add(y)
	two.Add(x)
	require.Equal(t, one.Summary(), two.Summary())
	require.NotEqual(t, one.Order, two.Order)
	copied := one.Clone()
	one.Add(eventstore.RecordedEvent{Stream: "x", Version: 2})
	require.Equal(t, 2, copied.Events)
	require.NotEqual(t, one.Streams["x"], copied.Streams["x"])
	n, first := one.Differing(copied)
	require.Equal(t, 1, n)
	require.Equal(t, "x", first)
}

func TestMeasureCountsWhatAStoreHolds(t *testing.T) {
	store := newStore(t, nil)
	empty, err := Measure(t.Context(), store, nil)
	require.NoError(t, err)
	require.Zero(t, empty.Events)
	fill(t, store, 4, 10)
	_, err = store.Append(t.Context(), "single", eventstore.NoStream(), eventstore.Event{Type: "T", Data: []byte("{}")})
	require.NoError(t, err)
	stats, err := Measure(t.Context(), store, nil)
	require.NoError(t, err)
	require.Equal(t, 11, stats.Events)
	require.Equal(t, 5, stats.Streams)
	require.Equal(t, "counter-0", stats.Longest)
	require.EqualValues(t, 3, stats.Version)
	require.Equal(t, []CategoryStats{
		{Category: "counter", Streams: 4, Events: 10, Version: 3},
		{Category: "single", Streams: 1, Events: 1, Version: 1},
	}, stats.Categories)
}

// late is a memory store whose streams may begin later than at version 1.
type late struct{ *memory.Backend }

func (l late) Capabilities() eventstore.Capabilities {
	caps := l.Backend.Capabilities()
	caps.WholeStreams = eventstore.No("this double has none")
	return caps
}

func (l late) ReadAll(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
	page, err := l.Backend.ReadAll(ctx, req)
	for i := range page.Events {
		page.Events[i].Version += 5
	}
	return page, err
}

func (l late) ReadStream(ctx context.Context, req eventstore.ReadStreamRequest) (eventstore.Page, error) {
	req.After = max(req.After, 5) - 5
	page, err := l.Backend.ReadStream(ctx, req)
	for i := range page.Events {
		page.Events[i].Version += 5
	}
	return page, err
}

func TestMeasureCountsStreamsThatBeginLater(t *testing.T) {
	store := newStore(t, late{memory.New()})
	fill(t, store, 4, 10)
	stats, err := Measure(t.Context(), store, nil)
	require.NoError(t, err)
	require.Equal(t, 4, stats.Streams)
	require.Equal(t, []CategoryStats{{Category: "counter", Streams: 4, Events: 10, Version: 8}}, stats.Categories)
}

func TestMeasureTellsThatAStoreIsSealed(t *testing.T) {
	store := newStore(t, nil)
	stats, err := Measure(t.Context(), store, nil)
	require.NoError(t, err)
	require.False(t, stats.Sealed)
	_, err = store.Seal(t.Context(), "moved")
	require.NoError(t, err)
	stats, err = Measure(t.Context(), store, nil)
	require.NoError(t, err)
	require.True(t, stats.Sealed)
	require.Equal(t, "moved", stats.SealReason)
}

func TestADifferenceIsNamedInAStreamWhoseNameMayNotBeWritten(t *testing.T) {
	const stream = "cart-1\t2"
	stores := make([]*eventstore.Store, 2)
	for i := range stores {
		backend := memory.New()
		for n := range 3 {
			event := eventstore.Event{ID: uuid.NewSHA1(uuid.Nil, []byte{byte(n)}), Type: "T", ContentType: eventstore.JSONContentType, Data: []byte("1")}
			if n == 2 {
				event.Data = fmt.Append(nil, i)
			}
			_, err := backend.Append(t.Context(), eventstore.AppendRequest{Parts: []eventstore.StreamAppend{
				{Stream: stream, Expected: eventstore.Any(), Events: []eventstore.Event{event}},
			}})
			require.NoError(t, err)
		}
		stores[i] = newStore(t, backend)
	}
	report, err := Verify(t.Context(), stores[0], stores[1], nil)
	require.NoError(t, err)
	require.Equal(t, 1, report.Differing)
	require.Equal(t, stream, report.First.Stream)
	require.Equal(t, uint64(3), report.First.Version)
	require.Equal(t, "data", report.First.Field)
}

func TestADifferenceIsNamedByItsVersionInStreamsThatBeginLater(t *testing.T) {
	stores := make([]*eventstore.Store, 2)
	for i := range stores {
		backend := memory.New()
		fill(t, newStore(t, backend), 1, 4)
		stores[i] = newStore(t, late{backend})
	}
	_, err := stores[1].Append(t.Context(), "counter-0", eventstore.Any(), eventstore.Event{Type: "T", Data: []byte("1")})
	require.NoError(t, err)
	report, err := Verify(t.Context(), stores[0], stores[1], nil)
	require.NoError(t, err)
	require.Equal(t, uint64(10), report.First.Version, "the fifth, of a stream that begins at 6")
	require.Equal(t, "event", report.First.Field)
}

func TestTheFirstOfSeveralStreamsThatDifferIsTheFirstByName(t *testing.T) {
	a, b := NewDigests(false, ""), NewDigests(false, "")
	for _, stream := range []string{"c", "a", "e"} {
		a.Add(eventstore.RecordedEvent{Stream: stream, Version: 1})
	}
	for _, stream := range []string{"d", "b"} {
		b.Add(eventstore.RecordedEvent{Stream: stream, Version: 1})
	}
	for range 20 { // of a map, in whatever order
		n, first := a.Differing(b)
		require.Equal(t, 5, n)
		require.Equal(t, "a", first)
	}
}

// A stream that was renamed, numbered anew or partly put apart differs where the source's
// event is another one, and not where it was changed on its way.
func TestVerifyNamesTheFirstDifferenceOfWhatWasChangedOnItsWay(t *testing.T) {
	for _, remedies := range [][]Remedy{{KeepBytes, Rename}, {Park}, {Skip}} {
		f := dirty()
		target := openFilled(t, strict{memory.New(), nil})
		_, err := Copy(t.Context(), openFilled(t, f), target, &CopyOptions{OnRefused: remedies})
		require.NoError(t, err)
		for i, event := range f.events {
			changed := *f
			changed.events = slices.Clone(f.events)
			changed.events[i].Data = []byte(`{"changed":true}`)
			source := openFilled(t, &changed)
			for _, pair := range [][2]*eventstore.Store{{source, target}, {target, source}} {
				report, err := Verify(t.Context(), pair[0], pair[1], nil)
				require.NoError(t, err, "%v, %v", remedies, event.Place())
				require.Equal(t, 1, report.Differing)
				require.Equal(t, event.Stream, report.First.Stream, "%v", remedies)
				require.Equal(t, event.Version, report.First.Version, "%v, %v", remedies, event.Place())
				require.Contains(t, []string{"data", "content"}, report.First.Field, "%v, %v", remedies, event.Place())
				require.NotEqual(t, report.First.A, report.First.B)
			}
			changed.events = slices.Delete(slices.Clone(f.events), i, i+1)
			report, err := Verify(t.Context(), openFilled(t, &changed), target, nil)
			require.NoError(t, err)
			require.Equal(t, event.Stream, report.First.Stream, "%v", remedies)
			require.Equal(t, event.Version, report.First.Version, "%v, %v", remedies, event.Place())
		}
	}
}
