package esdbtest

import (
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// caughtUp says that a subscription caught up. Its contents, from 24.10.5 on, are
// newer than the client's messages: what those do not know they keep as it is.
func caughtUp(contents []byte) *streams.ReadResp {
	message := &streams.ReadResp_CaughtUp{}
	message.ProtoReflect().SetUnknown(contents)
	return &streams.ReadResp{Content: &streams.ReadResp_CaughtUp_{CaughtUp: message}}
}

// The fields of "caught up" and of the position in it.
const (
	caughtUpTimestamp protowire.Number = 1
	caughtUpRevision  protowire.Number = 2
	caughtUpPosition  protowire.Number = 3

	positionCommit  protowire.Number = 1
	positionPrepare protowire.Number = 2
)

func caughtUpAt(now time.Time) []byte {
	timestamp, err := proto.Marshal(timestamppb.New(now))
	if err != nil {
		return nil // it has no way to fail
	}
	out := protowire.AppendTag(nil, caughtUpTimestamp, protowire.BytesType)
	return protowire.AppendBytes(out, timestamp)
}

func caughtUpAtRevision(now time.Time, revision int64) []byte {
	out := caughtUpAt(now)
	if revision < 0 {
		return out
	}
	out = protowire.AppendTag(out, caughtUpRevision, protowire.VarintType)
	return protowire.AppendVarint(out, uint64(revision))
}

func caughtUpAtPosition(now time.Time, at logPosition) []byte {
	var position []byte
	position = protowire.AppendTag(position, positionCommit, protowire.VarintType)
	position = protowire.AppendVarint(position, uint64(at.commit))
	position = protowire.AppendTag(position, positionPrepare, protowire.VarintType)
	position = protowire.AppendVarint(position, uint64(at.prepare))
	out := protowire.AppendTag(caughtUpAt(now), caughtUpPosition, protowire.BytesType)
	return protowire.AppendBytes(out, position)
}
