package esdb

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// This file and wire_read.go are the calls that the adapter makes of the server;
// with the discovery they are all that knows the protocol's generated code.

// What the server answers that is more than a status.
var (
	errNoStream   = errors.New("the stream was never written, or was deleted")
	errNoPosition = errors.New("no record of the server can begin at the position")
	errTombstoned = errors.New("the stream was deleted for good (tombstoned)")
	errNotLeader  = errors.New("the node is not the leader")
	errClosing    = fmt.Errorf("%w while the call was under way", eventstore.ErrClosed)
)

// wrongVersionError is the server's refusal of an append.
type wrongVersionError struct{ actual uint64 }

func (e *wrongVersionError) Error() string {
	return "the server has the stream at version " + strconv.FormatUint(e.actual, 10)
}

// sentError is the failure of an append that the server may have got whole, and
// stored. Any other it did not get whole, and stored nothing.
type sentError struct{ err error }

func (e *sentError) Error() string { return e.err.Error() }
func (e *sentError) Unwrap() error { return e.err }

// proposed is an event as it is sent.
type proposed struct {
	eventType  string
	json       bool
	data, meta []byte
}

// recorded is an event as it is read.
type recorded struct {
	stream     string
	revision   uint64
	id         uuid.UUID
	eventType  string
	json       bool
	data, meta []byte
	created    time.Time
	position   eventstore.Position
	target     *recorded // what a link points to, where that was asked for and exists
}

// anyVersion is no expectation of a stream.
const anyVersion = ^uint64(0)

// appendTo appends events to a stream that is at a version. It returns the last
// one's version and position.
func (c *connection) appendTo(ctx context.Context, stream string, at uint64, events []proposed) (version uint64, position eventstore.Position, err error) {
	l, err := c.use(ctx, appending)
	if err != nil {
		return 0, position, err
	}
	defer c.release(l)
	n := l.node
	call, err := l.streams.Append(ctx)
	if err != nil {
		return 0, position, c.failed(n, err, nil)
	}
	// io.EOF ends no append. The server may have answered already, which CloseAndRecv
	// returns; or the connection broke before the call left, and then gRPC makes the
	// call anew there, with all that was given to Send: so all must be given.
	err = call.Send(appendOptions(stream, at))
	for i := 0; i < len(events) && (err == nil || errors.Is(err, io.EOF)); i++ {
		err = call.Send(proposal(&events[i]))
	}
	if err != nil && !errors.Is(err, io.EOF) { // and the call was given up before its end
		return 0, position, c.failed(n, err, nil)
	}
	answer, err := call.CloseAndRecv()
	if err != nil {
		return 0, position, &sentError{c.failed(n, err, call.Trailer())}
	}
	if wrong := answer.GetWrongExpectedVersion(); wrong != nil {
		refusal := &wrongVersionError{}
		if is, ok := wrong.GetCurrentRevisionOption().(*streams.AppendResp_WrongExpectedVersion_CurrentRevision); ok {
			refusal.actual = is.CurrentRevision + 1
		}
		return 0, position, refusal
	}
	success := answer.GetSuccess()
	if success == nil {
		return 0, position, &sentError{errors.New("the server's answer is neither success nor refusal")}
	}
	version = success.GetCurrentRevision() + 1
	if at != anyVersion && version != at+uint64(len(events)) && (at != 0 || version < uint64(len(events))) {
		return 0, position, &sentError{fmt.Errorf("%w: %d events at version %d of stream %q made it %d", errContradiction, len(events), at, stream, version)}
	}
	stored := success.GetPosition() // none, where what was repeated is no longer there
	return version, eventstore.NewPosition(stored.GetCommitPosition(), stored.GetPreparePosition()), nil
}

func appendOptions(stream string, at uint64) *streams.AppendReq {
	options := &streams.AppendReq_Options{StreamIdentifier: streamIdentifier(stream)}
	switch at {
	case 0:
		options.ExpectedStreamRevision = &streams.AppendReq_Options_NoStream{NoStream: &shared.Empty{}}
	case anyVersion:
		options.ExpectedStreamRevision = &streams.AppendReq_Options_Any{Any: &shared.Empty{}}
	default:
		options.ExpectedStreamRevision = &streams.AppendReq_Options_Revision{Revision: at - 1}
	}
	return &streams.AppendReq{Content: &streams.AppendReq_Options_{Options: options}}
}

// The server's own names of what an event is.
const (
	keyType    = "type"
	keyContent = "content-type"
	keyCreated = "created"
	jsonFlag   = "application/json"
	binaryFlag = "application/octet-stream"
)

// proposal is an event with a new ID for the server, as every attempt has.
func proposal(event *proposed) *streams.AppendReq {
	flag := binaryFlag
	if event.json {
		flag = jsonFlag
	}
	return &streams.AppendReq{Content: &streams.AppendReq_ProposedMessage_{ProposedMessage: &streams.AppendReq_ProposedMessage{
		Id:             wireID(uuid.New()),
		Metadata:       map[string]string{keyType: event.eventType, keyContent: flag},
		CustomMetadata: event.meta,
		Data:           event.data,
	}}}
}

func streamIdentifier(stream string) *shared.StreamIdentifier {
	return &shared.StreamIdentifier{StreamName: []byte(stream)}
}

func wireID(id uuid.UUID) *shared.UUID {
	return &shared.UUID{Value: &shared.UUID_Structured_{Structured: &shared.UUID_Structured{
		MostSignificantBits:  int64(binary.BigEndian.Uint64(id[:8])),
		LeastSignificantBits: int64(binary.BigEndian.Uint64(id[8:])),
	}}}
}

func readID(id *shared.UUID) (out uuid.UUID) {
	if bits := id.GetStructured(); bits != nil {
		binary.BigEndian.PutUint64(out[:8], uint64(bits.GetMostSignificantBits()))
		binary.BigEndian.PutUint64(out[8:], uint64(bits.GetLeastSignificantBits()))
		return out
	}
	out, _ = uuid.Parse(id.GetString_()) // the zero ID where it is none
	return out
}

// readEvent returns an event of a read: a link as itself.
func readEvent(read *streams.ReadResp_ReadEvent) (*recorded, error) {
	if read.GetLink() == nil {
		return readRecord(read.GetEvent())
	}
	link, err := readRecord(read.GetLink())
	if err == nil && read.GetEvent() != nil {
		link.target, err = readRecord(read.GetEvent())
	}
	return link, err
}

func readRecord(read *streams.ReadResp_ReadEvent_RecordedEvent) (*recorded, error) {
	about := read.GetMetadata()
	ticks, err := strconv.ParseInt(about[keyCreated], 10, 64) // of 100 ns
	if err != nil || ticks > math.MaxInt64/100 {
		return nil, fmt.Errorf("event %d of stream %q: its record time is %q", read.GetStreamRevision(), read.GetStreamIdentifier().GetStreamName(), about[keyCreated])
	}
	return &recorded{
		stream:    string(read.GetStreamIdentifier().GetStreamName()),
		revision:  read.GetStreamRevision(),
		id:        readID(read.GetId()),
		eventType: about[keyType],
		json:      about[keyContent] == jsonFlag,
		data:      read.GetData(),
		meta:      read.GetCustomMetadata(),
		created:   time.Unix(0, ticks*100).UTC(),
		position:  eventstore.NewPosition(read.GetCommitPosition(), read.GetPreparePosition()),
	}, nil
}
