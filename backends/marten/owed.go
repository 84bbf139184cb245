package marten

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// tombstoneUUID is the stream of our tombstones in a store whose streams have UUIDs.
const tombstoneUUID = "5d1c9a1e-7f0b-4b0e-9d53-6d745f746f6d"

// queueTombstones queues what fills numbers that are known to be ours. One that has an event
// nevertheless, because a commit whose answer was lost had come, keeps it: where that is not
// decided yet, the index of numbers waits for it. A server that has crashed, or another one in
// its place, gives numbers again: those of a server that was started at another time are left
// to whoever gets them, and so are those that it has yet to give, for it may have crashed and not be
// started anew.
func (q *statements) queueTombstones(batch *pgx.Batch, uuidKeys bool, numbers []int64, started time.Time) {
	stream := tombstoneStream
	if uuidKeys {
		stream = tombstoneUUID
	}
	batch.Queue(`insert into `+q.streams+` (id, tenant_id, version, is_archived) values ($1::text::`+q.id+`, `+q.tenantValue+`, 0, false) on conflict do nothing`, stream)
	batch.Queue(`insert into `+q.events+` (seq_id, id, stream_id, version, data, type, timestamp, tenant_id, mt_dotnet_type, is_archived)
		select n, gen_random_uuid(), $1::text::`+q.id+`, n, '{}', '`+tombstoneType+`', '-infinity', `+q.tenantValue+`, 'JasperFx.Events.Tombstone, JasperFx.Events', false
		from unnest($2::bigint[]) n, `+q.sequence+` given where given.is_called and n <= given.last_value and pg_postmaster_start_time() = $3::timestamptz on conflict do nothing`, stream, numbers, started)
}

// owedNumbers are numbers that a write of ours has taken, and that have neither an event nor a
// tombstone as far as is known, because the transaction was over before it could be written.
// That they are ours is certain: the server has said so that was started then.
type owedNumbers struct {
	numbers []int64
	started time.Time
}

// owed are those of a handle.
type owed struct {
	mu  sync.Mutex
	all []owedNumbers
}

func (o *owed) add(more ...owedNumbers) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.all = append(o.all, more...)
}

func (o *owed) take() []owedNumbers {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := o.all
	o.all = nil
	return all
}

// payTimeout bounds an attempt to pay: callers wait for it.
const payTimeout = 2 * time.Second

// pay writes the tombstones that the handle owes. What cannot be written because the server
// cannot be reached is tried again after the next appends, and when the handle is closed.
func (b *Backend) pay(ctx context.Context) {
	all := b.owed.take()
	if len(all) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), payTimeout)
	defer cancel()
	batch := &pgx.Batch{}
	batch.Queue(`select set_config('lock_timeout', '1s', true)`)
	for _, o := range all {
		b.sql().queueTombstones(batch, b.shape().uuidKeys, o.numbers, o.started)
	}
	err := b.pool.SendBatch(ctx, batch).Close()
	switch {
	case err == nil:
	case ctx.Err() != nil || errors.Is(readError(ctx, err), eventstore.ErrUnavailable):
		b.owed.add(all...)
	default:
		var numbers []int64
		for _, o := range all {
			numbers = append(numbers, o.numbers...)
		}
		b.opts.Logger.WarnContext(ctx, "marten: numbers of appends that were not written get no tombstones; the .NET daemon passes them after 3 s", "numbers", numbers, "error", err)
	}
}
