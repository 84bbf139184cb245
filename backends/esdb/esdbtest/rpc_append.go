package esdbtest

import (
	"context"
	"errors"
	"io"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// streamsService serves the Streams calls.
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
	if err != nil || first.GetOptions() == nil {
		return nil, handlerError()
	}
	options := first.GetOptions()
	name := string(options.GetStreamIdentifier().GetStreamName())
	if refusesName(name) {
		return nil, handlerError()
	}
	if err := s.srv.authorize(ctx, name, rightWrite); err != nil {
		return nil, err
	}
	expected, err := appendExpectation(options)
	if err != nil {
		return nil, err
	}
	events, err := s.receive(stream)
	if err != nil {
		return nil, err
	}
	if err := s.srv.admit(ctx, true); err != nil {
		return nil, err
	}
	done, err := s.srv.commit(ctx, name, expected, events)
	var wrong *wrongVersionError
	if errors.As(err, &wrong) {
		return wrongVersionResponse(wrong, options), nil
	}
	if err != nil {
		return nil, storeFault("Append", err)
	}
	return appendedResponse(done), nil
}

// refusesName reports whether nothing can be written to a stream of that name.
// Version 24.6 accepts an append to "$$", and then ends its process at the next
// write; here it is refused at once.
func refusesName(stream string) bool { return stream == "" || stream == metaPrefix }

// commit stores an append between the two hooks.
func (s *Server) commit(ctx context.Context, stream string, expected int64, events []proposed) (written, error) {
	call := Call{Method: MethodAppend, Stream: stream, Events: len(events)}
	if err := s.beforeCommit(ctx, call); err != nil {
		return written{}, err
	}
	done, err := s.store.appendEvents(stream, expected, events)
	if err != nil {
		return written{}, err
	}
	return done, s.afterCommit(ctx, call)
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
		if status.Code(err) == codes.ResourceExhausted {
			return nil, status.Error(codes.ResourceExhausted, "Received message exceeds the maximum configured message size.")
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
		if err != nil || id == uuid.Nil || eventType == "" {
			return nil, handlerError()
		}
		p := proposed{
			id:        id,
			eventType: eventType,
			json:      content == contentJSON, // all others become octet streams
			data:      event.GetData(),
			metadata:  event.GetCustomMetadata(),
		}
		if size += s.srv.opts.size(&p); size > s.srv.opts.MaxAppendSize {
			return nil, tooLargeFault(s.srv.opts.MaxAppendSize)
		}
		events = append(events, p)
	}
}
