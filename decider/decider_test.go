package decider_test

import (
	"bytes"
	"errors"
	"log/slog"
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

// payUpTo pays what is missing, and nothing where nothing is.
func payUpTo(balance int64) decision {
	return func(a Account) ([]Event, error) {
		if a.Balance >= balance {
			return nil, nil
		}
		return []Event{Paid{balance - a.Balance}}, nil
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

// world is a store that this process and another one decide on.
type world struct {
	spy          *spy
	store        *eventstore.Store
	here, others *decider.Decider[Account, Event]
	log          bytes.Buffer
}

const stream = "account-1"

func newWorld(t *testing.T, opts decider.Options, change func(*eventstore.Capabilities)) *world {
	t.Helper()
	log := memory.NewLog()
	w := &world{spy: &spy{Backend: log.Open(nil), change: change}}
	w.store = newStore(t, w.spy, &eventstore.Options{RetryFor: -1})
	opts.Logger = slog.New(slog.NewTextHandler(&w.log, nil))
	w.here = accounts(t, w.store, &opts)
	w.others = accounts(t, newStore(t, log.Open(nil), nil), nil)
	return w
}

// transact decides, and fails the test where that fails.
func transact(t *testing.T, d *decider.Decider[Account, Event], decide decision) decider.Result[Account] {
	t.Helper()
	return do(t, d, decider.Command{Stream: stream}, decide)
}

func do(t *testing.T, d *decider.Decider[Account, Event], cmd decider.Command, decide decision) decider.Result[Account] {
	t.Helper()
	res, err := d.Do(t.Context(), cmd, decide)
	require.NoError(t, err)
	return res
}

func TestADecisionIsFoldedDecidedAndAppended(t *testing.T) {
	w := newWorld(t, decider.Options{}, nil)
	transact(t, w.others, pay(3))
	res := transact(t, w.here, pay(4, 5))
	require.Equal(t, Account{12, 3}, res.State)
	require.Equal(t, uint64(3), res.Version)
	require.Len(t, res.Events, 2)
	require.Equal(t, uint64(2), res.Events[0].Version)
	require.Equal(t, res.Events[1].Position, res.Position)
	require.Equal(t, 1, res.Attempts)
	require.False(t, res.Duplicate)

	state, version, err := w.here.Load(t.Context(), stream)
	require.NoError(t, err)
	require.Equal(t, res.State, state)
	require.Equal(t, res.Version, version)
	var read []Event
	for e, err := range w.here.Read(t.Context(), stream, 1) {
		require.NoError(t, err)
		read = append(read, e.Value)
	}
	require.Equal(t, []Event{Paid{4}, Paid{5}}, read)
	require.Equal(t, Account{12, 3}, w.here.Fold(Account{3, 1}, read...))
}

func TestAnAbsentStreamIsTheZeroState(t *testing.T) {
	state, version, err := newWorld(t, decider.Options{CacheSize: 1}, nil).here.Load(t.Context(), stream)
	require.NoError(t, err)
	require.Zero(t, state)
	require.Zero(t, version)
}

func TestARefusalIsReturnedAsItIsAndNothingIsAppended(t *testing.T) {
	w := newWorld(t, decider.Options{}, nil)
	res, err := w.here.Transact(t.Context(), stream, withdraw(1))
	require.Equal(t, errPoor, err)
	require.Equal(t, decider.Result[Account]{Attempts: 1}, res)
	transact(t, w.others, pay(1))
	res, err = w.here.Do(t.Context(), decider.Command{Stream: stream, ID: uuid.New()}, withdraw(5))
	require.Equal(t, errPoor, err)
	require.Equal(t, decider.Result[Account]{State: Account{1, 1}, Version: 1, Attempts: 1}, res, "what it was refused on")
	_, appends := w.spy.counted()
	require.Empty(t, appends)
}

func TestNothingDecidedIsNothingAppended(t *testing.T) {
	w := newWorld(t, decider.Options{}, nil)
	transact(t, w.others, pay(3))
	res := transact(t, w.here, payUpTo(2))
	require.Equal(t, decider.Result[Account]{State: Account{3, 1}, Version: 1, Attempts: 1}, res)
	_, appends := w.spy.counted()
	require.Empty(t, appends)
}

func TestWhatCannotBeADeciderIsRefused(t *testing.T) {
	store := newStore(t, memory.New(), nil)
	without := newStore(t, &spy{Backend: memory.New(), change: func(c *eventstore.Capabilities) { c.Snapshots = eventstore.No("test") }}, nil)
	for name, test := range map[string]struct {
		make func() error
		want error
		text string
	}{
		"no store": {func() error {
			_, err := decider.New(nil, accountEvents(), Account.evolve, nil)
			return err
		}, eventstore.ErrInvalid, "store"},
		"no codec": {func() error {
			_, err := decider.New[Account, Event](store, nil, Account.evolve, nil)
			return err
		}, eventstore.ErrInvalid, "codec"},
		"no evolve": {func() error {
			_, err := decider.New[Account](store, accountEvents(), nil, nil)
			return err
		}, eventstore.ErrInvalid, "evolve"},
		"a cache of a negative size":     {with(store, decider.Options{CacheSize: -1}), eventstore.ErrInvalid, "CacheSize"},
		"negative attempts":              {with(store, decider.Options{Retry: decider.Retry{Attempts: -1}}), eventstore.ErrInvalid, "Retry"},
		"a negative pause":               {with(store, decider.Options{Retry: decider.Retry{Pause: -1}}), eventstore.ErrInvalid, "Retry"},
		"snapshots without a type":       {with(store, decider.Options{Snapshots: &decider.Snapshots{Every: 1}}), eventstore.ErrInvalid, "Snapshots.Type"},
		"snapshots after no events":      {with(store, decider.Options{Snapshots: &decider.Snapshots{Type: "A"}}), eventstore.ErrInvalid, "Snapshots.Every"},
		"snapshots of a negative schema": {with(store, decider.Options{Snapshots: &decider.Snapshots{Type: "A", Every: 1, Version: -1}}), eventstore.ErrInvalid, "Snapshots.Version"},
		"snapshots on a store without":   {with(without, decider.Options{Snapshots: &decider.Snapshots{Type: "A", Every: 1}}), eventstore.ErrUnsupported, "keeping snapshots"},
	} {
		t.Run(name, func(t *testing.T) {
			err := test.make()
			require.ErrorIs(t, err, test.want)
			require.ErrorContains(t, err, test.text)
		})
	}
}

func with(store *eventstore.Store, opts decider.Options) func() error {
	return func() error {
		_, err := decider.New(store, accountEvents(), Account.evolve, &opts)
		return err
	}
}

func TestAnUnknownEventIsNotDecidedOn(t *testing.T) {
	w := newWorld(t, decider.Options{}, nil)
	transact(t, w.others, pay(1))
	_, err := w.store.Append(t.Context(), stream, eventstore.Exactly(1), eventstore.Event{Type: "Closed", Data: []byte("{}")})
	require.NoError(t, err)
	_, err = w.here.Transact(t.Context(), stream, func(Account) ([]Event, error) {
		t.Error("it decides")
		return nil, nil
	})
	require.ErrorIs(t, err, codec.ErrUnknownEvent)
	state, version, err := w.here.Load(t.Context(), stream)
	require.ErrorIs(t, err, codec.ErrUnknownEvent)
	require.Zero(t, state, "and nothing of what was before it")
	require.Zero(t, version)
}

func TestAnIgnoredEventCountsAsAVersion(t *testing.T) {
	log := memory.NewLog()
	store := newStore(t, log.Open(nil), nil)
	_, err := store.Append(t.Context(), stream, eventstore.NoStream(), eventstore.Event{Type: "Noted", Data: []byte("{}")})
	require.NoError(t, err)
	c := codec.Must(codec.New[Event](nil, codec.Of[Paid]("Paid"), codec.Ignore("Noted")))
	d, err := decider.New(store, c, Account.evolve, nil)
	require.NoError(t, err)
	res, err := d.Transact(t.Context(), stream, pay(1))
	require.NoError(t, err)
	require.Equal(t, Account{1, 1}, res.State)
	require.Equal(t, uint64(2), res.Version)
}

func TestWhatTheCodecDoesNotKnowIsNotAppended(t *testing.T) {
	c := codec.Must(codec.New[Event](nil, codec.Of[Paid]("Paid")))
	d, err := decider.New(newStore(t, memory.New(), nil), c, Account.evolve, nil)
	require.NoError(t, err)
	_, err = d.Transact(t.Context(), stream, func(Account) ([]Event, error) { return []Event{Withdrawn{1}}, nil })
	require.ErrorIs(t, err, eventstore.ErrInvalid)
	require.ErrorContains(t, err, `decide on stream "account-1"`)
}

func TestMoreEventsThanAnAppendTakesAreRefused(t *testing.T) {
	w := newWorld(t, decider.Options{}, nil)
	_, err := w.here.Transact(t.Context(), stream, pay(make([]int64, 65)...))
	require.ErrorIs(t, err, eventstore.ErrInvalid)
	_, appends := w.spy.counted()
	require.Empty(t, appends)
}

func TestACallWithoutADecisionIsRefused(t *testing.T) {
	_, err := newWorld(t, decider.Options{}, nil).here.Transact(t.Context(), stream, nil)
	require.ErrorIs(t, err, eventstore.ErrInvalid)
}

func TestADecisionThatPanicsLeavesItsTurn(t *testing.T) {
	w := newWorld(t, decider.Options{}, nil)
	require.Panics(t, func() {
		_, _ = w.here.Do(t.Context(), decider.Command{Stream: stream, ID: uuid.New()}, func(Account) ([]Event, error) { panic("test") })
	})
	require.Zero(t, decider.Turns(w.here))
	transact(t, w.here, pay(1))
	require.Zero(t, decider.Turns(w.here))
}
