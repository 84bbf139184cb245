package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/switchyard-dev/switchyard/backends/kafka/internal/connection"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventstore/adapter"
)

// opaqueError lets errors.As find what is in an error, and errors.Is nothing.
type opaqueError struct{ err error }

func (e *opaqueError) Error() string { return e.err.Error() }

// As implements the interface of errors.As.
func (e *opaqueError) As(target any) bool { return errors.As(e.err, target) }

// haltedError is why a log cannot be used any more. It matches no sentinel: it does
// not pass by waiting, and the caller's input is not wrong.
type haltedError struct{ err error }

func (e *haltedError) Error() string { return e.err.Error() }

// As implements the interface of errors.As.
func (e *haltedError) As(target any) bool { return errors.As(e.err, target) }

// isContract tells whether err has its meaning already.
func isContract(err error) bool {
	var halted *haltedError
	if errors.As(err, &halted) {
		return true
	}
	return adapter.IsContract(err)
}

// isUnknown tells whether the records of a produce may be in the log.
func isUnknown(err error) bool { return errors.Is(err, eventstore.ErrUnknownOutcome) }

// notContract hides what an error matches, where it is the cause of another one.
func notContract(err error) error { return &opaqueError{err} }

// readError maps the error of a call that changed nothing, or whose repetition does
// no harm. ctx is the caller's.
func (b *Backend) readError(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case b.closed.Load() && ctx.Err() == nil:
		return eventstore.ErrClosed
	case ctx.Err() != nil:
		return fmt.Errorf("%w: %w", ctx.Err(), notContext(err))
	case isContract(err):
		return err
	}
	err = b.cause(ctx, err)
	return mapped(connection.OfRead(err), err)
}

// appendError maps the error of a produce.
func appendError(err error) error {
	if isContract(err) {
		return err
	}
	return mapped(connection.OfAppend(err), err)
}

func mapped(failure connection.Failure, err error) error {
	err = notContext(err)
	if failure.Remedy != "" {
		err = fmt.Errorf("%w: %s", err, failure.Remedy)
	}
	switch failure.Class {
	case connection.Unavailable:
		return fmt.Errorf("%w: kafka: %w", eventstore.ErrUnavailable, err)
	case connection.Unknown:
		return fmt.Errorf("%w: kafka: %w", eventstore.ErrUnknownOutcome, err)
	case connection.Refused, connection.Truncated:
	}
	return fmt.Errorf("kafka: %w", err)
}

// cause returns the true reason where the client says that it does not find the
// topic, its leader or any broker: a wrong password and an unknown certificate look
// like that.
func (b *Backend) cause(ctx context.Context, err error) error {
	if !connection.OfRead(err).Again && !errors.Is(err, kafkago.BrokerNotAvailable) {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if found := b.conn.Ping(ctx); found != nil && connection.OfRead(found).Class == connection.Refused {
		return found
	}
	return err
}
