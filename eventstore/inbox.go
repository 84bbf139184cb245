package eventstore

import (
	"context"
	"sync"
)

// A batch, and what waits for a durable subscription's handler, is at most so much.
const (
	batchEvents = 256
	batchBytes  = 4 << 20
)

// inbox is what a subscription has received and its handler has not taken yet. It
// bounds the memory: who puts waits while it is full. One goroutine puts and
// another takes.
type inbox struct {
	mu       sync.Mutex
	messages []Message
	bytes    int
	ended    bool
	err      error
	arrived  chan struct{} // holds a token when there is something to take
	taken    chan struct{} // holds a token when there is room
}

func newInbox() *inbox {
	return &inbox{arrived: make(chan struct{}, 1), taken: make(chan struct{}, 1)}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// put adds a message, and returns false where ctx is done.
func (b *inbox) put(ctx context.Context, m Message) bool {
	size := m.Event.Size()
	for {
		b.mu.Lock()
		if len(b.messages) == 0 || (len(b.messages) < batchEvents && b.bytes+size <= batchBytes) {
			b.messages = append(b.messages, m)
			b.bytes += size
			b.mu.Unlock()
			signal(b.arrived)
			return ctx.Err() == nil
		}
		b.mu.Unlock()
		select {
		case <-ctx.Done():
			return false
		case <-b.taken:
		}
	}
}

// end says that nothing will follow, and why.
func (b *inbox) end(err error) {
	b.mu.Lock()
	b.ended, b.err = true, err
	b.mu.Unlock()
	signal(b.arrived)
}

// take returns everything that is there, and waits where that is nothing. Its
// error is the context's, or why nothing will follow.
func (b *inbox) take(ctx context.Context) ([]Message, error) {
	for {
		if ctx.Err() != nil {
			return nil, ended(ctx)
		}
		b.mu.Lock()
		messages, done, err := b.messages, b.ended, b.err
		b.messages, b.bytes = nil, 0
		b.mu.Unlock()
		signal(b.taken)
		switch {
		case len(messages) > 0:
			return messages, nil
		case done:
			return nil, err
		}
		select {
		case <-ctx.Done():
		case <-b.arrived:
		}
	}
}
