package kafka

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/backends/kafka/fold"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// Seal implements [eventstore.Backend]. A seal is a record of the log like any
// other, and what comes before it is judged by its writer's epoch: an append that
// its writer judged before the seal lands refused behind it.
func (b *Backend) Seal(ctx context.Context, req eventstore.SealRequest) (eventstore.Info, error) {
	for {
		if err := b.view(ctx); err != nil {
			return eventstore.Info{}, err
		}
		info, err := b.info()
		if err != nil || info.Sealed != req.Lift {
			return info, err
		}
		b.log.mu.RLock()
		epoch := b.log.state.SealEpoch()
		b.log.mu.RUnlock()
		p := proposal{id: uuid.New(), at: time.Now()}
		if req.Lift {
			p.frame = fold.Unseal(p.id, p.at, epoch)
		} else {
			p.frame = fold.Seal(p.id, p.at, epoch, req.Reason)
		}
		// Another process may be faster: then look again.
		if outcome := b.writeOne(ctx, p); outcome.err != nil {
			return eventstore.Info{}, outcome.err
		}
	}
}

// writeOne writes a proposal that is not an append.
func (b *Backend) writeOne(ctx context.Context, p proposal) outcome {
	if err := b.ready(ctx); err != nil {
		return outcome{err: err}
	}
	within, cancel := b.within(ctx)
	defer cancel()
	within, stop := context.WithTimeout(within, flushTimeout)
	defer stop()
	return b.write(within, []proposal{p})[0]
}
