package target

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/sleep"
	"github.com/switchyard-dev/switchyard/projection"
)

// A swap holds the old read model still for so long at first, and for longer where the
// new one did not get level in that time. A hold ends by itself, should the process die.
const holdFor, longestHold = 2 * time.Second, 16 * time.Second

// Swap is sqldb.Target's and pgxdb.Target's.
//
// A swap that only waited for the new read model to be level with the old one could
// wait for ever while there are writers. So it waits once for where the old one is now,
// then holds it still for as long as the new one needs for what came meanwhile.
func (t *Target[Tx]) Swap(ctx context.Context, from, to string, swap func(ctx context.Context, tx Tx) error) error {
	if err := checkSwap(from, to, swap == nil); err != nil {
		return err
	}
	if err := t.checkModels(ctx, from, to); err != nil {
		return fmt.Errorf("swap read model %q for %q: %w", from, to, err)
	}
	for hold := holdFor; ; hold = min(2*hold, longestHold) {
		swapped, err := t.swapOnce(ctx, from, to, hold, swap)
		switch {
		case ctx.Err() != nil && err != nil:
			return fmt.Errorf("swap read model %q for %q: %w: %w", from, to, ctx.Err(), err)
		case err != nil && !errors.Is(err, eventstore.ErrUnavailable):
			return fmt.Errorf("swap read model %q for %q: %w", from, to, err)
		case swapped:
			return nil
		}
		if sleep.For(ctx, settlePause) != nil {
			return fmt.Errorf("swap read model %q for %q: %w: %w", from, to, projection.ErrBehind, ctx.Err())
		}
	}
}

func checkSwap(from, to string, noSwap bool) error {
	if err := checkName("from", from); err != nil {
		return err
	}
	if err := checkName("to", to); err != nil {
		return err
	}
	switch {
	case from == to:
		return &eventstore.InvalidError{Field: "to", Reason: fmt.Sprintf("it is %q, as from is; run the new version under a name of its own", to)}
	case noSwap:
		return &eventstore.InvalidError{Field: "swap", Reason: "it is nil; give the function that lets readers go over"}
	}
	return nil
}

// swapOnce returns false where the old read model was held still and the new one did
// not get level within the hold.
func (t *Target[Tx]) swapOnce(ctx context.Context, from, to string, hold time.Duration, swap func(ctx context.Context, tx Tx) error) (swapped bool, err error) {
	if err := t.level(ctx, from, to); err != nil {
		return false, err
	}
	if err := t.hold(ctx, from, hold); err != nil {
		return false, err
	}
	held, cancel := context.WithTimeout(ctx, hold)
	defer cancel()
	defer func() {
		if !swapped { // or else the hold has ended with the swap
			free, cancel := context.WithTimeout(context.WithoutCancel(ctx), settlePatience)
			defer cancel()
			_ = t.hold(free, from, 0) // which ends by itself too
		}
	}()
	for !swapped && err == nil {
		// It only reads: what takes locks here would hold up the new one.
		if err = t.level(held, from, to); err != nil && held.Err() != nil && ctx.Err() == nil {
			return false, nil
		}
		if err == nil {
			swapped, err = t.swapLevel(ctx, from, to, swap)
		}
	}
	return swapped, err
}

// startPatience is how long a swap waits for a read model that was started just now, and
// has not taken its lease yet.
const startPatience = 2 * time.Second

// checkModels refuses at once what waiting would not make right.
func (t *Target[Tx]) checkModels(ctx context.Context, from, to string) error {
	older, err := t.ran(ctx, "from", from, "name the read model that readers use now")
	if err != nil {
		return err
	}
	newer, err := t.ran(ctx, "to", to, "run the new version first")
	if err != nil {
		return err
	}
	return sameStore(to, newer, older)
}

// ran loads the checkpoint of a read model that was run. One that has met no event has
// none yet. A database that does not answer is asked until it does.
func (t *Target[Tx]) ran(ctx context.Context, field, name, remedy string) (eventstore.LoadCheckpointResult, error) {
	for until := time.Now().Add(startPatience); ; {
		found, err := t.Load(ctx, eventstore.LoadCheckpointRequest{Name: name})
		switch {
		case err != nil && !errors.Is(err, eventstore.ErrUnavailable):
			return found, err
		case err == nil && (found.Found || found.Checkpoint.Epoch > 0):
			return found, nil
		case err == nil && !time.Now().Before(until):
			return found, &eventstore.InvalidError{Field: field, Reason: fmt.Sprintf("there is no checkpoint of %q, and nobody runs it; %s", name, remedy)}
		}
		if ended := sleep.For(ctx, settlePause); ended != nil {
			return found, errors.Join(ended, err)
		}
	}
}

func sameStore(name string, newer, older eventstore.LoadCheckpointResult) error {
	if !newer.Found || !older.Found || newer.Checkpoint.Store == older.Checkpoint.Store {
		return nil
	}
	return &eventstore.ForeignCheckpointError{Name: name, Checkpoint: newer.Checkpoint.Store, Store: older.Checkpoint.Store, Place: newer.Checkpoint.Place}
}

// level waits until the new read model is where the old one is at the beginning.
func (t *Target[Tx]) level(ctx context.Context, from, to string) error {
	goal, err := t.Load(ctx, eventstore.LoadCheckpointRequest{Name: from})
	if err != nil {
		return err
	}
	return projection.WaitFor(ctx, t, to, goal.Checkpoint.Place.Position)
}

// hold has the updates of a read model wait for a while, or go on.
func (t *Target[Tx]) hold(ctx context.Context, name string, d time.Duration) error {
	tx, end, err := t.transaction(ctx, true)
	if err != nil {
		return t.failed(ctx, err)
	}
	defer end()
	if _, err = t.locked(ctx, tx, name); err == nil {
		err = tx.Exec(ctx, t.sql.hold, d.Milliseconds(), name)
	}
	if err == nil {
		err = tx.Commit(ctx)
	}
	return t.failed(ctx, err)
}

// swapLevel calls swap in a transaction that has seen both read models level, and in
// which the old one cannot move.
func (t *Target[Tx]) swapLevel(ctx context.Context, from, to string, swap func(ctx context.Context, tx Tx) error) (bool, error) {
	tx, end, err := t.transaction(ctx, false)
	if err != nil {
		return false, t.failed(ctx, err)
	}
	defer end()
	older, err := t.locked(ctx, tx, from)
	if err != nil {
		return false, t.failed(ctx, err)
	}
	newer, err := t.load(ctx, tx, t.sql.load, to)
	if err != nil {
		return false, t.failed(ctx, err)
	}
	if err := sameStore(to, newer.Load(to), older.Load(from)); err != nil {
		return false, err
	}
	if newer.Checkpoint.Place.Position.Before(older.Checkpoint.Place.Position) {
		return false, nil
	}
	if err := t.call(ctx, tx, func(tx Tx) error { return swap(ctx, tx) }); err != nil {
		return false, err
	}
	if err = tx.Exec(ctx, t.sql.hold, 0, from); err == nil {
		err = tx.Commit(ctx)
	}
	return err == nil, t.failed(ctx, err)
}
