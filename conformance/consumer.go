package conformance

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"github.com/switchyard-dev/switchyard/eventstore"
)

func consumerChecks() []Check {
	return []Check{
		{
			Name: "subscription/slow-consumer", Promise: 19, Core: true, Requires: globalOrder, Needs: NeedsOpenAgain,
			Sentence: "A subscriber that does not go on holds up no writer and no other subscriber, and misses nothing when it does.",
			Run:      slowConsumer,
		},
		{
			Name: "subscription/bounded-memory", Alone: true, plain: true, Promise: 19, Requires: globalOrder,
			Sentence: "A subscriber that does not go on costs a page of memory, however much is waiting for it.",
			Run:      boundedMemory,
		},
	}
}

// subscriber calls each with every message until it returns true or an error.
type subscriber func(ctx context.Context, each func(eventstore.Message) (bool, error)) error

// stalled is a subscriber that stops in the body of its loop, at its first event.
type stalled struct {
	reached chan struct{} // closed when it has its first event
	resume  chan struct{} // close it to let it go on
	ended   chan struct{}
	events  []eventstore.RecordedEvent // read them after ended
	err     error
}

// stall starts a subscriber that stalls, and then goes on to n events.
func stall(ctx context.Context, env *Env, subscribe subscriber, n int) *stalled {
	ctx, cancel := context.WithCancel(ctx)
	s := &stalled{reached: make(chan struct{}), resume: make(chan struct{}), ended: make(chan struct{})}
	go func() {
		defer close(s.ended)
		s.err = contain(func() error {
			return subscribe(ctx, func(m eventstore.Message) (bool, error) {
				if m.Kind != eventstore.MessageEvent {
					return false, nil
				}
				s.events = append(s.events, m.Event)
				if len(s.events) == 1 {
					close(s.reached)
					select {
					case <-s.resume:
					case <-ctx.Done():
					}
				}
				return len(s.events) == n, nil
			})
		})
	}()
	env.OnClose(func() error {
		cancel()
		<-s.ended
		return nil
	})
	return s
}

// waitFor waits for a channel to be closed.
func waitFor(ctx context.Context, what string, closed <-chan struct{}) error {
	select {
	case <-closed:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("expected %s in time: %w", what, ctx.Err())
	}
}

func slowConsumer(ctx context.Context, env *Env) error {
	const writers, appends = 4, 50
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	small, err := pagedStore(env, 4)
	if err != nil {
		return err
	}
	if _, err := env.Fill(ctx, env.Stream("Order"), 10, 5); err != nil {
		return err
	}
	const n = 10 + writers*appends
	slow := stall(ctx, env, func(ctx context.Context, each func(eventstore.Message) (bool, error)) error {
		return follow(ctx, small, eventstore.SubscribeOptions{}, each)
	}, n)
	if err := waitFor(ctx, "the first event", slow.reached); err != nil {
		return err
	}
	other := listen(ctx, env, small, eventstore.SubscribeOptions{})
	err = race(writers, func(i int) error {
		stream := env.Stream("Order")
		for range appends {
			if _, err := stores[i%2].Append(ctx, stream, eventstore.Any(), env.Event("Happened")); err != nil {
				return fmt.Errorf("append while a subscriber is slow: %w", err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := other.waitEvents(ctx, n); err != nil {
		return fmt.Errorf("another subscriber while one is slow: %w", err)
	}
	close(slow.resume)
	timed, cancel := within(ctx, env.Caps.PollInterval+patience)
	defer cancel()
	if err := waitFor(timed, "the end of the slow subscriber", slow.ended); err != nil {
		return err
	}
	if slow.err != nil {
		return slow.err
	}
	all, err := collect(env.Store.ReadAll(ctx, eventstore.ReadAllOptions{}))
	if err != nil {
		return err
	}
	if err := expectSame("the slow subscriber", all, slow.events); err != nil {
		return err
	}
	return expectSame("the other subscriber", all, other.events())
}

// boundedMemory has 16 subscribers stall with 8 MiB in front of each, and asks
// for pages of 256 KiB. A backend that queues without bound would hold 128 MiB;
// four times the pages are allowed.
func boundedMemory(ctx context.Context, env *Env) error {
	const subscribers, events, eventBytes, pageBytes = 16, 128, 64 << 10, 256 << 10
	const allowed = subscribers * 4 * pageBytes
	stream := env.Stream("Order")
	for i := range events / 8 {
		batch := make([]eventstore.Event, 8)
		for j := range batch {
			batch[j] = largeEvent(env, eventBytes)
		}
		if _, err := env.Store.Append(ctx, stream, eventstore.Exactly(uint64(8*i)), batch...); err != nil {
			return err
		}
	}
	backend := env.Fixture.Backend
	subscribe := func(ctx context.Context, each func(eventstore.Message) (bool, error)) error {
		req := eventstore.SubscribeRequest{PageSize: eventstore.PageSize{MaxEvents: 100, MaxBytes: pageBytes}}
		for message, err := range backend.Subscribe(ctx, req) {
			if err != nil {
				return err
			}
			if enough, err := each(message); enough || err != nil {
				return err
			}
		}
		return nil
	}
	before := heap()
	stalledOnes := make([]*stalled, subscribers)
	for i := range stalledOnes {
		stalledOnes[i] = stall(ctx, env, subscribe, 1)
	}
	for _, s := range stalledOnes {
		if err := waitFor(ctx, "the first event", s.reached); err != nil {
			return err
		}
	}
	// A backend that reads ahead has the time that these readers take to do so.
	err := race(subscribers, func(int) error {
		n := 0
		return subscribe(ctx, func(m eventstore.Message) (bool, error) {
			if m.Kind == eventstore.MessageEvent {
				n++
			}
			return n == events, nil
		})
	})
	if err != nil {
		return err
	}
	grown := heap() - before
	for _, s := range stalledOnes {
		select {
		case <-s.ended: // and what it held was freed
			return fmt.Errorf("expected a stalled subscriber to stall until its memory was measured, but it ended: %w", errors.Join(s.err, ctx.Err()))
		default:
		}
	}
	if grown > allowed {
		return unexpected(fmt.Sprintf("memory of %d subscribers that do not go on, with pages of %d KiB", subscribers, pageBytes>>10), fmt.Sprintf("at most %d KiB", allowed>>10), fmt.Sprintf("%d KiB", grown>>10))
	}
	return nil
}

// heap is how many bytes of objects are reachable.
func heap() int64 {
	var stats runtime.MemStats
	for range 2 { // pools let go at the second one
		runtime.GC()
	}
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}
