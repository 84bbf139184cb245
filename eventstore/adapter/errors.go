package adapter

import (
	"errors"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// IsContract tells whether an error has its meaning already: it matches one of
// package eventstore's sentinels, and is returned as it is.
func IsContract(err error) bool {
	for _, sentinel := range []error{
		eventstore.ErrInvalid, eventstore.ErrConflict, eventstore.ErrEventIDReused, eventstore.ErrUnknownOutcome,
		eventstore.ErrUnsupported, eventstore.ErrClosed, eventstore.ErrUnavailable, eventstore.ErrSealed,
		eventstore.ErrForeignCheckpoint, eventstore.ErrCheckpointAhead, eventstore.ErrLeaseLost, eventstore.ErrLateArrival,
	} {
		if errors.Is(err, sentinel) {
			return true
		}
	}
	return false
}
