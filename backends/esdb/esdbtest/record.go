package esdbtest

import (
	"math"
	"strings"
	"unicode/utf16"

	"github.com/google/uuid"
)

// Event types and streams the server itself knows.
const (
	typeMetadata      = "$metadata"
	typeStreamDeleted = "$streamDeleted"
	typeLink          = "$>"
	streamAll         = "$all"
	metaPrefix        = "$$"
)

// deletedRevision is the revision of a tombstone, and the $tb of a soft delete.
const deletedRevision = math.MaxInt64

// proposed is an event as a client sends it.
type proposed struct {
	id        uuid.UUID
	eventType string
	json      bool
	data      []byte
	metadata  []byte
}

// size is what the event counts towards the append limit.
func (p *proposed) size() int {
	return len(p.data) + len(p.metadata) + 2*len(utf16.Encode([]rune(p.eventType)))
}

// record is an event in the log. It never changes once it is written, so it may
// be read without the store's lock.
type record struct {
	proposed
	stream   string
	revision int64
	position uint64 // both commit and prepare
	created  int64  // ticks of 100 ns since the Unix epoch, as .NET clients expect
}

// A record in the log file has a header and two length marks around it; the
// sizes are about those of the real format, so that positions look alike.
const (
	recordOverhead = 8 + 67
	epochRecord    = 172 // the log begins with a record that is no event
)

func (r *record) length() uint64 {
	return uint64(recordOverhead + len(r.stream) + len(r.eventType) + len(r.data) + len(r.metadata))
}

func isMetastream(stream string) bool { return strings.HasPrefix(stream, metaPrefix) }

func metastreamOf(stream string) string { return metaPrefix + stream }

// originalOf is the stream that a metastream describes.
func originalOf(metastream string) string { return strings.TrimPrefix(metastream, metaPrefix) }
