package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// AppendTx appends inside a transaction of the caller's, so that rows and events
// become visible together or not at all. Arguments, verdicts and errors are those
// of [eventstore.Store.Append] with the portable limits; call it more than once to
// append to several streams. tx must be read committed and in the database of the
// backend.
//
// The cost: from the first AppendTx to the end of tx, every other append to the
// store waits, in all processes. Do everything else first, append last, commit at
// once. The server ends tx if it idles for 15 s while it holds the lock, unless
// tx has an idle_in_transaction_session_timeout of its own; others wait for at
// most 10 s and then fail with ErrUnavailable.
//
// After ErrConflict or ErrEventIDReused this call has written nothing and tx can
// go on. After any other error roll tx back. An error of tx's commit leaves the
// outcome of everything in tx unknown; repeat all of it, with the same event IDs.
// Subscriptions hear of the events at their next poll, or at once after
// [Backend.Notify].
func (b *Backend) AppendTx(ctx context.Context, tx pgx.Tx, stream string, expected eventstore.ExpectedVersion, events ...eventstore.Event) (eventstore.AppendResult, error) {
	// A Store over this one transaction checks and prepares the events as always.
	store, err := eventstore.New(&txBackend{Backend: b, tx: tx}, &eventstore.Options{RetryFor: -1})
	if err != nil {
		return eventstore.AppendResult{}, err
	}
	return store.Append(ctx, stream, expected, events...)
}

// Notify wakes subscriptions, in this and other processes: call it after the
// commit of a transaction in which AppendTx was used. It does not wait.
func (b *Backend) Notify() { b.wake.appended() }

// txBackend appends inside one transaction.
type txBackend struct {
	*Backend
	tx pgx.Tx
}

func (b *txBackend) Append(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.AppendResult, error) {
	if err := b.ready(ctx); err != nil {
		return nil, err
	}
	// A transaction that holds the lock and is forgotten would stop every writer.
	if _, err := b.tx.Exec(ctx, limitIdling); err != nil {
		return nil, readError(ctx, err)
	}
	// Everything is certain: nothing counts until the transaction commits.
	certain := func(err error) error { return readError(ctx, err) }
	a := newAttempt(req.Parts)
	if err := b.callAppend(ctx, b.tx, []*attempt{a}); err != nil {
		return nil, certain(err)
	}
	return b.settle(ctx, b.tx, a, certain)
}

// limitIdling has the server end a transaction that idles, unless it has a limit
// already.
const limitIdling = `select set_config('idle_in_transaction_session_timeout',
	case current_setting('idle_in_transaction_session_timeout') when '0' then '15s'
	else current_setting('idle_in_transaction_session_timeout') end, true)`
