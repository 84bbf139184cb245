package decider_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/backends/sqlite"
	"github.com/switchyard-dev/switchyard/decider"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// transactByHand is the loop as an application writes it without this package: bounded,
// with a pause, and with IDs that are set before the append.
func transactByHand(ctx context.Context, store *eventstore.Store, stream string, decide decision) (Account, error) {
	var err error
	for range 10 {
		var account Account
		var version uint64
		for recorded, err := range store.ReadStream(ctx, stream, eventstore.ReadOptions{}) {
			if err != nil {
				return Account{}, err
			}
			event, err := decodeByHand(recorded)
			if err != nil {
				return Account{}, err
			}
			account, version = account.evolve(event), recorded.Version
		}
		events, refusal := decide(account)
		if refusal != nil || len(events) == 0 {
			return account, refusal
		}
		stored := make([]eventstore.Event, len(events))
		for i, event := range events {
			if stored[i], err = encodeByHand(event); err != nil {
				return Account{}, err
			}
			account = account.evolve(event)
		}
		if _, err = store.Append(ctx, stream, eventstore.Exactly(version), stored...); !errors.Is(err, eventstore.ErrConflict) {
			return account, err
		}
		timer := time.NewTimer(time.Millisecond)
		select {
		case <-ctx.Done():
			return Account{}, ctx.Err()
		case <-timer.C:
		}
	}
	return Account{}, err
}

func decodeByHand(recorded eventstore.RecordedEvent) (Event, error) {
	switch recorded.Type {
	case "Paid":
		var e Paid
		err := json.Unmarshal(recorded.Data, &e)
		return e, err
	case "Withdrawn":
		var e Withdrawn
		err := json.Unmarshal(recorded.Data, &e)
		return e, err
	}
	return nil, fmt.Errorf("unknown event %s", recorded.Type)
}

func encodeByHand(event Event) (eventstore.Event, error) {
	stored := eventstore.Event{ContentType: eventstore.JSONContentType}
	switch event.(type) {
	case Paid:
		stored.Type = "Paid"
	case Withdrawn:
		stored.Type = "Withdrawn"
	default:
		return stored, fmt.Errorf("unknown event %T", event)
	}
	var err error
	if stored.Data, err = json.Marshal(event); err != nil {
		return stored, err
	}
	stored.ID, err = uuid.NewV7()
	return stored, err
}

// filled makes streams with so many events each.
func filled(t testing.TB, store *eventstore.Store, streams, events int) []string {
	t.Helper()
	names := make([]string, streams)
	for i := range names {
		names[i] = "account-" + uuid.NewString()
		for from := 0; from < events; from += 50 {
			batch := make([]eventstore.Event, min(50, events-from))
			for j := range batch {
				batch[j] = eventstore.Event{Type: "Paid", Data: []byte(`{"Cents":7}`)}
			}
			_, err := store.Append(t.Context(), names[i], eventstore.Exactly(uint64(from)), batch...)
			require.NoError(t, err)
		}
	}
	return names
}

// way is one way to decide.
type way struct {
	name string
	do   func(ctx context.Context, stream string) error
}

func waysToDecide(t testing.TB, store *eventstore.Store) []way {
	plain, cached := accounts(t, store, nil), accounts(t, store, &decider.Options{CacheSize: 1 << 20})
	return []way{
		{"by-hand", func(ctx context.Context, stream string) error {
			_, err := transactByHand(ctx, store, stream, pay(1))
			return err
		}},
		{"Transact", func(ctx context.Context, stream string) error {
			_, err := plain.Transact(ctx, stream, pay(1))
			return err
		}},
		{"Do-with-ID", func(ctx context.Context, stream string) error {
			_, err := plain.Do(ctx, decider.Command{Stream: stream, ID: uuid.New()}, pay(1))
			return err
		}},
		{"cached", func(ctx context.Context, stream string) error {
			_, err := cached.Transact(ctx, stream, pay(1))
			return err
		}},
	}
}

// TestTransactAllocatesLittleMoreThanALoopByHand holds the layer's own cost to 6
// allocations a call.
func TestTransactAllocatesLittleMoreThanALoopByHand(t *testing.T) {
	for _, events := range []int{0, 10} {
		store := newStore(t, memory.New(), nil)
		allocations := make(map[string]float64)
		for _, way := range waysToDecide(t, store)[:2] {
			streams := filled(t, store, 101, events)
			n := 0
			allocations[way.name] = testing.AllocsPerRun(100, func() {
				require.NoError(t, way.do(t.Context(), streams[n]))
				n++
			})
		}
		t.Logf("%d events: %v allocations a call", events, allocations)
		// An event is one more: the value in the interface, which the loop by hand has too.
		require.LessOrEqual(t, allocations["Transact"]-allocations["by-hand"], float64(6+events), "with %d events in the stream", events)
	}
}

// BenchmarkWays compares Transact with the loop by hand, call by call in turns within
// one run: what counts is the ratio. An operation is 64 calls of each way on streams of
// their own.
//
//	go test -run '^$' -bench 'Ways' -benchtime 200x ./decider
func BenchmarkWays(b *testing.B) {
	for _, on := range []struct {
		name  string
		store func(b *testing.B) *eventstore.Store
	}{
		{"memory", func(b *testing.B) *eventstore.Store { return newStore(b, memory.New(), nil) }},
		{"sqlite", func(b *testing.B) *eventstore.Store {
			backend, err := sqlite.Open(b.Context(), filepath.Join(b.TempDir(), "events.db"), nil)
			require.NoError(b, err)
			return newStore(b, backend, nil)
		}},
		{"postgres", func(b *testing.B) *eventstore.Store {
			return newStore(b, openPostgres(b, server.Database(b)), nil)
		}},
	} {
		for _, events := range []int{0, 10, 100} {
			b.Run(fmt.Sprintf("%s/%d-events", on.name, events), func(b *testing.B) {
				store := on.store(b)
				compareWays(b, store, waysToDecide(b, store), events)
			})
		}
	}
}

const callsInARound = 64

func compareWays(b *testing.B, store *eventstore.Store, ways []way, events int) {
	b.Helper()
	took := make([][]time.Duration, len(ways))
	for b.Loop() {
		streams := make([][]string, len(ways))
		for w, way := range ways {
			streams[w] = filled(b, store, callsInARound, events)
			if way.name == "cached" {
				for _, stream := range streams[w] { // which then is in the cache
					require.NoError(b, way.do(b.Context(), stream))
				}
			}
		}
		for call := range callsInARound {
			for _, w := range rand.Perm(len(ways)) { // nobody always comes after the same
				begin := time.Now()
				if err := ways[w].do(b.Context(), streams[w][call]); err != nil {
					b.Fatal(err)
				}
				took[w] = append(took[w], time.Since(begin))
			}
		}
	}
	byHand := median(took[0])
	for w, way := range ways {
		b.ReportMetric(float64(median(took[w]).Nanoseconds()), "ns/"+way.name)
		if w > 0 {
			b.ReportMetric(float64(median(took[w]))/float64(byHand), "x-by-hand/"+way.name)
		}
	}
}

// median is that of single calls, which the machine's other work does not change much.
func median(all []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[len(sorted)/2]
}

// BenchmarkHotStream has 8 goroutines decide on one stream.
//
//	go test -run '^$' -bench HotStream -benchtime 2000x ./decider
func BenchmarkHotStream(b *testing.B) {
	for _, turns := range []bool{true, false} {
		b.Run(fmt.Sprintf("turns=%t", turns), func(b *testing.B) {
			d := accounts(b, newStore(b, memory.New(), nil), &decider.Options{CacheSize: 10, Retry: decider.Retry{Attempts: 1000}})
			if !turns {
				decider.WithoutTurns(d)
			}
			var left, attempts atomic.Int64
			left.Store(int64(b.N))
			b.ResetTimer()
			var workers sync.WaitGroup
			for range 8 {
				workers.Go(func() {
					for left.Add(-1) >= 0 {
						res, err := d.Transact(b.Context(), "account-hot", pay(1))
						if err != nil {
							b.Error(err)
							return
						}
						attempts.Add(int64(res.Attempts))
					}
				})
			}
			workers.Wait()
			b.ReportMetric(float64(attempts.Load())/float64(b.N), "attempts/op")
		})
	}
}

// BenchmarkHotStreams has 16 goroutines decide on two streams at once, half of them in the
// other order. A decision that gives up after its attempts is no failure: it is counted.
//
//	go test -run '^$' -bench HotStreams -benchtime 2000x ./decider
func BenchmarkHotStreams(b *testing.B) {
	for name, open := range map[string]func() eventstore.Backend{
		"memory": func() eventstore.Backend { return memory.New() },
		"sqlite": func() eventstore.Backend {
			backend, err := openURL(b.Context(), "sqlite:"+filepath.Join(b.TempDir(), "events.db"))
			require.NoError(b, err)
			return backend
		},
	} {
		b.Run(name, func(b *testing.B) {
			store := newStore(b, open(), nil)
			d := accounts(b, store, &decider.Options{CacheSize: 10})
			var left, attempts, gaveUp atomic.Int64
			left.Store(int64(b.N))
			b.ResetTimer()
			var workers sync.WaitGroup
			for worker := range 16 {
				order := []string{"account-a", "account-b"}
				if worker%2 == 1 {
					slices.Reverse(order)
				}
				workers.Go(func() {
					for left.Add(-1) >= 0 {
						_, err := decider.Atomically(b.Context(), store, nil, func(tx *decider.Tx) error {
							attempts.Add(1)
							for _, name := range order {
								s, err := d.In(tx, name)
								if err != nil {
									return err
								}
								s.Add(Paid{1})
							}
							return nil
						})
						switch {
						case errors.Is(err, eventstore.ErrConflict):
							gaveUp.Add(1)
						case err != nil:
							b.Error(err)
							return
						}
					}
				})
			}
			workers.Wait()
			b.ReportMetric(float64(attempts.Load())/float64(b.N), "attempts/op")
			b.ReportMetric(100*float64(gaveUp.Load())/float64(b.N), "%gave-up")
		})
	}
}
