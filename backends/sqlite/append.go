package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/groupcommit"
)

const (
	selectVersion = `SELECT version FROM events WHERE stream = ? ORDER BY version DESC LIMIT 1`
	selectByID    = `SELECT ` + columns + ` FROM events WHERE id = ? AND stream = ?`
	insertEvent   = `INSERT INTO events (stream, version, id, type, content_type, data, metadata, recorded_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`
)

// Append implements [eventstore.Backend].
func (b *Backend) Append(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.AppendResult, error) {
	if err := b.ready(ctx); err != nil {
		return nil, err
	}
	return b.committer.Append(ctx, req)
}

// flush writes a group of appends in one transaction, each with its own verdict.
// If the transaction fails, so do all of them, even those that had been refused:
// a conflict may have been one with an earlier append of the same group.
func (b *Backend) flush(ctx context.Context, group []*groupcommit.Call) {
	err := b.commit(ctx, group)
	if err != nil {
		for _, call := range group {
			call.Results, call.Err = nil, err
		}
		return
	}
	if !b.opts.NoHints {
		b.hint.Notify()
	}
}

func (b *Backend) commit(ctx context.Context, group []*groupcommit.Call) error {
	var w *writer
	select {
	case w = <-b.writer:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { b.writer <- w }()
	return w.transaction(ctx, "append", func(c *conn) error {
		a, err := w.appender()
		if err != nil {
			return err
		}
		for _, call := range group {
			results, err := a.append(call.Parts)
			if err != nil && !isVerdict(err) {
				return err
			}
			call.Results, call.Err = results, err
		}
		return nil
	})
}

// isVerdict tells whether err is an answer about one append, which leaves the
// others of its group alone.
func isVerdict(err error) bool {
	return errors.Is(err, eventstore.ErrConflict) || errors.Is(err, eventstore.ErrEventIDReused)
}

// appender makes the appends of one transaction.
type appender struct {
	conn     *conn
	now      time.Time
	versions map[string]uint64 // of the streams met so far, as the transaction sees them
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
	return &appender{conn: w.conn, now: time.Now(), versions: w.versions}, nil
}

// maxKnownVersions bounds what a writer knows between transactions: with IDs of
// 40 bytes, about half a megabyte.
const maxKnownVersions = 4096

// append makes one append. It first takes its events for new ones, which costs
// no look-up of their IDs: if they are not, the unique index or the expected
// version objects, and the append is judged again with the stored events at hand.
func (a *appender) append(parts []eventstore.StreamAppend) ([]eventstore.AppendResult, error) {
	results, err := a.attempt(parts, a.findNone)
	if isVerdict(err) {
		results, err = a.attempt(parts, a.find)
	}
	return results, err
}

// finder finds an event of a stream by its ID.
type finder func(stream string, id uuid.UUID) (eventstore.RecordedEvent, bool, error)

// attempt makes one append or, if it returns an error, leaves no trace of it.
func (a *appender) attempt(parts []eventstore.StreamAppend, find finder) ([]eventstore.AppendResult, error) {
	// A single event is atomic as it is.
	if len(parts) == 1 && len(parts[0].Events) == 1 {
		return a.try(parts, find)
	}
	if _, err := a.conn.exec("SAVEPOINT append"); err != nil {
		return nil, err
	}
	results, err := a.try(parts, find)
	if err != nil {
		for _, part := range parts {
			delete(a.versions, part.Stream)
		}
		if _, undo := a.conn.exec("ROLLBACK TO append"); undo != nil {
			return nil, undo // not a verdict: it ends the transaction
		}
	}
	if _, release := a.conn.exec("RELEASE append"); release != nil {
		return nil, release
	}
	return results, err
}

func (a *appender) try(parts []eventstore.StreamAppend, find finder) ([]eventstore.AppendResult, error) {
	results := make([]eventstore.AppendResult, len(parts))
	for i, part := range parts {
		current, err := a.version(part.Stream)
		if err != nil {
			return nil, err
		}
		decision, err := eventstore.Decide(part, current, func(id uuid.UUID) (eventstore.RecordedEvent, bool, error) {
			return find(part.Stream, id)
		})
		if err != nil {
			return nil, err
		}
		results[i] = decision.Result
		if decision.Write {
			if results[i], err = a.insert(part, current); err != nil {
				return nil, err
			}
		}
	}
	return results, nil
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

func (a *appender) insert(part eventstore.StreamAppend, current uint64) (eventstore.AppendResult, error) {
	at := part.RecordedAt
	if at.IsZero() {
		at = a.now
	}
	result := eventstore.AppendResult{FirstVersion: current + 1, Version: current}
	for i := range part.Events {
		event := &part.Events[i]
		result.Version++
		position, err := a.insertEvent(part.Stream, result.Version, event, at.UnixMicro())
		switch {
		case isUnique(err):
			return result, &eventstore.EventIDReusedError{Stream: part.Stream, ID: event.ID, Reason: "it occurs twice in this append"}
		case err != nil:
			return result, err
		}
		result.Position = positionOf(position)
	}
	a.versions[part.Stream] = result.Version
	return result, nil
}

func (a *appender) insertEvent(stream string, version uint64, event *eventstore.Event, at int64) (int64, error) {
	metadata, err := encodeMetadata(event.Metadata)
	if err != nil {
		return 0, err
	}
	inserted, err := a.conn.exec(insertEvent,
		stream, int64(version), event.ID[:], event.Type, event.ContentType, blob(event.Data), metadata, at)
	if err != nil {
		return 0, err
	}
	return inserted.LastInsertId()
}

func (a *appender) findNone(string, uuid.UUID) (eventstore.RecordedEvent, bool, error) {
	return eventstore.RecordedEvent{}, false, nil
}

func (a *appender) find(stream string, id uuid.UUID) (eventstore.RecordedEvent, bool, error) {
	row, ok, err := a.conn.row(selectByID, columnCount, id[:], stream)
	if err != nil || !ok {
		return eventstore.RecordedEvent{}, false, err
	}
	event, err := decodeEvent(row)
	return event, err == nil, err
}

// blob keeps absent data apart from NULL, which the schema refuses.
func blob(data []byte) driver.Value {
	if data == nil {
		return []byte{}
	}
	return data
}
