package marten_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/marten"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/testservers"
	"github.com/switchyard-dev/switchyard/internal/testservers/tcpproxy"
)

// A Rich writer holds a stream's row and then wants its next version; Marten's function has
// written that version and waits for the row. The server ends ours, which has waited longer.
// The number that the function had taken is known, and gets a tombstone.
func TestADeadlockWithARichWriterLeavesNoNumberBurned(t *testing.T) {
	pool := newTables(t, marten.Creation{})
	store := openStore(t, pool, &marten.Options{Append: marten.Quick})
	_, err := store.Append(t.Context(), "order-1", anyVersion, event("happened", `{}`))
	require.NoError(t, err)
	net, err := pool.Begin(t.Context())
	require.NoError(t, err)
	defer net.Rollback(t.Context()) //nolint:errcheck // after a commit it does nothing
	_, err = net.Exec(t.Context(), `set local deadlock_timeout = '20s'`)
	require.NoError(t, err)
	_, err = net.Exec(t.Context(), `update mt_streams set version = 2 where id = 'order-1'`)
	require.NoError(t, err)
	appended := make(chan error, 1)
	go func() {
		_, err := store.Append(t.Context(), "order-1", anyVersion, event("happened", `{}`))
		appended <- err
	}()
	require.Eventually(t, waits(t.Context(), pool, "transactionid"), 10*time.Second, 5*time.Millisecond, "ours waits for the row")
	_, err = net.Exec(t.Context(), `insert into mt_events (seq_id, id, stream_id, version, data, type, timestamp, mt_dotnet_type)
		values (nextval('mt_events_sequence'), gen_random_uuid(), 'order-1', 2, '{}', 'happened', now(), '')`)
	require.NoError(t, err, "the Rich writer is not the one that is ended")
	require.NoError(t, net.Commit(t.Context()))
	require.NoError(t, <-appended)
	version, err := store.StreamVersion(t.Context(), "order-1")
	require.NoError(t, err)
	require.Equal(t, uint64(3), version)
	var tombstones int
	require.NoError(t, pool.QueryRow(t.Context(), `select count(*) from mt_events where type = 'tombstone'`).Scan(&tombstones))
	// The next attempt may take one in vain too, where it comes before the commit.
	require.GreaterOrEqual(t, tombstones, 1, "the function had taken a number")
	require.NoError(t, sound(t.Context(), pool))
}

// Those of us who write to different streams do not wait for each other; who writes to the
// same one does.
func TestWritersOfOtherStreamsAreNotWaitedFor(t *testing.T) {
	pool := newTables(t, marten.Creation{})
	one := openStore(t, pool, &marten.Options{Append: marten.Quick})
	other := openStore(t, pool, &marten.Options{Append: marten.Quick})
	for _, stream := range []string{"order-1", "order-2"} {
		_, err := one.Append(t.Context(), stream, anyVersion, event("happened", `{}`))
		require.NoError(t, err)
	}
	net, err := pool.Begin(t.Context())
	require.NoError(t, err)
	defer net.Rollback(t.Context()) //nolint:errcheck // after a commit it does nothing
	_, err = net.Exec(t.Context(), `select from mt_streams where id = 'order-1' for update`)
	require.NoError(t, err)
	appended := make(chan error, 2)
	append1 := func(store *eventstore.Store) {
		_, err := store.Append(t.Context(), "order-1", anyVersion, event("happened", `{}`))
		appended <- err
	}
	go append1(one)
	require.Eventually(t, waits(t.Context(), pool, "transactionid"), 10*time.Second, 5*time.Millisecond, "the first waits for the row")
	_, err = other.Append(t.Context(), "order-2", anyVersion, event("happened", `{}`))
	require.NoError(t, err)
	go append1(other)
	require.Eventually(t, waits(t.Context(), pool, "advisory"), 10*time.Second, 5*time.Millisecond, "the second waits for the first")
	require.NoError(t, net.Rollback(t.Context()))
	require.NoError(t, <-appended)
	require.NoError(t, <-appended)
	require.NoError(t, sound(t.Context(), pool))
}

// Behind a transaction pooler the session's last number may be another client's, who holds
// it: a Rich writer of .NET that has not written its event yet. A call that failed before it
// took a number must leave that one alone.
func TestANumberThatAnotherClientOfTheSessionTookIsNotBuried(t *testing.T) {
	config, err := pgxpool.ParseConfig(server.Database(t))
	require.NoError(t, err)
	config.MaxConns = 1 // whoever comes has the same session
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	require.NoError(t, marten.Create(t.Context(), pool, "", marten.Creation{}))
	_, err = pool.Exec(t.Context(), `create function refuse() returns trigger language plpgsql as $$ begin raise exception 'not this one'; end $$;
		create trigger refuse before insert on mt_streams for each row when (new.id = 'order-9') execute function refuse()`)
	require.NoError(t, err)
	store := openStore(t, pool, &marten.Options{Append: marten.Quick})
	var held int64
	require.NoError(t, pool.QueryRow(t.Context(), `select nextval('mt_events_sequence')`).Scan(&held))
	for _, expected := range []eventstore.ExpectedVersion{anyVersion, eventstore.NoStream()} { // which go different ways
		_, err = store.Append(t.Context(), "order-9", expected, event("happened", `{}`))
		require.ErrorContains(t, err, "not this one")
	}
	_, err = pool.Exec(t.Context(), `insert into mt_streams (id, version) values ('order-1', 1)`)
	require.NoError(t, err)
	_, err = pool.Exec(t.Context(), `insert into mt_events (seq_id, id, stream_id, version, data, type, timestamp, mt_dotnet_type)
		values ($1, gen_random_uuid(), 'order-1', 1, '{}', 'happened', now(), '')`, held)
	require.NoError(t, err, "its holder can use the number")
	require.NoError(t, sound(t.Context(), pool))
}

// Poolers ask for the modes in which the driver prepares nothing.
func TestEveryModeOfTheDriverAppends(t *testing.T) {
	for _, mode := range []string{"cache_statement", "cache_describe", "describe_exec", "exec", "simple_protocol"} {
		t.Run(mode, func(t *testing.T) {
			u, err := martenURL(server.Database(t), "append=quick&create=true&default_query_exec_mode="+mode)
			require.NoError(t, err)
			backend, err := marten.OpenURL(t.Context(), u)
			require.NoError(t, err)
			store, err := eventstore.New(backend, nil)
			require.NoError(t, err)
			defer store.Close()
			told := make(map[uuid.UUID]eventstore.RecordedEvent)
			var mu sync.Mutex
			add := func(stream string, expected eventstore.ExpectedVersion, events ...eventstore.Event) {
				result, err := store.Append(t.Context(), stream, expected, events...)
				if err != nil {
					t.Errorf("append: %v", err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				for _, e := range result.Events {
					told[e.ID] = e
				}
			}
			var working sync.WaitGroup
			for i := range 8 { // some travel alone, some together, some with others of the same stream
				working.Go(func() {
					for n := range 10 {
						first := event("happened", `{"n": 1}`)
						first.Metadata = map[string]string{"who": "me", eventstore.MetaCorrelationID: "c"}
						add(fmt.Sprintf("new-%d-%d", i, n), eventstore.NoStream(), first, event("happened", `[]`))
						add(fmt.Sprintf("own-%d", i), eventstore.Any(), event("happened", `{"text": "ä\\\"', {}"}`))
						add("shared-1", eventstore.Any(), event("happened", `null`))
					}
				})
			}
			working.Wait()
			require.Len(t, told, 8*10*4)
			for e, err := range store.ReadAll(t.Context(), eventstore.ReadAllOptions{}) {
				require.NoError(t, err)
				want := told[e.ID]
				require.Equal(t, []any{want.Stream, want.Version, want.Position, want.Metadata}, []any{e.Stream, e.Version, e.Position, e.Metadata})
				require.JSONEq(t, string(want.Data), string(e.Data))
				require.True(t, want.RecordedAt.Equal(e.RecordedAt), "%s %s", want.RecordedAt, e.RecordedAt)
				delete(told, e.ID)
			}
			require.Empty(t, told)
		})
	}
}

// Each way that an append goes fails after it has taken its numbers: in the middle, when a
// statement is ended from outside, and at the commit, after which nothing of the transaction
// is open any more.
func TestAFailedAppendLeavesNoNumberBurned(t *testing.T) {
	one, three := []eventstore.Event{event("refused", `{}`)}, []eventstore.Event{event("happened", `{}`), event("refused", `{}`), event("happened", `{}`)}
	part := func(stream string, expected eventstore.ExpectedVersion, events ...eventstore.Event) eventstore.StreamAppend {
		return eventstore.StreamAppend{Stream: stream, Expected: expected, Events: events}
	}
	ways := map[string][]eventstore.StreamAppend{
		"an event starts a stream":  {part("new-1", eventstore.NoStream(), one...)},
		"several start a stream":    {part("new-1", eventstore.NoStream(), three...)},
		"an event in a stream":      {part("order-1", anyVersion, one...)},
		"several in a stream":       {part("order-1", anyVersion, three...)},
		"an event in two streams":   {part("order-1", anyVersion, event("happened", `{}`)), part("new-1", anyVersion, one...)},
		"several and a check":       {part("order-2", eventstore.NoStream()), part("order-1", anyVersion, three...)},
		"a stream of several parts": {part("order-1", anyVersion, event("happened", `{}`)), part("order-1", anyVersion, three...)},
	}
	const refuse = `create function refuse() returns trigger language plpgsql as $$ begin %s raise exception 'not this one'; end $$;
		create %s trigger refuse after insert on mt_events %s for each row when (new.type = 'refused') execute function refuse()`
	for failing, ddl := range map[string]string{
		"amid":               fmt.Sprintf(refuse, "", "", ""),
		"at the commit":      fmt.Sprintf(refuse, "", "constraint", "deferrable initially deferred"),
		"as it is cancelled": fmt.Sprintf(refuse, "perform pg_cancel_backend(pg_backend_pid()); perform pg_sleep(60);", "", ""),
	} {
		t.Run(failing, func(t *testing.T) {
			for _, opts := range []marten.Options{{Append: marten.Quick}, {Append: marten.Rich, Grace: time.Millisecond}} {
				pool := newTables(t, marten.Creation{})
				_, err := pool.Exec(t.Context(), ddl)
				require.NoError(t, err)
				store := openStore(t, pool, &opts)
				_, err = store.Append(t.Context(), "order-1", anyVersion, event("happened", `{}`))
				require.NoError(t, err)
				for name, parts := range ways {
					_, err = store.AppendStreams(t.Context(), parts...)
					require.Error(t, err, name)
					require.NotErrorIs(t, err, eventstore.ErrUnknownOutcome, name)
					require.NoError(t, sound(t.Context(), pool), "%s, %s", name, opts.Append)
				}
				require.Len(t, readAll(t, store, eventstore.ReadAllOptions{}), 1)
			}
		})
	}
}

// Where even the tombstones cannot be written, the numbers are known still: they are filled
// when the next appends come, or at the latest when the handle is closed.
func TestNumbersWhoseBurialFailsAreFilledLater(t *testing.T) {
	for _, end := range []string{"append", "close"} {
		t.Run(end, func(t *testing.T) {
			url := server.Database(t)
			pool := connect(t, url)
			require.NoError(t, marten.Create(t.Context(), pool, "", marten.Creation{}))
			_, err := pool.Exec(t.Context(), `create function refuse() returns trigger language plpgsql as $$ begin raise exception 'not this one'; end $$;
				create trigger refuse after insert on mt_events for each row when (new.type = 'refused') execute function refuse()`)
			require.NoError(t, err)
			proxy, through := tcpproxy.ForURL(t, url)
			backend, err := marten.Open(t.Context(), connect(t, through), &marten.Options{Append: marten.Quick})
			require.NoError(t, err)
			store, err := eventstore.New(backend, nil)
			require.NoError(t, err)
			proxy.SetRule(tcpproxy.On(tcpproxy.FromClient, tcpproxy.Contains("JasperFx.Events.Tombstone"), tcpproxy.Verdict{Cut: tcpproxy.Reset}))
			_, err = store.Append(t.Context(), "order-1", anyVersion, event("happened", `{}`), event("refused", `{}`))
			require.ErrorContains(t, err, "not this one")
			require.Equal(t, 2, proxy.Cuts(), "in the transaction, and after it")
			require.ErrorContains(t, sound(t.Context(), pool), "burned")
			proxy.SetRule(nil)
			if end == "append" {
				_, err = store.Append(t.Context(), "order-1", anyVersion, event("happened", `{}`))
				require.NoError(t, err)
				require.NoError(t, sound(t.Context(), pool))
			}
			require.NoError(t, store.Close())
			require.NoError(t, sound(t.Context(), pool))
		})
	}
}

// A server that crashes gives numbers again that nothing committed needed, also those that a
// handle owes tombstones for: .NET gets them then, and finds them free.
func TestNumbersThatACrashGivesAgainAreNotBuried(t *testing.T) {
	server := testservers.PrivatePostgres(t, testservers.PostgresOptions{Settings: map[string]string{"wal_writer_delay": "10s", "autovacuum": "off"}})
	pool := connect(t, server.URL())
	require.NoError(t, marten.Create(t.Context(), pool, "", marten.Creation{}))
	_, err := pool.Exec(t.Context(), `create function refuse() returns trigger language plpgsql as $$ begin raise exception 'not this one'; end $$;
		create trigger refuse before insert on mt_events for each row when (new.type = 'refused') execute function refuse()`)
	require.NoError(t, err)
	proxy, through := tcpproxy.ForURL(t, server.URL())
	backend, err := marten.Open(t.Context(), connect(t, through), &marten.Options{Append: marten.Quick})
	require.NoError(t, err)
	store, err := eventstore.New(backend, &eventstore.Options{BackendLimits: true})
	require.NoError(t, err)
	defer store.Close()
	_, err = store.Append(t.Context(), "order-1", anyVersion, event("happened", `{}`))
	require.NoError(t, err)
	refused := make([]eventstore.Event, 200)
	for i := range refused {
		refused[i] = event("refused", `{}`)
	}
	proxy.SetRule(tcpproxy.On(tcpproxy.FromClient, tcpproxy.Contains("JasperFx.Events.Tombstone"), tcpproxy.Verdict{Cut: tcpproxy.Reset}))
	_, err = store.Append(t.Context(), "order-1", anyVersion, refused...)
	require.ErrorContains(t, err, "not this one")
	proxy.SetRule(nil)
	require.NoError(t, server.Kill())
	require.NoError(t, server.Start(t.Context()))
	pool.Reset()
	var reserved []int64 // by a .NET session that has yet to write its events
	require.NoError(t, pool.QueryRow(t.Context(), `select array_agg(nextval('mt_events_sequence')) from generate_series(1, 250)`).Scan(&reserved))
	_, err = store.Append(t.Context(), "order-1", anyVersion, event("happened", `{}`)) // after which it pays
	require.NoError(t, err)
	var taken int
	require.NoError(t, pool.QueryRow(t.Context(), `select count(*) from mt_events where seq_id = any($1)`, reserved).Scan(&taken))
	require.Zero(t, taken, "somebody else's numbers")
	for i := range 20 {
		_, err = pool.Exec(t.Context(), callAppend, fmt.Sprintf("net-%d", i), 10)
		require.NoError(t, err)
	}
	require.NoError(t, store.Close())
}
