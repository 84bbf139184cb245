package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// Payload is the data of the events that are appended: about 200 bytes of JSON.
const Payload = `{"orderId":"8d5f2f0e-7f0f-4a83-9f6a-2f0e7f0f4a83","amount":1299,"currency":"EUR","items":[{"sku":"A-1","qty":2},{"sku":"B-7","qty":1}],"note":"a typical small event of about two hundred bytes"}`

func event() eventstore.Event {
	return eventstore.Event{Type: "OrderPlaced", Data: []byte(Payload)}
}

func events(n int) []eventstore.Event {
	all := make([]eventstore.Event, n)
	for i := range all {
		all[i] = event()
	}
	return all
}

// Shapes are how many writers append how many events at a time.
func Shapes() [][2]int {
	return [][2]int{{1, 1}, {8, 1}, {64, 1}, {256, 1}, {8, 10}, {64, 10}}
}

func newStreamsName(writers, size int) string {
	return fmt.Sprintf("append %d×%d new streams", writers, size)
}

func newStreams(ctx context.Context, store *eventstore.Store, writers, size int, d time.Duration) (Result, error) {
	return newStreamsNamed(ctx, store, writers, size, d, uuid.NewRandom)
}

func newStreamsNamed(ctx context.Context, store *eventstore.Store, writers, size int, d time.Duration, name func() (uuid.UUID, error)) (Result, error) {
	return Writers(ctx, writers, size, d, func(ctx context.Context, _ int) error {
		id, err := name()
		if err == nil {
			_, err = store.Append(ctx, "order-"+id.String(), eventstore.NoStream(), events(size)...)
		}
		return err
	})
}

func appendCases() []Case {
	var cases []Case
	for _, shape := range Shapes() {
		writers, size := shape[0], shape[1]
		cases = append(cases, Case{
			Name: newStreamsName(writers, size),
			Run: func(ctx context.Context, store *eventstore.Store, d time.Duration) (Result, error) {
				return newStreams(ctx, store, writers, size, d)
			},
		})
	}
	for _, writers := range []int{8, 64} {
		cases = append(cases, Case{
			Name: fmt.Sprintf("append %d×1 one hot stream, any", writers),
			Run: func(ctx context.Context, store *eventstore.Store, d time.Duration) (Result, error) {
				stream := "hot-" + uuid.NewString()
				return Writers(ctx, writers, 1, d, func(ctx context.Context, _ int) error {
					_, err := store.Append(ctx, stream, eventstore.Any(), event())
					return err
				})
			},
		})
	}
	for _, writers := range []int{1, 8} { // one alone shows what turns can reach
		cases = append(cases, Case{
			Name: fmt.Sprintf("append %d×1 one hot stream, exactly", writers),
			Run: func(ctx context.Context, store *eventstore.Store, d time.Duration) (Result, error) {
				return conflicts(ctx, store, writers, d)
			},
		})
	}
	return cases
}

// Writers has writers call write over and over for the duration, each of them once at
// least. The rate counts events, size for each call.
func Writers(ctx context.Context, writers, size int, d time.Duration, write func(ctx context.Context, writer int) error) (Result, error) {
	var mu sync.Mutex
	var all []time.Duration
	var failed atomic.Pointer[error]
	var done sync.WaitGroup
	start := time.Now()
	for w := range writers {
		done.Go(func() {
			var own []time.Duration
			for first := true; (first || time.Since(start) < d) && failed.Load() == nil; first = false {
				began := time.Now()
				if err := write(ctx, w); err != nil {
					failed.CompareAndSwap(nil, &err)
					return
				}
				own = append(own, time.Since(began))
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, own...)
		})
	}
	done.Wait()
	elapsed := time.Since(start)
	if err := failed.Load(); err != nil {
		return Result{}, *err
	}
	result := Result{Rate: float64(len(all)*size) / elapsed.Seconds(), Unit: "events", events: len(all) * size, calls: len(all)}
	result.P50, result.P99 = latencies(all)
	return result, nil
}

// conflicts has writers read the version of one stream and append with it.
// The rate counts the winners; the note says how many lost.
func conflicts(ctx context.Context, store *eventstore.Store, writers int, d time.Duration) (Result, error) {
	stream := "hot-" + uuid.NewString()
	var lost, won atomic.Int64
	result, err := Writers(ctx, writers, 1, d, func(ctx context.Context, _ int) error {
		for {
			version, err := store.StreamVersion(ctx, stream)
			if err != nil {
				return err
			}
			_, err = store.Append(ctx, stream, eventstore.Exactly(version), event())
			if !errors.Is(err, eventstore.ErrConflict) {
				won.Add(1)
				return err
			}
			lost.Add(1)
		}
	})
	result.Note = fmt.Sprintf("%.1f conflicts for each success", float64(lost.Load())/float64(max(1, won.Load())))
	return result, err
}
