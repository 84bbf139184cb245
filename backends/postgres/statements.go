package postgres

import (
	"fmt"
	"strings"
)

// statements are the SQL texts for one schema. They are made once, so that the
// driver prepares each once for a connection.
type statements struct {
	events, table                    string // the table's quoted name, and its OID
	append, storedIDs, head          string
	loadCheckpoint, lockCheckpoint   string
	beginCheckpoint                  string
	saveCheckpoint, deleteCheckpoint string
	loadSnapshot, saveSnapshot       string
	deleteSnapshot                   string
}

func newStatements(schema string) statements {
	s := quote(schema)
	// Where the name leads now. It is looked up when a statement is planned, as the
	// names of its tables are, and again after a schema was renamed.
	table := `'` + s + `.events'::regclass::oid::bigint`
	// guarded is for a statement that changes something: it does so only where the
	// table is the one that was opened, its last parameter, and returns the table.
	guarded := func(change string, last int) string {
		here := fmt.Sprintf(`(select here.table_oid from here) = $%d::bigint`, last)
		return `with here as (select ` + table + ` as table_oid), changed as (` + strings.ReplaceAll(change, "{here}", here) + `)
			select table_oid from here`
	}
	return statements{
		events: s + `.events`, table: table,
		append: `select versions, positions, met from ` + s + `.append($1, $2::int[],
			$3::text[], $4::int[], $5::bigint[], $6::bigint[], $7::int[],
			$8::int[], $9::text[], $10::uuid[], $11::text[], $12::bytea[], $13::text[], $14::bytea[], $15::timestamptz[])`,
		storedIDs: `select ` + table + `, ` + eventColumns + ` from ` + s + `.events where id = any($1::uuid[]) and stream_id = any($2::text[])`,
		head:      `select ` + table + `, id, coalesce((select max(global_position) from ` + s + `.events), 0) from ` + s + `.store`,

		loadCheckpoint: `select here.table_oid, store_id, position_high::text, position_low::text
			from (select ` + table + ` as table_oid) here left join ` + s + `.checkpoints on name = $1`,
		lockCheckpoint: `select ` + table + `, store_id, position_high::text, position_low::text from ` + s + `.checkpoints where name = $1 for update`,
		saveCheckpoint: guarded(`insert into `+s+`.checkpoints as c (name, store_id, position_high, position_low)
			select $1, $2::uuid, $3::text::numeric, $4::text::numeric where {here}
			on conflict (name) do update set store_id = excluded.store_id, position_high = excluded.position_high,
				position_low = excluded.position_low, updated_at = now()
			where (c.position_high, c.position_low) < (excluded.position_high, excluded.position_low)`, 5),
		beginCheckpoint: guarded(`insert into `+s+`.checkpoints (name, store_id, position_high, position_low)
			select $1, $2::uuid, $3::text::numeric, $4::text::numeric where {here} on conflict (name) do nothing`, 5),
		deleteCheckpoint: guarded(`delete from `+s+`.checkpoints where name = $1 and {here}`, 2),

		loadSnapshot: `select here.table_oid, version, schema_version, data
			from (select ` + table + ` as table_oid) here left join ` + s + `.snapshots on stream_id = $1 and snapshot_type = $2`,
		saveSnapshot: guarded(`insert into `+s+`.snapshots as o (stream_id, snapshot_type, version, schema_version, data)
			select $1, $2, $3::bigint, $4::int, $5::bytea where {here}
			on conflict (stream_id, snapshot_type) do update set version = excluded.version,
				schema_version = excluded.schema_version, data = excluded.data, updated_at = now()
			where o.version <= excluded.version`, 6),
		deleteSnapshot: guarded(`delete from `+s+`.snapshots where stream_id = $1 and snapshot_type = $2 and {here}`, 3),
	}
}
