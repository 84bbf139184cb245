package postgres_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// The appends of a group get the verdicts and the places that they would get one after
// the other: of one stream and several, the same one twice in one append, with checks,
// refused ones between those that are written, and repetitions.
func TestAGroupIsJudgedAndWrittenAsItsAppendsOneAfterTheOther(t *testing.T) {
	_, backend, _ := openStore(t)
	model := memory.New()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	chance := rand.New(rand.NewPCG(seed, 9))
	versions := make(map[string]uint64)
	var stored []eventstore.StreamAppend
	written, refused, repeated := 0, 0, 0
	for n := range 300 {
		repeats := make(map[uuid.UUID]bool) // each at most once in a group
		group := make([][]eventstore.StreamAppend, 1+chance.IntN(6))
		for i := range group {
			// What repeats a part alone is written after its group, and so is left to others.
			if again := len(stored); again > 0 && chance.IntN(6) == 0 {
				if old := stored[max(0, again-1-chance.IntN(5))]; !repeats[old.Events[0].ID] {
					repeats[old.Events[0].ID] = true
					group[i] = []eventstore.StreamAppend{old}
					continue
				}
			}
			events := 0
			for parts := 1 + chance.IntN(4); len(group[i]) < parts || events == 0; {
				p := part(fmt.Sprintf("s-%d", chance.IntN(4)), eventstore.Any())
				p.Expected = []eventstore.ExpectedVersion{
					eventstore.Any(), eventstore.Any(), eventstore.Any(), eventstore.NoStream(), eventstore.StreamExists(),
					eventstore.Exactly(versions[p.Stream]), eventstore.Exactly(versions[p.Stream] + uint64(chance.IntN(4))),
				}[chance.IntN(7)]
				if chance.IntN(4) == 0 {
					p.Stream, p.Expected = fmt.Sprintf("new-%d-%d", n, i), eventstore.NoStream()
				}
				for range chance.IntN(4) {
					p.Events = append(p.Events, part("", eventstore.Any(), event("Happened", fmt.Sprintf(`{"n":%d}`, n))).Events[0])
				}
				if chance.IntN(6) == 0 {
					p.RecordedAt = new(time.Date(2001, 2, 3, 4, 5, 6, 7000, time.UTC))
				}
				events += len(p.Events)
				group[i] = append(group[i], p)
			}
		}
		results, errs, err := backend.AppendGroup(t.Context(), group)
		require.NoError(t, err)
		for i, parts := range group {
			want, wantErr := model.Append(t.Context(), eventstore.AppendRequest{Parts: parts})
			if wantErr != nil {
				require.EqualError(t, errs[i], wantErr.Error(), "group %d, append %d of %+v", n, i, group)
				refused++
				continue
			}
			require.NoError(t, errs[i], "group %d, append %d of %+v", n, i, group)
			for j, result := range results[i] {
				for k, at := range result.Recorded {
					if given := parts[j].RecordedAt; given != nil && !result.Duplicate {
						require.Equal(t, *given, at.RecordedAt)
					}
					versions[parts[j].Stream] = max(versions[parts[j].Stream], result.Recorded[k].Version)
				}
				switch {
				case result.Duplicate:
					repeated++
				case len(result.Recorded) > 0:
					written++
					stored = append(stored, parts[j])
				}
			}
			require.Equal(t, timeless(want), timeless(results[i]), "group %d, append %d of %+v", n, i, group)
		}
	}
	require.Greater(t, min(written, refused, repeated), 50, "every kind was met")
	events, err := model.ReadAll(t.Context(), eventstore.ReadAllRequest{PageSize: eventstore.PageSize{MaxEvents: 1 << 20, MaxBytes: 1 << 30}})
	require.NoError(t, err)
	var got eventstore.Page
	for !got.End {
		page, err := backend.ReadAll(t.Context(), eventstore.ReadAllRequest{After: got.Next, PageSize: eventstore.PageSize{MaxEvents: 1 << 20, MaxBytes: 1 << 30}})
		require.NoError(t, err)
		got.Events, got.Next, got.End = append(got.Events, page.Events...), page.Next, page.End
	}
	require.Len(t, got.Events, len(events.Events))
	for i, want := range events.Events {
		if want.RecordedAt.Year() != 2001 { // it was given no time
			want.RecordedAt, got.Events[i].RecordedAt = time.Time{}, time.Time{}
		}
		require.Equal(t, want, got.Events[i])
	}
}
