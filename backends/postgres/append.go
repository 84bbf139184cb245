package postgres

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/groupcommit"
)

// Append implements [eventstore.Backend]. It travels with the next group.
func (b *Backend) Append(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.AppendResult, error) {
	if err := b.ready(ctx); err != nil {
		return nil, err
	}
	return b.appends.Append(ctx, req)
}

// flush writes a group. What the schema's function can judge goes in one call;
// the rest goes one by one: appends to several streams, and those that met one of
// their event IDs, in the store or earlier in the group.
func (b *Backend) flush(ctx context.Context, calls []*groupcommit.Call) {
	together, alone := split(calls)
	alone = append(alone, b.flushTogether(ctx, together)...)
	for _, call := range alone {
		call.Results, call.Err = b.appendAlone(ctx, call.Parts)
		for _, result := range call.Results {
			b.crowd.passed(result.Position)
		}
	}
	for _, call := range calls {
		if call.Err == nil || errors.Is(call.Err, eventstore.ErrUnknownOutcome) {
			b.wake.appended()
			return
		}
	}
}

// split takes from a group what one call of the function can judge.
func split(calls []*groupcommit.Call) (together, alone []*groupcommit.Call) {
	if len(calls) == 1 && len(calls[0].Parts) == 1 {
		return calls, nil
	}
	type key struct {
		stream string
		id     uuid.UUID
	}
	seen := make(map[key]struct{}, len(calls))
	for _, call := range calls {
		repeats := false
		for _, part := range call.Parts {
			for _, event := range part.Events {
				k := key{part.Stream, event.ID}
				_, again := seen[k]
				repeats = repeats || again
				seen[k] = struct{}{}
			}
		}
		if repeats || len(call.Parts) > 1 {
			alone = append(alone, call)
		} else {
			together = append(together, call)
		}
	}
	return together, alone
}

// flushTogether writes appends to one stream each in one round trip, sets their
// verdicts, and returns those that are to be judged alone.
func (b *Backend) flushTogether(ctx context.Context, calls []*groupcommit.Call) (alone []*groupcommit.Call) {
	if len(calls) == 0 {
		return nil
	}
	parts := make([]*eventstore.StreamAppend, len(calls))
	for i, call := range calls {
		parts[i] = &call.Parts[0]
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
	verdicts, err := b.callAppend(ctx, conn, parts)
	if err != nil {
		err = commitError(err)
		if len(calls) > 1 && !isContract(err) {
			return calls // nothing was written; who is at fault is found one by one
		}
		return fail(calls, err)
	}
	var last, written uint64
	for i, call := range calls {
		switch v := verdicts[i]; {
		case v.seen:
			alone = append(alone, call)
		case v.refused:
			call.Err = &eventstore.ConflictError{Stream: parts[i].Stream, Expected: parts[i].Expected, Actual: v.version}
		default:
			call.Results = []eventstore.AppendResult{v.result(len(parts[i].Events))}
			last = v.position // the group's positions follow one another
			written += uint64(len(parts[i].Events))
		}
	}
	if written > 0 {
		b.appends.SetFlushes(b.crowd.wrote(last-written+1, last))
	}
	return alone
}

func fail(calls []*groupcommit.Call, err error) []*groupcommit.Call {
	for _, call := range calls {
		call.Err = err
	}
	return nil
}

// verdict is the schema's function's on one append.
type verdict struct {
	seen, refused     bool
	version, position uint64
}

// newVerdict reads what the schema's functions answer for an append.
func newVerdict(version, position pgtype.Int8) verdict {
	return verdict{
		seen:    !version.Valid,
		refused: version.Valid && !position.Valid,
		version: uint64(version.Int64), position: uint64(position.Int64),
	}
}

func (v verdict) result(events int) eventstore.AppendResult {
	return eventstore.AppendResult{
		FirstVersion: v.version - uint64(events) + 1,
		Version:      v.version,
		Position:     eventstore.NewPosition(v.position, 0),
	}
}

// rowsQuerier is a connection or a transaction.
type rowsQuerier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// callAppend calls the schema's function on appends whose event IDs differ.
func (b *Backend) callAppend(ctx context.Context, db rowsQuerier, parts []*eventstore.StreamAppend) ([]verdict, error) {
	if len(parts) == 1 && len(parts[0].Events) == 1 {
		v, err := b.callAppendOne(ctx, db, parts[0])
		return []verdict{v}, err
	}
	args, err := columns(parts)
	if err != nil {
		return nil, err
	}
	rows, err := db.Query(ctx, b.sql.append, append([]any{b.table}, args...)...)
	if err != nil {
		return nil, err
	}
	var versions, positions pgtype.FlatArray[pgtype.Int8]
	for rows.Next() {
		if err := rows.Scan(&versions, &positions); err != nil {
			rows.Close()
			return nil, err
		}
	}
	// A failed commit is reported after the rows.
	if err := rows.Err(); err != nil {
		return nil, err
	}
	if len(versions) != len(parts) || len(positions) != len(parts) {
		return nil, fmt.Errorf("append: the server judged %d of %d appends", len(versions), len(parts))
	}
	verdicts := make([]verdict, len(parts))
	for i := range parts {
		verdicts[i] = newVerdict(versions[i], positions[i])
	}
	return verdicts, nil
}

// callAppendOne is callAppend for one event.
func (b *Backend) callAppendOne(ctx context.Context, db rowsQuerier, part *eventstore.StreamAppend) (verdict, error) {
	event := &part.Events[0]
	lowest, highest := allowed(part.Expected)
	contentType := pgtype.Text{String: event.ContentType, Valid: event.ContentType != eventstore.JSONContentType}
	var metadata []byte
	if len(event.Metadata) > 0 {
		var err error
		if metadata, err = encodeMetadata(event.Metadata); err != nil {
			return verdict{}, err
		}
	}
	rows, err := db.Query(ctx, b.sql.appendOne, b.table, part.Stream, lowest, highest, pgtype.UUID{Bytes: event.ID, Valid: true},
		event.Type, notNil(event.Data), contentType, metadata, recordTime(part))
	if err != nil {
		return verdict{}, err
	}
	var version, position pgtype.Int8
	_, err = pgx.ForEachRow(rows, []any{&version, &position}, func() error { return nil })
	return newVerdict(version, position), err // with the error of the commit, which comes after the row
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
	return pgtype.Timestamptz{Time: part.RecordedAt.UTC().Truncate(time.Microsecond), Valid: !part.RecordedAt.IsZero()}
}

// columns turns appends into the arrays that the schema's function takes. Arrays
// in which every element would be the default are left out.
func columns(parts []*eventstore.StreamAppend) ([]any, error) {
	events := 0
	for _, part := range parts {
		events += len(part.Events)
	}
	var (
		streams         = make([]string, len(parts))
		firsts, counts  = make([]int32, len(parts)), make([]int32, len(parts))
		lowest, highest = make([]int64, len(parts)), make([]int64, len(parts))
		appends         = make([]int32, 0, events)
		eventStreams    = make([]string, 0, events)
		ids             = make([]pgtype.UUID, 0, events)
		types           = make([]string, 0, events)
		datas           = make([][]byte, 0, events)
		contentTypes    []pgtype.Text
		metadatas       [][]byte
		times           []pgtype.Timestamptz
		first           = make(map[string]int32, len(parts))
	)
	for i, part := range parts {
		number := int32(i + 1)
		if _, met := first[part.Stream]; !met {
			first[part.Stream] = number
		}
		streams[i], firsts[i], counts[i] = part.Stream, first[part.Stream], int32(len(part.Events))
		lowest[i], highest[i] = allowed(part.Expected)
		for _, event := range part.Events {
			n := len(appends)
			appends = append(appends, number)
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
			if !part.RecordedAt.IsZero() {
				set(&times, n, events, recordTime(part))
			}
		}
	}
	return []any{streams, firsts, lowest, highest, counts, appends, eventStreams, ids, types, datas, contentTypes, metadatas, times}, nil
}

// set sets an element of a column that is made when its first element is set.
func set[T any](column *[]T, i, length int, value T) {
	if *column == nil {
		*column = make([]T, length)
	}
	(*column)[i] = value
}

// allowed returns the versions between which an expectation lets an append be
// written.
func allowed(e eventstore.ExpectedVersion) (lowest, highest int64) {
	if version, exact := e.Exact(); exact {
		return int64(version), int64(version)
	}
	if e.Allows(0) {
		return 0, math.MaxInt64
	}
	return 1, math.MaxInt64
}
