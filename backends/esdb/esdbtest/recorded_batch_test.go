package esdbtest_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

func (p *player) batchAppend(ctx context.Context, r *request, want object) (object, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	call, err := p.call.BatchAppend(ctx)
	if err != nil {
		return nil, err
	}
	for i := range r.Parts {
		part, err := p.batchRequest(&r.Parts[i])
		if err != nil {
			return nil, err
		}
		_ = call.Send(part) // an error is the end of the call, which is told below
	}
	if r.End {
		if err := call.CloseSend(); err != nil {
			return nil, err
		}
	}
	answers, ended := make(chan any), make(chan error, 1)
	go func() {
		for {
			m, err := call.Recv()
			if err != nil {
				ended <- err
				return
			}
			select {
			case answers <- batchAnswer(m):
			case <-ctx.Done():
				return
			}
		}
	}()
	out := object{"answers": []any{}}
	for {
		taken, wait := list(out["answers"]), quiet
		if len(taken) < len(list(want["answers"])) || want["open"] == nil {
			wait = testTimeout
		}
		select {
		case answer := <-answers:
			out["answers"] = append(taken, answer)
		case err := <-ended:
			if errors.Is(err, io.EOF) {
				out["ended"] = true
			} else {
				out["error"] = failure(err, call.Trailer())
			}
			return out, nil
		case <-time.After(wait):
			out["open"] = true
			return out, nil
		}
	}
}

func (p *player) batchRequest(part *requestPart) (*streams.BatchAppendReq, error) {
	out := &streams.BatchAppendReq{IsFinal: part.Final == nil || *part.Final}
	if part.Correlation != nil {
		out.CorrelationId = p.aliased(*part.Correlation, part.StringCorrelation)
	}
	if part.Options != nil {
		o := &streams.BatchAppendReq_Options{}
		if part.Options.Stream != nil {
			o.StreamIdentifier = &shared.StreamIdentifier{StreamName: []byte(nameOf(*part.Options.Stream))}
		}
		if err := setBatchExpectation(o, part.Options.Expected); err != nil {
			return nil, err
		}
		switch {
		case part.Options.DeadlineMs != nil:
			o.DeadlineOption = &streams.BatchAppendReq_Options_Deadline{
				Deadline: durationpb.New(time.Duration(*part.Options.DeadlineMs) * time.Millisecond),
			}
		case part.Options.DeadlineAtMs != nil:
			o.DeadlineOption = &streams.BatchAppendReq_Options_Deadline_21_10_0{
				Deadline_21_10_0: timestamppb.New(time.Now().Add(time.Duration(*part.Options.DeadlineAtMs) * time.Millisecond)),
			}
		}
		out.Options = o
	}
	events, err := parseEvents(part.Events)
	if err != nil {
		return nil, err
	}
	for i := range events {
		e := &events[i]
		out.ProposedMessages = append(out.ProposedMessages, &streams.BatchAppendReq_ProposedMessage{
			Id: p.uuid(e), Metadata: e.metadata(), CustomMetadata: e.Meta, Data: e.Data,
		})
	}
	return out, nil
}

func batchAnswer(m *streams.BatchAppendResp) object {
	out := object{"correlation": nil, "correlationAs": nil, "stream": nil, "expected": nil}
	if id := m.GetCorrelationId(); id != nil {
		out["correlation"], out["correlationAs"] = correlationID(uuidText(id)), "structured"
		if _, asText := id.GetValue().(*shared.UUID_String_); asText {
			out["correlationAs"] = "string"
		}
	}
	if m.GetStreamIdentifier() != nil {
		out["stream"] = string(m.GetStreamIdentifier().GetStreamName())
	}
	if m.GetExpectedStreamPosition() != nil {
		out["expected"] = "set"
	}
	if ok := m.GetSuccess(); ok != nil {
		success := object{"revision": nil, "position": nil}
		switch o := ok.GetCurrentRevisionOption().(type) {
		case *streams.BatchAppendResp_Success_CurrentRevision:
			success["revision"] = strconv.FormatUint(o.CurrentRevision, 10)
		case *streams.BatchAppendResp_Success_NoStream:
			success["revision"] = "no_stream"
		}
		switch o := ok.GetPositionOption().(type) {
		case *streams.BatchAppendResp_Success_Position:
			success["position"] = position{o.Position.GetCommitPosition(), o.Position.GetPreparePosition()}
		case *streams.BatchAppendResp_Success_NoPosition:
			success["position"] = "no_position"
		}
		out["success"] = success
	}
	if e := m.GetError(); e != nil {
		refused := object{"code": int(e.GetCode()), "message": e.GetMessage(), "detail": nil, "value": nil}
		for _, d := range e.GetDetails() {
			refused["detail"] = d.GetTypeUrl()
			if message, err := d.UnmarshalNew(); err == nil {
				refused["value"] = batchDetail(message)
			}
		}
		out["error"] = refused
	}
	return out
}

// correlationID is an ID that is shown as its alias.
type correlationID string

// batchDetail writes the detail of an error with the names that it was recorded
// with. A number that is not set is shown as 0, and a message only if it is set.
func batchDetail(detail any) object {
	out := object{}
	switch d := detail.(type) {
	case *shared.WrongExpectedVersion:
		out["currentStreamRevision"] = strconv.FormatUint(d.GetCurrentStreamRevision(), 10)
		out["expectedStreamPosition"] = strconv.FormatUint(d.GetExpectedStreamPosition(), 10)
		for name, set := range map[string]*emptypb.Empty{
			"currentNoStream": d.GetCurrentNoStream(), "expectedAny": d.GetExpectedAny(),
			"expectedStreamExists": d.GetExpectedStreamExists(), "expectedNoStream": d.GetExpectedNoStream(),
		} {
			if set != nil {
				out[name] = object{}
			}
		}
	case *shared.StreamDeleted:
		out["stream"] = string(d.GetStreamIdentifier().GetStreamName())
	case *shared.MaximumAppendSizeExceeded:
		out["maxappendsize"] = int(d.GetMaxAppendSize())
	case *shared.BadRequest:
		out["message"] = d.GetMessage()
	}
	return out
}

// parseExpected reads an expectation: a word, or "revision" with its number. It is
// empty where none is to be sent.
func parseExpected(member json.RawMessage) (kind string, revision uint64, err error) {
	switch kind = text(member); kind {
	case "", "any", "no_stream", "exists":
		return kind, 0, nil
	}
	revision, err = strconv.ParseUint(kind, 10, 64)
	return "revision", revision, err
}

func setAppendExpectation(o *streams.AppendReq_Options, expected json.RawMessage) error {
	kind, revision, err := parseExpected(expected)
	switch kind {
	case "any":
		o.ExpectedStreamRevision = &streams.AppendReq_Options_Any{}
	case "no_stream":
		o.ExpectedStreamRevision = &streams.AppendReq_Options_NoStream{}
	case "exists":
		o.ExpectedStreamRevision = &streams.AppendReq_Options_StreamExists{}
	case "revision":
		o.ExpectedStreamRevision = &streams.AppendReq_Options_Revision{Revision: revision}
	}
	return err
}

func setDeleteExpectation(o *streams.DeleteReq_Options, expected json.RawMessage) error {
	kind, revision, err := parseExpected(expected)
	switch kind {
	case "any":
		o.ExpectedStreamRevision = &streams.DeleteReq_Options_Any{}
	case "no_stream":
		o.ExpectedStreamRevision = &streams.DeleteReq_Options_NoStream{}
	case "exists":
		o.ExpectedStreamRevision = &streams.DeleteReq_Options_StreamExists{}
	case "revision":
		o.ExpectedStreamRevision = &streams.DeleteReq_Options_Revision{Revision: revision}
	}
	return err
}

func setTombstoneExpectation(o *streams.TombstoneReq_Options, expected json.RawMessage) error {
	kind, revision, err := parseExpected(expected)
	switch kind {
	case "any":
		o.ExpectedStreamRevision = &streams.TombstoneReq_Options_Any{}
	case "no_stream":
		o.ExpectedStreamRevision = &streams.TombstoneReq_Options_NoStream{}
	case "exists":
		o.ExpectedStreamRevision = &streams.TombstoneReq_Options_StreamExists{}
	case "revision":
		o.ExpectedStreamRevision = &streams.TombstoneReq_Options_Revision{Revision: revision}
	}
	return err
}

func setBatchExpectation(o *streams.BatchAppendReq_Options, expected json.RawMessage) error {
	kind, revision, err := parseExpected(expected)
	switch kind {
	case "any":
		o.ExpectedStreamPosition = &streams.BatchAppendReq_Options_Any{}
	case "no_stream":
		o.ExpectedStreamPosition = &streams.BatchAppendReq_Options_NoStream{}
	case "exists":
		o.ExpectedStreamPosition = &streams.BatchAppendReq_Options_StreamExists{}
	case "revision":
		o.ExpectedStreamPosition = &streams.BatchAppendReq_Options_StreamPosition{StreamPosition: revision}
	}
	return err
}

func structured(id uuid.UUID) *shared.UUID {
	return &shared.UUID{Value: &shared.UUID_Structured_{Structured: &shared.UUID_Structured{
		MostSignificantBits:  int64(binary.BigEndian.Uint64(id[:8])),
		LeastSignificantBits: int64(binary.BigEndian.Uint64(id[8:])),
	}}}
}

func unstructured(id *shared.UUID_Structured) uuid.UUID {
	var out uuid.UUID
	binary.BigEndian.PutUint64(out[:8], uint64(id.GetMostSignificantBits()))
	binary.BigEndian.PutUint64(out[8:], uint64(id.GetLeastSignificantBits()))
	return out
}
