package marten

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/pgdriver"
)

// write writes the parts, commits, and sets the results of their appends: all in one round
// trip.
//
// It takes the locks in the order of the store's own application, or both would wait for
// each other again and again: a Quick one writes the events first and then the stream's
// row, a Rich one the other way about. A row that is not there comes first in both.
func (t *transaction) write(ctx context.Context, writes []*partWrite) error {
	absent, err := t.holdChecked(ctx, writes)
	if err != nil {
		return err
	}
	if err := t.insert(ctx, writes, absent); err != nil {
		if isInDoubt(&doubtError{err}) {
			return &doubtError{err}
		}
		return err
	}
	for _, w := range writes {
		t.calls[w.call].Results[w.part].Recorded = w.recorded
	}
	return nil
}

// holdChecked locks the rows of streams that are only checked. One that is not there is
// inserted for the time of the transaction; absent are the IDs of those, to be forgotten.
func (t *transaction) holdChecked(ctx context.Context, writes []*partWrite) (absent []string, err error) {
	q := t.b.sql()
	for _, id := range t.checked {
		s := t.streams[id]
		written := slices.ContainsFunc(writes, func(w *partWrite) bool { return w.key.id == id }) // its guard holds it
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
	return absent, nil
}

// forget takes the rows of absent streams away again.
func (t *transaction) forget(absent []string) step {
	if len(absent) == 0 {
		return step{}
	}
	q := t.b.sql()
	return step{args: []any{absent}, sql: `delete from ` + q.streams + ` s where s.id = any($1::text[]::` + q.id + `[])` + q.streamTenant + ` and s.version = 0`}
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
		w.recorded[i] = eventstore.Recorded{Version: w.first + uint64(i), Position: pgdriver.Position(number), RecordedAt: at}
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
// one for the numbers, one for the events, one for the rows of the others; and commits.
func (t *transaction) insert(ctx context.Context, writes []*partWrite, absent []string) error {
	created, updated := t.streamWrites(writes)
	batch := &pgx.Batch{}
	batch.Queue(`savepoint before_events`)
	steps := []step{t.createStreams(created), t.createIdentities(created), t.takeNumbers(writes), t.insertEvents(writes), t.updateStreams(updated), t.forget(absent)}
	if t.b.opts.Append == Rich {
		steps = []step{steps[4], steps[0], steps[1], steps[2], steps[3], steps[5]}
	}
	for _, s := range steps {
		if s.sql != "" {
			batch.Queue(s.sql, s.args...)
		}
	}
	batch.Queue(`commit`)
	answers := t.conn.SendBatch(ctx, batch)
	defer func() { _ = answers.Close() }() // the rows told its error
	if _, err := answers.Exec(); err != nil {
		return err
	}
	t.saved = true
	for _, s := range steps {
		switch {
		case s.sql == "":
		case s.numbers:
			var numbers string
			if err := answers.QueryRow().Scan(&numbers); err != nil {
				return t.failed(writes[0], err)
			}
			if err := t.number(writes, numbers); err != nil {
				return err
			}
		default:
			if _, err := answers.Exec(); err != nil {
				return t.failed(writes[0], err)
			}
		}
	}
	tag, err := answers.Exec()
	if err == nil && tag.String() != "COMMIT" {
		err = pgx.ErrTxCommitRollback
	}
	return errors.Join(err, answers.Close())
}

// step is a statement of the batch; an empty one has nothing to do.
type step struct {
	sql     string
	args    []any
	numbers bool // it answers the numbers
}

// streamWrites puts together what is written to each stream.
func (t *transaction) streamWrites(writes []*partWrite) (created, updated []*streamWrite) {
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
	return created, updated
}

// updateStreams raises the versions of streams, where they are what was read. Where one is
// not, a division by zero ends the transaction before its commit, which has been sent.
func (t *transaction) updateStreams(streams []*streamWrite) step {
	if len(streams) == 0 {
		return step{}
	}
	var ids []string
	var read, counts []int64
	for _, s := range streams {
		ids, read, counts = append(ids, s.id), append(read, s.read), append(counts, s.count)
	}
	q := t.b.sql()
	return step{sql: `with updated as (update ` + q.streams + ` s set version = w.read + w.count, timestamp = now()
		from unnest($1::text[], $2::bigint[], $3::bigint[]) w(id, read, count)
		where s.id = w.id::` + q.id + q.streamTenant + ` and s.is_archived is not true and coalesce(s.version, 0) = w.read returning 1)
		select 1 / (case when (select count(*) from updated) = cardinality($1::text[]) then 1 else 0 end)`, args: []any{ids, read, counts}}
}

// createStreams inserts the rows of new streams.
func (t *transaction) createStreams(streams []*streamWrite) step {
	if len(streams) == 0 {
		return step{}
	}
	var ids, kinds []string
	var counts []int64
	for _, s := range streams {
		ids, kinds, counts = append(ids, s.id), append(kinds, s.kind), append(counts, s.count)
	}
	q := t.b.sql()
	return step{sql: `insert into ` + q.streams + ` (id, tenant_id, type, version, is_archived)
		select w.id::` + q.id + `, ` + q.tenantValue + `, nullif(w.kind, ''), w.count, false
		from unnest($1::text[], $2::text[], $3::bigint[]) w(id, kind, count)`, args: []any{ids, kinds, counts}}
}

// createIdentities notes the IDs of new streams, where the store lets none be used again.
func (t *transaction) createIdentities(streams []*streamWrite) step {
	if len(streams) == 0 || !t.b.shape().identities {
		return step{}
	}
	var ids []string
	for _, s := range streams {
		ids = append(ids, s.id)
	}
	column, value := "", ""
	if t.b.shape().conjoined {
		column, value = ", tenant_id", ", "+t.b.sql().tenantValue
	}
	return step{sql: `insert into ` + ident(t.b.opts.Schema, "mt_streams_identity") + ` (id` + column + `)
		select w.id::` + t.b.sql().id + value + ` from unnest($1::text[]) w(id)`, args: []any{ids}}
}

// takeNumbers takes the numbers of the events, for the next statement, and answers them,
// so that they are known whatever becomes of it.
func (t *transaction) takeNumbers(writes []*partWrite) step {
	n := 0
	for _, w := range writes {
		n += len(w.events)
	}
	return step{numbers: true, args: []any{n}, sql: `select set_config('switchyard.numbers',
		(select string_agg(nextval(` + literal(t.b.sql().sequence) + `)::text, ',') from generate_series(1, $1::int)), true)`}
}

// number notes the numbers that were taken.
func (t *transaction) number(writes []*partWrite, text string) error {
	for _, digits := range strings.Split(text, ",") {
		n, err := strconv.ParseInt(digits, 10, 64)
		if err != nil {
			return err
		}
		t.burned = append(t.burned, n)
	}
	numbers := t.burned
	for _, w := range writes {
		w.record(numbers[:len(w.events)], t.recordTime(w))
		numbers = numbers[len(w.events):]
	}
	return nil
}

// insertEvents inserts the events with the numbers that were taken.
func (t *transaction) insertEvents(writes []*partWrite) step {
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
	c := columnsOf(events)
	columns, values := "", ""
	args := []any{c.ids, streams, versions, c.data, c.types, times, c.dotnets}
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
	unnested := `$1::uuid[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::timestamptz[], $7::text[]`
	for n := 8; n <= len(args); n++ {
		unnested += fmt.Sprintf(", $%d::text[]", n)
	}
	return step{args: args, sql: `insert into ` + q.events + ` (seq_id, id, stream_id, version, data, type, timestamp, tenant_id, mt_dotnet_type, is_archived` + columns + `)
		select s.seq, w.id, w.stream::` + q.id + `, w.version, w.data::jsonb, w.type, w.at, ` + q.tenantValue + `, w.dotnet, false` + values + `
		from unnest(` + unnested + `) with ordinality w(id, stream, version, data, type, at, dotnet` + columns + `, n)
			join unnest(string_to_array(current_setting('switchyard.numbers'), ',')::bigint[]) with ordinality s(seq, n) on s.n = w.n order by w.n`}
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
	if errors.As(cause, &server) && server.Code == "23505" && !strings.HasPrefix(server.TableName, "mt_streams") && t.called {
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
