package main

import (
	"bufio"
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventtest"
	"github.com/switchyard-dev/switchyard/examples/shop/order"
)

func TestBadInputIsRefusedWithTheFieldAndTheRemedy(t *testing.T) {
	shop := start(t, settings{config: "memory.yaml"})
	long := strings.Repeat("x", 65)
	for name, test := range map[string]struct {
		method, path, body, header string
		want                       string
	}{
		"no body":                         {"PUT", "/orders/1", ``, "", "body: it is no JSON object; send one"},
		"no JSON":                         {"PUT", "/orders/1", `customer=ann`, "", "body: it is no JSON object"},
		"a list":                          {"PUT", "/orders/1", `[]`, "", "body: it is no JSON object"},
		"more behind it":                  {"PUT", "/orders/1", `{"customer":"ann","cents":1}{}`, "", "body: it is no JSON object"},
		"no fields":                       {"PUT", "/orders/1", `{}`, "", "customer: give 1 to 64 letters"},
		"no customer":                     {"PUT", "/orders/1", `{"cents":1}`, "", "customer: give"},
		"a customer that is too long":     {"PUT", "/orders/1", `{"customer":"` + long + `","cents":1}`, "", "customer: give"},
		"a customer of other letters":     {"PUT", "/orders/1", `{"customer":"a b","cents":1}`, "", "customer: give"},
		"no cents":                        {"PUT", "/orders/1", `{"customer":"ann"}`, "", "cents: give an amount in cents, 1 or more"},
		"negative cents":                  {"PUT", "/orders/1", `{"customer":"ann","cents":-5}`, "", "cents: give an amount in cents, 1 or more"},
		"cents with a point":              {"PUT", "/orders/1", `{"customer":"ann","cents":1.5}`, "", "cents: it is a number 1.5; give a whole number"},
		"cents as a text":                 {"PUT", "/orders/1", `{"customer":"ann","cents":"1"}`, "", "cents: it is a string; give a whole number"},
		"more cents than there are":       {"PUT", "/orders/1", `{"customer":"ann","cents":9223372036854775808}`, "", "cents: it is a number"},
		"a customer as a number":          {"PUT", "/orders/1", `{"customer":1,"cents":1}`, "", "customer: it is a number; give a text"},
		"an ID that is too long":          {"PUT", "/orders/" + long, `{"customer":"ann","cents":1}`, "", "id: give 1 to 64 letters"},
		"an ID with a slash":              {"PUT", "/orders/a%2Fb", `{"customer":"ann","cents":1}`, "", "id: give"},
		"a payment without its ID":        {"POST", "/orders/1/payments", `{"cents":1}`, "", "payment: give"},
		"a payment of nothing":            {"POST", "/orders/1/payments", `{"cents":0,"payment":"p"}`, "", "cents: give"},
		"a reason that is too long":       {"DELETE", "/orders/1?reason=" + strings.Repeat("x", 201), "", "", "reason: give up to 200 bytes"},
		"a reason that is no text":        {"DELETE", "/orders/1?reason=%ff", "", "", "reason: give up to 200 bytes of UTF-8"},
		"a key that is too long":          {"DELETE", "/orders/1", "", "Idempotency-Key: " + strings.Repeat("x", 129), "Idempotency-Key: give up to 128"},
		"a correlation that is no ASCII":  {"DELETE", "/orders/1", "", "X-Correlation-ID: é", "X-Correlation-ID: give up to 128"},
		"a position that is none":         {"GET", "/customers/ann/due", "", "X-Position: now", "X-Position: send what the answer to a command had"},
		"a customer of other letters too": {"GET", "/customers/a%20b/due", "", "", "id: give"},
	} {
		t.Run(name, func(t *testing.T) {
			var headers []string
			if test.header != "" {
				headers = []string{test.header}
			}
			got := (&service{t: t, url: shop.url}).send(test.method, test.path, test.body, headers...)
			require.Equal(t, http.StatusBadRequest, got.status, got.body)
			require.Contains(t, got.body, test.want)
		})
	}
	require.Equal(t, answer{status: http.StatusRequestEntityTooLarge, body: "body: it is longer than 64 KiB"},
		shop.send("PUT", "/orders/1", strings.Repeat(" ", maxBody+1)))
	require.Equal(t, http.StatusMethodNotAllowed, shop.send("PATCH", "/orders/1", "").status)
	require.Equal(t, http.StatusNotFound, shop.send("GET", "/", "").status)
}

// newShop makes a handler over a store and a list that the test can close.
func newShop(t *testing.T, log *buffer) (handler http.Handler, store *eventstore.Store, closeAll func()) {
	t.Helper()
	store = eventtest.NewStore(t)
	orders, err := order.New(store, order.Events(nil), nil)
	require.NoError(t, err)
	list, closeList, err := openList(t.Context(), "sqlite::memory:")
	require.NoError(t, err)
	t.Cleanup(closeList)
	return (&shop{orders, list, slog.New(slog.NewTextHandler(log, nil))}).handler(), store, func() {
		closeList()
		require.NoError(t, store.Close())
	}
}

func request(t *testing.T, handler http.Handler, method, path, body string) *httptest.ResponseRecorder {
	t.Helper()
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body)))
	return recorder
}

func TestAFailureOfTheShopIsLoggedAndNotTold(t *testing.T) {
	var log buffer
	handler, _, closeAll := newShop(t, &log)
	closeAll()
	for _, recorder := range []*httptest.ResponseRecorder{
		request(t, handler, "PUT", "/orders/1", `{"customer":"ann","cents":1}`),
		request(t, handler, "GET", "/customers/ann/due", ""),
	} {
		require.Equal(t, http.StatusServiceUnavailable, recorder.Code)
		require.Equal(t, "not now; send it again, with the same Idempotency-Key\n", recorder.Body.String())
	}
	require.Contains(t, log.String(), "store is closed")
	require.Contains(t, log.String(), "database is closed")
}

func TestAStoredEventThatTheCodeDoesNotKnowIsTheShopsFault(t *testing.T) {
	var log buffer
	handler, store, _ := newShop(t, &log)
	newer, err := eventstore.JSONEvent("OrderReturned", struct{}{})
	require.NoError(t, err)
	_, err = store.Append(t.Context(), "order-1", eventstore.NoStream(), newer)
	require.NoError(t, err)
	recorder := request(t, handler, "PUT", "/orders/1", `{"customer":"ann","cents":1}`)
	require.Equal(t, http.StatusInternalServerError, recorder.Code)
	require.Equal(t, "the shop is at fault; sending it again does not help\n", recorder.Body.String())
	require.Contains(t, log.String(), "OrderReturned")
}

func TestARequestThatIsUnderWayIsAnsweredBeforeTheEnd(t *testing.T) {
	shop := start(t, settings{config: "memory.yaml"})
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(shop.url, "http://"))
	require.NoError(t, err)
	defer conn.Close()
	const body = `{"customer":"ann","cents":1}`
	_, err = conn.Write([]byte("PUT /orders/1 HTTP/1.1\r\nHost: shop\r\nExpect: 100-continue\r\nContent-Length: 28\r\n\r\n"))
	require.NoError(t, err)
	reader := bufio.NewReader(conn)
	line, err := reader.ReadString('\n')
	require.NoError(t, err)
	require.Contains(t, line, "100 Continue", "the request is being read")
	stopped := make(chan struct{})
	go func() { shop.stop(); close(stopped) }()
	require.Eventually(t, func() bool { // it takes no more
		other, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", conn.RemoteAddr().String())
		if err == nil {
			other.Close()
		}
		return err != nil
	}, 10*time.Second, 2*time.Millisecond)
	_, err = conn.Write([]byte(body))
	require.NoError(t, err)
	_, err = reader.ReadString('\n')
	require.NoError(t, err)
	response, err := http.ReadResponse(reader, nil)
	require.NoError(t, err)
	defer response.Body.Close()
	require.Equal(t, http.StatusOK, response.StatusCode)
	<-stopped
}
