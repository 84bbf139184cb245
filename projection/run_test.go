package projection_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/codec"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/projection"
)

type (
	applyFunc    = func(ctx context.Context, tx transaction, e deposited, at eventstore.RecordedEvent) error
	applyAllFunc = func(ctx context.Context, tx transaction, events []codec.Decoded[deposited]) error
)

// caughtUp is a subscription that ends at the head and does not wait between attempts.
func caughtUp(target target, name string, apply applyFunc) eventstore.Subscription {
	sub := projection.New(target, name, deposits(), apply)
	sub.UntilCaughtUp, sub.Retry.Pause = true, time.Millisecond
	return sub
}

func TestAReadModelCountsEachEventOnceAcrossFailuresAndPanics(t *testing.T) {
	inEach(t, func(t *testing.T, d *database) {
		store, target := newStore(t), d.open(t)
		d.balances(t, "balances")
		for range 25 {
			deposit(t, store, 1, 1)
		}
		failures := map[uint64]int{3: 2, 11: 1, 25: 1}
		add := count("balances")
		require.NoError(t, store.Run(t.Context(), caughtUp(target, "m", func(ctx context.Context, tx transaction, e deposited, at eventstore.RecordedEvent) error {
			err := add(ctx, tx, e, at)
			if failures[at.Version]--; failures[at.Version] >= 0 {
				if at.Version == 11 {
					panic("eleven")
				}
				return errors.New("not now")
			}
			return err
		})))
		require.Equal(t, 25, d.number(t, `SELECT events FROM balances`))
	})
}

func TestAnEventThatFailsForGoodStopsItsReadModelBeforeIt(t *testing.T) {
	inEach(t, func(t *testing.T, d *database) {
		store, target := newStore(t), d.open(t)
		d.balances(t, "balances")
		for range 5 {
			deposit(t, store, 1, 1)
		}
		add := count("balances")
		sub := caughtUp(target, "stuck", func(ctx context.Context, tx transaction, e deposited, at eventstore.RecordedEvent) error {
			if err := add(ctx, tx, e, at); err != nil {
				return err
			}
			if at.Version == 4 {
				panic("four")
			}
			return nil
		})
		sub.Retry.Attempts = 3
		err := store.Run(t.Context(), sub)
		var failure *eventstore.HandlerError
		require.ErrorAs(t, err, &failure)
		require.EqualValues(t, 4, failure.Version)
		require.Equal(t, 3, failure.Attempts)
		var panicked *eventstore.PanicError
		require.ErrorAs(t, err, &panicked)
		stored, err := target.Load(t.Context(), eventstore.LoadCheckpointRequest{Name: "stuck"})
		require.NoError(t, err)
		require.EqualValues(t, 3, stored.Checkpoint.Place.Version)
		require.Equal(t, 3, d.number(t, `SELECT events FROM balances`))
	})
}

func TestAReadModelParksWhatFailsForGoodAndGoesOn(t *testing.T) {
	inEach(t, func(t *testing.T, d *database) {
		store, target := newStore(t), d.open(t)
		d.balances(t, "balances")
		const events = 12
		for range events {
			deposit(t, store, 1, 1)
		}
		tries := make(map[uint64]int)
		add := count("balances")
		sub := caughtUp(target, "parking", func(ctx context.Context, tx transaction, e deposited, at eventstore.RecordedEvent) error {
			tries[at.Version]++
			if err := add(ctx, tx, e, at); err != nil {
				return err
			}
			switch at.Version {
			case 4:
				panic("four")
			case events:
				return errors.New("the last one never works")
			}
			return nil
		})
		sub.ParkStream, sub.Retry.Attempts = "parked", 3
		together, handle := 0, sub.HandleBatch
		sub.HandleBatch = func(ctx context.Context, batch eventstore.Batch) error {
			if before := tries[4]; len(batch.Events) > 1 {
				defer func() { together += tries[4] - before }() // also where it panics
			}
			return handle(ctx, batch)
		}
		require.NoError(t, store.Run(t.Context(), sub))
		require.Equal(t, events-2, d.number(t, `SELECT events FROM balances`), "of a parked event nothing is kept")
		require.LessOrEqual(t, together, 1, "once in its batch, where others are at hand")
		require.Equal(t, together+3, tries[4], "then three attempts alone")
		require.Equal(t, []string{"4 panicked: four", "12 the last one never works"}, parked(t, store))

		// From the beginning again: the links are there already, and stay as they are.
		require.NoError(t, target.Delete(t.Context(), eventstore.DeleteCheckpointRequest{Name: "parking"}))
		require.NoError(t, store.Run(t.Context(), sub))
		require.Len(t, parked(t, store), 2)
	})
}

func parked(t *testing.T, store *eventstore.Store) (links []string) {
	t.Helper()
	for e, err := range store.ReadStream(t.Context(), "parked", eventstore.ReadOptions{}) {
		require.NoError(t, err)
		var link eventstore.Parked
		require.NoError(t, json.Unmarshal(e.Data, &link))
		links = append(links, strconv.FormatUint(link.Version, 10)+" "+link.Error)
	}
	return links
}

// Run hands over what it was given; New has no error of its own.
func TestAReadModelWithoutAPartIsRefused(t *testing.T) {
	store := newStore(t)
	d := newDatabase(t, inSQLite)
	target, add := d.open(t), count("balances")
	for name, sub := range map[string]eventstore.Subscription{
		"without a target": projection.New(nil, "m", deposits(), add),
		"without a codec":  projection.New[transaction, deposited](target, "m", nil, add),
		"without apply":    projection.New[transaction, deposited](target, "m", deposits(), nil),
		"in batches":       projection.NewBatched[transaction, deposited](target, "m", deposits(), nil),
		"without a name":   projection.New(target, "", deposits(), add),
	} {
		require.ErrorIs(t, store.Run(t.Context(), sub), eventstore.ErrInvalid, name)
	}
}

func TestAReadModelIsGivenTheTypesOfItsCodecAlone(t *testing.T) {
	sub := projection.New(projection.Target[transaction](newDatabase(t, inSQLite).open(t)), "m",
		codec.Must(codec.New[deposited](nil, codec.Of[deposited]("Deposited", codec.Was("PaidIn")), codec.Ignore("Closed"))), count("balances"))
	require.Equal(t, []string{"Deposited", "PaidIn"}, sub.Filter.Types)
}

// An attempt whose answer was lost may still be under way when Run makes the next one.
func TestAnAttemptThatIsCommittedBesideTheNextOneCountsOnce(t *testing.T) {
	inPostgreSQL(t, func(t *testing.T, d *database) {
		store, target := newStore(t), d.open(t)
		d.balances(t, "balances")
		deposit(t, store, 1, 1)
		earlier, err := d.db.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		var pid int
		require.NoError(t, earlier.QueryRowContext(t.Context(), `SELECT pg_backend_pid()`).Scan(&pid))
		committed := make(chan error, 1)
		calls := 0
		add := count("balances")
		require.NoError(t, store.Run(t.Context(), caughtUp(target, "m", func(ctx context.Context, tx transaction, e deposited, at eventstore.RecordedEvent) error {
			if calls++; calls == 1 {
				if err := attempt(ctx, earlier, store, e, at); err != nil {
					return err
				}
				go func() { committed <- d.commitOnceWaitedFor(t.Context(), earlier, pid) }()
			}
			return add(ctx, tx, e, at)
		})))
		require.NoError(t, <-committed)
		require.Equal(t, 1, d.number(t, `SELECT events FROM balances`))
		require.Equal(t, 1, calls, "the next attempt passes over what is committed")
	})
}

// attempt does in a transaction what an update does.
func attempt(ctx context.Context, tx *sql.Tx, store *eventstore.Store, e deposited, at eventstore.RecordedEvent) error {
	info, err := store.Info(ctx)
	if err != nil {
		return err
	}
	err = count("balances")(ctx, eraseSQL(tx), e, at)
	_, saving := tx.ExecContext(ctx, `UPDATE switchyard_checkpoints SET store = $1, position = $2, stream = $3, version = $4, event = $5 WHERE name = 'm'`,
		info.ID.String(), at.Position.String(), at.Stream, int64(at.Version), at.ID.String())
	return errors.Join(err, saving)
}

// commitOnceWaitedFor commits when another transaction waits for this one.
func (d *database) commitOnceWaitedFor(ctx context.Context, tx *sql.Tx, pid int) error {
	for deadline := time.Now().Add(soon); ; {
		var waits bool
		err := d.db.QueryRowContext(ctx, `SELECT EXISTS (SELECT FROM pg_stat_activity WHERE $1 = ANY (pg_blocking_pids(pid)))`, pid).Scan(&waits)
		switch {
		case err != nil:
			return errors.Join(err, tx.Rollback())
		case waits:
			return tx.Commit()
		case time.Now().After(deadline):
			return errors.Join(errors.New("nobody waits for the earlier attempt"), tx.Rollback())
		}
	}
}

// The checkpoint stays in the read model's database when the store is moved.
func TestACheckpointOfTheStoreThatThisOneWasMovedFromIsTranslated(t *testing.T) {
	for name, moved := range map[string]bool{"moved": true, "not moved": false} {
		t.Run(name, func(t *testing.T) {
			inEach(t, func(t *testing.T, d *database) {
				backend := memory.New()
				store, err := eventstore.New(backend, nil)
				require.NoError(t, err)
				t.Cleanup(func() { require.NoError(t, store.Close()) })
				target := d.open(t)
				d.balances(t, "balances")
				var places []eventstore.Place
				for range 5 {
					result, err := store.Append(t.Context(), "account-1", eventstore.Any(), eventstore.Event{Type: "Deposited", Data: []byte(`{"cents":1}`)})
					require.NoError(t, err)
					place := result.Events[0].Place()
					place.Position = eventstore.NewPosition(1000*place.Version, 0) // in the old store
					places = append(places, place)
				}
				old := uuid.New()
				save := func(to eventstore.Checkpoints, name string, place eventstore.Place) {
					require.NoError(t, to.Save(t.Context(), eventstore.SaveCheckpointRequest{Checkpoint: eventstore.Checkpoint{Name: name, Store: old, Place: place}}))
				}
				save(target, "m", places[1])
				if moved {
					save(backend.Records().Checkpoints, eventstore.OriginName(old), places[3])
				}
				err = store.Run(t.Context(), caughtUp(target, "m", count("balances")))
				if !moved {
					require.ErrorIs(t, err, eventstore.ErrForeignCheckpoint)
					require.Zero(t, d.number(t, `SELECT count(*) FROM balances`))
					return
				}
				require.NoError(t, err)
				require.Equal(t, 3, d.number(t, `SELECT events FROM balances`), "it goes on after the same event")
				info, err := store.Info(t.Context())
				require.NoError(t, err)
				stored, err := target.Load(t.Context(), eventstore.LoadCheckpointRequest{Name: "m"})
				require.NoError(t, err)
				require.Equal(t, info.ID, stored.Checkpoint.Store)
				require.Equal(t, info.Head, stored.Checkpoint.Place)
			})
		})
	}
}

// A batch may begin before the checkpoint: an owner of before has committed a part of it.
func TestABatchIsAppliedFromTheStoredPositionOn(t *testing.T) {
	inEach(t, func(t *testing.T, d *database) {
		store, target := newStore(t), d.open(t)
		d.balances(t, "balances")
		for range 5 {
			deposit(t, store, 1, 1)
		}
		var events []eventstore.RecordedEvent
		for e, err := range store.ReadAll(t.Context(), eventstore.ReadAllOptions{}) {
			require.NoError(t, err)
			events = append(events, e)
		}
		info, err := store.Info(t.Context())
		require.NoError(t, err)
		upTo := func(e eventstore.RecordedEvent) eventstore.Checkpoint {
			return eventstore.Checkpoint{Name: "m", Store: info.ID, Place: e.Place()}
		}
		sub := projection.New(target, "m", deposits(), count("balances"))
		require.NoError(t, sub.HandleBatch(t.Context(), eventstore.Batch{Events: events[:2], Checkpoint: upTo(events[1])}))
		require.NoError(t, sub.HandleBatch(t.Context(), eventstore.Batch{Events: events, Checkpoint: upTo(events[4])}))
		require.Equal(t, 5, d.number(t, `SELECT events FROM balances`))
	})
}

// A retried event is a batch under a name of its own, older than the read model's
// checkpoint.
func TestAReadModelHandlesARetriedEventOnce(t *testing.T) {
	inEach(t, func(t *testing.T, d *database) {
		store, target := newStore(t), d.open(t)
		d.balances(t, "balances")
		for range 4 {
			deposit(t, store, 1, 1)
		}
		broken, add := true, count("balances")
		sub := caughtUp(target, "retrying", func(ctx context.Context, tx transaction, e deposited, at eventstore.RecordedEvent) error {
			if broken && at.Version == 2 {
				return errors.New("no price list")
			}
			return add(ctx, tx, e, at)
		})
		sub.ParkStream, sub.Retry.Attempts = "parked", 1
		require.NoError(t, store.Run(t.Context(), sub))
		require.Equal(t, 3, d.number(t, `SELECT events FROM balances`))
		broken = false
		events, err := store.ParkedEvents(t.Context(), "parked")
		require.NoError(t, err)
		require.NoError(t, store.RetryParked(t.Context(), "parked", events...))
		for range 2 {
			require.NoError(t, store.Run(t.Context(), sub))
		}
		events, err = store.ParkedEvents(t.Context(), "parked")
		require.NoError(t, err)
		require.Len(t, events, 1)
		require.Equal(t, eventstore.ParkedHandled, events[0].State)
		require.Equal(t, 4, d.number(t, `SELECT events FROM balances`))
	})
}
