package shred_test

import (
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/decider"
	"github.com/switchyard-dev/switchyard/shred"
)

// Customer is what a customer's events add up to.
type Customer struct {
	ID, Name, Email string
	Cents           int64
}

func (c Customer) evolve(e Event) Customer {
	switch e := e.(type) {
	case Registered:
		c.ID, c.Name, c.Email = e.Customer, e.Name, e.Email
	case Ordered:
		c.Cents += e.Cents
	}
	return c
}

func order(cents int64) func(Customer) ([]Event, error) {
	return func(Customer) ([]Event, error) { return []Event{Ordered{cents}}, nil }
}

func TestDecisionsGoOnAfterDeleteAndSeeZeroValues(t *testing.T) {
	for name, store := range stores(t) {
		t.Run(name, func(t *testing.T) {
			keys := new(shred.MemoryKeys)
			open := func(opts *decider.Options) *decider.Decider[Customer, Event] {
				d, err := decider.New(store, customers(keys), Customer.evolve, opts)
				require.NoError(t, err)
				return d
			}
			d, cached := open(nil), open(&decider.Options{CacheSize: 10})
			register := decider.Command{Stream: "customer-7", ID: uuid.New()}
			decideAda := func(Customer) ([]Event, error) { return []Event{ada}, nil }
			first, err := d.Do(t.Context(), register, decideAda)
			require.NoError(t, err)
			state, _, err := cached.Load(t.Context(), "customer-7")
			require.NoError(t, err)
			require.Equal(t, Customer{ID: "c-7", Name: ada.Name, Email: ada.Email}, state)
			require.NoError(t, keys.Delete(t.Context(), "c-7"))

			res, err := d.Transact(t.Context(), "customer-7", order(5))
			require.NoError(t, err)
			require.Equal(t, Customer{ID: "c-7", Cents: 5}, res.State)
			require.EqualValues(t, 2, res.Version)
			again, err := d.Do(t.Context(), register, decideAda)
			require.NoError(t, err, "a command that is repeated is still answered")
			require.True(t, again.Duplicate)
			require.Equal(t, first.Events, again.Events)
			_, err = d.Do(t.Context(), decider.Command{Stream: "customer-7"}, decideAda)
			require.ErrorIs(t, err, shred.ErrShredded, "a new one cannot bring the data back")

			res, err = cached.Transact(t.Context(), "customer-7", order(5))
			require.NoError(t, err)
			require.Equal(t, ada.Name, res.State.Name, "a state in memory is not reached, as the documentation says")
		})
	}
}
