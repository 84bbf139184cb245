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
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventstore/adapter"
)

// callsFunction tells whether Marten's own function can write an append. Not where it is
// wrong (it refuses an archived ID that was started again, and its numbers may have 32
// bits), knows no record time, or is in the wrong order of locks.
func (b *Backend) callsFunction(call *adapter.GroupedAppend) bool {
	s := b.shape()
	return b.opts.Append == Quick && s.function && !s.archivePartitioned && !s.narrow && !s.identities &&
		len(call.Parts) == 1 && len(call.Parts[0].Events) > 0 && (call.Parts[0].RecordedAt == nil || s.times)
}

// mostCalls is how many appends are written by calls of the function at most: each costs
// the server as much as the first, and the round trip that is saved costs more only while
// they are few.
const mostCalls = 16

// byFunction tells whether a group is written by calls of the function. Each has one event,
// for of several it is not known which numbers a call that failed has taken.
func (b *Backend) byFunction(calls []*adapter.GroupedAppend) bool {
	return len(calls) <= mostCalls && !slices.ContainsFunc(calls, func(c *adapter.GroupedAppend) bool {
		return !b.callsFunction(c) || len(c.Parts[0].Events) != 1
	})
}

// callFunction tries appends of one part each, in one transaction and one round trip. For
// each a statement reads what [transaction.read] does, and calls Marten's function with the
// version that it has read, where nothing speaks against it. The function checks that
// version again, so a write between the two is met. An append that must be judged is left
// without a verdict: nothing was written of it. An error is that of the transaction.
func (b *Backend) callFunction(ctx context.Context, calls []*adapter.GroupedAppend) error {
	var ids []string
	var events []pgtype.UUID
	batch := &pgx.Batch{}
	for _, call := range calls {
		p, err := b.preparedOf(call)
		if err != nil {
			return err
		}
		if id := p.parts[0].key.id; !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
		events = append(events, p.parts[0].events[0].id)
	}
	b.queueBegin(batch, b.lockOf(ids), calls)
	batch.Queue(`savepoint before_events`)
	for _, call := range calls {
		args, err := b.functionArguments(call)
		if err != nil {
			return err
		}
		lowest, highest := allowed(call.Parts[0].Expected)
		batch.Queue(b.sql().function, append(args, lowest, highest)...)
	}
	batch.Queue(b.sql().unarchived, array(ids), array(events))
	batch.Queue(`commit`)
	conn, err := b.pool.Acquire(ctx)
	if err != nil {
		return &unreachableError{err}
	}
	defer conn.Release() // which ends a transaction that is open, and its connection
	t := &transaction{b: b, conn: conn, called: true}
	seen := make([]functionAnswer, len(calls))
	if err := t.ask(ctx, batch, seen); err != nil {
		t.bury(ctx, err)
		if isInDoubt(&doubtError{err}) {
			return &doubtError{err}
		}
		return &partError{err: err}
	}
	for i, call := range calls {
		seen[i].answer(call, b)
	}
	return nil
}

// makeUnarchived writes the statement that follows calls of the function, when the rows of
// their streams are ours. The function looks at the mark of an archived stream before it waits
// for the row, and not again: an event would be all that .NET shows of a stream that was
// archived meanwhile. As for a row that is not what was read, a division by zero ends the
// transaction. The function sets the row's time, so that a call which wrote nothing is let be.
func (q *statements) makeUnarchived() {
	q.unarchived = `select 1 / (case when exists (select from ` + q.streams + ` s join ` + q.events + ` e on e.stream_id = s.id and e.version = s.version` + q.tenant + `
		where s.id = any($1::text[]::` + q.id + `[])` + q.streamTenant + ` and s.is_archived and s.timestamp = now() and e.is_archived is not true and e.id = any($2::uuid[])) then 0 else 1 end)`
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
	if err := t.begun(answers); err != nil {
		return err
	}
	if _, err := answers.Exec(); err != nil {
		return err
	}
	t.saved = true
	for i := range seen {
		a := &seen[i]
		if err := answers.QueryRow().Scan(&a.exists, &a.archived, &a.kind, &a.version, &a.met, &a.numbers, &a.at); err != nil {
			return err
		}
		if len(a.numbers) > 0 {
			t.burned = append(t.burned, a.numbers[1:]...)
		}
	}
	if _, err := answers.Exec(); err != nil { // a stream was archived meanwhile
		return err
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
func (b *Backend) functionArguments(call *adapter.GroupedAppend) ([]any, error) {
	p, err := b.preparedOf(call)
	if err != nil {
		return nil, err
	}
	part, key := call.Parts[0], p.parts[0].key
	c := columnsOf(p.parts[0].events)
	args := []any{key.id, key.kind, array(c.ids), array(c.types), array(c.dotnets), array(c.data), recordTime(part.RecordedAt)}
	for _, column := range b.shape().metadata(c) {
		args = append(args, column.array())
	}
	return args, nil
}

// functionOf writes the call of the function. Its arguments go by their names, for their
// order depends on Marten's options. next is the number of the first parameter after them.
func (q *statements) functionOf(s shape, schema, expected string) (call string, next int) {
	arguments := []string{
		"stream => $1::text::" + q.id, "stream_type => nullif($2::text, '')::varchar", "tenantid => " + q.tenantValue + "::varchar", "event_ids => $3::uuid[]",
		"event_types => $4::varchar[]", "dotnet_types => $5::varchar[]", "bodies => $6::text[]::jsonb[]", "bdatas => null::bytea[]", "expected_version => " + expected,
	}
	next = 8
	for _, column := range s.metadata(eventArrays{}) {
		kind := "varchar[]"
		if column.kind == "jsonb" {
			kind = "text[]::jsonb[]"
		}
		arguments = append(arguments, fmt.Sprintf("%s => $%d::%s", column.parameter, next, kind))
		next++
	}
	if s.times {
		arguments = append(arguments, "timestamps => array_fill(coalesce($7::timestamptz, now()), array[cardinality($3::uuid[])])")
	}
	for _, tag := range s.tagArguments {
		arguments = append(arguments, tag+" => null::varchar[]")
	}
	return ident(schema, "mt_quick_append_events") + `(` + strings.Join(arguments, ", ") + `)::bigint[]`, next
}

// functionCall is the statement of [Backend.callFunction].
func (q *statements) functionCall(s shape, schema string) string {
	call, next := q.functionOf(s, schema, "coalesce(s.version, 0)")
	met := `e.stream_id = s.id` + q.tenant + ` and e.version > s.version - ` + strconv.Itoa(window) + ` and e.id = any($3::uuid[]) and e.type <> '` + tombstoneType + `'`
	if s.uniqueIDs {
		met = `e.id = any($3::uuid[])`
	}
	named := ""
	if s.uuidKeys {
		named = " and (s.id is null or coalesce(s.type, '') = $2::text)"
	}
	return `select s.id is not null, coalesce(s.is_archived, false), coalesce(s.type, '')::text, coalesce(s.version, 0)::bigint, m.met is not null,
			case when m.met is null and s.is_archived is not true` + named + fmt.Sprintf(` and coalesce(s.version, 0) between $%d::bigint and $%d::bigint
			then `, next, next+1) + call + ` end, coalesce($7::timestamptz, now())
		from (select) one left join ` + q.streams + ` s on s.id = $1::text::` + q.id + q.streamTenant + `
			left join lateral (select true as met from ` + q.events + ` e where ` + met + ` limit 1) m on true`
}

// starts tells whether an append can only start a stream, by a call of the function for one
// event, as [Backend.byFunction] says.
func (b *Backend) starts(call *adapter.GroupedAppend) bool {
	if !b.callsFunction(call) || len(call.Parts[0].Events) != 1 {
		return false
	}
	_, highest := allowed(call.Parts[0].Expected)
	return highest == 0 && !b.shape().uniqueIDs
}

// startStream tries an append that starts a stream, by a call of the function. Two statements
// that are sent at once are a transaction of their own, without those that begin and end one.
// The function writes the stream's row before it takes a number, and whoever was faster is
// met there: no number is taken in vain because of that, and nothing need be open to bury it.
// What else may fail after it is rare: its number is looked for when the transaction is over.
func (b *Backend) startStream(ctx context.Context, call *adapter.GroupedAppend) error {
	args, err := b.functionArguments(call)
	if err != nil {
		return err
	}
	conn, err := b.pool.Acquire(ctx)
	if err != nil {
		return &unreachableError{err}
	}
	defer conn.Release()
	batch := &pgx.Batch{}
	batch.Queue(b.sql().startLock, b.lockOf(nil).store)
	batch.Queue(b.sql().starting, args...)
	t := &transaction{b: b, conn: conn, called: true}
	a, err := t.start(ctx, batch)
	if err != nil {
		t.bury(ctx, err)
		if isInDoubt(&doubtError{err}) {
			return &doubtError{err}
		}
		return &partError{err: err}
	}
	if a.numbers != nil {
		a.answer(call, b)
	}
	return nil
}

func (t *transaction) start(ctx context.Context, batch *pgx.Batch) (a functionAnswer, err error) {
	answers := t.conn.SendBatch(ctx, batch)
	defer func() { _ = answers.Close() }() // the rows told its error
	if err := answers.QueryRow().Scan(&t.last, &t.started); err != nil {
		return a, err
	}
	t.began = true
	var numbers pgtype.FlatArray[int64]
	if err := answers.QueryRow().Scan(&numbers, &a.at); err != nil {
		return a, err
	}
	if numbers != nil {
		a.numbers, t.burned = numbers, numbers[1:]
	}
	return a, answers.Close() // which is the commit
}

// startingCall is its second statement.
func (q *statements) startingCall(s shape, schema string) string {
	call, _ := q.functionOf(s, schema, "0")
	return fmt.Sprintf(`select case when exists (select from %s s where s.id = $1::text::%s%s) then null else `, q.streams, q.id, q.streamTenant) + call + ` end,
		coalesce($7::timestamptz, now())`
}
