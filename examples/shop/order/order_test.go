package order

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventtest"
)

func given(t *testing.T, history ...Event) eventtest.Spec[Order, Event] {
	t.Helper()
	orders, err := New(eventtest.NewStore(t), Events(nil), nil)
	require.NoError(t, err)
	return eventtest.For(t, orders).Given(history...)
}

func TestAnOrderIsPlacedOnce(t *testing.T) {
	given(t).When(Place("ann", 500)).Then(Placed{"ann", 500})
	given(t, Placed{"ann", 500}).When(Place("bob", 500)).ThenError(ErrExists)
}

func TestAPlacedOrderCanBePaid(t *testing.T) {
	given(t, Placed{"ann", 500}).When(Pay(500, "p1")).Then(Paid{500, "p1"})
	given(t, Placed{"ann", 500}, Paid{200, "p1"}).When(Pay(300, "p2")).Then(Paid{300, "p2"})
}

func TestAPaidOrderIsNotPaidAgain(t *testing.T) {
	given(t, Placed{"ann", 500}, Paid{500, "p1"}).When(Pay(1, "p2")).ThenError(ErrPaid)
}

func TestAnOrderThatIsNotThereIsNotPaid(t *testing.T) {
	given(t).When(Pay(500, "p1")).ThenError(ErrNotFound)
}

func TestACancelledOrderIsNotPaid(t *testing.T) {
	given(t, Placed{"ann", 500}, Cancelled{"late"}).When(Pay(500, "p1")).ThenError(ErrCancelled)
}

func TestAPaidOrderIsNotCancelled(t *testing.T) {
	given(t, Placed{"ann", 500}, Paid{500, "p1"}).When(Cancel("late")).ThenError(ErrPaid)
}

func TestCancellingTwiceIsNothingNew(t *testing.T) {
	given(t, Placed{"ann", 500}, Cancelled{"late"}).When(Cancel("late")).Then()
}

func TestAnOpenOrderExpiresAndNoOtherDoes(t *testing.T) {
	given(t, Placed{"ann", 500}, Paid{200, "p1"}).When(Expire).Then(Cancelled{"not paid in time"})
	given(t, Placed{"ann", 500}, Paid{500, "p1"}).When(Expire).Then()
	given(t, Placed{"ann", 500}, Cancelled{"late"}).When(Expire).Then()
	given(t).When(Expire).Then()
}

func TestStoredEventsStayReadable(t *testing.T) {
	eventtest.Golden(t, Events(nil), "testdata/events.json")
}
