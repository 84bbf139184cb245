package esdbtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/google/uuid"
	rpc "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/emptypb"
)

// batchDeadline is how long an append that names no deadline may take to arrive.
// The server has one of its own, too.
const batchDeadline = 10 * time.Second

// BatchAppend implements Streams: many appends on one call, told apart by their
// correlation ids. An append may come in several messages; its answer is sent when
// the last one came or its time is up, and the call goes on for the others.
func (s *streamsService) BatchAppend(stream streams.Streams_BatchAppendServer) error {
	b := &batch{srv: s.srv, stream: stream, open: make(map[string]*batchAppend)}
	return sendTrailers(stream.SetTrailer, b.serve())
}

type batch struct {
	srv    *Server
	stream streams.Streams_BatchAppendServer
	open   map[string]*batchAppend // appends of which the last message did not come, by correlation id
}

// batchAppend is one append of a batch.
type batchAppend struct {
	correlation *shared.UUID
	options     *streams.BatchAppendReq_Options
	deadline    time.Time
	events      []proposed
	size        int
}

func (a *batchAppend) name() string { return string(a.options.GetStreamIdentifier().GetStreamName()) }

func (b *batch) serve() error {
	ctx := b.stream.Context()
	received, ended := make(chan *streams.BatchAppendReq), make(chan error, 1)
	go func() { // until the handler returns, which ends ctx
		for {
			req, err := b.stream.Recv()
			if err != nil {
				ended <- err
				return
			}
			select {
			case received <- req:
			case <-ctx.Done():
				return
			}
		}
	}()
	for {
		expiry := time.NewTimer(b.untilNextDeadline())
		select {
		case req := <-received:
			expiry.Stop()
			if err := b.take(ctx, req); err != nil {
				return err
			}
		case <-expiry.C:
			if err := b.giveUpLate(); err != nil {
				return err
			}
		case err := <-ended:
			expiry.Stop()
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
	}
}

func (b *batch) untilNextDeadline() time.Duration {
	next := time.Now().Add(batchDeadline)
	for _, a := range b.open {
		if a.deadline.Before(next) {
			next = a.deadline
		}
	}
	return time.Until(next)
}

func (b *batch) giveUpLate() error {
	for key, a := range b.open {
		if time.Now().Before(a.deadline) {
			continue
		}
		delete(b.open, key)
		if err := b.stream.Send(a.refused(timedOut())); err != nil {
			return err
		}
	}
	return nil
}

// take adds a message to its append, and carries that out with the last one.
func (b *batch) take(ctx context.Context, req *streams.BatchAppendReq) error {
	packed, err := proto.Marshal(req.GetCorrelationId())
	if err != nil {
		return handlerError()
	}
	key := string(packed)
	a := b.open[key]
	if a == nil {
		if req.GetOptions() == nil {
			return nil // nobody knows what it belongs to, and nobody answers it
		}
		a = &batchAppend{correlation: req.GetCorrelationId(), options: req.GetOptions()}
		a.deadline = deadlineOf(a.options)
		b.open[key] = a
	}
	answer, err := b.add(ctx, a, req)
	if err != nil || answer == nil {
		return err
	}
	delete(b.open, key)
	return b.stream.Send(answer)
}

// add returns the answer to the append, nil while more of it is to come. An error
// ends the whole call.
func (b *batch) add(ctx context.Context, a *batchAppend, req *streams.BatchAppendReq) (*streams.BatchAppendResp, error) {
	if refusal := b.receive(a, req); refusal != nil {
		return a.refused(refusal), nil
	}
	if !req.GetIsFinal() {
		return nil, nil //nolint:nilnil // no answer yet, and no error
	}
	if !time.Now().Before(a.deadline) {
		return a.refused(timedOut()), nil
	}
	if err := b.srv.authorize(ctx, a.name(), rightWrite); err != nil {
		if status.Code(err) != codes.PermissionDenied {
			return nil, err
		}
		return a.refused(refusal(codes.PermissionDenied, &shared.AccessDenied{})), nil
	}
	if err := b.srv.admit(ctx, true); err != nil {
		return nil, err
	}
	expected, err := batchExpectation(a.options)
	if err != nil {
		return a.refused(badRequest(fmt.Sprintf("Status(StatusCode=%q, Detail=%q)", status.Code(err).String(), status.Convert(err).Message()))), nil
	}
	done, err := b.srv.commit(ctx, a.name(), expected, a.events)
	var wrong *wrongVersionError
	var deleted *streamDeletedError
	switch {
	case errors.As(err, &wrong):
		return a.refused(refusal(codes.AlreadyExists, wrongVersionDetail(wrong))), nil
	case errors.As(err, &deleted):
		return a.refused(refusal(codes.NotFound, &shared.StreamDeleted{StreamIdentifier: streamIdentifier(deleted.stream)})), nil
	case err != nil:
		return nil, err
	}
	return a.succeeded(done), nil
}

// receive adds the message's events, or says why it cannot.
func (b *batch) receive(a *batchAppend, req *streams.BatchAppendReq) *rpc.Status {
	const noUUID = "Value cannot be null. (Parameter 'dto')"
	switch {
	case req.GetCorrelationId() == nil:
		return badRequest(noUUID)
	case a.options.GetStreamIdentifier() == nil:
		return badRequest("Object reference not set to an instance of an object.")
	case refusesName(a.name()):
		return badRequest("the stream has no name")
	}
	for _, event := range req.GetProposedMessages() {
		eventType, hasType := event.GetMetadata()["type"]
		content, hasContent := event.GetMetadata()["content-type"]
		if event.GetId() == nil {
			return badRequest(noUUID)
		}
		if !hasType || !hasContent {
			return badRequest("The given key was not present in the dictionary.")
		}
		id, err := decodeUUID(event.GetId())
		if err != nil || id == uuid.Nil || eventType == "" {
			return badRequest("the event has no id or no type")
		}
		p := proposed{
			id: id, eventType: eventType, json: content == contentJSON,
			data: event.GetData(), metadata: event.GetCustomMetadata(),
		}
		if a.size += b.srv.opts.size(&p); a.size > b.srv.opts.MaxAppendSize {
			return refusal(codes.InvalidArgument, &shared.MaximumAppendSizeExceeded{MaxAppendSize: uint32(b.srv.opts.MaxAppendSize)})
		}
		a.events = append(a.events, p)
	}
	return nil
}

func (a *batchAppend) refused(why *rpc.Status) *streams.BatchAppendResp {
	return &streams.BatchAppendResp{
		CorrelationId:    a.correlation,
		StreamIdentifier: a.options.GetStreamIdentifier(),
		Result:           &streams.BatchAppendResp_Error{Error: why},
	}
}

func (a *batchAppend) succeeded(w written) *streams.BatchAppendResp {
	success := &streams.BatchAppendResp_Success{
		CurrentRevisionOption: &streams.BatchAppendResp_Success_CurrentRevision{CurrentRevision: uint64(w.revision)},
		PositionOption: &streams.BatchAppendResp_Success_Position{
			Position: &shared.AllStreamPosition{CommitPosition: uint64(w.position), PreparePosition: uint64(w.position)},
		},
	}
	if w.revision < 0 {
		success.CurrentRevisionOption = &streams.BatchAppendResp_Success_NoStream{NoStream: &emptypb.Empty{}}
	}
	if w.position == unknown {
		success.PositionOption = &streams.BatchAppendResp_Success_NoPosition{NoPosition: &emptypb.Empty{}}
	}
	return &streams.BatchAppendResp{
		CorrelationId:    a.correlation,
		StreamIdentifier: a.options.GetStreamIdentifier(),
		Result:           &streams.BatchAppendResp_Success_{Success: success},
	}
}

func deadlineOf(options *streams.BatchAppendReq_Options) time.Time {
	switch d := options.GetDeadlineOption().(type) {
	case *streams.BatchAppendReq_Options_Deadline:
		return time.Now().Add(d.Deadline.AsDuration())
	case *streams.BatchAppendReq_Options_Deadline_21_10_0:
		return d.Deadline_21_10_0.AsTime()
	}
	return time.Now().Add(batchDeadline)
}

func batchExpectation(options *streams.BatchAppendReq_Options) (int64, error) {
	switch e := options.GetExpectedStreamPosition().(type) {
	case *streams.BatchAppendReq_Options_StreamPosition:
		return signedRevision(e.StreamPosition)
	case *streams.BatchAppendReq_Options_NoStream:
		return expectNoStream, nil
	case *streams.BatchAppendReq_Options_Any:
		return expectAny, nil
	case *streams.BatchAppendReq_Options_StreamExists:
		return expectStreamExists, nil
	}
	return 0, notOneOf("BatchAppendReq+Types+Options+ExpectedStreamPosition")
}

func timedOut() *rpc.Status { return refusal(codes.DeadlineExceeded, &shared.Timeout{}) }

func badRequest(message string) *rpc.Status {
	return refusal(codes.InvalidArgument, &shared.BadRequest{Message: message})
}

// refusal is the status of one append: its message is the name of its detail.
func refusal(code codes.Code, detail proto.Message) *rpc.Status {
	out := &rpc.Status{Code: int32(code), Message: string(detail.ProtoReflect().Descriptor().Name())}
	if packed, err := anypb.New(detail); err == nil { // it has no way to fail
		out.Details = append(out.Details, packed)
	}
	return out
}

func wrongVersionDetail(e *wrongVersionError) *shared.WrongExpectedVersion {
	w := &shared.WrongExpectedVersion{}
	if e.actual < 0 {
		w.CurrentStreamRevisionOption = &shared.WrongExpectedVersion_CurrentNoStream{CurrentNoStream: &emptypb.Empty{}}
	} else {
		w.CurrentStreamRevisionOption = &shared.WrongExpectedVersion_CurrentStreamRevision{CurrentStreamRevision: uint64(e.actual)}
	}
	switch e.expected {
	case expectAny:
		w.ExpectedStreamPositionOption = &shared.WrongExpectedVersion_ExpectedAny{ExpectedAny: &emptypb.Empty{}}
	case expectStreamExists:
		w.ExpectedStreamPositionOption = &shared.WrongExpectedVersion_ExpectedStreamExists{ExpectedStreamExists: &emptypb.Empty{}}
	case expectNoStream:
		w.ExpectedStreamPositionOption = &shared.WrongExpectedVersion_ExpectedNoStream{ExpectedNoStream: &emptypb.Empty{}}
	default:
		w.ExpectedStreamPositionOption = &shared.WrongExpectedVersion_ExpectedStreamPosition{ExpectedStreamPosition: uint64(e.expected)}
	}
	return w
}
