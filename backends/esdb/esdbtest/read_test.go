package esdbtest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strings"
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

func TestM3_PositionsAreSparseAndCommitEqualsPrepare(t *testing.T) {
	_, c := startAndConnect(t)
	var written []uint64
	for i := range 5 {
		e := event("x")
		e.Data = []byte(strings.Repeat("x", 1+7*i))
		written = append(written, mustAppend(t, c, fmt.Sprintf("s-%d", i), esdb.Any{}, e).CommitPosition)
	}
	all, err := readAll(t.Context(), c, esdb.ReadAllOptions{}, 1000)
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(all[0].Event.StreamID, "$"), "$all begins with system events")
	last := uint64(0)
	distances := map[uint64]bool{}
	for _, e := range all {
		p := e.Event.Position
		require.Equal(t, p.Commit, p.Prepare)
		require.Greater(t, p.Commit, last+1)
		distances[p.Commit-last] = true
		last = p.Commit
	}
	require.Equal(t, written[4], last)
	require.Greater(t, len(distances), 5, "records have no common size")
}

func TestM3_ForwardReadsIncludeTheirPositionAndBackwardReadsExcludeIt(t *testing.T) {
	_, c := startAndConnect(t)
	mustAppend(t, c, "s", esdb.NoStream{}, events(3)...)
	at := mustAppend(t, c, "s", esdb.Any{}, event("at"))
	mustAppend(t, c, "s", esdb.Any{}, event("after"))
	position := esdb.Position{Commit: at.CommitPosition, Prepare: at.PreparePosition}

	forward, err := readAll(t.Context(), c, esdb.ReadAllOptions{From: position}, 10)
	require.NoError(t, err)
	require.Equal(t, []uint64{3, 4}, revisions(forward))

	backward, err := readAll(t.Context(), c, esdb.ReadAllOptions{From: position, Direction: esdb.Backwards}, 3)
	require.NoError(t, err)
	require.Equal(t, []uint64{2, 1, 0}, revisions(backward))

	none, err := readAll(t.Context(), c, esdb.ReadAllOptions{From: esdb.Start{}, Direction: esdb.Backwards}, 10)
	require.NoError(t, err)
	require.Empty(t, none)
	none, err = readAll(t.Context(), c, esdb.ReadAllOptions{From: esdb.End{}}, 10)
	require.NoError(t, err)
	require.Empty(t, none)
}

func TestM3_PositionsInsideARecordAreRefused(t *testing.T) {
	_, c := startAndConnect(t)
	at := mustAppend(t, c, "s", esdb.NoStream{}, events(2)...)
	inside := esdb.Position{Commit: at.CommitPosition - 1, Prepare: at.CommitPosition - 1}

	for _, direction := range []esdb.Direction{esdb.Forwards, esdb.Backwards} {
		_, err := readAll(t.Context(), c, esdb.ReadAllOptions{From: inside, Direction: direction}, 10)
		requireCode(t, err, esdb.ErrorCodeUnknown)
	}
	dropped := subscribeAll(t, c, esdb.SubscribeToAllOptions{From: inside}).next().SubscriptionDropped
	require.NotNil(t, dropped)
	require.Equal(t, codes.InvalidArgument, status.Code(dropped.Error))

	// Beyond the end: nothing to read forward, and a subscription waits there.
	beyond := esdb.Position{Commit: at.CommitPosition + 1<<20, Prepare: at.CommitPosition + 1<<20}
	none, err := readAll(t.Context(), c, esdb.ReadAllOptions{From: beyond}, 10)
	require.NoError(t, err)
	require.Empty(t, none)
	sub := subscribeAll(t, c, esdb.SubscribeToAllOptions{From: beyond})
	require.NotNil(t, sub.next().CaughtUp)
	mustAppend(t, c, "s", esdb.Any{}, event("before that position"))
	filler := event("filler")
	filler.Data = make([]byte, 1<<20-100)
	mustAppend(t, c, "s", esdb.Any{}, filler)
	behind := mustAppend(t, c, "s", esdb.Any{}, event("behind that position"))
	require.Equal(t, behind.CommitPosition, sub.nextEvent().Event.Position.Commit)
}

func TestM3_SubscriptionsStartAfterTheirPosition(t *testing.T) {
	_, c := startAndConnect(t)
	at := mustAppend(t, c, "s", esdb.NoStream{}, event("at"))
	mustAppend(t, c, "s", esdb.Any{}, event("after"))

	sub := subscribeAll(t, c, esdb.SubscribeToAllOptions{From: esdb.Position{Commit: at.CommitPosition, Prepare: at.PreparePosition}})
	require.Equal(t, "after", sub.nextEvent().Event.EventType)

	// Half a position is a smaller one, and the event comes again.
	half := subscribeAll(t, c, esdb.SubscribeToAllOptions{From: esdb.Position{Commit: at.CommitPosition}})
	require.Equal(t, "at", half.nextEvent().Event.EventType)

	first := subscribeAll(t, c, esdb.SubscribeToAllOptions{From: esdb.Start{}})
	require.Equal(t, "$epoch-information", first.nextEvent().Event.EventType)
}

func TestM4_MissingAndSoftDeletedStreamsAreNotFound(t *testing.T) {
	_, c := startAndConnect(t)
	mustAppend(t, c, "deleted", esdb.NoStream{}, events(3)...)
	mustDelete(t, c, "deleted")
	for _, stream := range []string{"missing", "deleted"} {
		for _, opts := range []esdb.ReadStreamOptions{{}, {Direction: esdb.Backwards, From: esdb.End{}}} {
			reading, err := c.ReadStream(t.Context(), stream, opts, 1)
			require.NoError(t, err, "the client learns of it with the first event")
			_, err = reading.Recv()
			requireCode(t, err, esdb.ErrorCodeResourceNotFound)
		}
	}
}

func TestM4_TombstonedStreamsAreAnError(t *testing.T) {
	_, c := startAndConnect(t)
	mustAppend(t, c, "s", esdb.NoStream{}, events(3)...)
	mustTombstone(t, c, "s")
	for _, stream := range []string{"s", "$$s"} {
		_, err := readStream(t.Context(), c, stream, esdb.ReadStreamOptions{}, 1)
		requireCode(t, err, esdb.ErrorCodeStreamDeleted)
		_, err = appendTo(t.Context(), c, stream, esdb.Any{}, event("x"))
		requireCode(t, err, esdb.ErrorCodeStreamDeleted)
	}
	all, err := readAll(t.Context(), c, esdb.ReadAllOptions{Direction: esdb.Backwards, From: esdb.End{}}, 4)
	require.NoError(t, err)
	require.Equal(t, "$streamDeleted", all[0].Event.EventType)
	require.Equal(t, "s", all[3].Event.StreamID, "the events stay in $all")
}

func TestM4_ReadsPastTheEndAreEmptyAndEmptyReadsFail(t *testing.T) {
	_, c := startAndConnect(t)
	mustAppend(t, c, "s", esdb.NoStream{}, events(3)...)
	tests := []struct {
		name  string
		opts  esdb.ReadStreamOptions
		count uint64
		want  []uint64 // nil: fails
	}{
		{"past the end", esdb.ReadStreamOptions{From: esdb.Revision(3)}, 5, []uint64{}},
		{"from the middle", esdb.ReadStreamOptions{From: esdb.Revision(1)}, 5, []uint64{1, 2}},
		{"limited", esdb.ReadStreamOptions{}, 2, []uint64{0, 1}},
		{"most", esdb.ReadStreamOptions{}, math.MaxUint64, []uint64{0, 1, 2}},
		{"back from the end", esdb.ReadStreamOptions{Direction: esdb.Backwards, From: esdb.End{}}, 2, []uint64{2, 1}},
		{"back from past the end", esdb.ReadStreamOptions{Direction: esdb.Backwards, From: esdb.Revision(9)}, 2, []uint64{2, 1}},
		{"back from the start", esdb.ReadStreamOptions{Direction: esdb.Backwards, From: esdb.Start{}}, 2, []uint64{0}},
		{"none", esdb.ReadStreamOptions{}, 0, nil},
		{"none backward", esdb.ReadStreamOptions{Direction: esdb.Backwards, From: esdb.End{}}, 0, nil},
		{"forward from the end", esdb.ReadStreamOptions{From: esdb.End{}}, 5, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			evs, err := readStream(t.Context(), c, "s", test.opts, test.count)
			if test.want == nil {
				requireCode(t, err, esdb.ErrorCodeUnknown)
				return
			}
			require.NoError(t, err)
			require.Equal(t, test.want, revisions(evs))
		})
	}
}

func TestM4_AReadOfNoEventsOfAllNeverEnds(t *testing.T) {
	_, c := startAndConnect(t)
	ctx, cancel := context.WithCancel(t.Context())
	reading, err := c.ReadAll(ctx, esdb.ReadAllOptions{}, 0)
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() {
		_, err := drain(reading)
		ended <- err
	}()
	select {
	case err := <-ended:
		t.Fatal("it ended", err)
	case <-time.After(quiet):
	}
	cancel()
	require.Error(t, <-ended)
}

func TestM4_StreamPositionsComeOnlyToThoseWhoAsk(t *testing.T) {
	srv, c := startAndConnect(t)
	mustAppend(t, c, "s", esdb.NoStream{}, events(3)...)
	ask := func(compatibility uint32) (last []uint64) {
		reading, err := raw(t, srv).Read(t.Context(), &streams.ReadReq{Options: &streams.ReadReq_Options{
			StreamOption: &streams.ReadReq_Options_Stream{Stream: &streams.ReadReq_Options_StreamOptions{
				StreamIdentifier: &shared.StreamIdentifier{StreamName: []byte("s")},
				RevisionOption:   &streams.ReadReq_Options_StreamOptions_Start{},
			}},
			CountOption:   &streams.ReadReq_Options_Count{Count: 10},
			FilterOption:  &streams.ReadReq_Options_NoFilter{},
			UuidOption:    &streams.ReadReq_Options_UUIDOption{Content: &streams.ReadReq_Options_UUIDOption_Structured{}},
			ControlOption: &streams.ReadReq_Options_ControlOption{Compatibility: compatibility},
		}})
		require.NoError(t, err)
		for {
			message, err := reading.Recv()
			if err != nil {
				return last
			}
			if p, ok := message.Content.(*streams.ReadResp_LastStreamPosition); ok {
				last = append(last, p.LastStreamPosition)
			}
		}
	}
	require.Empty(t, ask(0))
	require.Equal(t, []uint64{2}, ask(1))
}

func TestM5_DeletesOfTheWrongVersionTellInTrailersOnly(t *testing.T) {
	_, c := startAndConnect(t)
	mustAppend(t, c, "three", esdb.NoStream{}, events(3)...)
	remove := map[string]func(string, esdb.ExpectedRevision) error{
		"delete": func(stream string, expected esdb.ExpectedRevision) error {
			_, err := c.DeleteStream(t.Context(), stream, esdb.DeleteStreamOptions{ExpectedRevision: expected})
			return err
		},
		"tombstone": func(stream string, expected esdb.ExpectedRevision) error {
			_, err := c.TombstoneStream(t.Context(), stream, esdb.TombstoneStreamOptions{ExpectedRevision: expected})
			return err
		},
	}
	for name, do := range remove {
		t.Run(name, func(t *testing.T) {
			for _, expected := range []esdb.ExpectedRevision{esdb.NoStream{}, esdb.Revision(1), esdb.Revision(3)} {
				err := do("three", expected)
				requireCode(t, err, esdb.ErrorCodeUnknown)
				require.ErrorContains(t, err, "Delete failed due to WrongExpectedVersion")
				require.ErrorContains(t, err, "Actual version: 2")
			}
		})
	}
	err := remove["delete"]("missing", esdb.Any{})
	requireCode(t, err, esdb.ErrorCodeUnknown)
	require.ErrorContains(t, err, "Actual version: -1")
	require.NoError(t, remove["tombstone"]("missing", esdb.Any{}), "a stream may be tombstoned before its life")
	requireCode(t, remove["delete"]("missing", esdb.Any{}), esdb.ErrorCodeStreamDeleted)
	require.NoError(t, remove["delete"]("three", esdb.Revision(2)))
}

func TestM5_ASoftDeletedStreamRevivesAndNumberingContinues(t *testing.T) {
	for _, expected := range []esdb.ExpectedRevision{esdb.Any{}, esdb.NoStream{}, esdb.Revision(2)} {
		t.Run(fmt.Sprintf("%T", expected), func(t *testing.T) {
			_, c := startAndConnect(t)
			mustAppend(t, c, "s", esdb.NoStream{}, events(3)...)
			mustDelete(t, c, "s")
			mustDelete(t, c, "s") // twice is no error
			_, err := appendTo(t.Context(), c, "s", esdb.StreamExists{}, event("x"))
			requireCode(t, err, esdb.ErrorCodeStreamDeleted)
			// The client's own type rounds this number to 2^63, so look at the event.
			metadata, err := readStream(t.Context(), c, "$$s", esdb.ReadStreamOptions{}, 1)
			require.NoError(t, err)
			require.JSONEq(t, `{"$tb":9223372036854775807}`, string(metadata[0].Event.Data))

			require.EqualValues(t, 4, mustAppend(t, c, "s", expected, events(2)...).NextExpectedVersion)
			require.Equal(t, []uint64{3, 4}, mustRevisions(t, c, "s"))
			meta, err := c.GetStreamMetadata(t.Context(), "s", esdb.ReadStreamOptions{})
			require.NoError(t, err)
			require.EqualValues(t, 3, *meta.TruncateBefore())
		})
	}
}

func TestM5_MetadataWrittenToASoftDeletedStreamRevivesIt(t *testing.T) {
	_, c := startAndConnect(t)
	mustAppend(t, c, "s", esdb.NoStream{}, events(3)...)
	mustDelete(t, c, "s")
	meta := esdb.StreamMetadata{}
	meta.SetMaxCount(5)
	_, err := c.SetStreamMetadata(t.Context(), "s", esdb.AppendToStreamOptions{}, meta)
	require.NoError(t, err)
	got, err := c.GetStreamMetadata(t.Context(), "s", esdb.ReadStreamOptions{})
	require.NoError(t, err)
	require.EqualValues(t, 5, *got.MaxCount())
	require.EqualValues(t, 3, *got.TruncateBefore())
	require.Empty(t, mustRevisions(t, c, "s"), "it exists and is empty")
}

func TestM6_AMetastreamKeepsOneEvent(t *testing.T) {
	_, c := startAndConnect(t)
	for n := range uint64(3) {
		meta := esdb.StreamMetadata{}
		meta.SetMaxCount(n + 1)
		_, err := c.SetStreamMetadata(t.Context(), "s", esdb.AppendToStreamOptions{}, meta)
		require.NoError(t, err)
	}
	require.Equal(t, []uint64{2}, mustRevisions(t, c, "$$s"))
	got, err := c.GetStreamMetadata(t.Context(), "s", esdb.ReadStreamOptions{})
	require.NoError(t, err)
	require.EqualValues(t, 3, *got.MaxCount())
}

func TestM6_MetadataHidesEventsFromStreamReadsButNotFromAll(t *testing.T) {
	now := atomic.Pointer[time.Time]{}
	begin := time.Now()
	now.Store(&begin)
	srv := start(t, &esdbtest.Options{Now: func() time.Time { return *now.Load() }})
	c := connect(t, srv.URL(), "")

	set := func(stream string, change func(*esdb.StreamMetadata)) {
		meta := esdb.StreamMetadata{}
		change(&meta)
		_, err := c.SetStreamMetadata(t.Context(), stream, esdb.AppendToStreamOptions{}, meta)
		require.NoError(t, err)
	}
	set("aged", func(m *esdb.StreamMetadata) { m.SetMaxAge(time.Minute) })
	mustAppend(t, c, "aged", esdb.NoStream{}, events(40)...)
	later := begin.Add(50 * time.Second)
	now.Store(&later)
	mustAppend(t, c, "aged", esdb.Any{}, events(2)...)
	require.Len(t, mustRevisions(t, c, "aged"), 42)
	later2 := begin.Add(61 * time.Second)
	now.Store(&later2)

	mustAppend(t, c, "counted", esdb.NoStream{}, events(50)...)
	set("counted", func(m *esdb.StreamMetadata) { m.SetMaxCount(3) })
	mustAppend(t, c, "truncated", esdb.NoStream{}, events(50)...)
	set("truncated", func(m *esdb.StreamMetadata) { m.SetTruncateBefore(47) })
	mustAppend(t, c, "emptied", esdb.NoStream{}, events(5)...)
	set("emptied", func(m *esdb.StreamMetadata) { m.SetTruncateBefore(5) })

	for stream, want := range map[string][]uint64{
		"aged": {40, 41}, "counted": {47, 48, 49}, "truncated": {47, 48, 49}, "emptied": {},
	} {
		require.Equal(t, want, mustRevisions(t, c, stream), stream)
		evs, err := readStream(t.Context(), c, stream, esdb.ReadStreamOptions{Direction: esdb.Backwards, From: esdb.End{}}, 100)
		require.NoError(t, err)
		require.Len(t, evs, len(want), stream)
		caughtUp, _ := subscribe(t, c, stream, esdb.Start{}).untilCaughtUp()
		require.Equal(t, want, revisions(caughtUp), stream)
	}
	all, err := readAll(t.Context(), c, esdb.ReadAllOptions{}, 1000)
	require.NoError(t, err)
	seen := map[string]int{}
	for _, e := range all {
		seen[e.Event.StreamID]++
	}
	require.Equal(t, 42, seen["aged"])
	require.Equal(t, 50, seen["counted"])
	require.Equal(t, 50, seen["truncated"])
}

func TestM6_UnreadableMetadataIsIgnored(t *testing.T) {
	_, c := startAndConnect(t)
	mustAppend(t, c, "s", esdb.NoStream{}, events(3)...)
	for _, data := range []string{`{`, `[]`, `{"$tb":-1,"$maxCount":"many"}`, `{"$acl":7}`} {
		mustAppend(t, c, "$$s", esdb.Any{}, esdb.EventData{EventType: "$metadata", ContentType: esdb.ContentTypeJson, Data: json.RawMessage(data)})
		require.Len(t, mustRevisions(t, c, "s"), 3, data)
	}
}

func TestM13_LinksAreResolvedAndMissingTargetsAreNil(t *testing.T) {
	_, c := startAndConnect(t)
	mustAppend(t, c, "source", esdb.NoStream{}, events(3)...)
	mustAppend(t, c, "hidden", esdb.NoStream{}, events(3)...)
	mustDelete(t, c, "hidden")
	mustAppend(t, c, "gone", esdb.NoStream{}, event("x"))
	mustTombstone(t, c, "gone")
	mustAppend(t, c, "truncated", esdb.NoStream{}, events(3)...)
	meta := esdb.StreamMetadata{}
	meta.SetTruncateBefore(1)
	_, err := c.SetStreamMetadata(t.Context(), "truncated", esdb.AppendToStreamOptions{}, meta)
	require.NoError(t, err)
	for _, target := range []string{"1@source", "9@source", "0@hidden", "0@gone", "0@missing", "0@truncated", "no link"} {
		mustAppend(t, c, "links", esdb.Any{}, esdb.EventData{EventType: "$>", ContentType: esdb.ContentTypeBinary, Data: []byte(target)})
	}

	plain, err := readStream(t.Context(), c, "links", esdb.ReadStreamOptions{}, 10)
	require.NoError(t, err)
	require.Nil(t, plain[0].Link)
	require.Equal(t, "$>", plain[0].Event.EventType)

	check := func(e *esdb.ResolvedEvent, i int) {
		if i == 6 {
			require.Nil(t, e.Link, "it names no event")
			require.Equal(t, "$>", e.Event.EventType)
			return
		}
		require.NotNil(t, e.Link)
		require.EqualValues(t, i, e.OriginalEvent().EventNumber)
		if i == 0 {
			require.Equal(t, "source", e.Event.StreamID)
			require.EqualValues(t, 1, e.Event.EventNumber)
			require.Equal(t, e.Link.Position.Commit, *e.Commit)
			return
		}
		require.Nil(t, e.Event)
	}
	links, err := readStream(t.Context(), c, "links", esdb.ReadStreamOptions{ResolveLinkTos: true}, 10)
	require.NoError(t, err)
	require.Len(t, links, 7)
	for i, e := range links {
		check(e, i)
	}
	sub, err := c.SubscribeToStream(t.Context(), "links", esdb.SubscribeToStreamOptions{From: esdb.Start{}, ResolveLinkTos: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, sub.Close()) })
	for i := range 7 {
		check(subscription{t, sub}.nextEvent(), i)
	}
}

func TestM15_ReadsTakePagesOf32(t *testing.T) {
	srv, c := startAndConnect(t)
	mustAppend(t, c, "s", esdb.NoStream{}, events(100)...)
	var pages atomic.Int64
	srv.SetHooks(esdbtest.Hooks{BeforePage: func(context.Context, esdbtest.Call) error {
		pages.Add(1)
		return nil
	}})
	for _, test := range []struct{ count, pages uint64 }{{100, 4}, {1000, 4}, {32, 1}, {33, 2}, {5, 1}} {
		pages.Store(0)
		evs, err := readStream(t.Context(), c, "s", esdb.ReadStreamOptions{}, test.count)
		require.NoError(t, err)
		require.Len(t, evs, int(min(test.count, 100)))
		require.EqualValues(t, test.pages, pages.Load(), "count %d", test.count)
	}
	pages.Store(0)
	evs, err := readStream(t.Context(), c, "s", esdb.ReadStreamOptions{Direction: esdb.Backwards, From: esdb.End{}}, 100)
	require.NoError(t, err)
	require.Len(t, evs, 100)
	require.EqualValues(t, 4, pages.Load())

	// What is written between two pages is part of the read, up to its count.
	pages.Store(0)
	srv.SetHooks(esdbtest.Hooks{BeforePage: func(ctx context.Context, call esdbtest.Call) error {
		if pages.Add(1) == 2 {
			_, err := appendTo(ctx, c, call.Stream, esdb.Any{}, event("between"))
			return err
		}
		return nil
	}})
	evs, err = readStream(t.Context(), c, "s", esdb.ReadStreamOptions{}, 1000)
	require.NoError(t, err)
	require.Len(t, evs, 101)
}
