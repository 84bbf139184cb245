package esdb

import (
	"fmt"
	"net"
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventstore/adapter"
)

// liar is a server that answers every read with the same records, whatever was
// asked for, and every append with the same success.
type liar struct {
	streams.UnimplementedStreamsServer
	records []*streams.ReadResp
	success *streams.AppendResp_Success
}

func (l *liar) Read(req *streams.ReadReq, answer streams.Streams_ReadServer) error {
	if string(req.GetOptions().GetStream().GetStreamIdentifier().GetStreamName()) == (names{}).identity() {
		return answer.Send(told(1, (names{}).identity(), 0, fmt.Sprintf(`{"id":%q}`, uuid.NewString())))
	}
	for _, record := range l.records {
		if err := answer.Send(record); err != nil {
			return err
		}
	}
	return nil
}

func (l *liar) Append(call streams.Streams_AppendServer) error {
	for {
		if _, err := call.Recv(); err != nil {
			return call.SendAndClose(&streams.AppendResp{Result: &streams.AppendResp_Success_{Success: l.success}})
		}
	}
}

func told(position uint64, stream string, revision uint64, data string) *streams.ReadResp {
	return &streams.ReadResp{Content: &streams.ReadResp_Event{Event: &streams.ReadResp_ReadEvent{
		Event: &streams.ReadResp_ReadEvent_RecordedEvent{
			Id:               wireID(uuid.New()),
			StreamIdentifier: streamIdentifier(stream),
			StreamRevision:   revision,
			CommitPosition:   position,
			PreparePosition:  position,
			Metadata:         map[string]string{keyType: kindIdentity, keyContent: jsonFlag, keyCreated: strconv.FormatInt(time.Now().UnixNano()/100, 10)},
			Data:             []byte(data),
		},
	}}}
}

func (l *liar) open(t *testing.T) *Backend {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // a test's
	require.NoError(t, err)
	srv := grpc.NewServer()
	streams.RegisterStreamsServer(srv, l)
	go func() { _ = srv.Serve(listener) }() // until it is stopped
	t.Cleanup(srv.Stop)
	u, err := url.Parse("esdb://" + listener.Addr().String() + "?tls=false")
	require.NoError(t, err)
	b, err := OpenURL(t.Context(), u)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return b
}

func TestAServerThatContradictsItselfIsNotBelieved(t *testing.T) {
	stream := func(b *Backend, req eventstore.ReadStreamRequest) (eventstore.Page, error) {
		req.Stream, req.PageSize = "s", eventstore.PageSize{MaxEvents: 10, MaxBytes: 1 << 20}
		return b.ReadStream(t.Context(), req)
	}
	all := func(b *Backend, req eventstore.ReadAllRequest) (eventstore.Page, error) {
		req.PageSize = eventstore.PageSize{MaxEvents: 10, MaxBytes: 1 << 20}
		return b.ReadAll(t.Context(), req)
	}
	at := func(n uint64) eventstore.Position { return eventstore.NewPosition(n, n) }
	for name, test := range map[string]struct {
		records []*streams.ReadResp
		read    func(b *Backend) (eventstore.Page, error)
	}{
		"a revision that does not follow": {
			[]*streams.ReadResp{told(10, "s", 0, "{}"), told(20, "s", 2, "{}")},
			func(b *Backend) (eventstore.Page, error) { return stream(b, eventstore.ReadStreamRequest{}) },
		},
		"a revision before the first that was asked for": {
			[]*streams.ReadResp{told(10, "s", 0, "{}")},
			func(b *Backend) (eventstore.Page, error) { return stream(b, eventstore.ReadStreamRequest{After: 3}) },
		},
		"a revision that does not follow backward": {
			[]*streams.ReadResp{told(20, "s", 4, "{}"), told(10, "s", 4, "{}")},
			func(b *Backend) (eventstore.Page, error) {
				return stream(b, eventstore.ReadStreamRequest{Backward: true})
			},
		},
		"another stream's event": {
			[]*streams.ReadResp{told(10, "s", 0, "{}"), told(20, "t", 1, "{}")},
			func(b *Backend) (eventstore.Page, error) { return stream(b, eventstore.ReadStreamRequest{}) },
		},
		"a position below the one before, in a stream": {
			[]*streams.ReadResp{told(20, "s", 0, "{}"), told(10, "s", 1, "{}")},
			func(b *Backend) (eventstore.Page, error) { return stream(b, eventstore.ReadStreamRequest{}) },
		},
		"a position below the one before": {
			[]*streams.ReadResp{told(20, "s", 0, "{}"), told(10, "t", 0, "{}")},
			func(b *Backend) (eventstore.Page, error) { return all(b, eventstore.ReadAllRequest{}) },
		},
		"a position twice": {
			[]*streams.ReadResp{told(20, "s", 0, "{}"), told(20, "s", 0, "{}")},
			func(b *Backend) (eventstore.Page, error) { return all(b, eventstore.ReadAllRequest{}) },
		},
		"a position above the one before, backward": {
			[]*streams.ReadResp{told(10, "s", 0, "{}"), told(20, "t", 0, "{}")},
			func(b *Backend) (eventstore.Page, error) { return all(b, eventstore.ReadAllRequest{Backward: true}) },
		},
		"a position before the first that was asked for": {
			[]*streams.ReadResp{told(10, "s", 0, "{}")},
			func(b *Backend) (eventstore.Page, error) {
				return all(b, eventstore.ReadAllRequest{After: eventstore.Place{Position: at(15)}})
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			page, err := test.read((&liar{records: test.records}).open(t))
			require.ErrorIs(t, err, errContradiction)
			require.False(t, adapter.IsContract(err), "waiting does not help: %v", err)
			require.Empty(t, page.Events)
		})
	}
}

func TestAnAppendsAnswerIsHeldAgainstWhatWasAsked(t *testing.T) {
	append1 := func(l *liar, expected eventstore.ExpectedVersion) ([]eventstore.PartResult, error) {
		event := eventstore.Event{ID: uuid.New(), Type: "T", Data: []byte("{}"), ContentType: eventstore.JSONContentType}
		return l.open(t).Append(t.Context(), eventstore.AppendRequest{Parts: []eventstore.StreamAppend{{Stream: "s", Expected: expected, Events: []eventstore.Event{event}}}})
	}
	position := &streams.AppendResp_Success_Position{Position: &streams.AppendResp_Position{CommitPosition: 70, PreparePosition: 70}}
	success := func(revision uint64) *streams.AppendResp_Success {
		return &streams.AppendResp_Success{CurrentRevisionOption: &streams.AppendResp_Success_CurrentRevision{CurrentRevision: revision}, PositionOption: position}
	}
	stored := []*streams.ReadResp{told(60, "s", 3, "{}")}
	_, err := append1(&liar{records: stored, success: success(9)}, eventstore.Exactly(4))
	require.ErrorIs(t, err, eventstore.ErrUnknownOutcome)
	require.ErrorIs(t, err, errContradiction)
	results, err := append1(&liar{records: stored, success: success(4)}, eventstore.Exactly(4))
	require.NoError(t, err)
	require.Equal(t, eventstore.NewPosition(70, 70), results[0].Recorded[0].Position)

	// What was repeated is no longer there: success, and no position.
	silent := success(0)
	silent.PositionOption = &streams.AppendResp_Success_NoPosition{NoPosition: &shared.Empty{}}
	results, err = append1(&liar{records: []*streams.ReadResp{told(60, "s", 0, "{}")}, success: silent}, eventstore.NoStream())
	require.NoError(t, err)
	require.Equal(t, eventstore.NewPosition(60, 60), results[0].Recorded[0].Position, "it is read")
	_, err = append1(&liar{success: silent}, eventstore.NoStream())
	require.ErrorIs(t, err, eventstore.ErrUnknownOutcome, "no position is no answer")
}
