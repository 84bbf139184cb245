package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventstore/adapter"
	"github.com/switchyard-dev/switchyard/internal/pgdriver"
)

// Append implements [eventstore.Backend]. It travels with the next group.
func (b *Backend) Append(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
	if err := b.ready(ctx); err != nil {
		return nil, err
	}
	b.conflicts.arrived(req.Parts)
	results, err := b.appends.Append(ctx, req)
	b.conflicts.answered(ctx, b.lifetime, req.Parts, err)
	return results, err
}

// flush writes a group in one call of the schema's function. Appends that share an
// event ID for one stream go one after the other, so that each meets the one before.
func (b *Backend) flush(ctx context.Context, calls []*adapter.GroupedAppend) {
	together, alone := adapter.SplitRepeats(calls)
	alone = append(alone, b.flushTogether(ctx, together)...)
	for i := range alone {
		b.flushTogether(ctx, alone[i:i+1])
	}
	for _, call := range calls {
		if call.Err == nil || errors.Is(call.Err, eventstore.ErrUnknownOutcome) {
			b.wake.appended()
			return
		}
	}
}

// flushTogether writes appends in one round trip and sets their verdicts. It returns
// those that are to be tried alone: all of them, where one of several made the call
// fail.
func (b *Backend) flushTogether(ctx context.Context, calls []*adapter.GroupedAppend) (alone []*adapter.GroupedAppend) {
	known := b.epochs.known.Load()
	calls = waiting(calls) // of those who waited when the epoch was known; see sealEpochs
	if len(calls) == 0 {
		return nil
	}
	conn, err := b.pool.Acquire(ctx)
	if err != nil {
		err = readError(ctx, err)
		if ctx.Err() != nil { // the group's time is not the callers'
			err = fmt.Errorf("%w: no connection was free in time: %w", eventstore.ErrUnavailable, err)
		}
		return fail(calls, err)
	}
	defer conn.Release()
	attempts := make([]*attempt, len(calls))
	for i, call := range calls {
		attempts[i] = newAttempt(call.Parts, call.Left)
	}
	if err := b.callAppend(ctx, conn, known, attempts); err != nil {
		err = commitError(err)
		if len(calls) > 1 && !adapter.IsContract(err) {
			return calls // nothing was written; who is at fault is found one by one
		}
		return fail(calls, err)
	}
	b.limitGroups(attempts)
	for i, call := range calls {
		// What was not written is judged now that the lock is free.
		call.Results, call.Err = b.settle(ctx, conn, attempts[i], commitError)
	}
	return nil
}

// waiting are the calls whose callers still wait. The others are not written.
func waiting(calls []*adapter.GroupedAppend) []*adapter.GroupedAppend {
	return slices.DeleteFunc(slices.Clone(calls), func(call *adapter.GroupedAppend) bool {
		call.Err = call.Left()
		return call.Err != nil
	})
}

func fail(calls []*adapter.GroupedAppend, err error) []*adapter.GroupedAppend {
	for _, call := range calls {
		call.Err = err
	}
	return nil
}

// limitGroups notes which positions a call was given, which follow one another, and
// adapts how many groups may be under way.
func (b *Backend) limitGroups(attempts []*attempt) {
	first, last := uint64(0), uint64(0)
	for _, a := range attempts {
		for i, part := range a.parts {
			if n := uint64(len(part.Events)); a.written && n > 0 {
				if first == 0 {
					first = a.positions[i] + 1
				}
				last = a.positions[i] + n
			}
		}
	}
	if first > 0 {
		b.appends.SetFlushes(b.groupLimit.wrote(first, last))
	}
}

// rowsQuerier is a connection or a transaction.
type rowsQuerier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// callAppend calls the schema's function, which writes those appends that it may and
// says of the others why not. The appends have no event ID for one stream in common.
// known is the seal's epoch under which they may be written.
func (b *Backend) callAppend(ctx context.Context, db rowsQuerier, known int64, attempts []*attempt) error {
	if len(attempts) == 1 && len(attempts[0].parts) == 1 && len(attempts[0].parts[0].Events) == 1 {
		return b.callAppendOne(ctx, db, known, attempts[0])
	}
	args, err := b.columns(known, attempts)
	if err != nil {
		return err
	}
	rows, err := pgdriver.Query(ctx, db, b.sql.append, args...)
	if err != nil {
		return err
	}
	var versions, positions pgtype.FlatArray[pgtype.Int8]
	var met pgtype.FlatArray[int32]
	var recorded pgtype.Timestamptz
	var seal pgtype.Text
	var epoch int64
	// A failed commit is reported after the row.
	if _, err := pgx.ForEachRow(rows, []any{&versions, &positions, &met, &recorded, &seal, &epoch}, func() error { return nil }); err != nil {
		return err
	}
	b.epochs.learn(epoch)
	next := 0
	for _, a := range attempts {
		n := len(a.parts)
		if next+n > len(versions) || next+n > len(positions) {
			return fmt.Errorf("append: the server judged %d parts and %d positions, too few", len(versions), len(positions))
		}
		ours := slices.ContainsFunc(met, func(part int32) bool { return next < int(part) && int(part) <= next+n })
		a.judged(versions[next:next+n], positions[next:next+n], ours, recorded, seal)
		a.sent, a.epoch = known, epoch
		next += n
	}
	return nil
}

// callAppendOne is callAppend for one event.
func (b *Backend) callAppendOne(ctx context.Context, db rowsQuerier, known int64, a *attempt) error {
	part := &a.parts[0]
	event := &part.Events[0]
	low, high := allowed(part.Expected)
	contentType := pgtype.Text{String: event.ContentType, Valid: event.ContentType != eventstore.JSONContentType}
	var metadata []byte
	if len(event.Metadata) > 0 {
		var err error
		if metadata, err = encodeMetadata(event.Metadata); err != nil {
			return err
		}
	}
	rows, err := pgdriver.Query(ctx, db, b.sql.appendOne, b.table, b.rowType, known, part.Stream, low, high,
		pgtype.UUID{Bytes: event.ID, Valid: true}, event.Type, notNil(event.Data), contentType, metadata, recordTime(part))
	if err != nil {
		return err
	}
	versions, positions := make([]pgtype.Int8, len(a.parts)), make([]pgtype.Int8, len(a.parts))
	var met pgtype.Bool
	var recorded pgtype.Timestamptz
	var seal pgtype.Text
	var epoch int64
	if _, err := pgx.ForEachRow(rows, []any{&versions[0], &positions[0], &met, &recorded, &seal, &epoch}, func() error { return nil }); err != nil {
		return err
	}
	b.epochs.learn(epoch)
	a.judged(versions, positions, met.Bool, recorded, seal)
	a.sent, a.epoch = known, epoch
	return nil
}

// notNil is for data that is empty and not absent.
func notNil(data []byte) []byte {
	if data == nil {
		return []byte{}
	}
	return data
}

// recordTime is a preserved record time, and otherwise null.
func recordTime(part *eventstore.StreamAppend) pgtype.Timestamptz {
	if part.RecordedAt == nil {
		return pgtype.Timestamptz{}
	}
	return pgtype.Timestamptz{Time: part.RecordedAt.Truncate(time.Microsecond), Valid: true}
}

// columns turns appends into the arguments of the schema's function. Arrays in which
// every element would be the default are left out.
func (b *Backend) columns(known int64, attempts []*attempt) ([]any, error) {
	parts, events := 0, 0
	for _, a := range attempts {
		parts += len(a.parts)
		for _, part := range a.parts {
			events += len(part.Events)
		}
	}
	var (
		ends            = make([]int32, 0, len(attempts))
		streams         = make([]string, 0, parts)
		firsts, counts  = make([]int32, 0, parts), make([]int32, 0, parts)
		lowest, highest = make([]int64, 0, parts), make([]int64, 0, parts)
		offsets         = make([]int32, 0, parts)
		numbers         = make([]int32, 0, events)
		eventStreams    = make([]string, 0, events)
		ids             = make([]pgtype.UUID, 0, events)
		types           = make([]string, 0, events)
		datas           = make([][]byte, 0, events)
		contentTypes    []pgtype.Text
		metadatas       [][]byte
		times           []pgtype.Timestamptz
		first           = make(map[string]int32, parts)
	)
	for _, a := range attempts {
		for _, part := range a.parts {
			number := int32(len(streams) + 1)
			if _, met := first[part.Stream]; !met {
				first[part.Stream] = number
			}
			low, high := allowed(part.Expected)
			streams, firsts, counts = append(streams, part.Stream), append(firsts, first[part.Stream]), append(counts, int32(len(part.Events)))
			lowest, highest, offsets = append(lowest, low), append(highest, high), append(offsets, int32(len(numbers)))
			for _, event := range part.Events {
				n := len(numbers)
				numbers = append(numbers, number)
				eventStreams = append(eventStreams, part.Stream)
				ids = append(ids, pgtype.UUID{Bytes: event.ID, Valid: true})
				types = append(types, event.Type)
				datas = append(datas, notNil(event.Data))
				if event.ContentType != eventstore.JSONContentType {
					set(&contentTypes, n, events, pgtype.Text{String: event.ContentType, Valid: true})
				}
				if len(event.Metadata) > 0 {
					text, err := encodeMetadata(event.Metadata)
					if err != nil {
						return nil, err
					}
					set(&metadatas, n, events, text)
				}
				if part.RecordedAt != nil {
					set(&times, n, events, recordTime(&part))
				}
			}
		}
		ends = append(ends, int32(len(streams)))
	}
	return []any{
		b.table, b.rowType, known, array(ends), array(streams), array(firsts), array(lowest), array(highest), array(counts), array(offsets),
		array(numbers), array(eventStreams), array(ids), array(types), array(datas), array(contentTypes), array(metadatas), array(times),
	}, nil
}

// array says what a slice is, which the driver would find out anew in every call by
// trying: for 15 arrays that takes longer than to write them down.
func array[T any](elements []T) pgtype.FlatArray[T] { return elements }

// set sets an element of a column that is made when its first element is set.
func set[T any](column *[]T, i, length int, value T) {
	if *column == nil {
		*column = make([]T, length)
	}
	(*column)[i] = value
}
