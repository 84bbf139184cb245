package adapter_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventstore/adapter"
)

func checkpointAt(position, epoch uint64) eventstore.SaveCheckpointRequest {
	return eventstore.SaveCheckpointRequest{Checkpoint: eventstore.Checkpoint{
		Name: "billing", Store: uuid.UUID{1}, Place: eventstore.Place{Position: eventstore.NewPosition(position, 0)}, Epoch: epoch,
	}}
}

func knowing(req eventstore.SaveCheckpointRequest, stored uint64) eventstore.SaveCheckpointRequest {
	req.Stored.Position = eventstore.NewPosition(stored, 0)
	return req
}

func reset(req eventstore.SaveCheckpointRequest) eventstore.SaveCheckpointRequest {
	req.Reset = true
	return req
}

func TestACheckpointIsSavedByItsOwnerAndForwardOnly(t *testing.T) {
	owned := adapter.Progress{Lease: eventstore.Lease{Name: "billing", Epoch: 3, Owner: "a", Renewals: 7, TTL: time.Second}}
	owned.Checkpoint, owned.Found = checkpointAt(10, 3).Checkpoint, true
	for _, test := range []struct {
		name     string
		before   adapter.Progress
		save     eventstore.SaveCheckpointRequest
		changed  bool
		lost     bool
		position uint64 // after it
		epoch    uint64
	}{
		{"the first one", adapter.Progress{}, checkpointAt(5, 0), true, false, 5, 0},
		{"one that lies ahead", owned, checkpointAt(11, 3), true, false, 11, 3},
		{"the same one again", owned, checkpointAt(10, 3), false, false, 10, 3},
		{"one that lies behind", owned, checkpointAt(9, 3), false, false, 10, 3},
		{"one after the place that is stored", owned, knowing(checkpointAt(11, 3), 10), true, false, 11, 3},
		{"one of an owner before", owned, checkpointAt(11, 2), false, true, 10, 3},
		{"a reset, backward, which fences the owner", owned, reset(checkpointAt(1, 0)), true, false, 1, 4},
		{"a reset of what nobody owned", adapter.Progress{}, reset(checkpointAt(1, 0)), true, false, 1, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := test.before
			changed, err := p.Save(test.save)
			if test.lost {
				var lost *eventstore.LeaseLostError
				require.ErrorAs(t, err, &lost)
				require.Equal(t, eventstore.LeaseLostError{Name: "billing", Epoch: 2, Stored: 3}, *lost)
			} else {
				require.NoError(t, err)
			}
			require.Equal(t, test.changed, changed)
			loaded := p.Load("billing")
			require.True(t, loaded.Found)
			require.Equal(t, eventstore.NewPosition(test.position, 0), loaded.Checkpoint.Place.Position)
			require.Equal(t, test.epoch, loaded.Checkpoint.Epoch)
			require.Equal(t, test.epoch, p.Lease.Epoch)
			if !test.changed {
				require.Equal(t, test.before, p)
			}
		})
	}
}

func TestACheckpointIsNotMovedOnWhereTheStoredOneHasGoneBack(t *testing.T) {
	for name, p := range map[string]adapter.Progress{
		"it lies before":  {Checkpoint: checkpointAt(9, 3).Checkpoint, Found: true, Lease: eventstore.Lease{Epoch: 3}},
		"there is none":   {Lease: eventstore.Lease{Epoch: 3}},
		"nothing is left": {},
	} {
		t.Run(name, func(t *testing.T) {
			before := p
			changed, err := p.Save(knowing(checkpointAt(11, 3), 10))
			require.ErrorIs(t, err, eventstore.ErrLeaseLost)
			require.ErrorContains(t, err, "lost commits")
			require.False(t, changed)
			require.Equal(t, before, p)
			_, err = p.Save(reset(knowing(checkpointAt(11, 3), 10)))
			require.NoError(t, err, "by hand it is moved anywhere")
		})
	}
}

func TestADeletedCheckpointFencesItsOwner(t *testing.T) {
	p := adapter.Progress{Lease: eventstore.Lease{Name: "billing", Epoch: 3, Owner: "a", TTL: time.Second}}
	p.Checkpoint, p.Found = checkpointAt(10, 3).Checkpoint, true
	p.Delete()
	require.Equal(t, eventstore.LoadCheckpointResult{Checkpoint: eventstore.Checkpoint{Name: "billing", Epoch: 4}}, p.Load("billing"))
	require.Equal(t, eventstore.Lease{Name: "billing", Epoch: 4}, p.Lease, "nobody has it")
	_, err := p.Save(checkpointAt(11, 3))
	require.ErrorIs(t, err, eventstore.ErrLeaseLost)
}

func TestALeaseIsSwappedForTheOneThatIsKnown(t *testing.T) {
	var p adapter.Progress
	first := eventstore.Lease{Name: "billing", Epoch: 1, Owner: "a", TTL: time.Second}
	take := eventstore.SwapLeaseRequest{Name: "billing", New: first}
	require.Equal(t, eventstore.SwapLeaseResult{Lease: first, Swapped: true}, p.SwapLease(take))
	require.Equal(t, eventstore.SwapLeaseResult{Lease: first}, p.SwapLease(take), "it was taken")
	renewed := first
	renewed.Renewals++
	require.Equal(t, eventstore.SwapLeaseResult{Lease: renewed, Swapped: true}, p.SwapLease(eventstore.SwapLeaseRequest{Name: "billing", Old: first, New: renewed}))
}
