package marten

import (
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5/pgtype"
)

// writing is what the steps of a transaction write: rows of streams, and events. Which
// version each stream is at, and which are new, was left by the statement before them.
type writing struct {
	streams, kinds   []string
	counts           []int64
	creates, updates bool // streams may be there that are new, that are not
	events           []storedEvent
	of               []string             // the ID of each event's stream
	places, offsets  []int32              // its place in streams, and the event's in the stream
	at               []pgtype.Timestamptz // null is now
}

// add adds an event of the stream at a place; offset events of that stream come before it.
func (w *writing) add(event storedEvent, stream string, place, offset int, at pgtype.Timestamptz) {
	w.events, w.of, w.at = append(w.events, event), append(w.of, stream), append(w.at, at)
	w.places, w.offsets = append(w.places, int32(place+1)), append(w.offsets, int32(offset+1))
}

// step is a statement of a transaction.
type step struct {
	sql     string
	args    []any
	numbers bool // it answers the numbers
}

// steps are the statements that write, in the order of locks of the store's application.
func (t *transaction) steps(w writing) []step {
	q := t.b.sql()
	var created, updated []step
	if w.creates {
		created = append(created, step{sql: q.create, args: []any{array(w.streams), array(w.kinds), array(w.counts)}})
		if t.b.shape().identities {
			created = append(created, step{sql: q.identify, args: []any{array(w.streams)}})
		}
	}
	if w.updates {
		updated = append(updated, step{sql: q.update, args: []any{array(w.streams), array(w.counts)}})
	}
	events := []step{{sql: q.number, args: []any{array(w.places)}, numbers: true}, {sql: q.insert, args: t.b.insertArguments(w)}}
	if t.b.opts.Append == Rich {
		return append(append(updated, created...), events...)
	}
	return append(append(created, events...), updated...)
}

func (b *Backend) insertArguments(w writing) []any {
	c, s := columnsOf(w.events), b.shape()
	args := []any{array(c.ids), array(w.of), array(w.places), array(w.offsets), array(c.data), array(c.types), array(w.at), array(c.dotnets)}
	for _, optional := range s.metadata(c) {
		args = append(args, optional.array())
	}
	return args
}

// metadataColumn is a column that a store may have.
type metadataColumn struct {
	name, parameter, kind string // of the table and of Marten's function, with the kind of its elements
	arg                   []pgtype.Text
}

// array is the column's argument; null where no event has it.
func (c *metadataColumn) array() pgtype.FlatArray[pgtype.Text] {
	if !slices.ContainsFunc(c.arg, func(text pgtype.Text) bool { return text.Valid }) {
		return nil
	}
	return c.arg
}

// metadata are the columns of metadata that the store has.
func (s *shape) metadata(c eventArrays) []metadataColumn {
	var columns []metadataColumn
	for _, column := range []struct {
		there bool
		metadataColumn
	}{
		{s.headers, metadataColumn{"headers", "headers", "jsonb", c.headers}},
		{s.correlation, metadataColumn{"correlation_id", "correlation_ids", "varchar", c.correlations}},
		{s.causation, metadataColumn{"causation_id", "causation_ids", "varchar", c.causations}},
		{s.userName, metadataColumn{"user_name", "user_names", "varchar", c.userNames}},
	} {
		if column.there {
			columns = append(columns, column.metadataColumn)
		}
	}
	return columns
}

// judgedBefore is what the statement before the steps has left: the version of each stream,
// -1 where it is not written to, and whether it is new.
const judgedBefore = `(select string_to_array(current_setting('switchyard.versions'), ',')::bigint[] as versions,
	string_to_array(current_setting('switchyard.new'), ',')::bool[] as new offset 0) g`

// makeSteps writes the statements of the steps.
func (q *statements) makeSteps(s shape, schema string) {
	q.create = `insert into ` + q.streams + ` (id, tenant_id, type, version, is_archived)
		select w.id::` + q.id + `, ` + q.tenantValue + `, nullif(w.kind, ''), w.count, false
		from ` + judgedBefore + `, unnest($1::text[], $2::text[], $3::bigint[]) with ordinality w(id, kind, count, n) where g.new[w.n]`

	// The IDs of new streams are noted where the store lets none be used again.
	column, value := "", ""
	if s.conjoined {
		column, value = ", tenant_id", ", "+q.tenantValue
	}
	q.identify = `insert into ` + ident(schema, "mt_streams_identity") + ` (id` + column + `)
		select w.id::` + q.id + value + ` from ` + judgedBefore + `, unnest($1::text[]) with ordinality w(id, n) where g.new[w.n]`

	// Numbers are taken by themselves and answered, so that they are known whatever becomes
	// of the events. An event that is not written has 0.
	q.number = `select set_config('switchyard.numbers', (select string_agg(case when g.versions[w.place] >= 0 then nextval(` + literal(q.sequence) + `) else 0 end::text, ',')
		from ` + judgedBefore + `, unnest($1::int[]) w(place)), true)`

	columns, values, arrays := "", "", ""
	for i, c := range s.metadata(eventArrays{}) {
		columns, values = columns+", "+c.name, values+", w."+c.name+"::"+c.kind
		arrays += fmt.Sprintf(", $%d::text[]", 9+i)
	}
	q.insert = `insert into ` + q.events + ` (seq_id, id, stream_id, version, data, type, timestamp, tenant_id, mt_dotnet_type, is_archived` + columns + `)
		select g.numbers[w.n], w.id, w.stream::` + q.id + `, g.versions[w.place] + w.k, w.data::jsonb, w.type, coalesce(w.at, now()), ` + q.tenantValue + `, w.dotnet, false` + values + `
		from (select string_to_array(current_setting('switchyard.versions'), ',')::bigint[] as versions,
				string_to_array(current_setting('switchyard.numbers'), ',')::bigint[] as numbers offset 0) g,
			unnest($1::uuid[], $2::text[], $3::int[], $4::int[], $5::text[], $6::text[], $7::timestamptz[], $8::text[]` + arrays + `)
				with ordinality w(id, stream, place, k, data, type, at, dotnet` + columns + `, n)
		where g.versions[w.place] >= 0`

	// The versions of streams are raised where they are what was read. Where one is not, a
	// division by zero ends the transaction before its commit, which has been sent.
	q.update = `with old as materialized (select w.id, g.versions[w.n] as version, w.count
			from ` + judgedBefore + `, unnest($1::text[], $2::bigint[]) with ordinality w(id, count, n) where g.versions[w.n] >= 0 and not g.new[w.n]),
		updated as (update ` + q.streams + ` s set version = w.version + w.count, timestamp = now() from old w
			where s.id = w.id::` + q.id + q.streamTenant + ` and s.is_archived is not true and coalesce(s.version, 0) = w.version returning 1)
		select 1 / (case when (select count(*) from updated) = (select count(*) from old) then 1 else 0 end)`
}
