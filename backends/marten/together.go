package marten

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventstore/adapter"
	"github.com/switchyard-dev/switchyard/internal/pgdriver"
)

// goTogether tells whether a group can be judged and written in one round trip: appends of
// one part each, to streams of their own. An ID that was archived and started again has two
// rows, which the statements do not tell apart.
func (b *Backend) goTogether(calls []*adapter.GroupedAppend) bool {
	if b.shape().archivePartitioned {
		return false
	}
	streams := make(map[string]struct{}, len(calls))
	for _, call := range calls {
		if len(call.Parts) != 1 || len(call.Parts[0].Events) == 0 {
			return false
		}
		streams[call.Parts[0].Stream] = struct{}{}
	}
	return len(streams) == len(calls)
}

// writeTogether judges the appends of a group by one statement, and writes those that it
// lets pass by statements for all of them, in one transaction and one round trip. An append
// that must be judged is left without a verdict: nothing was written of it. An error is that
// of the transaction.
func (b *Backend) writeTogether(ctx context.Context, calls []*adapter.GroupedAppend) error {
	conn, err := b.pool.Acquire(ctx)
	if err != nil {
		return &unreachableError{err}
	}
	defer conn.Release() // which ends a transaction that is open, and its connection
	t := &transaction{b: b, conn: conn, calls: calls}
	w, judge, err := t.arguments()
	if err != nil {
		return err
	}
	batch := &pgx.Batch{}
	b.queueBegin(batch, b.lockOf(w.streams), calls)
	batch.Queue(b.sql().judge, judge...)
	steps := t.steps(w)
	queue(batch, steps)
	answers := conn.SendBatch(ctx, batch)
	seen, err := t.take(answers, steps, len(calls))
	_ = answers.Close() // the rows told its error
	if err != nil {
		t.bury(ctx, err)
		if isInDoubt(&doubtError{err}) {
			return &doubtError{err}
		}
		return &partError{err: err}
	}
	numbers := t.numbers
	for i, call := range calls {
		n := len(call.Parts[0].Events)
		if numbers[0] != 0 {
			seen[i].numbers = append([]int64{0}, numbers[:n]...)
		}
		if at := call.Parts[0].RecordedAt; at != nil {
			seen[i].at = at.UTC().Truncate(time.Microsecond)
		}
		seen[i].answer(call, b)
		numbers = numbers[n:]
	}
	return nil
}

// arguments are those of the statement that judges, and of those that write.
func (t *transaction) arguments() (w writing, judge []any, err error) {
	var lowest, highest []int64
	var low, high []int32
	for i, call := range t.calls {
		p, err := t.b.preparedOf(call)
		if err != nil {
			return w, nil, err
		}
		part, key := call.Parts[0], p.parts[0].key
		least, most := allowed(part.Expected)
		lowest, highest = append(lowest, least), append(highest, most)
		w.creates, w.updates = w.creates || least == 0, w.updates || most > 0
		low = append(low, int32(len(w.events)+1))
		w.streams, w.kinds, w.counts = append(w.streams, key.id), append(w.kinds, key.kind), append(w.counts, int64(len(part.Events)))
		at := recordTime(part.RecordedAt)
		for n, event := range p.parts[0].events {
			w.add(event, key.id, i, n, at)
		}
		high = append(high, int32(len(w.events)))
	}
	ids := make([]pgtype.UUID, len(w.events))
	for i, event := range w.events {
		ids[i] = event.id
	}
	return w, []any{array(w.streams), array(w.kinds), array(lowest), array(highest), array(low), array(high), array(ids)}, nil
}

// allowed are the versions that a stream may have for an append.
func allowed(expected eventstore.ExpectedVersion) (lowest, highest int64) {
	if version, exact := expected.Exact(); exact {
		return pgdriver.Clamp(version), pgdriver.Clamp(version)
	}
	if !expected.Allows(0) {
		return 1, math.MaxInt64
	}
	return 0, math.MaxInt64
}

func recordTime(at *time.Time) pgtype.Timestamptz {
	if at == nil {
		return pgtype.Timestamptz{}
	}
	return pgtype.Timestamptz{Time: at.UTC().Truncate(time.Microsecond), Valid: true}
}

// array says what a slice is, which the driver would find out anew in every call by trying.
func array[T any](elements []T) pgtype.FlatArray[T] { return elements }

// take reads the answers of the batch.
func (t *transaction) take(answers pgx.BatchResults, steps []step, calls int) ([]functionAnswer, error) {
	if err := t.begun(answers); err != nil {
		return nil, err
	}
	var exists, archived, met pgtype.FlatArray[bool]
	var kinds pgtype.FlatArray[string]
	var versions pgtype.FlatArray[int64]
	var at time.Time
	if err := answers.QueryRow().Scan(&exists, &archived, &kinds, &versions, &met, &at, nil, nil); err != nil {
		return nil, err
	}
	if min(len(exists), len(archived), len(kinds), len(versions), len(met)) < calls {
		return nil, fmt.Errorf("%w: the server judged %d appends of %d", pgdriver.ErrLocal, len(versions), calls)
	}
	seen := make([]functionAnswer, calls)
	for i := range seen {
		seen[i] = functionAnswer{exists: exists[i], archived: archived[i], kind: kinds[i], version: versions[i], met: met[i], at: at.UTC()}
	}
	return seen, t.follow(answers, steps)
}

// judgement is the statement that judges a group. It says what it has seen, and leaves for
// the statements that follow which version each stream is at that may be written to, -1 for
// the others, and which streams are new. A stream that has a row and no event, as Marten's
// function leaves it that was called with none, is judged by itself where it is to be new:
// its row would be neither created nor updated. So is one that is another tenant's, which
// looks here as one that is archived does.
func (q *statements) judgement(s shape) string {
	met := `e.stream_id = s.id` + q.tenant + ` and e.version > s.version - ` + lookBack() + ` and e.id = any(($7::uuid[])[w.low:w.high]) and e.type <> '` + tombstoneType + `'`
	if s.uniqueIDs {
		met = `e.id = any(($7::uuid[])[w.low:w.high])`
	}
	named := ""
	if s.uuidKeys {
		named = " and (not present or kind = wanted)"
	}
	return `select array_agg(present), array_agg(archived), array_agg(kind), array_agg(version), array_agg(met), now(),
			set_config('switchyard.versions', string_agg(base::text, ','), true), set_config('switchyard.new', string_agg((base >= 0 and not present)::text, ','), true)
		from (select *, case when not met and not archived` + named + ` and version between lowest and highest and (highest > 0 or not present) then version else -1 end as base
			from (select w.n, w.kind as wanted, w.lowest, w.highest, s.id is not null as present, coalesce(s.is_archived, false) or ` + q.foreign + ` as archived, coalesce(s.type, '')::text as kind,
					coalesce(s.version, 0)::bigint as version, m.met is not null as met
				from unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::int[], $6::int[]) with ordinality w(id, kind, lowest, highest, low, high, n)
					left join ` + q.streams + ` s on s.id = w.id::` + q.id + q.streamTenant + `
					left join lateral (select true as met from ` + q.events + ` e where ` + met + ` limit 1) m on true) seen
			order by n) judged`
}

// judgedHere leaves for the statements that follow what was judged in this process.
const judgedHere = `select set_config('switchyard.versions', $1, true), set_config('switchyard.new', $2, true)`

// judgedBy are its arguments.
func judgedBy(streams []*streamWrite) []any {
	versions, created := make([]string, len(streams)), make([]string, len(streams))
	for i, s := range streams {
		versions[i], created[i] = strconv.FormatInt(s.read, 10), strconv.FormatBool(s.creates)
	}
	return []any{strings.Join(versions, ","), strings.Join(created, ",")}
}
