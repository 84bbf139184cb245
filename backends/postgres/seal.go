package postgres

import (
	"context"
	"sync/atomic"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// Seal implements [eventstore.Backend]. Whoever appends has taken the lock before the
// seal and committed, or takes it afterwards and meets it.
func (b *Backend) Seal(ctx context.Context, req eventstore.SealRequest) (info eventstore.Info, err error) {
	reason := &req.Reason
	if req.Lift {
		reason = nil
	}
	err = b.call(ctx, func(ctx context.Context) error {
		if _, err := b.pool.Exec(ctx, b.sql.seal, b.table, b.rowType, reason); err != nil {
			return err
		}
		b.wake.appended() // subscriptions say that they have the last event
		info, err = b.info(ctx, b.pool)
		return err
	})
	return info, err
}

// sealEpochs is what a handle knows of the seal's epoch, which rises with each seal and
// each time one is lifted. Every call of the schema's function carries the one that was
// known when it was sent, and is refused under any other: a call that is held up on its
// way, in a frozen client, on the network or in a frozen session, while the store is
// sealed does not land after the seal was lifted.
//
// So a refusal by a seal settles all attempts before it. Whoever was told of a seal had
// left its earlier attempts before. Each of those carries an epoch that was known while
// the caller still waited, so no later one than the seal's; under the seal's own nothing
// is written, and later ones are others.
//
// An append that is refused for its epoch alone was not written. It is sent again under
// the present epoch while its caller waits, which costs each handle a round trip after a
// seal was lifted.
type sealEpochs struct{ known atomic.Int64 }

// learn notes an epoch that was read from the store.
func (e *sealEpochs) learn(epoch int64) {
	for known := e.known.Load(); known < epoch && !e.known.CompareAndSwap(known, epoch); {
		known = e.known.Load()
	}
}
