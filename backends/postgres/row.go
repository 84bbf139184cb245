package postgres

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/pgdriver"
)

const eventColumns = `global_position, version, id, created_at, stream_id, event_type, content_type, event_data, metadata`

// pageState is what its rows have in common.
type pageState struct {
	sealed  bool
	missing bool // the event that the page was to follow is not there
	// passed is the last event that the page's window has, and beyond the first
	// position after the window: zero where there is none.
	passed eventstore.Place
	beyond int64
}

// A stamp is the OID of the table that a page comes from, which has 32 bits, and these.
const (
	stampSealed  int64 = 1 << 32
	stampMissing int64 = 1 << 33
)

// eachEvent calls do with each event until do returns false. The first row is no event:
// in the eventColumns it has a stamp as its content type, with the position beyond a
// filter's window behind it, and the place of the window's last event.
func (b *Backend) eachEvent(rows pgx.Rows, do func(eventstore.RecordedEvent) bool) (state pageState, err error) {
	defer rows.Close()
	decode := scanned
	if pgdriver.AllBinary(rows) {
		decode = fromBinary
	}
	var names recent
	var r row
	for first := true; rows.Next(); first = false {
		if err := decode(rows, &r); err != nil {
			return state, err
		}
		if first {
			if state, err = b.stateOf(&r); err != nil {
				return state, err
			}
			continue
		}
		event := eventstore.RecordedEvent{
			Stream: names.stream.text(r.stream), Version: uint64(r.version), Position: pgdriver.Position(r.position), RecordedAt: r.at,
		}
		event.ID, event.Type, event.Data = r.id, names.eventType.text(r.eventType), bytes.Clone(r.data)
		event.ContentType = eventstore.JSONContentType
		if r.contentType != nil {
			event.ContentType = names.contentType.text(r.contentType)
		}
		if r.metadata != nil {
			if event.Metadata, err = decodeMetadata(r.metadata); err != nil {
				return state, fmt.Errorf("event at position %d: metadata cannot be read %w: %w", r.position, errLocal, err)
			}
		}
		if !do(event) {
			break
		}
	}
	rows.Close()
	return state, rows.Err()
}

// stateOf reads the first row.
func (b *Backend) stateOf(r *row) (state pageState, err error) {
	text, beyond, _ := strings.Cut(string(r.contentType), " ")
	stamp, err := strconv.ParseInt(text, 10, 64)
	if err == nil && beyond != "" {
		state.beyond, err = strconv.ParseInt(beyond, 10, 64)
	}
	if err != nil || r.eventType != nil {
		return state, fmt.Errorf("%w: a page without its first row", errLocal)
	}
	state.sealed, state.missing = stamp&stampSealed != 0, stamp&stampMissing != 0
	if r.stream != nil {
		state.passed = eventstore.Place{Position: pgdriver.Position(r.position), Stream: string(r.stream), Version: uint64(r.version), ID: r.id}
	}
	return state, b.checkTable(stamp & math.MaxUint32)
}

// row is one row as it came; its bytes are the driver's and live until the next. What is
// null is zero.
type row struct {
	position, version                              int64
	id                                             [16]byte
	at                                             time.Time
	stream, eventType, contentType, data, metadata []byte
}

// fromBinary decodes a row in PostgreSQL's binary format. A scan of events spends
// most of its time here, and half as much as in the driver's general decoding.
func fromBinary(rows pgx.Rows, r *row) error {
	v := rows.RawValues()
	if len(v) != 9 || !whole(v[0], 8) || !whole(v[1], 8) || !whole(v[2], 16) || !whole(v[3], 8) {
		return fmt.Errorf("%w: the events have other columns than it knows", errLocal)
	}
	*r = row{stream: v[4], eventType: v[5], contentType: v[6], data: v[7], metadata: v[8]}
	if v[0] != nil && v[1] != nil && v[2] != nil {
		r.position = int64(binary.BigEndian.Uint64(v[0]))
		r.version = int64(binary.BigEndian.Uint64(v[1]))
		r.id = [16]byte(v[2])
	}
	if v[3] != nil {
		r.at = pgdriver.Timestamp(int64(binary.BigEndian.Uint64(v[3])))
	}
	return nil
}

// whole tells whether a column is null or has its size.
func whole(v []byte, size int) bool { return v == nil || len(v) == size }

// scanned lets the driver decode a row.
func scanned(rows pgx.Rows, r *row) error {
	var position, version pgtype.Int8
	var id pgtype.UUID
	var at pgtype.Timestamptz
	var stream, eventType, contentType *string
	*r = row{}
	err := rows.Scan(&position, &version, &id, &at, &stream, &eventType, &contentType, &r.data, &r.metadata)
	if scan := (pgx.ScanArgError{}); errors.As(err, &scan) {
		err = fmt.Errorf("a row cannot be read %w: %w", errLocal, err)
	}
	r.position, r.version, r.id, r.at = position.Int64, version.Int64, id.Bytes, at.Time.UTC()
	for text, into := range map[*string]*[]byte{stream: &r.stream, eventType: &r.eventType, contentType: &r.contentType} {
		if text != nil {
			*into = []byte(*text)
		}
	}
	return err
}

func encodeMetadata(m map[string]string) ([]byte, error) {
	text, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("metadata cannot be encoded %w: %w", errLocal, err)
	}
	return text, nil
}

func decodeMetadata(text []byte) (m map[string]string, err error) {
	err = json.Unmarshal(text, &m)
	return m, err
}

// recent remembers the last names, which often come again.
type recent struct{ stream, eventType, contentType lastText }

type lastText struct{ last string }

func (l *lastText) text(b []byte) string {
	if string(b) != l.last {
		l.last = string(b)
	}
	return l.last
}
