package marten_test

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/marten"
	"github.com/switchyard-dev/switchyard/backends/marten/internal/catalog"
	"github.com/switchyard-dev/switchyard/eventstore"
)

const fixtures = "testdata/fixtures"

// modes are the folders of the fixtures: a way in which real Marten made its tables each,
// with the rows that it wrote.
func modes(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir(fixtures)
	require.NoError(t, err)
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	require.Len(t, names, 11)
	return names
}

func readFacts(t *testing.T, mode string) *catalog.Facts {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(fixtures, mode, "schema.facts.json"))
	require.NoError(t, err)
	var facts catalog.Facts
	require.NoError(t, json.Unmarshal(text, &facts))
	return &facts
}

// lines decodes a file of one JSON value a line.
func lines[T any](t *testing.T, mode, file string) []T {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(fixtures, mode, file))
	require.NoError(t, err)
	var all []T
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	for decoder.More() {
		var one T
		require.NoError(t, decoder.Decode(&one))
		all = append(all, one)
	}
	return all
}

// database returns a pool on an empty database.
func database(t *testing.T) *pgxpool.Pool {
	t.Helper()
	return connect(t, server.Database(t))
}

func connect(t *testing.T, rawURL string) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), rawURL)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return pool
}

func makeTables(t *testing.T, pool *pgxpool.Pool, schema string, facts *catalog.Facts) {
	t.Helper()
	for _, statement := range facts.Statements(schema) {
		_, err := pool.Exec(t.Context(), statement)
		require.NoError(t, err, statement)
	}
}

// load fills tables with the rows of a mode, as they were when Marten had written them.
func load(t *testing.T, pool *pgxpool.Pool, mode string, facts *catalog.Facts) {
	t.Helper()
	ctx := t.Context()
	for _, table := range []string{"mt_streams", "mt_events"} {
		text, err := os.ReadFile(filepath.Join(fixtures, mode, table+".jsonl"))
		require.NoError(t, err)
		for line := range bytes.Lines(text) {
			_, err := pool.Exec(ctx, `insert into `+table+` select * from jsonb_populate_record(null::`+table+`, $1)`, string(line))
			require.NoError(t, err)
		}
	}
	for _, sequence := range facts.Sequences {
		of := ""
		if tenant, ok := strings.CutPrefix(sequence.Name, "mt_events_sequence_"); ok {
			of = " where tenant_id = '" + tenant + "'"
			_, err := pool.Exec(ctx, `insert into mt_tenant_partitions values ($1, $1)`, tenant)
			require.NoError(t, err)
		}
		_, err := pool.Exec(ctx, `select setval($1, coalesce((select max(seq_id) from mt_events`+of+`), 1))`, sequence.Name)
		require.NoError(t, err)
	}
}

var literalTime = regexp.MustCompile(`^'[^']+'::timestamp with time zone$`)

// normal replaces the one thing that differs between two stores of one shape: the time of
// their creation, which is the default of a column.
func normal(t *testing.T, facts *catalog.Facts) string {
	t.Helper()
	for _, table := range facts.Tables {
		for i, column := range table.Columns {
			if column.Default != nil && literalTime.MatchString(*column.Default) {
				moment := catalog.CreationTime
				table.Columns[i].Default = &moment
			}
		}
		slices.SortFunc(table.Indexes, func(a, b catalog.Index) int { return strings.Compare(a.Name, b.Name) })
		slices.SortFunc(table.Constraints, func(a, b catalog.Constraint) int { return strings.Compare(a.Name, b.Name) })
	}
	text, err := json.MarshalIndent(facts, "", " ")
	require.NoError(t, err)
	return string(text)
}

func TestTablesOfEachModeAreMadeAsMartenMadeThem(t *testing.T) {
	for _, mode := range modes(t) {
		t.Run(mode, func(t *testing.T) {
			pool := database(t)
			want := readFacts(t, mode)
			makeTables(t, pool, "public", want)
			got, err := catalog.Read(t.Context(), pool, "public")
			require.NoError(t, err)
			require.Equal(t, normal(t, want), normal(t, got))
		})
	}
}

// martenEvent is what Marten read back.
type martenEvent struct {
	Stream                 string
	Version, Sequence      uint64
	ID, Type, DotNet       string
	Timestamp              time.Time
	Tenant                 string
	Correlation, Causation *string
	User                   *string
	Headers                map[string]any
	Archived               bool
	Data                   json.RawMessage
}

// tenants returns the tenants of a mode; "" where it has none.
func tenants(mode string) []string {
	if strings.Contains(mode, "conjoined") {
		return []string{"acme", "globex"}
	}
	return []string{""}
}

func TestEveryModeReadsAsMartenReadsIt(t *testing.T) {
	for _, mode := range modes(t) {
		t.Run(mode, func(t *testing.T) {
			pool := database(t)
			facts := readFacts(t, mode)
			makeTables(t, pool, "public", facts)
			load(t, pool, mode, facts)
			for _, tenant := range tenants(mode) {
				for _, appends := range []marten.AppendMode{marten.Quick, marten.Rich} {
					opts := &marten.Options{Tenant: tenant, Append: appends, AcceptUntagged: true}
					if appends == marten.Rich {
						opts.Grace = 50 * time.Millisecond
					}
					store := openStore(t, pool, opts)
					want := expected(t, pool, mode, tenant)
					require.NotEmpty(t, want)
					requireSame(t, want, readAll(t, store, eventstore.ReadAllOptions{}))
					backward := readAll(t, store, eventstore.ReadAllOptions{Backward: true})
					slices.Reverse(backward)
					requireSame(t, want, backward)
					requireStreams(t, want, store)
				}
			}
		})
	}
}

func openStore(t *testing.T, pool *pgxpool.Pool, opts *marten.Options) *eventstore.Store {
	t.Helper()
	backend, err := marten.Open(t.Context(), pool, opts)
	require.NoError(t, err)
	store, err := eventstore.New(backend, &eventstore.Options{BackendLimits: true, AllowReserved: true, RetryFor: -1})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	return store
}

func readAll(t *testing.T, store *eventstore.Store, opts eventstore.ReadAllOptions) []eventstore.RecordedEvent {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var all []eventstore.RecordedEvent
	for event, err := range store.ReadAll(ctx, opts) {
		require.NoError(t, err)
		all = append(all, event)
	}
	return all
}

// expected is what Marten read back of a tenant, without its tombstones, and without the
// archived events of an ID that was started again.
func expected(t *testing.T, pool *pgxpool.Pool, mode, tenant string) []martenEvent {
	t.Helper()
	all := lines[martenEvent](t, mode, "expected.jsonl")
	active := make(map[string]bool)
	for _, event := range all {
		active[event.Stream] = active[event.Stream] || !event.Archived
	}
	rows, err := pool.Query(t.Context(), `select id::text, coalesce(type, '') from mt_streams where $1 in ('', tenant_id)`, tenant)
	require.NoError(t, err)
	kinds := make(map[string]string)
	var id, kind string
	_, err = pgx.ForEachRow(rows, []any{&id, &kind}, func() error {
		kinds[id] = kind
		return nil
	})
	require.NoError(t, err)
	var kept []martenEvent
	for _, event := range all {
		if event.Type == "tombstone" || tenant != "" && event.Tenant != tenant || event.Archived && active[event.Stream] && strings.Contains(mode, "archivepart") {
			continue
		}
		if strings.HasPrefix(mode, "guid") && kinds[event.Stream] != "" {
			event.Stream = kinds[event.Stream] + "-" + event.Stream
		}
		kept = append(kept, event)
	}
	return kept
}

func requireSame(t *testing.T, want []martenEvent, got []eventstore.RecordedEvent) {
	t.Helper()
	require.Len(t, got, len(want))
	for i, w := range want {
		g := got[i]
		require.Equal(t, w.Stream, g.Stream)
		require.Equal(t, w.Version, g.Version)
		require.Equal(t, eventstore.NewPosition(w.Sequence, 0), g.Position)
		require.Equal(t, w.ID, g.ID.String())
		require.Equal(t, w.Type, g.Type)
		require.Equal(t, w.Timestamp.UTC(), g.RecordedAt)
		require.Equal(t, eventstore.JSONContentType, g.ContentType)
		require.Equal(t, exact(t, w.Data), exact(t, g.Data), "%s", g.Data)
		metadata := make(map[string]string)
		for key, value := range w.Headers {
			text, ok := value.(string)
			if !ok {
				encoded, err := json.Marshal(value)
				require.NoError(t, err)
				text = string(encoded)
			}
			metadata[key] = text
		}
		for key, value := range map[string]*string{"$correlationId": w.Correlation, "$causationId": w.Causation, "user-name": w.User} {
			if value != nil {
				metadata[key] = *value
			}
		}
		require.True(t, maps.Equal(metadata, g.Metadata), "%v, and Marten %v", g.Metadata, metadata)
	}
}

// exact decodes JSON with its numbers as they are written.
func exact(t *testing.T, data []byte) any {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	var value any
	require.NoError(t, decoder.Decode(&value))
	return value
}

// requireStreams reads each stream by itself.
func requireStreams(t *testing.T, want []martenEvent, store *eventstore.Store) {
	t.Helper()
	streams := make(map[string][]martenEvent)
	for _, event := range want {
		streams[event.Stream] = append(streams[event.Stream], event)
	}
	for stream, events := range streams {
		var got []eventstore.RecordedEvent
		for event, err := range store.ReadStream(t.Context(), stream, eventstore.ReadOptions{}) {
			require.NoError(t, err)
			got = append(got, event)
		}
		requireSame(t, events, got)
	}
}
