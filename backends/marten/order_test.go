package marten_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
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
	"github.com/switchyard-dev/switchyard/internal/testservers"
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

// gaps is a reader's connections, as they look between any two statements that it sends: one
// is held back there, also amid a batch, until the server has carried out what came before
// and something was done. Its statements are counted from start.
type gaps struct {
	admin *pgxpool.Pool
	began bool
	sent  int
	do    map[int]func() error // when so many statements have been carried out
	err   error
}

type gappedConn struct {
	net.Conn
	*gaps
}

// Write splits what it is given, whole messages, before each that begins a statement.
func (c gappedConn) Write(p []byte) (int, error) {
	written, before := 0, ""
	for end := 0; c.began && end < len(p); end += 1 + int(binary.BigEndian.Uint32(p[end+1:])) {
		if p[end] != 'P' { // Parse: its name, which is empty, and its text
			continue
		}
		if do := c.do[c.sent]; do != nil && c.err == nil {
			if _, err := c.Conn.Write(p[written:end]); err != nil {
				return written, err
			}
			written = end
			if c.err = c.carriedOut(before); c.err == nil {
				c.err = do()
			}
		}
		text, _, _ := bytes.Cut(p[end+6:], []byte{0})
		before = string(text)
		c.sent++
	}
	n, err := c.Conn.Write(p[written:])
	return written + n, err
}

// carriedOut waits until the server has nothing more to do after a statement.
func (c gappedConn) carriedOut(sql string) error {
	for deadline := time.Now().Add(10 * time.Second); sql != ""; {
		var waits bool
		err := c.admin.QueryRow(context.Background(), `select exists (select from pg_stat_activity where datname = current_database() and wait_event = 'ClientRead' and state = 'active' and left(query, 900) = left($1, 900))`, sql).Scan(&waits)
		if err != nil || waits {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the server has not carried out %s", sql)
		}
	}
	return nil
}

// open returns a handle whose statements are held back.
func (g *gaps) open(t *testing.T, rawURL string) (store *eventstore.Store, leave func()) {
	config, err := pgxpool.ParseConfig(rawURL)
	require.NoError(t, err)
	config.MaxConns = 1
	config.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec // each statement is sent with its text
	dial := config.ConnConfig.DialFunc
	config.ConnConfig.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		return gappedConn{conn, g}, err
	}
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	backend, err := marten.Open(t.Context(), pool, &marten.Options{Append: marten.Quick})
	require.NoError(t, err)
	store, err = eventstore.New(backend, nil)
	require.NoError(t, err)
	return store, func() {
		require.NoError(t, store.Close())
		pool.Close()
	}
}

// A reader asks for the last number, then for the locks, then for the events: in another
// order it passes a number whose event appears in between. Whatever it must not pass is made
// to happen between each two of its statements: a writer takes the lower number and commits
// after one who took the higher one, or commits there.
func TestAReaderPassesNoNumberWhateverHappensBetweenItsQuestions(t *testing.T) {
	const mostGaps = 16
	for name, opts := range map[string]eventstore.ReadAllOptions{
		"forward":  {},
		"filtered": {Filter: eventstore.Filter{StreamPrefixes: []string{"order-"}}},
		"backward": {Backward: true},
	} {
		for _, early := range []bool{true, false} { // the writer has its number before the reader begins
			t.Run(fmt.Sprintf("%s, early %t", name, early), func(t *testing.T) {
				rawURL := server.Database(t)
				pool := connect(t, rawURL)
				require.NoError(t, marten.Create(t.Context(), pool, "", marten.Creation{}))
				_, err := pool.Exec(t.Context(), callAppend, "order-0", 1) // so that there is something to look at
				require.NoError(t, err)
				happened := 0
				for n := 0; happened == n && n < mostGaps; n++ {
					lower, higher := fmt.Sprintf("order-%d-lower", n), fmt.Sprintf("order-%d-higher", n)
					tx, err := pool.Begin(t.Context())
					require.NoError(t, err)
					defer tx.Rollback(context.Background()) //nolint:errcheck // after a commit it does nothing
					write := func() error {
						numbers, err := take(t.Context(), tx, 1)
						if err != nil {
							return err
						}
						if err := insertEvents(t.Context(), tx, lower, numbers); err != nil {
							return err
						}
						_, err = pool.Exec(t.Context(), callAppend, higher, 1)
						return err
					}
					commit := func() error { happened++; return tx.Commit(t.Context()) }
					reader := &gaps{admin: pool, do: map[int]func() error{n: write, n + 40: commit}} // it waits, which is right
					if early {
						require.NoError(t, write())
						reader.do = map[int]func() error{n: commit}
					}
					store, leave := reader.open(t, rawURL)
					reader.began = true
					var streams []string
					for e, err := range store.ReadAll(t.Context(), opts) {
						require.NoError(t, err)
						streams = append(streams, e.Stream)
					}
					reader.began = false
					leave()
					require.NoError(t, reader.err)
					if opts.Backward {
						slices.Reverse(streams)
					}
					if i := slices.Index(streams, higher); i >= 0 {
						require.Equal(t, lower, streams[i-1], "after %d statements", n)
					}
					if happened == n && reader.sent > n { // it did not wait
						require.NoError(t, commit())
					}
				}
				require.GreaterOrEqual(t, happened, 6)
				require.True(t, early || happened < mostGaps, "all of its questions, unless it waits")
			})
		}
	}
}

// A server that crashes forgets numbers that it had given out and that nothing committed
// needed, and gives them again. A handle that was there before has passed them, for they were
// lost; it must not pass the events that they get then.
func TestNumbersThatACrashGivesAgainAreNotPassed(t *testing.T) {
	for name, after := range map[string]int{"fewer than before": 1, "more than before": 200} {
		t.Run(name, func(t *testing.T) {
			server := testservers.PrivatePostgres(t, testservers.PostgresOptions{Settings: map[string]string{"wal_writer_delay": "10s", "autovacuum": "off"}})
			pool := connect(t, server.URL())
			require.NoError(t, marten.Create(t.Context(), pool, "", marten.Creation{}))
			store := openStore(t, pool, &marten.Options{Append: marten.Quick})
			_, err := store.Append(t.Context(), "order-1", anyVersion, event("happened", `{}`))
			require.NoError(t, err)
			var slow pgx.Tx
			var numbers, again []int64
			for attempt := 0; attempt == 0 || again[0] > numbers[99] && attempt < 5; attempt++ { // the server may have kept them by chance
				lost, err := pool.Begin(t.Context())
				require.NoError(t, err)
				numbers, err = take(t.Context(), lost, 100)
				require.NoError(t, err)
				require.NoError(t, lost.Rollback(t.Context()))
				require.Len(t, readAll(t, store, eventstore.ReadAllOptions{}), 1)
				require.NoError(t, server.Kill())
				require.NoError(t, server.Start(t.Context()))
				pool.Reset()
				slow, err = pool.Begin(t.Context())
				require.NoError(t, err)
				defer slow.Rollback(context.Background()) //nolint:errcheck // after a commit it does nothing
				again, err = take(t.Context(), slow, 1)
				require.NoError(t, err)
			}
			require.Contains(t, numbers, again[0], "or nothing is proved")
			_, err = pool.Exec(t.Context(), callAppend, "order-2", after)
			require.NoError(t, err)
			within, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			for e, err := range store.ReadAll(within, eventstore.ReadAllOptions{}) {
				require.True(t, err != nil || e.Stream == "order-1", "%s was delivered, and a lower number is not decided", e.Place())
			}
			require.NoError(t, insertEvents(t.Context(), slow, "order-3", again))
			require.NoError(t, slow.Commit(t.Context()))
			require.Len(t, readAll(t, store, eventstore.ReadAllOptions{}), 2+after)
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

// Where each tenant has a partition it has a sequence too, and an order of its own: readers
// wait for its writers, and for nobody else's.
func TestTheOrderOfAPartitionIsItsTenantsOwn(t *testing.T) {
	for held, waits := range map[string]bool{"acme": true, "globex": false} {
		t.Run(held, func(t *testing.T) {
			pool := database(t)
			const mode = "string-conjoined-quick-tenantpart-meta"
			facts := readFacts(t, mode)
			makeTables(t, pool, "public", facts)
			load(t, pool, mode, facts)
			store := openStore(t, pool, &marten.Options{Tenant: "acme", Append: marten.Quick})
			before := len(readAll(t, store, eventstore.ReadAllOptions{}))
			slow, err := pool.Begin(t.Context())
			require.NoError(t, err)
			defer slow.Rollback(context.Background()) //nolint:errcheck // after a commit it does nothing
			_, err = slow.Exec(t.Context(), strings.Replace(callAppend, "'*DEFAULT*'", "'"+held+"'", 1), "slow-1", 1)
			require.NoError(t, err)
			_, err = store.Append(t.Context(), "fast-1", anyVersion, event("happened", `{}`))
			require.NoError(t, err)
			if waits {
				within, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
				defer cancel()
				for e, err := range store.ReadAll(within, eventstore.ReadAllOptions{}) {
					require.True(t, err != nil || e.Stream != "fast-1", "it was delivered, and a lower number is not decided")
				}
				require.NoError(t, slow.Commit(t.Context()))
				require.Len(t, readAll(t, store, eventstore.ReadAllOptions{}), before+2)
				return
			}
			require.Len(t, readAll(t, store, eventstore.ReadAllOptions{}), before+1)
		})
	}
}
