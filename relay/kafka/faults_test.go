package kafka

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/relaytest"
	"github.com/switchyard-dev/switchyard/internal/testservers"
	"github.com/switchyard-dev/switchyard/relay"
)

// counted counts the calls that failed.
type counted struct {
	relay.Publisher
	failed atomic.Int32
	other  atomic.Int32 // with an error that is counted against events
}

func (c *counted) Publish(ctx context.Context, events []relay.CloudEvent) error {
	err := c.Publisher.Publish(ctx, events)
	switch {
	case err == nil || ctx.Err() != nil:
	default:
		c.failed.Add(1)
		if !errors.Is(err, eventstore.ErrUnavailable) {
			c.other.Add(1)
		}
	}
	return err
}

func TestABrokerThatIsAwayIsWaitedFor(t *testing.T) {
	k := testservers.PrivateKafka(t, testservers.KafkaOptions{})
	topic, p := open(t, k, 2, nil, nil)
	publisher := &counted{Publisher: p}
	store := newStore(t)
	log := fill(t, store, 3, 5, 10)
	sub := relay.New("r", publisher, asItIs)
	sub.Retry.Attempts = 1
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- store.Run(ctx, sub) }()
	topic.Await(t, len(log))

	for name, away := range map[string]struct{ leave, comeBack func() error }{
		"killed": {func() error { return k.Kill(1) }, func() error { return k.Start(t.Context(), 1) }},
		"frozen": {func() error { return k.Pause(1) }, func() error { return k.Resume(1) }},
	} {
		require.NoError(t, away.leave(), name)
		before := publisher.failed.Load()
		log = append(log, fill(t, store, 3, 5, 10)...)
		require.Eventually(t, func() bool { return publisher.failed.Load() > before }, time.Minute, 10*time.Millisecond, name)
		require.Empty(t, ended, "%s: the relay waits", name)
		require.NoError(t, away.comeBack(), name)
		require.NoError(t, relaytest.Check(topic.Await(t, len(log)), log), name)
	}
	require.Zero(t, publisher.other.Load(), "nothing was counted against an event")
	require.Eventually(t, func() bool { // the broker has the records before the relay has its answer
		checkpoint, found, err := store.LoadCheckpoint(t.Context(), "r")
		return err == nil && found && checkpoint.Place.Position == log[len(log)-1].Position
	}, time.Minute, 10*time.Millisecond)
	stop()
	require.NoError(t, <-ended)
}
