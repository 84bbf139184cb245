package esdbtest_test

import (
	"context"
	"math"
	"testing"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/switchyard-dev/switchyard/backends/esdb/esdbtest"
)

// rarely asks for events that are rare, with a checkpoint each 20 others.
func rarely(from esdb.AllPosition) esdb.SubscribeToAllOptions {
	return esdb.SubscribeToAllOptions{
		From: from, MaxSearchWindow: 10, CheckpointInterval: 2,
		Filter: &esdb.SubscriptionFilter{Type: esdb.StreamFilterType, Prefixes: []string{"rare-"}},
	}
}

func TestM8_CheckpointsNameTheBeginningsOfPagesAndNotTheEnd(t *testing.T) {
	_, c := startAndConnect(t)
	first := mustAppend(t, c, "rare-1", esdb.NoStream{}, event("x"))
	last := mustAppend(t, c, "noise", esdb.Any{}, events(95)...)

	sub := subscribeAll(t, c, rarely(esdb.Start{}))
	old, checkpoints := sub.untilCaughtUp()
	require.Len(t, old, 1)
	require.Len(t, checkpoints, 5, "of 7 system events, a rare one and 95 others, one each 20")
	for _, checkpoint := range checkpoints {
		require.Greater(t, checkpoint.Commit, first.CommitPosition)
		require.Less(t, checkpoint.Commit, last.CommitPosition)
		require.Zero(t, checkpoint.Prepare, "they are places between events")
	}
	again, repeated := subscribeAll(t, c, rarely(checkpoints[4])).untilCaughtUp()
	require.Empty(t, again)
	require.Equal(t, checkpoints[4:], repeated, "who goes on from the last one learns nothing new")

	// Live they name the events that were considered, one each 20 as well.
	mustAppend(t, c, "noise", esdb.Any{}, events(19)...)
	live := mustAppend(t, c, "noise", esdb.Any{}, event("twentieth"))
	checkpoint := sub.next().CheckPointReached
	require.NotNil(t, checkpoint)
	require.Equal(t, esdb.Position{Commit: live.CommitPosition, Prepare: live.CommitPosition}, *checkpoint)
	rare := mustAppend(t, c, "rare-2", esdb.Any{}, event("y"))
	require.Equal(t, rare.CommitPosition, sub.nextEvent().Event.Position.Commit)

	// They are good to resume from all the same.
	for _, from := range append(checkpoints, *checkpoint) {
		resumed, _ := subscribeAll(t, c, rarely(from)).untilCaughtUp()
		require.Len(t, resumed, 1)
		require.Equal(t, "rare-2", resumed[0].Event.StreamID)
	}
}

func TestM8_WhoFindsNothingFromTheStartIsSentTheEnd(t *testing.T) {
	end := esdb.Position{Commit: math.MaxUint64, Prepare: math.MaxUint64}
	for version, want := range map[string]esdb.Position{"24.6.0": end, "24.10.4": end, "25.0.0": end, "24.10.5": {}, "25.0.1": {}} {
		t.Run(version, func(t *testing.T) {
			srv := start(t, &esdbtest.Options{Version: version})
			c := connect(t, srv.URL(), "")
			_, checkpoints := subscribeAll(t, c, rarely(esdb.Start{})).untilCaughtUp()
			require.Equal(t, []esdb.Position{want}, checkpoints)

			// Whoever goes on from there misses what came in between, or does not.
			mustAppend(t, c, "rare-1", esdb.NoStream{}, event("between"))
			missed, _ := subscribeAll(t, c, rarely(checkpoints[0])).untilCaughtUp()
			require.Equal(t, want == end, len(missed) == 0)
		})
	}
}

func TestM8_NewVersionsSayWhereTheyCaughtUp(t *testing.T) {
	for version, says := range map[string]bool{"24.10.4": false, "24.10.5": true, "25.0.0": false, "25.0.1": true} {
		srv := start(t, &esdbtest.Options{Version: version})
		at := mustAppend(t, connect(t, srv.URL(), ""), "rare-1", esdb.NoStream{}, events(3)...)
		for name, options := range map[string]*streams.ReadReq_Options{
			"all": {StreamOption: &streams.ReadReq_Options_All{All: &streams.ReadReq_Options_AllOptions{
				AllOption: &streams.ReadReq_Options_AllOptions_Start{},
			}}},
			"stream": {StreamOption: &streams.ReadReq_Options_Stream{Stream: &streams.ReadReq_Options_StreamOptions{
				StreamIdentifier: &shared.StreamIdentifier{StreamName: []byte("rare-1")},
				RevisionOption:   &streams.ReadReq_Options_StreamOptions_Start{},
			}}},
		} {
			options.CountOption = &streams.ReadReq_Options_Subscription{}
			options.FilterOption = &streams.ReadReq_Options_NoFilter{}
			options.UuidOption = &streams.ReadReq_Options_UUIDOption{Content: &streams.ReadReq_Options_UUIDOption_Structured{}}
			t.Run(version+" "+name, func(t *testing.T) {
				fields := caughtUpFields(t, raw(t, srv), options)
				if !says {
					require.Empty(t, fields)
					return
				}
				require.Contains(t, fields, protowire.Number(1), "the time")
				if name == "stream" {
					require.Equal(t, protowire.AppendVarint(nil, 2), fields[2], "the revision")
					return
				}
				want := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), at.CommitPosition)
				want = protowire.AppendVarint(protowire.AppendTag(want, 2, protowire.VarintType), at.CommitPosition)
				require.Equal(t, protowire.AppendBytes(nil, want), fields[3], "the position")
			})
		}
	}
}

// caughtUpFields is the contents of "caught up", by their numbers.
func caughtUpFields(t *testing.T, client streams.StreamsClient, options *streams.ReadReq_Options) map[protowire.Number][]byte {
	t.Helper()
	call, err := client.Read(t.Context(), &streams.ReadReq{Options: options})
	require.NoError(t, err)
	for {
		m, err := call.Recv()
		require.NoError(t, err)
		if m.GetCaughtUp() == nil {
			continue
		}
		fields := map[protowire.Number][]byte{}
		for rest := []byte(m.GetCaughtUp().ProtoReflect().GetUnknown()); len(rest) > 0; {
			number, kind, n := protowire.ConsumeTag(rest)
			require.Positive(t, n)
			length := protowire.ConsumeFieldValue(number, kind, rest[n:])
			require.Positive(t, length)
			fields[number] = rest[n : n+length]
			rest = rest[n+length:]
		}
		return fields
	}
}

func TestM8_AServerWithAHistorySendsCheckpointsFromTheStart(t *testing.T) {
	srv := start(t, &esdbtest.Options{History: 100})
	c := connect(t, srv.URL(), "")
	require.Len(t, mustRevisions(t, c, "history-7"), 10)
	_, checkpoints := subscribeAll(t, c, rarely(esdb.Start{})).untilCaughtUp()
	require.Len(t, checkpoints, 5)
}

func TestM7_AReaderFallsBehindByWhatWaitsAndNotByTheLengthOfAnAppend(t *testing.T) {
	srv, c := startAndConnect(t)
	all := esdb.SubscribeToAllOptions{From: esdb.End{}, MaxSearchWindow: 10, CheckpointInterval: 1000, Filter: esdb.ExcludeSystemEventsFilter()}
	for name, follow := range map[string]func() subscription{
		"to a stream": func() subscription { return subscribe(t, c, "s", esdb.End{}) },
		"to all":      func() subscription { return subscribeAll(t, c, all) },
	} {
		t.Run(name, func(t *testing.T) {
			sub := follow()
			sub.untilCaughtUp()
			before := mustAppend(t, c, "s", esdb.Any{}, event("before"))
			require.Equal(t, before.NextExpectedVersion, sub.nextEvent().Event.EventNumber)
			// A long append to a reader that waits for it does not make it fall behind.
			long := mustAppend(t, c, "s", esdb.Any{}, events(100)...)
			for next := before.NextExpectedVersion + 1; next <= long.NextExpectedVersion; next++ {
				require.Equal(t, next, sub.next().EventAppeared.Event.EventNumber, "it is sent as it comes")
			}
			// More appends than the queue holds, to one that is held up, do.
			release := make(chan struct{})
			srv.SetHooks(esdbtest.Hooks{BeforePage: func(ctx context.Context, call esdbtest.Call) error {
				if call.Method == esdbtest.MethodSubscribe {
					return esdbtest.Stall(release)(ctx, call)
				}
				return nil
			}})
			mustAppend(t, c, "s", esdb.Any{}, event("is delivered"))
			for range 33 {
				mustAppend(t, c, "s", esdb.Any{}, event("waits"))
			}
			close(release)
			srv.SetHooks(esdbtest.Hooks{})
			caughtUpAgain, _ := sub.untilCaughtUp()
			require.NotEmpty(t, caughtUpAgain)
			require.Equal(t, "waits", caughtUpAgain[len(caughtUpAgain)-1].Event.EventType)
		})
	}
}
