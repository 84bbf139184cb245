package marten_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/marten"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// callEmpty is a call of Marten's function without events, which leaves a stream's row
// behind it.
const callEmpty = `select mt_quick_append_events(stream => $1, stream_type => null, tenantid => '*DEFAULT*', event_ids => '{}'::uuid[],
	event_types => '{}'::varchar[], dotnet_types => '{}'::varchar[], bodies => '{}'::jsonb[], bdatas => null,
	causation_ids => null, correlation_ids => null, headers => null, user_names => null, expected_version => null)`

func TestAStreamThatHasARowAndNoEventIsBegunLikeOneThatHasNone(t *testing.T) {
	for _, mode := range []marten.AppendMode{marten.Quick, marten.Rich} {
		for name, expected := range map[string]eventstore.ExpectedVersion{"no stream": eventstore.NoStream(), "exactly 0": eventstore.Exactly(0), "any": eventstore.Any()} {
			for _, n := range []int{1, 2} {
				t.Run(fmt.Sprintf("%s, %s, %d events", mode, name, n), func(t *testing.T) {
					pool := newTables(t, marten.Creation{})
					store := openStore(t, pool, &marten.Options{Append: mode, Grace: map[marten.AppendMode]time.Duration{marten.Rich: 50 * time.Millisecond}[mode]})
					var working sync.WaitGroup
					for i := range 8 { // some of which travel together
						stream := fmt.Sprintf("order-%d", i)
						_, err := pool.Exec(t.Context(), callEmpty, stream)
						require.NoError(t, err)
						events := []eventstore.Event{event("happened", `{}`), event("happened", `{}`)}[:n]
						working.Go(func() {
							for _, duplicate := range []bool{false, true} {
								result, err := store.Append(t.Context(), stream, expected, events...)
								if err != nil || result.Duplicate != duplicate || result.Version != uint64(n) {
									t.Errorf("%s: %+v, %v", stream, result, err)
								}
							}
						})
					}
					working.Wait()
					require.NoError(t, sound(t.Context(), pool))
				})
			}
		}
	}
}

// Marten's function appends to a stream that is archived while it works, and then its last
// event alone is shown to who leaves archived ones out.
func TestNoAppendOfOursLandsInAStreamThatWeArchiveMeanwhile(t *testing.T) {
	pool := newTables(t, marten.Creation{})
	backend, err := marten.Open(t.Context(), pool, &marten.Options{Append: marten.Quick})
	require.NoError(t, err)
	store, err := eventstore.New(backend, nil)
	require.NoError(t, err)
	defer store.Close()
	for i := range 150 {
		stream := fmt.Sprintf("order-%d", i)
		_, err := store.Append(t.Context(), stream, eventstore.Any(), event("happened", `{}`))
		require.NoError(t, err)
		var working sync.WaitGroup
		working.Go(func() {
			for range 6 {
				if _, err := store.Append(context.Background(), stream, eventstore.Any(), event("happened", `{}`)); err != nil {
					return // it is archived
				}
			}
		})
		working.Go(func() {
			if err := backend.ArchiveStream(t.Context(), stream); err != nil {
				t.Error(err)
			}
		})
		working.Wait()
	}
	var shown int
	require.NoError(t, pool.QueryRow(t.Context(), `select count(*) from mt_events e join mt_streams s on s.id = e.stream_id where s.is_archived and not e.is_archived`).Scan(&shown))
	require.Zero(t, shown)
}

// Nor in one that .NET archives meanwhile, which takes none of our locks: its mark is looked at
// again when the stream's row is ours.
func TestNoAppendOfOursLandsInAStreamThatNetArchivesMeanwhile(t *testing.T) {
	for _, creation := range []marten.Creation{{}, {UUIDKeys: true, Conjoined: true}} {
		for _, mode := range []marten.AppendMode{marten.Quick, marten.Rich} {
			for _, n := range []int{1, 2} { // which go different ways
				t.Run(fmt.Sprintf("%s, uuid %t, %d events", mode, creation.UUIDKeys, n), func(t *testing.T) {
					pool := newTables(t, creation)
					opts := &marten.Options{Append: mode}
					stream, archive, arguments := "order-1", `select mt_archive_stream($1)`, []any{"order-1"}
					if creation.UUIDKeys {
						id := uuid.NewString()
						opts.Tenant, stream, archive, arguments = "acme", "order-"+id, `select mt_archive_stream($1, 'acme')`, []any{id}
					}
					store := openStore(t, pool, opts)
					_, err := store.Append(t.Context(), stream, anyVersion, event("happened", `{}`))
					require.NoError(t, err)
					net, err := pool.Begin(t.Context())
					require.NoError(t, err)
					defer net.Rollback(context.Background()) //nolint:errcheck // after a commit it does nothing
					_, err = net.Exec(t.Context(), archive, arguments...)
					require.NoError(t, err)
					appended := make(chan error, 1)
					go func() {
						_, err := store.Append(context.Background(), stream, anyVersion, []eventstore.Event{event("happened", `{}`), event("happened", `{}`)}[:n]...)
						appended <- err
					}()
					require.Eventually(t, waits(t.Context(), pool, "transactionid"), 10*time.Second, 5*time.Millisecond, "it waits for the row")
					require.NoError(t, net.Commit(t.Context()))
					require.ErrorIs(t, <-appended, eventstore.ErrSealed)
					require.Len(t, readAll(t, store, eventstore.ReadAllOptions{}), 1)
					require.NoError(t, sound(t.Context(), pool))
				})
			}
		}
	}
}

// An event that is stored is a duplicate, also where the stream's mark and the event's differ,
// as an append and an archive at once may have left them.
func TestADuplicateInAnArchivedStreamIsOneWhoseEventIsNotArchived(t *testing.T) {
	pool := newTables(t, marten.Creation{})
	store := openStore(t, pool, &marten.Options{Append: marten.Quick})
	again := event("happened", `{}`)
	_, err := store.Append(t.Context(), "order-1", anyVersion, again)
	require.NoError(t, err)
	_, err = pool.Exec(t.Context(), `update mt_streams set is_archived = true`)
	require.NoError(t, err)
	result, err := store.Append(t.Context(), "order-1", anyVersion, again)
	require.NoError(t, err)
	require.True(t, result.Duplicate)
}

// Whoever waited for a lock sees what was done before it was free, also where the role's
// transactions keep one view from their beginning.
func TestADefaultIsolationHidesNothingThatWasDoneBefore(t *testing.T) {
	for _, level := range []string{"repeatable read", "serializable"} {
		t.Run(level, func(t *testing.T) {
			rawURL := server.Database(t)
			plain := connect(t, rawURL)
			_, err := plain.Exec(t.Context(), `do $$ begin execute format('alter database %I set default_transaction_isolation = %L', current_database(), '`+level+`'); end $$`)
			require.NoError(t, err)
			pool := connect(t, rawURL)
			var opening sync.WaitGroup
			u, err := martenURL(rawURL, "append=quick&create=true")
			require.NoError(t, err)
			for range 4 {
				opening.Go(func() {
					b, err := marten.OpenURL(t.Context(), u)
					if assert.NoError(t, err) {
						assert.NoError(t, b.Close())
					}
				})
			}
			opening.Wait()
			backend, err := marten.Open(t.Context(), pool, &marten.Options{Append: marten.Quick})
			require.NoError(t, err)
			defer backend.Close()
			require.True(t, backend.Capabilities().Checkpoints.Supported())
			holder, err := plain.Begin(t.Context())
			require.NoError(t, err)
			defer holder.Rollback(context.Background()) //nolint:errcheck // after a commit it does nothing
			require.NoError(t, marten.Lock(t.Context(), holder, "public"))
			archived := make(chan error, 1)
			go func() { archived <- backend.ArchiveStream(t.Context(), "order-1") }()
			require.Eventually(t, func() bool {
				var waits bool
				err := plain.QueryRow(t.Context(), `select exists (select from pg_locks where not granted and locktype = 'advisory'
					and database = (select oid from pg_database where datname = current_database()))`).Scan(&waits)
				return err == nil && waits
			}, 10*time.Second, 5*time.Millisecond)
			_, err = holder.Exec(t.Context(), callAppend, "order-1", 2)
			require.NoError(t, err)
			require.NoError(t, holder.Commit(t.Context()))
			require.NoError(t, <-archived)
			var unmarked int
			require.NoError(t, plain.QueryRow(t.Context(), `select (select count(*) from mt_streams where not is_archived) + (select count(*) from mt_events where not is_archived)`).Scan(&unmarked))
			require.Zero(t, unmarked)
		})
	}
}
