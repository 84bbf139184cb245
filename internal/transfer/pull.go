package transfer

import (
	"context"
	"iter"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// reader takes the events of an iterator one by one.
type reader[E any] struct {
	pull func() (E, error, bool)
	stop func()
}

// next returns the next event, and whether there is one.
func (r reader[E]) next() (E, bool, error) {
	event, err, more := r.pull()
	return event, more && err == nil, err
}

func pullAll(ctx context.Context, store *eventstore.Store, after eventstore.Position) reader[eventstore.RecordedEvent] {
	return pullFrom(store.ReadAll(ctx, eventstore.ReadAllOptions{After: after}))
}

func pullFrom[E any](events iter.Seq2[E, error]) reader[E] {
	next, stop := iter.Pull2(events)
	return reader[E]{pull: next, stop: stop}
}
