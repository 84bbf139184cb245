package kafka_test

import (
	"context"
	"errors"
	"slices"
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

// One cluster for both, because a start takes seconds.
func TestThreeBrokersWithoutOneAnother(t *testing.T) {
	server := testservers.PrivateKafka(t, testservers.KafkaOptions{Brokers: 3, Separable: true})
	t.Run("appends in doubt are settled when the replicas are back", func(t *testing.T) { holdAppendsInDoubt(t, server) })
	t.Run("a leader that is cut off gives no old answer and holds nobody up", func(t *testing.T) { cutOffTheLeader(t, server) })
}

// Of three replicas that must all be in sync, one is away: what is sent then is in
// doubt, and after that refused. All of it is settled when the replica is back.
func holdAppendsInDoubt(t *testing.T, server *testservers.Kafka) { //nolint:thelper // a test, of its cluster
	c := newCluster(t, server)
	p := place{brokers: server.Addresses(), store: c.store}
	all := connection.New(p.brokers, []string{p.topic()}, nil)
	t.Cleanup(all.Close)
	require.NoError(t, all.Create(t.Context(), p.topic(), connection.CreateOptions{}))
	altered, err := all.Client.IncrementalAlterConfigs(t.Context(), &kafkago.IncrementalAlterConfigsRequest{Resources: []kafkago.IncrementalAlterConfigsRequestResource{{
		ResourceType: kafkago.ResourceTypeTopic, ResourceName: p.topic(),
		Configs: []kafkago.IncrementalAlterConfigsRequestConfig{{Name: "min.insync.replicas", Value: "3", ConfigOperation: kafkago.ConfigOperationSet}},
	}}})
	require.NoError(t, err)
	require.NoError(t, altered.Resources[0].Error)
	backend, store := p.open(t, kafka.Options{})
	appendTo(t, store, "s", 1)

	leader := c.leader()
	follower := 1 + slices.IndexFunc([]int{1, 2, 3}, func(n int) bool { return n != leader })
	require.NoError(t, server.Kill(follower))
	type attempt struct {
		req eventstore.AppendRequest
		err error
	}
	var attempts []attempt
	unknown, refused := 0, 0
	for deadline := time.Now().Add(time.Minute); refused == 0 && time.Now().Before(deadline); {
		event := happened()
		event.ID = uuid.New()
		req := eventstore.AppendRequest{ID: uuid.New(), Parts: []eventstore.StreamAppend{{Stream: "s", Expected: eventstore.Any(), Events: []eventstore.Event{event}}}}
		_, err := backend.Append(t.Context(), req)
		require.Error(t, err)
		switch {
		case errors.Is(err, eventstore.ErrUnknownOutcome):
			unknown++
		case errors.Is(err, eventstore.ErrUnavailable):
			refused++
		default:
			require.NoError(t, err)
		}
		attempts = append(attempts, attempt{req, err})
	}
	t.Logf("%d in doubt, %d refused", unknown, refused)
	require.NotZero(t, unknown)
	require.NotZero(t, refused)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	require.NoError(t, server.Start(ctx, follower))
	version, err := store.StreamVersion(ctx, "s")
	require.NoError(t, err)
	require.LessOrEqual(t, version, uint64(1+unknown), "what was refused is not stored")
	for _, a := range attempts {
		_, err := backend.Append(ctx, a.req)
		require.NoError(t, err)
	}
	version, err = store.StreamVersion(ctx, "s")
	require.NoError(t, err)
	require.EqualValues(t, 1+len(attempts), version, "each is stored once")
}

// A subscription reads what is folded, and must not stay silent through an outage,
// however seldom its handle looks.
func TestASubscriptionSaysThatTheLogCannotBeRead(t *testing.T) {
	server := testservers.PrivateKafka(t, testservers.KafkaOptions{})
	p := place{brokers: server.Addresses(), store: server.Name()}
	backend, store := p.open(t, kafka.Options{})
	appendTo(t, store, "s", 1)
	seldom, _ := p.open(t, kafka.Options{Poll: time.Hour})
	never, _ := p.open(t, kafka.Options{Poll: time.Hour, NoPush: true})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	backends := []*kafka.Backend{backend, seldom, never}
	last := make([]error, len(backends))
	var caughtUp, following sync.WaitGroup
	caughtUp.Add(len(backends))
	for i, backend := range backends {
		following.Go(func() {
			for message, err := range backend.Subscribe(ctx, eventstore.SubscribeRequest{PageSize: eventstore.PageSize{MaxEvents: 10, MaxBytes: 1 << 20}}) {
				last[i] = err
				if err == nil && message.Kind == eventstore.MessageCaughtUp {
					caughtUp.Done()
				}
			}
		})
	}
	caughtUp.Wait()
	require.NoError(t, server.Kill(1))
	following.Wait()
	for _, err := range last {
		require.ErrorIs(t, err, eventstore.ErrUnavailable)
	}
	require.NoError(t, server.Start(ctx, 1))
	require.Eventually(t, func() bool {
		_, err := store.Append(ctx, "s", eventstore.Any(), happened())
		return err == nil
	}, 30*time.Second, 50*time.Millisecond, "the handle works again")
}

// TestAnAcknowledgementIsNoVerdict shows what the backend does not do: with two
// writers who take the one for the other, a version has two winners. The same race,
// by verdicts, has one.
func TestAnAcknowledgementIsNoVerdict(t *testing.T) {
	race := func(trusting bool) (winners int64) {
		p := newPlace(t, broker.Server(t))
		one, _ := p.open(t, kafka.Options{})
		two, _ := p.open(t, kafka.Options{})
		backends := []*kafka.Backend{one, two}
		var won atomic.Int64
		var racing sync.WaitGroup
		for i := range 32 {
			racing.Go(func() {
				appendOf := backends[i%2].Append
				if trusting {
					appendOf = backends[i%2].AppendTrusting
				}
				_, err := appendOf(t.Context(), eventstore.AppendRequest{ID: uuid.New(), Parts: []eventstore.StreamAppend{{
					Stream: "s", Expected: eventstore.NoStream(), Events: []eventstore.Event{{ID: uuid.New(), Type: "T", ContentType: "text/plain"}},
				}}})
				if err == nil {
					won.Add(1)
				} else if !errors.Is(err, eventstore.ErrConflict) {
					t.Error(err)
				}
			})
		}
		racing.Wait()
		return won.Load()
	}
	require.EqualValues(t, 1, race(false))
	require.Greater(t, race(true), int64(1), "the fault is seen")
}
