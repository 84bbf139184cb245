package esdb_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	client "github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/esdb/esdbtest"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// farPoll is a poll interval that no test waits for: what is delivered was pushed.
const farPoll = "&poll=1h"

// history fills a server with so many events of another store.
func history(t *testing.T, srv *esdbtest.Server, events int) {
	t.Helper()
	c := otherClient(t, srv)
	for at := 0; at < events; at += 500 {
		write(t, c, fmt.Sprintf("others:past-%d", at), make([]client.EventData, min(500, events-at))...)
	}
}

// subscribed is a subscription whose messages a test takes one by one.
type subscribed struct {
	messages chan eventstore.Message
	ended    chan error
}

// subscribe ends with the test.
func subscribe(t *testing.T, store *eventstore.Store, opts eventstore.SubscribeOptions) subscribed {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	s := subscribed{messages: make(chan eventstore.Message), ended: make(chan error, 1)}
	done := make(chan struct{})
	t.Cleanup(func() { cancel(); <-done })
	go func() {
		defer close(done)
		for message, err := range store.Subscribe(ctx, opts) {
			if err != nil {
				s.ended <- err
				return
			}
			select {
			case s.messages <- message:
			case <-ctx.Done():
				return
			}
		}
	}()
	return s
}

// await takes messages until one is of a kind.
func (s subscribed) await(t *testing.T, kind eventstore.MessageKind) eventstore.Message {
	t.Helper()
	timeout := time.After(20 * time.Second)
	for {
		select {
		case message := <-s.messages:
			if message.Kind == kind {
				return message
			}
		case err := <-s.ended:
			t.Fatalf("the subscription ended: %v", err)
		case <-timeout:
			t.Fatalf("no message of kind %d", kind)
		}
	}
}

// A server before 24.10.5 says that a subscription which found nothing has come to
// 2^64-1, which is how the protocol spells the end: whoever went on from there lost
// what came next.
func TestTheFirstMatchAfterCaughtUpIsDelivered(t *testing.T) {
	for _, version := range []string{"24.6.0", "24.10.4", "24.10.5"} {
		for _, past := range []int{0, 1200} {
			t.Run(fmt.Sprintf("%s, %d events of others", version, past), func(t *testing.T) {
				srv, err := esdbtest.Start(&esdbtest.Options{Version: version})
				require.NoError(t, err)
				t.Cleanup(srv.Stop)
				history(t, srv, past)
				store := openStore(t, srv.URL()+"&namespace=shop"+farPoll, nil)
				for i := range 40 {
					stream := fmt.Sprintf("Order%d-1", i)
					s := subscribe(t, store, eventstore.SubscribeOptions{Filter: eventstore.Filter{Categories: []string{eventstore.Category(stream)}}})
					s.await(t, eventstore.MessageCaughtUp)
					_, err := store.Append(t.Context(), stream, eventstore.NoStream(), happened())
					require.NoError(t, err)
					require.Equal(t, stream, s.await(t, eventstore.MessageEvent).Event.Stream)
				}
			})
		}
	}
}

// Progress is the place of an event of the store, though nothing matches and all
// the server has to say is where others' events are.
func TestProgressReachesTheHeadWhereNothingMatches(t *testing.T) {
	srv := startServer(t)
	history(t, srv, 1200)
	store := openStore(t, srv.URL()+"&namespace=shop"+farPoll, nil)
	s := subscribe(t, store, eventstore.SubscribeOptions{Filter: eventstore.Filter{Types: []string{"Never"}}})
	s.await(t, eventstore.MessageCaughtUp)
	for range 3 {
		history(t, srv, 700)
		result, err := store.Append(t.Context(), "Order-1", eventstore.Any(), happened())
		require.NoError(t, err)
		history(t, srv, 700)
		require.Equal(t, result.Events[0].Place(), s.await(t, eventstore.MessageProgress).Place)
	}
	info, err := store.Info(t.Context())
	require.NoError(t, err)
	again := subscribe(t, store, eventstore.SubscribeOptions{Filter: eventstore.Filter{Types: []string{"Never"}}})
	require.Equal(t, info.Head, again.await(t, eventstore.MessageProgress).Place)
}

// The server's prefixes are compared by the rules of languages, its expressions
// are not.
func TestFiltersCompareBytes(t *testing.T) {
	srv := startServer(t)
	streams := []string{
		"Cafe-1", "Cafe\u0301-1", "Caf\u00e9-1", "Ca\u00adfe-1", "cafe-1", "Cafes-1", "Cafe", "a.b-1", "aXb-1", "a|b(c)[d]*+?^${}\\-1", "\U0001f600-1", "a b#c-1",
	}
	for _, namespace := range []string{"", "&namespace=shop"} {
		store := openStore(t, srv.URL()+namespace+farPoll, nil)
		var all []eventstore.RecordedEvent
		for i, stream := range streams {
			event := happened()
			event.Type = eventstore.Category(streams[(i+3)%len(streams)])
			result, err := store.Append(t.Context(), stream, eventstore.NoStream(), event)
			require.NoError(t, err)
			all = append(all, result.Events...)
		}
		var filters []eventstore.Filter
		for _, name := range streams {
			category := eventstore.Category(name)
			filters = append(filters,
				eventstore.Filter{StreamPrefixes: []string{category}}, eventstore.Filter{Categories: []string{category}},
				eventstore.Filter{Types: []string{category}}, eventstore.Filter{Types: []string{category, "Happened"}, StreamPrefixes: []string{"C", "a"}},
				eventstore.Filter{Categories: []string{category, "none"}, StreamPrefixes: []string{category + "-", "c", string([]rune(category)[:1])}})
		}
		for _, filter := range append(filters, eventstore.Filter{Categories: []string{"a"}, StreamPrefixes: []string{"b"}}) {
			var want, got []string
			for _, event := range all {
				if filter.Match(event.Stream, event.Type) {
					want = append(want, event.Stream)
				}
			}
			for event, err := range store.ReadAll(t.Context(), eventstore.ReadAllOptions{Filter: filter}) {
				require.NoError(t, err)
				got = append(got, event.Stream)
			}
			require.Equal(t, want, got, "%q %+v", namespace, filter)
		}
	}
}

// Many subscriptions of a handle are one of the server's, and one that does not
// take its events holds up none of the others.
func TestManySubscriptionsAreOneOfTheServers(t *testing.T) {
	srv := startServer(t)
	var following atomic.Int64
	srv.SetHooks(esdbtest.Hooks{BeforeRead: func(_ context.Context, call esdbtest.Call) error {
		if call.Method == esdbtest.MethodSubscribe {
			following.Add(1)
		}
		return nil
	}})
	store := openStore(t, srv.URL()+farPoll, nil)
	slow := subscribe(t, store, eventstore.SubscribeOptions{})
	all := make([]subscribed, 50)
	for i := range all {
		all[i] = subscribe(t, store, eventstore.SubscribeOptions{Filter: eventstore.Filter{StreamPrefixes: []string{"Order-"}}})
		all[i].await(t, eventstore.MessageCaughtUp)
	}
	const events = 200
	for i := range events {
		_, err := store.Append(t.Context(), fmt.Sprintf("Order-%d", i), eventstore.NoStream(), happened())
		require.NoError(t, err)
	}
	for _, s := range append(all, slow) {
		for i := range events {
			require.Equal(t, fmt.Sprintf("Order-%d", i), s.await(t, eventstore.MessageEvent).Event.Stream)
		}
	}
	require.Equal(t, int64(1), following.Load())
}

// The last subscription's shared subscription may end while the next one's begins.
func TestASubscriptionAfterTheLastOneIsPushedToAsWell(t *testing.T) {
	srv := startServer(t)
	store := openStore(t, srv.URL()+farPoll, nil)
	var after eventstore.Position
	for i := range 200 {
		ctx, leave := context.WithTimeout(t.Context(), 20*time.Second)
		for message, err := range store.Subscribe(ctx, eventstore.SubscribeOptions{After: after}) {
			require.NoError(t, err, "round %d", i)
			if message.Kind == eventstore.MessageCaughtUp {
				_, err := store.Append(t.Context(), "s", eventstore.Any(), happened())
				require.NoError(t, err)
			}
			if message.Kind == eventstore.MessageEvent {
				after = message.Place.Position
				break
			}
		}
		leave()
	}
}

func TestFiveHundredSubscribersAndSixtyFourWritersInOneProcess(t *testing.T) {
	srv := startServer(t)
	store := openStore(t, srv.URL(), nil)
	const subscribers, writers, each = 500, 64, 10
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var following, caughtUp sync.WaitGroup
	caughtUp.Add(subscribers)
	for i := range subscribers {
		following.Go(func() {
			events := 0
			for message, err := range store.Subscribe(ctx, eventstore.SubscribeOptions{}) {
				if err != nil {
					t.Errorf("subscriber %d: %v", i, err)
					return
				}
				switch message.Kind { //nolint:exhaustive // the others do not matter
				case eventstore.MessageCaughtUp:
					caughtUp.Done()
				case eventstore.MessageEvent:
					events++
				}
				if events == writers*each {
					return
				}
			}
		})
	}
	caughtUp.Wait()
	var writing sync.WaitGroup
	start := time.Now()
	for w := range writers {
		writing.Go(func() {
			for range each {
				if _, err := store.Append(ctx, fmt.Sprintf("s-%d", w), eventstore.Any(), happened()); err != nil {
					t.Errorf("writer %d: %v", w, err)
				}
			}
		})
	}
	writing.Wait()
	wrote := time.Since(start)
	following.Wait()
	t.Logf("%d appends beside %d subscribers: %s, delivered after %s", writers*each, subscribers, wrote, time.Since(start))
}
