package conformance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// Checks of what else than events survives a crash, and of what the handles say
// that were open when their server went away.
func crashChecks() []Check {
	check := func(name string, promise int, sentence string, run func(context.Context, *Env) error) Check {
		return Check{Name: "crash/" + name, Promise: promise, Sentence: sentence, Needs: NeedsRestart, Requires: durable, Run: run}
	}
	return []Check{
		check("checkpoints-survive", 18, "After a crash each checkpoint is where it was saved last, still moves forward only, and is gone where it was deleted.", checkpointsSurvive),
		check("snapshots-survive", 14, "After a crash each snapshot is the one that was saved last, whole, and is gone where it was deleted.", snapshotsSurvive),
		check("records-survive", 11, "After a crash every recorded event is the same in every field: position, record time, version and content.", recordsSurvive),
		check("subscription-goes-on", 18, "A durable subscription begun after a crash goes on at its checkpoint: nothing is skipped.", subscriptionGoesOn),
		check("old-handle-tells-no-lie", 20, "A handle whose server went away works, or says that it is closed or cannot reach it; it gives no verdict, no empty answer and no other error, and ErrUnavailable passes.", oldHandle),
		check("calls-under-way-tell-no-lie", 20, "Appends, reads and subscriptions that are under way while the server goes away tell the truth, or fail with an error that can be resumed from.", callsUnderWay),
	}
}

func checkpointsSurvive(ctx context.Context, env *Env) error {
	if !env.Caps.GlobalOrder.Supported() {
		return nil
	}
	log, err := logToSave(ctx, env, 8)
	if err != nil {
		return err
	}
	names := []string{"billing", "shipping", "moved", "deleted"}
	for i, name := range names {
		if err := log.stores[i%2].SaveCheckpoint(ctx, log.at(name, i)); err != nil {
			return err
		}
	}
	if err := log.stores[1].SaveCheckpoint(ctx, log.at("moved", 6)); err != nil {
		return err
	}
	if err := log.stores[0].DeleteCheckpoint(ctx, "deleted"); err != nil {
		return err
	}
	if err := env.Restart(ctx); err != nil {
		return err
	}
	for i, at := range map[string]int{"billing": 0, "shipping": 1, "moved": 6} {
		if err := expectCheckpoint(ctx, "checkpoint after a crash", env.Store, log.at(i, at)); err != nil {
			return err
		}
	}
	got, found, err := env.Store.LoadCheckpoint(ctx, "deleted")
	if err != nil || found {
		return unexpected("checkpoint that was deleted before a crash", "not found, no error", fmt.Sprintf("%+v, found %t, error %v", got, found, err))
	}
	if err := env.Store.SaveCheckpoint(ctx, log.at("moved", 3)); err != nil {
		return err
	}
	return expectCheckpoint(ctx, "checkpoint after a crash and a save behind it", env.Store, log.at("moved", 6))
}

func snapshotsSurvive(ctx context.Context, env *Env) error {
	stream := env.Stream("Order")
	if _, err := env.Fill(ctx, stream, 9, 9); err != nil {
		return err
	}
	of := func(kind string, version uint64, size int) eventstore.Snapshot {
		data := make([]byte, size)
		for i := range data {
			data[i] = byte(int(version) + i)
		}
		return eventstore.Snapshot{Stream: stream, Type: kind, Version: version, SchemaVersion: 3, Data: data}
	}
	saves := []eventstore.Snapshot{of("State", 2, 10), of("State", 7, 5000), of("Other", 3, 200<<10), of("Deleted", 4, 1), of("Empty", 1, 0)}
	for _, snapshot := range saves {
		if err := env.Store.SaveSnapshot(ctx, snapshot); err != nil {
			return err
		}
	}
	if err := env.Store.DeleteSnapshot(ctx, stream, "Deleted"); err != nil {
		return err
	}
	if err := env.Restart(ctx); err != nil {
		return err
	}
	for _, i := range []int{1, 2, 4} {
		if err := expectSnapshot(ctx, "snapshot after a crash", env.Store, saves[i]); err != nil {
			return err
		}
	}
	got, found, err := env.Store.LoadSnapshot(ctx, stream, "Deleted")
	if err != nil || found {
		return unexpected("snapshot that was deleted before a crash", "not found, no error", fmt.Sprintf("%s, found %t, error %v", describeSnapshot(got), found, err))
	}
	if err := env.Store.SaveSnapshot(ctx, of("State", 5, 3)); err != nil {
		return err
	}
	return expectSnapshot(ctx, "snapshot after a crash and a save of a lower version", env.Store, saves[1])
}

func recordsSurvive(ctx context.Context, env *Env) error {
	stream := env.Stream("Order")
	for i := range 5 {
		event := env.Event("Happened").WithMetadata("text", "é \"quoted\" \n")
		if i%2 == 0 {
			event = binaryEvent(env, []byte{0, 1, 0xff, byte(i)})
		}
		if _, err := env.Store.Append(ctx, stream, eventstore.Any(), event, env.Event("Happened")); err != nil {
			return err
		}
	}
	if env.Caps.PreservedRecordTime.Supported() {
		old := part(stream, eventstore.Any(), env.Events(2)...)
		old.RecordedAt = new(time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC))
		if _, err := env.Store.AppendStreams(ctx, old); err != nil {
			return err
		}
	}
	before, err := collect(env.Store.ReadStream(ctx, stream, eventstore.ReadOptions{}))
	if err != nil {
		return err
	}
	where, err := whereItIs(ctx, env.Store)
	if err != nil {
		return err
	}
	for range 2 {
		if err := env.Restart(ctx); err != nil {
			return err
		}
		after, err := collect(env.Store.ReadStream(ctx, stream, eventstore.ReadOptions{}))
		if err != nil {
			return err
		}
		if err := errors.Join(expectSame("a stream after a crash", before, after), expectSameHead(ctx, env.Store, where)); err != nil {
			return err
		}
		if !env.Caps.GlobalOrder.Supported() {
			continue
		}
		all, err := collect(env.Store.ReadAll(ctx, eventstore.ReadAllOptions{}))
		if err != nil {
			return err
		}
		if err := expectSame("ReadAll after a crash", before, all); err != nil {
			return err
		}
	}
	more, err := env.Store.Append(ctx, stream, eventstore.Exactly(uint64(len(before))), env.Events(1)...)
	if err == nil && !where.Head.Position.Before(more.Position) {
		err = unexpected("position of an append after a crash", "one after "+where.Head.String(), more.Position)
	}
	return err
}

func subscriptionGoesOn(ctx context.Context, env *Env) error {
	if !env.Caps.GlobalOrder.Supported() {
		return nil
	}
	all, err := writeLog(ctx, env, 12, env.Store)
	if err != nil {
		return err
	}
	var handled recorder
	half := len(all) / 2
	held := make(chan struct{}, 1)
	const crashedLease = 2 * time.Second // nobody releases it, so the next owner waits for its end
	run := startRun(ctx, env, env.Store, eventstore.Subscription{
		Name: "billing", CheckpointEvery: 1, LeaseTTL: crashedLease, Handler: func(ctx context.Context, event eventstore.RecordedEvent) error {
			if len(handled.events()) == half { // in the middle of this event the server goes away
				select {
				case held <- struct{}{}:
				default:
				}
				<-ctx.Done()
				return ctx.Err()
			}
			return handled.handle(ctx, event)
		},
	})
	if err := waitFor(ctx, "half of the events to be handled", held); err != nil {
		return err
	}
	err = eventually(ctx, "the checkpoint to be saved up to the event that is handled", func() (bool, error) {
		at, err := stored(ctx, env.Store, "billing")
		return at == all[half-1].Position, err
	})
	if err != nil {
		return err
	}
	if err := env.Fixture.Restart(ctx); err != nil {
		return err
	}
	run.cancel()
	<-run.ended
	_ = env.close()
	if env.Store, err = env.Again(ctx); err != nil {
		return err
	}
	at, err := stored(ctx, env.Store, "billing")
	if err != nil {
		return err
	}
	if all[half-1].Position.Before(at) {
		return unexpected("checkpoint after a crash", "at most "+all[half-1].Position.String()+", up to where events were handled", at)
	}
	want := choice(all, func(e eventstore.RecordedEvent) bool { return at.Before(e.Position) }, false, 0)
	var rest recorder
	run = startRun(ctx, env, env.Store, eventstore.Subscription{Name: "billing", LeaseTTL: crashedLease, Handler: rest.handle})
	if err := rest.waitEvents(ctx, run, len(want)); err != nil {
		return err
	}
	return errors.Join(run.stop(), expectSame("what a durable subscription handles after a crash", want, rest.events()))
}

// isLost tells whether an error of a handle whose server went away can be resumed
// from, or says that the handle is closed: embedded stores drop theirs.
func isLost(err error) bool {
	return errors.Is(err, eventstore.ErrUnavailable) || errors.Is(err, eventstore.ErrUnknownOutcome) || errors.Is(err, eventstore.ErrClosed)
}

func oldHandle(ctx context.Context, env *Env) error {
	stream := env.Stream("Order")
	kept, err := env.Fill(ctx, stream, 3, 3)
	if err != nil {
		return err
	}
	snapshot := eventstore.Snapshot{Stream: stream, Type: "State", Version: 2, SchemaVersion: 1, Data: []byte("state")}
	if err := env.Store.SaveSnapshot(ctx, snapshot); err != nil {
		return err
	}
	old := env.Store
	if err := env.Fixture.Restart(ctx); err != nil {
		return fmt.Errorf("the fixture's %s: %w", NeedsRestart, err)
	}
	more := env.Event("Happened")
	calls := []struct {
		name string
		run  func(context.Context) error
	}{
		{"Append", func(ctx context.Context) error {
			_, err := old.Append(ctx, stream, eventstore.Exactly(3), more) // a repetition, where an attempt was stored
			return err
		}},
		{"ReadStream", func(ctx context.Context) error {
			got, err := collect(old.ReadStream(ctx, stream, eventstore.ReadOptions{Before: 4}))
			if err != nil {
				return err
			}
			return expectSame("a stream read through a handle whose server went away", kept, got)
		}},
		{"StreamVersion", func(ctx context.Context) error {
			version, err := old.StreamVersion(ctx, stream)
			if err == nil && version < 3 {
				err = unexpected("version of a stream through a handle whose server went away", "at least 3", version)
			}
			return err
		}},
		{"LoadSnapshot", func(ctx context.Context) error {
			_, found, err := old.LoadSnapshot(ctx, stream, "State")
			if err == nil && !found {
				err = unexpected("a snapshot through a handle whose server went away", "the saved one", "none")
			}
			return err
		}},
	}
	if env.Caps.GlobalOrder.Supported() {
		calls = append(calls, struct {
			name string
			run  func(context.Context) error
		}{"Info", func(ctx context.Context) error {
			info, err := old.Info(ctx)
			if err == nil && info.Head.Position.Before(kept[2].Position) {
				err = unexpected("head through a handle whose server went away", "at least "+kept[2].Position.String(), info.Head)
			}
			return err
		}})
	}
	for _, call := range calls {
		timed, cancel := within(ctx, patience)
		err := eventually(timed, call.name+" to work again through a handle whose server went away and came back", func() (bool, error) {
			err := call.run(timed)
			lost := isLost(err) || timed.Err() != nil
			if err == nil || errors.Is(err, eventstore.ErrClosed) || lost && env.Fixture.RestartEndsHandles {
				return true, nil
			}
			if lost {
				err = nil // tried again
			} else {
				err = fmt.Errorf("%s through a handle whose server went away: %w", call.name, err)
			}
			return false, err
		})
		cancel()
		if err != nil {
			return err
		}
	}
	return nil
}

// callsUnderWay has callers on both handles that never stop while the server goes
// away and comes back, and holds everything that they were told against the data.
func callsUnderWay(ctx context.Context, env *Env) error {
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	stream := env.Stream("Order")
	kept, err := env.Fill(ctx, stream, 10, 5)
	if err != nil {
		return err
	}
	var begun atomic.Int64
	var over atomic.Bool
	until := func(what string, call func() error) func() error {
		return func() error {
			for after := 0; after < 3; { // calls that begin when it is over
				if over.Load() {
					after++
				}
				begun.Add(1)
				if err := call(); isLost(err) {
					return nil // whoever uses a store goes on from here
				} else if err != nil {
					return fmt.Errorf("%s while the server goes away: %w", what, err)
				}
			}
			return nil
		}
	}
	var users []func() error
	for i, store := range stores {
		own := env.Stream("Cart")
		version := uint64(0)
		users = append(users,
			until("an append", func() error {
				result, err := store.Append(ctx, own, eventstore.Exactly(version), env.Event("Happened"))
				version = result.Version
				return err
			}),
			until("a read of a stream", func() error {
				got, err := collect(store.ReadStream(ctx, stream, eventstore.ReadOptions{Backward: i == 1}))
				if err != nil {
					return err
				}
				if i == 1 {
					slices.Reverse(got)
				}
				return expectSame("a stream while the server goes away", kept, got)
			}))
		if env.Caps.GlobalOrder.Supported() {
			users = append(users, until("a subscription", func() error {
				got, err := untilCaughtUp(ctx, store, eventstore.SubscribeOptions{Filter: ofPrefix(stream)})
				if err != nil {
					return err
				}
				return expectSame("a subscription while the server goes away", kept, got[:min(len(got), len(kept))])
			}))
		}
	}
	ended := make(chan error, 1)
	go func() { ended <- race(len(users), func(i int) error { return users[i]() }) }()
	err = eventually(ctx, "calls to be under way", func() (bool, error) { return begun.Load() >= 20*int64(len(users)), nil })
	if err == nil {
		err = env.Fixture.Restart(ctx)
	}
	over.Store(true)
	return errors.Join(err, <-ended)
}
