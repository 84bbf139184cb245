package relay_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/relaytest"
	"github.com/switchyard-dev/switchyard/relay"
)

// receiver is an HTTP server that takes batches, and answers as it is told.
type receiver struct {
	*httptest.Server
	mu       sync.Mutex
	calls    int
	received []relaytest.Delivery
	// answer decides on a call, after its events were taken or, where it says so,
	// before; nil is 204 each time.
	answer func(call, events int) (status int, taken bool)
}

func newReceiver(t *testing.T, answer func(call, events int) (status int, taken bool)) *receiver {
	t.Helper()
	r := &receiver{answer: answer}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		r.mu.Lock()
		defer r.mu.Unlock()
		body, err := io.ReadAll(request.Body)
		var batch []json.RawMessage
		if err != nil || request.Method != http.MethodPost || request.Header.Get("Content-Type") != "application/cloudevents-batch+json; charset=UTF-8" ||
			json.Unmarshal(body, &batch) != nil || len(batch) == 0 {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		r.calls++
		status, taken := http.StatusNoContent, true
		if r.answer != nil {
			status, taken = r.answer(r.calls, len(batch))
		}
		for _, text := range batch {
			d, err := relaytest.ReadJSON(text)
			if err != nil {
				status, taken = http.StatusBadRequest, false
			}
			d.Key = d.Attributes["partitionkey"]
			if taken {
				r.received = append(r.received, d)
			}
		}
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, "so it is")
	}))
	t.Cleanup(r.Close)
	return r
}

func TestAnHTTPReceiverHasEveryEventOnce(t *testing.T) {
	r := newReceiver(t, func(call, events int) (int, bool) {
		switch {
		case call == 1:
			return http.StatusServiceUnavailable, true // the answer of a proxy: the events are there
		case call == 2:
			return http.StatusTooManyRequests, false
		case call == 3:
			return http.StatusFound, false
		case call == 4:
			return http.StatusUnauthorized, false
		case events > 7:
			return http.StatusRequestEntityTooLarge, false
		}
		return http.StatusAccepted, true
	})
	store := newStore(t)
	log := fill(t, store, 3, 20)
	sub := relay.New("r", relay.HTTP(nil, r.URL), asItIs)
	sub.Retry.Attempts = 1 // nothing of this is an event's fault
	require.NoError(t, caughtUp(t, store, sub))
	require.NoError(t, relaytest.Check(r.received, log))
	require.Greater(t, len(r.received), len(log), "some came again")
}

func TestWhatAStatusMeans(t *testing.T) {
	one := []relay.CloudEvent{{ID: "1", Source: "/s", Type: "T"}}
	for status, want := range map[int]string{
		200: "", 202: "", 204: "",
		301: "unavailable", 307: "unavailable", 400: "refused", 401: "unavailable", 403: "unavailable", 404: "unavailable", 409: "refused",
		413: "refused", 415: "unavailable", 422: "refused", 429: "unavailable", 451: "refused", 500: "unavailable", 503: "unavailable",
	} {
		r := newReceiver(t, func(int, int) (int, bool) { return status, true })
		err := relay.HTTP(r.Client(), r.URL).Publish(t.Context(), one)
		switch want {
		case "":
			require.NoError(t, err, status)
		case "refused":
			require.Error(t, err, status)
			require.NotErrorIs(t, err, eventstore.ErrUnavailable, status)
		default:
			require.ErrorIs(t, err, eventstore.ErrUnavailable, status)
		}
		if want != "" && status/100 != 2 {
			require.ErrorContains(t, err, "so it is", status)
		}
		require.Equal(t, 1, r.calls, "nothing is followed or tried again")
	}
}

func TestAReceiverThatIsAwayIsWaitedForAndItsURLNotShown(t *testing.T) {
	one := []relay.CloudEvent{{ID: "1", Source: "/s", Type: "T"}}
	gone := httptest.NewServer(http.NotFoundHandler())
	target := strings.Replace(gone.URL, "http://", "http://me:s3cr3t@", 1) + "/hook?token=s3cr3t"
	gone.Close()
	err := relay.HTTP(nil, target).Publish(t.Context(), one)
	require.ErrorIs(t, err, eventstore.ErrUnavailable)
	require.NotContains(t, err.Error(), "s3cr3t")
	err = relay.HTTP(nil, "http://me:s3cr3t%zz@h").Publish(t.Context(), one)
	require.ErrorIs(t, err, eventstore.ErrInvalid)
	require.NotContains(t, err.Error(), "s3cr3t")
	require.NoError(t, relay.HTTP(nil, target).Publish(t.Context(), nil))
}

func TestRetryAfterIsObeyed(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "20")
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	err := relay.HTTP(nil, server.URL).Publish(ctx, []relay.CloudEvent{{ID: "1", Source: "/s", Type: "T"}})
	require.ErrorIs(t, err, context.DeadlineExceeded, "it waits, and no longer than its context")
	require.NotErrorIs(t, err, eventstore.ErrUnavailable)
}

type answers func(*http.Request) (*http.Response, error)

func (a answers) RoundTrip(r *http.Request) (*http.Response, error) { return a(r) }

func TestRetryAfterCountsUpTo30Seconds(t *testing.T) {
	for after, want := range map[string]time.Duration{
		"": 0, "0": 0, "-5": 0, "Wed, 21 Oct 2099 07:28:00 GMT": 0, "29": 29 * time.Second, "31": 30 * time.Second, "9223372036": 30 * time.Second,
	} {
		synctest.Test(t, func(t *testing.T) {
			client := &http.Client{Transport: answers(func(*http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {after}}, Body: http.NoBody}, nil
			})}
			began := time.Now()
			err := relay.HTTP(client, "http://receiver.example").Publish(t.Context(), []relay.CloudEvent{{ID: "1", Source: "/s", Type: "T"}})
			require.ErrorIs(t, err, eventstore.ErrUnavailable)
			require.Equal(t, want, time.Since(began), after)
		})
	}
}

// A receiver that is too slow for a whole batch would otherwise be sent it for ever.
func TestWhatTakesTooLongForOneRequestGoesInHalves(t *testing.T) {
	for name, client := range map[string]*http.Client{
		"by the client's time": {Timeout: 2 * time.Second}, // enough for what is answered at once
		"by a proxy's":         {},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReceiver(t, nil)
			handle := r.Config.Handler
			r.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
				body, err := io.ReadAll(request.Body)
				if err != nil {
					return
				}
				if bytes.Count(body, []byte(`"specversion"`)) > 10 {
					if client.Timeout == 0 {
						w.WriteHeader(http.StatusGatewayTimeout)
						return
					}
					<-request.Context().Done() // the relay has given up
					return
				}
				request.Body = io.NopCloser(bytes.NewReader(body))
				handle.ServeHTTP(w, request)
			})
			store := newStore(t)
			log := fill(t, store, 2, 10) // in halves once
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			sub := relay.New("r", relay.HTTP(client, r.URL), asItIs)
			sub.UntilCaughtUp = true
			require.NoError(t, store.Run(ctx, sub))
			require.NoError(t, ctx.Err(), "it never gets on")
			r.Close() // no request is under way any more
			require.NoError(t, relaytest.Check(r.received, log))
		})
	}
}

func TestAConnectionIsUsedAgainWhateverAReceiverAnswers(t *testing.T) {
	for _, size := range []int{0, 199, 201, 60_000} {
		var connections atomic.Int32
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, strings.Repeat("x", size))
		}))
		server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
			if state == http.StateNew {
				connections.Add(1)
			}
		}
		server.Start()
		publisher := relay.HTTP(server.Client(), server.URL)
		for range 5 {
			require.NoError(t, publisher.Publish(t.Context(), []relay.CloudEvent{{ID: "1", Source: "/s", Type: "T"}}))
		}
		server.Close()
		require.EqualValues(t, 1, connections.Load(), "%d bytes", size)
	}
}

func TestTheSecondHalfDoesNotOvertakeTheFirst(t *testing.T) {
	r := newReceiver(t, func(_, events int) (int, bool) {
		if events > 2 {
			return http.StatusRequestEntityTooLarge, false
		}
		return http.StatusServiceUnavailable, false
	})
	store := newStore(t)
	var events []relay.CloudEvent
	for _, e := range fill(t, store, 1, 4) {
		events = append(events, relay.FromEvent(source, e))
	}
	require.ErrorIs(t, relay.HTTP(r.Client(), r.URL).Publish(t.Context(), events), eventstore.ErrUnavailable)
	require.Equal(t, 2, r.calls, "all, and the first half")
}
