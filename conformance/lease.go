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

// The checks of promise 24.

func leaseChecks() []Check {
	checks := []Check{
		{
			Name: "lease/compare-and-swap", Needs: NeedsOpenAgain, Core: true,
			Sentence: "A lease is replaced only if the stored one is exactly the one that the caller knows; otherwise the stored one is returned.",
			Run:      leaseSwaps,
		},
		{
			Name: "lease/one-winner", Needs: NeedsOpenAgain, Core: true,
			Sentence: "Of 2, 8 and 32 processes that take a lease at once exactly one has it.",
			Run:      leaseOneWinner,
		},
		{
			Name: "lease/fences-saves", Needs: NeedsOpenAgain, Core: true,
			Sentence: "A save with an epoch below the stored one is refused with ErrLeaseLost and changes nothing, through every handle.",
			Run:      leaseFences,
		},
		{
			Name: "lease/reset-stands", Needs: NeedsOpenAgain, Core: true,
			Sentence: "Deleting or resetting a checkpoint raises the epoch and frees the lease, so that its owner cannot save; a reset also moves back. Where nobody ever took the lease nobody is fenced.",
			Run:      leaseReset,
		},
		{
			Name: "lease/survives-reopening", Needs: NeedsOpenAgain,
			Sentence: "A lease and its epoch are there after every handle was closed and the store opened again, also where the checkpoint was deleted.",
			Run:      leaseReopened,
		},
		{
			Name: "lease/names-apart", Needs: NeedsOpenAgain,
			Sentence: "A lease belongs to exactly its name, and a lease alone is no checkpoint.",
			Run:      leaseNames,
		},
		{
			Name: "lease/one-owner", Needs: NeedsOpenAgain, Core: true,
			Sentence: "Of one name one process at a time handles events; when it ends the next goes on at the checkpoint, without a gap and in order.",
			Run:      leaseOneOwner,
		},
		{
			Name: "lease/taken-over", Needs: NeedsOpenAgain,
			Sentence: "An owner that is not heard of for its lease's length is followed by another, and its own saves are refused from then on.",
			Run:      leaseTakenOver,
		},
		{
			Name: "lease/same-name-twice", Core: true,
			Sentence: "The same name twice in one Store is refused at once with ErrAlreadyRunning.",
			Run:      leaseTwice,
		},
		{
			Name: "checkpoint/list", Needs: NeedsOpenAgain,
			Sentence: "Every checkpoint is listed once, in the order of the names' bytes, with its place; a name without one is not.",
			Run:      checkpointList,
		},
	}
	for i := range checks {
		checks[i].Promise = 24
		if checks[i].Name == "checkpoint/list" {
			checks[i].Promise = 18
		}
		checks[i].Requires, checks[i].Refused = checkpointing, refusesCheckpoints
	}
	return checks
}

func checkpointing(c eventstore.Capabilities) eventstore.Capability {
	return both(c.Checkpoints, c.GlobalOrder)
}

func refusesCheckpoints(ctx context.Context, env *Env) error {
	if env.Caps.Checkpoints.Supported() {
		return nil // the global order is absent, whose own checks see to it
	}
	store, spy, err := spied(env, eventstore.Options{})
	if err != nil {
		return err
	}
	_, _, loaded := store.LoadCheckpoint(ctx, "billing")
	_, listed := collect(store.ListCheckpoints(ctx))
	return errors.Join(
		expectUnsupported("LoadCheckpoint", loaded, env.Caps.Checkpoints),
		expectUnsupported("SaveCheckpoint", store.SaveCheckpoint(ctx, eventstore.Checkpoint{Name: "billing"}), env.Caps.Checkpoints),
		expectUnsupported("DeleteCheckpoint", store.DeleteCheckpoint(ctx, "billing"), env.Caps.Checkpoints),
		expectUnsupported("ListCheckpoints", listed, env.Caps.Checkpoints),
		expectUnsupported("Run", store.Run(ctx, eventstore.Subscription{Name: "billing", Handler: ignoreEvent}), env.Caps.Checkpoints),
		spy.expectNoCalls("checkpoints that the backend does not keep"))
}

// twoKeepers returns the checkpoints of two handles.
func twoKeepers(ctx context.Context, env *Env) ([2]eventstore.Checkpoints, error) {
	again, err := env.Fixture.OpenAgain(ctx)
	if err != nil {
		return [2]eventstore.Checkpoints{}, err
	}
	env.OnClose(again.Close)
	return [2]eventstore.Checkpoints{env.Fixture.Backend.Records().Checkpoints, again.Records().Checkpoints}, nil
}

// swap replaces a lease, which must succeed.
func swap(ctx context.Context, what string, keeper eventstore.Checkpoints, from, to eventstore.Lease) error {
	result, err := keeper.SwapLease(ctx, eventstore.SwapLeaseRequest{Name: to.Name, Old: from, New: to})
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if !result.Swapped || result.Lease != to {
		return unexpected(what, fmt.Sprintf("swapped, %+v stored", to), fmt.Sprintf("swapped %t, %+v", result.Swapped, result.Lease))
	}
	return nil
}

func leaseSwaps(ctx context.Context, env *Env) error {
	keepers, err := twoKeepers(ctx, env)
	if err != nil {
		return err
	}
	none := eventstore.Lease{}
	first := eventstore.Lease{Name: "billing", Epoch: 1, Owner: "o'neil, process 7 «a»", TTL: 1234567 * time.Microsecond}
	renewed, free, second, third := first, first, first, first
	// Each has a length of its own, which is not the one that was stored before.
	renewed.Renewals, renewed.TTL = 1, 7*time.Hour+time.Nanosecond
	free.Renewals, free.Owner, free.TTL = 2, "", 100*time.Millisecond
	second.Epoch, second.Owner, second.TTL = 2, "another", 15*time.Second
	third.Epoch, third.Owner, third.TTL = 3, second.Owner, 20*time.Second
	otherOwner := first
	otherOwner.Owner = "somebody else"
	for i, step := range []struct {
		what     string
		from, to eventstore.Lease
		succeeds bool
		stored   eventstore.Lease
	}{
		{"take a lease that nobody ever had, as if it were known", first, second, false, eventstore.Lease{}},
		{"take a lease that nobody ever had", none, first, true, first},
		{"take a lease as if nobody had it", none, second, false, first},
		{"take a lease that another owner is thought to have", otherOwner, second, false, first},
		{"renew a lease", first, renewed, true, renewed},
		{"take a lease that was renewed meanwhile", first, second, false, renewed},
		{"release a lease", renewed, free, true, free},
		{"renew a lease that was released", renewed, first, false, free},
		{"take a lease that is free", free, second, true, second},
		{"renew a lease of an earlier epoch", free, renewed, false, second},
		{"take a lease from oneself", second, third, true, third},
		{"take a lease as one had it in an earlier epoch", second, first, false, third},
	} {
		result, err := keepers[i%2].SwapLease(ctx, eventstore.SwapLeaseRequest{Name: "billing", Old: step.from, New: step.to})
		if err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
		if result.Swapped != step.succeeds || !result.Lease.Same(step.stored) || result.Lease.TTL != step.stored.TTL {
			return unexpected(step.what, fmt.Sprintf("swapped %t, stored %+v", step.succeeds, step.stored), fmt.Sprintf("swapped %t, %+v", result.Swapped, result.Lease))
		}
	}
	return nil
}

func leaseOneWinner(ctx context.Context, env *Env) error {
	keepers, err := twoKeepers(ctx, env)
	if err != nil {
		return err
	}
	for _, racers := range []int{2, 8, 32} {
		name := fmt.Sprintf("raced by %d", racers)
		var current eventstore.Lease
		for round := range 3 {
			var winners atomic.Int64
			leases := make([]eventstore.Lease, racers)
			err := race(racers, func(i int) error {
				want := eventstore.Lease{Name: name, Epoch: current.Epoch + 1, Owner: fmt.Sprintf("racer %d", i), TTL: time.Minute}
				result, err := keepers[i%2].SwapLease(ctx, eventstore.SwapLeaseRequest{Name: name, Old: current, New: want})
				if result.Swapped {
					winners.Add(1)
				}
				leases[i] = result.Lease
				return err
			})
			if err != nil {
				return err
			}
			if winners.Load() != 1 {
				return unexpected(fmt.Sprintf("racers that have a lease, round %d of %d racers", round+1, racers), 1, winners.Load())
			}
			for _, lease := range leases {
				if !lease.Same(leases[0]) {
					return unexpected("lease that every racer sees", fmt.Sprintf("%+v", leases[0]), fmt.Sprintf("%+v", lease))
				}
			}
			current = leases[0]
		}
	}
	return nil
}

// taken takes a lease up to an epoch.
func taken(ctx context.Context, keeper eventstore.Checkpoints, name string, epoch uint64) error {
	var old eventstore.Lease
	for n := uint64(1); n <= epoch; n++ {
		next := eventstore.Lease{Name: name, Epoch: n, Owner: fmt.Sprintf("owner %d", n), TTL: time.Minute}
		if err := swap(ctx, fmt.Sprintf("take lease %q at epoch %d", name, n), keeper, old, next); err != nil {
			return err
		}
		old = next
	}
	return nil
}

func leaseFences(ctx context.Context, env *Env) error {
	log, err := logToSave(ctx, env, 4)
	if err != nil {
		return err
	}
	keepers, err := twoKeepers(ctx, env)
	if err != nil {
		return err
	}
	if err := taken(ctx, keepers[0], "billing", 3); err != nil {
		return err
	}
	save := func(epoch uint64, at int) error {
		c := log.at("billing", at)
		c.Epoch = epoch
		return keepers[at%2].Save(ctx, eventstore.SaveCheckpointRequest{Checkpoint: c})
	}
	if err := save(3, 0); err != nil {
		return fmt.Errorf("save by the owner: %w", err)
	}
	for _, epoch := range []uint64{0, 1, 2} {
		for at := 1; at <= 2; at++ {
			if err := expectError(fmt.Sprintf("save at epoch %d while epoch 3 is stored", epoch), save(epoch, at), eventstore.ErrLeaseLost); err != nil {
				return err
			}
		}
	}
	want := log.at("billing", 0)
	want.Epoch = 3
	for _, store := range log.stores {
		if err := expectCheckpoint(ctx, "checkpoint after refused saves", store, want); err != nil {
			return err
		}
	}
	if err := save(3, 2); err != nil {
		return fmt.Errorf("save by the owner, after others were refused: %w", err)
	}
	want.Place = log.all[2].Place()
	return expectCheckpoint(ctx, "checkpoint that its owner saved", log.stores[1], want)
}

func leaseReset(ctx context.Context, env *Env) error {
	log, err := logToSave(ctx, env, 4)
	if err != nil {
		return err
	}
	keepers, err := twoKeepers(ctx, env)
	if err != nil {
		return err
	}
	for i, reset := range []struct {
		name  string
		reset func(name string) error
		found bool
	}{
		{"deleted", func(name string) error { return log.stores[1].DeleteCheckpoint(ctx, name) }, false},
		{"reset backward", func(name string) error { return log.stores[1].ResetCheckpoint(ctx, log.at(name, 0)) }, true},
		{"reset forward", func(name string) error { return log.stores[1].ResetCheckpoint(ctx, log.at(name, 3)) }, true},
	} {
		if err := taken(ctx, keepers[0], reset.name, 1); err != nil {
			return err
		}
		owned := log.at(reset.name, 2)
		owned.Epoch = 1
		if err := keepers[0].Save(ctx, eventstore.SaveCheckpointRequest{Checkpoint: owned}); err != nil {
			return err
		}
		if err := reset.reset(reset.name); err != nil {
			return err
		}
		owned.Place = log.all[3].Place()
		err := keepers[0].Save(ctx, eventstore.SaveCheckpointRequest{Checkpoint: owned})
		if err := expectError(fmt.Sprintf("save by the owner of a checkpoint that was %s", reset.name), err, eventstore.ErrLeaseLost); err != nil {
			return err
		}
		got, found, err := log.stores[0].LoadCheckpoint(ctx, reset.name)
		if err != nil {
			return err
		}
		want := eventstore.Checkpoint{Name: reset.name, Epoch: 2}
		if reset.found {
			want = log.at(reset.name, []int{0, 0, 3}[i])
			want.Epoch = 2
		}
		if found != reset.found || got.Epoch != 2 || (found && got != want) {
			return unexpected("checkpoint that was "+reset.name, fmt.Sprintf("%+v", want), fmt.Sprintf("%+v, found %t", got, found))
		}
		next := eventstore.Lease{Name: reset.name, Epoch: 3, Owner: "the next", TTL: time.Minute}
		result, err := keepers[1].SwapLease(ctx, eventstore.SwapLeaseRequest{Name: reset.name, New: next})
		if err != nil {
			return err
		}
		if result.Swapped || result.Lease.Epoch != 2 || result.Lease.Owner != "" {
			return unexpected("lease of a checkpoint that was "+reset.name, "epoch 2, free", fmt.Sprintf("%+v", result))
		}
		if err := swap(ctx, "take the lease of a checkpoint that was "+reset.name, keepers[1], result.Lease, next); err != nil {
			return err
		}
	}
	return resetByHand(ctx, log, keepers)
}

// resetByHand moves a checkpoint to and fro that nobody ever owned, so that there is
// nobody to fence.
func resetByHand(ctx context.Context, log savedLog, keepers [2]eventstore.Checkpoints) error {
	const name = "by hand"
	for i, step := range []struct {
		at    int
		reset bool
	}{{2, false}, {0, true}, {1, false}, {3, true}} {
		checkpoint, save := log.at(name, step.at), log.stores[i%2].SaveCheckpoint
		if step.reset {
			save = log.stores[i%2].ResetCheckpoint
		}
		if err := save(ctx, checkpoint); err != nil {
			return fmt.Errorf("move %d of a checkpoint that nobody owns: %w", i+1, err)
		}
		if err := expectCheckpoint(ctx, fmt.Sprintf("move %d of a checkpoint that nobody owns", i+1), log.stores[1-i%2], checkpoint); err != nil {
			return err
		}
	}
	first := eventstore.Lease{Name: name, Epoch: 1, Owner: "the first", TTL: 90 * time.Second}
	if err := swap(ctx, "take the lease of a checkpoint that nobody owns", keepers[0], eventstore.Lease{}, first); err != nil {
		return err
	}
	return expectLease(ctx, "of a checkpoint that nobody owned before", keepers[1], first)
}

func leaseReopened(ctx context.Context, env *Env) error {
	log, err := logToSave(ctx, env, 2)
	if err != nil {
		return err
	}
	keeper := env.Fixture.Backend.Records().Checkpoints
	for _, name := range []string{"kept", "deleted"} {
		if err := taken(ctx, keeper, name, 2); err != nil {
			return err
		}
		saved := log.at(name, 1)
		saved.Epoch = 2
		if err := keeper.Save(ctx, eventstore.SaveCheckpointRequest{Checkpoint: saved}); err != nil {
			return err
		}
	}
	if err := keeper.Delete(ctx, eventstore.DeleteCheckpointRequest{Name: "deleted"}); err != nil {
		return err
	}
	if err := env.Reopen(ctx); err != nil {
		return err
	}
	again, err := env.Fixture.OpenAgain(ctx)
	if err != nil {
		return err
	}
	env.OnClose(again.Close)
	for _, want := range []eventstore.Lease{
		{Name: "kept", Epoch: 2, Owner: "owner 2", TTL: time.Minute},
		{Name: "deleted", Epoch: 3},
	} {
		got, found, err := env.Store.LoadCheckpoint(ctx, want.Name)
		if err != nil {
			return err
		}
		if got.Epoch != want.Epoch || found != (want.Name == "kept") {
			return unexpected(fmt.Sprintf("checkpoint %q after reopening", want.Name), fmt.Sprintf("epoch %d", want.Epoch), fmt.Sprintf("%+v, found %t", got, found))
		}
		if err := expectLease(ctx, "after reopening", again.Records().Checkpoints, want); err != nil {
			return err
		}
	}
	return nil
}

// expectLease asks who has a lease, by a swap that cannot succeed.
func expectLease(ctx context.Context, when string, keeper eventstore.Checkpoints, want eventstore.Lease) error {
	stranger := eventstore.Lease{Name: want.Name, Epoch: want.Epoch + 1, Owner: "a stranger", TTL: time.Second}
	result, err := keeper.SwapLease(ctx, eventstore.SwapLeaseRequest{Name: want.Name, New: stranger})
	if err != nil {
		return err
	}
	if result.Swapped || !result.Lease.Same(want) || result.Lease.TTL != want.TTL {
		return unexpected(fmt.Sprintf("lease %q %s", want.Name, when), fmt.Sprintf("%+v", want), fmt.Sprintf("swapped %t, %+v", result.Swapped, result.Lease))
	}
	return nil
}

func leaseNames(ctx context.Context, env *Env) error {
	keepers, err := twoKeepers(ctx, env)
	if err != nil {
		return err
	}
	names := []string{"billing", "Billing", "billing ", "bill%ng", "bill_ng", "o'neil", "é", "e\u0301", "billing\u200b"}
	leases := make([]eventstore.Lease, len(names))
	for i, name := range names { // one owner has them all: nothing but the name tells them apart
		leases[i] = eventstore.Lease{Name: name, Epoch: 1, Owner: "owner", TTL: time.Duration(i+1) * time.Second}
		if err := swap(ctx, fmt.Sprintf("take lease %q", name), keepers[i%2], eventstore.Lease{}, leases[i]); err != nil {
			return err
		}
	}
	for i := range leases {
		if i%2 == 0 {
			continue
		}
		renewed := leases[i]
		renewed.Renewals++
		if err := swap(ctx, fmt.Sprintf("renew lease %q", names[i]), keepers[i/2%2], leases[i], renewed); err != nil {
			return err
		}
		leases[i] = renewed
	}
	for i, lease := range leases {
		if err := expectLease(ctx, "beside others of the same owner", keepers[i%2], lease); err != nil {
			return err
		}
	}
	listed, err := collect(env.Store.ListCheckpoints(ctx))
	if err != nil {
		return err
	}
	if len(listed) > 0 {
		return unexpected("checkpoints where only leases were taken", "none", fmt.Sprintf("%+v", listed))
	}
	return nil
}

func leaseOneOwner(ctx context.Context, env *Env) error {
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	streams := []string{env.Stream("Order"), env.Stream("Cart")}
	var busy, overlaps atomic.Int64
	var handled recorder
	sub := eventstore.Subscription{Name: "owned", LeaseTTL: 2 * time.Second, Handler: func(ctx context.Context, event eventstore.RecordedEvent) error {
		if busy.Add(1) > 1 {
			overlaps.Add(1)
		}
		defer busy.Add(-1)
		return handled.handle(ctx, event)
	}}
	runs := []*running{startRun(ctx, env, stores[0], sub), startRun(ctx, env, stores[1], sub)}
	for hand := range 3 { // the owner ends, the other goes on, and a new one waits
		for i := range 10 {
			if _, err := stores[i%2].Append(ctx, streams[i%3%2], eventstore.Any(), env.Events(1+i%3)...); err != nil {
				return err
			}
		}
		all, err := collect(stores[0].ReadAll(ctx, eventstore.ReadAllOptions{}))
		if err != nil {
			return err
		}
		if err := handled.waitEvents(ctx, runs[0], len(all)); err != nil {
			return fmt.Errorf("hand %d: %w", hand+1, err)
		}
		if err := expectSame("what one owner after the other handled", all, handled.events()); err != nil {
			return err
		}
		owner := hand % 2
		if err := runs[owner].stop(); err != nil {
			return err
		}
		runs[owner] = startRun(ctx, env, stores[owner], sub)
	}
	if overlaps.Load() > 0 {
		return unexpected("events that two owners handled at the same time", 0, overlaps.Load())
	}
	return errors.Join(runs[0].stop(), runs[1].stop())
}

func leaseTakenOver(ctx context.Context, env *Env) error {
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	all, err := writeLog(ctx, env, 4, stores[:]...)
	if err != nil {
		return err
	}
	const ttl = 300 * time.Millisecond
	keeper := env.Fixture.Backend.Records().Checkpoints
	dead := eventstore.Lease{Name: "left", Epoch: 1, Owner: "a process that was killed", TTL: ttl}
	if err := swap(ctx, "take a lease", keeper, eventstore.Lease{}, dead); err != nil {
		return err
	}
	began := time.Now()
	var handled recorder
	run := startRun(ctx, env, stores[1], eventstore.Subscription{Name: "left", LeaseTTL: ttl, Handler: handled.handle})
	if err := handled.waitEvents(ctx, run, len(all)); err != nil {
		return err
	}
	if took := time.Since(began); took < ttl {
		return unexpected("time until the lease of a killed owner is taken over", "at least its length, "+ttl.String(), took)
	}
	info, err := stores[0].Info(ctx)
	if err != nil {
		return err
	}
	late := eventstore.Checkpoint{Name: "left", Store: info.ID, Place: all[len(all)-1].Place(), Epoch: 1}
	err = keeper.Save(ctx, eventstore.SaveCheckpointRequest{Checkpoint: late})
	if err := expectError("save by an owner that was followed by another", err, eventstore.ErrLeaseLost); err != nil {
		return err
	}
	return errors.Join(expectSame("what was handled after the take-over", all, handled.events()), run.stop())
}

func leaseTwice(ctx context.Context, env *Env) error {
	if _, err := env.Fill(ctx, env.Stream("Order"), 1, 1); err != nil {
		return err
	}
	var handled recorder
	sub := eventstore.Subscription{Name: "twice", Handler: handled.handle}
	run := startRun(ctx, env, env.Store, sub)
	if err := handled.waitEvents(ctx, run, 1); err != nil {
		return err
	}
	err, late := returnsPromptly("Run of a name that this Store runs", func() error { return env.Store.Run(ctx, sub) })
	err = errors.Join(late, expectError("Run of a name that this Store runs", err, eventstore.ErrAlreadyRunning), run.stop())
	if err != nil {
		return err
	}
	sub.UntilCaughtUp = true // the name is free again
	return env.Store.Run(ctx, sub)
}

func checkpointList(ctx context.Context, env *Env) error {
	log, err := logToSave(ctx, env, 4)
	if err != nil {
		return err
	}
	var want []eventstore.Checkpoint
	add := func(name string, at int) error {
		want = append(want, log.at(name, at))
		return log.stores[at%2].SaveCheckpoint(ctx, log.at(name, at))
	}
	for i := range 300 { // more than are listed at once
		if err := add(fmt.Sprintf("name %03d", i), i%4); err != nil {
			return err
		}
	}
	for _, name := range []string{"a", "B", "Z", "é", "e\u0301", "%", "_", "~", "name 1", " leading", "注文"} {
		if err := add(name, 1); err != nil {
			return err
		}
	}
	for _, gone := range []string{"name 007", "B"} {
		if err := log.stores[0].DeleteCheckpoint(ctx, gone); err != nil {
			return err
		}
		want = slices.DeleteFunc(want, func(c eventstore.Checkpoint) bool { return c.Name == gone })
	}
	slices.SortFunc(want, func(a, b eventstore.Checkpoint) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	for i, store := range log.stores {
		got, err := collect(store.ListCheckpoints(ctx))
		if err != nil {
			return err
		}
		for j := range max(len(want), len(got)) {
			if j >= len(want) || j >= len(got) || got[j] != want[j] {
				return unexpected(fmt.Sprintf("checkpoint %d of the list through handle %d", j+1, i+1), at(want, j), at(got, j))
			}
		}
	}
	return nil
}

func at(list []eventstore.Checkpoint, i int) string {
	if i >= len(list) {
		return "none"
	}
	return fmt.Sprintf("%+v", list[i])
}
