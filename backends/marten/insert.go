package marten

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// write writes the parts and sets the results of their appends.
//
// It takes the locks in the order of the store's own application, or both would wait for
// each other again and again: a Quick one writes the events first and then the stream's
// row, a Rich one the other way about. A row that is not there comes first in both.
func (t *transaction) write(ctx context.Context, writes []*partWrite) error {
	if _, err := t.conn.Exec(ctx, `savepoint before_events`); err != nil {
		return err
	}
	t.saved = true
	release, err := t.holdChecked(ctx, writes)
	if err != nil {
		return err
	}
	if err = t.insert(ctx, writes); err == nil {
		err = release()
	}
	if err != nil {
		return err
	}
	for _, w := range writes {
		t.calls[w.call].Results[w.part].Recorded = w.recorded
	}
	return nil
}

// holdChecked locks the rows of streams that are only checked. One that is not there is
// inserted for the time of the transaction; release takes it away again.
func (t *transaction) holdChecked(ctx context.Context, writes []*partWrite) (release func() error, err error) {
	q := t.b.sql()
	var absent []string
	for _, id := range t.checked {
		s := t.streams[id]
		written := false
		for _, w := range writes {
			written = written || w.key.id == id // its guard holds it
		}
		switch {
		case written:
		case !s.exists:
			absent = append(absent, id)
			_, err = t.conn.Exec(ctx, `insert into `+q.streams+` (id, tenant_id, version, is_archived) values ($1::text::`+q.id+`, `+q.tenantValue+`, 0, false)`, id)
		default:
			var version int64
			err = t.conn.QueryRow(ctx, `select coalesce(s.version, 0)::bigint from `+q.streams+` s where s.id = $1::text::`+q.id+q.streamTenant+` order by s.is_archived limit 1 for update`, id).Scan(&version)
			if err == nil && uint64(version) != s.read || errors.Is(err, pgx.ErrNoRows) {
				err = errOvertaken
			}
		}
		if err != nil {
			return nil, err
		}
	}
	return func() error {
		if len(absent) == 0 {
			return nil
		}
		_, err := t.conn.Exec(ctx, `delete from `+q.streams+` s where s.id = any($1::text[]::`+q.id+`[])`+q.streamTenant+` and s.version = 0`, absent)
		return err
	}, nil
}

// failed says for which part a statement failed.
func (t *transaction) failed(w *partWrite, err error) error {
	return &partError{part: w.part, actual: t.streams[w.key.id].read, err: err}
}

// recordTime is that of a part's events.
func (t *transaction) recordTime(w *partWrite) time.Time {
	if w.at != nil {
		return w.at.UTC().Truncate(time.Microsecond)
	}
	return t.at
}

// record notes where the events of a part are.
func (w *partWrite) record(numbers []int64, at time.Time) {
	w.recorded = make([]eventstore.Recorded, len(numbers))
	for i, number := range numbers {
		w.recorded[i] = eventstore.Recorded{Version: w.first + uint64(i), Position: position(number), RecordedAt: at}
	}
}

// streamWrite is what all parts for one stream do to its row.
type streamWrite struct {
	id, kind string
	read     int64
	count    int64
	creates  bool
}

// insert writes the parts by statements for all of them: one for the rows of new streams,
// one for the numbers, one for the events, one for the rows of the others.
func (t *transaction) insert(ctx context.Context, writes []*partWrite) error {
	var created, updated []*streamWrite
	byID := make(map[string]*streamWrite)
	for _, w := range writes {
		s := byID[w.key.id]
		if s == nil {
			s = &streamWrite{id: w.key.id, kind: w.key.kind, read: int64(t.streams[w.key.id].read), creates: w.creates}
			byID[w.key.id] = s
			if s.creates {
				created = append(created, s)
			} else {
				updated = append(updated, s)
			}
		}
		s.count += int64(len(w.events))
	}
	rich := t.b.opts.Append == Rich
	if rich {
		if err := t.updateStreams(ctx, updated); err != nil {
			return t.failed(writes[0], err)
		}
	}
	if err := t.createStreams(ctx, created); err != nil {
		return t.failed(writes[0], err)
	}
	if err := t.insertEvents(ctx, writes); err != nil {
		return t.failed(writes[0], err)
	}
	if !rich {
		if err := t.updateStreams(ctx, updated); err != nil {
			return t.failed(writes[0], err)
		}
	}
	return nil
}

// updateStreams raises the versions of streams, where they are what was read.
func (t *transaction) updateStreams(ctx context.Context, streams []*streamWrite) error {
	if len(streams) == 0 {
		return nil
	}
	var ids []string
	var read, counts []int64
	for _, s := range streams {
		ids, read, counts = append(ids, s.id), append(read, s.read), append(counts, s.count)
	}
	q := t.b.sql()
	tag, err := t.conn.Exec(ctx, `update `+q.streams+` s set version = w.read + w.count, timestamp = now()
		from unnest($1::text[], $2::bigint[], $3::bigint[]) w(id, read, count)
		where s.id = w.id::`+q.id+q.streamTenant+` and s.is_archived is not true and coalesce(s.version, 0) = w.read`, ids, read, counts)
	if err == nil && tag.RowsAffected() != int64(len(streams)) {
		err = errOvertaken
	}
	return err
}

// createStreams inserts the rows of new streams.
func (t *transaction) createStreams(ctx context.Context, streams []*streamWrite) error {
	if len(streams) == 0 {
		return nil
	}
	var ids, kinds []string
	var counts []int64
	for _, s := range streams {
		ids, kinds, counts = append(ids, s.id), append(kinds, s.kind), append(counts, s.count)
	}
	q := t.b.sql()
	_, err := t.conn.Exec(ctx, `insert into `+q.streams+` (id, tenant_id, type, version, is_archived)
		select w.id::`+q.id+`, `+q.tenantValue+`, nullif(w.kind, ''), w.count, false
		from unnest($1::text[], $2::text[], $3::bigint[]) w(id, kind, count)`, ids, kinds, counts)
	if err != nil || !t.b.shape().identities {
		return err
	}
	tenantColumn, tenantValue := "", ""
	if t.b.shape().conjoined {
		tenantColumn, tenantValue = ", tenant_id", ", "+q.tenantValue
	}
	_, err = t.conn.Exec(ctx, `insert into `+ident(t.b.opts.Schema, "mt_streams_identity")+` (id`+tenantColumn+`)
		select w.id::`+q.id+tenantValue+` from unnest($1::text[]) w(id)`, ids)
	return err
}

// insertEvents takes the numbers, so that they are known whatever becomes of the events,
// and inserts these.
func (t *transaction) insertEvents(ctx context.Context, writes []*partWrite) error {
	q, s := t.b.sql(), t.b.shape()
	var events []storedEvent
	var streams []string
	var versions []int64
	var times []time.Time
	for _, w := range writes {
		for i := range w.events {
			streams, versions, times = append(streams, w.key.id), append(versions, int64(w.first)+int64(i)), append(times, t.recordTime(w))
		}
		events = append(events, w.events...)
	}
	rows, err := t.conn.Query(ctx, `select nextval(`+literal(q.sequence)+`) from generate_series(1, $1::int)`, len(events))
	if err != nil {
		return err
	}
	numbers, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	t.burned = append(t.burned, numbers...)
	if err != nil {
		return err
	}
	c := columnsOf(events)
	columns, values := "", ""
	args := []any{numbers, c.ids, streams, versions, c.data, c.types, times, c.dotnets}
	for _, optional := range []struct {
		there       bool
		name, value string
		arg         []pgtype.Text
	}{
		{s.headers, "headers", "w.headers::jsonb", c.headers},
		{s.correlation, "correlation_id", "w.correlation_id", c.correlations},
		{s.causation, "causation_id", "w.causation_id", c.causations},
		{s.userName, "user_name", "w.user_name", c.userNames},
	} {
		if optional.there {
			columns, values = columns+", "+optional.name, values+", "+optional.value
			args = append(args, optional.arg)
		}
	}
	unnested := `$1::bigint[], $2::uuid[], $3::text[], $4::bigint[], $5::text[], $6::text[], $7::timestamptz[], $8::text[]`
	for n := 9; n <= len(args); n++ {
		unnested += fmt.Sprintf(", $%d::text[]", n)
	}
	_, err = t.conn.Exec(ctx, `insert into `+q.events+` (seq_id, id, stream_id, version, data, type, timestamp, tenant_id, mt_dotnet_type, is_archived`+columns+`)
		select w.seq, w.id, w.stream::`+q.id+`, w.version, w.data::jsonb, w.type, w.at, `+q.tenantValue+`, w.dotnet, false`+values+`
		from unnest(`+unnested+`) w(seq, id, stream, version, data, type, at, dotnet`+columns+`) order by w.seq`, args...)
	if err != nil {
		return err
	}
	for _, w := range writes {
		w.record(numbers[:len(w.events)], t.recordTime(w))
		numbers = numbers[len(w.events):]
	}
	return nil
}

// bury writes tombstones for the numbers that a failed write has taken: the .NET daemon
// stops for seconds at each hole, and so do readers of a Rich store. It must be in the
// same transaction: behind a pooler another session's last number may be one that a Rich
// writer holds.
func (t *transaction) bury(ctx context.Context, cause error) {
	if !t.saved || t.conn.Conn().PgConn().IsClosed() {
		return
	}
	var server *pgconn.PgError
	if errors.As(cause, &server) && server.Code == "23505" && !strings.HasPrefix(server.TableName, "mt_streams") && len(t.burned) == 0 {
		// Marten's function took a number and collided with it, at its first event.
		t.burned = append(t.burned, 0)
	}
	if len(t.burned) == 0 {
		return
	}
	q := t.b.sql()
	stream, kind := tombstoneStream, "varchar"
	if t.b.shape().uuidKeys {
		stream, kind = tombstoneUUID, "uuid"
	}
	// By itself, for nothing can be prepared before it.
	if _, err := t.conn.Exec(ctx, `rollback to savepoint before_events`); err != nil {
		return // the transaction did not come so far, or is over
	}
	batch := &pgx.Batch{}
	batch.Queue(`insert into `+q.streams+` (id, tenant_id, version, is_archived) values ($1::text::`+kind+`, `+q.tenantValue+`, 0, false) on conflict do nothing`, stream)
	batch.Queue(`insert into `+q.events+` (seq_id, id, stream_id, version, data, type, timestamp, tenant_id, mt_dotnet_type, is_archived)
		select n, gen_random_uuid(), $1::text::`+kind+`, n, '{}', '`+tombstoneType+`', '-infinity', `+q.tenantValue+`, 'JasperFx.Events.Tombstone, JasperFx.Events', false
		from (select case when b = 0 then currval(`+literal(q.sequence)+`) else b end as n from unnest($2::bigint[]) b) w`, stream, t.burned)
	batch.Queue(`commit`)
	if err := t.conn.SendBatch(ctx, batch).Close(); err != nil {
		t.b.opts.Logger.WarnContext(ctx, "marten: numbers of an append that was not written have no tombstones; the .NET daemon passes them after 3 s", "numbers", t.burned, "error", err)
	}
}

// tombstoneUUID is the stream of our tombstones in a store whose streams have UUIDs.
const tombstoneUUID = "5d1c9a1e-7f0b-4b0e-9d53-6d745f746f6d"
