package marten

import (
	"context"
	"fmt"
	"hash/fnv"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/switchyard-dev/switchyard/eventstore/adapter"
)

// The lock among our writers is an advisory one, named by the events table: 1297372192 is
// "MTN " in ASCII. Marten takes no such lock, so it cannot deadlock with it. Whoever has it
// is alone. Who writes to a few streams shares it, and is alone in each of those: it has a
// lock of its own for each. So nobody of us takes a number in vain because another of us was
// faster, and those that write to different streams need not wait for each other's commit.
const lockClass = 1297372192

// mostShared is how many streams are locked one by one at most: the server's table of locks
// is bounded, to some 6,400 with its defaults.
const mostShared = 128

// locking is what a transaction waits for before it reads.
type locking struct {
	store   int64
	streams []int64 // in their order, in which nobody waits for who waits for him; none: alone
}

// lockOf is the lock of who writes to streams with these IDs. Where an ID of an event is
// unique in the store, writers of different streams can meet, and so must be alone.
func (b *Backend) lockOf(ids []string) locking {
	l := locking{store: int64(lockClass)<<32 | b.layout.Load().table}
	if len(ids) > mostShared || b.shape().uniqueIDs {
		return l
	}
	for _, id := range ids {
		name := fnv.New64a()
		_, _ = fmt.Fprintf(name, "%d/%s/%s", l.store, b.opts.Tenant, id)
		l.streams = append(l.streams, int64(name.Sum64()))
	}
	slices.Sort(l.streams)
	return l
}

// settings bound what a write may take: an open one holds up the .NET daemon, and every
// reader of the order. The time zone is one in which Marten's function is right.
//
// The others are for the plans. To plan for the lengths of some arrays takes longer than to
// run it, so one plan does for all; and that one is kept while the tables grow: made when
// they were small, it would scan them. All that a write looks for, it looks for by a key.
const settings = `set_config('lock_timeout', '10s', true), set_config('statement_timeout', '15s', true),
	set_config('idle_in_transaction_session_timeout', $2, true), set_config('TimeZone', 'UTC', true),
	set_config('plan_cache_mode', 'force_generic_plan', true), set_config('enable_seqscan', 'off', true),
	set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true), `

// makeBegin writes the statements that begin a transaction that writes. They answer the
// sequence's last number, for one that is higher was taken later, and when the server was started.
func (q *statements) makeBegin() {
	answer := `select last, pg_postmaster_start_time() from (select (select case when is_called then last_value else 0 end from ` + q.sequence + `) as last, `
	q.alone = answer + settings + `pg_advisory_xact_lock($1) offset 0) begun`
	q.startLock = answer + `
		set_config('lock_timeout', '5s', true), set_config('TimeZone', 'UTC', true), pg_advisory_xact_lock_shared($1) offset 0) begun`
	q.shared = answer + settings + `pg_advisory_xact_lock_shared($1), (select count(*) from (select pg_advisory_xact_lock(n) from unnest($3::bigint[]) n) locked) offset 0) begun`
}

// queueBegin queues what begins a transaction that writes: it waits for the lock.
func (b *Backend) queueBegin(batch *pgx.Batch, l locking, calls []*adapter.GroupedAppend) {
	batch.Queue(`begin isolation level read committed`)
	sql, args := b.begin(l, calls)
	batch.Queue(sql, args...)
}

// begin is the first statement of a transaction that writes.
func (b *Backend) begin(l locking, calls []*adapter.GroupedAppend) (sql string, args []any) {
	if len(l.streams) == 0 {
		return b.sql().alone, []any{l.store, idle(calls)}
	}
	return b.sql().shared, []any{l.store, idle(calls), array(l.streams)}
}

// begun reads the answers of what queueBegin has queued.
func (t *transaction) begun(answers pgx.BatchResults) error {
	if _, err := answers.Exec(); err != nil {
		return err
	}
	err := answers.QueryRow().Scan(&t.last, &t.started)
	t.began = err == nil
	return err
}

// idle is how long a write may wait for us: 2 s, and 1 s more for each MiB that we have to
// send.
func idle(calls []*adapter.GroupedAppend) string {
	size := 0
	for _, call := range calls {
		for _, part := range call.Parts {
			for _, event := range part.Events {
				size += event.Size()
			}
		}
	}
	return fmt.Sprintf("%ds", 2+size>>20)
}

// Lock takes, to the end of a transaction, the lock that Switchyard's handles append to
// the store of a schema under. Whoever writes to Marten's tables by hand, beside them,
// takes it first, and then takes no number in vain and holds no reader up: the .NET
// application does not take it, and need not.
func Lock(ctx context.Context, tx pgx.Tx, schema string) error {
	_, err := tx.Exec(ctx, `select pg_advisory_xact_lock($1::bigint | `+literal(ident(schema, "mt_events"))+`::regclass::oid::bigint)`, int64(lockClass)<<32)
	return err
}
