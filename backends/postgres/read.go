package postgres

import (
	"context"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// A filtered page looks at so many positions at most, so that a rare match keeps
// neither the server nor a subscription's progress waiting.
const filterWindow = 100_000

// A page makes room for a few events first, as most streams have, and then for so
// many at most at once.
const fewEvents, maxRoom = 16, 1024

// ReadStream implements [eventstore.Backend].
func (b *Backend) ReadStream(ctx context.Context, req eventstore.ReadStreamRequest) (eventstore.Page, error) {
	var page eventstore.Page
	err := b.call(ctx, func(ctx context.Context) error {
		q := query{order: "version", backward: req.Backward}
		q.where("stream_id = ", req.Stream)
		if req.After > 0 {
			q.where("version > ", clamp(req.After))
		}
		if req.Before > 0 {
			q.where("version < ", clamp(req.Before))
		}
		var err error
		if page.Events, page.End, err = b.readPage(ctx, &q, req.PageSize); err == nil && len(page.Events) == 0 {
			err = b.checkEmpty(ctx)
		}
		return err
	})
	return page, err
}

// ReadAll implements [eventstore.Backend].
func (b *Backend) ReadAll(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
	var page eventstore.Page
	err := b.call(ctx, func(ctx context.Context) error {
		var err error
		switch {
		case req.Backward:
			page, err = b.readBackward(ctx, req)
		case req.Filter.IsZero():
			page, err = b.readForward(ctx, req)
		default:
			page, err = b.readMatching(ctx, req)
		}
		return err
	})
	return page, err
}

// readForward is the plain read that subscriptions and exports live on: one
// statement. The identity is that of Open; to hold it against the database again
// costs more than the page.
func (b *Backend) readForward(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
	q := query{order: "global_position"}
	q.where("global_position > ", after(req.After))
	if !req.Before.IsZero() {
		q.where("global_position < ", before(req.Before))
	}
	events, end, err := b.readPage(ctx, &q, req.PageSize)
	page := eventstore.Page{Events: events, End: end, Next: req.After, Store: b.id}
	if n := len(events); n > 0 {
		page.Next = events[n-1].Position
	} else if err == nil {
		err = b.checkEmpty(ctx)
	}
	return page, err
}

// checkEmptyEvery is how long it may take until an empty answer is known to come from
// another table than the one that was opened. Rows tell theirs.
const checkEmptyEvery = time.Second

// checkEmpty asks which table an empty answer came from, where nobody did of late: the
// first read of a new stream is empty, and need not take two round trips.
func (b *Backend) checkEmpty(ctx context.Context) error {
	last, now := b.emptyChecked.Load(), time.Now().UnixNano()
	if now-last < int64(checkEmptyEvery) || !b.emptyChecked.CompareAndSwap(last, now) {
		return nil
	}
	var table int64
	err := b.pool.QueryRow(ctx, `select `+b.sql.table).Scan(&table)
	if err == nil {
		err = b.checkTable(table)
	}
	if err != nil {
		b.emptyChecked.Store(0) // the next one asks again
	}
	return err
}

// customPlans has what follows in the same transaction planned for its values.
// A plan for any values takes every category for a common one and scans by
// position, which for a rare one is a hundred times slower than its index.
const customPlans = `select set_config('plan_cache_mode', 'force_custom_plan', true)`

// plannedBatch returns a batch whose statements are planned for their values; it
// is sent with sendPlanned.
func plannedBatch() *pgx.Batch {
	batch := &pgx.Batch{}
	batch.Queue(customPlans)
	return batch
}

// sendPlanned returns the answers to what was queued after plannedBatch.
func (b *Backend) sendPlanned(ctx context.Context, batch *pgx.Batch) (pgx.BatchResults, error) {
	answers := b.pool.SendBatch(ctx, batch)
	if _, err := answers.Exec(); err != nil {
		_ = answers.Close()
		return nil, err
	}
	return answers, nil
}

// readMatching reads forward through a filter: the store's head, then the events,
// in one round trip, for every subscription makes it at every wake-up. The head
// comes first: everything up to it is visible to the second statement, so what
// that does not find up to there does not exist.
func (b *Backend) readMatching(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
	low, bound := after(req.After), int64(math.MaxInt64)
	if !req.Before.IsZero() {
		bound = before(req.Before) - 1
	}
	to := bound // positions low+1 … to
	if low < bound-filterWindow {
		to = low + filterWindow
	}
	q := query{order: "global_position"}
	q.where("global_position > ", low)
	q.where("global_position <= ", to)
	q.filter(req.Filter)
	limit := b.reading.limit(req.PageSize)
	sql, args := q.build(&b.sql, limit)
	batch := plannedBatch()
	batch.Queue(b.sql.head)
	batch.Queue(sql, args...)
	answers, err := b.sendPlanned(ctx, batch)
	if err != nil {
		return eventstore.Page{}, err
	}
	defer func() { _ = answers.Close() }() // the rows told its error
	page := eventstore.Page{Next: req.After}
	var head int64
	if page.Store, head, err = b.scanHead(answers.QueryRow()); err != nil {
		return eventstore.Page{}, err
	}
	rows, err := answers.Query()
	if err != nil {
		return eventstore.Page{}, err
	}
	events, end, err := b.collect(rows, limit, req.PageSize)
	if err != nil {
		return eventstore.Page{}, err
	}
	page.Events, page.End = events, end && (to == bound || to >= head)
	if n := len(events); n > 0 {
		page.Next = events[n-1].Position // beyond the head where it came in between
	}
	if passed := position(min(to, head)); end && page.Next.Before(passed) {
		page.Next = passed
	}
	return page, nil
}

// readBackward reads from the store's head, or from below a bound, to the beginning.
func (b *Backend) readBackward(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
	var page eventstore.Page
	var high int64
	var err error
	if page.Store, high, err = b.scanHead(b.pool.QueryRow(ctx, b.sql.head)); err != nil {
		return eventstore.Page{}, err
	}
	low := after(req.After) // positions low+1 … high
	if !req.Before.IsZero() {
		high = min(high, before(req.Before)-1)
	}
	if low >= high {
		page.End = true
		return page, nil
	}
	from := low
	if !req.Filter.IsZero() {
		from = max(low, high-filterWindow)
	}
	q := query{order: "global_position", backward: true}
	q.where("global_position > ", from)
	q.where("global_position <= ", high)
	q.filter(req.Filter)
	read := b.readPage
	if !req.Filter.IsZero() {
		read = b.readPlanned
	}
	events, end, err := read(ctx, &q, req.PageSize)
	if err != nil {
		return eventstore.Page{}, err
	}
	page.Events, page.Next, page.End = events, position(from+1), end && from == low
	if !end {
		page.Next = events[len(events)-1].Position
	}
	return page, nil
}

func (b *Backend) scanHead(row pgx.Row) (store uuid.UUID, head int64, err error) {
	var table int64
	if err := row.Scan(&table, &store, &head); err != nil {
		return store, 0, err
	}
	return store, head, b.checkTable(table)
}

// readPage runs a query for a page. end says that nothing matched beyond it.
func (b *Backend) readPage(ctx context.Context, q *query, size eventstore.PageSize) (events []eventstore.RecordedEvent, end bool, err error) {
	limit := b.reading.limit(size)
	sql, args := q.build(&b.sql, limit)
	rows, err := b.pool.Query(ctx, sql, args...)
	if err != nil {
		return nil, false, err
	}
	return b.collect(rows, limit, size)
}

// readPlanned is readPage for a query through a filter; see customPlans.
func (b *Backend) readPlanned(ctx context.Context, q *query, size eventstore.PageSize) (events []eventstore.RecordedEvent, end bool, err error) {
	limit := b.reading.limit(size)
	sql, args := q.build(&b.sql, limit)
	batch := plannedBatch()
	batch.Queue(sql, args...)
	answers, err := b.sendPlanned(ctx, batch)
	if err != nil {
		return nil, false, err
	}
	defer func() { _ = answers.Close() }() // the rows told its error
	rows, err := answers.Query()
	if err != nil {
		return nil, false, err
	}
	return b.collect(rows, limit, size)
}

// collect reads rows for a page until it is full, and closes them.
func (b *Backend) collect(rows pgx.Rows, limit int, size eventstore.PageSize) (events []eventstore.RecordedEvent, end bool, err error) {
	bytes, found := 0, 0
	events = make([]eventstore.RecordedEvent, 0, min(limit, fewEvents))
	err = b.eachEvent(rows, func(event eventstore.RecordedEvent) bool {
		found++
		bytes += event.Size()
		if len(events) == fewEvents {
			events = slices.Grow(events, min(limit-fewEvents, maxRoom))
		}
		events = append(events, event)
		return bytes < size.MaxBytes
	})
	b.reading.learn(len(events), bytes)
	return events, found < limit && bytes < size.MaxBytes, err
}

// pageBudget asks the server for about as many events as a page's bytes allow,
// by the size of the events that were read last. The page's own bound is kept in
// any case; this only keeps rows off the wire that the bound would drop.
type pageBudget struct{ meanSize atomic.Int64 }

func (p *pageBudget) limit(size eventstore.PageSize) int {
	mean := p.meanSize.Load()
	if mean == 0 {
		return size.MaxEvents
	}
	return max(1, min(size.MaxEvents, 2*size.MaxBytes/int(mean)))
}

func (p *pageBudget) learn(events, bytes int) {
	if events > 0 {
		p.meanSize.Store(int64(bytes/events) + 1)
	}
}

// query is a select on the events with conditions.
type query struct {
	order      string
	backward   bool
	conditions strings.Builder
	args       []any
}

func (q *query) where(condition string, arg any) {
	if q.conditions.Len() == 0 {
		q.conditions.WriteString(" where ")
	} else {
		q.conditions.WriteString(" and ")
	}
	q.args = append(q.args, arg)
	q.conditions.WriteString(condition)
	q.conditions.WriteString("$")
	q.conditions.WriteString(strconv.Itoa(len(q.args)))
}

func (q *query) filter(f eventstore.Filter) {
	// A prefix that reaches beyond the category names it, and the category is indexed.
	if f.Category == "" && strings.Contains(f.StreamPrefix, "-") {
		f.Category = eventstore.Category(f.StreamPrefix)
	}
	if f.Category != "" {
		q.where("split_part(stream_id, '-', 1) = ", f.Category)
	}
	if f.StreamPrefix != "" {
		q.where("stream_id ^@ ", f.StreamPrefix)
	}
	if len(f.Types) == 1 {
		q.where("event_type = ", f.Types[0])
	} else if len(f.Types) > 1 {
		q.where("event_type = any(", f.Types)
		q.conditions.WriteString(")")
	}
}

// build returns the query, whose rows are those that eachEvent takes.
func (q *query) build(sql *statements, limit int) (string, []any) {
	direction := ""
	if q.backward {
		direction = " desc"
	}
	q.args = append(q.args, limit)
	return "select " + sql.table + ", " + eventColumns + " from " + sql.events + q.conditions.String() +
		" order by " + q.order + direction + " limit $" + strconv.Itoa(len(q.args)), q.args
}

func position(n int64) eventstore.Position { return eventstore.NewPosition(uint64(n), 0) }

// after returns the number of the last position that is not wanted.
func after(p eventstore.Position) int64 {
	high, _ := p.Words()
	return clamp(high)
}

// before returns the number of the first position that is not wanted.
func before(p eventstore.Position) int64 {
	high, low := p.Words()
	if low > 0 { // no position of ours, but it has a place among them
		high = min(high, math.MaxUint64-1) + 1
	}
	return clamp(high)
}

func clamp(n uint64) int64 { return int64(min(n, math.MaxInt64)) }
