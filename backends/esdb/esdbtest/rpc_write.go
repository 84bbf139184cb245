package esdbtest

import (
	"context"
	"errors"
	"io"
	"math"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// streamsService serves the Streams calls; BatchAppend is left unimplemented.
type streamsService struct {
	streams.UnimplementedStreamsServer
	srv *Server
}

// Append implements Streams.
func (s *streamsService) Append(stream streams.Streams_AppendServer) error {
	response, err := s.append(stream)
	if err != nil {
		return sendTrailers(stream.SetTrailer, err)
	}
	return stream.SendAndClose(response)
}

func (s *streamsService) append(stream streams.Streams_AppendServer) (*streams.AppendResp, error) {
	ctx := stream.Context()
	first, err := stream.Recv()
	if err != nil {
		return nil, handlerError()
	}
	options := first.GetOptions()
	name := string(options.GetStreamIdentifier().GetStreamName())
	expected, ok := appendExpectation(options)
	if !ok || name == "" || name == metaPrefix {
		return nil, handlerError()
	}
	if err := s.srv.authorize(ctx, name, rightWrite); err != nil {
		return nil, err
	}
	events, err := s.receive(stream)
	if err != nil {
		return nil, err
	}
	if err := s.srv.admit(ctx, true); err != nil {
		return nil, err
	}
	call := Call{Method: MethodAppend, Stream: name, Events: len(events)}
	if err := s.srv.beforeCommit(ctx, call); err != nil {
		return nil, err
	}
	done, err := s.srv.store.appendEvents(name, expected, events)
	var wrong *wrongVersionError
	if errors.As(err, &wrong) {
		return wrongVersionResponse(wrong), nil
	}
	if err != nil {
		return nil, storeFault("Append", err)
	}
	if err := s.srv.afterCommit(ctx, call); err != nil {
		return nil, err
	}
	return appendedResponse(done), nil
}

// receive takes the events of an append. It answers as soon as they are too
// large, while the client may still be sending: a client that sends on sees
// the end of the stream and not the reason.
func (s *streamsService) receive(stream streams.Streams_AppendServer) ([]proposed, error) {
	var events []proposed
	size := 0
	for {
		message, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return events, nil
		}
		if err != nil {
			return nil, err
		}
		event := message.GetProposedMessage()
		if event == nil {
			return nil, handlerError()
		}
		eventType, ok := event.GetMetadata()["type"]
		if !ok {
			return nil, missingPropertyFault("type")
		}
		content, ok := event.GetMetadata()["content-type"]
		if !ok {
			return nil, missingPropertyFault("content-type")
		}
		id, err := decodeUUID(event.GetId())
		if err != nil {
			return nil, handlerError()
		}
		p := proposed{
			id:        id,
			eventType: eventType,
			json:      content == contentJSON, // all others become octet streams
			data:      event.GetData(),
			metadata:  event.GetCustomMetadata(),
		}
		if size += p.size(); size > s.srv.opts.MaxAppendSize {
			return nil, tooLargeFault(s.srv.opts.MaxAppendSize)
		}
		events = append(events, p)
	}
}

// Delete implements Streams.
func (s *streamsService) Delete(ctx context.Context, req *streams.DeleteReq) (*streams.DeleteResp, error) {
	options := req.GetOptions()
	expected, ok := deleteExpectation(options)
	position, err := s.remove(ctx, MethodDelete, options.GetStreamIdentifier(), expected, ok)
	if err != nil {
		return nil, err
	}
	return &streams.DeleteResp{PositionOption: &streams.DeleteResp_Position_{
		Position: &streams.DeleteResp_Position{CommitPosition: position, PreparePosition: position},
	}}, nil
}

// Tombstone implements Streams.
func (s *streamsService) Tombstone(ctx context.Context, req *streams.TombstoneReq) (*streams.TombstoneResp, error) {
	options := req.GetOptions()
	expected, ok := tombstoneExpectation(options)
	position, err := s.remove(ctx, MethodTombstone, options.GetStreamIdentifier(), expected, ok)
	if err != nil {
		return nil, err
	}
	return &streams.TombstoneResp{PositionOption: &streams.TombstoneResp_Position_{
		Position: &streams.TombstoneResp_Position{CommitPosition: position, PreparePosition: position},
	}}, nil
}

func (s *streamsService) remove(ctx context.Context, method Method, id *shared.StreamIdentifier, expected int64, valid bool) (uint64, error) {
	position, err := s.removeStream(ctx, method, string(id.GetStreamName()), expected, valid)
	return position, sendTrailers(func(md metadata.MD) {
		_ = grpc.SetTrailer(ctx, md) // fails only outside a handler
	}, err)
}

func (s *streamsService) removeStream(ctx context.Context, method Method, name string, expected int64, valid bool) (uint64, error) {
	if !valid {
		return 0, invalidArgument("an expected stream revision is required")
	}
	if name == "" || name == metaPrefix {
		return 0, handlerError()
	}
	if err := s.srv.authorize(ctx, name, rightDelete); err != nil {
		return 0, err
	}
	if err := s.srv.admit(ctx, true); err != nil {
		return 0, err
	}
	call := Call{Method: method, Stream: name}
	if err := s.srv.beforeCommit(ctx, call); err != nil {
		return 0, err
	}
	remove := s.srv.store.deleteStream
	if method == MethodTombstone {
		remove = s.srv.store.tombstone
	}
	position, err := remove(name, expected)
	if err != nil {
		return 0, storeFault("Delete", err) // the server says Delete for both
	}
	return position, s.srv.afterCommit(ctx, call)
}

// exactRevision is a revision as the server keeps it. The largest number is
// how clients spell "the end", which is no revision to expect.
func exactRevision(revision uint64) (int64, bool) {
	return int64(revision), revision <= math.MaxInt64
}

func appendExpectation(options *streams.AppendReq_Options) (int64, bool) {
	switch e := options.GetExpectedStreamRevision().(type) {
	case *streams.AppendReq_Options_Revision:
		return exactRevision(e.Revision)
	case *streams.AppendReq_Options_NoStream:
		return expectNoStream, true
	case *streams.AppendReq_Options_Any:
		return expectAny, true
	case *streams.AppendReq_Options_StreamExists:
		return expectStreamExists, true
	}
	return 0, false
}

func deleteExpectation(options *streams.DeleteReq_Options) (int64, bool) {
	switch e := options.GetExpectedStreamRevision().(type) {
	case *streams.DeleteReq_Options_Revision:
		return exactRevision(e.Revision)
	case *streams.DeleteReq_Options_NoStream:
		return expectNoStream, true
	case *streams.DeleteReq_Options_Any:
		return expectAny, true
	case *streams.DeleteReq_Options_StreamExists:
		return expectStreamExists, true
	}
	return 0, false
}

func tombstoneExpectation(options *streams.TombstoneReq_Options) (int64, bool) {
	switch e := options.GetExpectedStreamRevision().(type) {
	case *streams.TombstoneReq_Options_Revision:
		return exactRevision(e.Revision)
	case *streams.TombstoneReq_Options_NoStream:
		return expectNoStream, true
	case *streams.TombstoneReq_Options_Any:
		return expectAny, true
	case *streams.TombstoneReq_Options_StreamExists:
		return expectStreamExists, true
	}
	return 0, false
}

func appendedResponse(w written) *streams.AppendResp {
	success := &streams.AppendResp_Success{
		CurrentRevisionOption: &streams.AppendResp_Success_CurrentRevision{CurrentRevision: uint64(w.revision)},
		PositionOption: &streams.AppendResp_Success_Position{
			Position: &streams.AppendResp_Position{CommitPosition: w.position, PreparePosition: w.position},
		},
	}
	if w.revision < 0 {
		success.CurrentRevisionOption = &streams.AppendResp_Success_NoStream{NoStream: &shared.Empty{}}
	}
	return &streams.AppendResp{Result: &streams.AppendResp_Success_{Success: success}}
}

// wrongVersionResponse is no error to gRPC. The fields of version 20.6 are for
// clients of that age.
func wrongVersionResponse(e *wrongVersionError) *streams.AppendResp {
	empty := &shared.Empty{}
	w := &streams.AppendResp_WrongExpectedVersion{}
	if e.actual < 0 {
		w.CurrentRevisionOption = &streams.AppendResp_WrongExpectedVersion_CurrentNoStream{CurrentNoStream: empty}
		w.CurrentRevisionOption_20_6_0 = &streams.AppendResp_WrongExpectedVersion_NoStream_20_6_0{NoStream_20_6_0: empty}
	} else {
		revision := uint64(e.actual)
		w.CurrentRevisionOption = &streams.AppendResp_WrongExpectedVersion_CurrentRevision{CurrentRevision: revision}
		w.CurrentRevisionOption_20_6_0 = &streams.AppendResp_WrongExpectedVersion_CurrentRevision_20_6_0{CurrentRevision_20_6_0: revision}
	}
	switch e.expected {
	case expectAny:
		w.ExpectedRevisionOption = &streams.AppendResp_WrongExpectedVersion_ExpectedAny{ExpectedAny: empty}
		w.ExpectedRevisionOption_20_6_0 = &streams.AppendResp_WrongExpectedVersion_Any_20_6_0{Any_20_6_0: empty}
	case expectStreamExists:
		w.ExpectedRevisionOption = &streams.AppendResp_WrongExpectedVersion_ExpectedStreamExists{ExpectedStreamExists: empty}
		w.ExpectedRevisionOption_20_6_0 = &streams.AppendResp_WrongExpectedVersion_StreamExists_20_6_0{StreamExists_20_6_0: empty}
	case expectNoStream:
		w.ExpectedRevisionOption = &streams.AppendResp_WrongExpectedVersion_ExpectedNoStream{ExpectedNoStream: empty}
		w.ExpectedRevisionOption_20_6_0 = &streams.AppendResp_WrongExpectedVersion_Any_20_6_0{Any_20_6_0: empty}
	default:
		revision := uint64(e.expected)
		w.ExpectedRevisionOption = &streams.AppendResp_WrongExpectedVersion_ExpectedRevision{ExpectedRevision: revision}
		w.ExpectedRevisionOption_20_6_0 = &streams.AppendResp_WrongExpectedVersion_ExpectedRevision_20_6_0{ExpectedRevision_20_6_0: revision}
	}
	return &streams.AppendResp{Result: &streams.AppendResp_WrongExpectedVersion_{WrongExpectedVersion: w}}
}
