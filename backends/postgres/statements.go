package postgres

// statements are the SQL texts for one schema. They are made once, so that the
// driver prepares each once for a connection.
type statements struct {
	events                           string // the table's quoted name
	append, appendOne                string
	lock, versions, storedIDs        string
	head                             string
	loadCheckpoint, lockCheckpoint   string
	beginCheckpoint                  string
	saveCheckpoint, deleteCheckpoint string
	loadSnapshot, saveSnapshot       string
	deleteSnapshot                   string
}

func newStatements(schema string) statements {
	s := quote(schema)
	return statements{
		events: s + `.events`,
		append: `select versions, positions from ` + s + `.append($1::text[], $2::int[], $3::bigint[], $4::bigint[], $5::int[],
			$6::int[], $7::text[], $8::uuid[], $9::text[], $10::bytea[], $11::text[], $12::bytea[], $13::timestamptz[])`,
		appendOne: `select at_version, at_position from ` + s + `.append_one($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
		// A transaction that holds the lock and is forgotten would stop every
		// writer, so the server ends it unless the caller has a limit already.
		lock: `select set_config('idle_in_transaction_session_timeout',
			case current_setting('idle_in_transaction_session_timeout') when '0' then '15s'
			else current_setting('idle_in_transaction_session_timeout') end, true), ` + s + `.lock_order()`,
		versions: `select coalesce((select max(e.version) from ` + s + `.events e where e.stream_id = s), 0)
			from unnest($1::text[]) with ordinality as u(s, n) order by n`,
		storedIDs: `select ` + eventColumns + ` from ` + s + `.events where id = any($1::uuid[]) and stream_id = any($2::text[])`,
		head:      `select id, coalesce((select max(global_position) from ` + s + `.events), 0) from ` + s + `.store`,

		loadCheckpoint: `select store_id, position_high::text, position_low::text from ` + s + `.checkpoints where name = $1`,
		lockCheckpoint: `select store_id, position_high::text, position_low::text from ` + s + `.checkpoints where name = $1 for update`,
		saveCheckpoint: `insert into ` + s + `.checkpoints as c (name, store_id, position_high, position_low)
			values ($1, $2, $3::text::numeric, $4::text::numeric)
			on conflict (name) do update set store_id = excluded.store_id, position_high = excluded.position_high,
				position_low = excluded.position_low, updated_at = now()
			where (c.position_high, c.position_low) < (excluded.position_high, excluded.position_low)`,
		beginCheckpoint: `insert into ` + s + `.checkpoints (name, store_id, position_high, position_low)
			values ($1, $2, $3::text::numeric, $4::text::numeric) on conflict (name) do nothing`,
		deleteCheckpoint: `delete from ` + s + `.checkpoints where name = $1`,

		loadSnapshot: `select version, schema_version, data from ` + s + `.snapshots where stream_id = $1 and snapshot_type = $2`,
		saveSnapshot: `insert into ` + s + `.snapshots as o (stream_id, snapshot_type, version, schema_version, data)
			values ($1, $2, $3, $4, $5)
			on conflict (stream_id, snapshot_type) do update set version = excluded.version,
				schema_version = excluded.schema_version, data = excluded.data, updated_at = now()
			where o.version <= excluded.version`,
		deleteSnapshot: `delete from ` + s + `.snapshots where stream_id = $1 and snapshot_type = $2`,
	}
}
