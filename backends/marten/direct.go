package marten

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventstore/adapter"
)

// callsFunction tells whether Marten's own function can write the parts of an append. Not
// where it is wrong (it refuses an archived ID that was started again, and its numbers may
// have 32 bits), knows no record time, or is in the wrong order of locks.
func (b *Backend) callsFunction(parts []eventstore.StreamAppend) bool {
	s := b.shape()
	if b.opts.Append != Quick || !s.function || s.archivePartitioned || s.narrow || s.identities {
		return false
	}
	for _, part := range parts {
		if part.RecordedAt != nil && !s.times {
			return false
		}
	}
	return true
}

// callFunction tries an append of one part in one round trip: a statement that reads what
// [transaction.read] does, and calls Marten's function with the version that it has read,
// where nothing speaks against it. The function checks that version again, so a write
// between the two is met. done is false where the append must be judged: nothing was
// written then.
func (b *Backend) callFunction(ctx context.Context, call *adapter.GroupedAppend) (done bool, err error) {
	part := call.Parts[0]
	key, err := b.names.stream(part.Stream)
	if err != nil {
		return false, err
	}
	args, err := b.functionArguments(key, part)
	if err != nil {
		return false, err
	}
	conn, err := b.pool.Acquire(ctx)
	if err != nil {
		return false, &unreachableError{err}
	}
	defer conn.Release() // which ends a transaction that is open, and its connection
	var seen functionAnswer
	switch err := seen.ask(ctx, conn, b, args); {
	case err != nil && isInDoubt(&doubtError{err}):
		return false, &doubtError{err}
	case err != nil:
		failed := &partError{err: err, actual: uint64(seen.version)}
		t := &transaction{b: b, conn: conn, saved: true}
		t.bury(ctx, err)
		return false, failed
	}
	if seen.numbers == nil {
		return seen.refuse(call, key, b)
	}
	w := partWrite{first: uint64(seen.version) + 1}
	w.record(seen.numbers[1:], seen.at.UTC())
	call.Results = []eventstore.PartResult{{Recorded: w.recorded}}
	return true, nil
}

// functionAnswer is what the statement tells.
type functionAnswer struct {
	exists, archived, met bool
	kind                  string
	version               int64
	numbers               []int64 // nil where nothing was written
	at                    time.Time
}

func (a *functionAnswer) ask(ctx context.Context, conn *pgxpool.Conn, b *Backend, args []any) error {
	batch := &pgx.Batch{}
	batch.Queue(`begin isolation level read committed`)
	batch.Queue(settings, int64(lockClass)<<32|b.layout.Load().table, "2s")
	batch.Queue(`savepoint before_events`)
	batch.Queue(b.sql().function, args...)
	batch.Queue(`commit`)
	answers := conn.SendBatch(ctx, batch)
	defer func() { _ = answers.Close() }() // the rows told its error
	for range 3 {
		if _, err := answers.Exec(); err != nil {
			return err
		}
	}
	if err := answers.QueryRow().Scan(&a.exists, &a.archived, &a.kind, &a.version, &a.met, &a.numbers, &a.at); err != nil {
		return err
	}
	if _, err := answers.Exec(); err != nil {
		return err
	}
	return answers.Close()
}

// refuse gives the verdict where that is plain: the expectation does not hold, and there
// is nothing that could be a repetition.
func (a *functionAnswer) refuse(call *adapter.GroupedAppend, key streamKey, b *Backend) (done bool, err error) {
	part := call.Parts[0]
	if a.met || a.archived || a.exists && b.shape().uuidKeys && a.kind != key.kind || part.Expected.Allows(uint64(a.version)) {
		return false, nil
	}
	call.Err = &eventstore.ConflictError{Stream: part.Stream, Expected: part.Expected, Actual: uint64(a.version)}
	return true, nil
}

// functionArguments are those of the statement.
func (b *Backend) functionArguments(key streamKey, part eventstore.StreamAppend) ([]any, error) {
	events := make([]storedEvent, len(part.Events))
	for i, event := range part.Events {
		stored, err := b.encode(event)
		if err != nil {
			return nil, err
		}
		events[i] = stored
	}
	lowest, highest := int64(0), int64(math.MaxInt64)
	if version, exact := part.Expected.Exact(); exact {
		lowest, highest = clamp(version), clamp(version)
	} else if !part.Expected.Allows(0) {
		lowest = 1
	}
	at := pgtype.Timestamptz{}
	if part.RecordedAt != nil {
		at = pgtype.Timestamptz{Time: part.RecordedAt.UTC().Truncate(time.Microsecond), Valid: true}
	}
	c, s := columnsOf(events), b.shape()
	args := []any{key.id, key.kind, c.ids, c.types, c.dotnets, c.data, lowest, highest, at}
	for _, optional := range []struct {
		there bool
		arg   []pgtype.Text
	}{{s.headers, c.headers}, {s.correlation, c.correlations}, {s.causation, c.causations}, {s.userName, c.userNames}} {
		if optional.there {
			args = append(args, optional.arg)
		}
	}
	return args, nil
}

// functionCall is the statement. The function's arguments go by their names, for their
// order depends on Marten's options.
func (q *statements) functionCall(s shape, schema string) string {
	arguments := []string{
		"stream => $1::text::" + q.id, "stream_type => nullif($2::text, '')::varchar", "tenantid => " + q.tenantValue + "::varchar", "event_ids => $3::uuid[]",
		"event_types => $4::varchar[]", "dotnet_types => $5::varchar[]", "bodies => $6::text[]::jsonb[]", "bdatas => null::bytea[]", "expected_version => s.version",
	}
	n := 9
	for _, optional := range []struct {
		there      bool
		name, kind string
	}{
		{s.headers, "headers", "text[]::jsonb[]"},
		{s.correlation, "correlation_ids", "varchar[]"},
		{s.causation, "causation_ids", "varchar[]"},
		{s.userName, "user_names", "varchar[]"},
	} {
		if optional.there {
			n++
			arguments = append(arguments, fmt.Sprintf("%s => $%d::%s", optional.name, n, optional.kind))
		}
	}
	if s.times {
		arguments = append(arguments, "timestamps => array_fill(coalesce($9::timestamptz, now()), array[cardinality($3::uuid[])])")
	}
	for _, tag := range s.tagArguments {
		arguments = append(arguments, tag+" => null::varchar[]")
	}
	met := `e.stream_id = $1::text::` + q.id + q.tenant + ` and e.version > s.version - ` + fmt.Sprint(window) + ` and e.id = any($3::uuid[]) and e.type <> '` + tombstoneType + `'`
	if s.uniqueIDs {
		met = `e.id = any($3::uuid[])`
	}
	named := "true"
	if s.uuidKeys {
		named = "(not s.present or s.kind = $2::text)"
	}
	return `with found as materialized (select s.version, s.is_archived, s.type from ` + q.streams + ` s where s.id = $1::text::` + q.id + q.streamTenant + `),
		s as materialized (select exists (select from found) as present, coalesce((select version from found), 0)::bigint as version,
			coalesce((select is_archived from found), false) as archived, coalesce((select type from found), '')::text as kind),
		met as materialized (select exists (select from s, ` + q.events + ` e where s.version > 0 and ` + met + `) as met from s)
		select s.present, s.archived, s.kind, s.version, met.met, case when not met.met and not s.archived and ` + named + ` and s.version between $7::bigint and $8::bigint
			then ` + ident(schema, "mt_quick_append_events") + `(` + strings.Join(arguments, ", ") + `)::bigint[] end, coalesce($9::timestamptz, now())
		from s, met`
}
