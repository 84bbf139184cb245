package transfer

import (
	"context"
	"iter"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// reader takes the events of an iterator one by one.
type reader struct {
	pull func() (eventstore.RecordedEvent, error, bool)
	stop func()
}

// next returns the next event, and whether there is one.
func (r reader) next() (eventstore.RecordedEvent, bool, error) {
	event, err, more := r.pull()
	return event, more && err == nil, err
}

func pullAll(ctx context.Context, store *eventstore.Store, after eventstore.Position) reader {
	return pullFrom(store.ReadAll(ctx, eventstore.ReadAllOptions{After: after}))
}

func pullFrom(events iter.Seq2[eventstore.RecordedEvent, error]) reader {
	next, stop := iter.Pull2(events)
	return reader{pull: next, stop: stop}
}
