// Package order is what a shop knows of an order: its events, and the decisions
// on it.
package order

import (
	"errors"

	"github.com/switchyard-dev/switchyard/codec"
	"github.com/switchyard-dev/switchyard/decider"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// Event is one of Placed, Paid and Cancelled.
type Event interface{ order() }

type (
	// Placed says who has to pay how much.
	Placed struct {
		Customer string `json:"customer"`
		Cents    int64  `json:"cents"`
	}
	// Paid says that some of it was paid, or all.
	Paid struct {
		Cents   int64  `json:"cents"`
		Payment string `json:"payment"`
	}
	// Cancelled says that nothing will be shipped.
	Cancelled struct {
		Reason string `json:"reason"`
	}
)

func (Placed) order()    {}
func (Paid) order()      {}
func (Cancelled) order() {}

// placedV1 had its price in whole euros.
type placedV1 struct {
	Customer string `json:"customer"`
	Euros    int64  `json:"euros"`
}

func (v placedV1) up() (Placed, error) {
	return Placed{Customer: v.Customer, Cents: 100 * v.Euros}, nil
}

// Category is that of the streams of orders.
const Category = "order"

// Stream is the stream of the order with an ID.
func Stream(id string) string { return Category + "-" + id }

// Events is their form in the store.
func Events(opts *codec.Options) *codec.Codec[Event] {
	return codec.Must(codec.New[Event](opts,
		codec.Of[Placed]("OrderPlaced", codec.Up(placedV1.up)),
		codec.Of[Paid]("OrderPaid"),
		codec.Of[Cancelled]("OrderCancelled", codec.Was("OrderDropped")),
	))
}

// Order is what its events add up to.
type Order struct {
	Customer  string `json:"customer"`
	Due       int64  `json:"due"` // in cents
	Placed    bool   `json:"placed"`
	Cancelled bool   `json:"cancelled"`
}

func (o Order) evolve(e Event) Order {
	switch e := e.(type) {
	case Placed:
		o.Placed, o.Customer, o.Due = true, e.Customer, e.Cents
	case Paid:
		o.Due -= e.Cents
	case Cancelled:
		o.Cancelled = true
	}
	return o
}

// Orders decides on orders.
type Orders = decider.Decider[Order, Event]

// New returns the decider of the orders in a store.
func New(store *eventstore.Store, events *codec.Codec[Event], opts *decider.Options) (*Orders, error) {
	return decider.New(store, events, Order.evolve, opts)
}

// Why a command is refused.
var (
	ErrExists    = errors.New("the order exists")
	ErrNotFound  = errors.New("no such order")
	ErrPaid      = errors.New("the order is paid")
	ErrCancelled = errors.New("the order is cancelled")
)

// Place decides to place an order.
func Place(customer string, cents int64) func(Order) ([]Event, error) {
	return func(o Order) ([]Event, error) {
		if o.Placed {
			return nil, ErrExists
		}
		return []Event{Placed{customer, cents}}, nil
	}
}

// Pay decides on a payment.
func Pay(cents int64, payment string) func(Order) ([]Event, error) {
	return func(o Order) ([]Event, error) {
		if err := o.open(); err != nil {
			return nil, err
		}
		return []Event{Paid{cents, payment}}, nil
	}
}

// Cancel decides to cancel an order.
func Cancel(reason string) func(Order) ([]Event, error) {
	return func(o Order) ([]Event, error) {
		if o.Cancelled {
			return nil, nil // it is as it should be
		}
		if err := o.open(); err != nil {
			return nil, err
		}
		return []Event{Cancelled{reason}}, nil
	}
}

// Expire decides on an order that should have been paid by now.
func Expire(o Order) ([]Event, error) {
	if o.open() == nil {
		return []Event{Cancelled{"not paid in time"}}, nil
	}
	return nil, nil // it was paid or cancelled in the meantime
}

// open tells why there is nothing to pay.
func (o Order) open() error {
	switch {
	case !o.Placed:
		return ErrNotFound
	case o.Cancelled:
		return ErrCancelled
	case o.Due <= 0:
		return ErrPaid
	}
	return nil
}
