package projection

import (
	"context"
	"fmt"

	"github.com/switchyard-dev/switchyard/codec"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// Target is a database that keeps read models: their rows, and beside them their
// checkpoints and leases. Packages sqldb and pgxdb have one each. Tx is the
// transaction in which rows are written, such as *sql.Tx. It is safe for concurrent
// use, also by several processes.
//
// A database may lose its last commits: by a failover to an asynchronous standby, by a
// restore, by a crash where commits are not awaited. Rows and checkpoint go back
// together, and [New] sees it by the position that Update gives to f; a target's Save
// must see it by the request's Stored. Then Run begins again at the checkpoint that is
// there. So a target gives f what its transaction has read, never what it remembers.
type Target[Tx any] interface {
	eventstore.Checkpoints
	// Update calls f in a transaction, and saves the checkpoint to in the same one. f
	// is given the stored position, zero where there is none, and passes over events
	// up to it. It must not commit or roll back. Where the stored checkpoint is at or
	// beyond to, Update does nothing.
	//
	// Nothing stays of a transaction that fails. Errors: ErrForeignCheckpoint where the
	// stored checkpoint is another store's; ErrLeaseLost where to's epoch lies below
	// the stored one; ErrUnavailable where waiting may help, f's statements included,
	// or where the outcome of the commit is not known, which the next Update finds
	// out; ErrInvalid; the context's; f's.
	Update(ctx context.Context, to eventstore.Checkpoint, f func(ctx context.Context, tx Tx, after eventstore.Position) error) error
}

// New returns the durable subscription of a read model, for [eventstore.Store.Run]. It
// selects the types that c decodes; set its other fields, such as Filter.Categories,
// ParkStream and Retry. Without a target, a codec or apply Run fails with ErrInvalid.
//
// What apply writes through tx is committed together with the checkpoint, so each event
// counts exactly once, whoever crashes. Events come in the global order, in batches of
// what is at hand; each batch is one transaction. The events of a batch that fails are
// applied again one by one. apply must not commit or roll back tx, and what it does
// elsewhere may be done again: side effects belong into a reaction.
//
// An outage is waited out and not counted: a lost connection, a lock, a deadlock, a full
// disk, a server that takes no writes. What is out of its time, by a deadline that apply
// has set or by statement_timeout, idle_in_transaction_session_timeout or
// transaction_timeout of PostgreSQL, or out of memory, is the event's failure; so is all
// else.
//
// Name the read model with its version, such as "orders-v2": a new version runs beside
// the old one until readers go over, by Swap of its target.
//
// Over a network each statement takes a round trip; see [NewBatched].
func New[Tx, E any](target Target[Tx], name string, c *codec.Codec[E], apply func(ctx context.Context, tx Tx, event E, at eventstore.RecordedEvent) error) eventstore.Subscription {
	if apply == nil {
		return NewBatched(target, name, c, nil)
	}
	return NewBatched(target, name, c, func(ctx context.Context, tx Tx, events []codec.Decoded[E]) error {
		for _, event := range events {
			if err := apply(ctx, tx, event.Value, event.Recorded); err != nil {
				return err
			}
		}
		return nil
	})
}

// NewBatched is [New] for a read model that applies the events of a transaction
// together. It is there for databases over a network, where a statement for each event
// spends its time on round trips: send the statements at once (pgx.Batch), or write many
// rows with one (UNNEST, VALUES of several rows), say after adding up by key.
//
// apply is given one event or more, in the global order, and none that is committed
// already. Where it fails they are given to it again one by one, so that an event which
// fails for good is parked alone: what it does with many must come to what it does with
// each in its turn.
func NewBatched[Tx, E any](target Target[Tx], name string, c *codec.Codec[E], apply func(ctx context.Context, tx Tx, events []codec.Decoded[E]) error) eventstore.Subscription {
	sub := eventstore.Subscription{Name: name}
	if target == nil || c == nil || apply == nil {
		return sub
	}
	sub.Checkpoints = target
	sub.Filter.Types = c.Types()
	sub.BatchSaves = true
	sub.HandleBatch = func(ctx context.Context, batch eventstore.Batch) error {
		events, err := decode(ctx, c, batch.Events)
		if err != nil {
			return err
		}
		return target.Update(ctx, batch.Checkpoint, func(ctx context.Context, tx Tx, after eventstore.Position) error {
			if after.Before(batch.Stored.Position) { // the database has lost commits
				return fmt.Errorf("%w: the checkpoint of read model %q is at %s and was at %s: its database has lost commits", eventstore.ErrLeaseLost, batch.Checkpoint.Name, after, batch.Stored.Position)
			}
			rest := events
			for len(rest) > 0 && !after.Before(rest[0].Recorded.Position) {
				rest = rest[1:] // committed by an attempt whose answer was lost
			}
			if len(rest) == 0 {
				return nil
			}
			return apply(ctx, tx, rest)
		})
	}
	return sub
}

// decode comes before the transaction, which is the shorter for it.
func decode[E any](ctx context.Context, c *codec.Codec[E], events []eventstore.RecordedEvent) ([]codec.Decoded[E], error) {
	decoded := make([]codec.Decoded[E], 0, len(events))
	for _, event := range events {
		value, ok, err := c.Decode(ctx, event)
		if err != nil {
			return nil, err
		}
		if ok {
			decoded = append(decoded, codec.Decoded[E]{Value: value, Recorded: event})
		}
	}
	return decoded, nil
}
