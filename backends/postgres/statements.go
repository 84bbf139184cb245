package postgres

// statements are the SQL texts for one schema. They are made once, so that the
// driver prepares each once for a connection.
type statements struct {
	events, store, table string // the tables' quoted names, and the OID of events
	append, appendOne    string
	seal, storedIDs      string
	info, head, placeAt  string
}

func newStatements(schema string) statements {
	s := quote(schema)
	// Where the name leads now. It is looked up when a statement is planned, as the
	// names of its tables are, and again after a schema was renamed.
	table := `'` + s + `.events'::regclass::oid::bigint`
	// Every answer has a row, so that it tells its table also where there is nothing.
	here := `(select ` + table + ` as table_oid) here`
	return statements{
		events: s + `.events`, store: s + `.store`, table: table,
		append: `select versions, positions, met, recorded, seal, epoch from ` + s + `.append($1, $2, $3, $4::int[],
			$5::text[], $6::int[], $7::bigint[], $8::bigint[], $9::int[], $10::int[],
			$11::int[], $12::text[], $13::uuid[], $14::text[], $15::bytea[], $16::text[], $17::bytea[], $18::timestamptz[])`,
		appendOne: `select at_version, at_position, met, recorded, seal, epoch from ` + s + `.append_one($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
		seal:      `select ` + s + `.seal($1, $2, $3::text)`,
		storedIDs: headed(table, `select `+eventColumns+` from `+s+`.events where id = any($1::uuid[]) and stream_id = any($2::text[])`),
		info: `select here.table_oid, s.id, s.seal_reason, e.global_position, e.stream_id, e.version, e.id
			from ` + here + ` cross join ` + s + `.store s left join lateral
				(select * from ` + s + `.events order by global_position desc limit 1) e on true`,
		head: `select ` + table + `, coalesce((select max(global_position) from ` + s + `.events), 0)`,
		placeAt: `select here.table_oid, coalesce((select max(global_position) from ` + s + `.events), 0), e.stream_id, e.version, e.id
			from ` + here + ` left join ` + s + `.events e on e.global_position = $1`,
	}
}
