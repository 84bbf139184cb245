package esdb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventstore/adapter"
)

func TestErrorsAreMapped(t *testing.T) {
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	tests := []struct {
		name        string
		left        bool // the caller has
		err         error
		read, write error // nil: no sentinel of the contract
	}{
		{"unavailable", false, status.Error(codes.Unavailable, "gone"), eventstore.ErrUnavailable, eventstore.ErrUnknownOutcome},
		{"aborted by a server time-out", false, status.Error(codes.Aborted, "timeout"), eventstore.ErrUnavailable, eventstore.ErrUnknownOutcome},
		{"the client's own deadline", false, status.Error(codes.DeadlineExceeded, "late"), eventstore.ErrUnavailable, eventstore.ErrUnknownOutcome},
		{"a stream that the server ended", false, fmt.Errorf("could not send append request: %w", io.EOF), eventstore.ErrUnavailable, eventstore.ErrUnknownOutcome},
		{"an error of no known kind", false, errors.New("odd"), nil, eventstore.ErrUnknownOutcome},
		{"an unknown status", false, status.Error(codes.Unknown, "handler"), nil, eventstore.ErrUnknownOutcome},
		{"a refused argument", false, status.Error(codes.InvalidArgument, "size"), eventstore.ErrInvalid, eventstore.ErrInvalid},
		{"a refused user", false, status.Error(codes.PermissionDenied, "no"), nil, nil},
		{"a caller who left", true, status.Error(codes.Canceled, "context canceled"), context.Canceled, eventstore.ErrUnknownOutcome},
		{"a call's own deadline", false, context.DeadlineExceeded, eventstore.ErrUnavailable, eventstore.ErrUnknownOutcome},
		{"a node that is not the leader", false, fmt.Errorf("%w: %w", errNotLeader, status.Error(codes.NotFound, "")), eventstore.ErrUnavailable, eventstore.ErrUnavailable},
		{"a tombstoned stream", false, errTombstoned, nil, nil},
		{"a handle closed under the call", false, errClosing, eventstore.ErrClosed, eventstore.ErrUnknownOutcome},
		{"a closed handle", false, eventstore.ErrClosed, eventstore.ErrClosed, eventstore.ErrClosed},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ctx := t.Context()
			if test.left {
				ctx = cancelled
			}
			for err, want := range map[error]error{test.err: test.read, &sentError{test.err}: test.write} {
				got := mapError(ctx, err)
				require.Error(t, got)
				if want != nil {
					require.ErrorIs(t, got, want)
					continue
				}
				require.False(t, adapter.IsContract(got), "%v", got)
			}
		})
	}
	require.NoError(t, mapError(t.Context(), nil))
}

func TestAWrongParameterOfTLSIsNamed(t *testing.T) {
	for message, want := range map[string]string{
		"authentication handshake failed: tls: first record does not look like a TLS handshake": "tls=false",
		"error reading server preface: EOF":                                                     "leave tls=false out",
		"tls: failed to verify certificate: x509: certificate signed by unknown authority":      "tlsCAFile=",
	} {
		err := mapError(t.Context(), status.Error(codes.Unavailable, "connection error: "+message))
		require.ErrorIs(t, err, eventstore.ErrUnavailable)
		require.Contains(t, err.Error(), want)
	}
}

func TestARefusedUserIsToldOnce(t *testing.T) {
	err := mapError(t.Context(), mapError(t.Context(), status.Error(codes.Unauthenticated, "Unauthenticated")))
	require.EqualError(t, err, "esdb: the server refused the user: rpc error: code = Unauthenticated desc = Unauthenticated; correct the user or the password")
}
