package eventstore

import (
	"context"
	"errors"
	"hash/maphash"
	"sync"
)

// A concurrent subscription has at most so many unfinished messages for each partition:
// one slow stream does not hold up the others at once, and memory is bounded.
const unfinishedPerPartition = 64

// byStream handles events of different streams at the same time. Each stream
// belongs to one partition, whose events are handled one after the other.
func (w *worker) byStream(ctx context.Context, box *inbox) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	marks := newWatermark(w.progress, w.sub.Concurrency*unfinishedPerPartition)
	partitions := make([]chan *unfinished, w.sub.Concurrency)
	var working sync.WaitGroup
	var once sync.Once
	var failed error
	for i := range partitions {
		partition := make(chan *unfinished, unfinishedPerPartition)
		partitions[i] = partition
		fail := func(err error) {
			once.Do(func() { failed = err })
			stop(err)
		}
		working.Go(func() {
			handling := false
			defer func() {
				if handling { // as t.FailNow and its like do
					fail(errors.New("the handler ended its goroutine in place of returning"))
				}
			}()
			for m := range partition {
				if ctx.Err() != nil {
					continue
				}
				handling = true
				err := w.settle(ctx, m.message.Event)
				handling = false
				if err != nil {
					fail(err)
					continue
				}
				marks.finish(m)
			}
		})
	}
	err := w.dispatch(ctx, box, marks, partitions)
	for _, partition := range partitions {
		close(partition)
	}
	working.Wait()
	if failed != nil {
		return failed
	}
	return err
}

// dispatch gives each event to the partition of its stream. It returns nil at the head,
// where the subscription ends there, and otherwise why it ended.
func (w *worker) dispatch(ctx context.Context, box *inbox, marks *watermark, partitions []chan *unfinished) error {
	seed := maphash.MakeSeed()
	for {
		messages, err := box.take(ctx)
		if err != nil {
			return err
		}
		messages, caughtUp := w.untilCaughtUp(messages)
		for _, m := range messages {
			place, err := marks.begin(ctx, m)
			if err != nil {
				return err
			}
			if len(w.events([]Message{m})) == 0 {
				marks.finish(place)
				continue
			}
			partition := partitions[maphash.String(seed, m.Event.Stream)%uint64(len(partitions))]
			select {
			case partition <- place:
			case <-ctx.Done():
				return ended(ctx)
			}
		}
		if caughtUp {
			return nil
		}
	}
}

// unfinished is a message that is being handled, or waits for it.
type unfinished struct {
	message Message
	done    bool
}

// watermark is the low-water mark of a subscription whose events are handled out of
// order: it keeps messages in their order until they are finished, and the checkpoint
// follows the first one that is not.
type watermark struct {
	progress *progress
	room     chan struct{}

	mu    sync.Mutex
	front []*unfinished
}

func newWatermark(p *progress, length int) *watermark {
	return &watermark{progress: p, room: make(chan struct{}, length)}
}

// begin adds a message at the end, and waits while there are as many as there may be.
func (w *watermark) begin(ctx context.Context, m Message) (*unfinished, error) {
	select {
	case w.room <- struct{}{}:
	case <-ctx.Done():
		return nil, ended(ctx)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	place := &unfinished{message: m}
	w.front = append(w.front, place)
	return place, nil
}

// finish marks a message, and lets the checkpoint pass what is finished in front.
func (w *watermark) finish(m *unfinished) {
	w.mu.Lock()
	defer w.mu.Unlock()
	m.done = true
	for len(w.front) > 0 && w.front[0].done {
		events := 0
		if w.front[0].message.Kind == MessageEvent {
			events = 1
		}
		w.progress.advance(w.front[0].message.Place, events)
		w.front = w.front[1:]
		<-w.room
	}
}
