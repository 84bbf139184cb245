package esdb_test

import (
	"context"
	"math"
	"testing"
	"time"

	client "github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/esdb/esdbtest"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// A server takes a position beyond its end in silence, and what is written below it
// then is never delivered.
func TestAPositionAheadOfTheStoreIsToldAtOnce(t *testing.T) {
	srv := startServer(t)
	store := openStore(t, srv.URL()+"&namespace=shop", &eventstore.Options{RetryFor: -1})
	result, err := store.Append(t.Context(), "Order-1", eventstore.NoStream(), happened())
	require.NoError(t, err)
	history(t, srv, 10)
	hi, lo := result.Position.Words()
	for name, after := range map[string]eventstore.Position{
		"beyond the log's end":            eventstore.NewPosition(hi+1<<30, lo+1<<30),
		"beyond the store's last event":   eventstore.NewPosition(hi+1, lo+1),
		"what the protocol calls the end": eventstore.NewPosition(math.MaxUint64, math.MaxUint64),
		"what no server has":              eventstore.NewPosition(math.MaxInt64, math.MaxUint64),
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			for _, filter := range []eventstore.Filter{{}, {Types: []string{"Happened"}}} {
				for _, err := range store.Subscribe(ctx, eventstore.SubscribeOptions{After: after, Filter: filter}) {
					var ahead *eventstore.CheckpointAheadError
					require.ErrorAs(t, err, &ahead)
					require.Equal(t, result.Position, ahead.Head)
				}
			}
		})
	}
}

// Another server answers at the same address, as after a restored backup.
func TestASubscriptionNoticesThatAnotherLogAnswers(t *testing.T) {
	for name, events := range map[string]int{"with fewer events": 1, "with more events": 40} {
		for query, how := range map[string]string{"&poll=1h": "pushed", "&push=off&poll=20ms": "polled"} {
			for where, fromHead := range map[string]bool{"from the first event": false, "from the last event's position": true} {
				for what, filter := range map[string]eventstore.Filter{"all": {}, "filtered": {Types: []string{"Happened"}}} {
					t.Run(name+", "+how+", "+where+", "+what, func(t *testing.T) {
						noticesAnotherLog(t, query, fromHead, filter, events)
					})
				}
			}
		}
	}
}

func noticesAnotherLog(t *testing.T, query string, fromHead bool, filter eventstore.Filter, events int) {
	srv := startServer(t)
	store := openStore(t, srv.URL()+query, &eventstore.Options{RetryFor: time.Minute})
	opts := eventstore.SubscribeOptions{Filter: filter}
	for i := range 5 {
		result, err := store.Append(t.Context(), "s", eventstore.Exactly(uint64(i)), happened())
		require.NoError(t, err)
		if fromHead {
			opts.After = result.Position
		}
	}
	s := subscribe(t, store, opts)
	s.await(t, eventstore.MessageCaughtUp)
	srv.Stop()
	other, err := esdbtest.Start(&esdbtest.Options{Address: srv.Address()})
	require.NoError(t, err)
	t.Cleanup(other.Stop)
	// Whoever looked before it has its events would find it empty.
	written := make(chan struct{})
	other.SetHooks(esdbtest.Hooks{BeforeRead: esdbtest.Stall(written)})
	write(t, otherClient(t, other), "s", make([]client.EventData, events)...)
	close(written)
	select {
	case err := <-s.ended:
		if events == 1 {
			require.ErrorIs(t, err, eventstore.ErrCheckpointAhead)
		} else {
			require.ErrorIs(t, err, eventstore.ErrForeignCheckpoint)
		}
	case message := <-s.messages:
		t.Fatalf("it goes on with %+v", message)
	case <-time.After(20 * time.Second):
		t.Fatal("it waits in silence")
	}
}
