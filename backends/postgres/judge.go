package postgres

import (
	"context"
	"fmt"
	"math"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// attempt is an append on its way: parts are those that are still to be written,
// which are all but those that were found to be stored already.
type attempt struct {
	results []eventstore.AppendResult // one for each part of the append
	parts   []*eventstore.StreamAppend
	at      []int // the numbers of the parts in the append

	// What the schema's function said.
	written   bool
	met       bool     // a stream holds one of the event IDs
	versions  []uint64 // of each part's stream, before it and after the parts before it
	positions []uint64 // before each part's first event, where it was written
}

func newAttempt(parts []eventstore.StreamAppend) *attempt {
	a := &attempt{results: make([]eventstore.AppendResult, len(parts))}
	for i := range parts {
		a.parts, a.at = append(a.parts, &parts[i]), append(a.at, i)
	}
	return a
}

// judged takes the function's answer.
func (a *attempt) judged(versions, positions []pgtype.Int8) {
	a.written, a.met = positions[0].Valid, false
	a.versions, a.positions = make([]uint64, len(versions)), make([]uint64, len(versions))
	for i, part := range a.parts {
		a.versions[i], a.positions[i] = uint64(versions[i].Int64), uint64(positions[i].Int64)
		if !a.written {
			continue
		}
		n := uint64(len(part.Events))
		result := eventstore.AppendResult{Version: a.versions[i] + n}
		if n > 0 { // otherwise it was a check, and has no place in the order
			result.FirstVersion, result.Position = a.versions[i]+1, eventstore.NewPosition(a.positions[i]+n, 0)
		}
		a.results[a.at[i]] = result
	}
}

// settle says what came of an append after the schema's function was called with it,
// and calls it again where a part of the append was stored before and another was not.
// failed maps the error of such a call.
//
// The function writes where nothing speaks against it; every other verdict is
// [eventstore.Decide]'s, by the versions that the function saw under the lock and by
// the stored events, which do not change. So the lock is never held for the client.
func (b *Backend) settle(ctx context.Context, db rowsQuerier, a *attempt, failed func(error) error) ([]eventstore.AppendResult, error) {
	for !a.written {
		done, err := b.decide(ctx, db, a)
		if done || err != nil {
			return a.results, err
		}
		if err := b.callAppend(ctx, db, []*attempt{a}); err != nil {
			return nil, failed(err)
		}
	}
	return a.results, nil
}

// decide judges an append that was not written. done says that there is nothing left
// to write.
func (b *Backend) decide(ctx context.Context, db rowsQuerier, a *attempt) (done bool, err error) {
	var stored map[storedKey]eventstore.RecordedEvent
	if a.met {
		if stored, err = b.storedEvents(ctx, db, a.parts); err != nil {
			return false, readError(ctx, err)
		}
	}
	var first error // of the first part with an error
	var parts []*eventstore.StreamAppend
	var at []int
	repetition := true // all parts with events are
	versions := make(map[string]uint64, len(a.parts))
	for i, part := range a.parts {
		if _, met := versions[part.Stream]; !met {
			versions[part.Stream] = a.versions[i]
		}
		decision, err := eventstore.Decide(*part, versions[part.Stream], func(id uuid.UUID) (eventstore.RecordedEvent, bool, error) {
			event, ok := stored[storedKey{part.Stream, id}]
			return event, ok, nil
		})
		if err != nil && first == nil {
			first = err
		}
		if err == nil && decision.Result.Duplicate {
			a.results[a.at[i]] = decision.Result
			continue
		}
		if len(part.Events) > 0 {
			repetition = false
		} else {
			a.results[a.at[i]] = eventstore.AppendResult{Version: versions[part.Stream]}
		}
		if decision.Write {
			versions[part.Stream] += uint64(len(part.Events))
		}
		parts, at = append(parts, part), append(at, a.at[i])
	}
	switch {
	case repetition && len(parts) < len(a.parts):
		return true, nil // what is left are checks, which were judged when it was first written
	case first != nil:
		return false, first
	case len(parts) == len(a.parts):
		return false, fmt.Errorf("append to stream %q: the server did not write it, and nothing speaks against it", a.parts[0].Stream)
	}
	a.parts, a.at = parts, at
	return false, nil
}

type storedKey struct {
	stream string
	id     uuid.UUID
}

// storedEvents reads the events of an append that are stored already.
func (b *Backend) storedEvents(ctx context.Context, db rowsQuerier, parts []*eventstore.StreamAppend) (map[storedKey]eventstore.RecordedEvent, error) {
	var ids []pgtype.UUID
	var streams []string
	for _, part := range parts {
		for _, event := range part.Events {
			ids, streams = append(ids, pgtype.UUID{Bytes: event.ID, Valid: true}), append(streams, part.Stream)
		}
	}
	rows, err := db.Query(ctx, b.sql.storedIDs, ids, streams)
	if err != nil {
		return nil, err
	}
	stored := make(map[storedKey]eventstore.RecordedEvent, len(ids))
	err = b.eachEvent(rows, func(event eventstore.RecordedEvent) bool {
		stored[storedKey{event.Stream, event.ID}] = event
		return true
	})
	return stored, err
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
