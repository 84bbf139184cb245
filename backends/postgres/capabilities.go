package postgres

import (
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/pgdriver"
)

// Capabilities declares what this handle can do. The durability is what the
// server's settings were when it was opened.
func (b *Backend) Capabilities() eventstore.Capabilities { return b.caps }

func capabilities(server pgdriver.Server, poll time.Duration, opts *Options, pool *pgxpool.Pool) eventstore.Capabilities {
	push := eventstore.Yes()
	if opts.NoListen {
		push = eventstore.No("LISTEN is off for this handle")
	}
	earliest, latest := times(pgdriver.InText(pool))
	return eventstore.Capabilities{
		Backend:             "postgres",
		MultiStreamAppend:   eventstore.Yes(),
		ContiguousAppends:   eventstore.Yes(),
		GlobalOrder:         eventstore.Yes(),
		WholeStreams:        eventstore.Yes(),
		LivePush:            push,
		PollInterval:        poll,
		PreservedRecordTime: eventstore.Yes(),
		ExactData:           eventstore.Yes(),
		BinaryData:          eventstore.Yes(),
		Metadata:            eventstore.Yes(),
		StreamScopedIDs:     eventstore.Yes(),
		Checkpoints:         eventstore.Yes(),
		Snapshots:           eventstore.Yes(),
		Seal:                eventstore.Yes(),
		Durability:          server.Durability(),
		TimePrecision:       time.Microsecond,
		Earliest:            &earliest,
		Latest:              &latest,
		Limits: eventstore.Limits{
			MaxAppendEvents: 10_000,
			MaxAppendBytes:  64 << 20,
			MaxAppendParts:  10_000,
			MaxEventBytes:   32 << 20,
			// An index entry holds at most 2,704 bytes; it has a UUID or a
			// position beside the name.
			MaxStreamBytes: 2048,
			MaxTypeBytes:   2048,
		},
	}
}

// times are the bounds of a record time: the column's, or as text what the driver can
// read, whose years have four digits and no era.
func times(text bool) (earliest, latest time.Time) {
	if text {
		return time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(9999, 12, 31, 23, 59, 59, 999_999_000, time.UTC)
	}
	return time.Date(-4713, 11, 24, 0, 0, 0, 0, time.UTC), time.Date(294276, 12, 31, 23, 59, 59, 999_999_000, time.UTC)
}
