package relay_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/relaytest"
	"github.com/switchyard-dev/switchyard/relay"
)

// broker is a double of a receiver. It keeps what arrives, and fails as it is told.
type broker struct {
	mu    sync.Mutex
	calls int
	// fault decides on a call: how many of its events still arrive, and with what
	// error it ends. nil is none.
	fault    func(call int, events []relay.CloudEvent) (arrive int, err error)
	received []relay.CloudEvent
}

func (b *broker) Publish(_ context.Context, events []relay.CloudEvent) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls++
	if b.fault != nil {
		arrive, err := b.fault(b.calls, events)
		if err != nil {
			b.received = append(b.received, events[:arrive]...)
			return err
		}
	}
	b.received = append(b.received, events...)
	return nil
}

func (b *broker) deliveries() []relaytest.Delivery {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []relaytest.Delivery
	for _, event := range b.received {
		d := relaytest.Delivery{Attributes: make(map[string]string), Data: event.Data, Key: event.Extensions[relay.PartitionKey]}
		for name, value := range event.Attributes() {
			d.Attributes[name] = value
		}
		all = append(all, d)
	}
	return all
}

func newStore(t *testing.T) *eventstore.Store {
	t.Helper()
	store, err := eventstore.New(memory.New(), nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	return store
}

// fill appends events to a few streams by turns. The first events of all streams
// have one ID, which is unique in each stream, as it must be.
func fill(t *testing.T, store *eventstore.Store, streams, each int) []eventstore.RecordedEvent {
	t.Helper()
	shared := uuid.Must(uuid.NewV7())
	var log []eventstore.RecordedEvent
	for i := range each {
		for s := range streams {
			event := eventstore.Event{Type: "Counted", Data: fmt.Appendf(nil, `{"n":%d}`, i)}
			if i == 0 {
				event.ID = shared
			}
			result, err := store.Append(t.Context(), fmt.Sprintf("counter-%d", s), eventstore.Any(), event)
			require.NoError(t, err)
			log = append(log, result.Events...)
		}
	}
	return log
}

func asItIs(_ context.Context, e eventstore.RecordedEvent) ([]relay.CloudEvent, error) {
	return []relay.CloudEvent{relay.FromEvent(source, e)}, nil
}

// caughtUp runs a subscription to the head, with quick retries.
func caughtUp(t *testing.T, store *eventstore.Store, sub eventstore.Subscription) error {
	t.Helper()
	sub.UntilCaughtUp = true
	sub.Retry.Pause = time.Millisecond
	return store.Run(t.Context(), sub)
}

// losing returns a fault that loses the answers of a few calls: of the first three with
// several events, after half of them have arrived, and of some with one, which has not.
func losing() func(call int, events []relay.CloudEvent) (int, error) {
	several := 0
	return func(call int, events []relay.CloudEvent) (int, error) {
		lost := slices.Contains([]int{1, 2, 5, 9, 20, 40}, call)
		if len(events) > 1 {
			several++
			lost = several <= 3
		}
		if lost {
			return len(events) / 2, fmt.Errorf("%w: the answer is lost", eventstore.ErrUnavailable)
		}
		return 0, nil
	}
}

func TestAConsumerThatPassesOverWhatItHasSeenHasEveryEventOnce(t *testing.T) {
	store, b := newStore(t), &broker{fault: losing()}
	log := fill(t, store, 3, 20)
	require.NoError(t, caughtUp(t, store, relay.New("r", b, asItIs)))
	require.Greater(t, len(b.deliveries()), len(log), "some came again")
	require.NoError(t, relaytest.Check(b.deliveries(), log))

	// It goes on where it was.
	log = append(log, fill(t, store, 3, 1)...)
	before := len(b.deliveries())
	b.fault = nil
	require.NoError(t, caughtUp(t, store, relay.New("r", b, asItIs)))
	require.Len(t, b.deliveries(), before+3)
	require.NoError(t, relaytest.Check(b.deliveries(), log))

	// And once more from the beginning, without harm.
	require.NoError(t, store.DeleteCheckpoint(t.Context(), "r"))
	require.NoError(t, caughtUp(t, store, relay.New("r", b, asItIs)))
	require.NoError(t, relaytest.Check(b.deliveries(), log))
}

// overtaking is a publisher that sends what follows something that has failed.
type overtaking struct{ to relay.Publisher }

func (o overtaking) Publish(ctx context.Context, events []relay.CloudEvent) error {
	var failed error
	for i := range events {
		if err := o.to.Publish(ctx, events[i:i+1]); err != nil && failed == nil {
			failed = err
		}
	}
	return failed
}

// inOrder is the same without the fault: the control of its test.
type inOrder struct{ to relay.Publisher }

func (o inOrder) Publish(ctx context.Context, events []relay.CloudEvent) error {
	for i := range events {
		if err := o.to.Publish(ctx, events[i:i+1]); err != nil {
			return err
		}
	}
	return nil
}

// Each of these relays is wrong, and a consumer that does as it is told notices.
func TestRelaysThatAreWrongAreNoticed(t *testing.T) {
	change := func(alter func(*relay.CloudEvent)) relay.Translation {
		return func(ctx context.Context, e eventstore.RecordedEvent) ([]relay.CloudEvent, error) {
			events, err := asItIs(ctx, e)
			alter(&events[0])
			return events, err
		}
	}
	unchanged := func(p relay.Publisher) relay.Publisher { return p }
	for name, wrong := range map[string]struct {
		translate relay.Translation
		publisher func(relay.Publisher) relay.Publisher
		want      string // nothing: it is right
	}{
		"as it is":                            {asItIs, unchanged, ""},
		"event by event":                      {asItIs, func(p relay.Publisher) relay.Publisher { return inOrder{p} }, ""},
		"it drops the source's stream":        {change(func(c *relay.CloudEvent) { c.Source = source }), unchanged, "came again as another one"},
		"it makes a new ID for each sending":  {change(func(c *relay.CloudEvent) { c.ID = uuid.NewString() }), unchanged, "came before version"},
		"it overtakes what has to come again": {asItIs, func(p relay.Publisher) relay.Publisher { return overtaking{p} }, "came before version"},
		"it leaves out":                       {change(func(c *relay.CloudEvent) { c.ID = "1" }), unchanged, "came again as another one"},
	} {
		t.Run(name, func(t *testing.T) {
			store, b := newStore(t), &broker{fault: losing()}
			log := fill(t, store, 2, 50)
			require.NoError(t, caughtUp(t, store, relay.New("r", wrong.publisher(b), wrong.translate)))
			err := relaytest.Check(b.deliveries(), log)
			if wrong.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, wrong.want)
		})
	}
}

func TestWithoutTranslationOrPublisherNothingIsRelayed(t *testing.T) {
	store := newStore(t)
	for _, sub := range []eventstore.Subscription{relay.New("r", nil, asItIs), relay.New("r", &broker{}, nil)} {
		require.ErrorIs(t, store.Run(t.Context(), sub), eventstore.ErrInvalid)
	}
}

func TestWhatIsUnavailableIsWaitedForAndCountsAgainstNoEvent(t *testing.T) {
	store := newStore(t)
	b := &broker{fault: func(call int, _ []relay.CloudEvent) (int, error) {
		if call <= 5 {
			return 0, fmt.Errorf("broker away: %w", eventstore.ErrUnavailable)
		}
		return 0, nil
	}}
	log := fill(t, store, 2, 3)
	sub := relay.New("r", b, asItIs)
	sub.Retry.Attempts = 1
	require.NoError(t, caughtUp(t, store, sub))
	require.NoError(t, relaytest.Check(b.deliveries(), log))
}

func TestARefusedEventIsItsOwnFailure(t *testing.T) {
	refused := errors.New("too large")
	refuse := func(_ int, events []relay.CloudEvent) (int, error) {
		for i, event := range events {
			if event.Extensions[relay.Version] == "2" && event.Subject == "counter-1" {
				return i, refused
			}
		}
		return 0, nil
	}
	t.Run("the relay stops and names it", func(t *testing.T) {
		store, b := newStore(t), &broker{fault: refuse}
		fill(t, store, 2, 4)
		sub := relay.New("r", b, asItIs)
		sub.Retry.Attempts = 2
		err := caughtUp(t, store, sub)
		var failure *eventstore.HandlerError
		require.ErrorAs(t, err, &failure)
		require.ErrorIs(t, err, refused)
		require.Equal(t, "counter-1", failure.Stream)
		require.EqualValues(t, 2, failure.Version)
		require.Len(t, relaytest.Distinct(b.deliveries()), 3, "what lies before it is published")
	})
	t.Run("it is parked and its neighbours are published", func(t *testing.T) {
		store, b := newStore(t), &broker{fault: refuse}
		log := fill(t, store, 2, 4)
		sub := relay.New("r", b, asItIs)
		sub.Retry.Attempts, sub.ParkStream = 2, "relay-parked"
		require.NoError(t, caughtUp(t, store, sub))
		require.Len(t, relaytest.Distinct(b.deliveries()), len(log)-1)
		parked := 0
		for event, err := range store.ReadStream(t.Context(), "relay-parked", eventstore.ReadOptions{}) {
			require.NoError(t, err)
			require.Equal(t, eventstore.ParkedType, event.Type)
			require.Contains(t, string(event.Data), "too large")
			parked++
		}
		require.Equal(t, 1, parked)
	})
}

func TestATranslationChoosesWhatLeaves(t *testing.T) {
	store, b := newStore(t), &broker{}
	fill(t, store, 2, 2)
	shared := map[string]string{"note": "x"}
	sub := relay.New("r", b, func(_ context.Context, e eventstore.RecordedEvent) ([]relay.CloudEvent, error) {
		if e.Stream == "counter-0" {
			return nil, nil
		}
		id := e.ID.String()
		return []relay.CloudEvent{
			{ID: id + "/a", Source: "/counters", Type: "a"},
			{ID: id + "/b", Source: "/counters", Type: "b", Extensions: shared},
			{ID: id + "/b", Source: "/others", Type: "b", Extensions: map[string]string{relay.PartitionKey: "mine"}},
		}, nil
	})
	require.NoError(t, caughtUp(t, store, sub))
	require.Len(t, b.received, 6)
	var keys []string
	for _, event := range b.received[:3] {
		keys = append(keys, event.Extensions[relay.PartitionKey])
	}
	require.Equal(t, []string{"counter-1", "counter-1", "mine"}, keys)
	require.Equal(t, map[string]string{"note": "x"}, shared, "what the translation holds is left alone")
}

func TestATranslationThatFailsIsItsEventsFailure(t *testing.T) {
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		make func(relay.CloudEvent) ([]relay.CloudEvent, error)
		want string
		is   error
	}{
		"an error":            {func(relay.CloudEvent) ([]relay.CloudEvent, error) { return nil, broken }, "translate event", broken},
		"what is not allowed": {func(c relay.CloudEvent) ([]relay.CloudEvent, error) { c.Type = ""; return []relay.CloudEvent{c}, nil }, "CloudEvent's type", eventstore.ErrInvalid},
		"one ID for two":      {func(c relay.CloudEvent) ([]relay.CloudEvent, error) { return []relay.CloudEvent{c, c}, nil }, "consumers would drop one", eventstore.ErrInvalid},
		"a panic":             {func(relay.CloudEvent) ([]relay.CloudEvent, error) { panic("oh") }, "oh", nil},
		"an extension that is none": {func(c relay.CloudEvent) ([]relay.CloudEvent, error) {
			c.Extensions["A"] = ""
			return []relay.CloudEvent{c}, nil
		}, "lower-case", eventstore.ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			store, b := newStore(t), &broker{}
			fill(t, store, 1, 3)
			sub := relay.New("r", b, func(_ context.Context, e eventstore.RecordedEvent) ([]relay.CloudEvent, error) {
				if e.Version == 2 {
					return c.make(relay.FromEvent(source, e))
				}
				return []relay.CloudEvent{relay.FromEvent(source, e)}, nil
			})
			sub.Retry.Attempts = 1
			err := caughtUp(t, store, sub)
			var failure *eventstore.HandlerError
			require.ErrorAs(t, err, &failure)
			require.EqualValues(t, 2, failure.Version)
			require.ErrorContains(t, err, c.want)
			if c.is != nil {
				require.ErrorIs(t, err, c.is)
			}
			require.Len(t, b.deliveries(), 1)
		})
	}
}
