package eventstore_test

import (
	"context"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// forwardOnly keeps checkpoints and knows of no reset.
type forwardOnly struct{ eventstore.Checkpoints }

func (f forwardOnly) Save(ctx context.Context, req eventstore.SaveCheckpointRequest) error {
	req.Reset = false
	return f.Checkpoints.Save(ctx, req)
}

func TestACheckpointOfTheStoreThatThisOneWasMovedFromIsTranslated(t *testing.T) {
	// In the other store the same events had positions far beyond this one's.
	old := uuid.New()
	place := func(e eventstore.RecordedEvent) eventstore.Place {
		p := e.Place()
		p.Position = eventstore.NewPosition(1_000_000*e.Version, 0)
		return p
	}
	for name, test := range map[string]struct {
		moved   bool
		at      func(events []eventstore.RecordedEvent) eventstore.Place
		keeper  func(eventstore.Checkpoints) eventstore.Checkpoints
		handled int // of five events; -1 where the checkpoint is refused
		want    string
	}{
		"goes on after the same event":     {true, func(e []eventstore.RecordedEvent) eventstore.Place { return place(e[1]) }, nil, 3, ""},
		"at the last event that was moved": {true, func(e []eventstore.RecordedEvent) eventstore.Place { return place(e[3]) }, nil, 1, ""},
		"before the first event":           {true, func([]eventstore.RecordedEvent) eventstore.Place { return eventstore.Place{} }, nil, 5, ""},
		"of a store that was not moved":    {false, func(e []eventstore.RecordedEvent) eventstore.Place { return place(e[1]) }, nil, -1, "belongs to store"},
		"of an event after the move":       {true, func(e []eventstore.RecordedEvent) eventstore.Place { return place(e[4]) }, nil, -1, "belongs to store"},
		"of an event that was not moved":   {true, func(e []eventstore.RecordedEvent) eventstore.Place { p := place(e[1]); p.ID = uuid.New(); return p }, nil, -1, "belongs to store"},
		"of a stream that was not moved":   {true, func(e []eventstore.RecordedEvent) eventstore.Place { p := place(e[1]); p.Stream = "x"; return p }, nil, -1, "belongs to store"},
		"that names no event": {true, func(e []eventstore.RecordedEvent) eventstore.Place {
			return eventstore.Place{Position: place(e[1]).Position}
		}, nil, -1, "belongs to store"},
		"kept by what knows of no reset": {true, func(e []eventstore.RecordedEvent) eventstore.Place { return place(e[1]) }, func(c eventstore.Checkpoints) eventstore.Checkpoints { return forwardOnly{c} }, -1, "does not reset it"},
	} {
		t.Run(name, func(t *testing.T) {
			backend := memory.New()
			store, err := eventstore.New(backend, nil)
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, store.Close()) })
			var events []eventstore.RecordedEvent
			for range 5 {
				result, err := store.Append(t.Context(), "a", eventstore.Any(), eventstore.Event{Type: "T", Data: []byte("1")})
				require.NoError(t, err)
				events = append(events, result.Events...)
			}
			own := backend.Records().Checkpoints
			if test.moved {
				require.NoError(t, own.Save(t.Context(), eventstore.SaveCheckpointRequest{Checkpoint: eventstore.Checkpoint{
					Name: eventstore.OriginName(old), Store: old, Place: place(events[3]),
				}}))
			}
			elsewhere := memory.New()
			t.Cleanup(func() { require.NoError(t, elsewhere.Close()) })
			keeper := elsewhere.Records().Checkpoints
			require.NoError(t, keeper.Save(t.Context(), eventstore.SaveCheckpointRequest{Checkpoint: eventstore.Checkpoint{
				Name: "s", Store: old, Place: test.at(events),
			}}))
			sub := eventstore.Subscription{Name: "s", Checkpoints: keeper, UntilCaughtUp: true}
			if test.keeper != nil {
				sub.Checkpoints = test.keeper(keeper)
			}
			handled := 0
			sub.Handler = func(context.Context, eventstore.RecordedEvent) error { handled++; return nil }
			err = store.Run(t.Context(), sub)
			if test.handled < 0 {
				require.ErrorContains(t, err, test.want)
				require.Zero(t, handled)
				return
			}
			require.NoError(t, err)
			require.Equal(t, test.handled, handled)
			stored, err := keeper.Load(t.Context(), eventstore.LoadCheckpointRequest{Name: "s"})
			require.NoError(t, err)
			require.Equal(t, events[4].Place(), stored.Checkpoint.Place, "and is this store's from now on")
			require.NoError(t, store.Run(t.Context(), sub))
			require.Equal(t, test.handled, handled, "nothing comes again")
		})
	}
}
