package marten

import (
	"fmt"
	"strconv"
	"time"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/pgdriver"
)

// Capabilities declares what this handle can do, as the store's tables and the server's
// settings were when it was opened.
func (b *Backend) Capabilities() eventstore.Capabilities { return b.caps }

// window is how many of a stream's last events an append is held against, to recognise
// those that are stored already. One whose last event is among them is recognised, however
// many events it has.
const window = 1000

// lookBack is, in SQL, how far back the first event may be of an append whose events have
// the places w.low to w.high.
func lookBack() string { return "(" + strconv.Itoa(window) + " + w.high - w.low)" }

// mostEventBytes is the largest event.
const mostEventBytes = 8 << 20

func (b *Backend) capabilities(server pgdriver.Server) eventstore.Capabilities {
	yesOr := func(no string) eventstore.Capability {
		if no == "" {
			return eventstore.Yes()
		}
		return eventstore.No(no)
	}
	metadata, ids := "", ""
	if !b.shape().headers {
		metadata = noHeaders
	}
	known := uint64(window)
	if b.shape().uniqueIDs {
		ids, known = "the store has the index idx_mt_events_event_id, by which an event ID occurs once in it", 0
	}
	earliest := time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC) // the first that .NET and the driver both can read
	latest := time.Date(9999, 12, 31, 23, 59, 59, 999_999_000, time.UTC)
	return eventstore.Capabilities{
		Backend:             "marten",
		MultiStreamAppend:   eventstore.Yes(),
		ContiguousAppends:   eventstore.No("other writers of the store take numbers between those of an append"),
		GlobalOrder:         eventstore.Yes(),
		WholeStreams:        eventstore.No("Marten compacts streams, and masks and archives events"),
		LivePush:            eventstore.No(fmt.Sprintf("Marten tells nobody of new events; the store is polled every %s", b.opts.Poll)),
		PollInterval:        b.opts.Poll,
		PreservedRecordTime: eventstore.Yes(),
		ExactData:           eventstore.No("data is jsonb, which orders keys, folds duplicate ones and exponents, and comes back equal as JSON"),
		BinaryData:          eventstore.No("data is jsonb"),
		Metadata:            yesOr(metadata),
		StreamScopedIDs:     yesOr(ids),
		Checkpoints:         yesOr(b.own.why),
		Snapshots:           yesOr(b.own.why),
		Seal:                eventstore.No(noSeal),
		IdempotencyWindow:   known,
		WriterGrace:         b.opts.Grace,
		Durability:          server.Durability(),
		TimePrecision:       time.Microsecond,
		Earliest:            &earliest,
		Latest:              &latest,
		Limits: eventstore.Limits{
			MaxAppendEvents: 5_000,
			MaxAppendBytes:  16 << 20,
			MaxAppendParts:  1_000,
			MaxEventBytes:   mostEventBytes,
			MaxStreamBytes:  b.mostStreamBytes(),
			MaxTypeBytes:    mostTypeLength,
			StreamPattern:   b.names.streamPattern(),
			TypePattern:     b.names.typePattern(),
		},
	}
}

// mostStreamBytes is the longest name: an index entry holds at most 2,704 bytes, with a
// tenant beside it.
func (b *Backend) mostStreamBytes() int { return 1024 }
