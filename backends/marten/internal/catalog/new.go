package catalog

import "slices"

// Mode is how a new store's tables are made.
type Mode struct {
	UUIDKeys, Conjoined, NoMetadata, ServerTimestamps bool
}

func some(text string) *string { return &text }

const (
	text    = "character varying"
	bigint  = "bigint"
	instant = "timestamp with time zone"
	boolean = "boolean"
)

func column(name, kind string) Column { return Column{Name: name, Type: kind, Nullable: true} }

func (c Column) notNull() Column {
	c.Nullable = false
	return c
}

func (c Column) or(expression string) Column {
	c.Default = &expression
	return c
}

func tenantColumn() Column { return column("tenant_id", text).or("'*DEFAULT*'::character varying") }

// keyed returns a table with a primary key.
func keyed(name, key string, columns []string, all ...Column) Table {
	return Table{
		Name: name, Columns: all,
		Indexes:     []Index{{Name: key, Method: "btree", Unique: true, Columns: columns, Primary: true}},
		Constraints: []Constraint{{Name: key, Type: "p", Columns: columns}},
	}
}

// New returns the shape of a new store, as Marten 9.58 makes it.
func New(mode Mode) *Facts {
	id := text
	if mode.UUIDKeys {
		id = "uuid"
	}
	moment := "transaction_timestamp()"
	f := &Facts{
		Tables: []Table{
			keyed("mt_event_progression", "pk_mt_event_progression", []string{"name"},
				column("name", text).notNull(), column("last_seq_id", bigint), column("last_updated", instant).or(moment),
				column("mode", text).or("'none'::character varying"), column("rebuild_threshold", "integer").or("0"), column("assigned_node", "integer").or("0"),
				column("heartbeat", instant), column("agent_status", "character varying(20)"), column("pause_reason", "text"), column("running_on_node", "integer"),
				column("warning_behind_threshold", bigint), column("critical_behind_threshold", bigint), column("failure_category", "character varying(50)"),
				column("failure_event_sequence", bigint), column("failure_event_type", "character varying(500)"), column("failure_event_tenant_id", "character varying(500)")),
			keyed("mt_event_projection_floors", "pkey_mt_event_projection_floors_name_tenant_id", []string{"name", "tenant_id"},
				column("name", text).notNull(), column("tenant_id", text).notNull(), column("floor", bigint).notNull(), column("last_updated", instant).or(moment)),
			newEvents(mode, id),
			keyed("mt_high_water_skips", "pkey_mt_high_water_skips_ending_sequence", []string{"ending_sequence"},
				column("ending_sequence", bigint).notNull(), column("starting_sequence", bigint).notNull(), column("timestamp", instant).or(moment)),
			newStreams(mode, id),
		},
		Sequences: []Sequence{{Name: "mt_events_sequence", Type: bigint, Cache: 1, Start: 1, Increment: 1, OwnedBy: some("mt_events.seq_id")}},
	}
	f.Functions = newFunctions(mode, id)
	return f
}

func newStreams(mode Mode, id string) Table {
	rest := []Column{
		column("id", id).notNull(), column("type", text), column("version", bigint),
		column("timestamp", instant).or("now()").notNull(), column("created", instant).or("now()").notNull(),
	}
	ends := []Column{column("compacted_version", bigint).or("0").notNull(), column("is_archived", boolean).or("false")}
	if mode.Conjoined {
		return keyed("mt_streams", "pkey_mt_streams_tenant_id_id", []string{"tenant_id", "id"}, slices.Concat([]Column{tenantColumn().notNull()}, rest, ends)...)
	}
	return keyed("mt_streams", "pkey_mt_streams_id", []string{"id"}, slices.Concat(rest, []Column{tenantColumn()}, ends)...)
}

func newEvents(mode Mode, id string) Table {
	columns := []Column{
		column("seq_id", bigint).notNull(), column("id", "uuid").notNull(), column("stream_id", id), column("version", bigint).notNull(),
		column("data", "jsonb").notNull(), column("bdata", "bytea"), column("type", "character varying(500)").notNull(),
		column("timestamp", instant).or(CreationTime).notNull(), tenantColumn(), column("mt_dotnet_type", text),
	}
	if !mode.NoMetadata {
		columns = append(columns, column("correlation_id", text), column("causation_id", text), column("headers", "jsonb"), column("user_name", text))
	}
	columns = append(columns, column("is_archived", boolean).or("false"))
	t := keyed("mt_events", "pkey_mt_events_seq_id", []string{"seq_id"}, columns...)
	unique := Index{Name: "pk_mt_events_stream_and_version", Method: "btree", Unique: true, Columns: []string{"stream_id", "version"}}
	stream := Constraint{Name: "fkey_mt_events_stream_id", Type: "f", Columns: []string{"stream_id"}, OnDelete: some("c"), References: some("mt_streams"), RefColumns: []string{"id"}}
	if mode.Conjoined {
		unique.Columns = []string{"tenant_id", "stream_id", "version"}
		stream = Constraint{
			Name: "fkey_mt_events_stream_id_tenant_id", Type: "f", Columns: []string{"tenant_id", "stream_id"}, OnDelete: some("a"),
			References: some("mt_streams"), RefColumns: []string{"tenant_id", "id"},
		}
	}
	t.Indexes = append([]Index{unique}, t.Indexes...) // in the order of the names
	t.Constraints = append([]Constraint{stream}, t.Constraints...)
	return t
}

func newFunctions(mode Mode, id string) []Function {
	function := func(name, result string, defaults int, arguments ...string) Function {
		f := Function{Name: name, Result: result, Defaults: defaults, Language: "plpgsql", Volatility: "v"}
		for pair := range slices.Chunk(arguments, 2) {
			f.ArgNames, f.ArgTypes = append(f.ArgNames, pair[0]), append(f.ArgTypes, pair[1])
		}
		return f
	}
	archive := []string{"streamid", id}
	if mode.Conjoined {
		archive = append(archive, "tenantid", text)
	}
	arguments := []string{
		"stream", id, "stream_type", text, "tenantid", text, "event_ids", "uuid[]", "event_types", text + "[]", "dotnet_types", text + "[]",
		"bodies", "jsonb[]", "bdatas", "bytea[]",
	}
	if !mode.NoMetadata {
		arguments = append(arguments, "causation_ids", text+"[]", "correlation_ids", text+"[]", "headers", "jsonb[]", "user_names", text+"[]")
	}
	if mode.ServerTimestamps {
		arguments = append(arguments, "timestamps", instant+"[]")
	}
	return []Function{
		function("mt_archive_stream", "void", 0, archive...),
		function("mt_mark_event_progression", "void", 0, "name", text, "last_encountered", bigint),
		function("mt_mark_progression_with_skip", bigint, 0, "shard_name", text, "ending_sequence", bigint, "starting_sequence", bigint),
		function("mt_quick_append_events", bigint+"[]", 1, append(arguments, "expected_version", bigint)...),
	}
}
