package dynamodb_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/dynamodb"
	"github.com/switchyard-dev/switchyard/backends/dynamodb/dynamodbharness"
	"github.com/switchyard-dev/switchyard/backends/dynamodb/dynamodbtest"
	"github.com/switchyard-dev/switchyard/eventstore"
)

func TestMain(m *testing.M) {
	if table := os.Getenv(childTable); table != "" {
		os.Exit(child(table))
	}
	os.Exit(m.Run())
}

// world is a double with a table, and handles on the store in it.
type world struct {
	t   testing.TB
	srv *dynamodbtest.Server
	url string
}

func newWorld(t testing.TB, opts *dynamodbtest.Options) *world {
	t.Helper()
	srv, err := dynamodbtest.Start(opts)
	require.NoError(t, err)
	t.Cleanup(srv.Stop)
	return &world{t: t, srv: srv, url: dynamodbharness.TableURL(srv.URL(), "events")}
}

// tamper changes the body of an answer, and that of a request before it is sent, which
// has no answer yet; nil leaves it alone.
type tamper func(operation string, request, answer []byte) []byte

// client makes a client whose answers are tampered with.
func (w *world) client(change tamper) *sdk.Client {
	u, err := url.Parse(w.url)
	require.NoError(w.t, err)
	api, _, _, err := dynamodb.Client(w.t.Context(), u)
	require.NoError(w.t, err)
	if change == nil {
		return api
	}
	options := api.Options()
	options.DisableValidateResponseChecksum = true
	options.HTTPClient = tampering{options.HTTPClient, change}
	return sdk.New(options)
}

type tampering struct {
	next   sdk.HTTPClient
	change tamper
}

// Do implements the SDK's HTTPClient.
func (c tampering) Do(req *http.Request) (*http.Response, error) {
	sent, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	_, operation, _ := strings.Cut(req.Header.Get("X-Amz-Target"), ".")
	if changed := c.change(operation, sent, nil); changed != nil {
		sent = changed
		req.ContentLength = int64(len(sent))
	}
	req.Body = io.NopCloser(bytes.NewReader(sent))
	resp, err := c.next.Do(req)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if changed := c.change(operation, sent, body); changed != nil {
		body = changed
		resp.Header.Del("Content-Length")
		resp.ContentLength = int64(len(body))
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}

// backend opens a handle on the store.
func (w *world) backend(opts *dynamodb.Options, change tamper) *dynamodb.Backend {
	w.t.Helper()
	options := dynamodb.Options{CreateTable: true, Poll: 20 * time.Millisecond}
	if opts != nil {
		options = *opts
		options.CreateTable = true
	}
	b, err := dynamodb.Open(w.t.Context(), w.client(change), "events", &options)
	require.NoError(w.t, err)
	w.t.Cleanup(func() { _ = b.Close() })
	return b
}

func storeOf(t testing.TB, b eventstore.Backend) *eventstore.Store {
	t.Helper()
	store, err := eventstore.New(b, &eventstore.Options{BackendLimits: true})
	require.NoError(t, err)
	return store
}

func (w *world) store() *eventstore.Store { return storeOf(w.t, w.backend(nil, nil)) }

func event() eventstore.Event {
	return eventstore.Event{ID: uuid.New(), Type: "Happened", Data: []byte(`{"a":1}`)}
}

func events(n int) []eventstore.Event {
	all := make([]eventstore.Event, n)
	for i := range all {
		all[i] = event()
	}
	return all
}

// ledger is what writers were told, to be held against what is stored.
type ledger struct {
	mu      sync.Mutex
	stored  map[uuid.UUID]eventstore.RecordedEvent
	unknown map[uuid.UUID][]uuid.UUID // from an event to all of its append
}

func newLedger() *ledger {
	return &ledger{stored: make(map[uuid.UUID]eventstore.RecordedEvent), unknown: make(map[uuid.UUID][]uuid.UUID)}
}

func (l *ledger) note(sent []eventstore.Event, result eventstore.AppendResult, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		for _, e := range result.Events {
			l.stored[e.ID] = e
		}
		return
	}
	ids := make([]uuid.UUID, len(sent))
	for i := range sent {
		ids[i] = sent[i].ID
	}
	for _, id := range ids {
		l.unknown[id] = ids
	}
}

// audit reads the whole store and says what is wrong with it.
func (l *ledger) audit(ctx context.Context, store *eventstore.Store) error {
	found := make(map[uuid.UUID]eventstore.RecordedEvent)
	versions := make(map[string]uint64)
	for e, err := range store.ReadAll(ctx, eventstore.ReadAllOptions{}) {
		if err != nil {
			return err
		}
		if _, twice := found[e.ID]; twice {
			return fmt.Errorf("event %s is there twice", e.ID)
		}
		if e.Version != versions[e.Stream]+1 {
			return fmt.Errorf("stream %s goes on with version %d after %d", e.Stream, e.Version, versions[e.Stream])
		}
		versions[e.Stream] = e.Version
		found[e.ID] = e
	}
	for stream, version := range versions {
		last := uint64(0)
		for e, err := range store.ReadStream(ctx, stream, eventstore.ReadOptions{}) {
			if err != nil {
				return err
			}
			if found[e.ID].Position != e.Position || e.Version != last+1 {
				return fmt.Errorf("stream %s and the log disagree about version %d", stream, e.Version)
			}
			last = e.Version
		}
		if last != version {
			return fmt.Errorf("stream %s ends at %d and the log says %d", stream, last, version)
		}
	}
	for id, e := range l.stored {
		if got, ok := found[id]; !ok || got.Position != e.Position || got.Version != e.Version {
			return fmt.Errorf("event %s was acknowledged at %s and is at %s", id, e.Place(), got.Place())
		}
	}
	for id, all := range l.unknown {
		_, ok := found[id]
		for _, other := range all {
			if _, is := found[other]; is != ok {
				return errors.New("an append of unknown outcome is there in part")
			}
		}
	}
	return nil
}

// work has writers append to streams of their own and to a hot one.
func work(t *testing.T, stores []*eventstore.Store, writers, appends int, seed uint64) *ledger {
	t.Helper()
	l := newLedger()
	var all sync.WaitGroup
	for i, store := range stores {
		for j := range writers {
			all.Go(func() {
				rng := rand.New(rand.NewPCG(seed, uint64(i*1000+j)))
				for n := range appends {
					stream := fmt.Sprintf("own-%d-%d-%d", i, j, n/5)
					if rng.IntN(4) == 0 {
						stream = "hot-1"
					}
					sent := events(1 + rng.IntN(7))
					result, err := store.Append(t.Context(), stream, eventstore.Any(), sent...)
					if err != nil && !errors.Is(err, eventstore.ErrUnknownOutcome) && !errors.Is(err, eventstore.ErrUnavailable) {
						t.Errorf("append: %v", err)
					}
					if err == nil || errors.Is(err, eventstore.ErrUnknownOutcome) {
						l.note(sent, result, err)
					}
				}
			})
		}
	}
	all.Wait()
	return l
}

// chance is a hook that fails some calls of an operation.
func chance(seed uint64, operation string, share float64, err error) dynamodbtest.Hook {
	var mu sync.Mutex
	rng := rand.New(rand.NewPCG(seed, 99))
	return dynamodbtest.Only(operation, func(context.Context, dynamodbtest.Call) error {
		mu.Lock()
		defer mu.Unlock()
		if rng.Float64() < share {
			return err
		}
		return nil
	})
}

func both(hooks ...dynamodbtest.Hook) dynamodbtest.Hook {
	return func(ctx context.Context, call dynamodbtest.Call) error {
		for _, hook := range hooks {
			if err := hook(ctx, call); err != nil {
				return err
			}
		}
		return nil
	}
}

const transact = "TransactWriteItems"

// conflicted is the answer to a transaction that meets another one.
func conflicted(call dynamodbtest.Call) error {
	codes := make([]string, len(call.Keys))
	for i := range codes {
		codes[i] = dynamodbtest.CodeNone
	}
	codes[0] = dynamodbtest.CodeTransactionConflict
	return dynamodbtest.Canceled(codes...)
}

func part(stream string, expected eventstore.ExpectedVersion, events ...eventstore.Event) eventstore.AppendRequest {
	for i := range events {
		events[i].ContentType = eventstore.JSONContentType
	}
	return eventstore.AppendRequest{ID: uuid.New(), Parts: []eventstore.StreamAppend{{Stream: stream, Expected: expected, Events: events}}}
}
