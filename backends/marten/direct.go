package marten

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventstore/adapter"
	"github.com/switchyard-dev/switchyard/internal/pgdriver"
)

// callsFunction tells whether Marten's own function can write the parts of an append. Not
// where it is wrong (it refuses an archived ID that was started again, and its numbers may
// have 32 bits), knows no record time, or is in the wrong order of locks. Nor where an ID
// that is used elsewhere can stop it at any event of several: nobody knows then which
// numbers it had taken.
func (b *Backend) callsFunction(parts []eventstore.StreamAppend) bool {
	s := b.shape()
	if b.opts.Append != Quick || !s.function || s.archivePartitioned || s.narrow || s.identities {
		return false
	}
	for _, part := range parts {
		if part.RecordedAt != nil && !s.times || s.uniqueIDs && len(part.Events) > 1 {
			return false
		}
	}
	return true
}

// mostCalls is how many appends are written by calls of the function at most: each costs
// the server as much as the first, and the round trip that is saved costs more only while
// they are few.
const mostCalls = 16

// byFunction tells whether a group is written by calls of the function.
func (b *Backend) byFunction(calls []*adapter.GroupedAppend) bool {
	return len(calls) <= mostCalls && !slices.ContainsFunc(calls, func(c *adapter.GroupedAppend) bool {
		return len(c.Parts) != 1 || !b.callsFunction(c.Parts)
	})
}

// callFunction tries appends of one part each, in one transaction and one round trip. For
// each a statement reads what [transaction.read] does, and calls Marten's function with the
// version that it has read, where nothing speaks against it. The function checks that
// version again, so a write between the two is met. An append that must be judged is left
// without a verdict: nothing was written of it. An error is that of the transaction.
func (b *Backend) callFunction(ctx context.Context, calls []*adapter.GroupedAppend) error {
	batch := &pgx.Batch{}
	batch.Queue(`begin isolation level read committed`)
	batch.Queue(settings, int64(lockClass)<<32|b.layout.Load().table, idle(calls))
	batch.Queue(`savepoint before_events`)
	for _, call := range calls {
		args, err := b.functionArguments(call.Parts[0])
		if err != nil {
			return err
		}
		batch.Queue(b.sql().function, args...)
	}
	batch.Queue(`commit`)
	conn, err := b.pool.Acquire(ctx)
	if err != nil {
		return &unreachableError{err}
	}
	defer conn.Release() // which ends a transaction that is open, and its connection
	t := &transaction{b: b, conn: conn, saved: true, called: true}
	seen := make([]functionAnswer, len(calls))
	switch err := t.ask(ctx, batch, seen); {
	case err != nil && isInDoubt(&doubtError{err}):
		return &doubtError{err}
	case err != nil:
		t.bury(ctx, err)
		return &partError{err: err}
	}
	for i, call := range calls {
		seen[i].answer(call, b)
	}
	return nil
}

// functionAnswer is what the statement tells.
type functionAnswer struct {
	exists, archived, met bool
	kind                  string
	version               int64
	numbers               []int64 // nil where nothing was written
	at                    time.Time
}

func (t *transaction) ask(ctx context.Context, batch *pgx.Batch, seen []functionAnswer) error {
	answers := t.conn.SendBatch(ctx, batch)
	defer func() { _ = answers.Close() }() // the rows told its error
	for range 3 {
		if _, err := answers.Exec(); err != nil {
			return err
		}
	}
	for i := range seen {
		a := &seen[i]
		if err := answers.QueryRow().Scan(&a.exists, &a.archived, &a.kind, &a.version, &a.met, &a.numbers, &a.at); err != nil {
			return err
		}
		if len(a.numbers) > 0 {
			t.burned = append(t.burned, a.numbers[1:]...)
		}
	}
	tag, err := answers.Exec()
	if err == nil && tag.String() != "COMMIT" {
		err = pgx.ErrTxCommitRollback
	}
	return errors.Join(err, answers.Close())
}

// answer gives an append its verdict, where there is one: what was written, or a plain
// conflict, in which nothing could be a repetition.
func (a *functionAnswer) answer(call *adapter.GroupedAppend, b *Backend) {
	part := call.Parts[0]
	key, err := b.names.stream(part.Stream)
	switch {
	case err != nil:
		call.Err = err
	case a.numbers != nil:
		w := partWrite{first: uint64(a.version) + 1}
		w.record(a.numbers[1:], a.at.UTC())
		call.Results = []eventstore.PartResult{{Recorded: w.recorded}}
	case a.met || a.archived || a.exists && b.shape().uuidKeys && a.kind != key.kind || part.Expected.Allows(uint64(a.version)):
		// It is to be judged.
	default:
		call.Err = &eventstore.ConflictError{Stream: part.Stream, Expected: part.Expected, Actual: uint64(a.version)}
	}
}

// functionArguments are those of the statement.
func (b *Backend) functionArguments(part eventstore.StreamAppend) ([]any, error) {
	key, err := b.names.stream(part.Stream)
	if err != nil {
		return nil, err
	}
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
		lowest, highest = pgdriver.Clamp(version), pgdriver.Clamp(version)
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
