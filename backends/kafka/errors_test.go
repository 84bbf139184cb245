package kafka

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"testing"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/kafka/fold"
	"github.com/switchyard-dev/switchyard/eventstore"
)

func TestWhatAnErrorOfAProduceMeans(t *testing.T) {
	dial := &net.OpError{Op: "dial", Err: errors.New("connection refused")}
	for _, c := range []struct {
		err  error
		want error // nil: no sentinel
	}{
		{dial, eventstore.ErrUnavailable},
		{kafkago.NotEnoughReplicas, eventstore.ErrUnavailable},
		{kafkago.NotEnoughReplicasAfterAppend, eventstore.ErrUnknownOutcome},
		{kafkago.RequestTimedOut, eventstore.ErrUnknownOutcome},
		{kafkago.NotLeaderForPartition, eventstore.ErrUnknownOutcome},
		{kafkago.UnknownTopicOrPartition, eventstore.ErrUnknownOutcome},
		{kafkago.Error(999), eventstore.ErrUnknownOutcome},
		{errors.New("unexpected EOF"), eventstore.ErrUnknownOutcome},
		{context.DeadlineExceeded, eventstore.ErrUnknownOutcome},
		{kafkago.MessageSizeTooLarge, nil},
		{kafkago.TopicAuthorizationFailed, nil},
		{kafkago.SASLAuthenticationFailed, nil},
		{kafkago.PolicyViolation, nil},
		{x509.UnknownAuthorityError{}, nil},
	} {
		t.Run(c.err.Error(), func(t *testing.T) {
			err := appendError(fmt.Errorf("produce: %w", c.err))
			requireOnly(t, err, c.want)
			if code := kafkago.Error(0); errors.As(c.err, &code) {
				var found kafkago.Error
				require.ErrorAs(t, err, &found, "the client's error is reachable")
				require.Equal(t, code, found)
			}
		})
	}
}

func TestWhatAnErrorOfAReadMeans(t *testing.T) {
	b := &Backend{}
	for _, c := range []struct{ err, want error }{
		{kafkago.RequestTimedOut, eventstore.ErrUnavailable},
		{errors.New("unexpected EOF"), eventstore.ErrUnavailable},
		{context.DeadlineExceeded, eventstore.ErrUnavailable}, // a bound of our own
		{errStalled, eventstore.ErrUnavailable},
		{kafkago.TopicAuthorizationFailed, nil},
		{&haltedError{&eventstore.InvalidError{Field: "retention.ms", Reason: "it deletes events"}}, nil},
		{&haltedError{&fold.HaltError{Offset: 3, Reason: "it was", Err: &fold.NewerError{Format: 2}}}, nil},
	} {
		requireOnly(t, b.readError(t.Context(), c.err), c.want)
	}
	require.NoError(t, b.readError(t.Context(), nil))
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	err := b.readError(cancelled, errors.New("unexpected EOF"))
	require.ErrorIs(t, err, context.Canceled)
	requireOnly(t, err, nil)
	b.closed.Store(true)
	require.Equal(t, eventstore.ErrClosed, b.readError(t.Context(), errors.New("unexpected EOF")))
	var newer *fold.NewerError
	require.ErrorAs(t, &haltedError{&fold.HaltError{Err: &fold.NewerError{Format: 2}}}, &newer)
}

// requireOnly asks for an error that matches this sentinel and no other.
func requireOnly(t *testing.T, err, want error) {
	t.Helper()
	require.Error(t, err)
	for _, sentinel := range []error{
		eventstore.ErrInvalid, eventstore.ErrUnavailable, eventstore.ErrUnknownOutcome, eventstore.ErrConflict, eventstore.ErrClosed,
		context.DeadlineExceeded,
	} {
		require.Equal(t, sentinel == want, errors.Is(err, sentinel), "%v matches %v", err, sentinel) //nolint:errorlint // the very same
	}
}
