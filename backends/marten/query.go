package marten

import (
	"strconv"
	"strings"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/pgdriver"
)

// query is a select of events for a page.
type query struct {
	sql        *statements
	order      string
	backward   bool
	conditions []string
	args       []any
}

// param adds an argument and returns its name.
func (q *query) param(arg any) string {
	q.args = append(q.args, arg)
	return "$" + strconv.Itoa(len(q.args))
}

func (q *query) where(condition string) { q.conditions = append(q.conditions, condition) }

// filter adds the conditions of a filter. A stream's category is part of its name.
func (b *Backend) filter(q *query, f eventstore.Filter) {
	name := "(" + b.sql().name + ")"
	if len(f.Categories) > 0 {
		q.where("split_part(" + name + ", '-', 1) = any(" + q.param(f.Categories) + "::text[])")
	}
	if len(f.StreamPrefixes) > 0 {
		q.where(name + " ^@ any(" + q.param(f.StreamPrefixes) + "::text[])")
	}
	if len(f.Types) > 0 {
		q.where("e.type = any(" + q.param(b.names.typeFilter(f.Types)) + "::text[])")
	}
}

// noEvent selects a row of the columns of an event that is none, for it has no type: a
// place.
func noEvent(number, version, id, at, stream string) string {
	return `select ` + number + `, ` + version + `, ` + id + `, ` + at + `::timestamptz, ` + stream + `, null::text, null::text, null::bytea,
		null::text, null::text, null::text, null::text`
}

// head selects a page's first row: the number of the last event after those of the page,
// and as a version whether the event that the page follows is there still, as the same
// snapshot shows it. It is not where there is another one, or where the store does not reach so far. That
// none is there any more is no proof, for Marten compacts streams; and what it put there
// instead stands for what was. Its time is when the server was started; null of a replica.
// high is the page's last number.
func (q *query) head(b *Backend, place eventstore.Place, follows bool, high string) string {
	last := "(select coalesce(max(e.seq_id), 0) from " + q.sql.shown + " where e.seq_id > " + high + "::bigint and " + q.sql.live + ")"
	row := func(there string) string {
		return noEvent(last, "("+there+")::int::bigint", "null::uuid", "(case when not pg_is_in_recovery() then pg_postmaster_start_time() end)", "null::text")
	}
	if !follows {
		return row("true")
	}
	key, err := b.names.stream(place.Stream)
	if _, low := place.Position.Words(); low != 0 || err != nil {
		return row("false") // no place of this store
	}
	number := q.param(pgdriver.After(place.Position)) + "::bigint"
	same := "e.stream_id = " + q.param(key.id) + "::" + q.sql.id + " and e.version = " + q.param(pgdriver.Clamp(place.Version)) + "::bigint and (e.id = " + q.param(place.ID) + "::uuid or e.type like 'Compacted<%')"
	// By the highest number: to look whether any is as high would be a scan of the table.
	return row("coalesce((select max(e.seq_id) from " + q.sql.events + " e where true" + q.sql.numbered + ") >= " + number + ", false) and not exists (select from " + q.sql.shown +
		" where e.seq_id = " + number + " and " + q.sql.live + " and not (" + same + "))")
}

// passed selects the place of the last event of a page's numbers, in its direction,
// match or not.
func (q *query) passed(low, high string) string {
	direction := "desc"
	if q.backward {
		direction = "asc"
	}
	return ` union all (` + noEvent("e.seq_id", "e.version::bigint", "e.id", "null", "("+q.sql.name+")::text") +
		` from ` + q.sql.from + ` where e.seq_id > ` + low + `::bigint and e.seq_id <= ` + high + `::bigint and ` + q.sql.there +
		` order by e.seq_id ` + direction + ` limit 1)`
}

// events selects the events.
func (q *query) events(limit int) string {
	direction := ""
	if q.backward {
		direction = " desc"
	}
	return "select " + q.sql.columns + " from " + q.sql.from + " where " + strings.Join(q.conditions, " and ") +
		" order by e." + q.order + direction + " limit " + q.param(limit)
}
