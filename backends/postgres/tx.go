package postgres

import (
	"context"
	"iter"

	"github.com/jackc/pgx/v5"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// AppendTx appends inside a transaction of the caller's, so that rows and events
// become visible together or not at all. Arguments, results and errors are those
// of [eventstore.Store.Append] with the portable limits; [Backend.InTx] is for other
// options, and for several streams. tx must be read committed and in the database of
// the backend.
//
// The cost: from the first AppendTx to the end of tx, every other append to the
// store waits, in all processes. Do everything else first, append last, commit at
// once. The server ends tx if it idles for 15 s while it holds the lock, unless
// tx has an idle_in_transaction_session_timeout of its own; others wait for at
// most 10 s and then fail with ErrUnavailable.
//
// After ErrConflict, ErrEventIDReused or ErrSealed this call has written nothing and
// tx can go on. After any other error roll tx back. An error of tx's commit leaves the
// outcome of everything in tx unknown; repeat all of it, with the same event IDs.
// Subscriptions hear of the events at their next poll, or at once after
// [Backend.Notify].
func (b *Backend) AppendTx(ctx context.Context, tx pgx.Tx, stream string, expected eventstore.ExpectedVersion, events ...eventstore.Event) (eventstore.AppendResult, error) {
	store, err := b.InTx(tx, nil)
	if err != nil {
		return eventstore.AppendResult{}, err
	}
	return store.Append(ctx, stream, expected, events...)
}

// InTx returns a Store inside a transaction of the caller's, for as long as that lasts:
// it appends as AppendTx says, and its reads see what the transaction has appended.
// Give it the options of the application's own Store, so that the same limits hold;
// it never retries, for an error of the server ends a transaction. It keeps no
// checkpoints and no snapshots, and has no subscriptions. It need not be closed, and
// its Close leaves tx and the backend as they are.
func (b *Backend) InTx(tx pgx.Tx, opts *eventstore.Options) (*eventstore.Store, error) {
	var own eventstore.Options
	if opts != nil {
		own = *opts
	}
	own.RetryFor = -1
	return eventstore.New(&txBackend{Backend: b, tx: tx}, &own)
}

// Notify wakes subscriptions, in this and other processes: call it after the
// commit of a transaction in which events were appended. It does not wait.
func (b *Backend) Notify() { b.wake.appended() }

// txBackend appends and reads inside one transaction.
type txBackend struct {
	*Backend
	tx pgx.Tx
}

func (b *txBackend) Capabilities() eventstore.Capabilities {
	caps := b.Backend.Capabilities()
	outside := eventstore.No("a transaction has events only; use the store's own handle")
	caps.Checkpoints, caps.Snapshots, caps.Seal = outside, outside, outside
	return caps
}

func (b *txBackend) Append(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
	if err := b.ready(ctx); err != nil {
		return nil, err
	}
	// A transaction that holds the lock and is forgotten would stop every writer.
	if _, err := b.tx.Exec(ctx, limitIdling); err != nil {
		return nil, readError(ctx, err)
	}
	// Everything is certain: nothing counts until the transaction commits.
	certain := func(err error) error { return readError(ctx, err) }
	a := newAttempt(req.Parts, ctx.Err)
	if err := b.callAppend(ctx, b.tx, b.epochs.known.Load(), []*attempt{a}); err != nil {
		return nil, certain(err)
	}
	return b.settle(ctx, b.tx, a, certain)
}

func (b *txBackend) ReadStream(ctx context.Context, req eventstore.ReadStreamRequest) (eventstore.Page, error) {
	if err := b.ready(ctx); err != nil {
		return eventstore.Page{}, err
	}
	page, err := b.readStream(ctx, b.tx, req)
	return page, readError(ctx, err)
}

func (b *txBackend) ReadAll(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
	if err := b.ready(ctx); err != nil {
		return eventstore.Page{}, err
	}
	page, err := b.readAll(ctx, b.tx, req)
	return page, readError(ctx, err)
}

func (b *txBackend) Info(ctx context.Context) (eventstore.Info, error) {
	if err := b.ready(ctx); err != nil {
		return eventstore.Info{}, err
	}
	info, err := b.info(ctx, b.tx)
	return info, readError(ctx, err)
}

func (b *txBackend) Subscribe(context.Context, eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
	return func(yield func(eventstore.Message, error) bool) {
		yield(eventstore.Message{}, &eventstore.UnsupportedError{Feature: "subscribing", Reason: "a transaction sees its own moment; use the store's own handle"})
	}
}

func (b *txBackend) Close() error { return nil }

// limitIdling has the server end a transaction that idles, unless it has a limit
// already.
const limitIdling = `select set_config('idle_in_transaction_session_timeout',
	case current_setting('idle_in_transaction_session_timeout') when '0' then '15s'
	else current_setting('idle_in_transaction_session_timeout') end, true)`
