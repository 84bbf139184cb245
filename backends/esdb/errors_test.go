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
)

func TestErrorsAreMapped(t *testing.T) {
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	tests := []struct {
		name        string
		ctx         context.Context
		err         error
		read, write error // nil: no sentinel of the contract
	}{
		{"unavailable", t.Context(), status.Error(codes.Unavailable, "gone"), eventstore.ErrUnavailable, eventstore.ErrUnknownOutcome},
		{"aborted by a server time-out", t.Context(), status.Error(codes.Aborted, "timeout"), eventstore.ErrUnavailable, eventstore.ErrUnknownOutcome},
		{"the client's own deadline", t.Context(), status.Error(codes.DeadlineExceeded, "late"), eventstore.ErrUnavailable, eventstore.ErrUnknownOutcome},
		{"a stream that the server ended", t.Context(), fmt.Errorf("could not send append request: %w", io.EOF), eventstore.ErrUnavailable, eventstore.ErrUnknownOutcome},
		{"an error of no known kind", t.Context(), errors.New("odd"), nil, eventstore.ErrUnknownOutcome},
		{"an unknown status", t.Context(), status.Error(codes.Unknown, "handler"), nil, eventstore.ErrUnknownOutcome},
		{"a refused argument", t.Context(), status.Error(codes.InvalidArgument, "size"), eventstore.ErrInvalid, eventstore.ErrInvalid},
		{"a refused user", t.Context(), status.Error(codes.PermissionDenied, "no"), nil, nil},
		{"a caller who left", cancelled, status.Error(codes.Canceled, "context canceled"), context.Canceled, eventstore.ErrUnknownOutcome},
		{"a call's own deadline", t.Context(), context.DeadlineExceeded, eventstore.ErrUnavailable, eventstore.ErrUnknownOutcome},
		{"a node that is not the leader", t.Context(), fmt.Errorf("%w: %w", errNotLeader, status.Error(codes.NotFound, "")), eventstore.ErrUnavailable, eventstore.ErrUnavailable},
		{"a tombstoned stream", t.Context(), errTombstoned, eventstore.ErrInvalid, eventstore.ErrInvalid},
		{"a handle closed under the call", t.Context(), errClosing, eventstore.ErrClosed, eventstore.ErrUnknownOutcome},
		{"a closed handle", t.Context(), eventstore.ErrClosed, eventstore.ErrClosed, eventstore.ErrClosed},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for err, want := range map[error]error{test.err: test.read, &sentError{test.err}: test.write} {
				got := mapError(test.ctx, err)
				require.Error(t, got)
				if want != nil {
					require.ErrorIs(t, got, want)
					continue
				}
				require.False(t, isMapped(got), "%v", got)
			}
		})
	}
	require.NoError(t, mapError(t.Context(), nil))
}
