package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/internal/testservers"
)

var server testservers.SharedPostgres

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	os.Exit(server.Main(m))
}

// service is a shop that runs.
type service struct {
	t    *testing.T
	url  string
	stop func() // as Ctrl-C does, and waits for its end
}

// start runs a shop on a free port.
func start(t *testing.T, s settings) *service {
	t.Helper()
	s.address = "127.0.0.1:0"
	s.list = cmp.Or(s.list, "sqlite::memory:")
	s.payWithin = cmp.Or(s.payWithin, time.Hour)
	ctx, cancel := context.WithCancel(context.Background())
	listening, ended := make(chan net.Addr, 1), make(chan error, 1)
	go func() {
		ended <- run(ctx, s, slog.New(slog.NewTextHandler(t.Output(), nil)), func(address net.Addr) { listening <- address })
	}()
	stop := sync.OnceFunc(func() {
		cancel()
		assert.NoError(t, <-ended) // whichever goroutine stops it
	})
	t.Cleanup(stop)
	select {
	case address := <-listening:
		return &service{t, "http://" + address.String(), stop}
	case err := <-ended:
		ended <- nil
		require.NoError(t, err)
		return nil
	}
}

// answer is what a request came to.
type answer struct {
	status   int
	body     string
	position string
}

// send sends a request. Headers are "Name: value".
func (s *service) send(method, path, body string, headers ...string) answer {
	s.t.Helper()
	request, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, strings.NewReader(body))
	require.NoError(s.t, err)
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		request.Header.Set(name, value)
	}
	response, err := http.DefaultClient.Do(request)
	require.NoError(s.t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(s.t, err)
	return answer{response.StatusCode, strings.TrimSpace(string(text)), response.Header.Get("X-Position")}
}

// ok sends what must succeed.
func (s *service) ok(method, path, body string, headers ...string) answer {
	s.t.Helper()
	got := s.send(method, path, body, headers...)
	require.Equal(s.t, http.StatusOK, got.status, got.body)
	return got
}

// due asks for what a customer has to pay, as of an answer.
func (s *service) due(customer string, since answer) map[string]int64 {
	s.t.Helper()
	due := map[string]int64{}
	got := answer{status: http.StatusServiceUnavailable}
	for deadline := time.Now().Add(time.Minute); got.status == http.StatusServiceUnavailable && time.Now().Before(deadline); {
		got = s.send("GET", "/customers/"+customer+"/due", "", "X-Position: "+since.position) // a slow machine's list may be behind for longer than this waits
	}
	require.Equal(s.t, http.StatusOK, got.status, got.body)
	require.NoError(s.t, json.Unmarshal([]byte(got.body), &due))
	return due
}

// depot is a warehouse: it takes down what it is told.
type depot struct {
	url string

	mu   sync.Mutex
	told []shipment
}

type shipment struct {
	ID, Source, Type, CorrelationID, Metadata string
	Data                                      struct{ Order, Reason string }
}

func openDepot(t *testing.T) *depot {
	t.Helper()
	d := &depot{}
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var events []shipment
		if err := json.NewDecoder(r.Body).Decode(&events); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		d.told = append(d.told, events...)
	}))
	t.Cleanup(receiver.Close)
	d.url = receiver.URL
	return d
}

// shipments returns what the warehouse was told of an order, each event once.
func (d *depot) shipments(order string) (events []shipment) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range d.told {
		if strings.HasSuffix(s.Source, "shipment-"+order) && !slices.Contains(events, s) {
			events = append(events, s)
		}
	}
	return events
}

// await waits until the warehouse was told of an order.
func (d *depot) await(t *testing.T, order string) shipment {
	t.Helper()
	require.Eventually(t, func() bool { return len(d.shipments(order)) > 0 }, 20*time.Second, 5*time.Millisecond)
	return d.shipments(order)[0]
}

// all returns everything that the warehouse was told, as it came.
func (d *depot) all() []shipment {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.told)
}

// quiet waits until everything that is there was handled: a later order is shipped.
func (d *depot) quiet(t *testing.T, s *service, order string) {
	t.Helper()
	s.ok("PUT", "/orders/"+order, `{"customer":"zoe","cents":1}`)
	s.ok("POST", "/orders/"+order+"/payments", `{"cents":1,"payment":"p"}`)
	d.await(t, order)
}

// buffer is a log that may be read while it is written.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
