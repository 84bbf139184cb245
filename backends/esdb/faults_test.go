package esdb_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/switchyard-dev/switchyard/backends/esdb"
	"github.com/switchyard-dev/switchyard/backends/esdb/esdbtest"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/audit"
)

// faultSeed makes the load of the fault tests.
const faultSeed = 11

// withinDeadline is how late a call may return after its deadline on a machine
// that is busy with other tests.
const withinDeadline = 5 * time.Second

func startServer(t *testing.T) *esdbtest.Server {
	srv, err := esdbtest.Start(nil)
	require.NoError(t, err)
	t.Cleanup(srv.Stop)
	return srv
}

func openBackend(t *testing.T, rawURL string) *esdb.Backend {
	u, err := url.Parse(rawURL)
	require.NoError(t, err)
	backend, err := esdb.OpenURL(t.Context(), u)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, backend.Close()) })
	return backend
}

func openStore(t *testing.T, rawURL string, opts *eventstore.Options) *eventstore.Store {
	store, err := eventstore.New(openBackend(t, rawURL), opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	return store
}

// load is writers and subscribers at work while a test breaks things. Half of
// the handles let the Store settle unknown outcomes, half leave them unknown.
type load struct {
	t       *testing.T
	url     string
	book    audit.Book
	writing sync.WaitGroup
	reading sync.WaitGroup

	stopWriting, stopReading context.CancelFunc
}

func startLoad(t *testing.T, rawURL string) *load {
	writing, stopWriting := context.WithCancel(context.Background())
	reading, stopReading := context.WithCancel(context.Background())
	l := &load{t: t, url: rawURL, stopWriting: stopWriting, stopReading: stopReading}
	t.Cleanup(func() {
		stopWriting()
		stopReading()
		l.writing.Wait()
		l.reading.Wait()
	})
	for i := range 4 {
		settle := &eventstore.Options{RetryFor: time.Minute}
		if i%2 == 1 {
			settle.RetryFor = -1
		}
		store := openStore(t, rawURL, settle)
		for j := range 3 {
			l.writing.Go(func() { l.write(writing, store, rand.New(rand.NewPCG(faultSeed, uint64(10*i+j)))) })
		}
	}
	for i, query := range []string{"", "&push=off&poll=50ms"} {
		store := openStore(t, rawURL+query, &eventstore.Options{RetryFor: time.Minute})
		l.reading.Go(func() { l.book.Follow(reading, store, fmt.Sprintf("subscriber %d", i)) })
	}
	return l
}

// write appends to a few shared streams and to many short ones, one event or
// three at a time, and holds every call to its deadline.
func (l *load) write(ctx context.Context, store *eventstore.Store, chance *rand.Rand) {
	for n := 0; ctx.Err() == nil; n++ {
		stream, expected := fmt.Sprintf("shared-%d", chance.IntN(4)), eventstore.Any()
		if chance.IntN(2) == 0 {
			stream, expected = "own-"+uuid.NewString(), eventstore.NoStream()
		}
		events := make([]eventstore.Event, 1+2*chance.IntN(2))
		for i := range events {
			events[i] = eventstore.Event{Type: "Happened", Data: fmt.Appendf(nil, `{"n":%d}`, n)}
		}
		limit := time.Duration(200+chance.IntN(2000)) * time.Millisecond
		appending, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
		start := time.Now()
		_, err := l.book.Append(appending, store, stream, expected, events...)
		cancel()
		if took := time.Since(start); took > limit+withinDeadline {
			l.t.Errorf("an append with %s took %s", limit, took)
		}
		switch {
		case err == nil:
		case errors.Is(err, eventstore.ErrUnavailable), errors.Is(err, eventstore.ErrUnknownOutcome), errors.Is(err, context.DeadlineExceeded):
			pause(ctx, 10*time.Millisecond)
		default:
			l.t.Errorf("append: %v", err)
			return
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// await waits until so many more appends are acknowledged.
func (l *load) await(more int) {
	l.t.Helper()
	before := l.book.Totals().Acknowledged
	require.Eventually(l.t, func() bool { return l.book.Totals().Acknowledged >= before+more }, time.Minute, time.Millisecond)
}

// audit ends the writing, lets the subscribers arrive at its end, and holds the
// books against the store.
func (l *load) audit() audit.Totals {
	l.t.Helper()
	store := openStore(l.t, l.url, nil)
	l.await(20)
	l.stopWriting()
	l.writing.Wait()
	info, err := store.Info(l.t.Context())
	require.NoError(l.t, err)
	for _, name := range []string{"subscriber 0", "subscriber 1"} {
		require.Eventually(l.t, func() bool { return l.book.Last(name) == info.Head.Position }, time.Minute, 5*time.Millisecond, "%s does not arrive", name)
	}
	l.stopReading()
	l.reading.Wait()
	found, err := l.book.Audit(store.ReadAll(l.t.Context(), eventstore.ReadAllOptions{}))
	require.NoError(l.t, err)
	require.True(l.t, found.Clean(), "%s", found)
	totals := l.book.Totals()
	l.t.Logf("%+v", totals)
	return totals
}

// settled waits until there are no more goroutines than before.
func settled(t *testing.T, before int) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for runtime.NumGoroutine() > before {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<20)
			t.Fatalf("%d goroutines at first, %d at last:\n%s", before, runtime.NumGoroutine(), stacks[:runtime.Stack(stacks, true)])
		}
		pause(t.Context(), 10*time.Millisecond)
	}
}

// faultTest runs a load while a test breaks the server, and holds the books and
// the goroutines to account.
func faultTest(t *testing.T, breakIt func(srv *esdbtest.Server, l *load)) {
	before := runtime.NumGoroutine()
	var totals audit.Totals
	t.Run("load", func(t *testing.T) {
		srv := startServer(t)
		l := startLoad(t, srv.URL())
		breakIt(srv, l)
		totals = l.audit()
	})
	require.Positive(t, totals.Unknown, "no fault met an append under way: the test proves nothing")
	settled(t, before)
}

func TestNothingIsLostOrDoubledWhenTheServerStopsAndComesBack(t *testing.T) {
	faultTest(t, func(srv *esdbtest.Server, l *load) {
		for range 20 {
			l.await(20)
			srv.Stop()
			pause(t.Context(), 2*time.Second) // the outage
			require.NoError(t, srv.Restart())
		}
	})
}

func TestNothingIsLostOrDoubledWhenConnectionsDrop(t *testing.T) {
	faultTest(t, func(srv *esdbtest.Server, l *load) {
		chance := rand.New(rand.NewPCG(faultSeed, 1))
		for range 100 {
			l.await(2 + chance.IntN(10))
			srv.DropConnections()
		}
	})
}

// A call whose connection breaks before it leaves is made anew by gRPC itself, with
// what it was given so far: the rest must not be missing then, and its failure must
// not be told as certain.
func TestAnAppendIsWholeOrUnknownWhenItsConnectionBreaksAtOnce(t *testing.T) {
	srv := startServer(t)
	store := openStore(t, srv.URL(), &eventstore.Options{RetryFor: -1})
	const together = 8
	var book audit.Book
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var writing sync.WaitGroup
	for range 32 {
		writing.Go(func() {
			for ctx.Err() == nil {
				events := make([]eventstore.Event, together)
				for i := range events {
					events[i] = happened()
				}
				_, _ = book.Append(t.Context(), store, uuid.NewString(), eventstore.NoStream(), events...) // the book has the outcome
			}
		})
	}
	for range 300 {
		srv.DropConnections()
		pause(t.Context(), 3*time.Millisecond)
	}
	stop()
	writing.Wait()
	reader := openStore(t, srv.URL(), nil) // whose connection was not broken
	found, err := book.Audit(reader.ReadAll(t.Context(), eventstore.ReadAllOptions{}))
	require.NoError(t, err)
	require.True(t, found.Clean(), "%s", found)
	last := make(map[string]uint64)
	for event, err := range reader.ReadAll(t.Context(), eventstore.ReadAllOptions{}) {
		require.NoError(t, err)
		last[event.Stream] = event.Version
	}
	for stream, version := range last {
		require.Equal(t, uint64(together), version, "an append to %s was torn", stream)
	}
}

func TestNothingIsLostOrDoubledWhenAnswersAreLostAfterTheCommit(t *testing.T) {
	faultTest(t, func(srv *esdbtest.Server, l *load) {
		lost := status.Error(codes.Unavailable, "lost")
		for range 10 {
			srv.SetHooks(esdbtest.Hooks{AfterCommit: esdbtest.FailTimes(20, lost)})
			l.await(60)
		}
	})
}

func TestNobodyHangsWhileNoServerAnswers(t *testing.T) {
	for name, scheme := range map[string]string{"one host": "esdb://", "discovery": "esdb+discover://"} {
		before := runtime.NumGoroutine()
		t.Run(name, func(t *testing.T) { callInAnOutage(t, scheme) })
		settled(t, before)
	}
}

// callInAnOutage has 16 callers wait for a server that is away, then brings it back.
func callInAnOutage(t *testing.T, scheme string) {
	srv := startServer(t)
	backend := openBackend(t, scheme+srv.Address()+"?tls=false")
	srv.Stop()
	const callers = 16
	var waiting sync.WaitGroup
	for i := range callers {
		waiting.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			start := time.Now()
			if err := callSomething(ctx, backend, i); err == nil || time.Since(start) > time.Second+withinDeadline {
				t.Errorf("caller %d: after %s: %v", i, time.Since(start), err)
			}
		})
	}
	waiting.Wait()
	require.NoError(t, srv.Restart())
	awaitRead(t, backend)
}

// callSomething makes one of three calls.
func callSomething(ctx context.Context, backend *esdb.Backend, i int) (err error) {
	switch i % 3 {
	case 0:
		_, err = backend.ReadAll(ctx, oneEvent())
	case 1:
		_, err = backend.Append(ctx, eventstore.AppendRequest{Parts: []eventstore.StreamAppend{{
			Stream: "s", Expected: eventstore.Any(), Events: []eventstore.Event{{ID: uuid.New(), Type: "T", Data: []byte("{}"), ContentType: eventstore.JSONContentType}},
		}}})
	case 2:
		for _, failed := range backend.Subscribe(ctx, eventstore.SubscribeRequest{}) {
			err = failed
		}
	}
	return err
}

func oneEvent() eventstore.ReadAllRequest {
	return eventstore.ReadAllRequest{PageSize: eventstore.PageSize{MaxEvents: 1, MaxBytes: 1}}
}

// awaitRead waits until the backend reads again.
func awaitRead(t *testing.T, backend *esdb.Backend) {
	t.Helper()
	require.Eventually(t, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := backend.ReadAll(ctx, oneEvent())
		return err == nil
	}, 30*time.Second, 10*time.Millisecond, "the connection does not come back")
}

// Without a deadline of the caller's an outage is told after a bounded search.
func TestAFailedSearchIsToldToThoseWhoWaitWithoutADeadline(t *testing.T) {
	srv := startServer(t)
	backend := openBackend(t, "esdb+discover://"+srv.Address()+"?tls=false&maxDiscoverAttempts=3&discoveryInterval=10")
	srv.Stop()
	var waiting sync.WaitGroup
	for i := range 9 {
		waiting.Go(func() {
			err := callSomething(t.Context(), backend, i)
			if !errors.Is(err, eventstore.ErrUnavailable) && !errors.Is(err, eventstore.ErrUnknownOutcome) {
				t.Errorf("caller %d: %v", i, err)
			}
		})
	}
	waiting.Wait()
	require.NoError(t, srv.Restart())
	awaitRead(t, backend)
}

func TestCloseDuringAnOutageEndsEveryCall(t *testing.T) {
	for name, scheme := range map[string]string{"one host": "esdb://", "discovery": "esdb+discover://"} {
		t.Run(name, func(t *testing.T) {
			before := runtime.NumGoroutine()
			for range 20 {
				srv := startServer(t)
				backend := openBackend(t, scheme+srv.Address()+"?tls=false")
				var waiting sync.WaitGroup
				for i := range 9 {
					waiting.Go(func() {
						for !errors.Is(callSomething(t.Context(), backend, i), eventstore.ErrClosed) {
							runtime.Gosched()
						}
					})
				}
				srv.DropConnections()
				srv.Stop()
				start := time.Now()
				require.NoError(t, backend.Close())
				waiting.Wait()
				require.Less(t, time.Since(start), withinDeadline)
			}
			settled(t, before)
		})
	}
}
