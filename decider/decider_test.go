package decider_test

import (
	"errors"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/codec"
	"github.com/switchyard-dev/switchyard/decider"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// Event is one of Paid and Withdrawn: of an account.
type Event interface{ account() }

type (
	Paid      struct{ Cents int64 }
	Withdrawn struct{ Cents int64 }
)

func (Paid) account()      {}
func (Withdrawn) account() {}

func accountEvents() *codec.Codec[Event] {
	return codec.Must(codec.New[Event](nil, codec.Of[Paid]("Paid"), codec.Of[Withdrawn]("Withdrawn")))
}

// Account is what its events add up to.
type Account struct {
	Balance int64
	Events  int
}

func (a Account) evolve(e Event) Account {
	switch e := e.(type) {
	case Paid:
		a.Balance += e.Cents
	case Withdrawn:
		a.Balance -= e.Cents
	}
	a.Events++
	return a
}

var errPoor = errors.New("not enough money")

type decision = func(Account) ([]Event, error)

func pay(cents ...int64) decision {
	return func(Account) ([]Event, error) {
		var events []Event
		for _, c := range cents {
			events = append(events, Paid{c})
		}
		return events, nil
	}
}

func withdraw(cents int64) decision {
	return func(a Account) ([]Event, error) {
		if a.Balance < cents {
			return nil, errPoor
		}
		return []Event{Withdrawn{cents}}, nil
	}
}

func newStore(t testing.TB, backend eventstore.Backend, opts *eventstore.Options) *eventstore.Store {
	t.Helper()
	store, err := eventstore.New(backend, opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	return store
}

func accounts(t testing.TB, store *eventstore.Store, opts *decider.Options) *decider.Decider[Account, Event] {
	t.Helper()
	d, err := decider.New(store, accountEvents(), Account.evolve, opts)
	require.NoError(t, err)
	return d
}

func TestADecisionIsAppendedAndFolded(t *testing.T) {
	d := accounts(t, newStore(t, memory.New(), nil), nil)
	res, err := d.Transact(t.Context(), "account-1", pay(3, 4))
	require.NoError(t, err)
	require.Equal(t, Account{7, 2}, res.State)
	require.Equal(t, uint64(2), res.Version)
	require.Len(t, res.Events, 2)
	require.Equal(t, res.Events[1].Position, res.Position)
	require.Equal(t, 1, res.Attempts)
	require.False(t, res.Duplicate)

	id := uuid.New()
	for range 2 {
		res, err = d.Do(t.Context(), decider.Command{Stream: "account-1", ID: id}, withdraw(7))
		require.NoError(t, err)
		require.Equal(t, Account{0, 3}, res.State)
		require.Equal(t, id.String(), res.Events[0].CausationID())
	}
	require.True(t, res.Duplicate)
	_, err = d.Transact(t.Context(), "account-1", withdraw(1))
	require.Equal(t, errPoor, err)

	state, version, err := d.Load(t.Context(), "account-1")
	require.NoError(t, err)
	require.Equal(t, Account{0, 3}, state)
	require.Equal(t, uint64(3), version)
}
