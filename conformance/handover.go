package conformance

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/switchyard-dev/switchyard/eventstore"
)

func handOverChecks() []Check {
	return []Check{
		{
			Name: "subscription/hand-over-forced", Promise: 16, Core: true, Requires: globalOrder, Needs: NeedsOpenAgain,
			Sentence: "No gap and no repetition at the change from catch-up to live: an event appended between the last stored one, CaughtUp and the first live one is delivered once (100 changes).",
			Run:      handOverForced,
		},
		{
			Name: "subscription/hand-over-under-load", Promise: 16, Core: true, Requires: globalOrder, Needs: NeedsOpenAgain,
			Sentence: "No gap and no repetition at the change from catch-up to live while others write through two handles (100 changes).",
			Run:      handOverUnderLoad,
		},
	}
}

const handOvers = 100

// handOverForced appends in the body of the subscription's loop: after the last
// stored event, which is when the backend has looked for the last time before it
// says CaughtUp; at CaughtUp, which is before it begins to wait; and at the last
// of the events that came of those appends.
func handOverForced(ctx context.Context, env *Env) error {
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	stored, err := writeLog(ctx, env, 4, stores[:]...)
	if err != nil {
		return err
	}
	after := stored[len(stored)-3].Position
	head := stored[len(stored)-1].Position
	for round := range handOvers {
		reader, other := stores[round%2], stores[(round+1)%2]
		var got []eventstore.RecordedEvent
		moments, caughtUp := 0, false
		timed, cancel := within(ctx, 4*env.Caps.PollInterval+slack)
		err := follow(timed, reader, eventstore.SubscribeOptions{After: after}, func(m eventstore.Message) (bool, error) {
			caughtUp = caughtUp || m.Kind == eventstore.MessageCaughtUp
			if m.Kind == eventstore.MessageEvent {
				got = append(got, m.Event)
			}
			if m.Kind != eventstore.MessageCaughtUp && m.Place.Position != head {
				return false, nil
			}
			if moments == 3 && caughtUp {
				return m.Place.Position == head, nil
			}
			moments++
			// The reader's own handle comes last, so that a backend whose handles
			// hear only of their own appends need not poll each time.
			for _, writer := range []*eventstore.Store{other, reader} {
				result, err := writer.Append(ctx, env.StreamID("Order", 904), eventstore.Any(), env.Event("Happened"))
				if err != nil {
					return false, err
				}
				head = result.Position
			}
			return false, nil
		})
		cancel()
		if err != nil && ctx.Err() == nil && timed.Err() == nil {
			return fmt.Errorf("change %d from catch-up to live: %w", round+1, err)
		}
		all, errAll := collect(env.Store.ReadAll(ctx, eventstore.ReadAllOptions{After: after}))
		if errAll != nil {
			return errAll
		}
		if err := expectSame(fmt.Sprintf("change %d from catch-up to live", round+1), all, got); err != nil {
			return err
		}
		if err != nil {
			return fmt.Errorf("change %d from catch-up to live: all %d events came, but the subscription did not go on: %w", round+1, len(got), err)
		}
		after = all[len(all)-3].Position
	}
	return nil
}

// handOverUnderLoad has ten subscribers catch up and go live ten times each. The
// load is what they append meanwhile, each at its own moments: ten writers on
// two handles that never pause for each other.
func handOverUnderLoad(ctx context.Context, env *Env) error {
	const subscribers = 10
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	stored, err := writeLog(ctx, env, 10, stores[:]...)
	if err != nil {
		return err
	}
	type session struct {
		after  eventstore.Position
		events []eventstore.RecordedEvent
	}
	var mu sync.Mutex
	var sessions []session
	err = race(subscribers, func(racer int) error {
		reader, writer := stores[racer%2], stores[(racer+racer/2)%2]
		stream := env.StreamID("Load", racer)
		after := stored[len(stored)-1-racer].Position
		for round := range handOvers / subscribers {
			s := session{after: after}
			moment := (racer + round) % 5 // the message, from 0, after which this one appends
			var own eventstore.Position
			messages, caughtUp := 0, false
			timed, cancel := within(ctx, 4*env.Caps.PollInterval+patience)
			err := follow(timed, reader, eventstore.SubscribeOptions{After: after}, func(m eventstore.Message) (bool, error) {
				if m.Kind == eventstore.MessageEvent {
					s.events = append(s.events, m.Event)
				}
				if messages == moment || m.Kind == eventstore.MessageCaughtUp {
					caughtUp = caughtUp || m.Kind == eventstore.MessageCaughtUp
					result, err := writer.Append(ctx, stream, eventstore.Any(), env.Events(2)...)
					if err != nil {
						return false, err
					}
					own = result.Position
				}
				messages++
				return caughtUp && !m.Place.Position.Before(own), nil
			})
			cancel()
			if err != nil {
				return fmt.Errorf("change %d, after %d events: %w", round+1, len(s.events), err)
			}
			mu.Lock()
			sessions = append(sessions, s)
			mu.Unlock()
			after = s.events[len(s.events)/2].Position
		}
		return nil
	})
	if err != nil {
		return err
	}
	all, err := collect(env.Store.ReadAll(ctx, eventstore.ReadAllOptions{}))
	if err != nil {
		return err
	}
	var errs []error
	for i, s := range sessions {
		errs = append(errs, expectContiguous(fmt.Sprintf("subscription %d of %d, after position %s", i+1, len(sessions), s.after), all, s.after, s.events))
	}
	return errors.Join(errs...)
}
