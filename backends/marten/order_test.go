package marten_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/marten"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// between does something once, when the answer to a statement has come and before the next
// is sent.
type between struct {
	statement string // a part of it
	once      sync.Once
	do        func()
}

type sentKey struct{}

func (b *between) answered(sql string) {
	if strings.Contains(sql, b.statement) {
		b.once.Do(b.do)
	}
}

func (b *between) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	return context.WithValue(ctx, sentKey{}, data.SQL)
}

func (b *between) TraceQueryEnd(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryEndData) {
	if sql, ok := ctx.Value(sentKey{}).(string); ok {
		b.answered(sql)
	}
}

func (b *between) TraceBatchStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	return ctx
}

func (b *between) TraceBatchQuery(_ context.Context, _ *pgx.Conn, data pgx.TraceBatchQueryData) {
	b.answered(data.SQL)
}

func (b *between) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData) {}

// A reader that asks in another order than the last number, the locks, the events, passes
// a number whose event appears in between. What it must not see happens exactly there.
func TestAReaderAsksForNumberLocksAndEventsInThisOrder(t *testing.T) {
	for name, test := range map[string]struct {
		statement string
		early     bool // the writer has its number before the reader begins
	}{
		"a writer commits after the events were read":    {"order by e.seq_id", true},
		"a writer begins after the locks were looked at": {"pg_locks", false},
	} {
		t.Run(name, func(t *testing.T) {
			rawURL := server.Database(t)
			pool := connect(t, rawURL)
			require.NoError(t, marten.Create(t.Context(), pool, "", marten.Creation{}))
			tx, err := pool.Begin(t.Context())
			require.NoError(t, err)
			defer tx.Rollback(context.Background()) //nolint:errcheck // after a commit it does nothing
			commit := sync.OnceFunc(func() { _ = tx.Commit(context.Background()) })
			var failed error
			write := func() { // the lower number in a transaction that goes on, the higher one for all to see
				numbers, err := take(t.Context(), tx, 1)
				if err == nil {
					err = insertEvents(t.Context(), tx, "order-1", numbers)
				}
				if err == nil {
					_, err = pool.Exec(t.Context(), callAppend, "order-2", 1)
				}
				failed = err
				time.AfterFunc(300*time.Millisecond, commit) // at the latest
			}
			trace := &between{statement: test.statement, do: write}
			if test.early {
				write()
				trace.do = commit
			}
			config, err := pgxpool.ParseConfig(rawURL)
			require.NoError(t, err)
			config.ConnConfig.Tracer = trace
			traced, err := pgxpool.NewWithConfig(t.Context(), config)
			require.NoError(t, err)
			t.Cleanup(traced.Close)
			store := openStore(t, traced, &marten.Options{Append: marten.Quick})
			if !test.early {
				_, err = pool.Exec(t.Context(), callAppend, "order-0", 1) // so that there is something to look at
				require.NoError(t, err)
			}
			var streams []string
			after := eventstore.Position{}
			for deadline := time.Now().Add(10 * time.Second); !slices.Contains(streams, "order-2") && time.Now().Before(deadline); {
				for e, err := range store.ReadAll(t.Context(), eventstore.ReadAllOptions{After: after}) {
					require.NoError(t, err)
					streams, after = append(streams, e.Stream), e.Position
				}
			}
			require.NoError(t, failed)
			want := []string{"order-1", "order-2"}
			if !test.early {
				want = slices.Insert(want, 0, "order-0")
			}
			require.Equal(t, want, streams)
		})
	}
}

// Numbers of one append may lie around another writer's, which nobody can see yet. Whoever
// sees the first of its events must be able to see the rest.
func TestAnAppendIsNotTornByANumberBetweenItsOwn(t *testing.T) {
	pool := newTables(t, marten.Creation{})
	store := openStore(t, pool, &marten.Options{Append: marten.Quick})
	around, err := pool.Begin(t.Context())
	require.NoError(t, err)
	defer around.Rollback(context.Background()) //nolint:errcheck // after a commit it does nothing
	amid, err := pool.Begin(t.Context())
	require.NoError(t, err)
	defer amid.Rollback(context.Background()) //nolint:errcheck // after a commit it does nothing
	var numbers [3][]int64
	for i, tx := range []pgx.Tx{around, amid, around} {
		numbers[i], err = take(t.Context(), tx, 1)
		require.NoError(t, err)
	}
	require.NoError(t, insertEvents(t.Context(), around, "order-1", slices.Concat(numbers[0], numbers[2])))
	require.NoError(t, around.Commit(t.Context()))
	within, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	for e, err := range store.ReadAll(within, eventstore.ReadAllOptions{}) {
		require.Error(t, err, "event %d of %q was delivered, and the rest of its append cannot be seen yet", e.Version, e.Stream)
	}
	require.NoError(t, insertEvents(t.Context(), amid, "order-2", numbers[1]))
	require.NoError(t, amid.Commit(t.Context()))
	require.Len(t, readAll(t, store, eventstore.ReadAllOptions{}), 3)
}

// A reader of the last event looks which it is, and then waits until the order is ready so
// far. By then an append around that event may be there, whose own last event is beyond it.
func TestAnAppendAroundTheLastEventIsNotTornForWhoReadsBackward(t *testing.T) {
	rawURL := server.Database(t)
	pool := connect(t, rawURL)
	require.NoError(t, marten.Create(t.Context(), pool, "", marten.Creation{}))
	around, err := pool.Begin(t.Context())
	require.NoError(t, err)
	defer around.Rollback(context.Background()) //nolint:errcheck // after a commit it does nothing
	first, err := take(t.Context(), around, 1)
	require.NoError(t, err)
	_, err = pool.Exec(t.Context(), callAppend, "order-2", 1)
	require.NoError(t, err)
	var failed error
	config, err := pgxpool.ParseConfig(rawURL)
	require.NoError(t, err)
	config.ConnConfig.Tracer = &between{statement: "coalesce(max(e.seq_id), 0)", do: func() {
		last, err := take(t.Context(), around, 1)
		if err == nil {
			err = insertEvents(t.Context(), around, "order-1", slices.Concat(first, last))
		}
		failed = errors.Join(err, around.Commit(t.Context()))
	}}
	traced, err := pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(traced.Close)
	store := openStore(t, traced, &marten.Options{Append: marten.Quick})
	var seen []uint64
	for e, err := range store.ReadAll(t.Context(), eventstore.ReadAllOptions{Backward: true, Filter: eventstore.Filter{StreamPrefixes: []string{"order-1"}}}) {
		require.NoError(t, err)
		seen = append(seen, e.Version)
	}
	require.NoError(t, failed)
	require.Equal(t, []uint64{2, 1}, seen, "all of the append, or nothing of it")
}
