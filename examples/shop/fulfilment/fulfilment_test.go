package fulfilment

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/codec"
	"github.com/switchyard-dev/switchyard/decider"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventtest"
	"github.com/switchyard-dev/switchyard/examples/shop/order"
)

func given(t *testing.T, history ...Event) eventtest.Spec[Shipment, Event] {
	t.Helper()
	shipments, err := decider.New(eventtest.NewStore(t), Events(nil), Shipment.evolve, nil)
	require.NoError(t, err)
	return eventtest.For(t, shipments).Given(history...)
}

func TestAShipmentIsRequestedOnce(t *testing.T) {
	given(t).When(request("42")).Then(Requested{"42"})
	given(t, Requested{"42"}).When(request("42")).Then()
}

func TestAStoppedShipmentIsNotRequested(t *testing.T) {
	given(t).When(stop("late")).Then(Stopped{"late"})
	given(t, Stopped{"late"}).When(request("42")).Then()
	given(t, Stopped{"late"}).When(stop("again")).Then()
}

func TestStoredEventsStayReadable(t *testing.T) {
	eventtest.Golden(t, Events(nil), "testdata/events.json")
}

// managed is a store in which orders were placed, and their manager.
type managed struct {
	store  *eventstore.Store
	orders *order.Orders
}

func manage(t *testing.T) managed {
	t.Helper()
	store := eventtest.NewStore(t)
	orders, err := order.New(store, order.Events(nil), nil)
	require.NoError(t, err)
	return managed{store, orders}
}

func (m managed) do(t *testing.T, id string, decide func(order.Order) ([]order.Event, error)) eventstore.RecordedEvent {
	t.Helper()
	res, err := m.orders.Transact(codec.WithCorrelation(t.Context(), "c-"+id), order.Stream(id), decide)
	require.NoError(t, err)
	require.Len(t, res.Events, 1)
	return res.Events[0]
}

// catchUp handles what is there.
func (m managed) catchUp(t *testing.T) {
	t.Helper()
	sub, err := Manager(m.store, m.orders, nil, nil)
	require.NoError(t, err)
	sub.UntilCaughtUp = true
	require.NoError(t, m.store.Run(t.Context(), sub))
}

// shipment returns the events of an order's shipment.
func (m managed) shipment(t *testing.T, id string) (events []eventstore.RecordedEvent) {
	t.Helper()
	for event, err := range m.store.ReadStream(t.Context(), Category+"-"+id, eventstore.ReadOptions{}) {
		require.NoError(t, err)
		events = append(events, event)
	}
	return events
}

func TestWhatIsPaidIsShippedAndNothingElse(t *testing.T) {
	m := manage(t)
	for _, id := range []string{"paid", "half", "cancelled", "open"} {
		m.do(t, id, order.Place("ann", 500))
	}
	m.do(t, "half", order.Pay(200, "p1"))
	m.do(t, "cancelled", order.Cancel("late"))
	payment := m.do(t, "paid", order.Pay(500, "p2"))
	m.catchUp(t)

	shipped := m.shipment(t, "paid")
	require.Len(t, shipped, 1)
	require.Equal(t, "ShipmentRequested", shipped[0].Type)
	require.JSONEq(t, `{"order":"paid"}`, string(shipped[0].Data))
	require.Equal(t, "c-paid", shipped[0].Metadata[eventstore.MetaCorrelationID], "the request's conversation goes on")
	require.Equal(t, payment.ID.String(), shipped[0].Metadata[eventstore.MetaCausationID])
	require.Len(t, m.shipment(t, "cancelled"), 1)
	require.Empty(t, m.shipment(t, "half"))
	require.Empty(t, m.shipment(t, "open"))

	m.do(t, "half", order.Pay(300, "p3"))
	m.catchUp(t)
	require.Len(t, m.shipment(t, "half"), 1)
}

func TestWithItsCheckpointDeletedItShipsNothingTwice(t *testing.T) {
	m := manage(t)
	for _, id := range []string{"1", "2"} {
		m.do(t, id, order.Place("ann", 500))
		m.do(t, id, order.Pay(500, "p"))
	}
	m.catchUp(t)
	before := append(m.shipment(t, "1"), m.shipment(t, "2")...)
	require.NoError(t, m.store.DeleteCheckpoint(t.Context(), "fulfilment"))
	m.catchUp(t)
	require.Equal(t, before, append(m.shipment(t, "1"), m.shipment(t, "2")...))
}
