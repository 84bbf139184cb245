package adapter_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventstore/adapter"
)

func TestEachSealIsSaidOnceAlsoAfterItWasLifted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, err := eventstore.New(memory.New(), nil)
		require.NoError(t, err)
		said, lifts := 0, 0
		for message, err := range store.Subscribe(t.Context(), eventstore.SubscribeOptions{}) {
			require.NoError(t, err)
			switch message.Kind {
			case eventstore.MessageCaughtUp:
				_, err = store.Seal(t.Context(), "first")
				require.NoError(t, err)
			case eventstore.MessageSealed:
				said++
				if said == 3 {
					return
				}
				time.AfterFunc(time.Minute, func() { // the sealed store was looked at many times by then
					_, _ = store.Unseal(t.Context())
					lifts++
					time.AfterFunc(time.Minute, func() { _, _ = store.Seal(t.Context(), "again") })
				})
			case eventstore.MessageEvent, eventstore.MessageProgress:
			}
			require.Equal(t, lifts+1, max(said, 1), "once for each seal")
		}
	})
}

func TestWhatIsWrittenWhileASubscriptionLooksIsNotMissedUntilItsPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memory.NewLog()
		store, err := eventstore.New(log.Open(&memory.Options{Poll: time.Hour}), nil)
		require.NoError(t, err)
		writer, err := eventstore.New(log.Open(nil), nil)
		require.NoError(t, err)
		began := time.Now()
		seen := 0
		for message, err := range store.Subscribe(t.Context(), eventstore.SubscribeOptions{}) {
			require.NoError(t, err)
			if message.Kind == eventstore.MessageEvent {
				if seen++; seen == 20 {
					break
				}
			}
			// In the loop's body, between a look and the wait for the next.
			_, err = writer.Append(t.Context(), "order-1", eventstore.Any(), eventstore.Event{Type: "A", Data: []byte("{}")})
			require.NoError(t, err)
		}
		require.Less(t, time.Since(began), time.Hour)
	})
}

// What a subscription goes on from must name an event, or it cannot tell that another log
// answers. A caller's position does not; one at the head may be gone on from for long.
func TestASubscriptionFromTheHeadsPositionGoesOnFromTheEventThere(t *testing.T) {
	head := eventstore.Place{Position: eventstore.NewPosition(7, 0), Stream: "order-1", Version: 3, ID: uuid.UUID{1}}
	another := head
	another.ID = uuid.UUID{2}
	for name, tt := range map[string]struct{ after, want eventstore.Place }{
		"the head's position":                   {eventstore.Place{Position: head.Position}, head},
		"the head's place":                      {head, head},
		"another event's place at the position": {another, another},
		"a position before the head":            {eventstore.Place{Position: eventstore.NewPosition(6, 0)}, eventstore.Place{Position: eventstore.NewPosition(6, 0)}},
	} {
		t.Run(name, func(t *testing.T) {
			source := adapter.FollowSource{
				Info: func(context.Context) (eventstore.Info, error) { return eventstore.Info{Head: head}, nil },
				Page: func(_ context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
					require.Equal(t, tt.want, req.After)
					return eventstore.Page{End: true, Next: req.After}, nil
				},
			}
			for message, err := range adapter.Follow(t.Context(), eventstore.SubscribeRequest{After: tt.after}, source) {
				require.NoError(t, err)
				require.Equal(t, eventstore.Message{Kind: eventstore.MessageCaughtUp, Place: tt.want}, message)
				break
			}
		})
	}
}
