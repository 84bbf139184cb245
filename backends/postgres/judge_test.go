package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/memory"
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
	appendParts := func(parts ...eventstore.StreamAppend) ([]eventstore.PartResult, error) {
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
	require.Equal(t, [][3]uint64{{}, {1, 2, 0}, {}}, places(results))

	_, err = store.Append(t.Context(), "account-1", eventstore.Exactly(1), event("Closed", "{}"))
	require.NoError(t, err)
	results, err = appendParts(part("account-1", eventstore.Exactly(1)), order)
	require.NoError(t, err, "a repetition's checks are not judged again")
	require.True(t, results[1].Duplicate)
	require.Equal(t, [][3]uint64{{}, {1, 2, 0}}, places(results))

	_, err = appendParts(part("account-1", eventstore.Exactly(1)), order, part("order-2", eventstore.NoStream(), event("Placed", "{}")))
	require.ErrorAs(t, err, &conflict, "it is no repetition, for a part of it is new")
	results, err = appendParts(part("account-1", eventstore.Exactly(2)), order, part("order-2", eventstore.NoStream(), event("Placed", "{}")))
	require.NoError(t, err, "one part was stored before, the other is new")
	require.True(t, results[1].Duplicate)
	require.Equal(t, [][3]uint64{{}, {1, 2, 0}, {1, 4, 0}}, places(results))
}

// places are the version and position of each part's last event.
func places(results []eventstore.PartResult) [][3]uint64 {
	all := make([][3]uint64, len(results))
	for i, result := range results {
		if n := len(result.Recorded); n > 0 {
			all[i][0] = result.Recorded[n-1].Version
			all[i][1], all[i][2] = result.Recorded[n-1].Position.Words()
		}
	}
	return all
}

// timeless takes away when the events were recorded, which two stores differ in.
func timeless(results []eventstore.PartResult) []eventstore.PartResult {
	for i := range results {
		for j := range results[i].Recorded {
			results[i].Recorded[j].RecordedAt = time.Time{}
		}
	}
	return results
}

// The server decides what is written and Judge what is answered: whatever comes, in
// few streams and with few events that are often repeated, and sealed now and then, a
// store that only asks Judge says the same.
func TestTheServersVerdictIsJudges(t *testing.T) {
	store, backend, _ := openStore(t)
	model := memory.New()
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
	versions := make(map[string]uint64)
	kinds := make(map[string]int)
	for n := range 3000 {
		if n%20 >= 18 {
			seal := eventstore.SealRequest{Reason: fmt.Sprintf("the %dth time", n), Lift: n%20 == 19}
			for _, b := range []eventstore.Backend{model, backend} {
				_, err := b.Seal(t.Context(), seal)
				require.NoError(t, err)
			}
		}
		var parts []eventstore.StreamAppend
		used := make(map[string]bool)
		events := 0
		for n := 1 + chance.IntN(3); len(parts) < n || events == 0; {
			p := eventstore.StreamAppend{Stream: fmt.Sprintf("s-%d", chance.IntN(3))}
			p.Expected = []eventstore.ExpectedVersion{
				eventstore.Any(), eventstore.Any(), eventstore.NoStream(), eventstore.StreamExists(),
				eventstore.Exactly(versions[p.Stream]), eventstore.Exactly(versions[p.Stream] + uint64(chance.IntN(2))),
			}[chance.IntN(6)]
			for range chance.IntN(4) {
				if e := pick(); !used[p.Stream+e.ID.String()] {
					used[p.Stream+e.ID.String()] = true
					p.Events = append(p.Events, e)
				}
			}
			events += len(p.Events)
			parts = append(parts, p)
		}
		want, wantErr := model.Append(t.Context(), eventstore.AppendRequest{Parts: parts})
		got, gotErr := backend.Append(t.Context(), eventstore.AppendRequest{Parts: parts})
		if wantErr != nil {
			require.EqualError(t, gotErr, wantErr.Error(), "%+v", parts)
			kinds[fmt.Sprintf("%T", wantErr)]++
			continue
		}
		require.NoError(t, gotErr, "%+v", parts)
		require.Equal(t, timeless(want), timeless(got), "%+v", parts)
		for i, result := range got {
			kinds[fmt.Sprintf("duplicate %t", result.Duplicate)]++
			if n := len(result.Recorded); n > 0 {
				versions[parts[i].Stream] = max(versions[parts[i].Stream], result.Recorded[n-1].Version)
			}
		}
	}
	require.Len(t, kinds, 5, "every kind of verdict was met: %v", kinds)
	for _, n := range kinds {
		require.Greater(t, n, 50, "%v", kinds)
	}
	for stream, want := range versions {
		version, err := store.StreamVersion(t.Context(), stream)
		require.NoError(t, err)
		require.Equal(t, want, version)
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
					switch conflict := errors.Is(err, eventstore.ErrConflict); {
					case conflict != (i%4 == 3):
						return fmt.Errorf("append %d: %w", i, err)
					case !conflict && err != nil:
						return err
					case err == nil && places(results)[0][1] == places(results)[1][1]:
						return fmt.Errorf("two events at %d", places(results)[0][1])
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
