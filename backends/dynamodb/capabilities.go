package dynamodb

import (
	"math"
	"time"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// Limits of an append. What they let through always fits one transaction: so many
// streams, and no more than maxAppendBytes ÷ (largeChunk ÷ 2) further chunks of
// streams that get more than one, are no more than mostChunks.
const (
	maxAppendEvents = 1000
	maxAppendBytes  = 3 << 20
	maxAppendParts  = 80
	maxEventBytes   = 380 << 10
	maxNameBytes    = 255
)

// Capabilities declares what DynamoDB can do, and this package for it.
func (b *Backend) Capabilities() eventstore.Capabilities {
	// What a number of microseconds holds.
	earliest, latest := time.UnixMicro(math.MinInt64).UTC(), time.UnixMicro(math.MaxInt64).UTC()
	return eventstore.Capabilities{
		Backend:             "dynamodb",
		MultiStreamAppend:   eventstore.Yes(),
		ContiguousAppends:   eventstore.Yes(),
		GlobalOrder:         eventstore.Yes(),
		WholeStreams:        eventstore.Yes(),
		ExactData:           eventstore.Yes(),
		BinaryData:          eventstore.Yes(),
		Metadata:            eventstore.Yes(),
		StreamScopedIDs:     eventstore.Yes(),
		Checkpoints:         eventstore.Yes(),
		Snapshots:           eventstore.Yes(),
		Seal:                eventstore.Yes(),
		LivePush:            eventstore.No("DynamoDB has no notification that costs less than asking; new events of other processes are found by polling"),
		PollInterval:        b.opts.Poll,
		PreservedRecordTime: eventstore.Yes(),
		IdempotencyWindow:   uint64(b.opts.IdempotencyWindow),
		Durability:          b.opts.Durability,
		TimePrecision:       time.Microsecond,
		Earliest:            &earliest,
		Latest:              &latest,
		Limits: eventstore.Limits{
			MaxAppendEvents: maxAppendEvents,
			MaxAppendBytes:  maxAppendBytes,
			MaxAppendParts:  maxAppendParts,
			MaxEventBytes:   maxEventBytes,
			MaxStreamBytes:  maxNameBytes,
			MaxTypeBytes:    maxNameBytes,
		},
	}
}
