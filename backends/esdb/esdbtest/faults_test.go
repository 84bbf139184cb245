package esdbtest_test

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/switchyard-dev/switchyard/backends/esdb/esdbtest"
)

func TestM12_AFailureBeforeTheCommitStoresNothing(t *testing.T) {
	srv, c := startAndConnect(t)
	srv.SetHooks(esdbtest.Hooks{BeforeCommit: esdbtest.FailTimes(2, status.Error(codes.Aborted, "Operation timed out"))})
	_, err := appendTo(t.Context(), c, "s", esdb.NoStream{}, event("x"))
	requireCode(t, err, esdb.ErrorAborted)
	_, err = c.DeleteStream(t.Context(), "s", esdb.DeleteStreamOptions{ExpectedRevision: esdb.Any{}})
	requireCode(t, err, esdb.ErrorAborted)
	require.EqualValues(t, 0, mustAppend(t, c, "s", esdb.NoStream{}, event("x")).NextExpectedVersion)
}

func TestM12_AFailureAfterTheCommitIsAmbiguousAndTheRetryDecides(t *testing.T) {
	srv, c := startAndConnect(t)
	var calls []esdbtest.Call
	fail := esdbtest.FailTimes(1, status.Error(codes.Unavailable, "gone"))
	srv.SetHooks(esdbtest.Hooks{AfterCommit: func(ctx context.Context, call esdbtest.Call) error {
		calls = append(calls, call)
		return fail(ctx, call)
	}})
	batch := events(3)
	_, err := appendTo(t.Context(), c, "s", esdb.NoStream{}, batch...)
	requireCode(t, err, esdb.ErrorUnavailable)
	require.EqualValues(t, 2, mustAppend(t, c, "s", esdb.NoStream{}, batch...).NextExpectedVersion)
	require.Len(t, mustRevisions(t, c, "s"), 3)
	want := esdbtest.Call{Method: esdbtest.MethodAppend, Stream: "s", Events: 3}
	require.Equal(t, []esdbtest.Call{want, want}, calls)
}

func TestM12_AStalledCallMeetsItsDeadline(t *testing.T) {
	srv, c := startAndConnect(t)
	mustAppend(t, c, "warm", esdb.Any{}, event("x"))
	never := make(chan struct{})
	short := 50 * time.Millisecond
	stalled := func(hooks esdbtest.Hooks) {
		srv.SetHooks(hooks)
		_, err := c.AppendToStream(t.Context(), "s", esdb.AppendToStreamOptions{ExpectedRevision: esdb.NoStream{}, Deadline: &short}, event("x"))
		requireCode(t, err, esdb.ErrorCodeDeadlineExceeded)
		srv.SetHooks(esdbtest.Hooks{})
	}
	stalled(esdbtest.Hooks{BeforeCommit: esdbtest.Stall(never)})
	stalled(esdbtest.Hooks{BeforeCommit: func(ctx context.Context, _ esdbtest.Call) error {
		<-ctx.Done()
		return nil // nobody waits for the answer any more, so nothing is stored
	}})
	_, err := readStream(t.Context(), c, "s", esdb.ReadStreamOptions{}, 1)
	requireCode(t, err, esdb.ErrorCodeResourceNotFound)
	var committed atomic.Bool
	for ; !committed.Load(); short *= 2 { // in less a slow machine may not have got so far
		stalled(esdbtest.Hooks{AfterCommit: func(ctx context.Context, call esdbtest.Call) error {
			committed.Store(true)
			return esdbtest.Stall(never)(ctx, call)
		}})
	}
	require.Len(t, mustRevisions(t, c, "s"), 1)
}

func TestM12_DroppedConnectionsEndCallsAndClientsComeBack(t *testing.T) {
	srv, c := startAndConnect(t)
	e := event("x")
	srv.SetHooks(esdbtest.Hooks{AfterCommit: esdbtest.FailTimes(1, esdbtest.ErrDrop)})
	_, err := appendTo(t.Context(), c, "s", esdb.NoStream{}, e)
	requireCode(t, err, esdb.ErrorUnavailable)
	require.EqualValues(t, 0, mustAppend(t, c, "s", esdb.NoStream{}, e).NextExpectedVersion)

	sub := subscribe(t, c, "s", esdb.Start{})
	sub.untilCaughtUp()
	srv.DropConnections()
	require.NotNil(t, sub.next().SubscriptionDropped)
	again := subscribe(t, c, "s", esdb.Revision(0))
	mustAppend(t, c, "s", esdb.Any{}, event("y"))
	require.EqualValues(t, 1, again.nextEvent().Event.EventNumber)
}

func TestM12_AReadCanFailBetweenTwoPages(t *testing.T) {
	srv, c := startAndConnect(t)
	mustAppend(t, c, "s", esdb.NoStream{}, events(100)...)
	pages := 0
	srv.SetHooks(esdbtest.Hooks{BeforePage: func(context.Context, esdbtest.Call) error {
		if pages++; pages == 3 {
			return status.Error(codes.Unavailable, "gone")
		}
		return nil
	}})
	evs, err := readStream(t.Context(), c, "s", esdb.ReadStreamOptions{}, 100)
	requireCode(t, err, esdb.ErrorUnavailable)
	require.Len(t, evs, 64)
}

func TestM12_ARestartKeepsTheLogAndThePort(t *testing.T) {
	srv, c := startAndConnect(t)
	before := mustAppend(t, c, "s", esdb.NoStream{}, events(3)...)
	sub := subscribe(t, c, "s", esdb.End{})
	require.NotNil(t, sub.next().CaughtUp)
	address := srv.Address()
	srv.Stop()
	srv.Stop() // twice is no error
	require.NotNil(t, sub.next().SubscriptionDropped)
	var dialer net.Dialer
	_, err := dialer.DialContext(t.Context(), "tcp", address)
	require.Error(t, err, "nobody listens")
	require.Equal(t, address, srv.Address())

	require.NoError(t, srv.Restart())
	require.Equal(t, address, srv.Address())
	again := connect(t, srv.URL(), "")
	require.Equal(t, []uint64{0, 1, 2}, mustRevisions(t, again, "s"))
	// The node's new epoch is in $all, and positions go on.
	behind, err := readAll(t.Context(), again, esdb.ReadAllOptions{From: esdb.Position{Commit: before.CommitPosition, Prepare: before.PreparePosition}}, 10)
	require.NoError(t, err)
	require.Equal(t, "$epoch-information", behind[1].Event.EventType)

	require.NoError(t, srv.Restart(), "also while it runs")
}

func TestM12_TheSameClientComesBackAfterAnOutage(t *testing.T) {
	srv := start(t, nil)
	c := connect(t, srv.URL(), "&maxDiscoverAttempts=1000000&discoveryInterval=10")
	mustAppend(t, c, "s", esdb.NoStream{}, event("x"))
	require.NoError(t, srv.Restart())
	require.Eventually(t, func() bool {
		_, err := appendTo(t.Context(), c, "s", esdb.Any{}, event("y"))
		return err == nil
	}, testTimeout, 10*time.Millisecond)
}

func TestM12_RestartsUnderLoadLoseNothingThatWasAcknowledged(t *testing.T) {
	const writers, each = 4, 200
	srv := start(t, nil)
	var acknowledged atomic.Int64
	var done sync.WaitGroup
	for w := range writers {
		stream := fmt.Sprintf("s-%d", w)
		c := connect(t, srv.URL(), "&maxDiscoverAttempts=1000000&discoveryInterval=10")
		done.Go(func() {
			var expected esdb.ExpectedRevision = esdb.NoStream{}
			for i := range uint64(each) {
				// With the same id and the same expected revision a retry is
				// safe, however the attempt before it ended.
				e := event("x")
				for _, err := appendTo(t.Context(), c, stream, expected, e); err != nil && t.Context().Err() == nil; {
					_, err = appendTo(t.Context(), c, stream, expected, e)
				}
				acknowledged.Add(1)
				expected = esdb.Revision(i)
			}
		})
	}
	for range 20 {
		before := acknowledged.Load()
		require.NoError(t, srv.Restart())
		require.Eventually(t, func() bool {
			now := acknowledged.Load()
			return now > before || now == writers*each
		}, testTimeout, time.Millisecond)
	}
	done.Wait()
	c := connect(t, srv.URL(), "")
	for w := range writers {
		require.Len(t, mustRevisions(t, c, fmt.Sprintf("s-%d", w)), each)
	}
}

func TestStartRefusesAnAddressItCannotHave(t *testing.T) {
	srv := start(t, nil)
	for _, opts := range []esdbtest.Options{{Address: srv.Address()}, {Address: "nowhere"}, {Address: "nowhere", Secure: true}} {
		_, err := esdbtest.Start(&opts)
		require.ErrorContains(t, err, "esdbtest: ")
	}
}

func TestM12_ASubscriptionFromTheEndMissesWhatIsWrittenBeforeItLooks(t *testing.T) {
	srv, c := startAndConnect(t)
	release, held := make(chan struct{}), make(chan struct{})
	srv.SetHooks(esdbtest.Hooks{BeforeRead: func(ctx context.Context, call esdbtest.Call) error {
		if call.Method != esdbtest.MethodSubscribe {
			return nil
		}
		close(held)
		return esdbtest.Stall(release)(ctx, call)
	}})
	go func() {
		<-held
		_, _ = appendTo(t.Context(), c, "s", esdb.Any{}, event("before")) // it shows below
		close(release)
	}()
	sub := subscribeAll(t, c, esdb.SubscribeToAllOptions{From: esdb.End{}})
	require.NotNil(t, sub.next().CaughtUp)
	mustAppend(t, c, "s", esdb.Any{}, event("after"))
	require.Equal(t, "after", sub.nextEvent().Event.EventType)
	require.Equal(t, []uint64{0, 1}, mustRevisions(t, c, "s"))
}

func TestTheHundredAndFirstCallOfAConnectionWaits(t *testing.T) {
	srv, c := startAndConnect(t)
	client := raw(t, srv) // one connection
	ctx, cancel := context.WithCancel(t.Context())
	for i := range 100 {
		call, err := client.Read(ctx, &streams.ReadReq{Options: &streams.ReadReq_Options{
			StreamOption: &streams.ReadReq_Options_All{All: &streams.ReadReq_Options_AllOptions{
				AllOption: &streams.ReadReq_Options_AllOptions_End{},
			}},
			CountOption:  &streams.ReadReq_Options_Subscription{},
			FilterOption: &streams.ReadReq_Options_NoFilter{},
			UuidOption:   &streams.ReadReq_Options_UUIDOption{Content: &streams.ReadReq_Options_UUIDOption_Structured{}},
		}})
		require.NoError(t, err)
		_, err = call.Recv()
		require.NoError(t, err, "subscription %d", i)
	}
	deleted := make(chan error, 1)
	mustAppend(t, c, "s", esdb.Any{}, event("another connection is free"))
	go func() {
		_, err := client.Delete(t.Context(), &streams.DeleteReq{Options: &streams.DeleteReq_Options{
			StreamIdentifier:       &shared.StreamIdentifier{StreamName: []byte("s")},
			ExpectedStreamRevision: &streams.DeleteReq_Options_Any{},
		}})
		deleted <- err
	}()
	select {
	case err := <-deleted:
		t.Fatal("it was served", err)
	case <-time.After(quiet):
	}
	cancel()
	require.NoError(t, <-deleted, "it is served when a call ends")
}
