package marten

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/pgdriver"
)

// row is one row of a page as it came; its bytes are the driver's and live until the
// next. What is null is nil or zero.
type row struct {
	seq, version                       int64
	id                                 [16]byte
	at                                 time.Time
	unbounded                          bool // the timestamp is infinity or -infinity
	stream, kind, data, bdata, headers []byte
	correlation, causation, userName   []byte
	timeNull, versionNull, seqNull     bool
}

const rowColumns = 12

func fromBinary(rows pgx.Rows, r *row) error {
	v := rows.RawValues()
	if len(v) != rowColumns {
		return fmt.Errorf("%w: the events have other columns than it knows", pgdriver.ErrLocal)
	}
	*r = row{stream: v[4], kind: v[5], data: v[6], bdata: v[7], headers: v[8], correlation: v[9], causation: v[10], userName: v[11]}
	if r.seqNull = len(v[0]) != 8; !r.seqNull {
		r.seq = int64(binary.BigEndian.Uint64(v[0]))
	}
	if r.versionNull = len(v[1]) != 8; !r.versionNull {
		r.version = int64(binary.BigEndian.Uint64(v[1]))
	}
	if len(v[2]) == 16 {
		r.id = [16]byte(v[2])
	}
	if r.timeNull = len(v[3]) != 8; !r.timeNull {
		n := int64(binary.BigEndian.Uint64(v[3]))
		r.unbounded = n == math.MinInt64 || n == math.MaxInt64
		r.at = pgdriver.Timestamp(n)
	}
	return nil
}

// scanned lets the driver decode a row.
func scanned(rows pgx.Rows, r *row) error {
	var seq, version pgtype.Int8
	var id pgtype.UUID
	var at pgtype.Timestamptz
	var texts [7]*string // stream, kind, data, headers, correlation, causation, userName
	*r = row{}
	err := rows.Scan(&seq, &version, &id, &at, &texts[0], &texts[1], &texts[2], &r.bdata, &texts[3], &texts[4], &texts[5], &texts[6])
	if scan := (pgx.ScanArgError{}); errors.As(err, &scan) {
		err = fmt.Errorf("a row cannot be read %w: %w", pgdriver.ErrLocal, err)
	}
	r.seq, r.version, r.id, r.at = seq.Int64, version.Int64, id.Bytes, at.Time.UTC()
	r.seqNull, r.versionNull, r.timeNull = !seq.Valid, !version.Valid, !at.Valid
	r.unbounded = at.InfinityModifier != pgtype.Finite
	for i, into := range []*[]byte{&r.stream, &r.kind, &r.data, &r.headers, &r.correlation, &r.causation, &r.userName} {
		if texts[i] != nil {
			*into = []byte(*texts[i])
		}
	}
	return err
}

// binaryContent is the content type of an event whose data .NET wrote as bytes.
const binaryContent = "application/octet-stream"

// recent remembers the last names, which often come again.
type recent struct{ stream, kind lastText }

type lastText struct{ last string }

func (l *lastText) text(b []byte) string {
	if string(b) != l.last {
		l.last = string(b)
	}
	return l.last
}

// event makes the event of a row. seen are the names of the rows before it.
func (b *Backend) event(r *row, seen *recent) (eventstore.RecordedEvent, error) {
	event := eventstore.RecordedEvent{
		Stream: seen.stream.text(r.stream), Version: uint64(r.version), Position: pgdriver.Position(r.seq), RecordedAt: r.at,
	}
	event.ID, event.Type, event.ContentType, event.Data = r.id, b.names.goType(seen.kind.text(r.kind)), eventstore.JSONContentType, bytes.Clone(r.data)
	if r.bdata != nil {
		event.ContentType, event.Data = binaryContent, bytes.Clone(r.bdata)
	}
	if r.unbounded {
		return event, fmt.Errorf("event at position %d of stream %.80q has a timestamp without bound, which cannot be read %w; correct the row", r.seq, r.stream, pgdriver.ErrLocal)
	}
	if r.stream == nil {
		return event, fmt.Errorf("event at position %d has no stream, and cannot be read %w; correct the row", r.seq, pgdriver.ErrLocal)
	}
	if r.headers != nil || r.correlation != nil || r.causation != nil || r.userName != nil {
		metadata, err := decodeMetadata(r.headers, text(r.correlation), text(r.causation), text(r.userName))
		if err != nil {
			return event, fmt.Errorf("event at position %d of stream %.80q: %w: %w", r.seq, r.stream, pgdriver.ErrLocal, err)
		}
		event.Metadata = metadata
	}
	return event, nil
}

func text(b []byte) *string {
	if b == nil {
		return nil
	}
	s := string(b)
	return &s
}

// eachRow calls do with each row until it returns false, and closes the rows.
func eachRow(rows pgx.Rows, do func(*row) (bool, error)) error {
	defer rows.Close()
	decode := scanned
	if pgdriver.AllBinary(rows) {
		decode = fromBinary
	}
	var r row
	for rows.Next() {
		if err := decode(rows, &r); err != nil {
			return err
		}
		more, err := do(&r)
		if err != nil {
			return err
		}
		if !more {
			break
		}
	}
	rows.Close()
	return rows.Err()
}
