package target

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// asked is a question where a name is, which all who asked before it was sent share.
type asked struct {
	done   chan struct{} // closed when it is answered
	result eventstore.LoadCheckpointResult
	err    error
}

// askPatience is how long an answer may take.
const askPatience = 5 * time.Second

// Reached is [projection.Reacher]'s. Of one name one question at a time is under way,
// over one connection; whoever comes meanwhile shares the next one. So the answer is
// never older than the call, and many waiters leave the owner its connections.
func (t *Target[Tx]) Reached(ctx context.Context, name string) (eventstore.LoadCheckpointResult, error) {
	t.mu.Lock()
	next, asking := t.asks[name]
	if next == nil {
		next = &asked{done: make(chan struct{})}
		t.asks[name] = next
	}
	if !asking {
		go t.ask(context.WithoutCancel(ctx), name)
	}
	t.mu.Unlock()
	select {
	case <-next.done:
		return next.result, next.err
	case <-ctx.Done():
		return eventstore.LoadCheckpointResult{}, ctx.Err()
	}
}

// ask asks for as long as somebody wants to know. While it does, there is an entry for
// the name: the next question, or nil where nobody has come since the last was sent.
func (t *Target[Tx]) ask(ctx context.Context, name string) {
	for {
		t.mu.Lock()
		question := t.asks[name]
		if question == nil {
			delete(t.asks, name)
			t.mu.Unlock()
			return
		}
		t.asks[name] = nil
		t.mu.Unlock()
		t.answer(ctx, name, question)
	}
}

func (t *Target[Tx]) answer(ctx context.Context, name string, question *asked) {
	defer close(question.done)
	ctx, cancel := context.WithTimeout(ctx, askPatience)
	defer cancel()
	question.result, question.err = t.Load(ctx, eventstore.LoadCheckpointRequest{Name: name})
	if errors.Is(question.err, context.DeadlineExceeded) { // which is not the caller's
		question.err = fmt.Errorf("%w: no answer within %s", eventstore.ErrUnavailable, askPatience)
	}
}
