package esdbtest_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/switchyard-dev/switchyard/backends/esdb/esdbtest"
)

func TestM1_ExpectedRevisionsAreKept(t *testing.T) {
	_, c := startAndConnect(t)
	mustAppend(t, c, "three", esdb.NoStream{}, events(3)...)
	_, err := c.SetStreamMetadata(t.Context(), "described", esdb.AppendToStreamOptions{}, esdb.StreamMetadata{})
	require.NoError(t, err)

	tests := []struct {
		stream   string
		expected esdb.ExpectedRevision
		conflict string // empty: written
	}{
		{"a-missing", esdb.Any{}, ""},
		{"b-missing", esdb.NoStream{}, ""},
		{"c-missing", esdb.StreamExists{}, "expecting 'stream_exists' but got 'no_stream'"},
		{"d-missing", esdb.Revision(0), "expecting '0' but got 'no_stream'"},
		{"described", esdb.StreamExists{}, ""}, // a stream with metadata exists
		{"three", esdb.NoStream{}, "expecting 'no_stream' but got '2'"},
		{"three", esdb.Revision(1), "expecting '1' but got '2'"},
		{"three", esdb.Revision(3), "expecting '3' but got '2'"},
		{"three", esdb.StreamExists{}, ""},
		{"three", esdb.Any{}, ""},
		{"three", esdb.Revision(4), ""},
	}
	for _, test := range tests {
		t.Run(fmt.Sprintf("%s/%T%v", test.stream, test.expected, test.expected), func(t *testing.T) {
			_, err := appendTo(t.Context(), c, test.stream, test.expected, event("x"))
			if test.conflict == "" {
				require.NoError(t, err)
				return
			}
			requireCode(t, err, esdb.ErrorCodeWrongExpectedVersion)
			require.ErrorContains(t, err, test.conflict)
		})
	}
}

func TestM1_ARepeatedAppendIsRecognisedByPastRevisionAlsoAfterARestart(t *testing.T) {
	srv, c := startAndConnect(t)
	mustAppend(t, c, "s", esdb.NoStream{}, event("first"))
	batch := events(3)
	original := mustAppend(t, c, "s", esdb.Revision(0), batch...)
	mustAppend(t, c, "s", esdb.Any{}, event("later"))

	require.Equal(t, original, mustAppend(t, c, "s", esdb.Revision(0), batch...))
	require.Equal(t, original.NextExpectedVersion-1, mustAppend(t, c, "s", esdb.Revision(0), batch[:2]...).NextExpectedVersion)

	require.NoError(t, srv.Restart())
	again := connect(t, srv.URL(), "")
	require.Equal(t, original, mustAppend(t, again, "s", esdb.Revision(0), batch...))
	require.Len(t, mustRevisions(t, again, "s"), 5)
}

func TestM1_AnAppendThatNamesTheCurrentRevisionIsWrittenAgain(t *testing.T) {
	_, c := startAndConnect(t)
	e := event("twice")
	mustAppend(t, c, "s", esdb.NoStream{}, e)
	require.EqualValues(t, 1, mustAppend(t, c, "s", esdb.Revision(0), e).NextExpectedVersion)
	require.EqualValues(t, 2, mustAppend(t, c, "s", esdb.Revision(1), e).NextExpectedVersion)
	require.Len(t, mustRevisions(t, c, "s"), 3)
}

func TestM1_AnyIsIdempotentOnlyWhileTheCacheRemembers(t *testing.T) {
	srv, c := startAndConnect(t)
	batch := events(2)
	original := mustAppend(t, c, "s", esdb.Any{}, batch...)
	require.Equal(t, original, mustAppend(t, c, "s", esdb.Any{}, batch...))
	require.Equal(t, original, mustAppend(t, c, "s", esdb.StreamExists{}, batch...))

	require.NoError(t, srv.Restart())
	again := connect(t, srv.URL(), "")
	require.EqualValues(t, 3, mustAppend(t, again, "s", esdb.Any{}, batch...).NextExpectedVersion)
}

func TestM1_ABatchOfOldAndNewEventsIsAConflict(t *testing.T) {
	_, c := startAndConnect(t)
	old := events(2)
	mustAppend(t, c, "s", esdb.NoStream{}, old...)
	mustAppend(t, c, "s", esdb.Revision(1), event("between"))
	mixed := []esdb.EventData{old[0], event("new")}
	for _, expected := range []esdb.ExpectedRevision{esdb.Any{}, esdb.StreamExists{}, esdb.NoStream{}} {
		_, err := appendTo(t.Context(), c, "s", expected, mixed...)
		requireCode(t, err, esdb.ErrorCodeWrongExpectedVersion)
	}
	// The first event decides: a new one in front makes all of them new.
	mustAppend(t, c, "s", esdb.Any{}, event("new"), old[0])
	require.Len(t, mustRevisions(t, c, "s"), 5)
}

func TestM1_TheCacheKnowsAnIDInTheFirstStreamOnly(t *testing.T) {
	_, c := startAndConnect(t)
	e := event("shared")
	mustAppend(t, c, "a", esdb.Any{}, e)
	mustAppend(t, c, "b", esdb.Any{}, e)
	mustAppend(t, c, "b", esdb.Any{}, e)
	mustAppend(t, c, "a", esdb.Any{}, e)
	require.Len(t, mustRevisions(t, c, "a"), 1)
	require.Len(t, mustRevisions(t, c, "b"), 2)
}

func TestM1_EventIDsAreNotUnique(t *testing.T) {
	_, c := startAndConnect(t)
	e := event("same")
	mustAppend(t, c, "s", esdb.NoStream{}, e, e)
	require.Len(t, mustRevisions(t, c, "s"), 2)
}

func TestM2_ABatchIsStoredWholeAndNamesItsLastEvent(t *testing.T) {
	_, c := startAndConnect(t)
	batch := events(50)
	result := mustAppend(t, c, "s", esdb.NoStream{}, batch...)
	require.EqualValues(t, 49, result.NextExpectedVersion)
	require.Equal(t, result.CommitPosition, result.PreparePosition)

	evs, err := readStream(t.Context(), c, "s", esdb.ReadStreamOptions{Direction: esdb.Backwards, From: esdb.End{}}, 1)
	require.NoError(t, err)
	require.Equal(t, result.CommitPosition, evs[0].Event.Position.Commit)
	require.Equal(t, batch[49].EventID, evs[0].Event.EventID)

	// The batch is contiguous in $all, and a refused batch leaves nothing.
	_, err = appendTo(t.Context(), c, "s", esdb.Revision(7), events(5)...)
	requireCode(t, err, esdb.ErrorCodeWrongExpectedVersion)
	all, err := readAll(t.Context(), c, esdb.ReadAllOptions{Direction: esdb.Backwards, From: esdb.End{}}, 50)
	require.NoError(t, err)
	for i, e := range all {
		require.Equal(t, batch[49-i].EventID, e.Event.EventID)
	}
}

func TestM2_AnEmptyAppendChangesNothing(t *testing.T) {
	_, c := startAndConnect(t)
	require.EqualValues(t, 1, mustAppend(t, c, "s", esdb.NoStream{}).NextExpectedVersion, "the client's reading of 'no stream'")
	_, err := readStream(t.Context(), c, "s", esdb.ReadStreamOptions{}, 1)
	requireCode(t, err, esdb.ErrorCodeResourceNotFound)

	mustAppend(t, c, "s", esdb.NoStream{}, events(3)...)
	require.EqualValues(t, 2, mustAppend(t, c, "s", esdb.Any{}).NextExpectedVersion)
	_, err = appendTo(t.Context(), c, "s", esdb.Revision(1))
	requireCode(t, err, esdb.ErrorCodeWrongExpectedVersion)
}

func TestM9_AnAppendOverTheLimitEndsWhileItIsSent(t *testing.T) {
	srv, c := startAndConnect(t)
	whole := func(size int) esdb.EventData {
		e := event("t") // counts for two bytes
		e.Data = bytes.Repeat([]byte{'x'}, size-2)
		return e
	}
	mustAppend(t, c, "exact", esdb.NoStream{}, whole(1<<20))

	var large []esdb.EventData
	for range 64 {
		large = append(large, whole(1<<18))
	}
	_, err := appendTo(t.Context(), c, "large", esdb.NoStream{}, large...)
	requireCode(t, err, esdb.ErrorCodeUnknown)
	_, err = readStream(t.Context(), c, "large", esdb.ReadStreamOptions{}, 1)
	requireCode(t, err, esdb.ErrorCodeResourceNotFound)

	// Who looks at the trailers, and not at what the send said, sees the reason.
	trailers, err := rawAppend(t, srv, map[string]string{"type": "t", "content-type": "application/json"}, 1<<20)
	require.Equal(t, codes.InvalidArgument, status.Code(err))
	require.Equal(t, []string{"maximum-append-size-exceeded"}, trailers.Get("exception"))
	require.Equal(t, []string{"1048576"}, trailers.Get("maximum-append-size"))

	// Metadata and the type, as UTF-16, count as well.
	small := start(t, &esdbtest.Options{MaxAppendSize: 100})
	sc := connect(t, small.URL(), "")
	mustAppend(t, sc, "s", esdb.Any{}, esdb.EventData{EventType: strings.Repeat("é", 20), Data: make([]byte, 30), Metadata: make([]byte, 30)})
	_, err = appendTo(t.Context(), sc, "s", esdb.Any{}, esdb.EventData{EventType: strings.Repeat("é", 20), Data: make([]byte, 30), Metadata: make([]byte, 31)})
	requireCode(t, err, esdb.ErrorCodeUnknown)
}

func TestM9_TypeAndContentTypeAreRequired(t *testing.T) {
	srv := start(t, nil)
	for _, props := range []map[string]string{{"type": "t"}, {"content-type": "application/json"}} {
		trailers, err := rawAppend(t, srv, props, 1)
		require.Equal(t, codes.InvalidArgument, status.Code(err))
		require.Equal(t, []string{"missing-required-metadata-property"}, trailers.Get("exception"))
	}
}

func TestM9_ContentTypeAndEmptyDataAreKept(t *testing.T) {
	_, c := startAndConnect(t)
	mustAppend(t, c, "s", esdb.NoStream{},
		esdb.EventData{EventType: "json", ContentType: esdb.ContentTypeJson, Data: []byte(`{}`), Metadata: []byte{0, 1}},
		esdb.EventData{EventType: "binary", ContentType: esdb.ContentTypeBinary, Data: []byte{0xff, 0}},
		esdb.EventData{EventType: "empty", ContentType: esdb.ContentTypeBinary})
	evs, err := readStream(t.Context(), c, "s", esdb.ReadStreamOptions{}, 10)
	require.NoError(t, err)
	require.Equal(t, "application/json", evs[0].Event.ContentType)
	require.Equal(t, []byte{0, 1}, evs[0].Event.UserMetadata)
	require.Equal(t, "application/octet-stream", evs[1].Event.ContentType)
	require.Equal(t, []byte{0xff, 0}, evs[1].Event.Data)
	require.Empty(t, evs[2].Event.Data)
	require.NotEqual(t, uuid.Nil, evs[2].Event.EventID)
	require.False(t, evs[2].Event.CreatedDate.IsZero())
}

// rawAppend sends one event until the server hangs up, and returns what it said.
func rawAppend(t *testing.T, srv *esdbtest.Server, properties map[string]string, size int) (metadata.MD, error) {
	t.Helper()
	var trailers metadata.MD
	call, err := raw(t, srv).Append(t.Context(), grpc.Trailer(&trailers))
	require.NoError(t, err)
	require.NoError(t, call.Send(&streams.AppendReq{Content: &streams.AppendReq_Options_{Options: &streams.AppendReq_Options{
		StreamIdentifier:       &shared.StreamIdentifier{StreamName: []byte("raw")},
		ExpectedStreamRevision: &streams.AppendReq_Options_Any{Any: &shared.Empty{}},
	}}}))
	_ = call.Send(&streams.AppendReq{Content: &streams.AppendReq_ProposedMessage_{ProposedMessage: &streams.AppendReq_ProposedMessage{
		Id:       &shared.UUID{Value: &shared.UUID_String_{String_: uuid.NewString()}},
		Metadata: properties,
		Data:     make([]byte, size),
	}}})
	_, err = call.CloseAndRecv()
	return trailers, err
}

func TestM9_AMessageOverItsLimitIsRefusedWhateverAnAppendMayCarry(t *testing.T) {
	srv := start(t, &esdbtest.Options{MaxAppendSize: 64 << 20})
	properties := map[string]string{"type": "large", "content-type": "application/octet-stream"}
	_, err := rawAppend(t, srv, properties, esdbtest.DefaultMaxMessageSize)
	require.Equal(t, codes.ResourceExhausted, status.Code(err), "%v", err)
	_, err = rawAppend(t, srv, properties, esdbtest.DefaultMaxMessageSize-1024)
	require.NoError(t, err)
}
