package eventstore_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
)

func sentinels() []error {
	return []error{
		eventstore.ErrInvalid, eventstore.ErrConflict, eventstore.ErrEventIDReused, eventstore.ErrUnknownOutcome,
		eventstore.ErrUnsupported, eventstore.ErrClosed, eventstore.ErrUnavailable,
		eventstore.ErrForeignCheckpoint, eventstore.ErrCheckpointAhead, eventstore.ErrSealed,
		eventstore.ErrLeaseLost, eventstore.ErrLateArrival, eventstore.ErrAlreadyRunning,
	}
}

func TestEachErrorMatchesItsOwnSentinelAndNoOther(t *testing.T) {
	typed := map[error]error{
		&eventstore.InvalidError{Field: "stream"}: eventstore.ErrInvalid,
		&eventstore.ConflictError{}:               eventstore.ErrConflict,
		&eventstore.EventIDReusedError{}:          eventstore.ErrEventIDReused,
		&eventstore.UnsupportedError{}:            eventstore.ErrUnsupported,
		&eventstore.ForeignCheckpointError{}:      eventstore.ErrForeignCheckpoint,
		&eventstore.CheckpointAheadError{}:        eventstore.ErrCheckpointAhead,
		&eventstore.SealedError{}:                 eventstore.ErrSealed,
		&eventstore.LeaseLostError{}:              eventstore.ErrLeaseLost,
		&eventstore.LateArrivalError{}:            eventstore.ErrLateArrival,
		&eventstore.UnknownOutcomeError{Err: fmt.Errorf("%w: %w: %w", eventstore.ErrUnavailable, eventstore.ErrConflict, context.Canceled)}: eventstore.ErrUnknownOutcome,
	}
	for _, sentinel := range sentinels() {
		typed[sentinel] = sentinel
	}
	for err, own := range typed {
		wrapped := &eventstore.OpError{Op: "append", Subject: "order-1", Err: fmt.Errorf("somewhere: %w", err)}
		for _, sentinel := range sentinels() {
			require.Equal(t, errors.Is(own, sentinel), errors.Is(wrapped, sentinel), "%T against %v", err, sentinel)
		}
		for _, unrelated := range []error{context.Canceled, context.DeadlineExceeded, errors.New("another")} {
			require.NotErrorIs(t, wrapped, unrelated)
		}
	}
}

func TestAHandlerErrorMatchesOnlyWhatTheHandlerReturned(t *testing.T) {
	cause := errors.New("the mail server is down")
	err := &eventstore.HandlerError{Subscription: "mail", Err: cause}
	require.ErrorIs(t, err, cause)
	for _, sentinel := range sentinels() {
		require.NotErrorIs(t, err, sentinel)
	}
}

type driverError struct{ code string }

func (e *driverError) Error() string { return "driver: " + e.code }

func TestTheDriversErrorIsReachableInAnUnknownOutcome(t *testing.T) {
	err := error(&eventstore.UnknownOutcomeError{Err: fmt.Errorf("commit: %w", &driverError{"57P01"})})
	var driver *driverError
	require.ErrorAs(t, err, &driver)
	require.Equal(t, "57P01", driver.code)
}

func TestAHandlersOwnContextErrorIsNoCleanStop(t *testing.T) {
	err := error(&eventstore.HandlerError{Subscription: "mail", Err: fmt.Errorf("send: %w: %w", context.Canceled, &driverError{"x"})})
	require.NotErrorIs(t, err, context.Canceled)
	var driver *driverError
	require.ErrorAs(t, err, &driver)
}

func TestErrorsSayWhatHappenedAndWhatToDo(t *testing.T) {
	id := uuid.MustParse("01890a5d-ac96-774b-bcce-b302099a8057")
	for _, test := range []struct {
		err  error
		want string
	}{
		{
			&eventstore.OpError{Op: "append to stream", Subject: "order-1", Err: &eventstore.ConflictError{Stream: "order-1", Expected: eventstore.Exactly(3), Actual: 5}},
			`append to stream: version conflict on stream "order-1": expected 3, but it is at 5; read on from there and decide again`,
		},
		{
			&eventstore.ConflictError{Stream: "order-1", Expected: eventstore.NoStream(), Actual: 1},
			`version conflict on stream "order-1": expected none, but it is at 1; read on from there and decide again`,
		},
		{
			&eventstore.EventIDReusedError{Stream: "a\x1b[31m", ID: id, Reason: "the stored event has other content"},
			`event ID 01890a5d-ac96-774b-bcce-b302099a8057 reused in stream "a\x1b[31m": the stored event has other content; give every new event an ID of its own`,
		},
		{
			&eventstore.UnsupportedError{Feature: "time travel", Reason: "the clock only goes forward"},
			"time travel is not supported by this backend: the clock only goes forward",
		},
		{
			&eventstore.PanicError{Value: "index out of range"},
			"panicked: index out of range",
		},
	} {
		require.EqualError(t, test.err, test.want)
	}
}
