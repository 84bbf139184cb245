package sqlite

import (
	"database/sql/driver"
	"time"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventstore/adapter"
)

const (
	selectVersion = `SELECT version FROM events WHERE stream = ? ORDER BY version DESC LIMIT 1`
	selectByID    = `SELECT ` + columns + ` FROM events WHERE id = ? AND stream = ?`
	selectSeal    = `SELECT seal FROM store`
	insertEvent   = `INSERT INTO events (stream, version, id, type, content_type, data, metadata, recorded_at) VALUES ` + oneRow
	oneRow        = `(?, ?, ?, ?, ?, ?, ?, ?)`
	nextRow       = `, ` + oneRow
	insertEvents  = insertEvent + nextRow + nextRow + nextRow + nextRow + nextRow + nextRow + nextRow // rowsAtOnce
)

// rowsAtOnce is how many rows one statement inserts where there are so many:
// eight take two thirds of the time of eight statements, and more gain little.
const rowsAtOnce = 8

// appender makes the appends of one transaction. It queues their rows, so that many
// go into one statement.
//
// With assumeNew it takes events for new, which saves the look-up of their IDs. Where
// that is wrong, somebody objects: adapter.Judge, and then the append is judged again
// with the stored events at hand; or the unique index (errMetAgain), and then the
// whole group is.
type appender struct {
	*known
	conn      *conn
	assumeNew bool
	streams   adapter.Streams // what the judge asks, with the IDs that are stored
	now       time.Time
	queued    []row
	args      []driver.Value // reused
}

// row is an event on its way into the table.
type row struct {
	stream   string
	event    *eventstore.Event
	recorded *eventstore.Recorded // whose position the insert tells
}

// known is what a writer knows between transactions, unless anybody else has
// written since: data_version counts other connections' commits.
type known struct {
	dataVersion int64
	seal        *eventstore.SealedError
	versions    map[string]uint64 // of streams, the queued rows included
}

// maxKnownVersions bounds what a writer knows between transactions: with IDs of
// 40 bytes, about half a megabyte.
const maxKnownVersions = 4096

// appender returns one for the transaction that has just begun: it has the write
// lock, so what is known now stays true until the commit.
func (w *writer) appender(assumeNew bool) (*appender, error) {
	dataVersion, err := w.conn.integer("PRAGMA data_version")
	if err != nil {
		return nil, err
	}
	if w.known == nil || dataVersion != w.known.dataVersion || len(w.known.versions) > maxKnownVersions {
		seal, err := readSeal(w.conn)
		if err != nil {
			return nil, err
		}
		w.known = &known{dataVersion: dataVersion, seal: seal, versions: make(map[string]uint64)}
	}
	a := &appender{known: w.known, conn: w.conn, assumeNew: assumeNew, now: time.Now().UTC().Truncate(time.Microsecond)}
	a.streams = adapter.Streams{Version: a.version, Find: a.find, Sealed: a.seal}
	return a, nil
}

func readSeal(c *conn) (*eventstore.SealedError, error) {
	row, ok, err := c.row(selectSeal, 1)
	if err != nil || !ok {
		return nil, err
	}
	if reason, sealed := row[0].(string); sealed {
		return &eventstore.SealedError{Reason: reason}, nil
	}
	return nil, nil //nolint:nilnil // no seal and no error
}

// append judges an append and queues its rows.
func (a *appender) append(parts []eventstore.StreamAppend) ([]eventstore.PartResult, error) {
	streams := a.streams
	if a.assumeNew {
		streams.Find = findNone
	}
	decisions, err := adapter.Judge(parts, streams)
	if a.assumeNew && isVerdict(err) {
		decisions, err = adapter.Judge(parts, a.streams)
	}
	if err != nil {
		return nil, err
	}
	results := make([]eventstore.PartResult, len(parts))
	for i, decision := range decisions {
		if decision.Write {
			results[i].Recorded = a.queue(&parts[i], decision.First)
		} else {
			results[i] = eventstore.PartResult{Recorded: decision.Recorded, Duplicate: decision.Recorded != nil}
		}
	}
	if len(a.queued) < rowsAtOnce {
		return results, nil
	}
	return results, a.insertQueued()
}

// queue queues a part's rows, the first one with a version.
func (a *appender) queue(part *eventstore.StreamAppend, version uint64) []eventstore.Recorded {
	at := a.now
	if part.RecordedAt != nil {
		at = time.UnixMicro(part.RecordedAt.UnixMicro()).UTC()
	}
	recorded := make([]eventstore.Recorded, len(part.Events))
	for i := range part.Events {
		recorded[i] = eventstore.Recorded{Version: version + uint64(i), RecordedAt: at}
		a.queued = append(a.queued, row{part.Stream, &part.Events[i], &recorded[i]})
	}
	a.versions[part.Stream] = version + uint64(len(part.Events)) - 1
	return recorded
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

func findNone(string, eventstore.Event) (adapter.Met, error) { return adapter.Met{}, nil }

// find looks for an event's ID in a stream, also among what is queued.
func (a *appender) find(stream string, event eventstore.Event) (adapter.Met, error) {
	if err := a.insertQueued(); err != nil {
		return adapter.Met{}, err
	}
	columns, ok, err := a.conn.row(selectByID, columnCount, event.ID[:], stream)
	if err != nil || !ok {
		return adapter.Met{}, err
	}
	var stored eventstore.RecordedEvent
	if err := decodeEvent(columns, &stored); err != nil {
		return adapter.Met{}, err
	}
	return adapter.Met{
		Found:    true,
		Recorded: eventstore.Recorded{Version: stored.Version, Position: stored.Position, RecordedAt: stored.RecordedAt},
		Same:     event.SameContent(stored.Event),
	}, nil
}

// insertQueued inserts the queued rows in their order.
func (a *appender) insertQueued() error {
	for len(a.queued) > 0 {
		rows, statement := a.queued[:1], insertEvent
		if len(a.queued) >= rowsAtOnce {
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
	for _, r := range rows {
		metadata, err := encodeMetadata(r.event.Metadata)
		if err != nil {
			return err
		}
		a.args = append(a.args, r.stream, int64(r.recorded.Version), r.event.ID[:], r.event.Type, r.event.ContentType, blob(r.event.Data), metadata, r.recorded.RecordedAt.UnixMicro())
	}
	inserted, err := a.conn.exec(statement, a.args...)
	switch {
	case a.assumeNew && isUnique(err):
		return errMetAgain
	case err != nil:
		return err
	}
	last, err := inserted.LastInsertId()
	if err != nil {
		return err
	}
	// AUTOINCREMENT counts one by one within a statement.
	for i, r := range rows {
		r.recorded.Position = positionOf(last - int64(len(rows)-1-i))
	}
	return nil
}

// blob keeps absent data apart from NULL, which the schema refuses.
func blob(data []byte) driver.Value {
	if data == nil {
		return []byte{}
	}
	return data
}
