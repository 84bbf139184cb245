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
		{"a caller who left before the call", cancelled, fmt.Errorf("%w: %w", errNotSent, context.Canceled), context.Canceled, context.Canceled},
		{"a handle closed under the call", t.Context(), errClosing, eventstore.ErrClosed, eventstore.ErrUnknownOutcome},
		{"a closed handle", t.Context(), eventstore.ErrClosed, eventstore.ErrClosed, eventstore.ErrClosed},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for kind, want := range map[call]error{reading: test.read, writing: test.write} {
				got := mapError(test.ctx, kind, test.err)
				require.Error(t, got)
				if want != nil {
					require.ErrorIs(t, got, want)
					continue
				}
				require.False(t, isMapped(got), "%v", got)
			}
		})
	}
	require.NoError(t, mapError(t.Context(), writing, nil))
}

func TestTheServersVersionIsReadFromItsRefusal(t *testing.T) {
	require.Equal(t, uint64(3), toldVersion(errors.New("wrong expected version: expecting 'no_stream' but got '2'")))
	require.Zero(t, toldVersion(errors.New("wrong expected version: expecting '7' but got 'no_stream'")))
}
