package esdbtest_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/switchyard-dev/switchyard/backends/esdb/esdbtest"
)

func TestM7_ASubscriptionCatchesUpSaysSoAndGoesLive(t *testing.T) {
	_, c := startAndConnect(t)
	mustAppend(t, c, "s", esdb.NoStream{}, events(70)...)
	sub := subscribe(t, c, "s", esdb.Start{})
	old, _ := sub.untilCaughtUp()
	require.Len(t, old, 70)
	mustAppend(t, c, "s", esdb.Any{}, event("live"))
	require.Equal(t, "live", sub.nextEvent().Event.EventType)

	middle := subscribe(t, c, "s", esdb.Revision(67))
	old, _ = middle.untilCaughtUp()
	require.Equal(t, []uint64{68, 69, 70}, revisions(old), "it starts after the revision")

	end := subscribe(t, c, "s", esdb.End{})
	require.NotNil(t, end.next().CaughtUp)
	mustAppend(t, c, "s", esdb.Any{}, event("last"))
	require.Equal(t, "last", end.nextEvent().Event.EventType)
}

func TestM7_NothingIsLostOrRepeatedBetweenCatchingUpAndLive(t *testing.T) {
	const total = 600
	_, c := startAndConnect(t)
	writing := make(chan error, 1)
	go func() {
		for i := range total {
			if _, err := appendTo(t.Context(), c, "s", esdb.Any{}, event(fmt.Sprint(i))); err != nil {
				writing <- err
				return
			}
		}
		writing <- nil
	}()
	var subs []subscription
	for range 4 { // they begin while the writer writes
		subs = append(subs, subscribe(t, c, "s", esdb.Start{}),
			subscribeAll(t, c, esdb.SubscribeToAllOptions{From: esdb.Start{}, Filter: esdb.ExcludeSystemEventsFilter()}))
	}
	for n, sub := range subs {
		for want := range uint64(total) {
			require.Equal(t, want, sub.nextEvent().Event.EventNumber, "subscription %d", n)
		}
	}
	require.NoError(t, <-writing)
}

func TestM7_ASubscriptionToAMissingStreamWaits(t *testing.T) {
	_, c := startAndConnect(t)
	sub := subscribe(t, c, "later", esdb.Start{})
	require.NotNil(t, sub.next().CaughtUp)
	mustAppend(t, c, "later", esdb.NoStream{}, events(2)...)
	require.EqualValues(t, 0, sub.nextEvent().Event.EventNumber)
	require.EqualValues(t, 1, sub.nextEvent().Event.EventNumber)

	// So does one to a soft-deleted stream, for the events of its next life.
	mustDelete(t, c, "later")
	deleted := subscribe(t, c, "later", esdb.Start{})
	require.NotNil(t, deleted.next().CaughtUp)
	mustAppend(t, c, "later", esdb.Any{}, event("revived"))
	require.EqualValues(t, 2, deleted.nextEvent().Event.EventNumber)
}

func TestM7_ATombstoneEndsASubscription(t *testing.T) {
	srv, c := startAndConnect(t)
	mustAppend(t, c, "s", esdb.NoStream{}, event("x"))
	live := subscribe(t, c, "s", esdb.Start{})
	live.untilCaughtUp()
	// What was written before the tombstone is sent, also when the tombstone is
	// there by the time the subscription looks.
	release := make(chan struct{})
	srv.SetHooks(esdbtest.Hooks{BeforePage: esdbtest.Stall(release)})
	mustAppend(t, c, "s", esdb.Any{}, events(3)...)
	mustTombstone(t, c, "s")
	close(release)
	for want := range uint64(3) {
		require.Equal(t, want+1, live.nextEvent().Event.EventNumber)
	}
	require.Equal(t, "$streamDeleted", live.nextEvent().Event.EventType)
	dropped := live.next().SubscriptionDropped
	require.NotNil(t, dropped)
	require.Equal(t, codes.FailedPrecondition, status.Code(dropped.Error))

	_, err := c.SubscribeToStream(t.Context(), "s", esdb.SubscribeToStreamOptions{From: esdb.Start{}})
	requireCode(t, err, esdb.ErrorCodeStreamDeleted) // not confirmed
}

func TestM7_ASlowReaderDoesNotHoldUpWritersAndIsToldAgainThatItCaughtUp(t *testing.T) {
	srv, c := startAndConnect(t)
	mustAppend(t, c, "s", esdb.NoStream{}, event("first"))

	// The subscription's second page, the first live one, waits.
	release, live := make(chan struct{}), make(chan struct{})
	var pages atomic.Int64
	srv.SetHooks(esdbtest.Hooks{BeforePage: func(ctx context.Context, call esdbtest.Call) error {
		if pages.Add(1) != 2 {
			return nil
		}
		close(live)
		return esdbtest.Stall(release)(ctx, call)
	}})
	sub := subscribe(t, c, "s", esdb.Start{})
	sub.untilCaughtUp()
	mustAppend(t, c, "s", esdb.Any{}, event("wakes it"))
	<-live
	for range 10 {
		mustAppend(t, c, "s", esdb.Any{}, events(10)...)
	}
	close(release)
	rest, _ := sub.untilCaughtUp()
	require.Len(t, rest, 101)
}

func TestM7_CancellingASubscriptionEndsItsHandler(t *testing.T) {
	srv, c := startAndConnect(t)
	ctx, cancel := context.WithCancel(t.Context())
	sub, err := c.SubscribeToStream(ctx, "s", esdb.SubscribeToStreamOptions{From: esdb.Start{}})
	require.NoError(t, err)
	require.NotNil(t, sub.Recv().CaughtUp)
	cancel()
	require.NotNil(t, sub.Recv().SubscriptionDropped)
	srv.Stop() // would wait for the handler; TestMain looks for what is left
}

func TestM7_OlderServersDoNotSayThatASubscriptionCaughtUp(t *testing.T) {
	for version, says := range map[string]struct{ existing, missing bool }{
		"22.10.4": {false, false}, "23.10.0": {true, false}, "24.2.0": {true, true},
	} {
		t.Run(version, func(t *testing.T) {
			srv := start(t, &esdbtest.Options{Version: version})
			c := connect(t, srv.URL(), "")
			mustAppend(t, c, "existing", esdb.NoStream{}, event("x"))
			for stream, want := range map[string]bool{"existing": says.existing, "missing": says.missing} {
				sub := subscribe(t, c, stream, esdb.End{})
				if stream == "missing" {
					sub = subscribe(t, c, stream, esdb.Start{})
				}
				if want {
					require.NotNil(t, sub.next().CaughtUp, stream)
				}
				mustAppend(t, c, stream, esdb.Any{}, event("live"))
				require.NotNil(t, sub.next().EventAppeared, stream)
			}
		})
	}
}

func TestM8_FiltersMatchPrefixesOrOneExpression(t *testing.T) {
	_, c := startAndConnect(t)
	for _, s := range []string{"order-1", "invoice-1", "order-2", "other-1"} {
		mustAppend(t, c, s, esdb.NoStream{}, event("Created"), event("Paid"), event("paidBack"))
	}
	tests := []struct {
		name   string
		filter *esdb.SubscriptionFilter
		want   int
	}{
		{"stream prefixes", &esdb.SubscriptionFilter{Type: esdb.StreamFilterType, Prefixes: []string{"order-", "invoice-"}}, 9},
		{"stream expression", &esdb.SubscriptionFilter{Type: esdb.StreamFilterType, Regex: "^o.*-1$"}, 6},
		{"type prefix", &esdb.SubscriptionFilter{Type: esdb.EventFilterType, Prefixes: []string{"Pa"}}, 4},
		{"type expression", &esdb.SubscriptionFilter{Type: esdb.EventFilterType, Regex: "(?i)^paid"}, 8},
		{"no system events", esdb.ExcludeSystemEventsFilter(), 12},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			sub := subscribeAll(t, c, esdb.SubscribeToAllOptions{From: esdb.Start{}, Filter: test.filter})
			old, _ := sub.untilCaughtUp()
			require.Len(t, old, test.want)
		})
	}
}

func TestM8_ReadsOfAllTakeFiltersThatTheGoClientCannotSend(t *testing.T) {
	srv, c := startAndConnect(t)
	for i := range 100 {
		mustAppend(t, c, fmt.Sprintf("%s-%d", []string{"even", "odd"}[i%2], i), esdb.NoStream{}, event("x"))
	}
	for direction, name := range streams.ReadReq_Options_ReadDirection_name {
		t.Run(name, func(t *testing.T) {
			options := &streams.ReadReq_Options{
				StreamOption:  &streams.ReadReq_Options_All{All: &streams.ReadReq_Options_AllOptions{AllOption: &streams.ReadReq_Options_AllOptions_Start{}}},
				ReadDirection: streams.ReadReq_Options_ReadDirection(direction),
				CountOption:   &streams.ReadReq_Options_Count{Count: 40},
				UuidOption:    &streams.ReadReq_Options_UUIDOption{Content: &streams.ReadReq_Options_UUIDOption_Structured{}},
				FilterOption: &streams.ReadReq_Options_Filter{Filter: &streams.ReadReq_Options_FilterOptions{
					Filter: &streams.ReadReq_Options_FilterOptions_StreamIdentifier{
						StreamIdentifier: &streams.ReadReq_Options_FilterOptions_Expression{Prefix: []string{"odd-"}},
					},
					Window: &streams.ReadReq_Options_FilterOptions_Count{Count: &shared.Empty{}},
				}},
			}
			if options.ReadDirection == streams.ReadReq_Options_Backwards {
				options.GetAll().AllOption = &streams.ReadReq_Options_AllOptions_End{}
			}
			reading, err := raw(t, srv).Read(t.Context(), &streams.ReadReq{Options: options})
			require.NoError(t, err)
			count := 0
			for message, err := reading.Recv(); err == nil; message, err = reading.Recv() {
				require.True(t, strings.HasPrefix(string(message.GetEvent().GetEvent().GetStreamIdentifier().GetStreamName()), "odd-"))
				count++
			}
			require.Equal(t, 40, count)
		})
	}
}

func TestM8_ExpressionsAreThoseOfDotNet(t *testing.T) {
	_, c := startAndConnect(t)
	mustAppend(t, c, "a", esdb.NoStream{}, event("Happened"))
	follow := func(regex string) (*esdb.Subscription, error) {
		return c.SubscribeToAll(t.Context(), esdb.SubscribeToAllOptions{
			From: esdb.Start{}, Filter: &esdb.SubscriptionFilter{Type: esdb.EventFilterType, Regex: regex},
		})
	}
	// What the Python client sends when it is not told otherwise.
	sub, err := follow(`^(?!(\$.+$|PersistentConfig\d+$))`)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, sub.Close()) })
	old, _ := subscription{t, sub}.untilCaughtUp()
	require.Len(t, old, 1)

	_, err = follow("(")
	requireCode(t, err, esdb.ErrorCodeUnknown)
}
