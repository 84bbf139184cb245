package sqlite

import (
	"math"
	"time"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// Capabilities declares what a SQLite file can do.
func (b *Backend) Capabilities() eventstore.Capabilities {
	// What the column recorded_at holds.
	earliest, latest := time.UnixMicro(math.MinInt64).UTC(), time.UnixMicro(math.MaxInt64).UTC()
	return eventstore.Capabilities{
		Backend:             "sqlite",
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
		LivePush:            eventstore.No("a file does not tell of other processes' events; they are found by polling"),
		PollInterval:        b.opts.Poll,
		PreservedRecordTime: eventstore.Yes(),
		Durability:          eventstore.SurvivesPowerLoss,
		TimePrecision:       time.Microsecond,
		Earliest:            &earliest,
		Latest:              &latest,
		Limits: eventstore.Limits{
			MaxAppendEvents: 1 << 16,
			MaxAppendBytes:  256 << 20,
			MaxAppendParts:  1 << 16,
			MaxEventBytes:   64 << 20,
			MaxStreamBytes:  4 << 10,
			MaxTypeBytes:    4 << 10,
		},
	}
}
