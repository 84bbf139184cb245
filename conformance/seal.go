package conformance

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// The checks of promise 23.

func sealChecks() []Check {
	checks := []Check{
		{
			Name: "seal/refuses-appends", Needs: NeedsOpenAgain, Core: true,
			Sentence: "From the seal on every append through every handle is refused with ErrSealed and the reason, and writes nothing; reads go on.",
			Run:      sealRefuses,
		},
		{
			Name: "seal/exact-under-writers", Needs: NeedsOpenAgain, Core: true,
			Sentence: "An append is acknowledged before the seal or refused: what is read up to the head that Seal returns is everything.",
			Run:      sealExact,
		},
		{
			Name: "seal/order-of-judgement", Needs: NeedsOpenAgain,
			Sentence: "A repetition of what was stored before the seal is answered as one, a reused ID as one; then comes the seal, then the expectation.",
			Run:      sealJudgement,
		},
		{
			Name: "seal/several-streams", Requires: sealAndMultiStream,
			Sentence: "A sealed store refuses an append to several streams whole, also where one part is a repetition.",
			Run:      sealSeveralStreams,
		},
		{
			Name: "seal/keeps-the-first-reason", Needs: NeedsOpenAgain,
			Sentence: "A seal of a sealed store changes nothing and keeps the first reason, also where many seal at once.",
			Run:      sealFirstReason,
		},
		{
			Name: "seal/survives-reopening", Needs: NeedsOpenAgain, Core: true,
			Sentence: "A seal is there after every handle was closed and the store opened again.",
			Run:      sealReopened,
		},
		{
			Name: "seal/lifted", Needs: NeedsOpenAgain,
			Sentence: "After the seal is lifted appends go on at the next version, what was refused was not written, and lifting again changes nothing.",
			Run:      sealLifted,
		},
		{
			Name: "seal/subscriptions-say-so", Needs: NeedsOpenAgain, Requires: sealAndOrder,
			Sentence: "A subscription says once that a sealed store's last event was delivered, live or from the start, filtered or not, and goes on after the seal is lifted.",
			Run:      sealMessages,
		},
		{
			Name: "seal/records-go-on", Requires: sealAndOrder,
			Sentence: "Checkpoints, leases and snapshots may be written in a sealed store.",
			Run:      sealRecords,
		},
	}
	for i := range checks {
		checks[i].Promise = 23
		if checks[i].Requires == nil {
			checks[i].Requires = sealing
		}
		checks[i].Refused = refusesSeal
	}
	return checks
}

func sealing(c eventstore.Capabilities) eventstore.Capability { return c.Seal }

func sealAndOrder(c eventstore.Capabilities) eventstore.Capability {
	return both(c.Seal, c.GlobalOrder)
}

func sealAndMultiStream(c eventstore.Capabilities) eventstore.Capability {
	return both(c.Seal, c.MultiStreamAppend)
}

// both holds where two capabilities do.
func both(a, b eventstore.Capability) eventstore.Capability {
	if !a.Supported() {
		return a
	}
	return b
}

func refusesSeal(ctx context.Context, env *Env) error {
	if env.Caps.Seal.Supported() {
		return nil // another capability of the check is absent, whose own checks see to it
	}
	store, spy, err := spied(env, eventstore.Options{})
	if err != nil {
		return err
	}
	_, sealed := store.Seal(ctx, "moved")
	_, lifted := store.Unseal(ctx)
	return errors.Join(
		expectUnsupported("Seal", sealed, env.Caps.Seal), expectUnsupported("Unseal", lifted, env.Caps.Seal),
		spy.expectNoCalls("Seal and Unseal"))
}

// expectSealed returns an error unless err refuses an append because of the seal.
func expectSealed(what string, err error, reason string) error {
	if err := expectError(what, err, eventstore.ErrSealed); err != nil {
		return err
	}
	var sealed *eventstore.SealedError
	if !errors.As(err, &sealed) || *sealed != (eventstore.SealedError{Reason: reason}) {
		return unexpected(what, fmt.Sprintf("a *SealedError with the reason %q", reason), fmt.Sprintf("%q", err))
	}
	return nil
}

// expectSealedInfo compares what every handle says of the seal.
func expectSealedInfo(ctx context.Context, sealed bool, reason string, stores ...*eventstore.Store) error {
	for i, store := range stores {
		info, err := store.Info(ctx)
		if err != nil {
			return err
		}
		if info.Sealed != sealed || info.SealReason != reason {
			return unexpected(fmt.Sprintf("seal as handle %d sees it", i+1), fmt.Sprintf("%t, reason %q", sealed, reason), fmt.Sprintf("%t, reason %q", info.Sealed, info.SealReason))
		}
	}
	return nil
}

func sealRefuses(ctx context.Context, env *Env) error {
	const reason = "moved to «elsewhere»; ask o'neil"
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	stream, before := env.Stream("Order"), env.Events(2)
	// Both handles write first, so that what they remember of the stream cannot
	// stand in for the seal.
	for i, store := range stores {
		if _, err := store.Append(ctx, stream, eventstore.Exactly(uint64(i)), before[i]); err != nil {
			return err
		}
	}
	if err := expectSealedInfo(ctx, false, "", stores[:]...); err != nil {
		return err
	}
	info, err := stores[0].Seal(ctx, reason)
	if err != nil {
		return err
	}
	if !info.Sealed || info.SealReason != reason {
		return unexpected("what Seal returns", "a sealed store with its reason", fmt.Sprintf("%+v", info))
	}
	for i, store := range stores {
		for name, expected := range map[string]eventstore.ExpectedVersion{"Any": eventstore.Any(), "Exactly": eventstore.Exactly(2), "StreamExists": eventstore.StreamExists()} {
			_, err := store.Append(ctx, stream, expected, env.Events(2)...)
			if err := expectSealed(fmt.Sprintf("append with %s through handle %d of a sealed store", name, i+1), err, reason); err != nil {
				return err
			}
		}
		_, err := store.Append(ctx, env.Stream("Order"), eventstore.NoStream(), env.Event("Happened"))
		if err := expectSealed(fmt.Sprintf("append to a new stream through handle %d of a sealed store", i+1), err, reason); err != nil {
			return err
		}
		if err := expectEvents(ctx, store, stream, before...); err != nil {
			return err
		}
	}
	after, err := stores[1].Info(ctx)
	if err == nil && after != info {
		err = unexpected("the store after refused appends", fmt.Sprintf("%+v", info), fmt.Sprintf("%+v", after))
	}
	return errors.Join(err, expectSealedInfo(ctx, true, reason, stores[:]...))
}

func sealExact(ctx context.Context, env *Env) error {
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	for round, racers := range []int{2, 8, 32} {
		if err := sealRace(ctx, env, stores, racers); err != nil {
			return fmt.Errorf("round %d, %d writers: %w", round+1, racers, err)
		}
		if _, err := stores[0].Unseal(ctx); err != nil {
			return err
		}
	}
	return nil
}

// sealRace seals the store while writers append through two handles until they
// are refused.
func sealRace(ctx context.Context, env *Env, stores [2]*eventstore.Store, racers int) error {
	var mu sync.Mutex
	acknowledged := make(map[eventstore.Position]eventstore.RecordedEvent)
	var info eventstore.Info
	var wrote atomic.Int64
	streams := make([]string, racers)
	for i := range streams {
		streams[i] = env.Stream("Sealed")
	}
	err := race(racers+1, func(i int) error {
		if i == racers {
			err := eventually(ctx, "appends before the seal", func() (bool, error) { return wrote.Load() >= int64(2*racers), nil })
			if err == nil {
				info, err = stores[racers%2].Seal(ctx, "raced")
			}
			return err
		}
		for {
			result, err := stores[i%2].Append(ctx, streams[i], eventstore.Any(), env.Events(2)...)
			if errors.Is(err, eventstore.ErrSealed) {
				return nil
			}
			if err != nil {
				return err
			}
			wrote.Add(1)
			mu.Lock()
			for _, event := range result.Events {
				acknowledged[event.Position] = event
			}
			mu.Unlock()
		}
	})
	if err != nil || !env.Caps.GlobalOrder.Supported() {
		return err
	}
	for _, store := range stores {
		all, err := collect(store.ReadAll(ctx, eventstore.ReadAllOptions{Filter: eventstore.Filter{StreamPrefixes: streams}}))
		if err != nil {
			return err
		}
		found := make(map[eventstore.Position]bool)
		for _, event := range all {
			if info.Head.Position.Before(event.Position) {
				return unexpected("event in a sealed store", "one at or before the head that Seal returned, "+info.Head.String(), event.Place())
			}
			found[event.Position] = true
		}
		for position, event := range acknowledged {
			if !found[position] {
				return unexpected("what is read up to the seal", "every event that was acknowledged", "not "+event.Place().String())
			}
		}
		if len(all) != len(acknowledged) {
			return unexpected("events of a sealed store", fmt.Sprintf("the %d that were acknowledged", len(acknowledged)), len(all))
		}
	}
	return nil
}

func sealJudgement(ctx context.Context, env *Env) error {
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	stream, stored := env.Stream("Order"), env.Events(2)
	original, err := stores[0].Append(ctx, stream, eventstore.NoStream(), stored...)
	if err != nil {
		return err
	}
	if _, err := stores[1].Seal(ctx, "judged"); err != nil {
		return err
	}
	for _, store := range stores {
		if err := expectDuplicate(ctx, store, stream, eventstore.NoStream(), original, stored...); err != nil {
			return fmt.Errorf("in a sealed store: %w", err)
		}
		reused := stored[0]
		reused.Type = "Another"
		_, err := store.Append(ctx, stream, eventstore.Any(), reused)
		if err := expectError("a reused ID in a sealed store", err, eventstore.ErrEventIDReused); err != nil {
			return err
		}
		_, err = store.Append(ctx, stream, eventstore.Exactly(99), env.Event("Happened"))
		if err := expectSealed("an append in a sealed store whose expectation does not hold", err, "judged"); err != nil {
			return err
		}
	}
	return expectEvents(ctx, env.Store, stream, stored...)
}

func sealSeveralStreams(ctx context.Context, env *Env) error {
	stored := part(env.Stream("Order"), eventstore.NoStream(), env.Events(2)...)
	fresh := part(env.Stream("Order"), eventstore.NoStream(), env.Events(1)...)
	check := part(fresh.Stream, eventstore.Exactly(9))
	if _, err := env.Store.AppendStreams(ctx, stored); err != nil {
		return err
	}
	if _, err := env.Store.Seal(ctx, "whole"); err != nil {
		return err
	}
	for _, parts := range [][]eventstore.StreamAppend{{fresh, stored}, {stored, fresh}, {check, fresh}} {
		_, err := env.Store.AppendStreams(ctx, parts...)
		if err := expectSealed("an append to several streams of a sealed store", err, "whole"); err != nil {
			return err
		}
	}
	results, err := env.Store.AppendStreams(ctx, stored, check)
	if err != nil || !results[0].Duplicate {
		return unexpected("a repetition beside a check in a sealed store", "its first answer", fmt.Sprintf("%+v, error %v", results, err))
	}
	return errors.Join(expectEvents(ctx, env.Store, stored.Stream, stored.Events...), expectEvents(ctx, env.Store, fresh.Stream))
}

func sealFirstReason(ctx context.Context, env *Env) error {
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	reasons := make([]string, 8)
	err = race(len(reasons), func(i int) error {
		info, err := stores[i%2].Seal(ctx, fmt.Sprintf("reason %d", i))
		reasons[i] = info.SealReason
		return err
	})
	if err != nil {
		return err
	}
	for _, reason := range reasons {
		if reason != reasons[0] || reason == "" {
			return unexpected("reason that every Seal returns", "one, the first", fmt.Sprintf("%q", reasons))
		}
	}
	if _, err := stores[1].Seal(ctx, "too late"); err != nil {
		return err
	}
	return expectSealedInfo(ctx, true, reasons[0], stores[:]...)
}

func sealReopened(ctx context.Context, env *Env) error {
	stream := env.Stream("Order")
	if _, err := env.Store.Append(ctx, stream, eventstore.NoStream(), env.Events(2)...); err != nil {
		return err
	}
	if _, err := env.Store.Seal(ctx, "kept"); err != nil {
		return err
	}
	if err := env.Reopen(ctx); err != nil {
		return err
	}
	_, err := env.Store.Append(ctx, stream, eventstore.Any(), env.Event("Happened"))
	return errors.Join(expectSealed("append to a sealed store that was opened again", err, "kept"), expectSealedInfo(ctx, true, "kept", env.Store))
}

func sealLifted(ctx context.Context, env *Env) error {
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	stream, before, refused, after := env.Stream("Order"), env.Events(2), env.Events(2), env.Events(3)
	if _, err := stores[0].Append(ctx, stream, eventstore.NoStream(), before...); err != nil {
		return err
	}
	if _, err := stores[0].Seal(ctx, "for a while"); err != nil {
		return err
	}
	_, err = stores[1].Append(ctx, stream, eventstore.Exactly(2), refused...)
	if err := expectSealed("append to a sealed store", err, "for a while"); err != nil {
		return err
	}
	for range 2 {
		info, err := stores[1].Unseal(ctx)
		if err != nil {
			return err
		}
		if info.Sealed || info.SealReason != "" {
			return unexpected("what Unseal returns", "a store that is not sealed", fmt.Sprintf("%+v", info))
		}
	}
	if err := expectSealedInfo(ctx, false, "", stores[:]...); err != nil {
		return err
	}
	result, err := stores[0].Append(ctx, stream, eventstore.Exactly(2), after...)
	if err != nil {
		return fmt.Errorf("append after the seal was lifted: %w", err)
	}
	if err := expectResult("append after the seal was lifted", result, 3, 5); err != nil {
		return err
	}
	again, err := stores[1].Append(ctx, stream, eventstore.Exactly(5), refused...) // they are new: nothing of them was kept
	if err != nil {
		return fmt.Errorf("append what was refused under the seal: %w", err)
	}
	if err := expectResult("append of what was refused under the seal", again, 6, 7); err != nil {
		return err
	}
	return expectEvents(ctx, stores[0], stream, append(append(before, after...), refused...)...)
}

// waitSealed waits until the subscription has said n times that the last event
// was delivered, and returns an error if it said so more often or too early.
func (l *listener) waitSealed(ctx context.Context, n int, head eventstore.Position) error {
	ctx, cancel := within(ctx, l.poll+patience)
	defer cancel()
	said := 0
	err := eventually(ctx, "the signal that the last event was delivered", func() (bool, error) {
		messages, err := l.seen()
		said = 0
		for _, message := range messages {
			if message.Kind == eventstore.MessageSealed {
				if said++; said == n && message.Place.Position != head {
					return false, unexpected("place of the signal that the last event was delivered", head, message.Place)
				}
			}
		}
		return said >= n, err
	})
	if err == nil && said != n {
		err = unexpected("signals that the last event was delivered", n, said)
	}
	return err
}

func sealMessages(ctx context.Context, env *Env) error {
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	all, err := writeLog(ctx, env, 6, stores[:]...)
	if err != nil {
		return err
	}
	filters := []eventstore.Filter{{}, {Categories: []string{eventstore.Category(all[0].Stream)}}, {Types: []string{"Nothing"}}}
	var listeners []*listener
	start := func() error {
		for _, store := range stores {
			for _, filter := range filters {
				l := listen(ctx, env, store, eventstore.SubscribeOptions{Filter: filter})
				listeners = append(listeners, l)
				if err := l.waitCaughtUp(ctx); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if err := start(); err != nil { // live when the seal comes
		return err
	}
	info, err := stores[0].Seal(ctx, "said")
	if err != nil {
		return err
	}
	if err := start(); err != nil { // and from the start of a sealed store
		return err
	}
	for i, l := range listeners {
		if err := l.waitSealed(ctx, 1, info.Head.Position); err != nil {
			return fmt.Errorf("subscription %d: %w", i+1, err)
		}
	}
	if _, err := stores[1].Unseal(ctx); err != nil {
		return err
	}
	last, err := stores[0].Append(ctx, all[0].Stream, eventstore.Any(), env.Event("Happened"))
	if err != nil {
		return err
	}
	for i, l := range listeners {
		if err := l.waitPast(ctx, last.Position); err != nil {
			return fmt.Errorf("subscription %d after the seal was lifted: %w", i+1, err)
		}
		if err := l.waitSealed(ctx, 1, info.Head.Position); err != nil { // no more than that one
			return fmt.Errorf("subscription %d after the seal was lifted: %w", i+1, err)
		}
	}
	return nil
}

func sealRecords(ctx context.Context, env *Env) error {
	log, err := logToSave(ctx, env, 4)
	if err != nil {
		return err
	}
	if _, err := env.Store.Seal(ctx, "records"); err != nil {
		return err
	}
	for i, store := range log.stores {
		if err := store.SaveCheckpoint(ctx, log.at("billing", i)); err != nil {
			return fmt.Errorf("save a checkpoint in a sealed store: %w", err)
		}
		if env.Caps.Snapshots.Supported() {
			if err := store.SaveSnapshot(ctx, eventstore.Snapshot{Stream: log.all[0].Stream, Type: "State", Version: 1, Data: []byte("{}")}); err != nil {
				return fmt.Errorf("save a snapshot in a sealed store: %w", err)
			}
		}
	}
	var handled recorder
	sub := eventstore.Subscription{Name: "reads", UntilCaughtUp: true, Handler: handled.handle, LeaseTTL: time.Minute}
	if err := env.Store.Run(ctx, sub); err != nil {
		return fmt.Errorf("run a subscription in a sealed store: %w", err)
	}
	return errors.Join(
		expectSame("what was handled in a sealed store", log.all, handled.events()),
		expectCheckpoint(ctx, "checkpoint in a sealed store", log.stores[1], log.at("billing", 1)))
}
