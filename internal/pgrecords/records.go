// Package pgrecords keeps checkpoints, leases and snapshots in tables of PostgreSQL, for
// the backends that live there.
package pgrecords

import (
	"context"
	"fmt"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// Config says where the records are.
type Config struct {
	Pool *pgxpool.Pool
	// Schema holds the tables checkpoints and snapshots, and the one that Anchor names.
	Schema string
	// Anchor and Table are a table of the schema and its OID when the store was opened.
	// A name can lead to another schema later, when schemas are renamed; an OID cannot.
	Anchor string
	Table  int64
	// Scope is the value of the tables' column scope, where one schema keeps the records
	// of several stores; nil where there is no such column.
	Scope *uuid.UUID
	// Call runs I/O and maps its error.
	Call func(ctx context.Context, do func(ctx context.Context) error) error
	// Moved says that the schema's name led to another table than Table.
	Moved func() error
}

// Records are the checkpoints, leases and snapshots of one store.
type Records struct {
	Config
	sql statements
}

// New returns the records of a store. It does no I/O.
func New(config Config) *Records { return &Records{Config: config, sql: newStatements(config)} }

// Records returns them as a backend does.
func (r *Records) Records() eventstore.Records {
	return eventstore.Records{Checkpoints: checkpoints{r}, Snapshots: snapshots{r}}
}

func (r *Records) checkTable(table int64) error {
	if table != r.Table {
		return r.Moved()
	}
	return nil
}

// statements are the SQL texts for one schema. They are made once, so that the driver
// prepares each once for a connection.
type statements struct {
	loadCheckpoint, listCheckpoints string
	saveCheckpoint, resetCheckpoint string
	deleteCheckpoint                string
	takeLease, moveLease, loadLease string
	loadSnapshot, saveSnapshot      string
	deleteSnapshot                  string
}

// The columns of a checkpoint's row, for scanCheckpoint. Numbers travel as text,
// for they have 64 bits and no sign.
const checkpointColumns = `c.epoch::text, c.store_id, c.position_high::text, c.position_low::text, c.stream_id, c.version::text, c.event_id`

const leaseColumns = `c.epoch::text, c.owner, c.renewals::text, c.ttl`

func newStatements(config Config) statements {
	s := pgx.Identifier{config.Schema}.Sanitize()
	// Where the name leads now. It is looked up when a statement is planned, as the
	// names of its tables are, and again after a schema was renamed.
	table := `'` + s + `.` + config.Anchor + `'::regclass::oid::bigint`
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
	column, value, ofScope := "", "", func(string) string { return "" }
	if config.Scope != nil {
		column, value = "scope, ", "'"+config.Scope.String()+"'::uuid, "
		ofScope = func(alias string) string { return " and " + alias + "scope = '" + config.Scope.String() + "'" }
	}
	checkpoint := `store_id = excluded.store_id, position_high = excluded.position_high, position_low = excluded.position_low,
				stream_id = excluded.stream_id, version = excluded.version, event_id = excluded.event_id, updated_at = now()`
	insertCheckpoint := `insert into ` + s + `.checkpoints as c (` + column + `name, store_id, position_high, position_low, stream_id, version, event_id)
			select ` + value + `$1, $2::uuid, $3::text::numeric, $4::text::numeric, $5::text, $6::text::numeric, $7::uuid where {here}
			on conflict (` + column + `name) do update set ` + checkpoint
	// A new epoch that nobody owns: the owner, where there was one, cannot save.
	fence := `epoch = case when c.epoch > 0 then c.epoch + 1 else 0 end, owner = '', renewals = 0, ttl = 0`
	sameLease := `c.epoch = $6::text::numeric and c.owner = $7 and c.renewals = $8::text::numeric`
	return statements{
		loadCheckpoint: `select here.table_oid, ` + checkpointColumns + ` from ` + here + ` left join ` + s + `.checkpoints c on c.name = $1` + ofScope("c."),
		saveCheckpoint: guarded(insertCheckpoint+` where c.epoch <= $8::text::numeric and (c.store_id is null
				or (c.position_high, c.position_low) < (excluded.position_high, excluded.position_low))`, 9),
		resetCheckpoint: guarded(insertCheckpoint+`, `+fence, 8),
		deleteCheckpoint: guarded(`update `+s+`.checkpoints c set store_id = null, position_high = null, position_low = null,
			stream_id = null, version = null, event_id = null, updated_at = now(), `+fence+` where c.name = $1`+ofScope("c.")+` and {here}`, 2),
		listCheckpoints: `select here.table_oid, c.name, ` + checkpointColumns + ` from ` + here + ` left join lateral
			(select * from ` + s + `.checkpoints where store_id is not null and name > $1` + ofScope("") + ` order by name limit $2) c on true`,
		// Whoever knows no lease may take one that was never taken.
		takeLease: guarded(`insert into `+s+`.checkpoints as c (`+column+`name, epoch, owner, renewals, ttl)
			select `+value+`$1, $2::text::numeric, $3, $4::text::numeric, $5::bigint where {here}
			on conflict (`+column+`name) do update set epoch = excluded.epoch, owner = excluded.owner, renewals = excluded.renewals,
				ttl = excluded.ttl, updated_at = now()
			where c.epoch = 0 and c.owner = '' and c.renewals = 0`, 6),
		moveLease: guarded(`update `+s+`.checkpoints c set epoch = $2::text::numeric, owner = $3, renewals = $4::text::numeric,
				ttl = $5::bigint, updated_at = now()
			where c.name = $1`+ofScope("c.")+` and `+sameLease+` and {here}`, 9),
		loadLease: `select here.table_oid, ` + leaseColumns + ` from ` + here + ` left join ` + s + `.checkpoints c on c.name = $1` + ofScope("c."),

		loadSnapshot: `select here.table_oid, version, schema_version, data
			from ` + here + ` left join ` + s + `.snapshots on stream_id = $1 and snapshot_type = $2` + ofScope(""),
		saveSnapshot: guarded(`insert into `+s+`.snapshots as o (`+column+`stream_id, snapshot_type, version, schema_version, data)
			select `+value+`$1, $2, $3::bigint, $4::bigint, $5::bytea where {here}
			on conflict (`+column+`stream_id, snapshot_type) do update set version = excluded.version,
				schema_version = excluded.schema_version, data = excluded.data, updated_at = now()
			where o.version <= excluded.version`, 6),
		deleteSnapshot: guarded(`delete from `+s+`.snapshots where stream_id = $1 and snapshot_type = $2`+ofScope("")+` and {here}`, 3),
	}
}
