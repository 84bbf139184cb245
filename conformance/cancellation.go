package conformance

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"
	"time"

	"github.com/switchyard-dev/switchyard/eventstore"
)

func cancellationChecks() []Check {
	return []Check{
		{
			Name: "cancel/already-done", Promise: 20, Core: true,
			Sentence: "A context that is already cancelled or past its deadline does no I/O in any operation, and its own error comes back.",
			Run:      alreadyDone,
		},
		{
			Name: "cancel/backend-refuses", Promise: 20, Core: true,
			Sentence: "A done context ends every call of a backend promptly with the context's error, and nothing is written.",
			Run:      backendRefusesDone,
		},
		{
			Name: "cancel/waiting-subscription", Promise: 20, Core: true, Requires: globalOrder, Refused: refusesSubscriptions,
			Sentence: "A subscription that waits for events ends promptly with the context's error.",
			Run:      cancelWaiting,
		},
		{
			Name: "cancel/between-pages", Promise: 20, Core: true,
			Sentence: "A read whose context ends fetches no further page, and the context's error is its last pair.",
			Run:      cancelBetweenPages,
		},
		{
			Name: "cancel/during-append", Promise: 20, Core: true,
			Sentence: "An append whose context ends meanwhile is stored, or fails with the context's error and is not stored, or has an unknown outcome that appending again settles.",
			Run:      cancelDuringAppend,
		},
		{
			Name: "cancel/while-retrying", Promise: 20,
			Sentence: "A retry ends with its context, and an unknown outcome stays unknown.",
			Run:      cancelWhileRetrying,
		},
	}
}

// doneContext is a context that is done already, and the error it stands for.
type doneContext struct {
	name        string
	ctx         context.Context //nolint:containedctx // a row of a table
	want, other error
}

func doneContexts(ctx context.Context) []doneContext {
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	late, cancel := context.WithDeadline(ctx, time.Now().Add(-time.Minute))
	cancel() // after the deadline has passed: the error stays DeadlineExceeded
	return []doneContext{
		{"a cancelled context", cancelled, context.Canceled, context.DeadlineExceeded},
		{"a context past its deadline", late, context.DeadlineExceeded, context.Canceled},
	}
}

// expect returns an error unless err is this context's error and not the other one.
func (d doneContext) expect(what string, err error) error {
	if err := expectError(what, err, d.want); err != nil {
		return err
	}
	if errors.Is(err, d.other) {
		return unexpected(what, fmt.Sprintf("only %q", d.want), fmt.Sprintf("%q, which is %q too", err, d.other))
	}
	return nil
}

func alreadyDone(ctx context.Context, env *Env) error {
	stream := env.Stream("Order")
	stored, err := env.Fill(ctx, stream, 2, 2)
	if err != nil {
		return err
	}
	store, spy, err := spied(env, eventstore.Options{})
	if err != nil {
		return err
	}
	for _, done := range doneContexts(ctx) {
		for _, call := range storeCalls(env, stream) {
			what := call.name + " with " + done.name
			err, late := returnsPromptly(what, func() error { return call.run(done.ctx, store) })
			if call.name == "Run" && err == nil {
				err = done.ctx.Err() // Run ends well when its context does
			}
			if err := errors.Join(late, done.expect(what, err), spy.expectNoCalls(what)); err != nil {
				return err
			}
		}
	}
	return expectUnchanged(ctx, env, stream, stored)
}

// expectUnchanged returns an error unless a stream still holds what it held, and
// no snapshot or checkpoint of the tables of calls was saved.
func expectUnchanged(ctx context.Context, env *Env, stream string, stored []eventstore.RecordedEvent) error {
	events, err := collect(env.Store.ReadStream(ctx, stream, eventstore.ReadOptions{}))
	if err != nil {
		return err
	}
	if err := expectSame("the stream after calls that were to do nothing", stored, events); err != nil {
		return err
	}
	if _, found, err := env.Store.LoadSnapshot(ctx, stream, "State"); found || err != nil {
		return unexpected("the snapshot after calls that were to do nothing", "none", fmt.Sprintf("found: %t, error: %v", found, err))
	}
	result, err := env.Fixture.Backend.Records().Checkpoints.Load(ctx, eventstore.LoadCheckpointRequest{Name: "calls"})
	if result.Found || err != nil {
		return unexpected("the checkpoint after calls that were to do nothing", "none", fmt.Sprintf("found: %t, error: %v", result.Found, err))
	}
	return nil
}

func backendRefusesDone(ctx context.Context, env *Env) error {
	stream := env.Stream("Order")
	stored, err := env.Fill(ctx, stream, 2, 2)
	if err != nil {
		return err
	}
	for _, done := range doneContexts(ctx) {
		for _, call := range backendCalls(env, stream) {
			what := "the backend's " + call.name + " with " + done.name
			err, late := returnsPromptly(what, func() error { return call.run(done.ctx, env.Fixture.Backend) })
			if err := errors.Join(late, done.expect(what, err)); err != nil {
				return err
			}
		}
	}
	return expectUnchanged(ctx, env, stream, stored)
}

// refusesSubscriptions is for backends without a global order.
func refusesSubscriptions(ctx context.Context, env *Env) error {
	for _, call := range storeCalls(env, env.Stream("Order")) {
		if call.name == "ReadAll" || call.name == "Subscribe" || call.name == "Run" {
			what := call.name + " without a global order"
			err, late := returnsPromptly(what, func() error { return call.run(ctx, env.Store) })
			if err := errors.Join(late, expectUnsupported(what, err, env.Caps.GlobalOrder)); err != nil {
				return err
			}
		}
	}
	return nil
}

// waitingCall is a subscription that calls waits when it waits, or handles.
type waitingCall struct {
	name string
	run  func(ctx context.Context, waits func()) error
}

// expect checks how the call ended when its context did: Run ends well.
func (c waitingCall) expect(what string, done doneContext, err error) error {
	if err == nil && strings.HasPrefix(c.name, "Run") {
		return nil
	}
	return done.expect(what, err)
}

func cancelWaiting(ctx context.Context, env *Env) error {
	if _, err := env.Fill(ctx, env.Stream("Order"), 3, 1); err != nil {
		return err
	}
	waiting := []waitingCall{
		{"Subscribe", func(ctx context.Context, waits func()) error {
			return untilWaiting(env.Store.Subscribe(ctx, eventstore.SubscribeOptions{}), waits)
		}},
		{"Subscribe with a filter that matches nothing", func(ctx context.Context, waits func()) error {
			opts := eventstore.SubscribeOptions{Filter: eventstore.Filter{Types: []string{"Nothing"}}}
			return untilWaiting(env.Store.Subscribe(ctx, opts), waits)
		}},
		{"the backend's Subscribe", func(ctx context.Context, waits func()) error {
			size := eventstore.PageSize{MaxEvents: 2, MaxBytes: 1 << 20}
			return untilWaiting(env.Fixture.Backend.Subscribe(ctx, eventstore.SubscribeRequest{PageSize: size}), waits)
		}},
		{"Run", func(ctx context.Context, waits func()) error {
			return env.Store.Run(ctx, eventstore.Subscription{Name: "waiting", Handler: func(_ context.Context, e eventstore.RecordedEvent) error {
				if e.Version == 3 {
					waits()
				}
				return nil
			}})
		}},
		{"Run in its handler", func(ctx context.Context, waits func()) error {
			return env.Store.Run(ctx, eventstore.Subscription{Name: "handling", Handler: func(ctx context.Context, _ eventstore.RecordedEvent) error {
				waits()
				<-ctx.Done()
				return ctx.Err()
			}})
		}},
	}
	for _, call := range waiting {
		if err := call.cancel(ctx); err != nil {
			return err
		}
		if err := call.outlast(ctx); err != nil {
			return err
		}
	}
	return nil
}

// untilWaiting ranges over a subscription to its end, and says when it waits.
func untilWaiting(messages iter.Seq2[eventstore.Message, error], waits func()) error {
	for message, err := range messages {
		if err != nil {
			return err
		}
		if message.Kind == eventstore.MessageCaughtUp {
			waits()
		}
	}
	return nil
}

// cancel cancels the subscription once it waits.
func (c waitingCall) cancel(ctx context.Context) error {
	cancelled, cancel := context.WithCancel(ctx)
	defer cancel()
	waits, ended := make(chan struct{}, 1), make(chan error, 1)
	go func() {
		ended <- contain(func() error {
			return c.run(cancelled, func() {
				select {
				case waits <- struct{}{}:
				default:
				}
			})
		})
	}()
	select {
	case <-waits:
	case err := <-ended:
		return unexpected(c.name+" before it is cancelled", "to wait for events", fmt.Sprintf("its end: %v", err))
	case <-ctx.Done():
		return fmt.Errorf("expected %s to catch up in time: %w", c.name, ctx.Err())
	}
	cancel()
	done := doneContext{want: context.Canceled, other: context.DeadlineExceeded}
	err, late := returnsPromptly(c.name+" after it is cancelled", func() error { return <-ended })
	return errors.Join(late, c.expect(c.name+" when it is cancelled", done, err))
}

// outlast lets the subscription run into a deadline.
func (c waitingCall) outlast(ctx context.Context) error {
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	done := doneContext{want: context.DeadlineExceeded, other: context.Canceled}
	err, late := returnsPromptly(c.name+" after its deadline", func() error { return c.run(short, func() {}) })
	return errors.Join(late, c.expect(c.name+" at its deadline", done, err))
}

func cancelBetweenPages(ctx context.Context, env *Env) error {
	const pageSize = 2
	stream := env.Stream("Order")
	if _, err := env.Fill(ctx, stream, 7, 7); err != nil {
		return err
	}
	store, spy, err := spied(env, eventstore.Options{PageSize: pageSize})
	if err != nil {
		return err
	}
	for _, read := range []struct {
		name string
		run  func(context.Context) iter.Seq2[eventstore.RecordedEvent, error]
	}{
		{"ReadStream", func(ctx context.Context) iter.Seq2[eventstore.RecordedEvent, error] {
			return store.ReadStream(ctx, stream, eventstore.ReadOptions{})
		}},
		{"ReadAll", func(ctx context.Context) iter.Seq2[eventstore.RecordedEvent, error] {
			return store.ReadAll(ctx, eventstore.ReadAllOptions{})
		}},
	} {
		if read.name == "ReadAll" && !env.Caps.GlobalOrder.Supported() {
			continue
		}
		spy.take()
		cancelled, cancel := context.WithCancel(ctx)
		defer cancel()
		events, last := 0, error(nil)
		for _, err := range read.run(cancelled) {
			if last = err; err == nil {
				events++
			}
			cancel()
		}
		done := doneContext{want: context.Canceled, other: context.DeadlineExceeded}
		if err := done.expect(read.name+" that is cancelled within its first page", last); err != nil {
			return err
		}
		if pages := spy.count(read.name); pages != 1 || events > pageSize {
			return unexpected(read.name+" that is cancelled within its first page", "that page alone", fmt.Sprintf("%d pages and %d events", pages, events))
		}
	}
	return nil
}

func cancelWhileRetrying(ctx context.Context, env *Env) error {
	const retryFor = 10 * time.Minute
	for _, lost := range []error{eventstore.ErrUnavailable, eventstore.ErrUnknownOutcome} {
		// The deadline starts with the first failure: one that passes before the
		// append begins would find nothing that is retried.
		short, cancel := newCountdown(ctx)
		defer cancel()
		var first sync.Once
		failing := failingAppends{env.Fixture.Backend, lost, func() { first.Do(func() { short.begin(30 * time.Millisecond) }) }}
		store, err := env.NewStore(failing, eventstore.Options{RetryFor: retryFor})
		if err != nil {
			return err
		}
		what := fmt.Sprintf("an append that is retried after %q, at its deadline", lost)
		err, late := returnsPromptly(what, func() error {
			_, err := store.Append(short, env.Stream("Order"), eventstore.NoStream(), env.Event("Happened"))
			return err
		})
		want := context.DeadlineExceeded
		if errors.Is(lost, eventstore.ErrUnknownOutcome) {
			want = eventstore.ErrUnknownOutcome
		}
		if err := errors.Join(late, expectError(what, err, want)); err != nil {
			return err
		}
		if errors.Is(err, context.DeadlineExceeded) && errors.Is(err, eventstore.ErrUnknownOutcome) {
			return unexpected(what, "an error that matches one class", err)
		}
	}
	return nil
}

// failingAppends is a backend all of whose appends fail.
type failingAppends struct {
	eventstore.Backend
	err    error
	called func()
}

func (f failingAppends) Append(context.Context, eventstore.AppendRequest) ([]eventstore.PartResult, error) {
	f.called()
	return nil, f.err
}
