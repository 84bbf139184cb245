package marten_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/marten"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/audit"
	"github.com/switchyard-dev/switchyard/internal/testservers"
	"github.com/switchyard-dev/switchyard/internal/testservers/tcpproxy"
)

// hotNet writes to hot streams as an application of Marten's does: it reads a version and
// appends with it, and buries the number that a collision burned. Its order of locks is
// the function's (Quick), or the stream's row first (Rich).
func hotNet(ctx context.Context, pool *pgxpool.Pool, stream string, rich bool) (won bool, err error) {
	tx, err := pool.Begin(ctx)
	if err != nil {
		return false, err
	}
	defer tx.Rollback(context.WithoutCancel(ctx)) //nolint:errcheck // after a commit it does nothing
	var version int64
	if err := tx.QueryRow(ctx, `select coalesce((select version from mt_streams where id = $1), 0)`, stream).Scan(&version); err != nil {
		return false, err
	}
	if rich {
		return hotRich(ctx, tx, stream, version)
	}
	if _, err := tx.Exec(ctx, `savepoint s`); err != nil {
		return false, err
	}
	_, err = tx.Exec(ctx, strings.Replace(callAppend, "expected_version => null", "expected_version => $3", 1), stream, 1, version)
	var server *pgconn.PgError
	if !errors.As(err, &server) {
		if err != nil {
			return false, err
		}
		return true, tx.Commit(ctx)
	}
	if server.Code == "23505" && server.TableName == "mt_events" {
		if _, err := tx.Exec(ctx, `rollback to s; insert into mt_streams (id, version) values ('mt_tombstone', 0) on conflict do nothing;
			insert into mt_events (seq_id, id, stream_id, version, data, type, timestamp, mt_dotnet_type)
			values (currval('mt_events_sequence'), gen_random_uuid(), 'mt_tombstone', currval('mt_events_sequence'), '{}', 'tombstone', '-infinity', '')`); err != nil {
			return false, err
		}
		return false, tx.Commit(ctx)
	}
	return false, nil
}

func hotRich(ctx context.Context, tx pgx.Tx, stream string, version int64) (won bool, err error) {
	text := `update mt_streams set version = version + 1 where id = $1 and version = $2`
	if version == 0 {
		text = `insert into mt_streams (id, version) select $1, $2::bigint + 1 on conflict do nothing`
	}
	tag, err := tx.Exec(ctx, text, stream, version)
	if err != nil || tag.RowsAffected() == 0 {
		return false, nil //nolint:nilerr // somebody was faster
	}
	if _, err := tx.Exec(ctx, `insert into mt_events (seq_id, id, stream_id, version, data, type, timestamp, mt_dotnet_type)
		values (nextval('mt_events_sequence'), gen_random_uuid(), $1, $2::bigint + 1, '{}', 'happened', now(), '')`, stream, version); err != nil {
		return false, err
	}
	return true, tx.Commit(ctx)
}

func TestHotStreamsAreSharedWithNetInBothOrdersOfLocks(t *testing.T) {
	for _, test := range []struct {
		name string
		mode marten.AppendMode
		rich bool
		wins int64 // of each side, at least
	}{
		{"both Quick", marten.Quick, false, 200},
		{"both Rich", marten.Rich, true, 200},
		// The wrong order is slow, for they wait for each other, and never wrong.
		{"events first in a Rich store", marten.Quick, true, 20},
	} {
		t.Run(test.name, func(t *testing.T) {
			rawURL := server.Database(t)
			pool := connect(t, rawURL)
			require.NoError(t, marten.Create(t.Context(), pool, "", marten.Creation{}))
			var ours, theirs, conflicts atomic.Int64
			var told acknowledged
			ctx, stop := context.WithTimeout(t.Context(), 2*time.Minute)
			defer stop()
			enough := func() bool { return ctx.Err() != nil || ours.Load() >= test.wins && theirs.Load() >= test.wins }
			var working sync.WaitGroup
			for i := range 4 {
				working.Go(func() {
					for n := 0; !enough(); n++ {
						if won, _ := hotNet(ctx, pool, fmt.Sprintf("hot-%d", (n+i)%4), test.rich); won {
							theirs.Add(1)
						}
					}
				})
			}
			for i := range 2 { // two processes of ours
				store := openStore(t, connect(t, rawURL), &marten.Options{Append: test.mode})
				for j := range 2 {
					working.Go(func() {
						for n := 0; !enough(); n++ {
							stream := fmt.Sprintf("hot-%d", (n+j)%4)
							expected := anyVersion
							if (i+n)%2 == 0 {
								version, err := store.StreamVersion(ctx, stream)
								if err != nil {
									continue
								}
								expected = eventstore.Exactly(version)
							}
							result, err := store.Append(ctx, stream, expected, event("happened", `{}`), event("happened", `{}`))
							switch {
							case err == nil:
								ours.Add(1)
								told.add(result.Events)
							case errors.Is(err, eventstore.ErrConflict):
								conflicts.Add(1)
							case ctx.Err() == nil:
								t.Errorf("append: %v", err)
								return
							}
						}
					})
				}
			}
			working.Wait()
			require.NoError(t, ctx.Err(), "ours %d, theirs %d", ours.Load(), theirs.Load())
			t.Logf("ours %d, theirs %d, our conflicts %d", ours.Load(), theirs.Load(), conflicts.Load())
			told.requireStored(t, pool)
			err := sound(t.Context(), pool)
			if test.mode == marten.Quick && test.rich { // a deadlock burns the numbers of .NET that it ends; ours get tombstones
				for line := range strings.Lines(fmt.Sprint(err)) {
					require.Regexp(t, `burned|<nil>`, line)
				}
				return
			}
			require.NoError(t, err)
		})
	}
}

// acknowledged is what writers were told of their events.
type acknowledged struct {
	mu     sync.Mutex
	events []eventstore.RecordedEvent
}

func (a *acknowledged) add(events []eventstore.RecordedEvent) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.events = append(a.events, events...)
}

// requireStored holds the versions and positions that were told against those stored. They
// differ where somebody else's append was let in between the read of a version and the write.
func (a *acknowledged) requireStored(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	stored := make(map[uuid.UUID]string)
	rows, err := pool.Query(t.Context(), `select id, stream_id || ' ' || version || ' ' || seq_id from mt_events where type <> 'tombstone'`)
	require.NoError(t, err)
	var id uuid.UUID
	var place string
	_, err = pgx.ForEachRow(rows, []any{&id, &place}, func() error { stored[id] = place; return nil })
	require.NoError(t, err)
	for _, e := range a.events {
		number, _ := e.Position.Words()
		require.Equal(t, fmt.Sprintf("%s %d %d", e.Stream, e.Version, number), stored[e.ID])
	}
}

// A writer that leaves out the version it has read stores a repetition twice: the
// function's own check is what makes one of them meet the other.
func TestWithoutTheExpectedVersionARepetitionIsStoredTwice(t *testing.T) {
	pool := newTables(t, marten.Creation{})
	id := uuid.New()
	once := func(expected string) {
		// As if the look for the ID had been before the other attempt's commit.
		_, _ = pool.Exec(t.Context(), `select mt_quick_append_events(stream => 'order-1', stream_type => null, tenantid => '*DEFAULT*', event_ids => array[$1::uuid], event_types => array['happened'],
			dotnet_types => array[''], bodies => array['{}'::jsonb], bdatas => null, causation_ids => null, correlation_ids => null, headers => null, user_names => null, expected_version => `+expected+`)`, id)
	}
	once("0")
	once("0")
	require.NoError(t, sound(t.Context(), pool))
	once("null")
	require.ErrorContains(t, sound(t.Context(), pool), "twice")
}

// faults is writers and subscribers of ours at work while a test breaks things.
type faults struct {
	t       *testing.T
	book    audit.Book
	stop    context.CancelFunc
	working sync.WaitGroup
}

func startFaults(t *testing.T, rawURL string, opts marten.Options) *faults {
	ctx, stop := context.WithCancel(context.Background())
	f := &faults{t: t, stop: stop}
	t.Cleanup(func() { stop(); f.working.Wait() })
	opts.Poll = 50 * time.Millisecond
	for i := range 2 {
		backend, err := marten.Open(t.Context(), connect(t, rawURL), &opts)
		require.NoError(t, err)
		settle := &eventstore.Options{RetryFor: time.Minute}
		if i == 1 {
			settle.RetryFor = -1
		}
		store, err := eventstore.New(backend, settle)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, store.Close()) })
		for j := range 3 {
			f.working.Go(func() { f.write(ctx, store, rand.New(rand.NewPCG(7, uint64(10*i+j)))) })
		}
		if i == 0 {
			f.working.Go(func() { f.book.Follow(ctx, store, "subscriber") })
		}
	}
	return f
}

func (f *faults) write(ctx context.Context, store *eventstore.Store, chance *rand.Rand) {
	for n := 0; ctx.Err() == nil; n++ {
		stream := fmt.Sprintf("shared-%d", chance.IntN(4))
		if chance.IntN(2) == 0 {
			stream = "own-" + uuid.NewString()
		}
		events := []eventstore.Event{event("happened", fmt.Sprintf(`{"n":%d}`, n))}
		if chance.IntN(3) == 0 {
			events = append(events, event("happened", "{}"), event("happened", "{}"))
		}
		appending, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		_, err := f.book.Append(appending, store, stream, anyVersion, events...)
		cancel()
		if errors.Is(err, eventstore.ErrUnavailable) || errors.Is(err, eventstore.ErrUnknownOutcome) {
			select {
			case <-ctx.Done():
			case <-time.After(20 * time.Millisecond):
			}
		} else if err != nil {
			f.t.Errorf("append: %v", err)
			return
		}
	}
}

func (f *faults) await(more int) {
	f.t.Helper()
	before := f.book.Totals().Acknowledged
	require.Eventually(f.t, func() bool { return f.book.Totals().Acknowledged >= before+more }, time.Minute, time.Millisecond)
}

func (f *faults) audit(store *eventstore.Store) {
	f.t.Helper()
	f.await(20)
	info, err := store.Info(f.t.Context())
	require.NoError(f.t, err)
	require.Eventually(f.t, func() bool { return !f.book.Last("subscriber").Before(info.Head.Position) }, time.Minute, 5*time.Millisecond, "the subscriber does not arrive")
	f.stop()
	f.working.Wait()
	found, err := f.book.Audit(store.ReadAll(f.t.Context(), eventstore.ReadAllOptions{}))
	require.NoError(f.t, err)
	require.True(f.t, found.Clean(), "%s", found)
	f.t.Logf("%+v", f.book.Totals())
}

func TestNothingIsLostOrDoubledWhenSessionsAreKilledAtEveryPoint(t *testing.T) {
	for _, mode := range []marten.AppendMode{marten.Quick, marten.Rich} {
		t.Run(string(mode), func(t *testing.T) {
			rawURL := server.Database(t)
			pool := connect(t, rawURL)
			require.NoError(t, marten.Create(t.Context(), pool, "", marten.Creation{}))
			opts := marten.Options{Append: mode}
			if mode == marten.Rich {
				opts.Grace = 200 * time.Millisecond
			}
			f := startFaults(t, rawURL, opts)
			killed := 0
			for n := range 60 {
				f.await(5)
				// One who is in the middle of a transaction, at whatever statement it is.
				tag, err := pool.Exec(t.Context(), `select pg_terminate_backend(pid) from pg_stat_activity
					where datname = current_database() and pid <> pg_backend_pid() and xact_start is not null and ($1 or backend_xid is not null) order by random() limit 1`, n%2 == 0)
				require.NoError(t, err)
				killed += int(tag.RowsAffected())
			}
			require.Greater(t, killed, 10)
			f.audit(openStore(t, pool, &opts))
		})
	}
}

func TestNothingIsLostOrDoubledWhenTheServerIsKilled(t *testing.T) {
	server := testservers.PrivatePostgres(t, testservers.PostgresOptions{})
	pool := connect(t, server.URL())
	require.NoError(t, marten.Create(t.Context(), pool, "", marten.Creation{}))
	f := startFaults(t, server.URL(), marten.Options{Append: marten.Quick})
	for range 5 {
		f.await(20)
		require.NoError(t, server.Kill())
		require.NoError(t, server.Start(t.Context()))
	}
	f.audit(openStore(t, connect(t, server.URL()), &marten.Options{Append: marten.Quick}))
}

func TestACommitWhoseAnswerIsLostIsSettledByTheStore(t *testing.T) {
	for name, verdict := range map[string]tcpproxy.Verdict{"reset": {Cut: tcpproxy.Reset}, "closed": {Cut: tcpproxy.Close}} {
		t.Run(name, func(t *testing.T) {
			proxy, through := tcpproxy.ForURL(t, server.Database(t))
			pool := connect(t, through)
			require.NoError(t, marten.Create(t.Context(), pool, "", marten.Creation{}))
			backend, err := marten.Open(t.Context(), pool, &marten.Options{Append: marten.Quick})
			require.NoError(t, err)
			store, err := eventstore.New(backend, nil)
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, store.Close()) })
			// A statement that starts a stream is a transaction of its own.
			for n, committed := range []string{"SELECT 1\x00", "COMMIT\x00", "COMMIT\x00"} {
				proxy.SetRule(once(tcpproxy.FromServer, committed, verdict))
				e := event("happened", `{}`)
				result, err := store.Append(t.Context(), "order-1", eventstore.Exactly(uint64(n)), e)
				require.NoError(t, err)
				require.EqualValues(t, n+1, result.Version)
				require.Equal(t, n+1, proxy.Cuts(), "the answer was lost")
			}
			// And one that never reached the server.
			proxy.SetRule(once(tcpproxy.FromClient, "never-arrives", verdict))
			result, err := store.Append(t.Context(), "order-1", eventstore.Exactly(3), event("never-arrives", `{}`))
			require.NoError(t, err)
			require.EqualValues(t, 4, result.Version)
			require.Equal(t, 4, proxy.Cuts())
		})
	}
}

// lateConn loses its connection, as it looks from here, when it is asked to send a text,
// and sends that later.
type lateConn struct {
	net.Conn
	text string
	held chan []byte
	lost atomic.Bool
}

func (c *lateConn) Write(p []byte) (int, error) {
	switch {
	case c.lost.Load():
		return 0, io.ErrClosedPipe
	case bytes.Contains(p, []byte(c.text)):
		c.lost.Store(true)
		c.held <- bytes.Clone(p)
		return len(p), nil
	}
	return c.Conn.Write(p)
}

func (c *lateConn) Read(p []byte) (int, error) {
	if c.lost.Load() {
		return 0, io.ErrUnexpectedEOF
	}
	return c.Conn.Read(p)
}

func (c *lateConn) Close() error {
	if c.lost.Load() {
		return nil
	}
	return c.Conn.Close()
}

// Whoever was told that nothing was written must not find it written later.
func TestAnAppendThatIsStillOnItsWayIsNotRefused(t *testing.T) {
	url := server.Database(t)
	require.NoError(t, marten.Create(t.Context(), connect(t, url), "", marten.Creation{}))
	config, err := pgxpool.ParseConfig(url)
	require.NoError(t, err)
	config.MaxConns = 1
	late := make(chan *lateConn, 1)
	dial := config.ConnConfig.DialFunc
	config.ConnConfig.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		wrapped := &lateConn{Conn: conn, text: "late-event", held: make(chan []byte, 1)}
		select {
		case late <- wrapped:
			return wrapped, err
		default:
			return conn, err
		}
	}
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	opts := &marten.Options{Append: marten.Quick}
	backend, err := marten.Open(t.Context(), pool, opts)
	require.NoError(t, err)
	store, err := eventstore.New(backend, &eventstore.Options{RetryFor: time.Second})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	_, err = store.Append(t.Context(), "order-1", eventstore.NoStream(), event("happened", "{}"))
	require.NoError(t, err)

	_, err = store.Append(t.Context(), "order-1", eventstore.Exactly(2), event("late-event", "{}"))
	var unknown *eventstore.UnknownOutcomeError
	require.ErrorAs(t, err, &unknown)
	require.NotErrorIs(t, err, eventstore.ErrConflict)

	_, err = store.Append(t.Context(), "order-1", eventstore.Exactly(1), event("happened", "{}"))
	require.NoError(t, err)
	conn := <-late
	_, err = conn.Conn.Write(<-conn.held)
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		version, err := store.StreamVersion(t.Context(), "order-1")
		require.NoError(t, err)
		return version == 3
	}, time.Minute, 10*time.Millisecond, "it was stored in the end")
	require.NoError(t, conn.Conn.Close())
}

// once makes rules of which one applies, and once.
func once(from tcpproxy.Side, text string, verdict tcpproxy.Verdict) func() tcpproxy.Rule {
	var done atomic.Bool
	return func() tcpproxy.Rule {
		rule := tcpproxy.On(from, tcpproxy.Contains(text), verdict)()
		return func(side tcpproxy.Side, chunk []byte) tcpproxy.Verdict {
			v := rule(side, chunk)
			if v != tcpproxy.Pass() && done.Swap(true) {
				return tcpproxy.Pass()
			}
			return v
		}
	}
}

func TestTheLocalTimeZoneOfARoleShiftsNothing(t *testing.T) {
	for _, creation := range []marten.Creation{{}, {ServerTimestamps: true}} {
		rawURL := server.Database(t)
		pool := connect(t, rawURL)
		require.NoError(t, marten.Create(t.Context(), pool, "", creation))
		_, err := pool.Exec(t.Context(), `do $$ begin execute format('alter database %I set timezone = %L', current_database(), 'Europe/Berlin'); end $$`)
		require.NoError(t, err)
		fresh := connect(t, rawURL)
		for _, mode := range []marten.AppendMode{marten.Quick, marten.Rich} {
			store := openStore(t, fresh, &marten.Options{Append: mode})
			for name, expected := range map[string]eventstore.ExpectedVersion{"order-": anyVersion, "new-": eventstore.NoStream()} { // which go different ways
				result, err := store.Append(t.Context(), name+string(mode), expected, event("happened", `{}`))
				require.NoError(t, err)
				require.WithinDuration(t, time.Now(), result.Events[0].RecordedAt, time.Minute)
			}
		}
		for _, stored := range readAll(t, openStore(t, fresh, &marten.Options{Append: marten.Quick}), eventstore.ReadAllOptions{}) {
			require.WithinDuration(t, time.Now(), stored.RecordedAt, time.Minute)
		}
		require.NoError(t, sound(t.Context(), pool))
		// The mutant: the function, as the session's own time zone has it.
		_, err = fresh.Exec(t.Context(), strings.Replace(callAppend, "user_names => null", map[bool]string{false: "user_names => null", true: "user_names => null, timestamps => array[now() at time zone 'utc']::timestamptz[]"}[creation.ServerTimestamps], 1), "mutant-1", 1)
		require.NoError(t, err)
		require.ErrorContains(t, sound(t.Context(), pool), "another hour")
	}
}

func TestAMigrationUnderAnOpenStoreIsNoticed(t *testing.T) {
	pool := newTables(t, marten.Creation{})
	store := openStore(t, pool, &marten.Options{Append: marten.Quick})
	appendOne := func() error {
		_, err := store.Append(t.Context(), "order-1", anyVersion, event("happened", `{}`))
		return err
	}
	require.NoError(t, appendOne())
	require.Len(t, readAll(t, store, eventstore.ReadAllOptions{}), 1)
	for _, migration := range []string{
		`alter table mt_events add column of_a_later_version text`,
		`alter table mt_streams add column of_a_later_version bigint not null default 0`,
		// QuickWithServerTimestamps was chosen: another function.
		`drop function mt_quick_append_events; ` + functionWithTimestamps(),
	} {
		_, err := pool.Exec(t.Context(), migration)
		require.NoError(t, err)
		require.NoError(t, appendOne())
	}
	require.Len(t, readAll(t, store, eventstore.ReadAllOptions{}), 4)
	require.NoError(t, sound(t.Context(), pool))

	_, err := pool.Exec(t.Context(), `alter table mt_events rename column data to payload`)
	require.NoError(t, err)
	err = appendOne()
	require.Error(t, err)
	for _, sentinel := range []error{eventstore.ErrUnavailable, eventstore.ErrUnknownOutcome, eventstore.ErrConflict} {
		require.NotErrorIs(t, err, sentinel)
	}
	for _, err = range store.ReadAll(t.Context(), eventstore.ReadAllOptions{}) {
		break
	}
	require.ErrorContains(t, err, "migrated")
	require.NotErrorIs(t, err, eventstore.ErrUnavailable)
}

// A connection that is lost while a statement is prepared has sent nothing of it, and the
// outcome is known.
func TestAnAppendThatIsLostBeforeItIsSentIsDefinite(t *testing.T) {
	for _, mode := range []string{"cache_statement", "cache_describe", "describe_exec"} {
		t.Run(mode, func(t *testing.T) {
			url := server.Database(t)
			require.NoError(t, marten.Create(t.Context(), connect(t, url), "", marten.Creation{}))
			proxy, through := tcpproxy.ForURL(t, url)
			backend, err := marten.Open(t.Context(), connect(t, through+"&default_query_exec_mode="+mode), &marten.Options{Append: marten.Quick})
			require.NoError(t, err)
			store, err := eventstore.New(backend, &eventstore.Options{RetryFor: -1})
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, store.Close()) })
			for name, way := range map[string]struct {
				prepared string // a part of a statement
				parts    []eventstore.StreamAppend
			}{
				"starts a stream": {"pg_advisory_xact_lock_shared", []eventstore.StreamAppend{{Stream: "new-1", Expected: eventstore.NoStream(), Events: []eventstore.Event{event("happened", `{}`)}}}},
				"one event":       {"before_events", []eventstore.StreamAppend{{Stream: "order-1", Expected: anyVersion, Events: []eventstore.Event{event("happened", `{}`)}}}},
				"several":         {"switchyard.new", []eventstore.StreamAppend{{Stream: "order-1", Expected: anyVersion, Events: []eventstore.Event{event("happened", `{}`), event("happened", `{}`)}}}},
				"several streams": {"switchyard.numbers", []eventstore.StreamAppend{{Stream: "order-1", Expected: anyVersion}, {Stream: "order-2", Expected: anyVersion, Events: []eventstore.Event{event("happened", `{}`)}}}},
			} {
				before := proxy.Cuts()
				proxy.SetRule(once(tcpproxy.FromClient, way.prepared, tcpproxy.Verdict{Cut: tcpproxy.Reset}))
				_, err := store.AppendStreams(t.Context(), way.parts...)
				require.Equal(t, before+1, proxy.Cuts(), name)
				require.ErrorIs(t, err, eventstore.ErrUnavailable, name)
				require.NotErrorIs(t, err, eventstore.ErrUnknownOutcome, name)
			}
			require.Empty(t, readAll(t, store, eventstore.ReadAllOptions{}))
		})
	}
}
