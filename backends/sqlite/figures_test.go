package sqlite

import (
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// BenchmarkFigures prints the table of figures that this backend is held to:
//
//	go test ./backends/sqlite -run '^$' -bench '^BenchmarkFigures$' -benchtime 1x
//
// The baselines of writing are bare loops on the same driver, through the same
// thin layer over it, with the same settings, schema and rows, one statement a
// row, and with every row encoded beforehand. The baseline of reading is a loop
// over database/sql's Scan; a loop over the driver alone stands below it. Ours go through eventstore.Store. Baseline and ours take turns, and
// a ratio is the median over the turns of ours by its neighbour.
func BenchmarkFigures(b *testing.B) {
	for range b.N {
		const turns = 5
		figures := make([]figure, 0, 5)
		add := func(name string, atLeast float64, base string, turn func() (base, ours float64)) {
			f := figure{name: name, base: base, atLeast: atLeast}
			for range turns {
				f.add(turn())
			}
			figures = append(figures, f)
		}
		add("1 writer × 1 event", 0.85, "bare insert and commit", func() (float64, float64) {
			return oneWriter(b, 1500)
		})
		add("64 writers × 1 event", 12, "1 writer", func() (float64, float64) {
			return appends(b, 1, 1500), appends(b, 64, 24000)
		})
		add("1000 events an append, 1000 parts", 0.6, "bare 1000-row commits", func() (float64, float64) {
			return bareInserts(b, 1000, 20000), imports(b, 1000, 20000)
		})
		add("1000 events an append, 100 parts", 0.6, "bare 1000-row commits", func() (float64, float64) {
			return bareInserts(b, 1000, 20000), imports(b, 100, 20000)
		})
		path := filled(b, 50000)
		add("ReadAll of 50,000 events", 0.7, "bare scan, database/sql", func() (float64, float64) {
			return sqlScan(b, path), readAllRate(b, path)
		})
		add("ReadAll of 50,000 events", 0, "bare scan, driver alone", func() (float64, float64) {
			return bareScan(b, path), readAllRate(b, path)
		})
		b.Log(table(figures))
	}
}

type figure struct {
	name, base         string
	atLeast            float64
	bases, ours, ratio []float64
}

func (f *figure) add(base, ours float64) {
	f.bases, f.ours, f.ratio = append(f.bases, base), append(f.ours, ours), append(f.ratio, ours/base)
}

func table(figures []figure) string {
	var s strings.Builder
	fmt.Fprintf(&s, "\n%-35s %10s   %-28s %10s  %7s  %9s\n", "sqlite", "events/s", "baseline", "events/s", "ratio", "at least")
	for _, f := range figures {
		fmt.Fprintf(&s, "%-35s %10.0f   %-28s %10.0f  %6.2f×", f.name, median(f.ours), f.base, median(f.bases), median(f.ratio))
		switch {
		case f.atLeast == 0: // for comparison only
		case median(f.ratio) < f.atLeast:
			fmt.Fprintf(&s, "  %8.2f×  MISSED", f.atLeast)
		default:
			fmt.Fprintf(&s, "  %8.2f×  met", f.atLeast)
		}
		s.WriteByte('\n')
	}
	return s.String()
}

func median(values []float64) float64 {
	return slices.Sorted(slices.Values(values))[len(values)/2]
}

// workload is the i-th event that every figure writes: streams of ten events,
// about 200 bytes an event with its metadata.
func workload(i int) eventstore.StreamAppend {
	const perStream = 10
	return eventstore.StreamAppend{
		Stream:   fmt.Sprintf("order-%08d", i/perStream),
		Expected: eventstore.Exactly(uint64(i % perStream)),
		Events: []eventstore.Event{{
			ID:          uuid.Must(uuid.NewV7()),
			Type:        "OrderLineAdded",
			ContentType: eventstore.JSONContentType,
			Data:        fmt.Appendf(nil, `{"line":%d,"sku":"SKU-%06d","description":"hex bolt, stainless, M8 × 40","quantity":12,"price":{"amount":"4.20","currency":"EUR"}}`, i, i%997),
			Metadata:    map[string]string{eventstore.MetaCorrelationID: "0198c0de-0000-7000-8000-000000000042"},
		}},
	}
}

func rate(n int, start time.Time) float64 { return float64(n) / time.Since(start).Seconds() }

func openFresh(b testing.TB) (*eventstore.Store, string) {
	path := filepath.Join(b.TempDir(), "events.db")
	backend, err := Open(b.Context(), path, nil)
	require.NoError(b, err)
	store, err := eventstore.New(backend, &eventstore.Options{BackendLimits: true})
	require.NoError(b, err)
	return store, path
}

// bareInserts writes n rows, so many a commit, and returns the rows a second.
func bareInserts(b testing.TB, perCommit, n int) float64 {
	store, path := openFresh(b) // makes the schema
	require.NoError(b, store.Close())
	c, err := connect(b.Context(), mustFindFiles(b, path), writing)
	require.NoError(b, err)
	defer c.Close()
	rows := encoded(b, n)
	start := time.Now()
	for len(rows) > 0 {
		k := min(perCommit, len(rows))
		if err := bareCommit(c, rows[:k]); err != nil {
			b.Fatal(err)
		}
		rows = rows[k:]
	}
	return rate(n, start)
}

// encoded returns the workload as rows.
func encoded(b testing.TB, n int) [][]driver.Value {
	rows := make([][]driver.Value, n)
	for i := range rows {
		part := workload(i)
		version, _ := part.Expected.Exact()
		event := part.Events[0]
		metadata, err := encodeMetadata(event.Metadata)
		require.NoError(b, err)
		rows[i] = []driver.Value{part.Stream, int64(version) + 1, event.ID[:], event.Type, event.ContentType, event.Data, metadata, time.Now().UnixMicro()}
	}
	return rows
}

// oneWriter writes n events, one a commit, bare and through a Store. They take
// turns of 50 events, so that whatever else the machine does hits both.
func oneWriter(b testing.TB, n int) (bare, ours float64) {
	const turn = 50
	schema, path := openFresh(b)
	require.NoError(b, schema.Close())
	c, err := connect(b.Context(), mustFindFiles(b, path), writing)
	require.NoError(b, err)
	defer c.Close()
	store, _ := openFresh(b)
	defer store.Close()
	rows := encoded(b, n)
	var bareTime, ourTime time.Duration
	for first := 0; first < n; first += turn {
		start := time.Now()
		for i := first; i < first+turn; i++ {
			if err := bareCommit(c, rows[i:i+1]); err != nil {
				b.Fatal(err)
			}
		}
		bareTime += time.Since(start)
		parts := make([]eventstore.StreamAppend, 0, turn)
		for i := first; i < first+turn; i++ {
			parts = append(parts, workload(i))
		}
		start = time.Now()
		for _, part := range parts {
			if _, err := store.Append(b.Context(), part.Stream, part.Expected, part.Events...); err != nil {
				b.Fatal(err)
			}
		}
		ourTime += time.Since(start)
	}
	return float64(n) / bareTime.Seconds(), float64(n) / ourTime.Seconds()
}

func bareCommit(c *conn, rows [][]driver.Value) error {
	_, err := c.exec("BEGIN IMMEDIATE")
	for _, row := range rows {
		_, failed := c.exec(insertEvent, row...)
		err = errors.Join(err, failed)
	}
	_, failed := c.exec("COMMIT")
	return errors.Join(err, failed)
}

// appends writes n events one at a time from so many writers.
func appends(b testing.TB, writers, n int) float64 {
	store, _ := openFresh(b)
	defer store.Close()
	parts := make([]eventstore.StreamAppend, n)
	for i := range parts {
		parts[i] = workload(i)
	}
	var wg sync.WaitGroup
	var failed atomic.Pointer[error]
	start := time.Now()
	for w := range writers {
		wg.Go(func() {
			// Whole streams, so that each writer knows its versions.
			for i := w * 10; i < n; i += writers * 10 {
				for _, part := range parts[i:min(i+10, n)] {
					if _, err := store.Append(b.Context(), part.Stream, part.Expected, part.Events...); err != nil {
						failed.Store(&err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
	if err := failed.Load(); err != nil {
		b.Fatal(*err)
	}
	return rate(n, start)
}

// imports writes n events, 1000 an append, in so many parts: with 1000 parts,
// each event is judged by itself.
func imports(b testing.TB, partsPerAppend, n int) float64 {
	store, _ := openFresh(b)
	defer store.Close()
	batches := make([][]eventstore.StreamAppend, 0, n/1000)
	for i := 0; i < n; i += 1000 {
		batch := make([]eventstore.StreamAppend, 0, partsPerAppend)
		for j := i; j < i+1000; j++ {
			part := workload(j)
			if k := len(batch); k > 0 && partsPerAppend < 1000 && batch[k-1].Stream == part.Stream {
				batch[k-1].Events = append(batch[k-1].Events, part.Events...)
				continue
			}
			batch = append(batch, part)
		}
		batches = append(batches, batch)
	}
	start := time.Now()
	for _, batch := range batches {
		if _, err := store.AppendStreams(b.Context(), batch...); err != nil {
			b.Fatal(err)
		}
	}
	return rate(n, start)
}

// filled returns the path of a store with n events.
func mustFindFiles(b testing.TB, path string) *files {
	b.Helper()
	found, err := findFiles(path)
	require.NoError(b, err)
	return found
}

func filled(b testing.TB, n int) string {
	store, path := openFresh(b)
	defer store.Close()
	for i := 0; i < n; i += 1000 {
		batch := make([]eventstore.StreamAppend, 1000)
		for j := range batch {
			batch[j] = workload(i + j)
		}
		_, err := store.AppendStreams(b.Context(), batch...)
		require.NoError(b, err)
	}
	return path
}

func bareScan(b testing.TB, path string) float64 {
	c, err := connect(b.Context(), mustFindFiles(b, path), reading)
	require.NoError(b, err)
	defer c.Close()
	start := time.Now()
	rows, err := c.query(`SELECT ` + columns + ` FROM events ORDER BY position`)
	require.NoError(b, err)
	defer rows.Close()
	var row [columnCount]driver.Value
	n := 0
	for {
		if err := rows.Next(row[:]); errors.Is(err, io.EOF) {
			return rate(n, start)
		} else if err != nil {
			b.Fatal(err)
		}
		n++
	}
}

// sqlScan is what a program without us writes.
func sqlScan(b testing.TB, path string) float64 {
	db, err := sql.Open("sqlite", path)
	require.NoError(b, err)
	defer db.Close()
	start := time.Now()
	rows, err := db.QueryContext(b.Context(), `SELECT `+columns+` FROM events ORDER BY position`)
	require.NoError(b, err)
	defer rows.Close()
	var position, version, at int64
	var stream, eventType, contentType string
	var id, data []byte
	var metadata sql.NullString
	n := 0
	for rows.Next() {
		if err := rows.Scan(&position, &stream, &version, &id, &eventType, &contentType, &data, &metadata, &at); err != nil {
			b.Fatal(err)
		}
		n++
	}
	require.NoError(b, rows.Err())
	return rate(n, start)
}

func readAllRate(b testing.TB, path string) float64 {
	backend, err := Open(b.Context(), path, nil)
	require.NoError(b, err)
	store, err := eventstore.New(backend, nil)
	require.NoError(b, err)
	defer store.Close()
	start := time.Now()
	n := 0
	for _, err := range store.ReadAll(b.Context(), eventstore.ReadAllOptions{}) {
		if err != nil {
			b.Fatal(err)
		}
		n++
	}
	return rate(n, start)
}
