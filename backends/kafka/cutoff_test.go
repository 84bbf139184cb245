package kafka_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	kafkago "github.com/segmentio/kafka-go"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/kafka"
	"github.com/switchyard-dev/switchyard/backends/kafka/internal/connection"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/testservers"
)

// The leader is cut off from the other brokers, and clients still reach all of them. The
// others elect another one, which the old one does not hear of: it goes on to say that it
// leads, and where the log ends, by what it has. Whoever knows the cluster from it alone
// must get no old answer; and a handle that has it for a start must find the others.
func cutOffTheLeader(t *testing.T, server *testservers.Kafka) { //nolint:thelper // a test, of its cluster
	c := newCluster(t, server)
	p := place{brokers: server.Addresses(), store: c.store}
	_, store := p.open(t, kafka.Options{})
	appendTo(t, store, "s", 1)
	require.NoError(t, store.Close())

	leader := c.leader()
	alone := place{brokers: p.brokers[leader-1 : leader], store: p.store}
	others := place{store: p.store}
	for i, address := range p.brokers {
		if i != leader-1 {
			others.brokers = append(others.brokers, address)
		}
	}
	_, writer := others.open(t, kafka.Options{})
	misled, letGo := p.misledBy(t, alone.brokers[0])
	backend, stuck := misled.open(t, kafka.Options{Transport: misled.transport})
	appendTo(t, stuck, "s", 1)

	var cut sharpEye
	require.NoError(t, server.CutOff(leader))
	t.Logf("broker %d was cut off", leader)
	letGo()
	cut.append(t, writer) // when the others have elected a leader

	witnessed := cut.watch(t, alone, func(ctx context.Context, c *connection.Connection) (int64, error) {
		return c.HighWatermark(ctx, p.topic(), 2)
	})
	plain := cut.watch(t, alone, func(ctx context.Context, c *connection.Connection) (int64, error) {
		return leadersWord(ctx, c, p.topic())
	})
	for range 50 {
		cut.append(t, writer)
	}
	// Connections that nobody uses end after 30 s: it must not take that.
	began := time.Now()
	require.Eventually(t, func() bool {
		least := cut.version.Load()
		got, err := stuck.StreamVersion(t.Context(), "s")
		if err == nil && got < least {
			t.Errorf("an old answer: version %d, and %d was acknowledged", got, least)
		}
		return err == nil
	}, 20*time.Second, 50*time.Millisecond, "the handle finds the others")
	t.Logf("the handle has found the others within %s", time.Since(began))
	cut.append(t, stuck) // through the others
	witnessed.stop()
	plain.stop()
	t.Logf("old answers: %d of %d witnessed (%d refused), %d of %d of the leader alone",
		witnessed.old.Load(), witnessed.all.Load(), witnessed.refused.Load(), plain.old.Load(), plain.all.Load())
	require.Zero(t, witnessed.old.Load())
	require.NotZero(t, witnessed.refused.Load())
	require.NotZero(t, plain.old.Load(), "the fault is seen")

	require.NoError(t, server.Rejoin(leader))
	require.Eventually(t, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		end, err := alone.client(t).HighWatermark(ctx, p.topic(), 2)
		return err == nil && end >= cut.offset.Load()
	}, time.Minute, 100*time.Millisecond, "it hears of what it missed")
	var last uint64
	require.Eventually(t, func() bool {
		var err error
		last, err = stuck.StreamVersion(t.Context(), "s")
		return err == nil
	}, time.Minute, 50*time.Millisecond)
	require.Equal(t, cut.version.Load(), last, "what the old leader was asked to append is gone, or was answered")

	// A leader without the two others answers nobody, whatever it says of the log's end.
	leader = c.leader()
	for n := range 3 {
		if n+1 != leader {
			require.NoError(t, server.Kill(n+1))
		}
	}
	var asking sync.WaitGroup
	asking.Go(func() {
		_, err := stuck.Append(t.Context(), "s", eventstore.Any(), happened())
		if !errors.Is(err, eventstore.ErrUnknownOutcome) && !errors.Is(err, eventstore.ErrUnavailable) {
			t.Errorf("append: %v", err)
		}
	})
	_, err := backend.Info(t.Context())
	require.ErrorIs(t, err, eventstore.ErrUnavailable)
	t.Log(err)
	asking.Wait()
}

// misled is a place whose handles take what one broker says of the cluster for a start.
type misled struct {
	place
	transport *kafkago.Transport
}

// misledBy returns a place whose handles ask one broker alone for the cluster until it
// lets go of them. They have other names for their first brokers than the brokers have
// for each other, which tells the connections apart.
func (p place) misledBy(t *testing.T, address string) (m misled, letGo func()) {
	t.Helper()
	var free atomic.Bool
	m = misled{place: place{store: p.store}, transport: &kafkago.Transport{Dial: func(ctx context.Context, network, to string) (net.Conn, error) {
		if strings.HasPrefix(to, "localhost:") && !free.Load() {
			to = address
		}
		return new(net.Dialer).DialContext(ctx, network, to)
	}}}
	for _, broker := range p.brokers {
		_, port, err := net.SplitHostPort(broker)
		require.NoError(t, err)
		m.brokers = append(m.brokers, net.JoinHostPort("localhost", port))
	}
	return m, func() { free.Store(true) }
}

// sharpEye knows what was acknowledged, and finds old answers.
type sharpEye struct {
	version atomic.Uint64 // of the one stream that is written to
	offset  atomic.Int64  // the log goes up to it at least
}

// append has an event acknowledged, however often that takes.
func (e *sharpEye) append(t *testing.T, store *eventstore.Store) {
	t.Helper()
	event := happened()
	event.ID = uuid.New() // for an outcome may be unknown
	require.Eventually(t, func() bool {
		result, err := store.Append(t.Context(), "s", eventstore.Any(), event)
		if err != nil {
			if !errors.Is(err, eventstore.ErrUnknownOutcome) && !errors.Is(err, eventstore.ErrUnavailable) {
				t.Errorf("append: %v", err)
			}
			return false
		}
		e.version.Store(result.Version)
		offset, _ := result.Position.Words()
		e.offset.Store(int64(offset) + 1)
		return true
	}, time.Minute, 5*time.Millisecond, "an append")
}

// leadersWord is the end of a topic by what its leader says, as far as the client knows
// who that is: what a view must not be.
func leadersWord(ctx context.Context, c *connection.Connection, topic string) (int64, error) {
	answer, err := c.Client.ListOffsets(ctx, &kafkago.ListOffsetsRequest{
		Topics: map[string][]kafkago.OffsetRequest{topic: {kafkago.LastOffsetOf(0)}},
	})
	if err != nil {
		return 0, err
	}
	if len(answer.Topics[topic]) != 1 {
		return 0, errors.New("the answer does not have it")
	}
	return answer.Topics[topic][0].LastOffset, answer.Topics[topic][0].Error
}

// watched is what those who ask for the log's end were told.
type watched struct {
	all, old, refused atomic.Int64
	stop              func()
}

// watch asks for the end of the log again and again, through clients that know the
// cluster from one broker.
func (e *sharpEye) watch(t *testing.T, p place, end func(ctx context.Context, c *connection.Connection) (int64, error)) *watched {
	t.Helper()
	w := &watched{}
	ctx, cancel := context.WithCancel(t.Context())
	var asking sync.WaitGroup
	for range 4 {
		c := connection.New(p.brokers, []string{p.topic()}, nil)
		t.Cleanup(c.Close)
		asking.Go(func() {
			for ctx.Err() == nil {
				least := e.offset.Load()
				once, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
				offset, err := end(once, c)
				cancel()
				switch {
				case ctx.Err() != nil:
				case errors.Is(err, context.DeadlineExceeded):
					w.refused.Add(1)
				case err == nil:
					w.all.Add(1)
					if offset < least {
						w.old.Add(1)
					}
				}
			}
		})
	}
	w.stop = func() {
		cancel()
		asking.Wait()
	}
	return w
}
