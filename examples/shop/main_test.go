package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/all"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/examples/shop/order"
)

// onDisk returns settings that keep everything in files of a new folder.
func onDisk(t *testing.T) settings {
	t.Helper()
	config, err := filepath.Abs("sqlite.yaml")
	require.NoError(t, err)
	t.Chdir(t.TempDir())
	return settings{config: config, list: "sqlite:list.db", warehouse: openDepot(t).url}
}

// events returns a stream's events in the store of the shop that was stopped, or
// runs beside.
func events(t *testing.T, s settings, stream string) (events []eventstore.RecordedEvent) {
	t.Helper()
	store, err := all.OpenConfig(t.Context(), s.config, "orders", nil)
	require.NoError(t, err)
	defer store.Close()
	for event, err := range store.ReadStream(t.Context(), stream, eventstore.ReadOptions{}) {
		require.NoError(t, err)
		events = append(events, event)
	}
	return events
}

// history returns the types of a stream's events.
func history(t *testing.T, s settings, stream string) (types []string) {
	t.Helper()
	for _, event := range events(t, s, stream) {
		types = append(types, event.Type)
	}
	return types
}

func TestAnOrderIsPlacedPaidAndShipped(t *testing.T) {
	s := onDisk(t)
	depot := openDepot(t)
	s.warehouse = depot.url
	shop := start(t, s)

	placed := shop.ok("PUT", "/orders/42", `{"customer":"ann","cents":500}`, "Idempotency-Key: k1", "X-Correlation-ID: c42")
	require.JSONEq(t, `{"customer":"ann","due":500,"placed":true,"cancelled":false}`, placed.body)
	require.Equal(t, placed, shop.ok("PUT", "/orders/42", `{"customer":"ann","cents":500}`, "Idempotency-Key: k1"), "repeated")
	require.Equal(t, http.StatusConflict, shop.send("PUT", "/orders/42", `{"customer":"ann","cents":500}`, "Idempotency-Key: k2").status, "another command")
	require.Equal(t, map[string]int64{"order-42": 500}, shop.due("ann", placed))

	// One conversation for both payments: the manager that hears of the first may find the order paid already.
	part := shop.ok("POST", "/orders/42/payments", `{"cents":200,"payment":"p1"}`, "Idempotency-Key: k1", "X-Correlation-ID: c43")
	require.Equal(t, map[string]int64{"order-42": 300}, shop.due("ann", part), "the key counts for its request alone")
	paid := shop.ok("POST", "/orders/42/payments", `{"cents":300,"payment":"p2"}`, "X-Correlation-ID: c43")
	require.Empty(t, shop.due("ann", paid))
	require.Equal(t, answer{status: http.StatusConflict, body: "the order is paid"}, shop.send("DELETE", "/orders/42", ""))

	told := depot.await(t, "42")
	require.Equal(t, "ShipmentRequested", told.Type)
	require.Equal(t, "42", told.Data.Order)
	require.Equal(t, "c43", told.CorrelationID)
	for _, event := range depot.all() {
		require.Contains(t, event.Source, "/shipment-", "orders are not the warehouse's business")
		require.Empty(t, event.Metadata)
	}
}

func TestACancelledOrderIsNotShipped(t *testing.T) {
	s := onDisk(t)
	depot := openDepot(t)
	s.warehouse = depot.url
	shop := start(t, s)
	shop.ok("PUT", "/orders/43", `{"customer":"ann","cents":500}`)
	cancelled := shop.ok("DELETE", "/orders/43?reason=too+late", "")
	require.Empty(t, shop.due("ann", cancelled))
	again := shop.ok("DELETE", "/orders/43?reason=too+late", "")
	require.Equal(t, answer{status: http.StatusOK, body: cancelled.body}, again, "nothing was decided, so there is no position")
	require.Equal(t, answer{status: http.StatusConflict, body: "the order is cancelled"}, shop.send("POST", "/orders/43/payments", `{"cents":500,"payment":"p1"}`))
	require.Equal(t, "too late", depot.await(t, "43").Data.Reason)
	require.Equal(t, http.StatusNotFound, shop.send("DELETE", "/orders/44", "").status)
}

func TestARestartDoesNothingTwice(t *testing.T) {
	s := onDisk(t)
	depot := openDepot(t)
	s.warehouse = depot.url
	place := func(shop *service, id string) answer {
		return shop.ok("PUT", "/orders/"+id, `{"customer":"ann","cents":500}`, "Idempotency-Key: k")
	}
	pay := func(shop *service, id string) answer {
		return shop.ok("POST", "/orders/"+id+"/payments", `{"cents":200,"payment":"p"}`, "Idempotency-Key: k")
	}
	first := start(t, s)
	placed, paid := place(first, "1"), pay(first, "1")
	first.ok("POST", "/orders/1/payments", `{"cents":300,"payment":"q"}`)
	depot.await(t, "1")
	place(first, "2")
	first.stop()

	second := start(t, s)
	require.Equal(t, placed.position, place(second, "1").position)
	require.Equal(t, paid.position, pay(second, "1").position)
	last := place(second, "2")
	require.Equal(t, map[string]int64{"order-2": 500}, second.due("ann", last))
	depot.quiet(t, second, "90")
	second.stop()

	store, err := all.OpenConfig(t.Context(), s.config, "orders", nil)
	require.NoError(t, err)
	for _, name := range []string{"fulfilment", "warehouse"} { // both do everything again
		require.NoError(t, store.DeleteCheckpoint(t.Context(), name))
	}
	require.NoError(t, store.Close())
	third := start(t, s)
	depot.quiet(t, third, "91")
	require.Equal(t, map[string]int64{"order-2": 500}, third.due("ann", last))
	third.stop()

	require.Equal(t, []string{"OrderPlaced", "OrderPaid", "OrderPaid"}, history(t, s, "order-1"))
	require.Equal(t, []string{"ShipmentRequested"}, history(t, s, "shipment-1"))
	require.Len(t, depot.shipments("1"), 1, "by source and ID, whatever was sent again")
}

func TestConcurrentRequestsWithOneKeyCountOnce(t *testing.T) {
	s := onDisk(t)
	shop := start(t, s)
	shop.ok("PUT", "/orders/42", `{"customer":"ann","cents":500}`)
	var group sync.WaitGroup
	answers := make([]answer, 16)
	for i := range answers {
		group.Go(func() {
			answers[i] = shop.send("POST", "/orders/42/payments", `{"cents":100,"payment":"p1"}`, fmt.Sprintf("Idempotency-Key: k%d", i%2))
		})
	}
	group.Wait()
	positions := map[string]bool{}
	for i, a := range answers {
		require.Equal(t, http.StatusOK, a.status, a.body)
		require.Equal(t, answers[i%2].position, a.position)
		positions[a.position] = true
	}
	require.Len(t, positions, 2)
	require.Equal(t, []string{"OrderPlaced", "OrderPaid", "OrderPaid"}, history(t, s, "order-42"))
}

func TestAnOrderThatIsNotPaidInTimeIsCancelledOnce(t *testing.T) {
	s := onDisk(t)
	depot := openDepot(t)
	s.warehouse, s.payWithin = depot.url, time.Millisecond
	shop := start(t, s)
	shop.ok("PUT", "/orders/42", `{"customer":"ann","cents":500}`)
	require.Equal(t, "not paid in time", depot.await(t, "42").Data.Reason)
	require.Equal(t, http.StatusConflict, shop.send("POST", "/orders/42/payments", `{"cents":500,"payment":"p1"}`).status)
	shop.stop()

	// The loop may find the order again, in a list that is behind.
	store, err := all.OpenConfig(t.Context(), s.config, "orders", nil)
	require.NoError(t, err)
	defer store.Close()
	orders, err := order.New(store, order.Events(nil), nil)
	require.NoError(t, err)
	list, closeList, err := openList(t.Context(), "sqlite::memory:")
	require.NoError(t, err)
	defer closeList()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- list.Run(ctx, store) }()
	_, err = orders.Transact(t.Context(), "order-43", order.Place("bob", 500))
	require.NoError(t, err)
	res, err := orders.Transact(t.Context(), "order-44", order.Place("bob", 500))
	require.NoError(t, err)
	_, err = list.Due(t.Context(), "bob", res.Position)
	require.NoError(t, err)
	stop()
	require.NoError(t, <-ended)
	_, err = orders.Transact(t.Context(), "order-44", order.Pay(500, "p2")) // which the list does not know
	require.NoError(t, err)
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			if err := expire(t.Context(), orders, list, time.Now().Add(time.Minute)); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	late := events(t, s, "order-42")
	require.Len(t, late, 2)
	require.Equal(t, uuid.NewSHA1(late[0].ID, []byte("due")).String(), late[1].Metadata[eventstore.MetaCausationID], "each time the same command")
	require.Equal(t, []string{"OrderPlaced", "OrderCancelled"}, history(t, s, "order-43"))
	require.Equal(t, []string{"OrderPlaced", "OrderPaid"}, history(t, s, "order-44"))
}

func TestARequestsTraceGoesOnIntoTheEventsThatItCauses(t *testing.T) {
	s := onDisk(t)
	depot := openDepot(t)
	s.warehouse, s.traces = depot.url, "traces.txt"
	shop := start(t, s)
	const trace = "0af7651916cd43dd8448eb211c80319c"
	shop.ok("PUT", "/orders/42", `{"customer":"ann","cents":500}`)
	shop.ok("POST", "/orders/42/payments", `{"cents":500,"payment":"p1"}`, "traceparent: 00-"+trace+"-b7ad6b7169203331-01")
	depot.await(t, "42")
	shop.stop()
	text, err := os.ReadFile("traces.txt")
	require.NoError(t, err)
	require.Regexp(t, "(?s)"+trace+" send order\n.*"+trace+" transact order\n", string(text)) // spans of others end meanwhile
	shipped := regexp.MustCompile(`(\w+) process order.*, linked to `+trace+`.*\n`).FindAllStringSubmatch(string(text), -1)
	require.NotEmpty(t, shipped)
	require.True(t, slices.ContainsFunc(shipped, func(found []string) bool {
		return strings.Contains(string(text), found[1]+" transact shipment\n")
	}), "the reaction's own trace: %s", text)
	require.Contains(t, events(t, s, "order-42")[1].Metadata["traceparent"], trace)
	require.NotContains(t, events(t, s, "shipment-42")[0].Metadata["traceparent"], trace)
}

func TestSettingsThatCannotWorkAreRefused(t *testing.T) {
	for want, s := range map[string]settings{
		"-warehouse":   {config: "memory.yaml", list: "sqlite::memory:", warehouse: "localhost:9000"},
		"-list starts": {config: "memory.yaml", list: "mysql://db/list"},
		"nothing.yaml": {config: "nothing.yaml"},
		"missing port": {config: "memory.yaml", list: "sqlite::memory:", address: "nowhere"},
	} {
		t.Run(want, func(t *testing.T) {
			err := run(t.Context(), s, slog.New(slog.DiscardHandler), func(net.Addr) { t.Error("it listens") })
			require.ErrorContains(t, err, want)
		})
	}
}
