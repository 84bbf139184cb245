package marten_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/marten"
)

// sound says what is wrong with the rows of a store with regard to what .NET needs of
// them; nil where nothing is. Each question is one that a foreign writer can get wrong.
func sound(ctx context.Context, pool *pgxpool.Pool) error {
	var wrong []error
	for _, check := range []struct{ name, query string }{
		{"events that .NET does not see: is_archived is null", `select count(*) from mt_events where is_archived is null`},
		{"events that pause a projection for ever: mt_dotnet_type is null", `select count(*) from mt_events where mt_dotnet_type is null`},
		{"events that pause a projection: headers are no object", `select count(*) from mt_events where jsonb_typeof(headers) not in ('object', 'null')`},
		{"events of no tenant", `select count(*) from mt_events where tenant_id is null`},
		{"events of another hour", `select count(*) from mt_events where type <> 'tombstone' and abs(extract(epoch from timestamp - now())) > 1200`},
		{"numbers that were burned, and no tombstone fills", `select count(*) from generate_series(1, (select last_value from mt_events_sequence)) g
			where (select is_called from mt_events_sequence) and not exists (select from mt_events e where e.seq_id = g)`},
		{"tombstones that .NET would take for events", `select count(*) from mt_events where (type = 'tombstone') <> (stream_id::text = 'mt_tombstone' or timestamp = '-infinity')`},
		{"streams whose version is not that of their last event", `select count(*) from mt_streams s where version <> coalesce((select max(e.version) from mt_events e
			where e.stream_id = s.id and e.tenant_id = s.tenant_id and e.type <> 'tombstone'), 0)`},
		{"streams with holes", `select count(*) from (select stream_id, tenant_id from mt_events where type <> 'tombstone' group by 1, 2 having count(*) <> max(version)) x`},
		{"streams whose order is not that of the numbers", `select count(*) from (select version, row_number() over (partition by tenant_id, stream_id order by seq_id) as n
			from mt_events where type <> 'tombstone') x where version <> n`},
		{"event IDs that a stream has twice", `select count(*) from (select from mt_events where type <> 'tombstone' group by tenant_id, stream_id, id having count(*) > 1) x`},
	} {
		var n int
		if err := pool.QueryRow(ctx, check.query).Scan(&n); err != nil {
			return err
		}
		if n > 0 {
			wrong = append(wrong, fmt.Errorf("%d %s", n, check.name))
		}
	}
	return errors.Join(wrong...)
}

func newTables(t *testing.T, creation marten.Creation) *pgxpool.Pool {
	t.Helper()
	pool := database(t)
	require.NoError(t, marten.Create(t.Context(), pool, "", creation))
	return pool
}

// Each mutant is a mistake that a writer of these tables can make.
func TestRowsThatNetCannotReadAreFound(t *testing.T) {
	pool := newTables(t, marten.Creation{})
	store := openStore(t, pool, &marten.Options{Append: marten.Quick})
	for i := range 3 {
		_, err := store.Append(t.Context(), "order-1", anyVersion, event("happened", fmt.Sprintf(`{"n": %d}`, i)))
		require.NoError(t, err)
	}
	require.NoError(t, sound(t.Context(), pool))
	for name, mutant := range map[string]struct{ change, says string }{
		"is_archived null":      {`update mt_events set is_archived = null where version = 2`, "is_archived is null"},
		"headers a JSON string": {`update mt_events set headers = '"text"' where version = 2`, "headers are no object"},
		"no .NET type":          {`update mt_events set mt_dotnet_type = null where version = 2`, "mt_dotnet_type is null"},
		"the local time zone":   {`update mt_events set timestamp = timestamp - interval '1 hour' where version = 2`, "another hour"},
		"a burned number":       {`select nextval('mt_events_sequence')`, "burned"},
		"a version left behind": {`update mt_streams set version = 2`, "version is not that"},
		"an ID stored twice":    {`update mt_events set id = (select id from mt_events where version = 1) where version = 2`, "twice"},
		"numbers out of order":  {`update mt_events set seq_id = seq_id + 100 where version = 1`, "order is not that"},
		"a lost event":          {`delete from mt_events where version = 2`, "holes"},
		"currval of a Rich writer": {`insert into mt_streams (id, version) values ('mt_tombstone', 0);
			insert into mt_events (seq_id, id, stream_id, version, data, type, timestamp, mt_dotnet_type) values (nextval('mt_events_sequence') - 1 + 1, gen_random_uuid(), 'order-1', 77, '{}', 'tombstone', now(), '')`, "tombstones"},
	} {
		t.Run(name, func(t *testing.T) {
			tx, err := pool.Begin(t.Context())
			require.NoError(t, err)
			before := tx.Rollback(t.Context())
			require.NoError(t, before)
			_, err = pool.Exec(t.Context(), `create table kept_events as table mt_events; create table kept_streams as table mt_streams`)
			require.NoError(t, err)
			_, err = pool.Exec(t.Context(), mutant.change)
			require.NoError(t, err)
			require.ErrorContains(t, sound(t.Context(), pool), mutant.says)
			_, err = pool.Exec(t.Context(), `delete from mt_events; delete from mt_streams; insert into mt_streams table kept_streams; insert into mt_events table kept_events;
				drop table kept_events; drop table kept_streams; select setval('mt_events_sequence', 3)`)
			require.NoError(t, err)
			require.NoError(t, sound(t.Context(), pool))
		})
	}
}
