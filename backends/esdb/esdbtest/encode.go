package esdbtest

import (
	"encoding/binary"
	"math"
	"strconv"
	"strings"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/google/uuid"
)

// The only two content types the server knows.
const (
	contentJSON   = "application/json"
	contentBinary = "application/octet-stream"
)

func decodeUUID(id *shared.UUID) (uuid.UUID, error) {
	if s, ok := id.GetValue().(*shared.UUID_Structured_); ok {
		var out uuid.UUID
		binary.BigEndian.PutUint64(out[:8], uint64(s.Structured.GetMostSignificantBits()))
		binary.BigEndian.PutUint64(out[8:], uint64(s.Structured.GetLeastSignificantBits()))
		return out, nil
	}
	return uuid.Parse(id.GetString_())
}

func structuredUUID(id uuid.UUID) *shared.UUID {
	return &shared.UUID{Value: &shared.UUID_Structured_{Structured: &shared.UUID_Structured{
		MostSignificantBits:  int64(binary.BigEndian.Uint64(id[:8])),
		LeastSignificantBits: int64(binary.BigEndian.Uint64(id[8:])),
	}}}
}

func streamIdentifier(stream string) *shared.StreamIdentifier {
	return &shared.StreamIdentifier{StreamName: []byte(stream)}
}

// encoder makes read responses in the shape one request asked for.
type encoder struct {
	textUUIDs bool
}

func newEncoder(options *streams.ReadReq_Options) encoder {
	// The case of the oneof says it; the message inside may be missing.
	_, text := options.GetUuidOption().GetContent().(*streams.ReadReq_Options_UUIDOption_String_)
	return encoder{textUUIDs: text}
}

func (e encoder) event(r resolved) *streams.ReadResp {
	original := r.event
	if r.link != nil {
		original = r.link
	}
	return &streams.ReadResp{Content: &streams.ReadResp_Event{Event: &streams.ReadResp_ReadEvent{
		Event:    e.record(r.event),
		Link:     e.record(r.link),
		Position: &streams.ReadResp_ReadEvent_CommitPosition{CommitPosition: uint64(original.position)},
	}}}
}

func (e encoder) record(r *record) *streams.ReadResp_ReadEvent_RecordedEvent {
	if r == nil {
		return nil
	}
	id := structuredUUID(r.id)
	if e.textUUIDs {
		id = &shared.UUID{Value: &shared.UUID_String_{String_: r.id.String()}}
	}
	content := contentBinary
	if r.json {
		content = contentJSON
	}
	return &streams.ReadResp_ReadEvent_RecordedEvent{
		Id:               id,
		StreamIdentifier: streamIdentifier(r.stream),
		StreamRevision:   wireRevision(r.revision),
		PreparePosition:  uint64(r.position),
		CommitPosition:   uint64(r.position),
		Metadata: map[string]string{
			"type":         r.eventType,
			"content-type": content,
			"created":      strconv.FormatInt(r.created, 10),
		},
		Data:           r.data,
		CustomMetadata: r.metadata,
	}
}

// wireRevision is the revision as the protocol has it: unsigned, with none as the
// largest number. That of a tombstone is the largest signed one.
func wireRevision(revision int64) uint64 {
	if revision < 0 {
		return math.MaxUint64
	}
	return uint64(revision)
}

func confirmation() *streams.ReadResp {
	return &streams.ReadResp{Content: &streams.ReadResp_Confirmation{
		Confirmation: &streams.ReadResp_SubscriptionConfirmation{SubscriptionId: uuid.NewString()},
	}}
}

func checkpoint(at logPosition) *streams.ReadResp {
	return &streams.ReadResp{Content: &streams.ReadResp_Checkpoint_{
		Checkpoint: &streams.ReadResp_Checkpoint{CommitPosition: uint64(at.commit), PreparePosition: uint64(at.prepare)},
	}}
}

func streamNotFound(stream string) *streams.ReadResp {
	return &streams.ReadResp{Content: &streams.ReadResp_StreamNotFound_{
		StreamNotFound: &streams.ReadResp_StreamNotFound{StreamIdentifier: streamIdentifier(stream)},
	}}
}

// resolved is an event as a reader gets it: with links resolved, event is the
// target, nil if it cannot be read, and link is the event that points to it.
type resolved struct {
	event *record
	link  *record
}

// resolve follows a link if asked to; other events are themselves, and so is a
// link that names no event at all.
func (s *store) resolve(r *record, links bool) resolved {
	if !links || r.eventType != typeLink {
		return resolved{event: r}
	}
	number, stream, ok := strings.Cut(string(r.data), "@")
	revision, err := strconv.ParseInt(number, 10, 64)
	if !ok || err != nil {
		return resolved{event: r}
	}
	return resolved{event: s.target(stream, revision), link: r}
}

// target finds an event that a link names, nil if there is none to be read. The
// revision -1 is the stream's last event.
func (s *store) target(stream string, revision int64) *record {
	if revision == -1 {
		p, err := s.streamBackward(stream, deletedRevision, 1)
		if err != nil || len(p.records) == 0 {
			return nil
		}
		return p.records[0]
	}
	p, err := s.streamForward(stream, revision, 1)
	if err != nil || len(p.records) == 0 || p.records[0].revision != revision {
		return nil
	}
	return p.records[0]
}
