package marten_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/marten"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// waits returns a question: whether a session in the pool's database waits for a lock of a kind.
func waits(ctx context.Context, pool *pgxpool.Pool, kind string) func() bool {
	return func() bool {
		var n int
		err := pool.QueryRow(ctx, `select count(*) from pg_locks l join pg_stat_activity a using (pid) where not l.granted and l.locktype = $1 and a.datname = current_database()`, kind).Scan(&n)
		return err == nil && n > 0
	}
}

// An ID that .NET is just storing elsewhere collides at any event of an append, not at its
// first only, and each number that was taken until then needs a tombstone.
func TestNoNumberIsBurnedWhereAnIDIsTakenMeanwhile(t *testing.T) {
	for _, mode := range []marten.AppendMode{marten.Quick, marten.Rich} {
		t.Run(string(mode), func(t *testing.T) {
			pool := newTables(t, marten.Creation{})
			_, err := pool.Exec(t.Context(), `create unique index idx_mt_events_event_id on mt_events (id)`)
			require.NoError(t, err)
			store := openStore(t, pool, &marten.Options{Append: mode, Grace: map[marten.AppendMode]time.Duration{marten.Rich: 50 * time.Millisecond}[mode]})
			net, err := pool.Begin(t.Context())
			require.NoError(t, err)
			defer net.Rollback(context.Background()) //nolint:errcheck // after a commit it does nothing
			_, err = net.Exec(t.Context(), callAppend, "order-1", 1)
			require.NoError(t, err)
			var taken uuid.UUID
			require.NoError(t, net.QueryRow(t.Context(), `select id from mt_events where stream_id = 'order-1'`).Scan(&taken))
			second := event("happened", `{}`)
			second.ID = taken
			refused := make(chan error, 1)
			go func() {
				_, err := store.Append(t.Context(), "order-2", anyVersion, event("happened", `{}`), second)
				refused <- err
			}()
			require.Eventually(t, waits(t.Context(), pool, "transactionid"), 10*time.Second, 5*time.Millisecond, "the append meets the ID")
			require.NoError(t, net.Commit(t.Context()))
			require.ErrorIs(t, <-refused, eventstore.ErrEventIDReused)
			require.NoError(t, sound(t.Context(), pool))
		})
	}
}

// The lock among our writers is a store's own: a writer that holds that of one store keeps
// nobody from another one in the same database, and everybody from the first.
func TestStoresOfOneDatabaseDoNotWaitForEachOther(t *testing.T) {
	pool := database(t)
	for _, schema := range []string{"one", "other"} {
		require.NoError(t, marten.Create(t.Context(), pool, schema, marten.Creation{}))
	}
	other := openStore(t, pool, &marten.Options{Schema: "other", Append: marten.Quick})
	holder, err := pool.Begin(t.Context())
	require.NoError(t, err)
	defer holder.Rollback(context.Background()) //nolint:errcheck // after a commit it does nothing
	require.NoError(t, marten.Lock(t.Context(), holder, "one"))
	waiting := make(chan error, 2)
	for stream, expected := range map[string]eventstore.ExpectedVersion{"order-1": anyVersion, "order-2": eventstore.NoStream()} { // which go different ways
		handle := openStore(t, pool, &marten.Options{Schema: "one", Append: marten.Quick})
		go func() {
			_, err := handle.Append(t.Context(), stream, expected, event("happened", `{}`))
			waiting <- err
		}()
	}
	require.Eventually(t, func() bool {
		var waits int
		err := pool.QueryRow(t.Context(), `select count(*) from pg_locks where not granted and locktype = 'advisory'
			and database = (select oid from pg_database where datname = current_database())`).Scan(&waits)
		return err == nil && waits == 2
	}, 10*time.Second, 5*time.Millisecond)
	_, err = other.Append(t.Context(), "order-1", anyVersion, event("happened", `{}`))
	require.NoError(t, err)
	select {
	case err := <-waiting:
		t.Fatalf("the append did not wait: %v", err)
	default:
	}
	require.NoError(t, holder.Commit(t.Context()))
	require.NoError(t, <-waiting)
	require.NoError(t, <-waiting)
}

func TestWhatReadsDoNotShowIsCounted(t *testing.T) {
	pool := database(t)
	const mode = "guid-single-quick-archivepart-meta"
	facts := readFacts(t, mode)
	makeTables(t, pool, "public", facts)
	load(t, pool, mode, facts)
	backend, err := marten.Open(t.Context(), pool, &marten.Options{Append: marten.Quick})
	require.NoError(t, err)
	store, err := eventstore.New(backend, nil)
	require.NoError(t, err)
	defer store.Close()
	var stored, archived int
	require.NoError(t, pool.QueryRow(t.Context(), `select (select count(*) from mt_events where type <> 'tombstone'), (select count(*) from mt_streams where is_archived)`).Scan(&stored, &archived))
	aside, err := backend.Aside(t.Context())
	require.NoError(t, err)
	require.Equal(t, archived, aside.ArchivedStreams)
	require.Positive(t, aside.LeftOutEvents, "one was started again")
	require.Equal(t, stored, len(readAll(t, store, eventstore.ReadAllOptions{}))+aside.LeftOutEvents)
}

// lineWriter is told each line of a log.
type lineWriter func(line string)

func (w lineWriter) Write(p []byte) (int, error) {
	w(string(p))
	return len(p), nil
}

// Whoever holds readers up is told of in the log while it lasts, with its process and age.
func TestAWriterThatStallsIsLoggedBeforeReadersFail(t *testing.T) {
	pool := newTables(t, marten.Creation{})
	said := make(chan string, 10)
	logger := slog.New(slog.NewTextHandler(lineWriter(func(line string) { said <- line }), nil))
	backend, err := marten.Open(t.Context(), pool, &marten.Options{Append: marten.Quick, Logger: logger})
	require.NoError(t, err)
	store, err := eventstore.New(backend, nil)
	require.NoError(t, err)
	defer store.Close()
	tx, err := pool.Begin(t.Context())
	require.NoError(t, err)
	_, err = take(t.Context(), tx, 1)
	require.NoError(t, err)
	var pid int
	require.NoError(t, tx.QueryRow(t.Context(), `select pg_backend_pid()`).Scan(&pid))
	_, err = store.Append(t.Context(), "order-1", anyVersion, event("happened", `{}`))
	require.NoError(t, err)
	released := make(chan string, 1)
	go func() {
		line := ""
		select {
		case line = <-said:
		case <-time.After(time.Minute): // the test failed long ago
		}
		_ = tx.Rollback(context.Background())
		released <- line
	}()
	require.Len(t, readAll(t, store, eventstore.ReadAllOptions{}), 1, "they wait, and do not fail so soon")
	line := <-released
	require.Contains(t, line, "a writer holds readers up")
	require.Contains(t, line, fmt.Sprintf("process %d ", pid))
	require.Regexp(t, `in a transaction that is 00:00:\d\d\.\d+ old`, line)
	require.Empty(t, said, "once")
}

// Marten's compaction puts an event of its own, with a new ID, at a stream's last place. A
// checkpoint there goes on; any other event there is another store's.
func TestACheckpointAtACompactedPlaceGoesOn(t *testing.T) {
	for kind, foreign := range map[string]bool{"Compacted<Order>": false, "happened": true} {
		t.Run(kind, func(t *testing.T) {
			pool := newTables(t, marten.Creation{})
			store := openStore(t, pool, &marten.Options{Append: marten.Quick, Poll: 20 * time.Millisecond})
			handled := 0
			handle := eventstore.Subscription{Name: "billing", UntilCaughtUp: true, Handler: func(context.Context, eventstore.RecordedEvent) error {
				handled++
				return nil
			}}
			for range 3 {
				_, err := store.Append(t.Context(), "order-1", anyVersion, event("happened", `{}`))
				require.NoError(t, err)
			}
			require.NoError(t, store.Run(t.Context(), handle))
			require.Equal(t, 3, handled)
			_, err := pool.Exec(t.Context(), `delete from mt_events where version < 3`)
			require.NoError(t, err)
			_, err = pool.Exec(t.Context(), `update mt_events set id = gen_random_uuid(), type = $1, headers = '{}'`, kind)
			require.NoError(t, err)
			_, err = store.Append(t.Context(), "order-1", eventstore.Exactly(3), event("happened", `{}`))
			require.NoError(t, err)
			err = store.Run(t.Context(), handle)
			if foreign {
				require.ErrorIs(t, err, eventstore.ErrForeignCheckpoint)
				return
			}
			require.NoError(t, err)
			require.Equal(t, 4, handled)
		})
	}
}

func TestATenantWithoutAPartitionIsToldWhatToDo(t *testing.T) {
	pool := database(t)
	const mode = "string-conjoined-quick-tenantpart-meta"
	facts := readFacts(t, mode)
	makeTables(t, pool, "public", facts)
	load(t, pool, mode, facts)
	_, err := marten.Open(t.Context(), pool, &marten.Options{Tenant: "nobody", Append: marten.Quick})
	require.ErrorIs(t, err, eventstore.ErrInvalid)
	require.ErrorContains(t, err, "register it in Marten first")
}

// A partition that is taken away under an open store is told in the same words, whether
// Marten's function says so, or the server does, of the events or of the stream.
func TestATenantWhosePartitionWasTakenAwayIsToldWhatToDo(t *testing.T) {
	for name, test := range map[string]struct {
		mode marten.AppendMode
		take string
	}{
		"the function finds no tenant":     {marten.Quick, `delete from mt_tenant_partitions`},
		"the function finds no partition":  {marten.Quick, `do $$ declare p text; begin for p in select inhrelid::regclass::text from pg_inherits where inhparent = 'mt_events'::regclass loop execute 'alter table mt_events detach partition ' || p; end loop; end $$`},
		"statements of ours find no event": {marten.Rich, `do $$ declare p text; begin for p in select inhrelid::regclass::text from pg_inherits where inhparent = 'mt_events'::regclass loop execute 'alter table mt_events detach partition ' || p; end loop; end $$`},
	} {
		t.Run(name, func(t *testing.T) {
			pool := database(t)
			const mode = "string-conjoined-quick-tenantpart-meta"
			facts := readFacts(t, mode)
			makeTables(t, pool, "public", facts)
			load(t, pool, mode, facts)
			store := openStore(t, pool, &marten.Options{Tenant: "acme", Append: test.mode})
			_, err := store.Append(t.Context(), "order-1", anyVersion, event("happened", `{}`))
			require.NoError(t, err)
			_, err = pool.Exec(t.Context(), test.take)
			require.NoError(t, err)
			_, err = store.Append(t.Context(), "order-1", anyVersion, event("happened", `{}`))
			require.ErrorIs(t, err, eventstore.ErrInvalid)
			require.ErrorContains(t, err, "register it in Marten first")
		})
	}
}

// In a store without tenants a stream may have one nevertheless, of a .NET session that was
// opened for it. The function refuses others, and so do we, whichever way an append goes.
func TestAStreamOfAnotherTenantIsToldApart(t *testing.T) {
	for _, mode := range []marten.AppendMode{marten.Quick, marten.Rich} {
		pool := newTables(t, marten.Creation{})
		store := openStore(t, pool, &marten.Options{Append: mode})
		_, err := store.Append(t.Context(), "order-1", anyVersion, event("happened", `{}`))
		require.NoError(t, err)
		_, err = pool.Exec(t.Context(), `update mt_streams set tenant_id = 'acme'; update mt_events set tenant_id = 'acme'`)
		require.NoError(t, err)
		part := func(stream string, events ...eventstore.Event) eventstore.StreamAppend {
			return eventstore.StreamAppend{Stream: stream, Expected: anyVersion, Events: events}
		}
		for name, parts := range map[string][]eventstore.StreamAppend{
			"one event":   {part("order-1", event("happened", `{}`))},
			"several":     {part("order-1", event("happened", `{}`), event("happened", `{}`))},
			"two streams": {part("order-1", event("happened", `{}`)), part("order-2", event("happened", `{}`))},
		} {
			_, err = store.AppendStreams(t.Context(), parts...)
			require.ErrorIs(t, err, eventstore.ErrInvalid, "%s, %s", name, mode)
			require.ErrorContains(t, err, "belongs to another tenant")
		}
		require.NoError(t, sound(t.Context(), pool))
	}
}

// A sequence that was set back gives numbers again that events have: no reader can go by it.
func TestASequenceThatWasSetBackIsTold(t *testing.T) {
	pool := newTables(t, marten.Creation{})
	store := openStore(t, pool, &marten.Options{Append: marten.Quick})
	for range 3 {
		_, err := store.Append(t.Context(), "order-1", anyVersion, event("happened", `{}`))
		require.NoError(t, err)
	}
	_, err := pool.Exec(t.Context(), `delete from mt_events where version = 2`)
	require.NoError(t, err)
	_, err = pool.Exec(t.Context(), `select setval('mt_events_sequence', 1)`)
	require.NoError(t, err)
	var told error
	for _, told = range store.ReadAll(t.Context(), eventstore.ReadAllOptions{}) {
		if told != nil {
			break
		}
	}
	require.ErrorContains(t, told, "set back")
	require.NotErrorIs(t, told, eventstore.ErrUnavailable, "waiting does not help")
}

// A row that was set back, by hand or by a restore of one table, looks like somebody who
// was faster, at each attempt.
func TestAStreamWhoseRowIsBehindItsEventsIsTold(t *testing.T) {
	for _, mode := range []marten.AppendMode{marten.Quick, marten.Rich} {
		for _, change := range []string{`update mt_streams set version = 1`, `update mt_streams set version = null`} {
			t.Run(string(mode)+" "+change, func(t *testing.T) {
				pool := newTables(t, marten.Creation{})
				store := openStore(t, pool, &marten.Options{Append: mode, Grace: map[marten.AppendMode]time.Duration{marten.Rich: 50 * time.Millisecond}[mode]})
				_, err := store.Append(t.Context(), "order-1", anyVersion, event("happened", `{}`), event("happened", `{}`), event("happened", `{}`))
				require.NoError(t, err)
				_, err = pool.Exec(t.Context(), change)
				require.NoError(t, err)
				for _, events := range [][]eventstore.Event{{event("happened", `{}`)}, {event("happened", `{}`), event("happened", `{}`)}} {
					_, err = store.Append(t.Context(), "order-1", anyVersion, events...)
					require.ErrorContains(t, err, `the row of stream "order-1" in mt_streams says version`)
					require.NotErrorIs(t, err, eventstore.ErrUnavailable)
					require.NotErrorIs(t, err, eventstore.ErrConflict)
				}
				var taken, there int
				require.NoError(t, pool.QueryRow(t.Context(), `select (select last_value from mt_events_sequence), (select count(*) from mt_events)`).Scan(&taken, &there))
				require.Equal(t, taken, there, "each number has an event or a tombstone")
				require.Less(t, taken, 12)
				_, err = pool.Exec(t.Context(), `update mt_streams set version = 3 where id = 'order-1'`)
				require.NoError(t, err)
				_, err = store.Append(t.Context(), "order-1", eventstore.Exactly(3), event("happened", `{}`))
				require.NoError(t, err)
			})
		}
	}
}

// What was delivered may be left out later, at the end of the store too: readers that have
// come so far are not ahead of it, and those that have not come to where it ends.
func TestWhoReadWhatIsLeftOutLaterIsNotAhead(t *testing.T) {
	for name, test := range map[string]struct {
		opts  marten.Options
		leave string
	}{
		"archived": {marten.Options{HideArchived: true}, `select mt_archive_stream($1)`},
		"skipped":  {marten.Options{}, `update mt_events set is_skipped = true where stream_id = $1`},
	} {
		t.Run(name, func(t *testing.T) {
			pool := newTables(t, marten.Creation{})
			_, err := pool.Exec(t.Context(), `alter table mt_events add column is_skipped boolean default false`)
			require.NoError(t, err)
			test.opts.Append, test.opts.Poll = marten.Quick, 20*time.Millisecond
			store := openStore(t, pool, &test.opts)
			handled := 0
			billing := eventstore.Subscription{Name: "billing", UntilCaughtUp: true, Handler: func(context.Context, eventstore.RecordedEvent) error {
				handled++
				return nil
			}}
			var last eventstore.AppendResult
			for _, stream := range []string{"order-1", "order-2"} {
				last, err = store.Append(t.Context(), stream, anyVersion, event("happened", `{}`))
				require.NoError(t, err)
			}
			require.NoError(t, store.Run(t.Context(), billing))
			_, err = pool.Exec(t.Context(), test.leave, "order-2")
			require.NoError(t, err)
			for _, store := range []*eventstore.Store{store, openStore(t, pool, &test.opts)} {
				require.NoError(t, store.Run(t.Context(), billing))
				require.Empty(t, readAll(t, store, eventstore.ReadAllOptions{After: last.Position}))
				require.Len(t, readAll(t, store, eventstore.ReadAllOptions{}), 1)
				require.Len(t, readAll(t, store, eventstore.ReadAllOptions{Backward: true}), 1)
				info, err := store.Info(t.Context())
				require.NoError(t, err)
				require.Equal(t, last.Position, info.Head.Position)
				for message, err := range store.Subscribe(t.Context(), eventstore.SubscribeOptions{}) { // as a move waits for it
					require.NoError(t, err)
					if message.Place.Position == last.Position {
						break
					}
				}
			}
			_, err = store.Append(t.Context(), "order-3", anyVersion, event("happened", `{}`))
			require.NoError(t, err)
			require.NoError(t, store.Run(t.Context(), billing))
			require.Equal(t, 3, handled)
		})
	}
}

// Marten's clean-up empties the tables and starts the sequence again. Whoever had come further
// is told, by a handle that was open and by one that is opened then; and what comes is read.
func TestAStoreThatWasEmptiedIsNotTakenForTheOneBefore(t *testing.T) {
	for name, test := range map[string]struct {
		events int
		told   error
	}{"shorter than before": {1, eventstore.ErrCheckpointAhead}, "as long as before": {3, eventstore.ErrForeignCheckpoint}, "longer than before": {6, eventstore.ErrForeignCheckpoint}} {
		t.Run(name, func(t *testing.T) {
			pool := newTables(t, marten.Creation{})
			opts := &marten.Options{Append: marten.Quick, Poll: 20 * time.Millisecond}
			before := openStore(t, pool, opts)
			fill := func(n int) {
				for i := range n {
					_, err := before.Append(t.Context(), fmt.Sprintf("order-%d", i), anyVersion, event("happened", `{}`))
					require.NoError(t, err)
				}
			}
			fill(3)
			billing := eventstore.Subscription{Name: "billing", UntilCaughtUp: true, Handler: func(context.Context, eventstore.RecordedEvent) error { return nil }}
			require.NoError(t, before.Run(t.Context(), billing))
			_, err := pool.Exec(t.Context(), `truncate mt_events, mt_streams; alter sequence mt_events_sequence restart`)
			require.NoError(t, err)
			fill(test.events)
			for handle, store := range map[string]*eventstore.Store{"before": before, "after": openStore(t, pool, opts)} {
				require.ErrorIs(t, store.Run(t.Context(), billing), test.told, handle)
				require.Len(t, readAll(t, store, eventstore.ReadAllOptions{}), test.events, handle)
				info, err := store.Info(t.Context())
				require.NoError(t, err)
				require.Equal(t, eventstore.NewPosition(uint64(test.events), 0), info.Head.Position, handle)
			}
		})
	}
}
