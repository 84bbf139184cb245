package conformance

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime/pprof"
	"strings"
	"sync/atomic"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// user is someone who uses a handle while it is closed: it calls until an error.
type user struct {
	name string
	use  func() error

	calls atomic.Int64
	ended chan error
}

func (u *user) start() {
	u.ended = make(chan error, 1)
	go func() {
		u.ended <- contain(func() error {
			for {
				if err := u.use(); err != nil {
					return err
				}
				u.calls.Add(1)
			}
		})
	}()
}

// writer appends one event after the other and knows what it was told last.
type writer struct {
	acknowledged []eventstore.Event
	last         appendAttempt
}

func closeDuringUse(ctx context.Context, env *Env) error {
	for round := range 3 {
		if err := closeOnceDuringUse(ctx, env); err != nil {
			return fmt.Errorf("round %d: %w", round+1, err)
		}
	}
	return nil
}

func closeOnceDuringUse(ctx context.Context, env *Env) error {
	store, err := env.Again(ctx)
	if err != nil {
		return err
	}
	writers := make([]*writer, 4)
	var users []*user
	for i := range writers {
		w := &writer{last: appendAttempt{stream: env.Stream("Busy")}}
		writers[i] = w
		users = append(users, &user{name: "Append", use: func() error {
			w.acknowledged = append(w.acknowledged, w.last.events...)
			w.last.events = env.Events(1)
			_, w.last.err = store.Append(ctx, w.last.stream, eventstore.Exactly(uint64(len(w.acknowledged))), w.last.events...)
			return w.last.err
		}})
	}
	for _, call := range storeCalls(env, writers[0].last.stream) {
		switch call.name {
		case "ReadStream", "Info", "LoadSnapshot", "LoadCheckpoint":
		case "ReadAll":
			if !env.Caps.GlobalOrder.Supported() {
				continue
			}
		default:
			continue
		}
		users = append(users, &user{name: call.name, use: func() error { return call.run(ctx, store) }})
	}
	if env.Caps.GlobalOrder.Supported() {
		users = append(users, subscribers(ctx, store)...)
	}
	for _, u := range users {
		u.start()
	}
	err = eventually(ctx, "every user to have done something", func() (bool, error) {
		for _, u := range users {
			select {
			case err := <-u.ended:
				return false, fmt.Errorf("%s, before Close: %w", u.name, err)
			default:
			}
			if u.calls.Load() == 0 {
				return false, nil
			}
		}
		return true, nil
	})
	closed, late := returnsPromptly("Close during use", store.Close)
	if err := errors.Join(err, closed, late); err != nil {
		return err
	}
	for _, u := range users {
		err, late := returnsPromptly(u.name+" after Close during use", func() error { return <-u.ended })
		if late != nil {
			return late
		}
		if !errors.Is(err, eventstore.ErrClosed) && !errors.Is(err, eventstore.ErrUnavailable) && !errors.Is(err, eventstore.ErrUnknownOutcome) {
			return unexpected(u.name+" when its store is closed", fmt.Sprintf("%q, %q or %q", eventstore.ErrClosed, eventstore.ErrUnavailable, eventstore.ErrUnknownOutcome), fmt.Sprintf("%q", err))
		}
	}
	for _, w := range writers {
		if err := w.last.expectTruth(ctx, env.Store, w.acknowledged...); err != nil {
			return err
		}
		if err := w.last.settle(ctx, env.Store, w.acknowledged...); err != nil {
			return err
		}
	}
	return nil
}

// subscribers follow the store; each message is a call.
func subscribers(ctx context.Context, store *eventstore.Store) []*user {
	subscribe, run := &user{name: "Subscribe"}, &user{name: "Run"}
	subscribe.use = func() error {
		for _, err := range store.Subscribe(ctx, eventstore.SubscribeOptions{}) {
			if err != nil {
				return err
			}
			subscribe.calls.Add(1)
		}
		return errors.New("the subscription ended without an error")
	}
	run.use = func() error {
		return store.Run(ctx, eventstore.Subscription{Name: "busy", CheckpointEvery: 1, Handler: func(context.Context, eventstore.RecordedEvent) error {
			run.calls.Add(1)
			return nil
		}})
	}
	return []*user{subscribe, run}
}

// leakCycles is how often a handle is opened, used and closed.
const leakCycles = 5

// leakLabel marks goroutines: those that a marked one starts are marked too, so
// what a backend starts can be told from everything else in the process.
const leakLabel = "switchyard-conformance-handle"

func closeLeaksNothing(ctx context.Context, env *Env) error {
	stream := env.Stream("Order")
	if _, err := env.Fill(ctx, stream, 10, 5); err != nil {
		return err
	}
	// The first cycle is not marked: it may start what the process keeps.
	if err := useAndClose(ctx, env, stream); err != nil {
		return err
	}
	var err error
	mark := fmt.Sprintf("%p", env)
	pprof.Do(ctx, pprof.Labels(leakLabel, mark), func(ctx context.Context) {
		ended := make(chan error, 1)
		go func() { // in a goroutine of its own, so that the mark ends with it
			var errs []error
			for range leakCycles {
				errs = append(errs, useAndClose(ctx, env, stream))
			}
			ended <- errors.Join(errs...)
		}()
		err = <-ended
	})
	if err != nil {
		return err
	}
	patient, cancel := within(ctx, promptly)
	defer cancel()
	var left []string
	err = eventually(patient, "the goroutines of closed handles to end", func() (bool, error) {
		left, err = marked(mark)
		return len(left) == 0, err
	})
	if err != nil {
		return fmt.Errorf("%w; left after %d handles were opened, used and closed:\n%s", err, leakCycles, strings.Join(left, "\n"))
	}
	return nil
}

// useAndClose opens a handle, does a bit of everything, and closes it.
func useAndClose(ctx context.Context, env *Env, stream string) error {
	store, err := env.Again(ctx)
	if err != nil {
		return err
	}
	for _, call := range storeCalls(env, stream) {
		switch call.name {
		case "Append", "ReadStream", "SaveSnapshot", "LoadSnapshot", "LoadCheckpoint":
			err = errors.Join(err, call.run(ctx, store))
		}
	}
	if env.Caps.GlobalOrder.Supported() {
		err = errors.Join(err, abandonSubscription(ctx, store))
	}
	return errors.Join(err, store.Close())
}

// abandonSubscription leaves one subscription early and lets Close end another.
func abandonSubscription(ctx context.Context, store *eventstore.Store) error {
	for _, err := range store.Subscribe(ctx, eventstore.SubscribeOptions{}) {
		if err != nil {
			return err
		}
		break
	}
	waits, ended := make(chan struct{}, 1), make(chan error, 1)
	go func() {
		ended <- untilWaiting(store.Subscribe(ctx, eventstore.SubscribeOptions{}), func() { waits <- struct{}{} })
	}()
	select {
	case <-waits:
	case err := <-ended:
		return err
	}
	if err := store.Close(); err != nil {
		return err
	}
	err, late := returnsPromptly("Subscribe after Close", func() error { return <-ended })
	return errors.Join(late, expectError("Subscribe at Close", err, eventstore.ErrClosed))
}

// marked returns the stacks of the goroutines that carry a mark.
func marked(mark string) ([]string, error) {
	var profile bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&profile, 1); err != nil {
		return nil, fmt.Errorf("read the goroutine profile: %w", err)
	}
	var stacks []string
	var stack strings.Builder
	wanted := fmt.Sprintf("%q:%q", leakLabel, mark)
	lines := bufio.NewScanner(&profile)
	for lines.Scan() {
		if lines.Text() != "" {
			stack.WriteString(lines.Text() + "\n")
			continue
		}
		if strings.Contains(stack.String(), wanted) {
			stacks = append(stacks, stack.String())
		}
		stack.Reset()
	}
	return stacks, lines.Err()
}
