package esdbtest_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/gossip"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/serverfeatures"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/switchyard-dev/switchyard/backends/esdb/esdbtest"
)

// quiet is how long a subscription must send nothing, once it sent as much as was
// recorded, for the player to believe that nothing more comes.
const quiet = 100 * time.Millisecond

// player sends the recorded requests of one case to the double, and writes its
// answers as they were recorded.
type player struct {
	srv   *esdbtest.Server
	steps []recordedStep
	conn  *grpc.ClientConn
	call  streams.StreamsClient
	user  string // of requests that name none

	positions map[string]position // of events that later requests refer to, by "stream/revision"
	ids       map[string]string   // the aliases of event IDs and correlation IDs that were sent
	names     map[string]string   // streams that are shown with their alias in braces
}

// position is a position of $all, to be ranked.
type position struct{ commit, prepare uint64 }

func newPlayer(srv *esdbtest.Server, c recordedCase) *player {
	p := &player{
		srv: srv, steps: c.steps,
		positions: map[string]position{}, ids: map[string]string{}, names: map[string]string{},
	}
	if srv.CertificatePEM() != nil {
		p.user = "admin:changeit"
	}
	return p
}

// play sends the requests one after another and returns the answers, normalised.
func (p *player) play(ctx context.Context) []json.RawMessage {
	creds := insecure.NewCredentials()
	if pem := p.srv.CertificatePEM(); pem != nil {
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(pem)
		creds = credentials.NewTLS(&tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12})
	}
	conn, err := grpc.NewClient(p.srv.Address(), grpc.WithTransportCredentials(creds),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20), grpc.MaxCallSendMsgSize(64<<20)))
	if err != nil {
		return []json.RawMessage{quoted(err.Error())}
	}
	defer func() { _ = conn.Close() }() // the answers are in
	p.conn, p.call = conn, streams.NewStreamsClient(conn)

	answers := make([]any, len(p.steps))
	for i := range p.steps {
		var want map[string]any
		if recorded := p.steps[i].Response; recorded == nil {
			want = object{}
		} else if err := json.Unmarshal(recorded, &want); err != nil {
			return []json.RawMessage{quoted(err.Error())}
		}
		answers[i] = p.answer(ctx, &p.steps[i].Request, want)
	}
	return p.normal(answers)
}

func quoted(s string) json.RawMessage { return json.RawMessage(strconv.Quote(s)) }

// object is a JSON object of an answer.
type object = map[string]any

// answer sends a request. What was recorded says how much is to be waited for.
func (p *player) answer(ctx context.Context, r *request, want object) object {
	if err := p.learn(ctx, r); err != nil {
		return object{"script": err.Error()}
	}
	ctx = p.outgoing(ctx, r)
	var out object
	var err error
	switch r.Do {
	case "append":
		out, err = p.append(ctx, r)
	case "delete", "tombstone":
		out, err = p.remove(ctx, r)
	case "read":
		out, err = p.read(ctx, r, want)
	case "subscribe":
		out, err = p.subscribe(ctx, r, want)
	case "batchAppend":
		out, err = p.batchAppend(ctx, r, want)
	case "features":
		out, err = p.features(ctx)
	case "gossip":
		out, err = p.gossip(ctx)
	default:
		err = fmt.Errorf("unknown request %q", r.Do)
	}
	if err != nil {
		return object{"script": err.Error()}
	}
	return out
}

func (p *player) outgoing(ctx context.Context, r *request) context.Context {
	user := p.user
	if r.User != nil {
		user = *r.User
	}
	if user != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(user)))
	}
	for k, v := range r.Headers {
		ctx = metadata.AppendToOutgoingContext(ctx, k, v)
	}
	return ctx
}

// failure writes an error with its trailers.
func failure(err error, trailer metadata.MD) object {
	s := status.Convert(err)
	trailers := object{}
	for k, v := range trailer {
		if !slices.Contains([]string{"content-type", "date", "server"}, k) && !strings.HasPrefix(k, "grpc-") {
			trailers[k] = strings.Join(v, ",")
		}
	}
	return object{"code": int(s.Code()), "message": s.Message(), "trailers": trailers}
}

func (p *player) append(ctx context.Context, r *request) (object, error) {
	ctx, cancel := context.WithTimeout(ctx, testTimeout)
	defer cancel()
	call, err := p.call.Append(ctx)
	if err != nil {
		return nil, err
	}
	send := func(message *streams.AppendReq) {
		_ = call.Send(message) // an error is the end of the call, which is told below
	}
	if !r.NoOptions {
		options := &streams.AppendReq_Options{StreamIdentifier: p.identifier(r)}
		if err := setAppendExpectation(options, r.Expected); err != nil {
			return nil, err
		}
		send(&streams.AppendReq{Content: &streams.AppendReq_Options_{Options: options}})
	}
	events, err := parseEvents(r.Events)
	if err != nil {
		return nil, err
	}
	for i := range events {
		e := &events[i]
		send(&streams.AppendReq{Content: &streams.AppendReq_ProposedMessage_{ProposedMessage: &streams.AppendReq_ProposedMessage{
			Id: p.uuid(e), Metadata: e.metadata(), CustomMetadata: e.Meta, Data: e.Data,
		}}})
	}
	answer, err := call.CloseAndRecv()
	if err != nil {
		return object{"error": failure(err, call.Trailer())}, nil
	}
	if ok := answer.GetSuccess(); ok != nil {
		out := object{"revision": nil, "position": "no_position"}
		switch o := ok.GetCurrentRevisionOption().(type) {
		case *streams.AppendResp_Success_NoStream:
			out["revision"] = "no_stream"
		case *streams.AppendResp_Success_CurrentRevision:
			out["revision"] = strconv.FormatUint(o.CurrentRevision, 10)
		}
		if at := ok.GetPosition(); at != nil {
			out["position"] = position{at.GetCommitPosition(), at.GetPreparePosition()}
		}
		return object{"success": out}, nil
	}
	return object{"wrongVersion": wrongVersion(answer.GetWrongExpectedVersion())}, nil
}

func wrongVersion(w *streams.AppendResp_WrongExpectedVersion) object {
	out, old := object{"actual": nil, "expected": nil}, object{"actual": nil, "expected": nil}
	switch o := w.GetCurrentRevisionOption().(type) {
	case *streams.AppendResp_WrongExpectedVersion_CurrentRevision:
		out["actual"] = strconv.FormatUint(o.CurrentRevision, 10)
	case *streams.AppendResp_WrongExpectedVersion_CurrentNoStream:
		out["actual"] = "no_stream"
	}
	switch o := w.GetExpectedRevisionOption().(type) {
	case *streams.AppendResp_WrongExpectedVersion_ExpectedRevision:
		out["expected"] = strconv.FormatUint(o.ExpectedRevision, 10)
	case *streams.AppendResp_WrongExpectedVersion_ExpectedAny:
		out["expected"] = "any"
	case *streams.AppendResp_WrongExpectedVersion_ExpectedStreamExists:
		out["expected"] = "exists"
	case *streams.AppendResp_WrongExpectedVersion_ExpectedNoStream:
		out["expected"] = "no_stream"
	}
	switch o := w.GetCurrentRevisionOption_20_6_0().(type) {
	case *streams.AppendResp_WrongExpectedVersion_CurrentRevision_20_6_0:
		old["actual"] = asDouble(o.CurrentRevision_20_6_0)
	case *streams.AppendResp_WrongExpectedVersion_NoStream_20_6_0:
		old["actual"] = "no_stream"
	}
	switch o := w.GetExpectedRevisionOption_20_6_0().(type) {
	case *streams.AppendResp_WrongExpectedVersion_ExpectedRevision_20_6_0:
		old["expected"] = asDouble(o.ExpectedRevision_20_6_0)
	case *streams.AppendResp_WrongExpectedVersion_Any_20_6_0:
		old["expected"] = "any"
	case *streams.AppendResp_WrongExpectedVersion_StreamExists_20_6_0:
		old["expected"] = "exists"
	}
	out["old"] = old
	return out
}

// asDouble writes a number as it was recorded, by a program whose numbers are
// floating-point ones.
func asDouble(n uint64) string {
	if n == math.MaxUint64 {
		return "2^64-1"
	}
	if n == math.MaxInt64 {
		return "9223372036854776000"
	}
	return strconv.FormatUint(n, 10)
}

func (p *player) remove(ctx context.Context, r *request) (object, error) {
	ctx, cancel := context.WithTimeout(ctx, testTimeout)
	defer cancel()
	var trailer metadata.MD
	var at interface {
		GetCommitPosition() uint64
		GetPreparePosition() uint64
	}
	var err error
	if r.Do == "delete" {
		options := &streams.DeleteReq_Options{StreamIdentifier: p.identifier(r)}
		if err := setDeleteExpectation(options, r.Expected); err != nil {
			return nil, err
		}
		var answer *streams.DeleteResp
		answer, err = p.call.Delete(ctx, &streams.DeleteReq{Options: options}, grpc.Trailer(&trailer))
		at = answer.GetPosition()
	} else {
		options := &streams.TombstoneReq_Options{StreamIdentifier: p.identifier(r)}
		if err := setTombstoneExpectation(options, r.Expected); err != nil {
			return nil, err
		}
		var answer *streams.TombstoneResp
		answer, err = p.call.Tombstone(ctx, &streams.TombstoneReq{Options: options}, grpc.Trailer(&trailer))
		at = answer.GetPosition()
	}
	if err != nil {
		return object{"error": failure(err, trailer)}, nil
	}
	return object{"success": object{"position": position{at.GetCommitPosition(), at.GetPreparePosition()}}}, nil
}

// learn looks up the position of an event that the request refers to.
func (p *player) learn(ctx context.Context, r *request) error {
	var from struct{ At string }
	if len(r.From) > 0 && r.From[0] == '{' {
		if err := json.Unmarshal(r.From, &from); err != nil {
			return err
		}
	}
	if from.At == "" {
		return nil
	}
	call, err := p.call.Read(p.outgoing(ctx, &request{}), &streams.ReadReq{Options: &streams.ReadReq_Options{
		StreamOption: &streams.ReadReq_Options_All{All: &streams.ReadReq_Options_AllOptions{
			AllOption: &streams.ReadReq_Options_AllOptions_Start{},
		}},
		CountOption:  &streams.ReadReq_Options_Count{Count: math.MaxUint64},
		FilterOption: &streams.ReadReq_Options_NoFilter{},
		UuidOption:   &streams.ReadReq_Options_UUIDOption{Content: &streams.ReadReq_Options_UUIDOption_Structured{}},
	}})
	if err != nil {
		return err
	}
	for {
		m, err := call.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		e := m.GetEvent().GetEvent()
		stream := strings.TrimPrefix(string(e.GetStreamIdentifier().GetStreamName()), streamPrefix)
		key := fmt.Sprintf("%s/%d", stream, e.GetStreamRevision())
		p.positions[key] = position{e.GetCommitPosition(), e.GetPreparePosition()}
	}
	if _, ok := p.positions[from.At]; !ok {
		return fmt.Errorf("no event at %s", from.At)
	}
	return nil
}

func (p *player) identifier(r *request) *shared.StreamIdentifier {
	name, set := r.name()
	if !set {
		return nil
	}
	if r.Stream != nil && strings.Contains(*r.Stream, "{") {
		p.names[name] = *r.Stream
	}
	return &shared.StreamIdentifier{StreamName: []byte(name)}
}

func (p *player) uuid(e *requestEvent) *shared.UUID {
	switch {
	case e.NoID:
		return nil
	case e.RawID:
		return &shared.UUID{Value: &shared.UUID_String_{String_: e.ID}}
	}
	return p.aliased(e.ID, e.StringID)
}

// aliased is the ID that stands behind an alias, and notes the alias.
func (p *player) aliased(alias string, asText bool) *shared.UUID {
	id := eventID(alias)
	p.ids[id.String()] = alias
	if asText {
		return &shared.UUID{Value: &shared.UUID_String_{String_: id.String()}}
	}
	return structured(id)
}

func (e *requestEvent) metadata() map[string]string {
	out := map[string]string{}
	if e.Type != nil {
		out["type"] = *e.Type
	}
	if e.CT != nil {
		out["content-type"] = *e.CT
	}
	maps.Copy(out, e.Extra)
	return out
}

func (p *player) features(ctx context.Context) (object, error) {
	var trailer metadata.MD
	answer, err := serverfeatures.NewServerFeaturesClient(p.conn).GetSupportedMethods(ctx, &shared.Empty{}, grpc.Trailer(&trailer))
	if err != nil {
		return object{"error": failure(err, trailer)}, nil
	}
	var methods []string
	for _, m := range answer.GetMethods() {
		methods = append(methods, strings.TrimSpace(m.GetServiceName()+"/"+m.GetMethodName()+" "+strings.Join(m.GetFeatures(), ",")))
	}
	slices.Sort(methods)
	return object{"version": answer.GetEventStoreServerVersion(), "methods": methods}, nil
}

func (p *player) gossip(ctx context.Context) (object, error) {
	var trailer metadata.MD
	answer, err := gossip.NewGossipClient(p.conn).Read(ctx, &shared.Empty{}, grpc.Trailer(&trailer))
	if err != nil {
		return object{"error": failure(err, trailer)}, nil
	}
	set := func(is bool, no string) string {
		if is {
			return "set"
		}
		return no
	}
	var members []any
	for _, m := range answer.GetMembers() {
		members = append(members, object{
			"state": int(m.GetState()), "alive": m.GetIsAlive(), "host": m.GetHttpEndPoint().GetAddress(),
			"instance": set(m.GetInstanceId() != nil, "unset"), "time": set(m.GetTimeStamp() != 0, "0"),
		})
	}
	return object{"members": members}, nil
}
