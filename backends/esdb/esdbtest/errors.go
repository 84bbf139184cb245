package esdbtest

import (
	"errors"
	"fmt"
	"strconv"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// fault is an answer with the trailers by which clients know what happened.
type fault struct {
	status   *status.Status
	trailers metadata.MD
}

func (f *fault) Error() string { return f.status.Message() }

// GRPCStatus lets grpc send the status of an error that wraps a fault.
func (f *fault) GRPCStatus() *status.Status { return f.status }

func newFault(code codes.Code, exception, message string, trailers ...string) *fault {
	md := metadata.Pairs(trailers...)
	md.Set("exception", exception)
	return &fault{status.New(code, message), md}
}

// sendTrailers sets the trailers of an error that has some; it must happen
// before the handler returns.
func sendTrailers(set func(metadata.MD), err error) error {
	var f *fault
	if errors.As(err, &f) {
		set(f.trailers)
	}
	return err
}

func deletedFault(stream string) error {
	// The Go client indexes into stream-name without looking: it must be there.
	return newFault(codes.FailedPrecondition, "stream-deleted",
		fmt.Sprintf("Event stream '%s' is deleted.", stream), "stream-name", stream)
}

// wrongVersionFault answers deletes; appends have a message of their own.
func wrongVersionFault(operation string, e *wrongVersionError) error {
	expected, actual := strconv.FormatInt(e.expected, 10), strconv.FormatInt(e.actual, 10)
	return newFault(codes.FailedPrecondition, "wrong-expected-version",
		fmt.Sprintf("%s failed due to WrongExpectedVersion. Stream: %s, Expected version: %s, Actual version: %s",
			operation, e.stream, expected, actual),
		"stream-name", e.stream, "expected-version", expected, "actual-version", actual)
}

func tooLargeFault(limit int) error {
	return newFault(codes.InvalidArgument, "maximum-append-size-exceeded",
		fmt.Sprintf("Maximum Append Size of %d Exceeded.", limit),
		"maximum-append-size", strconv.Itoa(limit))
}

func missingPropertyFault(property string) error {
	return newFault(codes.InvalidArgument, "missing-required-metadata-property",
		fmt.Sprintf("Required Metadata Property '%s' is missing", property),
		"required-metadata-properties", "type,content-type")
}

func accessDeniedFault() error {
	return newFault(codes.PermissionDenied, "access-denied", "Access Denied")
}

func notLeaderFault(host string, port uint16) error {
	return newFault(codes.NotFound, "not-leader", "Leader info available",
		"leader-endpoint-host", host, "leader-endpoint-port", strconv.Itoa(int(port)))
}

func invalidArgument(message string) error {
	return status.Error(codes.InvalidArgument, message)
}

// handlerError is what the server answers when an argument that it did not
// foresee makes its handler throw.
func handlerError() error {
	return status.Error(codes.Unknown, "Exception was thrown by handler.")
}

// notOneOf refuses a oneof of the protocol in which nothing is set. Type is the
// server's name of it.
func notOneOf(oneof string) error {
	return invalidArgument(fmt.Sprintf("'None' is not a valid EventStore.Client.Streams.%sOneofCase", oneof))
}

// unexpectedResult is what the server answers a read which it cannot carry out.
func unexpectedResult(kind, result string) error {
	return status.Errorf(codes.Unknown, "Unexpected %sResult: %s", kind, result)
}

// storeFault turns the store's refusals into answers.
func storeFault(operation string, err error) error {
	var wrong *wrongVersionError
	var deleted *streamDeletedError
	switch {
	case errors.As(err, &wrong):
		return wrongVersionFault(operation, wrong)
	case errors.As(err, &deleted):
		return deletedFault(deleted.stream)
	}
	return err
}
