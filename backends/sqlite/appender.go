package sqlite

import (
	"database/sql/driver"
	"time"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
)

const (
	selectVersion = `SELECT version FROM events WHERE stream = ? ORDER BY version DESC LIMIT 1`
	selectByID    = `SELECT ` + columns + ` FROM events WHERE id = ? AND stream = ?`
	insertEvent   = `INSERT INTO events (stream, version, id, type, content_type, data, metadata, recorded_at) VALUES ` + oneRow
	oneRow        = `(?, ?, ?, ?, ?, ?, ?, ?)`
	nextRow       = `, ` + oneRow
	insertEvents  = insertEvent + nextRow + nextRow + nextRow + nextRow + nextRow + nextRow + nextRow // rowsAtOnce
)

// rowsAtOnce is how many rows one statement inserts where there are so many:
// eight take two thirds of the time of eight statements, and more gain little.
const rowsAtOnce = 8

// appender makes the appends of one transaction. It takes events for new ones
// and queues their rows, which costs no look-up of their IDs and lets many go
// into one statement. Where that is wrong, somebody objects: the expected
// version, and then this append is judged with the stored events at hand; or the
// unique index (errMetAgain), and then all appends of the group are.
type appender struct {
	conn     *conn
	now      int64             // microseconds since 1970
	versions map[string]uint64 // of the streams met so far, the queued rows included
	queued   []row
	args     []driver.Value // reused
}

// row is an event on its way into the table.
type row struct {
	stream  string
	version uint64
	event   *eventstore.Event
	at      int64
	result  *eventstore.AppendResult // of its part, which learns its position
}

// appender returns one for the transaction that has just begun. It knows the
// versions that the writer's earlier transactions met, unless anybody else has
// written since: data_version counts other connections' commits.
func (w *writer) appender() (*appender, error) {
	dataVersion, err := w.conn.integer("PRAGMA data_version")
	if err != nil {
		return nil, err
	}
	if w.versions == nil || dataVersion != w.dataVersion || len(w.versions) > maxKnownVersions {
		w.versions, w.dataVersion = make(map[string]uint64), dataVersion
	}
	return &appender{conn: w.conn, now: time.Now().UnixMicro(), versions: w.versions}, nil
}

// maxKnownVersions bounds what a writer knows between transactions: with IDs of
// 40 bytes, about half a megabyte.
const maxKnownVersions = 4096

// queue makes an append whose events are taken for new.
func (a *appender) queue(parts []eventstore.StreamAppend) ([]eventstore.AppendResult, error) {
	before := len(a.queued)
	results := make([]eventstore.AppendResult, len(parts))
	for i := range parts {
		err := a.decide(&parts[i], &results[i], findNone)
		if isVerdict(err) {
			clear(a.queued[before:])
			a.queued = a.queued[:before]
			return a.judge(parts)
		}
		if err != nil {
			return nil, err
		}
	}
	if len(a.queued) < rowsAtOnce {
		return results, nil
	}
	return results, a.insertQueued(rowsAtOnce)
}

// judge makes an append with its stored events at hand or, if it returns an
// error, leaves no trace of it.
func (a *appender) judge(parts []eventstore.StreamAppend) ([]eventstore.AppendResult, error) {
	if err := a.insertQueued(1); err != nil {
		return nil, err
	}
	if _, err := a.conn.exec("SAVEPOINT judge"); err != nil {
		return nil, err
	}
	a.forget(parts) // for queue may have got further than the table
	results := make([]eventstore.AppendResult, len(parts))
	var verdict error
	for i := range parts {
		verdict = a.decide(&parts[i], &results[i], a.find)
		if verdict == nil {
			verdict = a.insertQueued(1) // before the next part looks for its events
		}
		if verdict == errMetAgain { //nolint:errorlint // ours, never wrapped
			verdict = &eventstore.EventIDReusedError{Stream: parts[i].Stream, ID: a.queued[0].event.ID, Reason: "it occurs twice in this append"}
		}
		if verdict != nil {
			break
		}
	}
	if verdict != nil {
		a.queued = a.queued[:0]
		a.forget(parts)
		if _, err := a.conn.exec("ROLLBACK TO judge"); err != nil {
			return nil, err
		}
	}
	if _, err := a.conn.exec("RELEASE judge"); err != nil {
		return nil, err
	}
	return results, verdict
}

// forget drops what is known of an append's streams.
func (a *appender) forget(parts []eventstore.StreamAppend) {
	for i := range parts {
		delete(a.versions, parts[i].Stream)
	}
}

// decide decides one part and queues its rows if it is to be written.
func (a *appender) decide(part *eventstore.StreamAppend, result *eventstore.AppendResult, find finder) error {
	current, err := a.version(part.Stream)
	if err != nil {
		return err
	}
	decision, err := eventstore.Decide(*part, current, func(id uuid.UUID) (eventstore.RecordedEvent, bool, error) {
		return find(part.Stream, id)
	})
	*result = decision.Result
	if err != nil || !decision.Write {
		return err
	}
	at := a.now
	if !part.RecordedAt.IsZero() {
		at = part.RecordedAt.UnixMicro()
	}
	result.FirstVersion, result.Version = current+1, current
	for i := range part.Events {
		result.Version++
		a.queued = append(a.queued, row{part.Stream, result.Version, &part.Events[i], at, result})
	}
	a.versions[part.Stream] = result.Version
	return nil
}

func (a *appender) version(stream string) (uint64, error) {
	if version, ok := a.versions[stream]; ok {
		return version, nil
	}
	version, err := a.conn.integer(selectVersion, stream)
	if err != nil {
		return 0, err
	}
	a.versions[stream] = uint64(version)
	return uint64(version), nil
}

// insertQueued inserts the queued rows in their order, up to so many in one
// statement. After errMetAgain the first row in the queue is one of the
// statement that failed.
func (a *appender) insertQueued(atOnce int) error {
	for len(a.queued) > 0 {
		rows, statement := a.queued[:1], insertEvent
		if atOnce > 1 && len(a.queued) >= rowsAtOnce {
			rows, statement = a.queued[:rowsAtOnce], insertEvents
		}
		if err := a.insert(statement, rows); err != nil {
			return err
		}
		a.queued = a.queued[len(rows):]
	}
	return nil
}

func (a *appender) insert(statement string, rows []row) error {
	a.args = a.args[:0]
	for i := range rows {
		r := &rows[i]
		metadata, err := encodeMetadata(r.event.Metadata)
		if err != nil {
			return err
		}
		a.args = append(a.args, r.stream, int64(r.version), r.event.ID[:], r.event.Type, r.event.ContentType, blob(r.event.Data), metadata, r.at)
	}
	inserted, err := a.conn.exec(statement, a.args...)
	switch {
	case isUnique(err):
		return errMetAgain
	case err != nil:
		return err
	}
	last, err := inserted.LastInsertId()
	if err != nil {
		return err
	}
	// AUTOINCREMENT counts one by one within a statement.
	for i := range rows {
		rows[i].result.Position = positionOf(last - int64(len(rows)-1-i))
	}
	return nil
}

// finder finds an event of a stream by its ID.
type finder func(stream string, id uuid.UUID) (eventstore.RecordedEvent, bool, error)

func findNone(string, uuid.UUID) (eventstore.RecordedEvent, bool, error) {
	return eventstore.RecordedEvent{}, false, nil
}

func (a *appender) find(stream string, id uuid.UUID) (eventstore.RecordedEvent, bool, error) {
	columns, ok, err := a.conn.row(selectByID, columnCount, id[:], stream)
	if err != nil || !ok {
		return eventstore.RecordedEvent{}, false, err
	}
	var event eventstore.RecordedEvent
	err = decodeEvent(columns, &event)
	return event, err == nil, err
}

// blob keeps absent data apart from NULL, which the schema refuses.
func blob(data []byte) driver.Value {
	if data == nil {
		return []byte{}
	}
	return data
}
