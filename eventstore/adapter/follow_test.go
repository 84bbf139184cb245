package adapter_test

import (
	"context"
	"iter"
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

// trailing is a log in which every read ends behind records that are no events, or in
// their midst.
type trailing struct{ *memory.Backend }

func (b trailing) ReadAll(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
	page, err := b.Backend.ReadAll(ctx, req)
	high, _ := page.Next.Position.Words()
	if page.End {
		high += 3
	}
	page.Next = eventstore.Place{Position: eventstore.NewPosition(high, 1)}
	return page, err
}

func (b trailing) Subscribe(ctx context.Context, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
	return adapter.Follow(ctx, req, adapter.FollowSource{Page: b.ReadAll, Info: b.Info})
}

func TestAPlaceThatIsNoEventsIsNoProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, err := eventstore.New(trailing{memory.New()}, &eventstore.Options{PageSize: 2})
		require.NoError(t, err)
		for session := range 3 { // each goes on where the last one ended
			for range 5 {
				_, err = store.Append(t.Context(), "order-1", eventstore.Any(), eventstore.Event{Type: "A", Data: []byte("{}")})
				require.NoError(t, err)
			}
			for name, filter := range map[string]eventstore.Filter{"all": {}, "none": {Types: []string{"B"}}} {
				handled := 0
				require.NoError(t, store.Run(t.Context(), eventstore.Subscription{
					Name: name, Filter: filter, UntilCaughtUp: true,
					Handler: func(context.Context, eventstore.RecordedEvent) error { handled++; return nil },
				}), "session %d of %s", session, name)
				if name == "all" {
					require.Equal(t, 5, handled)
				}
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		live := 0 // what comes where the log's end was told to be
		for message, err := range store.Subscribe(ctx, eventstore.SubscribeOptions{}) {
			require.NoError(t, err)
			require.True(t, message.Place.Named(), "%+v", message)
			if message.Kind == eventstore.MessageEvent && message.Event.Version > 15 {
				require.Equal(t, uint64(16+live), message.Event.Version)
				live++
			}
			if live == 5 {
				break
			}
			if message.Kind == eventstore.MessageCaughtUp || live > 0 {
				_, err = store.Append(t.Context(), "order-1", eventstore.Any(), eventstore.Event{Type: "A", Data: []byte("{}")})
				require.NoError(t, err)
			}
		}
		require.NoError(t, store.Close())
	})
}
