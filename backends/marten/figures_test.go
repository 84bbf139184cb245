package marten_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/marten"
	"github.com/switchyard-dev/switchyard/eventstore"
)

const (
	figureRounds = 5
	figureRound  = 700 * time.Millisecond
	payload      = `{"OrderId": "8d5f2f0e-7f0f-4a83-9f6a-2f0e7f0f4a83", "Amount": 1299, "Currency": "EUR", "Lines": [{"Sku": "A-1", "Qty": 2}, {"Sku": "B-7", "Qty": 1}], "Note": "a typical small event of about two hundred bytes"}`
)

// rate runs workers for a round and returns what they did in a second.
func rate(b *testing.B, workers int, do func(ctx context.Context) error) float64 {
	b.Helper()
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	var done atomic.Int64
	var working sync.WaitGroup
	began := time.Now()
	for range workers {
		working.Go(func() {
			for time.Since(began) < figureRound {
				if err := do(ctx); err != nil {
					b.Errorf("%v", err)
					return
				}
				done.Add(1)
			}
		})
	}
	working.Wait()
	return float64(done.Load()) / time.Since(began).Seconds()
}

func median(all []float64) float64 {
	slices.Sort(all)
	return all[len(all)/2]
}

func figurePool(b *testing.B) *pgxpool.Pool {
	b.Helper()
	config, err := pgxpool.ParseConfig(server.Database(b))
	require.NoError(b, err)
	config.MaxConns = 80
	pool, err := pgxpool.NewWithConfig(b.Context(), config)
	require.NoError(b, err)
	b.Cleanup(pool.Close)
	require.NoError(b, marten.Create(b.Context(), pool, "", marten.Creation{}))
	return pool
}

// The baseline is what a .NET writer does at the least: one call of the store's own
// function an append, with an expected version.
//
//	go test ./backends/marten -run '^$' -bench Figures -benchtime 1x
func BenchmarkFiguresOfAppends(b *testing.B) {
	for _, writers := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("%d writers", writers), func(b *testing.B) {
			pool := figurePool(b)
			backend, err := marten.Open(b.Context(), pool, &marten.Options{Append: marten.Quick})
			require.NoError(b, err)
			store, err := eventstore.New(backend, nil)
			require.NoError(b, err)
			defer store.Close()
			ours := func(ctx context.Context) error {
				_, err := store.Append(ctx, "order-"+uuid.NewString(), eventstore.NoStream(), eventstore.Event{Type: "order_placed", Data: []byte(payload)})
				return err
			}
			bare := func(ctx context.Context) error {
				_, err := pool.Exec(ctx, `select mt_quick_append_events(stream => $1, stream_type => null, tenantid => '*DEFAULT*', event_ids => $2::uuid[], event_types => array['order_placed'],
					dotnet_types => array[''], bodies => array[$3::jsonb], bdatas => null, causation_ids => null, correlation_ids => null, headers => null, user_names => null, expected_version => 0)`,
					"order-"+uuid.NewString(), []uuid.UUID{uuid.Must(uuid.NewV7())}, payload)
				return err
			}
			var rates, baselines []float64
			for range figureRounds {
				baselines = append(baselines, rate(b, writers, bare))
				rates = append(rates, rate(b, writers, ours))
			}
			b.ReportMetric(median(rates), "appends/s")
			b.ReportMetric(median(baselines), "baseline/s")
			b.ReportMetric(median(rates)/median(baselines), "ratio")
		})
	}
}

func BenchmarkFiguresOfReads(b *testing.B) {
	pool := figurePool(b)
	const events = 100_000
	_, err := pool.Exec(b.Context(), `with s as (insert into mt_streams (id, version) select 'order-' || g, 10 from generate_series(1, $1::int / 10) g returning id)
		insert into mt_events (seq_id, id, stream_id, version, data, type, timestamp, mt_dotnet_type, is_archived)
		select nextval('mt_events_sequence'), gen_random_uuid(), s.id, v, $2::jsonb, 'order_placed', now(), '', false from s, generate_series(1, 10) v`, events, payload)
	require.NoError(b, err)
	_, err = pool.Exec(b.Context(), `vacuum analyze mt_events`)
	require.NoError(b, err)
	scan := func() float64 {
		began, n := time.Now(), 0
		rows, err := pool.Query(b.Context(), `select seq_id, id, stream_id, version, data::text, type, timestamp, headers::text, correlation_id, causation_id, user_name from mt_events order by seq_id`)
		require.NoError(b, err)
		var seq, version int64
		var id uuid.UUID
		var stream, data, kind string
		var at time.Time
		var headers, correlation, causation, user *string
		_, err = pgx.ForEachRow(rows, []any{&seq, &id, &stream, &version, &data, &kind, &at, &headers, &correlation, &causation, &user}, func() error { n++; return nil })
		require.NoError(b, err)
		require.Equal(b, events, n)
		return float64(n) / time.Since(began).Seconds()
	}
	read := func() float64 {
		began, n := time.Now(), 0
		backend, err := marten.Open(b.Context(), pool, &marten.Options{Append: marten.Quick})
		require.NoError(b, err)
		store, err := eventstore.New(backend, nil)
		require.NoError(b, err)
		defer store.Close()
		for _, err := range store.ReadAll(b.Context(), eventstore.ReadAllOptions{}) {
			require.NoError(b, err)
			n++
		}
		require.Equal(b, events, n)
		return float64(n) / time.Since(began).Seconds()
	}
	var reads, scans []float64
	for range figureRounds {
		scans, reads = append(scans, scan()), append(reads, read())
	}
	b.ReportMetric(median(reads), "events/s")
	b.ReportMetric(median(scans), "baseline/s")
	b.ReportMetric(median(reads)/median(scans), "ratio")
}

func BenchmarkFiguresOfLiveLatency(b *testing.B) {
	pool := figurePool(b)
	opened := func() *eventstore.Store {
		backend, err := marten.Open(b.Context(), pool, &marten.Options{Append: marten.Quick})
		require.NoError(b, err)
		store, err := eventstore.New(backend, nil)
		require.NoError(b, err)
		b.Cleanup(func() { _ = store.Close() })
		return store
	}
	writer, reader := opened(), opened()
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	var mu sync.Mutex
	sent := make(map[uuid.UUID]time.Time)
	took := make(chan float64, 1000)
	go func() {
		for message, err := range reader.Subscribe(ctx, eventstore.SubscribeOptions{}) {
			if err != nil {
				return
			}
			mu.Lock()
			if at, ok := sent[message.Event.ID]; ok && message.Kind == eventstore.MessageEvent {
				took <- float64(time.Since(at).Milliseconds())
			}
			mu.Unlock()
		}
	}()
	const events = 100
	for range events {
		event := eventstore.Event{ID: uuid.New(), Type: "order_placed", Data: []byte(payload)}
		mu.Lock()
		sent[event.ID] = time.Now()
		mu.Unlock()
		_, err := writer.Append(ctx, "order-"+uuid.NewString(), eventstore.Any(), event)
		require.NoError(b, err)
		<-time.After(37 * time.Millisecond)
	}
	var all []float64
	for range events {
		all = append(all, <-took)
	}
	slices.Sort(all)
	b.ReportMetric(all[len(all)/2], "p50-ms")
	b.ReportMetric(all[len(all)*99/100], "p99-ms")
}
