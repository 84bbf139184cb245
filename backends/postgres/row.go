package postgres

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/switchyard-dev/switchyard/eventstore"
)

const eventColumns = `global_position, version, id, created_at, stream_id, event_type, content_type, event_data, metadata`

// eachEvent calls do with each row, which is the OID of the table that it comes from
// and then the eventColumns, until do returns false.
func (b *Backend) eachEvent(rows pgx.Rows, do func(eventstore.RecordedEvent) bool) error {
	defer rows.Close()
	decode := scanned
	if allBinary(rows) {
		decode = fromBinary
	}
	var names recent
	var r row
	for rows.Next() {
		if err := decode(rows, &r); err != nil {
			return err
		}
		if err := b.checkTable(r.table); err != nil {
			return err
		}
		event := eventstore.RecordedEvent{
			Stream: names.stream.text(r.stream), Version: uint64(r.version), Position: position(r.position), RecordedAt: r.at,
		}
		event.ID, event.Type, event.Data = r.id, names.eventType.text(r.eventType), bytes.Clone(r.data)
		event.ContentType = eventstore.JSONContentType
		if r.contentType != nil {
			event.ContentType = names.contentType.text(r.contentType)
		}
		if r.metadata != nil {
			var err error
			if event.Metadata, err = decodeMetadata(r.metadata); err != nil {
				return fmt.Errorf("event at position %d: metadata cannot be read %w: %w", r.position, errLocal, err)
			}
		}
		if !do(event) {
			break
		}
	}
	rows.Close()
	return rows.Err()
}

// row is one row as it came; its bytes are the driver's and live until the next.
type row struct {
	table, position, version                       int64
	id                                             [16]byte
	at                                             time.Time
	stream, eventType, contentType, data, metadata []byte
}

// allBinary tells whether the server sends the columns in binary, as it does in
// all of the driver's modes but the simple protocol. Text is the same in both.
func allBinary(rows pgx.Rows) bool {
	return !slices.ContainsFunc(rows.FieldDescriptions(), func(field pgconn.FieldDescription) bool {
		return field.Format != pgx.BinaryFormatCode && field.DataTypeOID != pgtype.TextOID
	})
}

// PostgreSQL counts microseconds from the year 2000.
const epoch = 946_684_800_000_000

// fromBinary decodes a row in PostgreSQL's binary format. A scan of events spends
// most of its time here, and half as much as in the driver's general decoding.
func fromBinary(rows pgx.Rows, r *row) error {
	v := rows.RawValues()
	if len(v) != 10 || len(v[0]) != 8 || len(v[1]) != 8 || len(v[2]) != 8 || len(v[3]) != 16 || len(v[4]) != 8 {
		return fmt.Errorf("%w: the events have other columns than it knows", errLocal)
	}
	r.table = int64(binary.BigEndian.Uint64(v[0]))
	v = v[1:]
	r.position = int64(binary.BigEndian.Uint64(v[0]))
	r.version = int64(binary.BigEndian.Uint64(v[1]))
	r.id = [16]byte(v[2])
	r.at = time.UnixMicro(int64(binary.BigEndian.Uint64(v[3])) + epoch).UTC()
	r.stream, r.eventType, r.contentType, r.data, r.metadata = v[4], v[5], v[6], v[7], v[8]
	return nil
}

// scanned lets the driver decode a row.
func scanned(rows pgx.Rows, r *row) error {
	var id pgtype.UUID
	var stream, eventType string
	var contentType *string
	err := rows.Scan(&r.table, &r.position, &r.version, &id, &r.at, &stream, &eventType, &contentType, &r.data, &r.metadata)
	r.id, r.at, r.stream, r.eventType = id.Bytes, r.at.UTC(), []byte(stream), []byte(eventType)
	if scan := (pgx.ScanArgError{}); errors.As(err, &scan) {
		err = fmt.Errorf("a row cannot be read %w: %w", errLocal, err)
	}
	r.contentType = nil // the row before may have had one
	if contentType != nil {
		r.contentType = []byte(*contentType)
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
