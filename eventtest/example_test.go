package eventtest_test

import (
	"errors"
	"fmt"

	"github.com/switchyard-dev/switchyard/codec"
	"github.com/switchyard-dev/switchyard/decider"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventtest"
)

// OrderEvent is one of Placed and Paid.
type OrderEvent interface{ order() }

type (
	Placed struct {
		Customer string `json:"customer"`
		Cents    int64  `json:"cents"`
	}
	Paid struct {
		Cents int64 `json:"cents"`
	}
)

func (Placed) order() {}
func (Paid) order()   {}

func orderEvents() *codec.Codec[OrderEvent] {
	return codec.Must(codec.New[OrderEvent](nil, codec.Of[Placed]("OrderPlaced"), codec.Of[Paid]("OrderPaid")))
}

// Order is what its events add up to.
type Order struct{ Due int64 }

func (o Order) evolve(e OrderEvent) Order {
	switch e := e.(type) {
	case Placed:
		o.Due = e.Cents
	case Paid:
		o.Due -= e.Cents
	}
	return o
}

var errPaid = errors.New("the order is paid")

// Pay decides on an order.
func Pay(cents int64) func(Order) ([]OrderEvent, error) {
	return func(o Order) ([]OrderEvent, error) {
		if o.Due <= 0 {
			return nil, errPaid
		}
		return []OrderEvent{Paid{cents}}, nil
	}
}

// NewOrders is how the application makes its decider.
func NewOrders(store *eventstore.Store) (*decider.Decider[Order, OrderEvent], error) {
	return decider.New(store, orderEvents(), Order.evolve, nil)
}

// In a test, t is its *testing.T.
func ExampleFor() {
	t := newExampleT()
	defer t.end()
	orders, err := NewOrders(eventtest.NewStore(t))
	if err != nil {
		t.Fatalf("%v", err)
	}
	order := eventtest.For(t, orders)

	order.Given(Placed{"ann", 500}).When(Pay(500)).Then(Paid{500})
	order.Given(Placed{"ann", 500}, Paid{500}).When(Pay(1)).ThenError(errPaid)
	// Output:
}

// A change of the events' Go types that makes stored events unreadable fails. What is
// new goes into the file with `go test -update-events`.
func ExampleGolden() {
	t := newExampleT()
	defer t.end()

	eventtest.Golden(t, orderEvents(), "testdata/orders.json")
	// Output:
}

// A test on a stream of production, which `switchyard export URL FILE --prefix order-42`
// wrote.
func ExampleLoad() {
	t := newExampleT()
	defer t.end()
	store := eventtest.NewStore(t)
	orders, err := NewOrders(store)
	if err != nil {
		t.Fatalf("%v", err)
	}

	eventtest.Load(t, store, "testdata/order-42.ndjson")
	order, version, err := orders.Load(t.Context(), "order-42")
	fmt.Println(order.Due, version, err)
	// Output: 0 2 <nil>
}

func ExampleNewStore() {
	t := newExampleT()
	defer t.end()
	store := eventtest.NewStore(t) // and the test closes it
	info, err := store.Info(t.Context())
	fmt.Println(info.Head, err)
	// Output: 0 <nil>
}
