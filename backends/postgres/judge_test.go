package postgres_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
)

func part(stream string, expected eventstore.ExpectedVersion, events ...eventstore.Event) eventstore.StreamAppend {
	for i := range events {
		events[i].ContentType = eventstore.JSONContentType
		if events[i].ID == uuid.Nil {
			events[i].ID = uuid.New()
		}
	}
	return eventstore.StreamAppend{Stream: stream, Expected: expected, Events: events}
}

func TestAPartWithoutEventsOnlyChecksItsStream(t *testing.T) {
	store, backend, _ := openStore(t)
	_, err := store.Append(t.Context(), "account-1", eventstore.NoStream(), event("Opened", "{}"))
	require.NoError(t, err)
	appendParts := func(parts ...eventstore.StreamAppend) ([]eventstore.AppendResult, error) {
		return backend.Append(t.Context(), eventstore.AppendRequest{Parts: parts})
	}
	order := part("order-1", eventstore.NoStream(), event("Placed", "{}"))
	_, err = appendParts(order, part("account-1", eventstore.Exactly(2)))
	var conflict *eventstore.ConflictError
	require.ErrorAs(t, err, &conflict)
	require.Equal(t, "account-1", conflict.Stream)
	require.EqualValues(t, 1, conflict.Actual)
	version, err := store.StreamVersion(t.Context(), "order-1")
	require.NoError(t, err)
	require.Zero(t, version, "a check that fails lets nothing be written")

	results, err := appendParts(part("account-1", eventstore.Exactly(1)), order, part("absent", eventstore.NoStream()))
	require.NoError(t, err)
	require.Equal(t, []eventstore.AppendResult{
		{Version: 1}, {FirstVersion: 1, Version: 1, Position: eventstore.NewPosition(2, 0)}, {},
	}, results)

	_, err = store.Append(t.Context(), "account-1", eventstore.Exactly(1), event("Closed", "{}"))
	require.NoError(t, err)
	results, err = appendParts(part("account-1", eventstore.Exactly(1)), order)
	require.NoError(t, err, "a repetition's checks are not judged again")
	require.True(t, results[1].Duplicate)
	require.Equal(t, eventstore.NewPosition(2, 0), results[1].Position)

	_, err = appendParts(part("account-1", eventstore.Exactly(1)), order, part("order-2", eventstore.NoStream(), event("Placed", "{}")))
	require.ErrorAs(t, err, &conflict, "it is no repetition, for a part of it is new")
	results, err = appendParts(part("account-1", eventstore.Exactly(2)), order, part("order-2", eventstore.NoStream(), event("Placed", "{}")))
	require.NoError(t, err, "one part was stored before, the other is new")
	require.True(t, results[1].Duplicate)
	require.Equal(t, eventstore.AppendResult{FirstVersion: 1, Version: 1, Position: eventstore.NewPosition(4, 0)}, results[2])
}

// model is a store in memory whose every verdict is Decide's.
type model struct {
	streams map[string][]eventstore.RecordedEvent
	head    uint64
}

func (m *model) append(parts []eventstore.StreamAppend) ([]eventstore.AppendResult, error) {
	versions := make(map[string]uint64)
	results, writes := make([]eventstore.AppendResult, len(parts)), make([]bool, len(parts))
	repetition, withEvents := true, false
	var first error
	for i, part := range parts {
		if _, ok := versions[part.Stream]; !ok {
			versions[part.Stream] = uint64(len(m.streams[part.Stream]))
		}
		decision, err := eventstore.Decide(part, versions[part.Stream], func(id uuid.UUID) (eventstore.RecordedEvent, bool, error) {
			for _, e := range m.streams[part.Stream] {
				if e.ID == id {
					return e, true, nil
				}
			}
			return eventstore.RecordedEvent{}, false, nil
		})
		if len(part.Events) > 0 {
			withEvents, repetition = true, repetition && err == nil && decision.Result.Duplicate
		}
		if err != nil && first == nil {
			first = err
		}
		results[i], writes[i] = decision.Result, decision.Write
		if decision.Write {
			results[i].Version = versions[part.Stream] + uint64(len(part.Events))
			versions[part.Stream] = results[i].Version
		} else if len(part.Events) == 0 {
			results[i].Version = versions[part.Stream]
		}
	}
	if first != nil && (!repetition || !withEvents) {
		return nil, first
	}
	for i, part := range parts {
		if !writes[i] || repetition && withEvents || len(part.Events) == 0 {
			continue
		}
		for _, e := range part.Events {
			m.head++
			m.streams[part.Stream] = append(m.streams[part.Stream], eventstore.RecordedEvent{
				Event: e, Stream: part.Stream, Version: uint64(len(m.streams[part.Stream]) + 1), Position: eventstore.NewPosition(m.head, 0),
			})
		}
		results[i].FirstVersion, results[i].Position = results[i].Version-uint64(len(part.Events))+1, eventstore.NewPosition(m.head, 0)
	}
	return results, nil
}

// The server decides what is written and Decide what is answered: whatever comes, in
// few streams and with few events that are often repeated, both say the same.
func TestTheServersVerdictIsDecides(t *testing.T) {
	store, backend, _ := openStore(t)
	m := model{streams: make(map[string][]eventstore.RecordedEvent)}
	chance := rand.New(rand.NewPCG(5, 23))
	var sent []eventstore.Event
	pick := func() eventstore.Event {
		if len(sent) > 0 && chance.IntN(5) < 2 {
			e := sent[max(0, len(sent)-1-chance.IntN(6))]
			if chance.IntN(8) == 0 {
				e.Data = []byte(`{"other":true}`)
			}
			return e
		}
		e := part("", eventstore.Any(), event("Happened", fmt.Sprintf(`{"n":%d}`, len(sent)))).Events[0]
		sent = append(sent, e)
		return e
	}
	kinds := make(map[string]int)
	for range 3000 {
		var parts []eventstore.StreamAppend
		used := make(map[string]bool)
		for n := 1 + chance.IntN(3); len(parts) < n; {
			p := eventstore.StreamAppend{Stream: fmt.Sprintf("s-%d", chance.IntN(3))}
			p.Expected = []eventstore.ExpectedVersion{
				eventstore.Any(), eventstore.Any(), eventstore.NoStream(), eventstore.StreamExists(),
				eventstore.Exactly(uint64(len(m.streams[p.Stream]))), eventstore.Exactly(uint64(len(m.streams[p.Stream]) + chance.IntN(2))),
			}[chance.IntN(6)]
			for range chance.IntN(4) {
				if e := pick(); !used[p.Stream+e.ID.String()] {
					used[p.Stream+e.ID.String()] = true
					p.Events = append(p.Events, e)
				}
			}
			parts = append(parts, p)
		}
		want, wantErr := m.append(parts)
		got, gotErr := backend.Append(t.Context(), eventstore.AppendRequest{Parts: parts})
		if wantErr != nil {
			require.EqualError(t, gotErr, wantErr.Error(), "%+v", parts)
			kinds[fmt.Sprintf("%T", wantErr)]++
			continue
		}
		require.NoError(t, gotErr, "%+v", parts)
		require.Equal(t, want, got, "%+v", parts)
		for _, result := range got {
			kinds[fmt.Sprintf("duplicate %t", result.Duplicate)]++
		}
	}
	require.Len(t, kinds, 4, "every kind of verdict was met: %v", kinds)
	for _, n := range kinds {
		require.Greater(t, n, 50, "%v", kinds)
	}
	for stream, want := range m.streams {
		version, err := store.StreamVersion(t.Context(), stream)
		require.NoError(t, err)
		require.EqualValues(t, len(want), version)
	}
}

// Appends of a group, to shared streams and to several at once, each get the verdict
// that they would have got one after the other.
func TestAGroupsAppendsToSeveralStreamsAreEachAtomic(t *testing.T) {
	store, backend, _ := openStore(t)
	const writers, each = 16, 20
	errs := make(chan error, writers)
	for w := range writers {
		go func() {
			errs <- func() error {
				for i := range each {
					account := fmt.Sprintf("account-%d", (w+i)%4)
					parts := []eventstore.StreamAppend{
						part(account, eventstore.Any(), event("Paid", "{}")),
						part(fmt.Sprintf("order-%d-%d", w, i), eventstore.NoStream(), event("Placed", "{}"), event("Paid", "{}")),
					}
					if i%4 == 3 { // it conflicts, and the payment must not be stored
						parts[1].Stream = fmt.Sprintf("order-%d-%d", w, i-1)
					}
					results, err := backend.Append(context.WithoutCancel(t.Context()), eventstore.AppendRequest{Parts: parts})
					switch _, conflict := err.(*eventstore.ConflictError); {
					case conflict != (i%4 == 3):
						return fmt.Errorf("append %d: %w", i, err)
					case !conflict && err != nil:
						return err
					case err == nil && results[0].Position.String() == results[1].Position.String():
						return fmt.Errorf("two events at %s", results[0].Position)
					}
				}
				return nil
			}()
		}()
	}
	for range writers {
		require.NoError(t, <-errs)
	}
	paid, placed, last := 0, 0, uint64(0)
	for e, err := range store.ReadAll(t.Context(), eventstore.ReadAllOptions{}) {
		require.NoError(t, err)
		high, _ := e.Position.Words()
		require.Equal(t, last+1, high, "no gaps")
		last = high
		if eventstore.Category(e.Stream) == "account" {
			paid++
		} else if e.Version == 1 {
			placed++
		}
	}
	require.Equal(t, placed, paid)
	require.Equal(t, writers*each*3/4, paid)
}
