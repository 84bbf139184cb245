package decider_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/codec"
	"github.com/switchyard-dev/switchyard/decider"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// pair is two accounts in a Tx.
type pair struct {
	a, b *decider.Stream[Account, Event]
}

func in(d *decider.Decider[Account, Event], tx *decider.Tx) (p pair, err error) {
	if p.a, err = d.In(tx, "account-a"); err != nil {
		return p, err
	}
	p.b, err = d.In(tx, "account-b")
	return p, err
}

// transfer moves money from a to b.
func transfer(d *decider.Decider[Account, Event], cents int64) func(*decider.Tx) error {
	return func(tx *decider.Tx) error {
		p, err := in(d, tx)
		if err != nil {
			return err
		}
		if p.a.State.Balance < cents {
			return errPoor
		}
		p.a.Add(Withdrawn{cents})
		p.b.Add(Paid{cents})
		return nil
	}
}

// withdrawShared lets a be overdrawn as far as b has money: it reads both and writes a.
func withdrawShared(d *decider.Decider[Account, Event], from, other string, cents int64) func(*decider.Tx) error {
	return func(tx *decider.Tx) error {
		o, err := d.In(tx, other)
		if err != nil {
			return err
		}
		f, err := d.In(tx, from)
		if err != nil {
			return err
		}
		if f.State.Balance+o.State.Balance < cents {
			return errPoor
		}
		f.Add(Withdrawn{cents})
		return nil
	}
}

func (w *world) balances(t *testing.T) [2]Account {
	t.Helper()
	a, _, err := w.others.Load(t.Context(), "account-a")
	require.NoError(t, err)
	b, _, err := w.others.Load(t.Context(), "account-b")
	require.NoError(t, err)
	return [2]Account{a, b}
}

func (w *world) give(t *testing.T, name string, cents int64) {
	t.Helper()
	do(t, w.others, decider.Command{Stream: name}, pay(cents))
}

var quick = decider.Retry{Pause: time.Microsecond, MaxPause: time.Microsecond}

func TestSeveralStreamsAreDecidedOnAsOne(t *testing.T) {
	w := newWorld(t, decider.Options{CacheSize: 10, Snapshots: &decider.Snapshots{Type: "Account", Every: 2}}, nil)
	w.give(t, "account-a", 10)
	results, err := decider.Atomically(t.Context(), w.store, nil, transfer(w.here, 3))
	require.NoError(t, err)
	require.Len(t, results, 2)
	require.Equal(t, "account-a", results[0].Events[0].Stream)
	require.Equal(t, uint64(2), results[0].Version)
	require.Equal(t, uint64(1), results[1].Version)
	require.Equal(t, [2]Account{{7, 2}, {3, 1}}, w.balances(t))
	_, found, err := w.store.LoadSnapshot(t.Context(), "account-a", "Account")
	require.NoError(t, err)
	require.True(t, found)
	w.spy.since()
	res := do(t, w.here, decider.Command{Stream: "account-a"}, pay(1))
	require.Equal(t, Account{8, 3}, res.State)
	reads, _ := w.spy.counted()
	require.Empty(t, reads, "the state is in the cache")

	_, err = decider.Atomically(t.Context(), w.store, nil, transfer(w.here, 100))
	require.Equal(t, errPoor, err)
	results, err = decider.Atomically(t.Context(), w.store, nil, func(*decider.Tx) error { return nil })
	require.NoError(t, err)
	require.Empty(t, results)
	require.Equal(t, [2]Account{{8, 3}, {3, 1}}, w.balances(t))
}

func TestAddedEventsAreInTheState(t *testing.T) {
	w := newWorld(t, decider.Options{}, nil)
	_, err := decider.Atomically(t.Context(), w.store, nil, func(tx *decider.Tx) error {
		s, err := w.here.In(tx, "account-a")
		require.NoError(t, err)
		s.Add(Paid{1}, Paid{2})
		s.Add(Withdrawn{3})
		require.Equal(t, Account{0, 3}, s.State)
		require.Zero(t, s.Version)
		again, err := w.here.In(tx, "account-a")
		require.NoError(t, err)
		require.Same(t, s, again)
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, [2]Account{{0, 3}, {}}, w.balances(t))
}

func TestAStreamThatWasOnlyReadIsHeldToItsVersion(t *testing.T) {
	w := newWorld(t, decider.Options{}, nil)
	w.give(t, "account-a", 5)
	w.give(t, "account-b", 5)
	// Two withdrawals, each on the account that the other reads: each alone is covered.
	w.spy.nextAppend(func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
		_, err := decider.Atomically(ctx, w.store, nil, withdrawShared(w.here, "account-b", "account-a", 10))
		require.NoError(t, err)
		return w.spy.Backend.Append(ctx, req)
	})
	_, err := decider.Atomically(t.Context(), w.store, &decider.AtomicOptions{Retry: quick}, withdrawShared(w.here, "account-a", "account-b", 10))
	require.Equal(t, errPoor, err, "no write skew")
	require.Equal(t, [2]Account{{5, 1}, {-5, 2}}, w.balances(t))
}

func TestAConflictOnAnyStreamDecidesAnew(t *testing.T) {
	for _, name := range []string{"account-a", "account-b"} {
		w := newWorld(t, decider.Options{CacheSize: 10}, nil)
		w.give(t, "account-a", 10)
		w.spy.nextAppend(func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
			w.give(t, name, 100)
			return w.spy.Backend.Append(ctx, req)
		})
		decided := 0
		_, err := decider.Atomically(t.Context(), w.store, &decider.AtomicOptions{Retry: quick}, func(tx *decider.Tx) error {
			decided++
			return transfer(w.here, 10)(tx)
		})
		require.NoError(t, err)
		require.Equal(t, 2, decided)
		both := w.balances(t)
		require.Equal(t, int64(110), both[0].Balance+both[1].Balance)
	}
}

func TestDecisionsOnSeveralStreamsEndAfterTheAttempts(t *testing.T) {
	w := newWorld(t, decider.Options{}, nil)
	w.spy.append = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
		w.give(t, "account-a", 10)
		return w.spy.Backend.Append(ctx, req)
	}
	w.give(t, "account-a", 10)
	_, err := decider.Atomically(t.Context(), w.store, &decider.AtomicOptions{Retry: decider.Retry{Attempts: 3, Pause: 1}}, transfer(w.here, 1))
	require.ErrorIs(t, err, eventstore.ErrConflict)
	require.ErrorContains(t, err, "overtaken 3 times")
	require.Equal(t, Account{}, w.balances(t)[1])
}

func TestAnAnswerWithoutEventsIsTrueOfOneMoment(t *testing.T) {
	w := newWorld(t, decider.Options{}, nil)
	w.give(t, "account-a", 0)
	w.give(t, "account-b", 10)
	// The money goes from b to a after a was read and before b is: there is none to be seen.
	moved := false
	w.spy.read = func(req eventstore.ReadStreamRequest) error {
		if req.Stream == "account-b" && !moved {
			moved = true
			w.give(t, "account-b", -10)
			w.give(t, "account-a", 10)
		}
		return nil
	}
	for _, refuses := range []bool{true, false} {
		moved = false
		decided := 0
		results, err := decider.Atomically(t.Context(), w.store, &decider.AtomicOptions{Retry: quick}, func(tx *decider.Tx) error {
			decided++
			p, err := in(w.here, tx)
			if err != nil {
				return err
			}
			switch total := p.a.State.Balance + p.b.State.Balance; {
			case total == 10*int64(decided-1) && refuses:
				return errPoor
			case refuses:
				p.a.Add(Paid{1})
			}
			return nil
		})
		require.Equal(t, 2, decided)
		if refuses {
			require.Equal(t, errPoor, err)
		} else {
			require.NoError(t, err)
			require.Empty(t, results)
		}
	}
}

func TestWithoutAppendsToSeveralStreamsItIsRefusedBeforeTheDecision(t *testing.T) {
	w := newWorld(t, decider.Options{}, func(c *eventstore.Capabilities) { c.MultiStreamAppend = eventstore.No("test") })
	_, err := decider.Atomically(t.Context(), w.store, nil, func(*decider.Tx) error {
		t.Error("it decides")
		return nil
	})
	require.ErrorIs(t, err, eventstore.ErrUnsupported)
	require.ErrorContains(t, err, "test")
}

func TestWhatIsNoTransactionIsRefused(t *testing.T) {
	w := newWorld(t, decider.Options{}, nil)
	_, err := decider.Atomically(t.Context(), nil, nil, transfer(w.here, 1))
	require.ErrorIs(t, err, eventstore.ErrInvalid)
	_, err = decider.Atomically(t.Context(), w.store, nil, nil)
	require.ErrorIs(t, err, eventstore.ErrInvalid)
	_, err = decider.Atomically(t.Context(), w.store, &decider.AtomicOptions{Retry: decider.Retry{Attempts: -1}}, transfer(w.here, 1))
	require.ErrorIs(t, err, eventstore.ErrInvalid)
	var kept *decider.Tx
	for name, other := range map[string]*decider.Decider[Account, Event]{
		"another Store than the Decider": w.others, "by another Decider": accounts(t, w.store, nil),
	} {
		_, err = decider.Atomically(t.Context(), w.store, nil, func(tx *decider.Tx) error {
			kept = tx
			a, err := w.here.In(tx, "account-a")
			require.NoError(t, err)
			_, err = other.In(tx, "account-a")
			require.ErrorIs(t, err, eventstore.ErrInvalid)
			a.Add(Paid{1})
			return nil // and passes over it
		})
		require.ErrorIs(t, err, eventstore.ErrInvalid)
		require.ErrorContains(t, err, name)
		require.Equal(t, [2]Account{}, w.balances(t), "it ends the transaction")
	}
	_, err = w.here.In(kept, "account-a")
	require.ErrorIs(t, err, eventstore.ErrInvalid)
	require.Panics(t, func() {
		_, _ = decider.Atomically(t.Context(), w.store, nil, func(tx *decider.Tx) error {
			kept = tx
			panic("test")
		})
	})
	_, err = w.here.In(kept, "account-a")
	require.ErrorIs(t, err, eventstore.ErrInvalid)
	_, err = w.here.In(nil, "account-a")
	require.ErrorIs(t, err, eventstore.ErrInvalid)
}

func TestAStreamThatCannotBeLoadedEndsTheTransaction(t *testing.T) {
	w := newWorld(t, decider.Options{}, nil)
	_, err := w.store.Append(t.Context(), "account-b", eventstore.NoStream(), eventstore.Event{Type: "Closed", Data: []byte("{}")})
	require.NoError(t, err)
	_, err = decider.Atomically(t.Context(), w.store, nil, func(tx *decider.Tx) error {
		p, _ := in(w.here, tx) // whose error decide forgets
		p.a.Add(Paid{1})
		return nil
	})
	require.ErrorIs(t, err, codec.ErrUnknownEvent)
	require.Zero(t, func() uint64 { v, _ := w.store.StreamVersion(t.Context(), "account-a"); return v }())
}

func TestARepeatedTransactionIsAnsweredWithItsFirstEvents(t *testing.T) {
	opts := decider.Options{CacheSize: 10, Snapshots: &decider.Snapshots{Type: "Account", Every: 1}}
	for name, decide := range map[string]func(d *decider.Decider[Account, Event]) func(*decider.Tx) error{
		"both streams are written": func(d *decider.Decider[Account, Event]) func(*decider.Tx) error { return transfer(d, 6) },
		"one stream is written": func(d *decider.Decider[Account, Event]) func(*decider.Tx) error {
			return withdrawShared(d, "account-a", "account-b", 6)
		},
		"the other one would be written now": func(d *decider.Decider[Account, Event]) func(*decider.Tx) error {
			return func(tx *decider.Tx) error {
				p, err := in(d, tx)
				if err != nil {
					return err
				}
				if p.b.State.Events > 0 {
					p.b.Add(Withdrawn{6})
				}
				p.a.Add(Withdrawn{6})
				return nil
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, opts, nil)
			w.give(t, "account-a", 10)
			id := &decider.AtomicOptions{ID: uuid.New(), Retry: quick}
			first, err := decider.Atomically(t.Context(), w.store, id, decide(w.here))
			require.NoError(t, err)
			require.Equal(t, id.ID.String(), first[0].Events[0].CausationID())
			w.give(t, "account-b", 1)
			do(t, w.here, decider.Command{Stream: "account-a"}, pay(0)) // in the cache, and a snapshot
			before := w.balances(t)
			again, err := decider.Atomically(t.Context(), w.store, id, decide(w.here))
			require.NoError(t, err)
			require.Len(t, again, len(first))
			for i := range first {
				require.Equal(t, first[i].Events, again[i].Events)
				require.Equal(t, first[i].Version, again[i].Version)
				require.Equal(t, first[i].Position, again[i].Position)
				require.True(t, again[i].Duplicate)
			}
			require.Equal(t, before, w.balances(t))
		})
	}
}

func TestARepetitionThatOverlapsWritesNothingMore(t *testing.T) {
	w := newWorld(t, decider.Options{}, nil)
	w.give(t, "account-a", 100)
	opts := &decider.AtomicOptions{ID: uuid.New(), Retry: quick}
	// It writes to b too where b has events: the same command decides otherwise later.
	decide := func(tx *decider.Tx) error {
		p, err := in(w.here, tx)
		if err != nil {
			return err
		}
		p.a.Add(Withdrawn{1})
		if p.b.State.Events > 0 {
			p.b.Add(Paid{1})
		}
		return nil
	}
	first := true
	w.spy.read = func(req eventstore.ReadStreamRequest) error {
		if req.Stream == "account-b" && first {
			first = false // after a was read: the same command is done elsewhere, and b gets an event
			_, err := decider.Atomically(t.Context(), w.store, opts, decide)
			require.NoError(t, err)
			w.give(t, "account-b", 5)
		}
		return nil
	}
	results, err := decider.Atomically(t.Context(), w.store, opts, decide)
	require.NoError(t, err)
	require.Len(t, results, 1)
	require.True(t, results[0].Duplicate)
	require.Equal(t, [2]Account{{99, 2}, {5, 1}}, w.balances(t), "b got nothing of it")
}

func TestALostAnswerOfATransactionCountsOnce(t *testing.T) {
	w := newWorld(t, decider.Options{CacheSize: 10}, nil)
	w.give(t, "account-a", 10)
	w.spy.nextAppend(w.spy.answerLost)
	opts := &decider.AtomicOptions{ID: uuid.New()}
	_, err := decider.Atomically(t.Context(), w.store, opts, transfer(w.here, 10))
	require.ErrorIs(t, err, eventstore.ErrUnknownOutcome)
	results, err := decider.Atomically(t.Context(), w.store, opts, transfer(w.here, 10))
	require.NoError(t, err)
	require.Len(t, results, 2)
	require.Equal(t, [2]Account{{0, 2}, {10, 1}}, w.balances(t))
}

func TestATransactionFoldsAStreamAnewThatLostEvents(t *testing.T) {
	w := newWorld(t, decider.Options{CacheSize: 10}, nil)
	for _, name := range []string{"account-a", "account-b"} {
		do(t, w.here, decider.Command{Stream: name}, pay(1, 2, 3))
	}
	restored := memory.NewLog()
	w.spy.Backend = restored.Open(nil)
	w.others = accounts(t, newStore(t, restored.Open(nil), nil), nil)
	w.give(t, "account-a", 1)
	_, err := decider.Atomically(t.Context(), w.store, &decider.AtomicOptions{Retry: quick}, transfer(w.here, 2))
	require.Equal(t, errPoor, err)
}
