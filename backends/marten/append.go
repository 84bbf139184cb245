package marten

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventstore/adapter"
	"github.com/switchyard-dev/switchyard/internal/sleep"
)

const (
	// groups is how many groups of appends may be under way: while one commits the next
	// has been sent and waits at the lock.
	groups = 2
	// flushTimeout bounds a group. It is longer than the lock's own timeout, whose error
	// says for certain that nothing was written.
	flushTimeout = 30 * time.Second
	// Pauses before an append is tried again that others were faster than.
	firstPause, longestPause = 500 * time.Microsecond, 20 * time.Millisecond
)

// Append implements [eventstore.Backend]. It travels with the next group.
func (b *Backend) Append(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
	if err := b.ready(ctx); err != nil {
		return nil, err
	}
	if err := b.writable(); err != nil {
		return nil, err
	}
	p, err := b.prepare(req.Parts) // what cannot be stored is refused before any I/O
	if err != nil {
		return nil, err
	}
	return b.appends.AppendPrepared(ctx, req, p)
}

// writable refuses an append to a store that is only read.
func (b *Backend) writable() error {
	if why := b.shape().readOnly; why != "" {
		return &eventstore.UnsupportedError{Feature: "appending to this Marten store", Reason: why}
	}
	return nil
}

// flush writes a group in one transaction. Appends that share an event ID for one stream
// go one after the other, so that each meets the one before.
func (b *Backend) flush(ctx context.Context, calls []*adapter.GroupedAppend) {
	together, alone := adapter.SplitRepeats(calls)
	b.flushTogether(ctx, together)
	for _, call := range together {
		if call.Results == nil && call.Err == nil {
			b.flushAlone(ctx, call)
		}
	}
	for _, call := range alone {
		b.flushAlone(ctx, call)
	}
	b.pay(ctx)
	for _, call := range calls {
		if call.Err == nil || errors.Is(call.Err, eventstore.ErrUnknownOutcome) {
			b.hint.Notify()
			return
		}
	}
}

// flushTogether tries a group once. Where the transaction fails, all of its appends are
// left without a verdict, to be tried one by one; unless they may have been stored
// nevertheless. Then the Store settles them: an attempt whose connection is lost may
// still be on its way, so that not every verdict of the next one holds for it too.
func (b *Backend) flushTogether(ctx context.Context, calls []*adapter.GroupedAppend) {
	if len(calls) == 0 {
		return
	}
	err := b.try(ctx, calls)
	if err == nil {
		return
	}
	for _, call := range calls {
		call.Results, call.Err = nil, nil
	}
	if isInDoubt(err) {
		for _, call := range calls {
			call.Err = commitError(err)
		}
		return
	}
	if (len(calls) == 1 || isUnreachable(err)) && !migrated(err) {
		for _, call := range calls {
			b.refuse(ctx, call, err)
		}
	}
}

// try makes one attempt at a group, in the cheapest way that it can go. What only the
// general way can judge, that of [Backend.write], the others leave without a verdict.
func (b *Backend) try(ctx context.Context, calls []*adapter.GroupedAppend) error {
	var err error
	switch {
	case len(calls) == 1 && b.starts(calls[0]):
		err = b.startStream(ctx, calls[0])
	case (len(calls) == 1 || !b.goTogether(calls)) && b.byFunction(calls):
		err = b.callFunction(ctx, calls)
	case b.goTogether(calls):
		err = b.writeTogether(ctx, calls)
	default:
		return b.write(ctx, calls)
	}
	if err == nil && len(calls) == 1 && calls[0].Results == nil && calls[0].Err == nil {
		return b.write(ctx, calls)
	}
	return err
}

// refuse gives an append the verdict of a failure that is definite. None is given where
// somebody else was faster: then what they wrote is to be read.
func (b *Backend) refuse(ctx context.Context, call *adapter.GroupedAppend, err error) {
	var failed *partError
	switch {
	case faster(err):
	case errors.As(err, &failed) && refusal(err, call.Parts[failed.part], failed.actual) != nil:
		call.Err = refusal(err, call.Parts[failed.part], failed.actual)
	default:
		if migrated(err) {
			err = fmt.Errorf("%w: %w", errChanged, err)
		}
		call.Err = readError(context.WithoutCancel(ctx), err)
		if ctx.Err() != nil { // the group's time is not the callers'
			call.Err = fmt.Errorf("%w: the append took longer than %s: %w", eventstore.ErrUnavailable, flushTimeout, call.Err)
		}
	}
}

// flushAlone tries one append until it has a verdict, which is also that its outcome is
// not known.
func (b *Backend) flushAlone(ctx context.Context, call *adapter.GroupedAppend) {
	inspected := false
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		if call.Err = b.writable(); call.Err != nil { // since it was looked at again
			return
		}
		err := b.try(ctx, []*adapter.GroupedAppend{call})
		if err == nil {
			return
		}
		call.Results, call.Err = nil, nil
		switch {
		case isInDoubt(err):
			call.Err = commitError(err)
			return
		case migrated(err) && !inspected && b.inspect(ctx) == nil:
			inspected = true
		default:
			if b.refuse(ctx, call, err); call.Err == nil {
				call.Err = b.behind(ctx, call, err)
			}
			if call.Err != nil {
				return
			}
		}
		if sleep.For(ctx, pause/2+rand.N(pause)) != nil { //nolint:gosec // the jitter of a retry is no secret
			call.Err = fmt.Errorf("%w: marten: others were faster for %s: %w", eventstore.ErrUnavailable, flushTimeout, err)
			return
		}
	}
}

// behind refuses an append to a stream whose row is at a lower version than its events are,
// as nobody leaves it who writes both in one transaction: what looks like somebody who was
// faster would be there at each attempt, and each would take numbers in vain.
func (b *Backend) behind(ctx context.Context, call *adapter.GroupedAppend, err error) error {
	var server *pgconn.PgError
	if !errors.As(err, &server) || !versionTaken(server) {
		return nil
	}
	p, err := b.preparedOf(call)
	if err != nil {
		return err
	}
	var ids []string
	for _, part := range p.parts {
		ids = append(ids, part.key.id)
	}
	q, generation := b.sql(), ""
	if b.shape().archivePartitioned {
		generation = " and e.is_archived = s.is_archived"
	}
	var n int
	var says, last int64
	err = b.pool.QueryRow(ctx, `select w.n::int, coalesce(s.version, 0)::bigint, m.version::bigint
		from unnest($1::text[]) with ordinality w(id, n) left join `+q.streams+` s on s.id = w.id::`+q.id+q.streamTenant+`,
			lateral (select max(e.version) as version from `+q.events+` e where e.stream_id = w.id::`+q.id+q.tenant+generation+`) m
		where m.version > coalesce(s.version, 0) limit 1`, ids).Scan(&n, &says, &last)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil
	case err != nil:
		return readError(context.WithoutCancel(ctx), err)
	}
	return fmt.Errorf("marten: the row of stream %.80q in mt_streams says version %d, and mt_events has its version %d: nothing can be appended until the row's version is set to that of the last event", call.Parts[n-1].Stream, says, last)
}
