package kafka_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	kafkago "github.com/segmentio/kafka-go"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/switchyard-dev/switchyard/backends/kafka"
	"github.com/switchyard-dev/switchyard/backends/kafka/fold"
	"github.com/switchyard-dev/switchyard/backends/kafka/internal/connection"
	"github.com/switchyard-dev/switchyard/backends/kafka/kafkaharness"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/testservers"
)

// quiet is for handles that meet what tests do to them.
func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// place is where a test's stores live.
type place struct {
	brokers []string
	store   string
}

func newPlace(t *testing.T, server *testservers.Kafka) place {
	t.Helper()
	p := place{brokers: server.Addresses(), store: server.Name()}
	t.Cleanup(func() { _ = kafkaharness.Remove(context.Background(), p.brokers, p.store, nil) })
	return p
}

func (p place) open(t *testing.T, opts kafka.Options) (*kafka.Backend, *eventstore.Store) {
	t.Helper()
	if opts.Logger == nil {
		opts.Logger = quiet()
	}
	backend, err := kafka.Open(t.Context(), p.brokers, p.store, &opts)
	require.NoError(t, err)
	store, err := eventstore.New(backend, &eventstore.Options{Logger: quiet(), RetryFor: 200 * time.Millisecond})
	require.NoError(t, err)
	t.Cleanup(func() { _ = store.Close() })
	return backend, store
}

// client works on the topics beside the stores.
func (p place) client(t *testing.T) *connection.Connection {
	t.Helper()
	c := connection.New(p.brokers, []string{p.topic()}, nil)
	t.Cleanup(c.Close)
	return c
}

func (p place) topic() string { return p.store + ".events" }

func happened() eventstore.Event { return eventstore.Event{Type: "Happened", Data: []byte("{}")} }

func appendTo(t *testing.T, store *eventstore.Store, stream string, n int) {
	t.Helper()
	for range n {
		_, err := store.Append(t.Context(), stream, eventstore.Any(), happened())
		require.NoError(t, err)
	}
}

func TestCloseLeavesNothingBehind(t *testing.T) {
	p := newPlace(t, broker.Server(t))
	_, warm := p.open(t, kafka.Options{})
	require.NoError(t, warm.Close())
	before := runtime.NumGoroutine()
	for range 3 {
		_, store := p.open(t, kafka.Options{})
		var working sync.WaitGroup
		for i := range 8 {
			working.Go(func() {
				for range 5 {
					if _, err := store.Append(t.Context(), fmt.Sprint("s-", i), eventstore.Any(), happened()); err != nil {
						t.Error(err)
					}
				}
			})
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		for _, err := range store.Subscribe(ctx, eventstore.SubscribeOptions{}) {
			if err != nil {
				require.ErrorIs(t, err, context.DeadlineExceeded)
			}
		}
		cancel()
		working.Wait()
		require.NoError(t, store.DeleteCheckpoint(t.Context(), "nobody"))
		require.NoError(t, store.Close())
		require.NoError(t, store.Close())
	}
	require.Eventually(t, func() bool { return runtime.NumGoroutine() <= before+1 }, 10*time.Second, 10*time.Millisecond)
}

func TestProcessesThatMakeAStoreAtOnceMakeOne(t *testing.T) {
	server := broker.Server(t)
	for range 20 {
		p := newPlace(t, server)
		ids := make([]uuid.UUID, 4)
		var opening sync.WaitGroup
		for i := range ids {
			opening.Go(func() {
				backend, err := kafka.Open(t.Context(), p.brokers, p.store, &kafka.Options{Logger: quiet()})
				if err != nil {
					t.Error(err)
					return
				}
				ids[i] = backend.ID()
				_ = backend.Close()
			})
		}
		opening.Wait()
		for _, id := range ids {
			require.Equal(t, ids[0], id)
			require.NotZero(t, id)
		}
	}
}

func TestCopiesThatLandLateChangeNothing(t *testing.T) {
	p := newPlace(t, broker.Server(t))
	_, store := p.open(t, kafka.Options{})
	event := happened()
	event.ID = uuid.New()
	_, err := store.Append(t.Context(), "s", eventstore.NoStream(), event)
	require.NoError(t, err)
	// Races, so that the log has refused records too.
	var racing sync.WaitGroup
	_, other := p.open(t, kafka.Options{})
	for i := range 60 {
		racing.Go(func() {
			_, err := []*eventstore.Store{store, other}[i%2].Append(t.Context(), "s", eventstore.Exactly(1), happened())
			if err != nil && !errors.Is(err, eventstore.ErrConflict) {
				t.Error(err)
			}
		})
	}
	racing.Wait()
	before, err := store.Info(t.Context())
	require.NoError(t, err)
	c := p.client(t)
	fetched, err := c.Fetch(t.Context(), p.topic(), 0, connection.FetchOptions{MaxBytes: 1 << 20, Wait: time.Second})
	require.NoError(t, err)
	records := fetched.Records
	for n := range records {
		records[n].Offset = 0
	}
	_, err = c.Produce(t.Context(), p.topic(), records)
	require.NoError(t, err)
	after, err := store.Info(t.Context())
	require.NoError(t, err)
	require.Equal(t, before, after)
	result, err := other.Append(t.Context(), "s", eventstore.Any(), event)
	require.NoError(t, err)
	require.True(t, result.Duplicate)
	require.EqualValues(t, 1, result.Version)
}

func TestForeignRecordsAreIgnoredAndANewerFormatEndsTheUseOfALog(t *testing.T) {
	p := newPlace(t, broker.Server(t))
	logger, told := logged()
	backend, store := p.open(t, kafka.Options{Logger: logger})
	appendTo(t, store, "s", 2)
	c := p.client(t)
	frame := fold.Seal(uuid.New(), time.Now(), 0, "x")
	_, err := c.Produce(t.Context(), p.topic(), []connection.Record{{Value: []byte("foreign")}, {Key: []byte("k")}, {Value: frame[:len(frame)-2]}, {Value: fold.Genesis(uuid.New(), uuid.New())}})
	require.NoError(t, err)
	appendTo(t, store, "s", 2)
	version, err := store.StreamVersion(t.Context(), "s")
	require.NoError(t, err)
	require.EqualValues(t, 4, version)
	require.Eventually(t, func() bool { return strings.Contains(told.String(), "not this store's") }, 10*time.Second, 10*time.Millisecond)

	newer := bytes.Clone(frame)
	newer[1] = 2
	_, err = c.Produce(t.Context(), p.topic(), []connection.Record{{Value: withSum(newer)}})
	require.NoError(t, err)
	require.Eventually(t, func() bool { return backend.Halted() != nil }, 10*time.Second, 10*time.Millisecond)
	_, err = store.Append(t.Context(), "s", eventstore.Any(), happened())
	requireNoSentinel(t, err)
	require.ErrorContains(t, err, "upgrade this program")
	require.ErrorAs(t, err, new(*fold.NewerError))
	_, err = store.StreamVersion(t.Context(), "s")
	require.ErrorContains(t, err, "upgrade this program")
	_, err = kafka.Open(t.Context(), p.brokers, p.store, &kafka.Options{Logger: quiet()})
	require.ErrorContains(t, err, "upgrade this program")
}

// lockedWriter is a buffer for several goroutines.
type lockedWriter struct {
	mu sync.Mutex
	w  bytes.Buffer
}

func (l *lockedWriter) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

// String is what was written.
func (l *lockedWriter) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.String()
}

// requireNoSentinel asks for an error that does not pass by waiting, and blames nobody.
func requireNoSentinel(t *testing.T, err error) {
	t.Helper()
	require.Error(t, err)
	for _, sentinel := range []error{
		eventstore.ErrInvalid, eventstore.ErrUnavailable, eventstore.ErrUnknownOutcome, eventstore.ErrConflict, eventstore.ErrClosed,
		context.DeadlineExceeded, context.Canceled,
	} {
		require.NotErrorIs(t, err, sentinel)
	}
}

func TestAStoreThatIsReplacedUnderOpenHandlesIsNoticed(t *testing.T) {
	for name, refill := range map[string]int{"by a shorter one": 2, "by a longer one": 40} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t, broker.Server(t))
			backend, store := p.open(t, kafka.Options{})
			appendTo(t, store, "s", 10)
			require.NoError(t, kafkaharness.Remove(t.Context(), p.brokers, p.store, nil))
			var other *kafka.Backend
			require.Eventually(t, func() (ok bool) { // the deletion takes a moment
				var err error
				other, err = kafka.Open(t.Context(), p.brokers, p.store, &kafka.Options{Logger: quiet()})
				return err == nil && other.ID() != backend.ID()
			}, 20*time.Second, 100*time.Millisecond)
			another, err := eventstore.New(other, nil)
			require.NoError(t, err)
			t.Cleanup(func() { _ = another.Close() })
			appendTo(t, another, "other", refill)
			unknown := 0
			require.Eventually(t, func() bool {
				_, err := store.Append(t.Context(), "s", eventstore.Any(), happened())
				require.Error(t, err, "nothing is acknowledged by another store")
				if errors.Is(err, eventstore.ErrUnknownOutcome) {
					unknown++ // sent before the old store was missed
				}
				return backend.Halted() != nil
			}, 20*time.Second, 100*time.Millisecond)
			_, err = store.StreamVersion(t.Context(), "s")
			requireNoSentinel(t, err)
			version, err := another.StreamVersion(t.Context(), "s")
			require.NoError(t, err)
			require.LessOrEqual(t, version, uint64(unknown), "whatever was refused is not there")
		})
	}
}

func TestSettingsThatWouldLoseEventsEndTheUseOfALog(t *testing.T) {
	for setting, value := range map[string]string{"retention.ms": "60000", "cleanup.policy": "compact", "unclean.leader.election.enable": "true"} {
		t.Run(setting, func(t *testing.T) {
			p := newPlace(t, broker.Server(t))
			backend, store := p.open(t, kafka.Options{})
			appendTo(t, store, "s", 2)
			c := p.client(t)
			altered, err := c.Client.IncrementalAlterConfigs(t.Context(), &kafkago.IncrementalAlterConfigsRequest{Resources: []kafkago.IncrementalAlterConfigsRequestResource{{
				ResourceType: kafkago.ResourceTypeTopic, ResourceName: p.topic(),
				Configs: []kafkago.IncrementalAlterConfigsRequestConfig{{Name: setting, Value: value, ConfigOperation: kafkago.ConfigOperationSet}},
			}}})
			require.NoError(t, err)
			for _, resource := range altered.Resources {
				require.NoError(t, resource.Error)
			}
			require.Eventually(t, func() bool {
				backend.Recheck()
				return backend.Halted() != nil
			}, 20*time.Second, 100*time.Millisecond)
			_, err = store.Append(t.Context(), "s", eventstore.Any(), happened())
			requireNoSentinel(t, err)
			require.ErrorContains(t, err, setting)
			_, err = kafka.Open(t.Context(), p.brokers, p.store, &kafka.Options{Logger: quiet()})
			require.ErrorIs(t, err, eventstore.ErrInvalid)
			require.ErrorContains(t, err, setting)
		})
	}
}

// Retention that somebody turned on and off again leaves such a log.
func TestALogWhoseBeginningWasDeletedIsNotUsed(t *testing.T) {
	p := newPlace(t, broker.Server(t))
	backend, store := p.open(t, kafka.Options{})
	appendTo(t, store, "s", 5)
	client, err := kgo.NewClient(kgo.SeedBrokers(p.brokers...))
	require.NoError(t, err)
	defer client.Close()
	partition := kmsg.NewDeleteRecordsRequestTopicPartition()
	partition.Offset = 3
	topic := kmsg.NewDeleteRecordsRequestTopic()
	topic.Topic, topic.Partitions = p.topic(), append(topic.Partitions, partition)
	request := kmsg.NewDeleteRecordsRequest()
	request.TimeoutMillis, request.Topics = 5000, append(request.Topics, topic)
	deleted, err := request.RequestWith(t.Context(), client)
	require.NoError(t, err)
	require.Zero(t, deleted.Topics[0].Partitions[0].ErrorCode)
	backend.Recheck()
	_, err = store.StreamVersion(t.Context(), "s")
	requireNoSentinel(t, err)
	require.ErrorContains(t, err, "the first 3 records were deleted")
	_, err = kafka.Open(t.Context(), p.brokers, p.store, &kafka.Options{Logger: quiet()})
	require.ErrorIs(t, err, eventstore.ErrInvalid)
	require.ErrorContains(t, err, "the first 3 records were deleted")
}

func TestATopicOfCheckpointsThatWouldLoseThemIsNotUsed(t *testing.T) {
	p := newPlace(t, broker.Server(t))
	topic := p.store + ".checkpoints"
	c := connection.New(p.brokers, []string{topic}, nil)
	t.Cleanup(c.Close)
	require.NoError(t, c.Create(t.Context(), topic, connection.CreateOptions{})) // a log
	_, store := p.open(t, kafka.Options{})
	_, _, err := store.LoadCheckpoint(t.Context(), "n")
	requireNoSentinel(t, err)
	require.ErrorContains(t, err, "cleanup.policy of topic "+topic)
	require.ErrorContains(t, err, "set it to compact")
	appendTo(t, store, "s", 1) // the log is not concerned
}

func TestBrokersThatDoNotAnswerAreUnavailable(t *testing.T) {
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := listener.Addr().String()
	require.NoError(t, listener.Close())
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	before := runtime.NumGoroutine()
	_, err = kafka.Open(ctx, []string{address}, "shop", nil)
	require.True(t, errors.Is(err, eventstore.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded), "%v", err)
	require.Eventually(t, func() bool { return runtime.NumGoroutine() <= before+1 }, 10*time.Second, 10*time.Millisecond)
	for _, brokers := range [][]string{nil, {""}, {"host"}, {"host:"}} {
		_, err = kafka.Open(t.Context(), brokers, "shop", nil)
		require.ErrorIs(t, err, eventstore.ErrInvalid)
	}
	_, err = kafka.Open(t.Context(), []string{address}, "no/name", nil)
	require.ErrorIs(t, err, eventstore.ErrInvalid)
}

// An owner renews its lease while another takes it: they may both hear that they have
// it, but not at the same time.
func TestNobodyTakesALeaseWhileItsOwnerThinksThatItHasIt(t *testing.T) {
	p := newPlace(t, broker.Server(t))
	one, _ := p.open(t, kafka.Options{})
	two, _ := p.open(t, kafka.Options{})
	const ttl = 300 * time.Millisecond
	both, renewals, takes := 0, 0, 0
	for round := range 30 {
		name := fmt.Sprint("billing-", round)
		mine := eventstore.Lease{Name: name, Epoch: 1, Owner: "one", TTL: ttl}
		result, err := one.Records().Checkpoints.SwapLease(t.Context(), eventstore.SwapLeaseRequest{Name: name, New: mine})
		require.NoError(t, err)
		require.True(t, result.Swapped)
		renewed, taken := mine, eventstore.Lease{Name: name, Epoch: 2, Owner: "two", TTL: ttl}
		renewed.Renewals = 1
		var until, since time.Time // when the owner stops, and when the next one begins
		var racing sync.WaitGroup
		racing.Go(func() {
			asked := time.Now()
			result, err := one.Records().Checkpoints.SwapLease(t.Context(), eventstore.SwapLeaseRequest{Name: name, Old: mine, New: renewed})
			if err == nil && result.Swapped {
				until = asked.Add(ttl)
			}
		})
		racing.Go(func() {
			result, err := two.Records().Checkpoints.SwapLease(t.Context(), eventstore.SwapLeaseRequest{Name: name, Old: mine, New: taken})
			if err == nil && result.Swapped {
				since = time.Now()
			}
		})
		racing.Wait()
		switch {
		case !until.IsZero() && !since.IsZero():
			both++
			require.False(t, since.Before(until), "two owners for %s", until.Sub(since))
		case !until.IsZero():
			renewals++
		case !since.IsZero():
			takes++
		default:
			t.Log("neither")
		}
	}
	t.Logf("%d renewed, %d taken, %d renewed and then taken", renewals, takes, both)
}

// withSum puts a frame's checksum right.
func withSum(frame []byte) []byte {
	end := len(frame) - 4
	return binary.BigEndian.AppendUint32(frame[:end:end], crc32.Checksum(frame[:end], crc32.MakeTable(crc32.Castagnoli)))
}

// What is doubted is looked at between two requests for new records.
func TestADoubtedLogIsReadAgainSoonHoweverSeldomItsHandleLooks(t *testing.T) {
	p := newPlace(t, broker.Server(t))
	_, writer := p.open(t, kafka.Options{})
	seldom, store := p.open(t, kafka.Options{Poll: time.Hour})
	appendTo(t, writer, "s", 1)
	require.Eventually(t, func() bool {
		_, _, counts := seldom.Folded()
		return counts.Events == 1
	}, 10*time.Second, time.Millisecond, "its next request has begun")
	seldom.Recheck()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	version, err := store.StreamVersion(ctx, "s")
	require.NoError(t, err)
	require.EqualValues(t, 1, version)
}

// A store is restored from a backup, and written to: it begins with the same records.
func TestALogThatEndsWithAnotherRecordIsNoticed(t *testing.T) {
	_, p := newDouble(t, 1)
	backend, store := p.open(t, kafka.Options{})
	appendTo(t, store, "s", 2)
	backend.Recheck()
	_, err := store.Info(t.Context())
	require.NoError(t, err)
	backend.ForgeLast()
	backend.Recheck()
	_, err = store.Info(t.Context())
	requireNoSentinel(t, err)
	require.ErrorContains(t, err, "another record is there now")
}
