package decider_test

import (
	"context"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/decider"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// restore puts a backup in the store's place, under this process and the others: of the
// stream it has the first n events.
func (w *world) restore(t *testing.T, n int) {
	t.Helper()
	backup := memory.NewLog()
	into := newStore(t, backup.Open(nil), nil)
	if n > 0 {
		for event, err := range w.store.ReadStream(t.Context(), stream, eventstore.ReadOptions{Limit: n}) {
			require.NoError(t, err)
			_, err = into.Append(t.Context(), stream, eventstore.Any(), event.Event)
			require.NoError(t, err)
		}
	}
	w.others = accounts(t, into, nil)
	w.spy.mu.Lock()
	defer w.spy.mu.Unlock()
	w.spy.Backend = backup.Open(nil)
}

func TestWhateverReadsAStreamNoticesThatItLostEvents(t *testing.T) {
	for grown, balance := range map[int]int64{0: 100, 1: 101, 5: 105} { // below, at and beyond what is remembered
		for name, ask := range map[string]func(w *world) (Account, error){
			"a load": func(w *world) (Account, error) {
				state, _, err := w.here.Load(t.Context(), stream)
				return state, err
			},
			"a refusal": func(w *world) (Account, error) {
				res, err := w.here.Transact(t.Context(), stream, withdraw(1_000_000))
				require.Equal(t, errPoor, err)
				return res.State, nil
			},
			"an answer without events": func(w *world) (Account, error) {
				res, err := w.here.Transact(t.Context(), stream, payUpTo(0))
				return res.State, err
			},
			"a demanded version": func(w *world) (Account, error) {
				res, err := w.here.Do(t.Context(), decider.Command{Stream: stream, Expected: eventstore.Exactly(uint64(1 + grown))}, payUpTo(0))
				return res.State, err
			},
			"a refusal on several streams": func(w *world) (Account, error) {
				var state Account
				_, err := decider.Atomically(t.Context(), w.store, nil, func(tx *decider.Tx) error {
					s, err := w.here.In(tx, stream)
					require.NoError(t, err)
					_, err = w.here.In(tx, "account-2")
					require.NoError(t, err)
					state = s.State
					return errPoor
				})
				require.Equal(t, errPoor, err)
				return state, nil
			},
			"an append to several streams": func(w *world) (Account, error) {
				_, err := decider.Atomically(t.Context(), w.store, nil, func(tx *decider.Tx) error {
					s, err := w.here.In(tx, stream)
					if err == nil {
						s.Add(Withdrawn{0})
					}
					return err
				})
				require.NoError(t, err)
				state, _, err := w.others.Load(t.Context(), stream)
				require.NoError(t, err)
				state.Events--
				return state, nil
			},
		} {
			t.Run(name, func(t *testing.T) {
				w := newWorld(t, decider.Options{CacheSize: 10}, nil)
				transact(t, w.here, pay(100))
				transact(t, w.here, withdraw(100))
				w.restore(t, 1)
				for range grown {
					transact(t, w.others, pay(1))
				}
				state, err := ask(w)
				require.NoError(t, err)
				require.Equal(t, Account{balance, 1 + grown}, state)
				require.Contains(t, w.log.String(), "lost events")
			})
		}
	}
}

func TestAStateFromASnapshotIsHeldToTheStreamOnceItIsCached(t *testing.T) {
	w := newWorld(t, decider.Options{CacheSize: 10, Snapshots: &decider.Snapshots{Type: "Account", Every: 100}}, nil)
	transact(t, w.others, pay(1, 2))
	require.NoError(t, w.store.SaveSnapshot(t.Context(), eventstore.Snapshot{Stream: stream, Type: "Account", Version: 2, SchemaVersion: 1, Data: []byte(`{"Balance":3,"Events":2}`)}))
	require.Equal(t, Account{3, 2}, load(t, w.here, stream))
	w.restore(t, 1)
	transact(t, w.others, pay(7))
	require.Equal(t, Account{8, 2}, load(t, w.here, stream))
}

func TestAHistoryThatIsGoneDoesNotComeBackIntoTheCache(t *testing.T) {
	w := newWorld(t, decider.Options{CacheSize: 10}, nil)
	transact(t, w.here, pay(1))
	transact(t, w.here, pay(1000))
	decider.WithoutTurns(w.here)
	_, err := w.here.Do(t.Context(), decider.Command{Stream: stream, Expected: eventstore.Any()}, func(Account) ([]Event, error) {
		w.restore(t, 1)
		require.Equal(t, Account{2, 2}, transact(t, w.here, pay(1)).State, "the loss is noticed")
		return nil, errPoor // on what was read before it
	})
	require.Equal(t, errPoor, err)
	_, err = w.here.Transact(t.Context(), stream, withdraw(500))
	require.Equal(t, errPoor, err)
}

func TestEventsThatAreLostUnderADecisionAreNoticedByItsConflict(t *testing.T) {
	for name, opts := range map[string]decider.Options{"plain": {}, "cache": {CacheSize: 10}} {
		t.Run(name, func(t *testing.T) {
			opts.Retry = quick
			w := newWorld(t, opts, nil)
			transact(t, w.others, pay(1, 2, 3))
			w.spy.nextAppend(func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
				w.restore(t, 1) // after the stream was read
				return w.spy.Backend.Append(ctx, req)
			})
			res := transact(t, w.here, pay(7))
			require.Equal(t, Account{8, 2}, res.State)
			require.Equal(t, 2, res.Attempts)
			require.Contains(t, w.log.String(), "lost events")
		})
	}
}

func TestARepetitionIsFoundInAStreamThatLostEvents(t *testing.T) {
	w := newWorld(t, decider.Options{CacheSize: 10}, nil)
	cmd := decider.Command{Stream: stream, ID: uuid.New()}
	first := do(t, w.here, cmd, refuseUnlessNew)
	transact(t, w.here, pay(1, 2, 3))
	w.restore(t, 2) // which are the command's
	again := do(t, w.here, cmd, refuseUnlessNew)
	require.True(t, again.Duplicate)
	require.Len(t, again.Events, len(first.Events))
	require.Equal(t, first.State, again.State)
	w.spy.since()
	transact(t, w.here, pay(1))
	reads, _ := w.spy.counted()
	require.Empty(t, reads, "what was folded anew is in the cache")
}

func TestWhatWasReadIsRememberedByItsLastEvent(t *testing.T) {
	w := newWorld(t, decider.Options{CacheSize: 10}, nil)
	transact(t, w.others, pay(1, 2, 3))
	load(t, w.here, stream)
	w.restore(t, 1)
	transact(t, w.others, pay(100, 100)) // as long as before
	require.Equal(t, Account{201, 3}, load(t, w.here, stream))
}
