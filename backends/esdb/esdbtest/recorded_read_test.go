package esdbtest_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"strconv"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc/metadata"
)

// readRequest builds the request of a read or subscription.
func (p *player) readRequest(r *request) (*streams.ReadReq, error) {
	o := &streams.ReadReq_Options{ResolveLinks: r.Links}
	from, err := p.parseFrom(r.From)
	if err != nil {
		return nil, err
	}
	if id := p.identifier(r); id != nil {
		of := &streams.ReadReq_Options_StreamOptions{StreamIdentifier: id}
		switch {
		case from.none:
		case from.end:
			of.RevisionOption = &streams.ReadReq_Options_StreamOptions_End{}
		case from.start:
			of.RevisionOption = &streams.ReadReq_Options_StreamOptions_Start{}
		default:
			of.RevisionOption = &streams.ReadReq_Options_StreamOptions_Revision{Revision: from.revision}
		}
		o.StreamOption = &streams.ReadReq_Options_Stream{Stream: of}
	} else if r.All {
		of := &streams.ReadReq_Options_AllOptions{}
		switch {
		case from.none:
		case from.end:
			of.AllOption = &streams.ReadReq_Options_AllOptions_End{}
		case from.start:
			of.AllOption = &streams.ReadReq_Options_AllOptions_Start{}
		default:
			of.AllOption = &streams.ReadReq_Options_AllOptions_Position{Position: &streams.ReadReq_Options_Position{
				CommitPosition: from.at.commit, PreparePosition: from.at.prepare,
			}}
		}
		o.StreamOption = &streams.ReadReq_Options_All{All: of}
	}
	if r.Backward {
		o.ReadDirection = streams.ReadReq_Options_Backwards
	}
	switch {
	case r.Do == "subscribe":
		o.CountOption = &streams.ReadReq_Options_Subscription{}
	case len(r.Count) > 0 && !isNull(r.Count):
		count, err := strconv.ParseUint(text(r.Count), 10, 64)
		if err != nil {
			return nil, err
		}
		o.CountOption = &streams.ReadReq_Options_Count{Count: count}
	}
	if err := setFilter(o, r.Filter); err != nil {
		return nil, err
	}
	switch {
	case isNull(r.UUID):
	case text(r.UUID) == "string":
		o.UuidOption = &streams.ReadReq_Options_UUIDOption{Content: &streams.ReadReq_Options_UUIDOption_String_{}}
	default:
		o.UuidOption = &streams.ReadReq_Options_UUIDOption{Content: &streams.ReadReq_Options_UUIDOption_Structured{}}
	}
	if r.Compatibility > 0 {
		o.ControlOption = &streams.ReadReq_Options_ControlOption{Compatibility: r.Compatibility}
	}
	return &streams.ReadReq{Options: o}, nil
}

// readFrom is where a read begins.
type readFrom struct {
	none, start, end bool
	revision         uint64
	at               position
}

func (p *player) parseFrom(member json.RawMessage) (readFrom, error) {
	switch s := text(member); {
	case isNull(member):
		return readFrom{none: true}, nil
	case s == "", s == "start":
		return readFrom{start: true}, nil
	case s == "end":
		return readFrom{end: true}, nil
	case member[0] != '{':
		revision, err := strconv.ParseUint(s, 10, 64)
		return readFrom{revision: revision}, err
	}
	var at struct {
		At              string
		Add, AddC, AddP int64
		C, P            *string
	}
	if err := json.Unmarshal(member, &at); err != nil {
		return readFrom{}, err
	}
	known := p.positions[at.At]
	out := readFrom{at: position{
		commit:  uint64(int64(known.commit) + at.Add + at.AddC),
		prepare: uint64(int64(known.prepare) + at.Add + at.AddP),
	}}
	for text, to := range map[*string]*uint64{at.C: &out.at.commit, at.P: &out.at.prepare} {
		if text == nil {
			continue
		}
		n, err := strconv.ParseUint(*text, 10, 64)
		if err != nil {
			return readFrom{}, err
		}
		*to = n
	}
	return out, nil
}

func setFilter(o *streams.ReadReq_Options, member json.RawMessage) error {
	if isNull(member) {
		return nil
	}
	if len(member) == 0 {
		o.FilterOption = &streams.ReadReq_Options_NoFilter{}
		return nil
	}
	var f requestFilter
	if err := json.Unmarshal(member, &f); err != nil {
		return err
	}
	expression := &streams.ReadReq_Options_FilterOptions_Expression{}
	if f.Regex != nil {
		expression.Regex = fill(*f.Regex)
	}
	for _, prefix := range f.Prefixes {
		expression.Prefix = append(expression.Prefix, nameOf(prefix))
	}
	of := &streams.ReadReq_Options_FilterOptions{CheckpointIntervalMultiplier: 1}
	switch f.On {
	case "type":
		of.Filter = &streams.ReadReq_Options_FilterOptions_EventType{EventType: expression}
	case "stream":
		of.Filter = &streams.ReadReq_Options_FilterOptions_StreamIdentifier{StreamIdentifier: expression}
	}
	switch window := text(f.Window); window {
	case "":
	case "count":
		of.Window = &streams.ReadReq_Options_FilterOptions_Count{}
	default:
		n, err := strconv.ParseUint(window, 10, 32)
		if err != nil {
			return err
		}
		of.Window = &streams.ReadReq_Options_FilterOptions_Max{Max: uint32(n)}
	}
	if f.Multiplier != nil {
		of.CheckpointIntervalMultiplier = *f.Multiplier
	}
	o.FilterOption = &streams.ReadReq_Options_Filter{Filter: of}
	return nil
}

func (p *player) read(ctx context.Context, r *request, want object) (object, error) {
	req, err := p.readRequest(r)
	if err != nil {
		return nil, err
	}
	wait := testTimeout
	if want["hung"] == true {
		wait = 2 * quiet // time enough to answer, if it did
	}
	// A deadline would be told to the server, which ends the call then.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer time.AfterFunc(wait, cancel).Stop()
	call, err := p.call.Read(ctx, req)
	if err != nil {
		return nil, err
	}
	out := object{"messages": []any{}}
	for {
		m, err := call.Recv()
		switch {
		case errors.Is(err, io.EOF):
			return out, nil
		case err != nil && ctx.Err() != nil:
			out["hung"] = true
			return out, nil
		case err != nil:
			out["error"] = failure(err, call.Trailer())
			return out, nil
		}
		out["messages"] = append(list(out["messages"]), p.message(m))
	}
}

func list(v any) []any {
	l, _ := v.([]any)
	return l
}

// subscribe takes as many messages as were recorded and then waits for more, sends
// the requests of then, and does so again.
func (p *player) subscribe(ctx context.Context, r *request, want object) (object, error) {
	req, err := p.readRequest(r)
	if err != nil {
		return nil, err
	}
	// The steps in between name their own users.
	calling, cancel := context.WithCancel(ctx)
	defer cancel()
	call, err := p.call.Read(calling, req)
	if err != nil {
		return nil, err
	}
	messages, ended := make(chan any), make(chan object, 1)
	go func() {
		for {
			m, err := call.Recv()
			if err != nil {
				ended <- failure(err, call.Trailer())
				return
			}
			select {
			case messages <- p.message(m):
			case <-calling.Done():
				return
			}
		}
	}()
	out := object{}
	_, fails := want["error"]
	_, goesOn := want["after"]
	var failed object
	out["first"], failed = collect(messages, ended, countOf(want["first"]), fails && !goesOn)
	if failed != nil {
		out["error"] = failed
		return out, nil
	}
	if r.Then == nil {
		return out, nil
	}
	wanted, steps := list(want["steps"]), []any{}
	for i := range r.Then {
		var of object
		if i < len(wanted) {
			of, _ = wanted[i].(object)
		}
		steps = append(steps, p.answer(metadata.NewOutgoingContext(ctx, nil), &r.Then[i], of))
	}
	out["steps"] = steps
	out["after"], failed = collect(messages, ended, countOf(want["after"]), fails)
	if failed != nil {
		out["error"] = failed
	}
	return out, nil
}

// countOf is how many messages a recorded list stands for.
func countOf(recorded any) int {
	n := 0
	for _, m := range list(recorded) {
		var events int
		if s, ok := m.(string); ok && scanEvents(s, &events) {
			n += events
			continue
		}
		n++
	}
	return n
}

// collect takes at least that many messages, and the end if one is expected, and
// more if they come.
func collect(messages <-chan any, ended <-chan object, atLeast int, end bool) (taken []any, failed object) {
	taken = []any{}
	for {
		wait := quiet
		if len(taken) < atLeast || end {
			wait = testTimeout
		}
		select {
		case m := <-messages:
			taken = append(taken, m)
		case failed := <-ended:
			return taken, failed
		case <-time.After(wait):
			return taken, nil
		}
	}
}

// message writes one message of a read.
func (p *player) message(m *streams.ReadResp) any {
	switch c := m.GetContent().(type) {
	case *streams.ReadResp_Event:
		return resolvedOf(c.Event)
	case *streams.ReadResp_Confirmation:
		return object{"confirmation": true}
	case *streams.ReadResp_Checkpoint_:
		return object{"checkpoint": position{c.Checkpoint.GetCommitPosition(), c.Checkpoint.GetPreparePosition()}}
	case *streams.ReadResp_StreamNotFound_:
		return object{"streamNotFound": string(c.StreamNotFound.GetStreamIdentifier().GetStreamName())}
	case *streams.ReadResp_FirstStreamPosition:
		return object{"firstStreamPosition": strconv.FormatUint(c.FirstStreamPosition, 10)}
	case *streams.ReadResp_LastStreamPosition:
		return object{"lastStreamPosition": strconv.FormatUint(c.LastStreamPosition, 10)}
	case *streams.ReadResp_CaughtUp_:
		return object{"caughtUp": true}
	case *streams.ReadResp_FellBehind_:
		return object{"fellBehind": true}
	}
	return object{"other": m.String()}
}

// shownEvent is an event with its link, before positions are ranked.
type shownEvent struct {
	event, link *shownRecord
	at          position
}

type shownRecord struct {
	stream, revision, id, eventType, content, created string
	at                                                position
	data, meta                                        []byte
}

func resolvedOf(e *streams.ReadResp_ReadEvent) shownEvent {
	return shownEvent{
		event: recordOf(e.GetEvent()), link: recordOf(e.GetLink()),
		at: position{e.GetCommitPosition(), e.GetCommitPosition()},
	}
}

func recordOf(e *streams.ReadResp_ReadEvent_RecordedEvent) *shownRecord {
	if e == nil {
		return nil
	}
	revision := strconv.FormatUint(e.GetStreamRevision(), 10)
	switch e.GetStreamRevision() {
	case math.MaxInt64:
		revision = "2^63-1"
	case math.MaxUint64:
		revision = "2^64-1"
	}
	return &shownRecord{
		stream: string(e.GetStreamIdentifier().GetStreamName()), revision: revision, id: uuidText(e.GetId()),
		eventType: e.GetMetadata()["type"], content: e.GetMetadata()["content-type"], created: e.GetMetadata()["created"],
		at:   position{e.GetCommitPosition(), e.GetPreparePosition()},
		data: e.GetData(), meta: e.GetCustomMetadata(),
	}
}

func uuidText(id *shared.UUID) string {
	if s, ok := id.GetValue().(*shared.UUID_String_); ok {
		return s.String_
	}
	return unstructured(id.GetStructured()).String()
}
