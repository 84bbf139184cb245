package marten_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/marten"
	"github.com/switchyard-dev/switchyard/eventstore"
)

var anyVersion = eventstore.Any()

func event(kind, data string) eventstore.Event {
	return eventstore.Event{ID: uuid.New(), Type: kind, Data: []byte(data)}
}

// netWriter writes as an application of Marten's does, with plain SQL.
type netWriter struct {
	pool   *pgxpool.Pool
	chance *rand.Rand
	size   int // events of an append
}

const callAppend = `select mt_quick_append_events(stream => $1, stream_type => null, tenantid => '*DEFAULT*', event_ids => array(select gen_random_uuid() from generate_series(1, $2)),
	event_types => array_fill('happened'::varchar, array[$2]), dotnet_types => array_fill(''::varchar, array[$2]), bodies => array_fill('{}'::jsonb, array[$2]), bdatas => null,
	causation_ids => null, correlation_ids => null, headers => null, user_names => null, expected_version => null)`

// byFunction appends by Marten's function, alone or in a transaction that goes on for a
// while, and sometimes ends in vain.
func (w netWriter) byFunction(ctx context.Context, stream string) error {
	if w.chance.IntN(3) > 0 {
		_, err := w.pool.Exec(ctx, callAppend, stream, w.size)
		return err
	}
	return w.within(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, callAppend, stream, w.size)
		return err
	})
}

// byInsert takes numbers, waits, and inserts events with them.
func (w netWriter) byInsert(ctx context.Context, stream string) error {
	return w.within(ctx, func(tx pgx.Tx) error {
		numbers, err := take(ctx, tx, w.size)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `select pg_sleep($1)`, w.chance.Float64()*0.01); err != nil {
			return err
		}
		return insertEvents(ctx, tx, stream, numbers)
	})
}

// within runs a transaction that is rolled back now and then.
func (w netWriter) within(ctx context.Context, do func(pgx.Tx) error) error {
	tx, err := w.pool.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback(context.WithoutCancel(ctx)) //nolint:errcheck // after a commit it does nothing
	if err := do(tx); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `select pg_sleep($1)`, w.chance.Float64()*0.02); err != nil {
		return err
	}
	if w.chance.IntN(10) == 0 {
		return errors.Join(errNoEvents, tx.Rollback(ctx))
	}
	return tx.Commit(ctx)
}

// errNoEvents is of a write that ended without any.
var errNoEvents = errors.New("nothing was stored")

// byReservation takes numbers in a transaction of its own, as a Rich application does
// before its work, and inserts events or tombstones with them within longest.
func (w netWriter) byReservation(ctx context.Context, stream string, longest time.Duration) error {
	numbers, err := take(ctx, w.pool, w.size)
	if err != nil {
		return err
	}
	timer := time.NewTimer(rand.N(longest))
	defer timer.Stop()
	<-timer.C
	tx, err := w.pool.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback(context.WithoutCancel(ctx)) //nolint:errcheck // after a commit it does nothing
	if w.chance.IntN(10) == 0 {                   // its work failed, which Marten notes in place of each event
		_, err := tx.Exec(ctx, `with s as (insert into mt_streams (id, version) values ('mt_tombstone', 0) on conflict do nothing)
			insert into mt_events (seq_id, id, stream_id, version, data, type, timestamp, mt_dotnet_type)
			select n, gen_random_uuid(), 'mt_tombstone', n, '{}', 'tombstone', '-infinity', '' from unnest($1::bigint[]) n`, numbers)
		return errors.Join(err, errNoEvents, tx.Commit(ctx))
	}
	if err := insertEvents(ctx, tx, stream, numbers); err != nil {
		return err
	}
	return tx.Commit(ctx)
}

func take(ctx context.Context, db interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}, n int,
) ([]int64, error) {
	rows, err := db.Query(ctx, `select nextval('mt_events_sequence') from generate_series(1, $1)`, n)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[int64])
}

func insertEvents(ctx context.Context, tx pgx.Tx, stream string, numbers []int64) error {
	if _, err := tx.Exec(ctx, `insert into mt_streams (id, version) values ($1, $2)`, stream, len(numbers)); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `insert into mt_events (seq_id, id, stream_id, version, data, type, timestamp, mt_dotnet_type)
		select w.seq, gen_random_uuid(), $1, w.n, '{}', 'happened', now(), '' from unnest($2::bigint[]) with ordinality w(seq, n)`, stream, numbers)
	return err
}

// witness follows a store by one rule, and keeps the numbers that it was given.
type witness struct {
	mu      sync.Mutex
	numbers []uint64
	last    atomic.Uint64
}

func (w *witness) saw(n uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.numbers = append(w.numbers, n)
	w.last.Store(n)
}

// subscribe follows by the adapter's rule.
func (w *witness) subscribe(ctx context.Context, store *eventstore.Store, filter eventstore.Filter) error {
	for message, err := range store.Subscribe(ctx, eventstore.SubscribeOptions{Filter: filter}) {
		if err != nil {
			return err
		}
		if message.Kind == eventstore.MessageEvent {
			n, _ := message.Event.Position.Words()
			w.saw(n)
		}
	}
	return nil
}

// naive is the control: it reads what comes after the last number that it saw.
func (w *witness) naive(ctx context.Context, pool *pgxpool.Pool) {
	after := uint64(0)
	for ctx.Err() == nil {
		after = w.poll(ctx, pool, after, 1<<62)
	}
}

// lateLocks is a mutant of the rule: it looks at the locks when it has read the page, and
// believes a page while nobody holds one.
func (w *witness) lateLocks(ctx context.Context, pool *pgxpool.Pool) {
	after := uint64(0)
	for ctx.Err() == nil {
		rows, err := pool.Query(ctx, `select seq_id from mt_events where seq_id > $1 and type <> 'tombstone' order by seq_id`, after)
		if err != nil {
			return
		}
		page, err := pgx.CollectRows(rows, pgx.RowTo[int64])
		if err != nil {
			return
		}
		var holders int
		err = pool.QueryRow(ctx, `select count(*) from pg_locks where relation = 'mt_events_sequence'::regclass and mode = 'RowExclusiveLock'`).Scan(&holders)
		if err != nil || holders > 0 {
			continue
		}
		for _, n := range page {
			w.saw(uint64(n))
			after = uint64(n)
		}
	}
}

func (w *witness) poll(ctx context.Context, pool *pgxpool.Pool, after, upTo uint64) uint64 {
	rows, err := pool.Query(ctx, `select seq_id from mt_events where seq_id > $1 and seq_id <= $2 and type <> 'tombstone' order by seq_id`, after, upTo)
	if err != nil {
		return after
	}
	page, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return after
	}
	for _, n := range page {
		w.saw(uint64(n))
		after = uint64(n)
	}
	return after
}

// compare returns how many of the events a witness missed and got twice, and whether they
// came in order.
func (w *witness) compare(all []uint64) (missed, doubled int, ordered bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	counts := make(map[uint64]int, len(w.numbers))
	for _, n := range w.numbers {
		counts[n]++
	}
	for _, n := range all {
		if counts[n] == 0 {
			missed++
		}
		doubled += max(0, counts[n]-1)
	}
	return missed, doubled, slices.IsSorted(w.numbers)
}

// crowd runs writers until so many events are stored, and ends the sessions of some.
func crowd(t *testing.T, pool *pgxpool.Pool, writers, events, kills int, write func(ctx context.Context, w netWriter, stream string) error) {
	t.Helper()
	const size = 20
	var written atomic.Int64
	var working sync.WaitGroup
	for i := range writers {
		working.Go(func() {
			w := netWriter{pool: pool, chance: rand.New(rand.NewPCG(1, uint64(i))), size: size}
			for n := 0; written.Load() < int64(events) && t.Context().Err() == nil; n++ {
				if err := write(t.Context(), w, fmt.Sprintf("w%d-%d", i, n)); err == nil {
					written.Add(size)
				}
			}
		})
	}
	for n := range kills {
		part := int64(events / (kills + 1) * (n + 1))
		require.Eventually(t, func() bool { return written.Load() >= part }, 5*time.Minute, 5*time.Millisecond)
		_, err := pool.Exec(t.Context(), `select pg_terminate_backend(pid) from pg_locks where relation = 'mt_events_sequence'::regclass and mode = 'RowExclusiveLock' limit 2`)
		require.NoError(t, err)
	}
	working.Wait()
}

// perKind is how many events each kind of writers stores.
const perKind = 100_000

func TestNoReaderMissesAnEventOfAWriterBesideIt(t *testing.T) {
	for _, test := range []struct {
		name  string
		opts  marten.Options
		write func(ctx context.Context, w netWriter, stream string) error
	}{
		{"by the function", marten.Options{Append: marten.Quick}, func(ctx context.Context, w netWriter, stream string) error { return w.byFunction(ctx, stream) }},
		{"by numbers taken long before", marten.Options{Append: marten.Quick}, func(ctx context.Context, w netWriter, stream string) error { return w.byInsert(ctx, stream) }},
		{"by numbers reserved without a trace", marten.Options{Append: marten.Rich, Grace: 2 * time.Second}, func(ctx context.Context, w netWriter, stream string) error {
			return w.byReservation(ctx, stream, 25*time.Millisecond)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			rawURL := server.Database(t)
			pool := connect(t, rawURL)
			require.NoError(t, marten.Create(t.Context(), pool, "", marten.Creation{}))
			test.opts.Poll = 20 * time.Millisecond
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			var following sync.WaitGroup
			plain, filtered, control, late := &witness{}, &witness{}, &witness{}, &witness{}
			for w, filter := range map[*witness]eventstore.Filter{plain: {}, filtered: {Types: []string{"happened"}}} {
				store := openStore(t, connect(t, rawURL), &test.opts)
				following.Go(func() {
					if err := w.subscribe(ctx, store, filter); ctx.Err() == nil {
						t.Errorf("the subscription ended: %v", err)
					}
				})
			}
			readers := connect(t, rawURL)
			following.Go(func() { control.naive(ctx, readers) })
			following.Go(func() { late.lateLocks(ctx, readers) })
			crowd(t, pool, 8, perKind, 10, test.write)
			rows, err := pool.Query(t.Context(), `select seq_id from mt_events where type <> 'tombstone' order by seq_id`)
			require.NoError(t, err)
			all, err := pgx.CollectRows(rows, pgx.RowTo[uint64])
			require.NoError(t, err)
			require.GreaterOrEqual(t, len(all), perKind)
			require.Eventually(t, func() bool { return plain.last.Load() == all[len(all)-1] && filtered.last.Load() == all[len(all)-1] }, time.Minute, 10*time.Millisecond)
			stop()
			following.Wait()
			for name, w := range map[string]*witness{"plain": plain, "filtered": filtered} {
				missed, doubled, ordered := w.compare(all)
				require.Zero(t, missed, name)
				require.Zero(t, doubled, name)
				require.True(t, ordered, name)
			}
			missed, _, _ := control.compare(all)
			lateMissed, _, _ := late.compare(all)
			t.Logf("of %d events the control missed %d, and one that looks at locks after the page %d", len(all), missed, lateMissed)
			require.Positive(t, missed, "the control, seq > pos, must miss events, or nothing was proved")
		})
	}
}

func TestALateEventEndsASubscriptionAndIsNotSilent(t *testing.T) {
	for remedy, opts := range map[string]marten.Options{
		"a grace longer than 100ms": {Append: marten.Rich, Grace: 100 * time.Millisecond},
		"append=rich":               {Append: marten.Quick}, // of a store that is not
	} {
		t.Run(string(opts.Append), func(t *testing.T) {
			pool := newTables(t, marten.Creation{})
			opts.Poll = 20 * time.Millisecond
			store := openStore(t, pool, &opts)
			reserved, err := take(t.Context(), pool, 1)
			require.NoError(t, err)
			_, err = store.Append(t.Context(), "order-2", anyVersion, event("happened", `{}`))
			require.NoError(t, err)

			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			seen := 0
			for message, err := range store.Subscribe(ctx, eventstore.SubscribeOptions{}) {
				if message.Kind == eventstore.MessageEvent {
					seen++
					tx, err := pool.Begin(ctx)
					require.NoError(t, err)
					require.NoError(t, insertEvents(ctx, tx, "order-1", reserved))
					require.NoError(t, tx.Commit(ctx))
				}
				if err != nil {
					require.ErrorIs(t, err, eventstore.ErrLateArrival)
					require.ErrorContains(t, err, "order-1")
					require.ErrorContains(t, err, remedy)
					break
				}
			}
			require.Equal(t, 1, seen)
			require.NoError(t, ctx.Err(), "it must end by itself")
		})
	}
}

func TestAWriterThatStallsIsNamedWithItsProcess(t *testing.T) {
	pool := newTables(t, marten.Creation{})
	store := openStore(t, pool, &marten.Options{Append: marten.Quick})
	tx, err := pool.Begin(t.Context())
	require.NoError(t, err)
	defer tx.Rollback(context.Background()) //nolint:errcheck // the test ends with it
	_, err = take(t.Context(), tx, 1)
	require.NoError(t, err)
	var pid int
	require.NoError(t, tx.QueryRow(t.Context(), `select pg_backend_pid()`).Scan(&pid))
	_, err = store.Append(t.Context(), "order-1", anyVersion, event("happened", `{}`))
	require.NoError(t, err, "writers do not wait for it")
	for _, err = range store.ReadAll(t.Context(), eventstore.ReadAllOptions{}) {
		break
	}
	require.ErrorIs(t, err, eventstore.ErrUnavailable)
	require.ErrorContains(t, err, fmt.Sprintf("process %d ", pid))
	require.ErrorContains(t, err, "idle in transaction")
	require.NoError(t, tx.Rollback(t.Context()))
	require.Len(t, readAll(t, store, eventstore.ReadAllOptions{}), 1)
}
