package eventstore

import (
	"context"
	"errors"
	"hash/maphash"
	"sync"
)

// A concurrent subscription has at most so many unfinished messages for each event
// that it may handle at once: one slow stream does not hold up the others at once,
// and memory is bounded.
const unfinishedPerLane = 64

// byStream handles events of different streams at the same time. Each stream
// belongs to one lane, whose events are handled one after the other.
func (w *worker) byStream(ctx context.Context, box *inbox) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	line := newLine(w.progress, w.sub.Concurrency*unfinishedPerLane)
	lanes := make([]chan *unfinished, w.sub.Concurrency)
	var working sync.WaitGroup
	var once sync.Once
	var failed error
	for i := range lanes {
		lane := make(chan *unfinished, unfinishedPerLane)
		lanes[i] = lane
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
			for m := range lane {
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
				line.finish(m)
			}
		})
	}
	err := w.deal(ctx, box, line, lanes)
	for _, lane := range lanes {
		close(lane)
	}
	working.Wait()
	if failed != nil {
		return failed
	}
	return err
}

// deal gives each event to the lane of its stream. It returns nil at the head,
// where the subscription ends there, and otherwise why it ended.
func (w *worker) deal(ctx context.Context, box *inbox, line *line, lanes []chan *unfinished) error {
	seed := maphash.MakeSeed()
	for {
		messages, err := box.take(ctx)
		if err != nil {
			return err
		}
		messages, caughtUp := w.untilCaughtUp(messages)
		for _, m := range messages {
			place, err := line.join(ctx, m)
			if err != nil {
				return err
			}
			if len(w.events([]Message{m})) == 0 {
				line.finish(place)
				continue
			}
			lane := lanes[maphash.String(seed, m.Event.Stream)%uint64(len(lanes))]
			select {
			case lane <- place:
			case <-ctx.Done():
				return ended(ctx)
			}
		}
		if caughtUp {
			return nil
		}
	}
}

// unfinished is a message on its way, in the line of its subscription.
type unfinished struct {
	message Message
	done    bool
}

// line keeps messages in their order until they are finished. The checkpoint
// follows its front: it never passes one that is not.
type line struct {
	progress *progress
	room     chan struct{}

	mu    sync.Mutex
	front []*unfinished
}

func newLine(p *progress, length int) *line {
	return &line{progress: p, room: make(chan struct{}, length)}
}

// join adds a message at the end, and waits while the line is full.
func (l *line) join(ctx context.Context, m Message) (*unfinished, error) {
	select {
	case l.room <- struct{}{}:
	case <-ctx.Done():
		return nil, ended(ctx)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	place := &unfinished{message: m}
	l.front = append(l.front, place)
	return place, nil
}

// finish marks a message, and lets the checkpoint pass what is finished in front.
func (l *line) finish(m *unfinished) {
	l.mu.Lock()
	defer l.mu.Unlock()
	m.done = true
	for len(l.front) > 0 && l.front[0].done {
		events := 0
		if l.front[0].message.Kind == MessageEvent {
			events = 1
		}
		l.progress.advance(l.front[0].message.Place, events)
		l.front = l.front[1:]
		<-l.room
	}
}
