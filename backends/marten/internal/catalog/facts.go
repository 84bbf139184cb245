// Package catalog reads the shape of Marten's tables from PostgreSQL's catalog, and makes
// tables of a shape. It alters none that exist.
package catalog

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
)

// Facts are the tables, functions and sequences of an event store, each in the order
// of the names.
type Facts struct {
	Tables    []Table    `json:"tables"`
	Functions []Function `json:"functions"`
	Sequences []Sequence `json:"sequences"`
}

// Table is a table, or one partition of one.
type Table struct {
	Name           string       `json:"name"`
	Columns        []Column     `json:"columns"`
	Indexes        []Index      `json:"indexes"`
	Constraints    []Constraint `json:"constraints"`
	PartitionedBy  *string      `json:"partitioned_by"`
	PartitionBound *string      `json:"partition_bound"`
}

// Column is a column, in the order of the table.
type Column struct {
	Name     string  `json:"name"`
	Type     string  `json:"type"`
	Default  *string `json:"default"`
	Nullable bool    `json:"nullable"`
}

// Index is an index; those of primary keys are among them.
type Index struct {
	Name    string   `json:"name"`
	Where   *string  `json:"where"`
	Method  string   `json:"method"`
	Unique  bool     `json:"unique"`
	Columns []string `json:"columns"`
	Primary bool     `json:"primary"`
}

// Constraint is a primary key (p) or a foreign key (f).
type Constraint struct {
	Name       string   `json:"name"`
	Type       string   `json:"type"`
	Columns    []string `json:"columns"`
	OnDelete   *string  `json:"on_delete"` // c is cascade, a no action
	Deferrable bool     `json:"deferrable"`
	References *string  `json:"references"`
	RefColumns []string `json:"ref_columns"`
}

// Function is a function's signature. Its text is Marten's own affair.
type Function struct {
	Name       string   `json:"name"`
	Result     string   `json:"result"`
	ArgNames   []string `json:"argnames"`
	ArgTypes   []string `json:"argtypes"`
	Defaults   int      `json:"defaults"`
	Language   string   `json:"language"`
	Volatility string   `json:"volatility"`
}

// Sequence is a sequence.
type Sequence struct {
	Name      string  `json:"name"`
	Type      string  `json:"type"`
	Cache     int64   `json:"cache"`
	Cycle     bool    `json:"cycle"`
	Start     int64   `json:"start"`
	OwnedBy   *string `json:"owned_by"`
	Increment int64   `json:"increment"`
}

// Table returns a table by its name; nil where there is none.
func (f *Facts) Table(name string) *Table {
	i := slices.IndexFunc(f.Tables, func(t Table) bool { return t.Name == name })
	if i < 0 {
		return nil
	}
	return &f.Tables[i]
}

// Function returns a function by its name; nil where there is none.
func (f *Facts) Function(name string) *Function {
	i := slices.IndexFunc(f.Functions, func(t Function) bool { return t.Name == name })
	if i < 0 {
		return nil
	}
	return &f.Functions[i]
}

// Sequence returns a sequence by its name; nil where there is none.
func (f *Facts) Sequence(name string) *Sequence {
	i := slices.IndexFunc(f.Sequences, func(t Sequence) bool { return t.Name == name })
	if i < 0 {
		return nil
	}
	return &f.Sequences[i]
}

// Column returns a column by its name; nil where there is none.
func (t *Table) Column(name string) *Column {
	i := slices.IndexFunc(t.Columns, func(c Column) bool { return c.Name == name })
	if i < 0 {
		return nil
	}
	return &t.Columns[i]
}

// HasIndex tells whether there is an index of this name.
func (t *Table) HasIndex(name string) bool {
	return slices.ContainsFunc(t.Indexes, func(x Index) bool { return x.Name == name })
}

// PrimaryKey returns the columns of the primary key.
func (t *Table) PrimaryKey() []string {
	for _, c := range t.Constraints {
		if c.Type == "p" {
			return c.Columns
		}
	}
	return nil
}

// Has tells whether a function has an argument of this name.
func (f *Function) Has(argument string) bool { return slices.Contains(f.ArgNames, argument) }

// Querier is a pool, a connection or a transaction.
type Querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// Read reads the shape of the event store in a schema. One that is not there has no
// tables. It is one statement, and its cost does not depend on the number of events.
func Read(ctx context.Context, db Querier, schema string) (*Facts, error) {
	var text []byte
	if err := db.QueryRow(ctx, query, schema).Scan(&text); err != nil {
		return nil, err
	}
	var facts Facts
	if err := json.Unmarshal(text, &facts); err != nil {
		return nil, fmt.Errorf("read the catalog of schema %q: %w", schema, err)
	}
	return &facts, nil
}

// The names are those of Marten's event store; its documents have others.
const query = `with here as (select oid from pg_namespace where nspname = $1),
tables as (
	select c.oid, c.relname::text as name, c.relkind, c.relispartition, c.relpartbound
	from pg_class c join here on c.relnamespace = here.oid
	where c.relkind in ('r', 'p') and (c.relname ~ '^mt_(events|streams)(_|$)' or c.relname ~ '^mt_event_(progression|projection_floors|tag_)'
		or c.relname in ('mt_high_water_skips', 'mt_dcb_tag_version', 'mt_tenant_partitions'))),
table_facts as (
	select json_agg(json_build_object('name', t.name,
		'columns', (select json_agg(json_build_object('name', a.attname, 'type', format_type(a.atttypid, a.atttypmod),
				'default', pg_get_expr(d.adbin, d.adrelid), 'nullable', not a.attnotnull) order by a.attnum)
			from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
			where a.attrelid = t.oid and a.attnum > 0 and not a.attisdropped),
		'indexes', (select coalesce(json_agg(json_build_object('name', ic.relname, 'where', pg_get_expr(i.indpred, i.indrelid),
				'method', am.amname, 'unique', i.indisunique, 'primary', i.indisprimary,
				'columns', (select json_agg(pg_get_indexdef(i.indexrelid, k, true) order by k) from generate_series(1, i.indnkeyatts) k)) order by ic.relname::text collate "C"), '[]')
			from pg_index i join pg_class ic on ic.oid = i.indexrelid join pg_am am on am.oid = ic.relam where i.indrelid = t.oid),
		'constraints', (select coalesce(json_agg(json_build_object('name', co.conname, 'type', co.contype, 'deferrable', co.condeferrable,
				'columns', (select json_agg(a.attname order by k.n) from unnest(co.conkey) with ordinality k(attnum, n) join pg_attribute a on a.attrelid = co.conrelid and a.attnum = k.attnum),
				'on_delete', case when co.contype = 'f' then co.confdeltype end, 'references', (select r.relname from pg_class r where r.oid = nullif(co.confrelid, 0)),
				'ref_columns', (select json_agg(a.attname order by k.n) from unnest(co.confkey) with ordinality k(attnum, n) join pg_attribute a on a.attrelid = co.confrelid and a.attnum = k.attnum)
				) order by co.conname::text collate "C"), '[]')
			from pg_constraint co where co.conrelid = t.oid and co.contype in ('p', 'f')),
		'partitioned_by', case when t.relkind = 'p' then pg_get_partkeydef(t.oid) end,
		'partition_bound', case when t.relispartition then pg_get_expr(t.relpartbound, t.oid) end) order by t.name collate "C") as facts
	from tables t),
function_facts as (
	select json_agg(json_build_object('name', p.proname, 'result', format_type(p.prorettype, null), 'argnames', coalesce(p.proargnames, '{}'),
		'argtypes', (select coalesce(json_agg(format_type(a.type_oid, null) order by a.n), '[]') from unnest(p.proargtypes) with ordinality a(type_oid, n)),
		'defaults', p.pronargdefaults, 'language', l.lanname, 'volatility', p.provolatile) order by p.proname::text collate "C", p.pronargs) as facts
	from pg_proc p join here on p.pronamespace = here.oid join pg_language l on l.oid = p.prolang
	where p.proname in ('mt_archive_stream', 'mt_mark_event_progression', 'mt_mark_progression_with_skip', 'mt_quick_append_events')),
sequence_facts as (
	select json_agg(json_build_object('name', c.relname, 'type', format_type(s.seqtypid, null), 'cache', s.seqcache, 'cycle', s.seqcycle,
		'start', s.seqstart, 'increment', s.seqincrement,
		'owned_by', (select o.relname || '.' || a.attname from pg_depend d join pg_class o on o.oid = d.refobjid
			join pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
			where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'a')) order by c.relname::text collate "C") as facts
	from pg_sequence s join pg_class c on c.oid = s.seqrelid join here on c.relnamespace = here.oid
	where c.relname ~ '^mt_events_sequence')
select json_build_object('tables', coalesce((select facts from table_facts), '[]'), 'functions', coalesce((select facts from function_facts), '[]'),
	'sequences', coalesce((select facts from sequence_facts), '[]'))`
