package bench

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
)

const eventsPerSecond = 1000

func latencyCases() []Case {
	var cases []Case
	for _, subscribers := range []int{1, 10} {
		cases = append(cases, Case{
			Name: fmt.Sprintf("subscription latency at %d events/s, %d subscribers", eventsPerSecond, subscribers),
			Run: func(ctx context.Context, store *eventstore.Store, d time.Duration) (Result, error) {
				return latency(ctx, store, subscribers, d)
			},
		})
	}
	return cases
}

// latency measures from the moment an append is called until a live subscription
// has the event. One event leaves every millisecond whatever became of the one
// before, so that a slow store is not asked less.
func latency(ctx context.Context, store *eventstore.Store, subscribers int, d time.Duration) (Result, error) {
	info, err := store.Info(ctx)
	if err != nil {
		return Result{}, err
	}
	category := "latency" + strconv.FormatInt(time.Now().UnixNano(), 36)
	total := int(d.Seconds() * eventsPerSecond)
	sent := make([]time.Time, total)
	ctx, cancel := context.WithTimeout(ctx, 3*d+10*time.Second)
	defer cancel()

	var mu sync.Mutex
	var all []time.Duration
	var listening, done sync.WaitGroup
	errs := make([]error, subscribers+1)
	for s := range subscribers {
		listening.Add(1)
		done.Go(func() {
			own, ready := make([]time.Duration, 0, total), sync.OnceFunc(listening.Done)
			defer ready()
			opts := eventstore.SubscribeOptions{After: info.Head.Position, Filter: eventstore.Filter{Categories: []string{category}}}
			for message, err := range store.Subscribe(ctx, opts) {
				if err != nil {
					errs[s] = err
					return
				}
				switch message.Kind {
				case eventstore.MessageCaughtUp:
					ready()
				case eventstore.MessageEvent:
					i, _ := strconv.Atoi(message.Event.Metadata["n"])
					mu.Lock()
					own = append(own, time.Since(sent[i]))
					mu.Unlock()
				case eventstore.MessageProgress, eventstore.MessageSealed:
				}
				if len(own) == total {
					break
				}
			}
			mu.Lock()
			all = append(all, own...)
			mu.Unlock()
		})
	}
	listening.Wait()
	var appends sync.WaitGroup
	tick := time.NewTicker(time.Second / eventsPerSecond)
	defer tick.Stop()
	for i := range total {
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
		mu.Lock()
		sent[i] = time.Now()
		mu.Unlock()
		appends.Go(func() {
			e := event()
			e.Metadata = map[string]string{"n": strconv.Itoa(i)}
			if _, err := store.Append(ctx, category+"-"+uuid.NewString(), eventstore.NoStream(), e); err != nil {
				mu.Lock()
				errs[subscribers] = err
				mu.Unlock()
				cancel()
			}
		})
	}
	appends.Wait()
	done.Wait()
	if err := errors.Join(errs...); err != nil {
		return Result{}, err
	}
	result := Result{Note: fmt.Sprintf("%d deliveries", len(all))}
	result.P50, result.P99 = latencies(all)
	return result, nil
}
