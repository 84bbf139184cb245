package kafka

import (
	"time"

	"github.com/switchyard-dev/switchyard/backends/kafka/fold"
	"github.com/switchyard-dev/switchyard/backends/kafka/internal/connection"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// batchOverhead is what Kafka adds to a record, and a frame to its parts: at most
// so many bytes.
const batchOverhead = 200

// Capabilities declares what this handle can do. The durability and the largest
// append are what the topic's settings were when it was opened.
func (b *Backend) Capabilities() eventstore.Capabilities { return b.caps }

func capabilities(topic connection.Topic, opts Options) eventstore.Capabilities {
	push := eventstore.Yes()
	if opts.NoPush {
		push = eventstore.No("pushing is off for this handle")
	}
	durability := eventstore.SurvivesProcessCrash
	if connection.Fsync(topic) {
		durability = eventstore.SurvivesPowerLoss
	}
	earliest, latest := fold.TimeRange()
	return eventstore.Capabilities{
		Backend:             "kafka",
		MultiStreamAppend:   eventstore.Yes(),
		ContiguousAppends:   eventstore.Yes(),
		GlobalOrder:         eventstore.Yes(),
		WholeStreams:        eventstore.Yes(),
		LivePush:            push,
		PollInterval:        opts.Poll,
		PreservedRecordTime: eventstore.Yes(),
		ExactData:           eventstore.Yes(),
		BinaryData:          eventstore.Yes(),
		Metadata:            eventstore.Yes(),
		StreamScopedIDs:     eventstore.Yes(),
		Checkpoints:         eventstore.Yes(),
		Snapshots:           eventstore.Yes(),
		Seal:                eventstore.Yes(),
		Durability:          durability,
		TimePrecision:       time.Nanosecond,
		Earliest:            &earliest,
		Latest:              &latest,
		Limits:              limits(connection.MaxMessageBytes(topic)),
	}
}

// limits are such that whatever they let through fits into one record: a frame adds
// up to 32 bytes to an event's size, and to a part its stream and up to 48 bytes.
func limits(record int) eventstore.Limits {
	most := eventstore.Limits{MaxAppendEvents: 4096, MaxAppendParts: 256, MaxStreamBytes: 2048, MaxTypeBytes: 2048}
	if record < 2<<20 { // then the portable limits fit, and little more
		most = eventstore.PortableLimits()
	}
	most.MaxAppendBytes = record - 2*batchOverhead - 32*most.MaxAppendEvents - most.MaxAppendParts*(most.MaxStreamBytes+48)
	most.MaxEventBytes = most.MaxAppendBytes
	return most
}
