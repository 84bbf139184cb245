package dynamodb

import (
	"context"
	"iter"
	"sync"
	"time"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventstore/adapter"
	"github.com/switchyard-dev/switchyard/internal/sleep"
)

// ownLook is how long a subscription that hears of nothing goes without looking for
// itself.
const ownLook = time.Minute

// Subscribe implements [eventstore.Backend]. The subscriptions of a handle share one
// look at the log's end.
func (b *Backend) Subscribe(ctx context.Context, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
	return func(yield func(eventstore.Message, error) bool) {
		leave := b.watch.enter()
		defer leave()
		source := adapter.FollowSource{Page: b.tail.page, Info: b.Info, Hint: &b.hint, Poll: max(ownLook, b.opts.Poll)}
		adapter.Follow(ctx, req, source)(yield)
	}
}

// watch looks at the end of the log while anybody subscribes, and wakes those who do
// where there is something new.
type watch struct {
	b *Backend

	mu    sync.Mutex
	users int
	end   context.CancelFunc
	done  chan struct{}
}

// enter makes sure that somebody looks, until leave is called.
func (w *watch) enter() (leave func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.users++; w.users == 1 {
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		w.end, w.done = cancel, done
		w.b.tail.keep(true)
		go func() {
			defer close(done)
			w.look(ctx)
		}()
	}
	return w.leave
}

func (w *watch) leave() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.users--; w.users == 0 {
		w.end()
		<-w.done
		w.b.tail.keep(false)
	}
}

// While others write, a look is worth more often.
const (
	busyPoll = 100 * time.Millisecond
	busyFor  = 5 * time.Second
)

// look asks for what follows the last item that is known.
func (w *watch) look(ctx context.Context) {
	pause := min(busyPoll, w.b.opts.Poll)
	news := time.Now()
	for {
		if sleep.For(ctx, pause) != nil || w.b.closed.Load() {
			return
		}
		found, err := w.b.tail.look(ctx, false)
		switch {
		case err != nil: // whoever subscribes looks for himself, and reports it
			w.b.hint.Notify()
			pause = w.b.opts.Poll
		case found:
			news, pause = time.Now(), min(busyPoll, w.b.opts.Poll)
		case time.Since(news) > busyFor:
			pause = min(2*pause, w.b.opts.Poll)
		}
	}
}
