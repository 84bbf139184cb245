package sqlite

import (
	"context"
	"errors"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventstore/adapter"
)

// Append implements [eventstore.Backend].
func (b *Backend) Append(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
	if err := b.ready(ctx); err != nil {
		return nil, err
	}
	return b.committer.Append(ctx, req)
}

// flush writes a group of appends in one transaction, each with its own verdict.
// If the transaction fails, so do all of them, even those that had been refused:
// a conflict may have been one with an earlier append of the same group.
func (b *Backend) flush(ctx context.Context, group []*adapter.GroupedAppend) {
	err := b.commit(ctx, group)
	if err != nil {
		for _, call := range group {
			call.Results, call.Err = nil, err
		}
		return
	}
	b.hint.Notify()
}

func (b *Backend) commit(ctx context.Context, group []*adapter.GroupedAppend) error {
	var w *writer
	select {
	case w = <-b.writer:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { b.writer <- w }()
	err := w.appendAll(ctx, group, true)
	if err == errMetAgain { //nolint:errorlint // wrapped, it would mean that the rollback failed too
		err = w.appendAll(ctx, group, false)
	}
	return err
}

// appendAll makes a group's appends in one transaction. Where assumeNew is wrong
// the error is errMetAgain, and nothing was written.
func (w *writer) appendAll(ctx context.Context, group []*adapter.GroupedAppend, assumeNew bool) error {
	return w.transaction(ctx, "append", func(*conn) error {
		a, err := w.appender(assumeNew)
		if err != nil {
			return err
		}
		for _, call := range group {
			// The group may have waited for the lock while the store was sealed and
			// unsealed. Who has left since may have been told of the seal; who has not
			// cannot be, before this transaction ends.
			if call.Err = call.Left(); call.Err != nil {
				continue
			}
			call.Results, call.Err = a.append(call.Parts)
			if call.Err != nil && !isVerdict(call.Err) {
				return call.Err
			}
		}
		return a.insertQueued()
	})
}

// isVerdict tells whether err is an answer about one append, which leaves the
// others of its group alone.
func isVerdict(err error) bool {
	return errors.Is(err, eventstore.ErrConflict) || errors.Is(err, eventstore.ErrEventIDReused) || errors.Is(err, eventstore.ErrSealed)
}

// errMetAgain says that an event which was taken for new is stored already.
var errMetAgain = errors.New("an event ID is met again")
