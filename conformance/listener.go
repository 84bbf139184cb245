package conformance

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// slack is what a promise with a time in it is granted beside that time, for
// scheduling and the way to a server.
const slack = 2 * time.Second

// patience is how long a check waits for what has no time of its own, so that a
// backend which never delivers fails soon.
const patience = 10 * time.Second

// promptly is how long something may take that must not wait for anything.
const promptly = 2 * time.Second

// listener ranges over a subscription in a goroutine of its own and keeps what
// comes, for checks that write meanwhile.
type listener struct {
	cancel context.CancelFunc
	ended  chan struct{}
	poll   time.Duration

	mu       sync.Mutex
	messages []eventstore.Message
	err      error
}

// listen subscribes. The subscription ends with stop, or with the check.
func listen(ctx context.Context, env *Env, store *eventstore.Store, opts eventstore.SubscribeOptions) *listener {
	ctx, cancel := context.WithCancel(ctx)
	l := &listener{cancel: cancel, ended: make(chan struct{}), poll: store.Capabilities().PollInterval}
	go func() {
		defer close(l.ended)
		err := contain(func() error {
			for message, err := range store.Subscribe(ctx, opts) {
				if err != nil {
					return err
				}
				l.mu.Lock()
				l.messages = append(l.messages, message)
				l.mu.Unlock()
			}
			return nil
		})
		l.mu.Lock()
		l.err = err
		l.mu.Unlock()
	}()
	env.OnClose(func() error {
		_ = l.stop() // the check has asked for the error where it matters
		return nil
	})
	return l
}

// stop ends the subscription, waits until it has ended, and returns its error.
func (l *listener) stop() error {
	l.cancel()
	<-l.ended
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// seen returns the messages so far, and an error if the subscription has ended.
func (l *listener) seen() ([]eventstore.Message, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.ended:
		return l.messages, fmt.Errorf("the subscription ended after %d messages: %w", len(l.messages), l.err)
	default:
		return l.messages[:len(l.messages):len(l.messages)], nil
	}
}

// events returns the events so far.
func (l *listener) events() []eventstore.RecordedEvent {
	l.mu.Lock()
	defer l.mu.Unlock()
	return eventsOf(l.messages)
}

func eventsOf(messages []eventstore.Message) []eventstore.RecordedEvent {
	var events []eventstore.RecordedEvent
	for _, message := range messages {
		if message.Kind == eventstore.MessageEvent {
			events = append(events, message.Event)
		}
	}
	return events
}

// waitEvents waits until n events have come.
func (l *listener) waitEvents(ctx context.Context, n int) error {
	ctx, cancel := within(ctx, l.poll+patience)
	defer cancel()
	got := 0
	err := eventually(ctx, "events of a subscription", func() (bool, error) {
		messages, err := l.seen()
		got = len(eventsOf(messages))
		return got >= n, err
	})
	if err != nil {
		return fmt.Errorf("expected %d events from the subscription, got %d: %w", n, got, err)
	}
	return nil
}

// waitPast waits until the subscription says that everything up to a position
// was delivered or considered.
func (l *listener) waitPast(ctx context.Context, position eventstore.Position) error {
	ctx, cancel := within(ctx, l.poll+patience)
	defer cancel()
	var at eventstore.Position
	err := eventually(ctx, "a subscription's progress", func() (bool, error) {
		messages, err := l.seen()
		if len(messages) > 0 {
			at = messages[len(messages)-1].Place.Position
		}
		return !at.Before(position), err
	})
	if err != nil {
		return fmt.Errorf("expected the subscription to progress to position %s, it is at %s: %w", position, at, err)
	}
	return nil
}

// waitCaughtUp waits until the subscription says that it has caught up.
func (l *listener) waitCaughtUp(ctx context.Context) error {
	ctx, cancel := within(ctx, l.poll+patience)
	defer cancel()
	return eventually(ctx, "the signal CaughtUp", func() (bool, error) {
		messages, err := l.seen()
		for _, message := range messages {
			if message.Kind == eventstore.MessageCaughtUp {
				return true, nil
			}
		}
		return false, err
	})
}

// follow ranges over a subscription in the caller's goroutine until done returns
// true, which it must before the subscription ends.
func follow(ctx context.Context, store *eventstore.Store, opts eventstore.SubscribeOptions, done func(eventstore.Message) (bool, error)) error {
	for message, err := range store.Subscribe(ctx, opts) {
		if err != nil {
			return err
		}
		if enough, err := done(message); enough || err != nil {
			return err
		}
	}
	return fmt.Errorf("expected an error as the last pair of a subscription that ends by itself, got none")
}

// expectContiguous returns an error unless got is what all holds after a
// position: each event once, in order, without a gap, as far as got goes.
func expectContiguous(what string, all []eventstore.RecordedEvent, after eventstore.Position, got []eventstore.RecordedEvent) error {
	want := choice(all, func(e eventstore.RecordedEvent) bool { return after.Before(e.Position) }, false, 0)
	return expectSame(what, want[:min(len(want), len(got))], got)
}
