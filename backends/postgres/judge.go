package postgres

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventstore/adapter"
	"github.com/switchyard-dev/switchyard/internal/pgdriver"
)

// attempt is an append on its way: parts are those that are still to be written,
// which are all but those that were found to be stored already.
type attempt struct {
	results []eventstore.PartResult // one for each part of the append
	parts   []eventstore.StreamAppend
	at      []int        // the numbers of the parts in the append
	left    func() error // why the caller does not wait any more; nil while it does
	sent    int64        // the seal's epoch that was known when it was sent
	answer
}

// answer is what the schema's function said of an append.
type answer struct {
	written   bool
	met       bool     // a stream holds one of the event IDs
	versions  []uint64 // of each part's stream, before it and after the parts before it
	positions []uint64 // before each part's first event, where it was written
	recorded  time.Time
	sealed    *eventstore.SealedError
	epoch     int64 // the seal's
}

func newAttempt(parts []eventstore.StreamAppend, left func() error) *attempt {
	a := &attempt{left: left, results: make([]eventstore.PartResult, len(parts)), parts: parts, at: make([]int, len(parts))}
	for i := range parts {
		a.at[i] = i
	}
	return a
}

// judged takes the function's answer.
func (a *attempt) judged(versions, positions []pgtype.Int8, met bool, recorded pgtype.Timestamptz, seal pgtype.Text) {
	a.answer = answer{written: positions[0].Valid, met: met, recorded: recorded.Time.UTC()}
	if seal.Valid {
		a.sealed = &eventstore.SealedError{Reason: seal.String}
	}
	a.versions, a.positions = make([]uint64, len(versions)), make([]uint64, len(versions))
	for i := range a.parts {
		a.versions[i], a.positions[i] = uint64(versions[i].Int64), uint64(positions[i].Int64)
	}
	if a.written {
		for i := range a.parts {
			a.results[a.at[i]].Recorded = a.recordedEvents(i)
		}
	}
}

// recordedEvents says where the events of a part were written.
func (a *attempt) recordedEvents(i int) []eventstore.Recorded {
	part := &a.parts[i]
	if len(part.Events) == 0 {
		return nil // it was a check, and has no place in the order
	}
	at := a.recorded
	if part.RecordedAt != nil {
		at = part.RecordedAt.Truncate(time.Microsecond)
	}
	recorded := make([]eventstore.Recorded, len(part.Events))
	for n := range recorded {
		number := uint64(n) + 1
		recorded[n] = eventstore.Recorded{
			Version: a.versions[i] + number, Position: eventstore.NewPosition(a.positions[i]+number, 0), RecordedAt: at,
		}
	}
	return recorded
}

// settle says what came of an append after the schema's function was called with it,
// and calls it again where a part of the append was stored before and another was not,
// and where the store was sealed and unsealed since the append was sent. failed maps the
// error of such a call.
//
// The function writes where nothing speaks against it; every other verdict is
// [adapter.Judge]'s, by what the function saw under the lock and by the stored events,
// which do not change. So the lock is never held for the client.
func (b *Backend) settle(ctx context.Context, db rowsQuerier, a *attempt, failed func(error) error) ([]eventstore.PartResult, error) {
	for !a.written {
		done, err := b.judge(ctx, db, a)
		if err != nil {
			return nil, err
		}
		if done {
			break
		}
		if a.epoch != a.sent {
			if err := a.left(); err != nil {
				return nil, err // it may have been told of the seal since
			}
		}
		if err := b.callAppend(ctx, db, a.epoch, []*attempt{a}); err != nil {
			return nil, failed(err)
		}
	}
	return a.results, nil
}

// judge judges an append that was not written. done says that there is nothing left
// to write.
func (b *Backend) judge(ctx context.Context, db rowsQuerier, a *attempt) (done bool, err error) {
	var stored map[storedKey]eventstore.RecordedEvent
	if a.met {
		if stored, err = b.storedEvents(ctx, db, a.parts); err != nil {
			return false, readError(ctx, err)
		}
	}
	before := make(map[string]uint64, len(a.parts))
	for i, part := range a.parts {
		if _, seen := before[part.Stream]; !seen {
			before[part.Stream] = a.versions[i]
		}
	}
	decisions, err := adapter.Judge(a.parts, adapter.Streams{
		Version: func(stream string) (uint64, error) { return before[stream], nil },
		Find: func(stream string, event eventstore.Event) (adapter.Met, error) {
			found, ok := stored[storedKey{stream, event.ID}]
			return adapter.Met{
				Found:    ok,
				Recorded: eventstore.Recorded{Version: found.Version, Position: found.Position, RecordedAt: found.RecordedAt},
				Same:     ok && event.SameContent(found.Event),
			}, nil
		},
		Sealed: a.sealed,
	})
	if err != nil {
		return false, err
	}
	return a.leave(decisions)
}

// leave takes out the parts that are repetitions. done says that nothing is left to
// write; checks that are left then were judged when it was first written.
func (a *attempt) leave(decisions []adapter.Decision) (done bool, err error) {
	var parts []eventstore.StreamAppend
	var at []int
	writes := false
	for i, decision := range decisions {
		if decision.Recorded != nil {
			a.results[a.at[i]] = eventstore.PartResult{Recorded: decision.Recorded, Duplicate: true}
			continue
		}
		writes = writes || decision.Write
		parts, at = append(parts, a.parts[i]), append(at, a.at[i])
	}
	if writes && len(parts) == len(a.parts) && a.epoch == a.sent {
		return false, fmt.Errorf("append to stream %q: the server did not write it, and nothing speaks against it", a.parts[0].Stream)
	}
	a.parts, a.at = parts, at
	return !writes, nil
}

type storedKey struct {
	stream string
	id     uuid.UUID
}

// storedEvents reads the events of an append that are stored already.
func (b *Backend) storedEvents(ctx context.Context, db rowsQuerier, parts []eventstore.StreamAppend) (map[storedKey]eventstore.RecordedEvent, error) {
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
	_, err = b.eachEvent(rows, func(event eventstore.RecordedEvent) bool {
		stored[storedKey{event.Stream, event.ID}] = event
		return true
	})
	return stored, err
}

// allowed returns the versions between which an expectation lets an append be
// written.
func allowed(e eventstore.ExpectedVersion) (lowest, highest int64) {
	if version, exact := e.Exact(); exact {
		return pgdriver.Clamp(version), pgdriver.Clamp(version)
	}
	if e.Allows(0) {
		return 0, math.MaxInt64
	}
	return 1, math.MaxInt64
}
