package esdb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"

	client "github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// call says what an error means for the call that failed.
type call uint8

const (
	reading call = iota // nothing can have been written
	writing             // the server may have got the events
)

// mapError turns an error of the client into one of the contract's. ctx is the
// caller's: the client's errors do not match the context's.
func mapError(ctx context.Context, kind call, err error) error {
	lost := eventstore.ErrUnavailable
	if kind == writing {
		lost = eventstore.ErrUnknownOutcome
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errNotSent):
		return ctx.Err()
	case errors.Is(err, errClosing) && kind == writing:
		return fmt.Errorf("%w: %w", eventstore.ErrUnknownOutcome, err)
	case isMapped(err):
		return err
	case ctx.Err() != nil && kind == writing:
		return fmt.Errorf("%w: the caller left while the append was being written: %w", eventstore.ErrUnknownOutcome, ctx.Err())
	case ctx.Err() != nil:
		return ctx.Err()
	case kind == reading && status.Code(err) == codes.DeadlineExceeded && isDue(ctx):
		return context.DeadlineExceeded
	}
	var failed *client.Error
	if !errors.As(err, &failed) {
		return mapStatus(kind, lost, err)
	}
	switch failed.Code() {
	case client.ErrorCodeStreamDeleted:
		return fmt.Errorf("%w: %w", &eventstore.InvalidError{Field: "stream", Reason: "it was deleted for good (tombstoned); choose another ID"}, err)
	case client.ErrorCodeNotLeader, client.ErrorCodeConnectionClosed:
		return fmt.Errorf("%w: %w", eventstore.ErrUnavailable, err) // refused, or not sent
	case client.ErrorUnavailable, client.ErrorAborted, client.ErrorCodeDeadlineExceeded:
		return fmt.Errorf("%w: %w", lost, err)
	case client.ErrorCodeUnsupportedFeature:
		return fmt.Errorf("%w: %w", eventstore.ErrUnsupported, err)
	case client.ErrorCodeAccessDenied, client.ErrorCodeUnauthenticated:
		return fmt.Errorf("esdb: the server refused the user: %w", err)
	}
	return mapStatus(kind, lost, err)
}

// isDue tells whether a context is at its deadline: the server is told it, and
// its answer can come a moment before the context ends here.
func isDue(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	return ok && time.Until(deadline) < time.Second
}

// mapStatus maps errors that the client hands on without a code of its own.
func mapStatus(kind call, lost, err error) error {
	reason, ok := status.FromError(err)
	switch {
	case errors.Is(err, io.EOF):
		return fmt.Errorf("%w: the server ended the call: %w", lost, err)
	case !ok && kind == writing:
		return fmt.Errorf("%w: %w", lost, err)
	case !ok:
		return fmt.Errorf("esdb: %w", err)
	}
	switch reason.Code() {
	case codes.InvalidArgument:
		return fmt.Errorf("%w: the server refused the call: %w", eventstore.ErrInvalid, err)
	case codes.PermissionDenied, codes.Unauthenticated:
		return fmt.Errorf("esdb: the server refused the user: %w", err)
	case codes.Unavailable, codes.Aborted, codes.DeadlineExceeded, codes.Canceled, codes.Internal, codes.ResourceExhausted:
		return fmt.Errorf("%w: %w", lost, err)
	}
	if kind == writing {
		return fmt.Errorf("%w: %w", lost, err)
	}
	return fmt.Errorf("esdb: %w", err)
}

// isMapped tells whether an error is this module's own already.
func isMapped(err error) bool {
	for _, sentinel := range []error{
		eventstore.ErrClosed, eventstore.ErrInvalid, eventstore.ErrConflict, eventstore.ErrEventIDReused,
		eventstore.ErrUnavailable, eventstore.ErrUnknownOutcome, eventstore.ErrUnsupported,
	} {
		if errors.Is(err, sentinel) {
			return true
		}
	}
	return false
}

// isWrongVersion tells whether the server refused an append for its revision.
func isWrongVersion(err error) bool {
	var failed *client.Error
	return errors.As(err, &failed) && failed.Code() == client.ErrorCodeWrongExpectedVersion
}

// toldVersion returns the version that the server named when it refused an
// append; the client has it in the text alone. It is needed only where the
// stream cannot be read to its end, and 0 where the text says nothing.
func toldVersion(err error) uint64 {
	match := regexp.MustCompile(`but got '(\d+)'`).FindStringSubmatch(err.Error())
	if match == nil {
		return 0
	}
	revision, err := strconv.ParseUint(match[1], 10, 63)
	if err != nil {
		return 0
	}
	return revision + 1
}

// isNoStream tells whether the stream was never written or is soft-deleted.
func isNoStream(err error) bool {
	var failed *client.Error
	return errors.As(err, &failed) && failed.Code() == client.ErrorCodeResourceNotFound
}

func isTombstoned(err error) bool {
	var failed *client.Error
	return errors.As(err, &failed) && failed.Code() == client.ErrorCodeStreamDeleted
}

// isUnreadablePosition tells whether the server refused to start at a position,
// because no event begins there.
func isUnreadablePosition(err error) bool {
	reason, ok := status.FromError(err)
	return ok && (reason.Code() == codes.InvalidArgument ||
		reason.Code() == codes.Unknown && strings.Contains(reason.Message(), "ReadAllResult"))
}
