// Package fulfilment ships what is paid: a process manager.
package fulfilment

import (
	"context"
	"strings"

	"github.com/switchyard-dev/switchyard/codec"
	"github.com/switchyard-dev/switchyard/decider"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/examples/shop/order"
)

// Event is one of Requested and Stopped.
type Event interface{ fulfilment() }

type (
	// Requested says that an order is to be shipped.
	Requested struct {
		Order string `json:"order"`
	}
	// Stopped says that it is not, whatever comes.
	Stopped struct {
		Reason string `json:"reason"`
	}
)

func (Requested) fulfilment() {}
func (Stopped) fulfilment()   {}

// Category is that of the streams of shipments.
const Category = "shipment"

// Events is their form in the store.
func Events(opts *codec.Options) *codec.Codec[Event] {
	return codec.Must(codec.New[Event](opts, codec.Of[Requested]("ShipmentRequested"), codec.Of[Stopped]("ShipmentStopped")))
}

// Shipment is how far the shipping of one order is.
type Shipment struct{ Requested, Stopped bool }

func (s Shipment) evolve(e Event) Shipment {
	switch e.(type) {
	case Requested:
		s.Requested = true
	case Stopped:
		s.Stopped = true
	}
	return s
}

func request(id string) func(Shipment) ([]Event, error) {
	return func(s Shipment) ([]Event, error) {
		if s.Requested || s.Stopped {
			return nil, nil
		}
		return []Event{Requested{id}}, nil
	}
}

func stop(reason string) func(Shipment) ([]Event, error) {
	return func(s Shipment) ([]Event, error) {
		if s.Stopped {
			return nil, nil
		}
		return []Event{Stopped{reason}}, nil
	}
}

// Manager reacts to orders: paid ones are shipped, cancelled ones are not.
func Manager(store *eventstore.Store, orders *order.Orders, form *codec.Options, opts *decider.Options) (eventstore.Subscription, error) {
	shipments, err := decider.New(store, Events(form), Shipment.evolve, opts)
	if err != nil {
		return eventstore.Subscription{}, err
	}
	sub := decider.React("fulfilment", order.Events(nil), func(ctx context.Context, cause *decider.Cause, e order.Event) error {
		id := strings.TrimPrefix(cause.Stream, order.Stream(""))
		shipment := Category + "-" + id
		switch e := e.(type) {
		case order.Paid:
			o, _, err := orders.Load(ctx, cause.Stream)
			if err != nil || o.Due > 0 {
				return err
			}
			_, err = shipments.Do(ctx, cause.Command(shipment, "request"), request(id))
			return err
		case order.Cancelled:
			_, err := shipments.Do(ctx, cause.Command(shipment, "stop"), stop(e.Reason))
			return err
		}
		return nil
	})
	sub.Filter.Categories = []string{order.Category}
	sub.ParkStream = "fulfilment-parked"
	return sub, nil
}
