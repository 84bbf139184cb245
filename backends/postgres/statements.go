package postgres

import (
	"fmt"
	"strings"
)

// statements are the SQL texts for one schema. They are made once, so that the
// driver prepares each once for a connection.
type statements struct {
	events, store, table            string // the tables' quoted names, and the OID of events
	append, seal, storedIDs         string
	info, head, placeAt             string
	loadCheckpoint, lockCheckpoint  string
	saveCheckpoint, resetCheckpoint string
	deleteCheckpoint                string
	listCheckpoints                 string
	takeLease, moveLease, loadLease string
	loadSnapshot, saveSnapshot      string
	deleteSnapshot                  string
}

// The columns of a checkpoint's row, for scanCheckpoint. Numbers travel as text,
// for they have 64 bits and no sign.
const checkpointColumns = `c.epoch::text, c.store_id, c.position_high::text, c.position_low::text, c.stream_id, c.version::text, c.event_id`

const leaseColumns = `c.epoch::text, c.owner, c.renewals::text, c.ttl`

func newStatements(schema string) statements {
	s := quote(schema)
	// Where the name leads now. It is looked up when a statement is planned, as the
	// names of its tables are, and again after a schema was renamed.
	table := `'` + s + `.events'::regclass::oid::bigint`
	// Every answer has a row, so that it tells its table also where there is nothing.
	here := `(select ` + table + ` as table_oid) here`
	// guarded is for a statement that changes something: it does so only where the
	// table is the one that was opened, its last parameter, and returns the table and
	// how many rows were changed.
	guarded := func(change string, last int) string {
		same := fmt.Sprintf(`(select here.table_oid from here) = $%d::bigint`, last)
		return `with here as (select ` + table + ` as table_oid), changed as (` + strings.ReplaceAll(change, "{here}", same) + ` returning 1)
			select table_oid, (select count(*) from changed) from here`
	}
	checkpoint := `store_id = excluded.store_id, position_high = excluded.position_high, position_low = excluded.position_low,
				stream_id = excluded.stream_id, version = excluded.version, event_id = excluded.event_id, updated_at = now()`
	insertCheckpoint := `insert into ` + s + `.checkpoints as c (name, store_id, position_high, position_low, stream_id, version, event_id)
			select $1, $2::uuid, $3::text::numeric, $4::text::numeric, $5::text, $6::text::numeric, $7::uuid where {here}
			on conflict (name) do update set ` + checkpoint
	// A new epoch that nobody owns: the owner, where there was one, cannot save.
	fence := `epoch = case when c.epoch > 0 then c.epoch + 1 else 0 end, owner = '', renewals = 0, ttl = 0`
	sameLease := `c.epoch = $6::text::numeric and c.owner = $7 and c.renewals = $8::text::numeric`
	return statements{
		events: s + `.events`, store: s + `.store`, table: table,
		append: `select versions, positions, met, recorded, seal, epoch from ` + s + `.append($1, $2, $3, $4::int[],
			$5::text[], $6::int[], $7::bigint[], $8::bigint[], $9::int[], $10::int[],
			$11::int[], $12::text[], $13::uuid[], $14::text[], $15::bytea[], $16::text[], $17::bytea[], $18::timestamptz[])`,
		seal:      `select ` + s + `.seal($1, $2, $3::text)`,
		storedIDs: headed(table, `select `+eventColumns+` from `+s+`.events where id = any($1::uuid[]) and stream_id = any($2::text[])`),
		info: `select here.table_oid, s.id, s.seal_reason, e.global_position, e.stream_id, e.version, e.id
			from ` + here + ` cross join ` + s + `.store s left join lateral
				(select * from ` + s + `.events order by global_position desc limit 1) e on true`,
		head: `select ` + table + `, coalesce((select max(global_position) from ` + s + `.events), 0)`,
		placeAt: `select here.table_oid, coalesce((select max(global_position) from ` + s + `.events), 0), e.stream_id, e.version, e.id
			from ` + here + ` left join ` + s + `.events e on e.global_position = $1`,

		loadCheckpoint: `select here.table_oid, ` + checkpointColumns + ` from ` + here + ` left join ` + s + `.checkpoints c on c.name = $1`,
		lockCheckpoint: `select ` + table + `, ` + checkpointColumns + ` from ` + s + `.checkpoints c where c.name = $1 for update`,
		saveCheckpoint: guarded(insertCheckpoint+` where c.epoch <= $8::text::numeric and (c.store_id is null
				or (c.position_high, c.position_low) < (excluded.position_high, excluded.position_low))`, 9),
		resetCheckpoint: guarded(insertCheckpoint+`, `+fence, 8),
		deleteCheckpoint: guarded(`update `+s+`.checkpoints c set store_id = null, position_high = null, position_low = null,
			stream_id = null, version = null, event_id = null, updated_at = now(), `+fence+` where c.name = $1 and {here}`, 2),
		listCheckpoints: `select here.table_oid, c.name, ` + checkpointColumns + ` from ` + here + ` left join lateral
			(select * from ` + s + `.checkpoints where store_id is not null and name > $1 order by name limit $2) c on true`,
		// Whoever knows no lease may take one that was never taken.
		takeLease: guarded(`insert into `+s+`.checkpoints as c (name, epoch, owner, renewals, ttl)
			select $1, $2::text::numeric, $3, $4::text::numeric, $5::bigint where {here}
			on conflict (name) do update set epoch = excluded.epoch, owner = excluded.owner, renewals = excluded.renewals,
				ttl = excluded.ttl, updated_at = now()
			where c.epoch = 0 and c.owner = '' and c.renewals = 0`, 6),
		moveLease: guarded(`update `+s+`.checkpoints c set epoch = $2::text::numeric, owner = $3, renewals = $4::text::numeric,
				ttl = $5::bigint, updated_at = now()
			where c.name = $1 and `+sameLease+` and {here}`, 9),
		loadLease: `select here.table_oid, ` + leaseColumns + ` from ` + here + ` left join ` + s + `.checkpoints c on c.name = $1`,

		loadSnapshot: `select here.table_oid, version, schema_version, data
			from ` + here + ` left join ` + s + `.snapshots on stream_id = $1 and snapshot_type = $2`,
		saveSnapshot: guarded(`insert into `+s+`.snapshots as o (stream_id, snapshot_type, version, schema_version, data)
			select $1, $2, $3::bigint, $4::bigint, $5::bytea where {here}
			on conflict (stream_id, snapshot_type) do update set version = excluded.version,
				schema_version = excluded.schema_version, data = excluded.data, updated_at = now()
			where o.version <= excluded.version`, 6),
		deleteSnapshot: guarded(`delete from `+s+`.snapshots where stream_id = $1 and snapshot_type = $2 and {here}`, 3),
	}
}
