package esdbtest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/switchyard-dev/switchyard/backends/esdb/esdbtest"
)

// testTimeout is how long a test waits for something that must happen.
const testTimeout = 10 * time.Second

func TestMain(m *testing.M) {
	code := m.Run()
	if left := lingering(); code == 0 && left != "" {
		fmt.Fprintf(os.Stderr, "goroutines of the double outlive the tests:\n%s\n", left)
		code = 1
	}
	os.Exit(code)
}

// lingering waits for the double's goroutines to end and returns those which do
// not. The client leaves some of its own behind, which are not ours to judge.
func lingering() string {
	stacks := make([]byte, 1<<20)
	for deadline := time.Now().Add(testTimeout); ; runtime.Gosched() {
		var left []string
		for _, g := range strings.Split(string(stacks[:runtime.Stack(stacks, true)]), "\n\n") {
			if strings.Contains(g, "transport.(*http2Server)") || strings.Contains(g, "esdbtest.(*") {
				left = append(left, g)
			}
		}
		if len(left) == 0 || time.Now().After(deadline) {
			return strings.Join(left, "\n\n")
		}
	}
}

func start(t *testing.T, opts *esdbtest.Options) *esdbtest.Server {
	t.Helper()
	srv, err := esdbtest.Start(opts)
	require.NoError(t, err)
	t.Cleanup(srv.Stop)
	return srv
}

// connect makes a client of the URL; more is appended to it as "&key=value".
func connect(t *testing.T, url, more string) *esdb.Client {
	t.Helper()
	conf, err := esdb.ParseConnectionString(url + more)
	require.NoError(t, err)
	conf.Logger = esdb.NoopLogging()
	client, err := esdb.NewClient(conf)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	return client
}

func startAndConnect(t *testing.T) (*esdbtest.Server, *esdb.Client) {
	t.Helper()
	srv := start(t, nil)
	return srv, connect(t, srv.URL(), "")
}

// raw speaks the protocol without the client, to see what the client hides.
func raw(t *testing.T, srv *esdbtest.Server) streams.StreamsClient {
	t.Helper()
	conn, err := grpc.NewClient(srv.Address(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	return streams.NewStreamsClient(conn)
}

func event(eventType string) esdb.EventData {
	return esdb.EventData{EventID: uuid.New(), EventType: eventType, ContentType: esdb.ContentTypeJson, Data: []byte(`{"a":1}`)}
}

func events(n int) []esdb.EventData {
	out := make([]esdb.EventData, n)
	for i := range out {
		out[i] = event(fmt.Sprintf("type-%d", i))
	}
	return out
}

func appendTo(ctx context.Context, c *esdb.Client, stream string, expected esdb.ExpectedRevision, evs ...esdb.EventData) (*esdb.WriteResult, error) {
	return c.AppendToStream(ctx, stream, esdb.AppendToStreamOptions{ExpectedRevision: expected}, evs...)
}

func mustAppend(t *testing.T, c *esdb.Client, stream string, expected esdb.ExpectedRevision, evs ...esdb.EventData) *esdb.WriteResult {
	t.Helper()
	result, err := appendTo(t.Context(), c, stream, expected, evs...)
	require.NoError(t, err)
	return result
}

func mustDelete(t *testing.T, c *esdb.Client, stream string) {
	t.Helper()
	_, err := c.DeleteStream(t.Context(), stream, esdb.DeleteStreamOptions{ExpectedRevision: esdb.Any{}})
	require.NoError(t, err)
}

func mustTombstone(t *testing.T, c *esdb.Client, stream string) {
	t.Helper()
	_, err := c.TombstoneStream(t.Context(), stream, esdb.TombstoneStreamOptions{ExpectedRevision: esdb.Any{}})
	require.NoError(t, err)
}

func readStream(ctx context.Context, c *esdb.Client, stream string, opts esdb.ReadStreamOptions, count uint64) ([]*esdb.ResolvedEvent, error) {
	reading, err := c.ReadStream(ctx, stream, opts, count)
	if err != nil {
		return nil, err
	}
	return drain(reading)
}

func readAll(ctx context.Context, c *esdb.Client, opts esdb.ReadAllOptions, count uint64) ([]*esdb.ResolvedEvent, error) {
	reading, err := c.ReadAll(ctx, opts, count)
	if err != nil {
		return nil, err
	}
	return drain(reading)
}

func drain(reading *esdb.ReadStream) ([]*esdb.ResolvedEvent, error) {
	defer reading.Close()
	var out []*esdb.ResolvedEvent
	for {
		e, err := reading.Recv()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return out, err
		}
		out = append(out, e)
	}
}

func revisions(evs []*esdb.ResolvedEvent) []uint64 {
	out := []uint64{}
	for _, e := range evs {
		out = append(out, e.OriginalEvent().EventNumber)
	}
	return out
}

// mustRevisions reads the whole stream forward.
func mustRevisions(t *testing.T, c *esdb.Client, stream string) []uint64 {
	t.Helper()
	evs, err := readStream(t.Context(), c, stream, esdb.ReadStreamOptions{}, 1000)
	require.NoError(t, err)
	return revisions(evs)
}

func requireCode(t *testing.T, err error, code esdb.ErrorCode) {
	t.Helper()
	var e *esdb.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, code, e.Code(), "%v", err)
}

// subscription is a subscription whose messages a test takes one at a time.
type subscription struct {
	t   *testing.T
	sub *esdb.Subscription
}

func (s subscription) next() *esdb.SubscriptionEvent {
	s.t.Helper()
	got := make(chan *esdb.SubscriptionEvent, 1)
	go func() { got <- s.sub.Recv() }()
	select {
	case e := <-got:
		return e
	case <-time.After(testTimeout):
		require.NoError(s.t, s.sub.Close())
		s.t.Fatal("the subscription sent nothing")
		return nil
	}
}

// nextEvent skips checkpoints and "caught up".
func (s subscription) nextEvent() *esdb.ResolvedEvent {
	s.t.Helper()
	for {
		e := s.next()
		require.Nil(s.t, e.SubscriptionDropped, "dropped: %+v", e.SubscriptionDropped)
		if e.EventAppeared != nil {
			return e.EventAppeared
		}
	}
}

// untilCaughtUp collects what comes before "caught up": events and checkpoints.
func (s subscription) untilCaughtUp() (evs []*esdb.ResolvedEvent, checkpoints []esdb.Position) {
	s.t.Helper()
	for {
		switch e := s.next(); {
		case e.CaughtUp != nil:
			return evs, checkpoints
		case e.EventAppeared != nil:
			evs = append(evs, e.EventAppeared)
		case e.CheckPointReached != nil:
			checkpoints = append(checkpoints, *e.CheckPointReached)
		default:
			require.Fail(s.t, "unexpected message", "%+v", e.SubscriptionDropped)
		}
	}
}

func subscribe(t *testing.T, c *esdb.Client, stream string, from esdb.StreamPosition) subscription {
	t.Helper()
	sub, err := c.SubscribeToStream(t.Context(), stream, esdb.SubscribeToStreamOptions{From: from})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, sub.Close()) })
	return subscription{t, sub}
}

func subscribeAll(t *testing.T, c *esdb.Client, opts esdb.SubscribeToAllOptions) subscription {
	t.Helper()
	sub, err := c.SubscribeToAll(t.Context(), opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, sub.Close()) })
	return subscription{t, sub}
}
