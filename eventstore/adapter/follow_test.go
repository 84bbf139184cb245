package adapter_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/eventstore"
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
