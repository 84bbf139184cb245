package marten

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/switchyard-dev/switchyard/backends/marten/internal/catalog"
)

// shape is what the catalog says of a store: how Marten's options made its tables.
type shape struct {
	uuidKeys           bool // streams have UUIDs, not texts
	conjoined          bool
	archivePartitioned bool
	tenantPartitioned  bool

	correlation, causation, headers, userName bool // columns of mt_events
	uniqueIDs                                 bool // an event ID is unique in the store
	identities                                bool // mt_streams_identity
	tags                                      []string
	tagArguments                              []string // of the function

	archives bool   // mt_archive_stream can be called
	function bool   // mt_quick_append_events can be called
	times    bool   // and takes timestamps
	narrow   bool   // and returns 32-bit numbers
	unknown  string // an argument that it needs, and that is not known here
	readOnly string // why nothing may be appended; empty where it may
}

// The columns that every version has that this package writes to.
func streamColumns() []string {
	return []string{"id", "type", "version", "timestamp", "created", "tenant_id", "is_archived"}
}

func eventColumns() []string {
	return []string{"seq_id", "id", "stream_id", "version", "data", "bdata", "type", "timestamp", "tenant_id", "mt_dotnet_type", "is_archived"}
}

// optionalColumns are those that Marten's options add and this package knows.
func optionalColumns() []string {
	return []string{"correlation_id", "causation_id", "headers", "user_name", "is_skipped", "tags"}
}

// functionArguments are those of mt_quick_append_events that this package knows, but for
// those of tag types.
func functionArguments() []string {
	return []string{
		"stream", "stream_type", "tenantid", "event_ids", "event_types", "dotnet_types", "bodies", "bdatas",
		"causation_ids", "correlation_ids", "headers", "user_names", "timestamps", "expected_version",
	}
}

// newShape reads the facts. Its error says why the store cannot be read; what only
// forbids to write is readOnly, with what would help.
func newShape(facts *catalog.Facts, schema string, acceptUntagged bool) (shape, error) {
	var s shape
	streams, events := facts.Table("mt_streams"), facts.Table("mt_events")
	if streams == nil || events == nil {
		return s, invalid("schema", "no Marten event store in schema %q: there is no mt_streams or no mt_events; "+
			"give the schema that Marten's Events.DatabaseSchemaName names, let Marten make its tables, or make new ones with create=true", schema)
	}
	for _, name := range []string{"id", "version", "tenant_id", "is_archived"} {
		if streams.Column(name) == nil {
			return s, fmt.Errorf("schema %q: mt_streams has no column %s: this is no version of Marten that can be read", schema, name)
		}
	}
	for _, name := range []string{"seq_id", "id", "stream_id", "version", "data", "type", "timestamp", "tenant_id", "is_archived"} {
		if events.Column(name) == nil {
			return s, fmt.Errorf("schema %q: mt_events has no column %s: this is no version of Marten that can be read", schema, name)
		}
	}
	switch kind := streams.Column("id").Type; kind {
	case "uuid":
		s.uuidKeys = true
	case "character varying":
	default:
		return s, fmt.Errorf("schema %q: mt_streams.id is a %s, neither uuid nor character varying", schema, kind)
	}
	s.conjoined = slices.Contains(streams.PrimaryKey(), "tenant_id")
	if by := events.PartitionedBy; by != nil {
		s.archivePartitioned, s.tenantPartitioned = strings.Contains(*by, "is_archived"), strings.Contains(*by, "tenant_id")
	}
	has := func(name string) bool { return events.Column(name) != nil }
	s.correlation, s.causation, s.headers, s.userName = has("correlation_id"), has("causation_id"), has("headers"), has("user_name")
	s.uniqueIDs, s.identities = events.HasIndex("idx_mt_events_event_id"), facts.Table("mt_streams_identity") != nil
	for _, t := range facts.Tables {
		if name, ok := strings.CutPrefix(t.Name, "mt_event_tag_"); ok {
			s.tags = append(s.tags, name)
		}
	}
	if has("tags") {
		s.tags = append(s.tags, "tags (hstore)")
	}
	s.readFunction(facts)
	s.readOnly = s.whyReadOnly(facts, acceptUntagged)
	for _, sequence := range facts.Sequences {
		if sequence.Cache > 1 {
			return s, fmt.Errorf("schema %q: sequence %s has a cache of %d, so its numbers are not in the order in which they are taken; alter it to cache 1", schema, sequence.Name, sequence.Cache)
		}
	}
	if facts.Sequence("mt_events_sequence") == nil {
		return s, fmt.Errorf("schema %q: there is no mt_events_sequence", schema)
	}
	return s, nil
}

func (s *shape) readFunction(facts *catalog.Facts) {
	s.archives = facts.Function("mt_archive_stream") != nil
	f := facts.Function("mt_quick_append_events")
	if f == nil {
		return
	}
	s.function = f.Has("bdatas") && f.Has("expected_version")
	s.times = f.Has("timestamps")
	s.narrow = f.Result == "integer[]"
	for i, name := range f.ArgNames {
		switch {
		case strings.HasPrefix(name, "tag_") && strings.HasSuffix(name, "_values"):
			s.tagArguments = append(s.tagArguments, name)
		case !slices.Contains(functionArguments(), name) && i < len(f.ArgNames)-f.Defaults:
			s.unknown = name
		}
	}
}

// whyReadOnly says why nothing may be appended, and what would help.
func (s *shape) whyReadOnly(facts *catalog.Facts, acceptUntagged bool) string {
	streams, events := facts.Table("mt_streams"), facts.Table("mt_events")
	if !s.function {
		return "its function mt_quick_append_events is missing or older than Marten 9.9.1, which is not known here; update Marten to 9.29 or later, and let it apply its schema"
	}
	if s.unknown != "" {
		return fmt.Sprintf("its function mt_quick_append_events needs the argument %s, which this version of Switchyard does not know; update Switchyard", s.unknown)
	}
	for table, names := range map[*catalog.Table][]string{streams: streamColumns(), events: eventColumns()} {
		for _, name := range names {
			if table.Column(name) == nil {
				return fmt.Sprintf("%s has no column %s, as Marten 9.29 has; update Marten, and let it apply its schema", table.Name, name)
			}
		}
	}
	known := slices.Concat(eventColumns(), optionalColumns())
	for _, c := range events.Columns {
		if !slices.Contains(known, c.Name) && !c.Nullable && c.Default == nil {
			return fmt.Sprintf("mt_events has the column %s, which is not null and without default, and which this version of Switchyard does not know; update Switchyard", c.Name)
		}
	}
	for _, c := range streams.Columns {
		if !slices.Contains(streamColumns(), c.Name) && !c.Nullable && c.Default == nil {
			return fmt.Sprintf("mt_streams has the column %s, which is not null and without default, and which this version of Switchyard does not know; update Switchyard", c.Name)
		}
	}
	if len(s.tags) > 0 && !acceptUntagged {
		return fmt.Sprintf("it has tag types (%s), and Go writes no tags: consistency boundaries of .NET would not see its events; where no query by tag needs them, say untagged=accept", strings.Join(s.tags, ", "))
	}
	return ""
}

// readsAlike tells whether what a handle promised of one shape holds of another.
func (s *shape) readsAlike(other shape) bool {
	return s.uuidKeys == other.uuidKeys && s.conjoined == other.conjoined && s.tenantPartitioned == other.tenantPartitioned &&
		s.archivePartitioned == other.archivePartitioned && s.headers == other.headers && s.uniqueIDs == other.uniqueIDs
}

// checkTenant holds the option Tenant against the store.
func (s *shape) checkTenant(tenant string) error {
	switch {
	case s.conjoined && tenant == "":
		return invalid("option Tenant", `the store is conjoined, and a handle is for one tenant: give its ID ("*DEFAULT*" is Marten's own)`)
	case !s.conjoined && tenant != "":
		return invalid("option Tenant", "the store has one tenant only: leave it out, or give the schema of a store with conjoined tenancy")
	}
	return nil
}

// defaultTenant is the tenant of everything in a store without tenants.
const defaultTenant = "*DEFAULT*"

// sequence is the quoted name of the sequence that numbers the tenant's events.
func (s *shape) sequence(schema, suffix string) string {
	name := "mt_events_sequence"
	if s.tenantPartitioned {
		name += "_" + suffix
	}
	return pgx.Identifier{schema, name}.Sanitize()
}

var errNoPartition = errors.New("the tenant has no partition; register it in Marten first")
