package esdb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventstore/adapter"
)

// mapError turns an error of a call into one of the contract's. ctx is the
// caller's own: a call may have a shorter deadline, which is not the caller's.
func mapError(ctx context.Context, err error) error {
	var sent *sentError
	mayBeStored := errors.As(err, &sent)
	lost := eventstore.ErrUnavailable
	if mayBeStored {
		lost = eventstore.ErrUnknownOutcome
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errNotLeader): // which refuses
		return fmt.Errorf("%w: %w", eventstore.ErrUnavailable, err)
	case errors.Is(err, errTombstoned) && !adapter.IsContract(err): // Append says which stream
		return fmt.Errorf("esdb: %w", err)
	case errors.Is(err, errClosing) && mayBeStored:
		return fmt.Errorf("%w: %w", eventstore.ErrUnknownOutcome, err)
	case adapter.IsContract(err):
		return err
	case ctx.Err() != nil && mayBeStored:
		return fmt.Errorf("%w: the caller left while the append was being written: %w", eventstore.ErrUnknownOutcome, ctx.Err())
	case ctx.Err() != nil:
		return ctx.Err()
	case status.Code(err) == codes.DeadlineExceeded && !mayBeStored && isDue(ctx):
		return context.DeadlineExceeded
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w: it took too long: %w", lost, err)
	}
	return mapStatus(mayBeStored, lost, err)
}

// isDue tells whether a context is at its deadline: the server is told it, and
// its answer can come a moment before the context ends here.
func isDue(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	return ok && time.Until(deadline) < time.Second
}

// mapStatus maps what gRPC and the server say.
func mapStatus(mayBeStored bool, lost, err error) error {
	reason, ok := status.FromError(err)
	switch {
	case errors.Is(err, io.EOF):
		return fmt.Errorf("%w: the server ended the call: %w", lost, err)
	case !ok && mayBeStored:
		return fmt.Errorf("%w: %w", lost, err)
	case !ok:
		return fmt.Errorf("esdb: %w", err)
	}
	switch reason.Code() {
	case codes.PermissionDenied, codes.Unauthenticated:
		if errors.Is(err, errRefusedUser) { // by the call below this one
			return err
		}
		remedy := "name a user whom the access control list ($acl) of the stream lets in; $all and the streams that begin with $ are open to administrators, unless a list says otherwise"
		if reason.Code() == codes.Unauthenticated {
			remedy = "correct the user or the password"
		}
		return fmt.Errorf("%w: %w; %s", errRefusedUser, err, remedy)
	case codes.InvalidArgument:
		return fmt.Errorf("%w: the server refused the call: %w", eventstore.ErrInvalid, err)
	case codes.Unimplemented:
		return fmt.Errorf("%w: %w", eventstore.ErrUnsupported, err)
	case codes.Unavailable:
		return fmt.Errorf("%w: %w%s", lost, err, hint(reason.Message()))
	case codes.Aborted, codes.DeadlineExceeded, codes.Canceled, codes.Internal, codes.ResourceExhausted:
		return fmt.Errorf("%w: %w", lost, err)
	default:
		if mayBeStored {
			return fmt.Errorf("%w: %w", lost, err)
		}
		return fmt.Errorf("esdb: %w", err)
	}
}

// errRefusedUser: the server knows the user and does not let it, or does not know it.
var errRefusedUser = errors.New("esdb: the server refused the user")

// hint says which parameter of the URL may be wrong where a connection could not be made.
// gRPC takes a wrong one for a server that is away, and tells it in its text alone.
func hint(message string) string {
	for text, remedy := range map[string]string{
		"does not look like a TLS handshake": "the server may speak no TLS: tls=false",
		"error reading server preface":       "the server may ask for TLS: leave tls=false out",
		"signed by unknown authority":        "name the file of the authority's certificate: tlsCAFile=",
	} {
		if strings.Contains(message, text) {
			return "; " + remedy
		}
	}
	return ""
}

// isUnreadablePosition tells whether the server refused to start at a position,
// because no event begins there.
func isUnreadablePosition(err error) bool {
	reason, ok := status.FromError(err)
	return errors.Is(err, errNoPosition) || ok && (reason.Code() == codes.InvalidArgument ||
		reason.Code() == codes.Unknown && strings.Contains(reason.Message(), "ReadAllResult"))
}

// isRefusal tells whether the server refused the user or the call itself, which
// trying again does not change.
func isRefusal(err error) bool {
	switch status.Code(err) {
	case codes.PermissionDenied, codes.Unauthenticated, codes.InvalidArgument, codes.Unimplemented:
		return true
	default:
		return false
	}
}
