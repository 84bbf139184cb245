package eventstore_test

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// crashedAfterParking leaves what a crash leaves between the parking of the last events
// and the next checkpoint: all but the first one are parked, and the checkpoint is at
// that. Whatever failed them is mended.
func crashedAfterParking(t *testing.T, store *eventstore.Store, r *target, events int) {
	t.Helper()
	all := fill(t, store, events)
	for version := uint64(2); version <= uint64(events); version++ {
		r.fails[version] = true
	}
	require.NoError(t, store.Run(t.Context(), r.subscription()))
	require.NoError(t, store.Run(t.Context(), r.subscription()), "which remembers how far a long park stream is read")
	require.Equal(t, []uint64{1}, r.applied)
	require.Len(t, parkedOf(t, store), events-1)
	back := place(t, r)
	back.Place = all[0].Place()
	require.NoError(t, r.Save(t.Context(), eventstore.SaveCheckpointRequest{Checkpoint: back, Reset: true}))
	clear(r.fails)
}

func TestAParkedEventThatTheCheckpointHasNotPassedIsHandledOnce(t *testing.T) {
	for name, test := range map[string]struct {
		events      int
		askedBefore bool // for the retry, before the Run that meets the event again
	}{
		"the retry is asked for after the next Run":        {2, false},
		"the retry is asked for before the next Run":       {2, true},
		"two events are parked":                            {3, true},
		"a long park stream is not read from its start":    {300, false},
		"nor where the retry is asked for before the next": {300, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, r := newScripted().open(t, nil), newTarget()
				crashedAfterParking(t, store, r, test.events)
				ask := func() { require.NoError(t, store.RetryParked(t.Context(), parkStream, parkedOf(t, store)...)) }
				if test.askedBefore {
					ask()
				}
				require.NoError(t, store.Run(t.Context(), r.subscription()))
				require.Equal(t, []uint64{1}, r.applied, "what is parked is finished")
				if !test.askedBefore {
					ask()
				}
				for range 2 {
					require.NoError(t, store.Run(t.Context(), r.subscription()))
				}
				require.Len(t, r.applied, test.events)
				for _, event := range parkedOf(t, store) {
					require.Equal(t, eventstore.ParkedHandled, event.State)
				}
			})
		})
	}
}
