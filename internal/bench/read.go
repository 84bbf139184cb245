package bench

import (
	"context"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// rareCategory is the category that is read alone.
const rareCategory = "rare"

func readCases() []Case {
	var cases []Case
	for _, length := range []int{10, 1000} {
		cases = append(cases, Case{
			Name: fmt.Sprintf("read a stream of %d", length),
			Run: func(ctx context.Context, store *eventstore.Store, d time.Duration) (Result, error) {
				stream := "read-" + uuid.NewString()
				for left := length; left > 0; left -= 10 {
					if _, err := store.Append(ctx, stream, eventstore.Any(), events(10)...); err != nil {
						return Result{}, err
					}
				}
				return reads(ctx, d, func() iter.Seq2[eventstore.RecordedEvent, error] {
					return store.ReadStream(ctx, stream, eventstore.ReadOptions{})
				})
			},
		})
	}
	return append(cases,
		Case{Name: "read all", Run: func(ctx context.Context, store *eventstore.Store, d time.Duration) (Result, error) {
			if err := fill(ctx, store, "order", 20_000); err != nil {
				return Result{}, err
			}
			return reads(ctx, d, func() iter.Seq2[eventstore.RecordedEvent, error] {
				return store.ReadAll(ctx, eventstore.ReadAllOptions{Limit: 100_000})
			})
		}},
		Case{Name: "read a category, 1 of 10", Run: func(ctx context.Context, store *eventstore.Store, d time.Duration) (Result, error) {
			if err := fill(ctx, store, rareCategory, 2_000); err != nil {
				return Result{}, err
			}
			return reads(ctx, d, func() iter.Seq2[eventstore.RecordedEvent, error] {
				return store.ReadAll(ctx, eventstore.ReadAllOptions{Limit: 100_000, Filter: eventstore.Filter{Categories: []string{rareCategory}}})
			})
		}},
	)
}

// fill appends events to new streams of a category, unless it has as many.
func fill(ctx context.Context, store *eventstore.Store, category string, n int) error {
	have := 0
	for _, err := range store.ReadAll(ctx, eventstore.ReadAllOptions{Limit: n, Filter: eventstore.Filter{Categories: []string{category}}}) {
		if err != nil {
			return err
		}
		have++
	}
	const writers, size = 16, 10
	var done sync.WaitGroup
	errs := make([]error, writers)
	for w := range writers {
		done.Go(func() {
			for range (n - have + writers*size - 1) / (writers * size) {
				if _, errs[w] = store.Append(ctx, category+"-"+uuid.NewString(), eventstore.NoStream(), events(size)...); errs[w] != nil {
					return
				}
			}
		})
	}
	done.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// reads ranges over what read returns, over and over and once at least. Latencies are those of a
// whole read.
func reads(ctx context.Context, d time.Duration, read func() iter.Seq2[eventstore.RecordedEvent, error]) (Result, error) {
	var all []time.Duration
	n, start := 0, time.Now()
	for first := true; (first || time.Since(start) < d) && ctx.Err() == nil; first = false {
		began := time.Now()
		for _, err := range read() {
			if err != nil {
				return Result{}, err
			}
			n++
		}
		all = append(all, time.Since(began))
	}
	result := Result{Rate: float64(n) / time.Since(start).Seconds(), Unit: "events", events: n, calls: 1}
	result.P50, result.P99 = latencies(all)
	return result, ctx.Err()
}
