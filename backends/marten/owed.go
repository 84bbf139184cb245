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
// decided yet, the index of numbers waits for it. One that a server which crashed has yet to
// give again is left for whoever gets it.
func (q *statements) queueTombstones(batch *pgx.Batch, uuidKeys bool, numbers []int64) {
	stream := tombstoneStream
	if uuidKeys {
		stream = tombstoneUUID
	}
	batch.Queue(`insert into `+q.streams+` (id, tenant_id, version, is_archived) values ($1::text::`+q.id+`, `+q.tenantValue+`, 0, false) on conflict do nothing`, stream)
	batch.Queue(`insert into `+q.events+` (seq_id, id, stream_id, version, data, type, timestamp, tenant_id, mt_dotnet_type, is_archived)
		select n, gen_random_uuid(), $1::text::`+q.id+`, n, '{}', '`+tombstoneType+`', '-infinity', `+q.tenantValue+`, 'JasperFx.Events.Tombstone, JasperFx.Events', false
		from unnest($2::bigint[]) n, `+q.sequence+` given where n <= given.last_value on conflict do nothing`, stream, numbers)
}

// owed are numbers that our writes have taken, and that have neither an event nor a
// tombstone as far as is known, because the transaction was over before it could be written.
// That they are ours is certain: the server has said so.
type owed struct {
	mu      sync.Mutex
	numbers []int64
}

func (o *owed) add(numbers []int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.numbers = append(o.numbers, numbers...)
}

func (o *owed) take() []int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	numbers := o.numbers
	o.numbers = nil
	return numbers
}

// payTimeout bounds an attempt to pay: callers wait for it.
const payTimeout = 2 * time.Second

// pay writes the tombstones that the handle owes. What cannot be written because the server
// cannot be reached is tried again after the next appends, and when the handle is closed.
func (b *Backend) pay(ctx context.Context) {
	numbers := b.owed.take()
	if len(numbers) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), payTimeout)
	defer cancel()
	batch := &pgx.Batch{}
	batch.Queue(`select set_config('lock_timeout', '1s', true)`)
	b.sql().queueTombstones(batch, b.shape().uuidKeys, numbers)
	err := b.pool.SendBatch(ctx, batch).Close()
	switch {
	case err == nil:
	case ctx.Err() != nil || errors.Is(readError(ctx, err), eventstore.ErrUnavailable):
		b.owed.add(numbers)
	default:
		b.opts.Logger.WarnContext(ctx, "marten: numbers of appends that were not written get no tombstones; the .NET daemon passes them after 3 s", "numbers", numbers, "error", err)
	}
}
