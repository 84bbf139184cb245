package fold

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// A single writer's log comes to the verdicts of the memory backend, and to the
// same order of events.
func TestTheFoldJudgesAsTheMemoryBackendDoes(t *testing.T) {
	seen := map[string]int{}
	for seed := range uint64(150) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		h := &history{t: t, rnd: rnd, log: New()}
		log, reference := newLog(t), memory.New()
		for h.asked = 1; h.asked <= 60; h.asked++ {
			parts := h.parts(log.State)
			r, err := NewRequest(idOf(fmt.Sprint("request", h.asked)), parts)
			if !hasEvents(parts) || err != nil {
				continue // the Store refuses an ID that is there twice for one stream
			}
			want, wantErr := reference.Append(t.Context(), eventstore.AppendRequest{Parts: parts})
			got, gotErr := appendTo(log, r)
			require.Equal(t, wantErr == nil, gotErr == nil, "%v, %v", wantErr, gotErr)
			seen[verdictName(gotErr)]++
			if wantErr != nil {
				require.Equal(t, wantErr, gotErr)
				continue
			}
			for i, part := range got {
				require.Len(t, want[i].Recorded, len(part))
				for j := range part {
					require.Equal(t, want[i].Recorded[j].Version, part[j].Version)
				}
			}
		}
		requireSameOrder(t, reference, log.State)
	}
	for _, verdict := range []string{"stored", "conflict", "reused"} {
		require.Greater(t, seen[verdict], 500, "too few appends were %s", verdict)
	}
}

// hasEvents tells whether a part has events, as the Store demands.
func hasEvents(parts []eventstore.StreamAppend) bool {
	return slices.ContainsFunc(parts, func(p eventstore.StreamAppend) bool { return len(p.Events) > 0 })
}

// appendTo is an append by a writer that knows all of the log.
func appendTo(log *appendLog, r *Request) ([][]eventstore.Recorded, error) {
	proposal := log.Check(r)
	if proposal.Err != nil {
		return nil, proposal.Err
	}
	if proposal.Step == Answer {
		var all [][]eventstore.Recorded
		for _, decision := range proposal.Decisions {
			all = append(all, decision.Recorded)
		}
		return all, nil
	}
	return r.Recorded(log.fold(proposal.Frame(now))), nil
}

func verdictName(err error) string {
	switch {
	case errors.Is(err, eventstore.ErrConflict):
		return "conflict"
	case errors.Is(err, eventstore.ErrEventIDReused):
		return "reused"
	}
	return "stored"
}

// requireSameOrder reads the reference, and asks the index for each of its events.
func requireSameOrder(t *testing.T, reference *memory.Backend, s *State) {
	t.Helper()
	page, err := reference.ReadAll(t.Context(), eventstore.ReadAllRequest{PageSize: eventstore.PageSize{MaxEvents: 1 << 20, MaxBytes: 1 << 30}})
	require.NoError(t, err)
	require.Equal(t, uint64(len(page.Events)), s.Counts().Events)
	var last eventstore.Position
	for _, want := range page.Events {
		place, ok := s.Place(want.Stream, want.Version)
		require.True(t, ok)
		require.Equal(t, want.ID, place.ID)
		require.True(t, last.Before(place.Position()), "the orders differ")
		last = place.Position()
	}
}
