package marten_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/marten"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// Between what the statement has read and the function's own look, somebody may store the
// same event: another attempt at the append, that was thought lost. The version that was
// read guards it, also where any version will do.
func TestARepetitionThatComesAmidTheCallIsNotStoredTwice(t *testing.T) {
	for name, expected := range map[string]eventstore.ExpectedVersion{"any version": anyVersion, "a new stream": eventstore.NoStream()} { // which go different ways
		t.Run(name, func(t *testing.T) { repeatAmidTheCall(t, expected) })
	}
}

func repeatAmidTheCall(t *testing.T, expected eventstore.ExpectedVersion) {
	t.Helper()
	pool := newTables(t, marten.Creation{})
	// The function waits before it looks.
	_, err := pool.Exec(t.Context(), `do $$ declare definition text; arguments text; names text; begin
		select pg_get_functiondef(oid), pg_get_function_arguments(oid), (select string_agg(n || ' => ' || n, ', ') from unnest(proargnames) n) into definition, arguments, names
			from pg_proc where proname = 'mt_quick_append_events';
		create schema waited;
		execute replace(definition, 'public.mt_quick_append_events', 'waited.mt_quick_append_events');
		execute 'create or replace function mt_quick_append_events(' || arguments || ') returns bigint[] language plpgsql as $f$
			begin perform pg_advisory_xact_lock(7, 7); return waited.mt_quick_append_events(' || names || '); end $f$';
	end $$`)
	require.NoError(t, err)
	store := openStore(t, pool, &marten.Options{Append: marten.Quick})
	holder, err := pool.Begin(t.Context())
	require.NoError(t, err)
	defer holder.Rollback(context.Background()) //nolint:errcheck // after a commit it does nothing
	_, err = holder.Exec(t.Context(), `select pg_advisory_xact_lock(7, 7)`)
	require.NoError(t, err)
	e := event("happened", `{}`)
	answered := make(chan error, 1)
	duplicate := false
	go func() {
		result, err := store.Append(t.Context(), "order-1", expected, e)
		duplicate = result.Duplicate
		answered <- err
	}()
	require.Eventually(t, func() bool {
		var waits bool
		err := pool.QueryRow(t.Context(), `select exists (select from pg_locks where not granted and locktype = 'advisory' and classid = 7)`).Scan(&waits)
		return err == nil && waits
	}, 10*time.Second, 5*time.Millisecond)
	_, err = holder.Exec(t.Context(), `select waited.mt_quick_append_events(stream => 'order-1', stream_type => null, tenantid => '*DEFAULT*', event_ids => array[$1::uuid], event_types => array['happened'],
		dotnet_types => array[''], bodies => array['{}'::jsonb], bdatas => null, causation_ids => null, correlation_ids => null, headers => null, user_names => null)`, e.ID)
	require.NoError(t, err)
	require.NoError(t, holder.Commit(t.Context()))
	require.NoError(t, <-answered)
	require.True(t, duplicate)
	require.Len(t, readAll(t, store, eventstore.ReadAllOptions{}), 1)
	require.NoError(t, sound(t.Context(), pool))
}
