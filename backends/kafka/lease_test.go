package kafka_test

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/kafka"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// Kafka's numbers for requests.
const (
	produceKey     = 0
	listOffsetsKey = 2
)

// requests is a connection that calls a function with the number of each request
// before it is sent, and fails where that does.
type requests struct {
	net.Conn
	before func(key int16) error
	buffer []byte
}

func (r *requests) Write(p []byte) (int, error) {
	r.buffer = append(r.buffer, p...)
	for len(r.buffer) >= 6 {
		size := 4 + int(binary.BigEndian.Uint32(r.buffer))
		if len(r.buffer) < size {
			break
		}
		if err := r.before(int16(binary.BigEndian.Uint16(r.buffer[4:]))); err != nil {
			return 0, err
		}
		if _, err := r.Conn.Write(r.buffer[:size]); err != nil {
			return 0, err
		}
		r.buffer = r.buffer[size:]
	}
	return len(p), nil
}

// beforeRequests is a transport whose connections call a function before each request.
func beforeRequests(before func(key int16) error) *kafkago.Transport {
	return &kafkago.Transport{Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &requests{Conn: conn, before: before}, nil
	}}
}

// The first try takes the epoch, and then cannot see whether the owner before has
// renewed its lease meanwhile, as it has. The second one must not take what is stored
// for a lease that it has: it has to wait for the end of the other.
func TestALeaseWhoseTakingFailedHalfwayIsHadWhenTheOneBeforeIsOver(t *testing.T) {
	p := newPlace(t, broker.Server(t))
	before, _ := p.open(t, kafka.Options{})
	const ttl = 5 * time.Second
	first := eventstore.Lease{Name: "billing", Epoch: 1, Owner: "a", TTL: ttl}
	result, err := before.Records().Checkpoints.SwapLease(t.Context(), eventstore.SwapLeaseRequest{Name: "billing", New: first})
	require.NoError(t, err)
	require.True(t, result.Swapped)

	var armed, failing atomic.Bool
	reached, goOn := make(chan struct{}), make(chan struct{})
	transport := beforeRequests(func(key int16) error {
		if key == produceKey && armed.CompareAndSwap(true, false) {
			close(reached)
			<-goOn
			failing.Store(true)
		}
		if key == listOffsetsKey && failing.Load() {
			return errors.New("connection reset")
		}
		return nil
	})
	after, _ := p.open(t, kafka.Options{Transport: transport})
	second := eventstore.Lease{Name: "billing", Epoch: 2, Owner: "b", TTL: ttl}
	take := eventstore.SwapLeaseRequest{Name: "billing", Old: first, New: second}
	armed.Store(true)
	failed := make(chan error, 1)
	go func() {
		_, err := after.Records().Checkpoints.SwapLease(t.Context(), take)
		failed <- err
	}()
	<-reached
	renewed := first
	renewed.Renewals++
	asked := time.Now()
	result, err = before.Records().Checkpoints.SwapLease(t.Context(), eventstore.SwapLeaseRequest{Name: "billing", Old: first, New: renewed})
	require.NoError(t, err)
	require.True(t, result.Swapped)
	close(goOn)
	require.ErrorIs(t, <-failed, eventstore.ErrUnavailable)

	failing.Store(false)
	deadline := time.Now().Add(time.Minute)
	for result, err = after.Records().Checkpoints.SwapLease(t.Context(), take); err != nil; {
		require.ErrorIs(t, err, eventstore.ErrUnavailable)
		require.True(t, time.Now().Before(deadline))
		result, err = after.Records().Checkpoints.SwapLease(t.Context(), take)
	}
	require.Equal(t, eventstore.SwapLeaseResult{Lease: second, Swapped: true}, result)
	require.GreaterOrEqual(t, time.Since(asked), ttl, "the owner before had renewed its lease")
}
