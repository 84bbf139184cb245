package kafka

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/segmentio/kafka-go"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/relaytest"
	"github.com/switchyard-dev/switchyard/relay"
)

var update = flag.Bool("update", false, "write the golden file anew: consumers see every change of it")

func TestAnOrdinaryConsumerReadsWhatIsStored(t *testing.T) {
	for name, opts := range map[string]*Options{
		"binary":                 nil,
		"structured":             {Structured: true},
		"compressed":             {Compression: kafka.Zstd},
		"one event a request":    {MaxBatchBytes: 1},
		"structured and by lz4":  {Structured: true, Compression: kafka.Lz4},
		"several events at once": {MaxBatchBytes: 2000},
	} {
		t.Run(name, func(t *testing.T) {
			topic, p := open(t, server.Server(t), 3, nil, opts)
			store := newStore(t)
			log := fill(t, store, 7, 5, 20)
			for _, event := range []eventstore.Event{
				{Type: "Typ é", ContentType: "text/plain", Data: []byte("a\nb \u202e"), Metadata: map[string]string{"$correlationId": "c", "traceparent": "00-1"}},
				{Type: "B", ContentType: "application/octet-stream", Data: []byte{0, 0xff}},
				{Type: "N", ContentType: "text/plain"},
				{Type: "J", Data: []byte(`{ "a" : 1.00 }`)},
			} {
				result, err := store.Append(t.Context(), "ödd/stream #1", eventstore.Any(), event)
				require.NoError(t, err)
				log = append(log, result.Events...)
			}
			require.NoError(t, caughtUp(t, store, relay.New("r", p, asItIs)))
			got := topic.Await(t, len(log))
			require.Equal(t, len(log), len(got), "nothing came twice") //nolint:testifylint // Len would print all
			require.NoError(t, relaytest.Check(got, log))
			lanes := make(map[int]bool)
			for _, d := range got {
				require.Equal(t, d.Attributes["subject"], d.Key)
				require.Equal(t, "1.0", d.Attributes["specversion"])
				lanes[d.Lane] = true
				for i, event := range log {
					if event.Stream == d.Attributes["subject"] && fmt.Sprint(event.Version) == d.Attributes["version"] {
						want := maps.Collect(relay.FromEvent(source, log[i]).Attributes())
						require.Equal(t, want, d.Attributes)
					}
				}
			}
			require.Len(t, lanes, 3, "streams are spread")
		})
	}
}

func TestTheBytesOfRecordsStayAsTheyAre(t *testing.T) {
	event := eventstore.RecordedEvent{
		Event: eventstore.Event{
			ID: uuid.MustParse("01890a5d-ac96-774b-bcce-b302099a8057"), Type: "OrderPaid", ContentType: "application/json", Data: []byte(`{ "cents": 1299 }`),
			Metadata: map[string]string{"$correlationId": "c-1", "$causationId": "c-2", "$schemaVersion": "3", "k": "a\nb", "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
		},
		Stream: "order é-42", Version: 12, Position: eventstore.NewPosition(77, 0), RecordedAt: time.Date(2026, 1, 2, 3, 4, 5, 600, time.UTC),
	}
	var got strings.Builder
	for _, structured := range []bool{false, true} {
		r := newRecord(relay.FromEvent(source, event), structured)
		fmt.Fprintf(&got, "structured=%t\nkey: %s\n", structured, r.key)
		for _, header := range r.headers {
			fmt.Fprintf(&got, "%s: %s\n", header.Key, header.Value)
		}
		fmt.Fprintf(&got, "\n%s\n\n", r.value)
	}
	golden := filepath.Join("testdata", "records.txt")
	if *update {
		require.NoError(t, os.WriteFile(golden, []byte(got.String()), 0o600))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), got.String())
}

// The partitions are those of Kafka's own clients, so that what other programs key
// alike lies together. The numbers are of the Java client's Utils.murmur2.
func TestPartitionsAreThoseOfKafkasOwnClients(t *testing.T) {
	hashes := map[string]int32{"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536, "a-little-bit-longer-string": -1486304829, "abc": 479470107}
	partitions := make([]int, 1000)
	for i := range partitions {
		partitions[i] = i
	}
	for key, hash := range hashes {
		require.Equal(t, int(hash&0x7fffffff)%1000, partitionOf([]byte(key), partitions), key)
	}
	require.Less(t, partitionOf(nil, partitions), 1000)
}

func TestAnEventWithoutAKeyIsKeyedByItsSource(t *testing.T) {
	r := newRecord(relay.CloudEvent{ID: "1", Source: "/shop", Type: "T"}, false)
	require.Equal(t, "/shop", string(r.key))
	require.Nil(t, r.value, "no data is no value, as the binding has it")
	require.NotNil(t, newRecord(relay.FromEvent(source, eventstore.RecordedEvent{}), false).value, "no bytes are no tombstone")
}

func TestWhatATopicFindsTooLargeTogetherGoesInHalves(t *testing.T) {
	topic, p := open(t, server.Server(t), 2, map[string]string{"max.message.bytes": "4000"}, nil)
	store := newStore(t)
	log := fill(t, store, 3, 10, 1000)
	var events []relay.CloudEvent
	for _, event := range log {
		events = append(events, relay.FromEvent(source, event))
	}
	require.NoError(t, p.Publish(t.Context(), events))
	got := topic.Await(t, len(log))
	require.Equal(t, len(log), len(got), "nothing came twice") //nolint:testifylint // Len would print all
	require.NoError(t, relaytest.Check(got, log))
}

func TestAnEventThatIsTooLargeIsItsOwnFailure(t *testing.T) {
	fillWithALargeOne := func(t *testing.T) (*eventstore.Store, []eventstore.RecordedEvent) {
		store := newStore(t)
		log := fill(t, store, 2, 3, 100)
		_, err := store.Append(t.Context(), "counter-1", eventstore.Any(), eventstore.Event{Type: "Large", Data: fmt.Appendf(nil, `"%05000d"`, 1)})
		require.NoError(t, err)
		for range 3 {
			result, err := store.Append(t.Context(), "counter-0", eventstore.Any(), eventstore.Event{Type: "Counted", Data: []byte("1")})
			require.NoError(t, err)
			log = append(log, result.Events...)
		}
		return store, log
	}
	t.Run("the relay stops and says what would help", func(t *testing.T) {
		topic, p := open(t, server.Server(t), 2, map[string]string{"max.message.bytes": "4000"}, nil)
		store, log := fillWithALargeOne(t)
		sub := relay.New("r", p, asItIs)
		sub.Retry.Attempts = 2
		err := caughtUp(t, store, sub)
		var failure *eventstore.HandlerError
		require.ErrorAs(t, err, &failure)
		require.EqualValues(t, 4, failure.Version)
		require.Equal(t, 2, failure.Attempts)
		require.NotErrorIs(t, err, eventstore.ErrUnavailable)
		require.ErrorIs(t, err, kafka.MessageSizeTooLarge)
		require.ErrorContains(t, err, "raise max.message.bytes")
		require.GreaterOrEqual(t, len(topic.Await(t, len(log)-3)), len(log)-3)
	})
	t.Run("it is parked and the others are published", func(t *testing.T) {
		topic, p := open(t, server.Server(t), 2, map[string]string{"max.message.bytes": "4000"}, nil)
		store, log := fillWithALargeOne(t)
		sub := relay.New("r", p, asItIs)
		sub.Retry.Attempts, sub.ParkStream = 2, "parked"
		require.NoError(t, caughtUp(t, store, sub))
		require.NoError(t, relaytest.Check(topic.Await(t, len(log)), log))
		version, err := store.StreamVersion(t.Context(), "parked")
		require.NoError(t, err)
		require.EqualValues(t, 1, version)
	})
}

// faults lets requests fail as brokers and networks do: before they were written, or
// afterwards, with the answer lost.
func faults(p *Publisher, fault func(call int) (written bool, err error)) {
	produce, calls := p.produce, make(chan int, 1)
	calls <- 0
	p.produce = func(ctx context.Context, partition int, records []record) error {
		call := <-calls + 1
		calls <- call
		written, err := fault(call)
		if written || err == nil {
			if failed := produce(ctx, partition, records); failed != nil {
				return failed
			}
		}
		return err
	}
}

// flaky fails a few requests in the middle of a batch, one way and the other.
func flaky(call int) (bool, error) {
	switch call {
	case 2, 9:
		return false, kafka.NotEnoughReplicas
	case 5, 12:
		return true, kafka.RequestTimedOut
	}
	return false, nil
}

func TestRequestsThatFailMakeRepetitionsAndNothingElse(t *testing.T) {
	topic, p := open(t, server.Server(t), 2, nil, &Options{MaxBatchBytes: 1500})
	faults(p, flaky)
	store := newStore(t)
	log := fill(t, store, 4, 10, 100)
	sub := relay.New("r", p, asItIs)
	sub.Retry.Attempts = 1 // nothing is counted
	require.NoError(t, caughtUp(t, store, sub))
	got := topic.Await(t, len(log))
	require.Greater(t, len(got), len(log), "some came again")
	require.NoError(t, relaytest.Check(got, log))
}

// eachAlone publishes event by event and goes on where one has failed: what comes
// again was overtaken.
type eachAlone struct{ to *Publisher }

func (e eachAlone) Publish(ctx context.Context, events []relay.CloudEvent) error {
	var failed error
	for i := range events {
		if err := e.to.Publish(ctx, events[i:i+1]); err != nil && failed == nil {
			failed = err
		}
	}
	return failed
}

func TestRelaysToATopicThatAreWrongAreNoticed(t *testing.T) {
	change := func(alter func(*relay.CloudEvent)) relay.Translation {
		return func(ctx context.Context, e eventstore.RecordedEvent) ([]relay.CloudEvent, error) {
			events, err := asItIs(ctx, e)
			alter(&events[0])
			return events, err
		}
	}
	for name, wrong := range map[string]struct {
		translate relay.Translation
		publisher func(*Publisher) relay.Publisher
		want      []string
	}{
		"it drops the source's stream":        {change(func(c *relay.CloudEvent) { c.Source = source }), nil, []string{"came again as another one"}},
		"it makes a new ID for each sending":  {change(func(c *relay.CloudEvent) { c.ID = uuid.NewString() }), nil, []string{"came before version", "was delivered as"}},
		"it overtakes what has to come again": {asItIs, func(p *Publisher) relay.Publisher { return eachAlone{p} }, []string{"came before version"}},
		"it spreads a stream over partitions": {change(func(c *relay.CloudEvent) { c.Extensions[relay.PartitionKey] = c.ID }), nil, []string{"is in lanes", "came before version"}},
	} {
		t.Run(name, func(t *testing.T) {
			topic, p := open(t, server.Server(t), 2, nil, &Options{MaxBatchBytes: 1500})
			faults(p, flaky)
			var publisher relay.Publisher = p
			if wrong.publisher != nil {
				publisher = wrong.publisher(p)
			}
			store := newStore(t)
			log := fill(t, store, 4, 10, 100)
			require.NoError(t, caughtUp(t, store, relay.New("r", publisher, wrong.translate)))
			got, err := topic.Records(t.Context())
			require.NoError(t, err)
			err = relaytest.Check(got, log)
			require.Error(t, err)
			require.True(t, slices.ContainsFunc(wrong.want, func(want string) bool { return strings.Contains(err.Error(), want) }), "%v", err)
		})
	}
}

func TestATopicThatCannotBeUsedIsRefusedAtOnce(t *testing.T) {
	k := server.Server(t)
	_, err := Open(t.Context(), k.Addresses(), k.Name(), nil)
	require.ErrorIs(t, err, eventstore.ErrInvalid)
	require.ErrorContains(t, err, "does not exist; create it")
	for _, name := range []string{"", "a b", "a/b", "..", strings.Repeat("x", 250)} {
		_, err = Open(t.Context(), k.Addresses(), name, nil)
		require.ErrorIs(t, err, eventstore.ErrInvalid, "%q", name)
	}
	_, err = Open(t.Context(), nil, "t", nil)
	require.ErrorIs(t, err, eventstore.ErrInvalid)
	_, err = Open(t.Context(), k.Addresses(), "t", &Options{MaxBatchBytes: -1})
	require.ErrorIs(t, err, eventstore.ErrInvalid)
	_, err = Open(t.Context(), []string{"127.0.0.1:1"}, "t", nil)
	require.ErrorIs(t, err, eventstore.ErrUnavailable)
}

func TestAURLNamesATopic(t *testing.T) {
	k := server.Server(t)
	topic := relaytest.CreateTopic(t, k.Addresses(), k.Name(), 1, nil)
	u, err := url.Parse("kafka://" + k.Addresses()[0] + "/" + topic.Name + "?mode=structured&compression=gzip")
	require.NoError(t, err)
	p, err := OpenURL(t.Context(), u)
	require.NoError(t, err)
	require.True(t, p.opts.Structured)
	require.Equal(t, kafka.Gzip, p.opts.Compression)
	require.NoError(t, p.Publish(t.Context(), []relay.CloudEvent{{ID: "1", Source: "/s", Type: "T"}}))
	require.NoError(t, p.Publish(t.Context(), nil))
	require.NoError(t, p.Close())
	require.NoError(t, p.Close())
	require.ErrorIs(t, p.Publish(t.Context(), []relay.CloudEvent{{ID: "1", Source: "/s", Type: "T"}}), eventstore.ErrClosed)
	require.Equal(t, "1", topic.Await(t, 1)[0].Attributes["id"])
	for _, query := range []string{"mode=loud", "compression=best", "topic=x", "mode=binary&mode=structured"} {
		u.RawQuery = query
		_, err := OpenURL(t.Context(), u)
		require.ErrorIs(t, err, eventstore.ErrInvalid, query)
	}
}

func TestPublishEndsWithItsContext(t *testing.T) {
	_, p := open(t, server.Server(t), 1, nil, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := p.Publish(ctx, []relay.CloudEvent{{ID: "1", Source: "/s", Type: "T"}})
	require.ErrorIs(t, err, context.Canceled)
	require.NotErrorIs(t, err, eventstore.ErrUnavailable)
}
