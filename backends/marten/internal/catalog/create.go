package catalog

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Statements returns what makes the tables, functions and sequences of a shape in a
// schema that has none of them. The texts of the functions are this package's own; they
// do what Marten's do for this shape.
func (f *Facts) Statements(schema string) []string {
	c := creation{Facts: f, schema: pgx.Identifier{schema}.Sanitize()}
	var all []string
	for _, t := range f.Tables {
		if t.PartitionBound == nil {
			all = append(all, c.table(t))
		}
	}
	for _, t := range f.Tables {
		if t.PartitionBound != nil {
			all = append(all, fmt.Sprintf("create table %s.%s partition of %s.%s %s", c.schema, t.Name, c.schema, c.parent(t), *t.PartitionBound))
		}
	}
	for _, t := range f.Tables {
		if t.PartitionBound == nil {
			all = append(all, c.indexes(t)...)
		}
	}
	for _, t := range f.Tables {
		if t.PartitionBound == nil {
			all = append(all, c.foreignKeys(t)...)
		}
	}
	for _, s := range f.Sequences {
		all = append(all, fmt.Sprintf("create sequence %s.%s as %s start %d increment %d cache %d", c.schema, s.Name, s.Type, s.Start, s.Increment, s.Cache))
		if s.OwnedBy != nil {
			all = append(all, fmt.Sprintf("alter sequence %s.%s owned by %s.%s", c.schema, s.Name, c.schema, *s.OwnedBy))
		}
	}
	for _, fn := range f.Functions {
		all = append(all, c.function(fn))
	}
	return all
}

type creation struct {
	*Facts
	schema string
}

// parent is the partitioned table whose partition t is, by Marten's names.
func (c creation) parent(t Table) string {
	for _, p := range c.Tables {
		if p.PartitionedBy != nil && strings.HasPrefix(t.Name, p.Name+"_") {
			return p.Name
		}
	}
	return ""
}

func (c creation) table(t Table) string {
	var lines []string
	for _, column := range t.Columns {
		line := fmt.Sprintf("%q %s", column.Name, column.Type)
		if column.Default != nil {
			line += " default " + c.value(*column.Default)
		}
		if !column.Nullable {
			line += " not null"
		}
		lines = append(lines, line)
	}
	for _, k := range t.Constraints {
		if k.Type == "p" {
			lines = append(lines, fmt.Sprintf("constraint %s primary key (%s)", k.Name, list(k.Columns)))
		}
	}
	text := fmt.Sprintf("create table %s.%s (%s)", c.schema, t.Name, strings.Join(lines, ", "))
	if t.PartitionedBy != nil {
		text += " partition by " + *t.PartitionedBy
	}
	return text
}

// CreationTime stands for the literal that Marten writes as the default of a column: the
// time when it made the table.
const CreationTime = "'<literal: creation time>'::timestamp with time zone"

func (creation) value(expression string) string {
	if expression == CreationTime {
		return time.Now().UTC().Format("'2006-01-02 15:04:05.999999+00'::timestamp with time zone")
	}
	return expression
}

func list(columns []string) string {
	quoted := make([]string, len(columns))
	for i, column := range columns {
		quoted[i] = fmt.Sprintf("%q", column)
	}
	return strings.Join(quoted, ", ")
}

func (c creation) indexes(t Table) []string {
	var all []string
	for _, i := range t.Indexes {
		if i.Primary {
			continue
		}
		unique := ""
		if i.Unique {
			unique = "unique "
		}
		text := fmt.Sprintf("create %sindex %s on %s.%s using %s (%s)", unique, i.Name, c.schema, t.Name, i.Method, list(i.Columns))
		if i.Where != nil {
			text += " where " + *i.Where
		}
		all = append(all, text)
	}
	return all
}

func (c creation) foreignKeys(t Table) []string {
	var all []string
	for _, k := range t.Constraints {
		if k.Type != "f" || c.isPartition(*k.References) {
			continue // PostgreSQL makes those to partitions itself
		}
		text := fmt.Sprintf("alter table %s.%s add constraint %s foreign key (%s) references %s.%s (%s)",
			c.schema, t.Name, k.Name, list(k.Columns), c.schema, *k.References, list(k.RefColumns))
		if k.OnDelete != nil && *k.OnDelete == "c" {
			text += " on delete cascade"
		}
		all = append(all, text)
	}
	return all
}

func (c creation) isPartition(name string) bool {
	t := c.Table(name)
	return t != nil && t.PartitionBound != nil
}

func (c creation) function(fn Function) string {
	var arguments []string
	for i, name := range fn.ArgNames {
		argument := name + " " + fn.ArgTypes[i]
		if i >= len(fn.ArgNames)-fn.Defaults {
			argument += " default null"
		}
		arguments = append(arguments, argument)
	}
	body := map[string]func(Function) string{
		"mt_quick_append_events": c.appendBody, "mt_archive_stream": c.archiveBody,
		"mt_mark_event_progression": c.markBody, "mt_mark_progression_with_skip": c.skipBody,
	}[fn.Name](fn)
	return fmt.Sprintf("create function %s.%s(%s) returns %s language plpgsql as $function$\n%s\n$function$",
		c.schema, fn.Name, strings.Join(arguments, ", "), fn.Result, strings.ReplaceAll(body, "{schema}", c.schema))
}

func (c creation) conjoined() bool {
	return slices.Contains(c.Table("mt_streams").PrimaryKey(), "tenant_id")
}

func (c creation) tenantPartitioned() bool {
	by := c.Table("mt_events").PartitionedBy
	return by != nil && strings.Contains(*by, "tenant_id")
}

func (c creation) archivePartitioned() bool {
	by := c.Table("mt_events").PartitionedBy
	return by != nil && strings.Contains(*by, "is_archived")
}

// appendBody appends to one stream. Numbers are taken one by one, each before its event
// is written, and the stream's row is written after the events where it exists.
func (c creation) appendBody(fn Function) string {
	ofTenant, suffix, findSuffix, sequence := "", "", "", "'{schema}.mt_events_sequence'"
	if c.conjoined() {
		ofTenant = " and tenant_id = tenantid"
	}
	if c.tenantPartitioned() {
		suffix, sequence = "\n\tsuffix varchar;", "'{schema}.mt_events_sequence_' || suffix"
		findSuffix = `
	select p.partition_suffix into suffix from {schema}.mt_tenant_partitions p where p.partition_value = tenantid;
	if not found then raise exception 'no partition for tenant %', tenantid using errcode = 'MT002'; end if;`
	}
	columns, values := "", ""
	for _, extra := range [][2]string{{"causation_id", "causation_ids"}, {"correlation_id", "correlation_ids"}, {"headers", "headers"}, {"user_name", "user_names"}} {
		if fn.Has(extra[1]) {
			columns += ", " + extra[0]
			values += ", mt_quick_append_events." + extra[1] + "[i]"
		}
	}
	moment := "now() at time zone 'utc'"
	if fn.Has("timestamps") {
		moment = "timestamps[i]"
	}
	tags := ""
	for _, argument := range fn.ArgNames {
		name, ok := strings.CutPrefix(argument, "tag_")
		name, isTag := strings.CutSuffix(name, "_values")
		if ok && isTag {
			kind := c.Table("mt_event_tag_" + name).Column("value").Type
			tags += fmt.Sprintf(`
		if %s[i] is not null then
			insert into {schema}.mt_event_tag_%s (value, seq_id) values (%s[i]::%s, number) on conflict do nothing;
		end if;`, argument, name, argument, kind)
		}
	}
	return `declare
	known boolean; at_version bigint; closed boolean; owner varchar; number bigint;` + suffix + `
	amount int := coalesce(array_length(event_ids, 1), 0);
	result bigint[];
begin` + findSuffix + `
	select s.version, s.is_archived, s.tenant_id into at_version, closed, owner from {schema}.mt_streams s where s.id = stream` + ofTenant + `;
	known := found;
	at_version := coalesce(at_version, 0);
	if expected_version is not null and expected_version <> at_version then
		raise exception 'stream % is at version %, and version % was expected', stream, at_version, expected_version using errcode = 'MT003';
	end if;
	if not known then
		insert into {schema}.mt_streams (id, type, version, tenant_id) values (stream, stream_type, amount, coalesce(tenantid, '*DEFAULT*'));
	elsif closed then
		raise exception 'stream % is archived', stream using errcode = 'MT001';
	elsif tenantid is not null and tenantid <> owner then
		raise exception 'The tenantid does not match the existing stream';
	end if;
	result := array[at_version + amount];
	for i in 1 .. amount loop
		number := nextval((` + sequence + `)::regclass);
		insert into {schema}.mt_events (seq_id, id, stream_id, version, data, bdata, type, timestamp, tenant_id, mt_dotnet_type, is_archived` + columns + `)
			values (number, event_ids[i], stream, at_version + i, bodies[i], bdatas[i], event_types[i], ` + moment + `, coalesce(tenantid, '*DEFAULT*'), dotnet_types[i], false` + values + `);` + tags + `
		result := result || number;
	end loop;
	if known and amount > 0 then
		update {schema}.mt_streams set version = at_version + amount, timestamp = now() where id = stream` + ofTenant + `;
	end if;
	return result;
end`
}

func (c creation) archiveBody(Function) string {
	ofTenant := ""
	if c.conjoined() {
		ofTenant = " and tenant_id = tenantid"
	}
	if !c.archivePartitioned() {
		return `begin
	update {schema}.mt_streams set is_archived = true where id = streamid` + ofTenant + `;
	update {schema}.mt_events set is_archived = true where stream_id = streamid` + ofTenant + `;
end`
	}
	// The row moves to another partition, and the events that refer to it between.
	return `begin
	insert into {schema}.mt_streams select (s.row_of).* from (
		select jsonb_populate_record(s, '{"is_archived": true}') as row_of from {schema}.mt_streams s where s.id = streamid and not s.is_archived) s;
	update {schema}.mt_events set is_archived = true where stream_id = streamid and not is_archived;
	delete from {schema}.mt_streams where id = streamid and not is_archived;
end`
}

func (c creation) markBody(Function) string {
	return `begin
	insert into {schema}.mt_event_progression (name, last_seq_id, last_updated) values (mt_mark_event_progression.name, last_encountered, transaction_timestamp())
		on conflict on constraint pk_mt_event_progression do update set last_seq_id = excluded.last_seq_id, last_updated = excluded.last_updated;
end`
}

func (c creation) skipBody(Function) string {
	return `declare
	marked bigint;
begin
	update {schema}.mt_event_progression p set last_seq_id = ending_sequence, last_updated = transaction_timestamp()
		where p.name = shard_name and p.last_seq_id <= mt_mark_progression_with_skip.starting_sequence;
	insert into {schema}.mt_high_water_skips (ending_sequence, starting_sequence)
		values (mt_mark_progression_with_skip.ending_sequence, mt_mark_progression_with_skip.starting_sequence)
		on conflict do nothing;
	select p.last_seq_id into marked from {schema}.mt_event_progression p where p.name = shard_name;
	return marked;
end`
}
