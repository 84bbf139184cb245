package esdbtest

import (
	"context"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// Delete implements Streams.
func (s *streamsService) Delete(ctx context.Context, req *streams.DeleteReq) (*streams.DeleteResp, error) {
	options := req.GetOptions()
	expected, err := deleteExpectation(options)
	position, err := s.remove(ctx, MethodDelete, options.GetStreamIdentifier(), expected, err)
	if err != nil {
		return nil, err
	}
	return &streams.DeleteResp{PositionOption: &streams.DeleteResp_Position_{
		Position: &streams.DeleteResp_Position{CommitPosition: uint64(position), PreparePosition: uint64(position)},
	}}, nil
}

// Tombstone implements Streams.
func (s *streamsService) Tombstone(ctx context.Context, req *streams.TombstoneReq) (*streams.TombstoneResp, error) {
	options := req.GetOptions()
	expected, err := tombstoneExpectation(options)
	position, err := s.remove(ctx, MethodTombstone, options.GetStreamIdentifier(), expected, err)
	if err != nil {
		return nil, err
	}
	return &streams.TombstoneResp{PositionOption: &streams.TombstoneResp_Position_{
		Position: &streams.TombstoneResp_Position{CommitPosition: uint64(position), PreparePosition: uint64(position)},
	}}, nil
}

func (s *streamsService) remove(ctx context.Context, method Method, id *shared.StreamIdentifier, expected int64, unexpected error) (int64, error) {
	position, err := s.removeStream(ctx, method, string(id.GetStreamName()), expected, unexpected)
	return position, sendTrailers(func(md metadata.MD) {
		_ = grpc.SetTrailer(ctx, md) // fails only outside a handler
	}, err)
}

func (s *streamsService) removeStream(ctx context.Context, method Method, name string, expected int64, unexpected error) (int64, error) {
	if refusesName(name) {
		return 0, handlerError()
	}
	if err := s.srv.authorize(ctx, name, rightDelete); err != nil {
		return 0, err
	}
	if unexpected != nil {
		return 0, unexpected
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
