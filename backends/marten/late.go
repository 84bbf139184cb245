package marten

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/pgdriver"
)

const (
	// holesKept is how long a hole that was crossed is looked at, and mostHoles how many
	// numbers back from where one was crossed.
	holesKept = 10 * time.Minute
	mostHoles = 10_000
	// lateEvery is how often they are looked at.
	lateEvery = time.Second
)

// holes remembers the numbers that readers have passed though nobody could see an event
// there. One may appear: of a Rich writer that took longer than the grace, or of any
// where Quick was said of a store that is not.
type holes struct {
	mu      sync.Mutex
	crossed map[int64]time.Time
	late    map[int64]eventstore.RecordedEvent // events that appeared, by number
	looked  time.Time
}

func (h *holes) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.crossed, h.late = nil, nil
}

// cross notes the holes after one number up to another.
func (h *holes) cross(ctx context.Context, pool *pgxpool.Pool, sql *statements, from, to int64) error {
	// Counting is cheap, and where all are there nothing need be looked for.
	rows, err := pool.Query(ctx, `select g from generate_series($1::bigint, $2::bigint) g
		where (select count(*) from `+sql.events+` e where e.seq_id >= $1 and e.seq_id <= $2`+sql.numbered+`) <= $2::bigint - $1::bigint
			and not exists (select from `+sql.events+` e where e.seq_id = g`+sql.numbered+`)`, max(from, to-mostHoles)+1, to)
	if err != nil {
		return err
	}
	numbers, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil || len(numbers) == 0 {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.crossed == nil {
		h.crossed, h.late = make(map[int64]time.Time), make(map[int64]eventstore.RecordedEvent)
	}
	now := time.Now()
	maps.DeleteFunc(h.crossed, func(_ int64, at time.Time) bool { return now.Sub(at) > holesKept })
	for _, n := range numbers {
		h.crossed[n] = now
	}
	for n := range h.crossed {
		if len(h.crossed) <= 2*mostHoles {
			break
		}
		if n <= to-mostHoles {
			delete(h.crossed, n)
		}
	}
	return nil
}

// between returns the holes after one number up to another.
func (h *holes) between(from, to int64) []int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []int64
	for n := range h.crossed {
		if from < n && n <= to {
			all = append(all, n)
		}
	}
	return all
}

// due returns the holes to look at; none where somebody looked a moment ago.
func (h *holes) due() []int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.crossed) == 0 || time.Since(h.looked) < lateEvery {
		return nil
	}
	h.looked = time.Now()
	return slices.Collect(maps.Keys(h.crossed))
}

// found notes which holes hold something now: an event, or nil for what is not delivered.
func (h *holes) found(n int64, event *eventstore.RecordedEvent) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.crossed, n)
	if event != nil && h.late != nil { // they are forgotten where a sequence was restarted meanwhile
		h.late[n] = *event
	}
}

func (h *holes) lateAt(n int64) (eventstore.RecordedEvent, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	event, ok := h.late[n]
	return event, ok
}

// lookForLate looks whether anything has appeared in a hole.
func (b *Backend) lookForLate(ctx context.Context) error {
	numbers := b.water.holes.due()
	if len(numbers) == 0 {
		return nil
	}
	q := b.sql()
	where := ` where e.seq_id = any($1)` + q.numbered
	rows, err := b.pool.Query(ctx, `select e.seq_id from `+q.shown+where+` and not `+q.live, numbers)
	if err != nil {
		return err
	}
	filled, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return err
	}
	for _, n := range filled {
		b.water.holes.found(n, nil)
	}
	if rows, err = b.pool.Query(ctx, `select `+q.columns+` from `+q.from+where+` and `+q.live, numbers); err != nil {
		return err
	}
	var seen recent
	return eachRow(rows, func(r *row) (bool, error) {
		event, err := b.event(r, &seen)
		if err == nil {
			b.water.holes.found(r.seq, &event)
		}
		return true, err
	})
}

// passage is what one subscription has passed.
type passage struct {
	b       *Backend
	filter  eventstore.Filter
	crossed map[int64]struct{}
}

// note adds the holes between two places that a page has passed.
func (p *passage) note(from eventstore.Position, page eventstore.Page) {
	for _, n := range p.b.water.holes.between(pgdriver.After(from), pgdriver.After(page.Next.Position)) {
		p.crossed[n] = struct{}{}
	}
	for _, event := range page.Events { // what was delivered appeared in time
		delete(p.crossed, pgdriver.After(event.Position))
	}
}

// late returns a LateArrivalError where an event appeared that was passed.
func (p *passage) late(passed eventstore.Position) error {
	for n := range p.crossed {
		event, ok := p.b.water.holes.lateAt(n)
		if !ok {
			continue
		}
		delete(p.crossed, n)
		if p.filter.Match(event.Stream, event.Type) {
			return fmt.Errorf("%w; %s", &eventstore.LateArrivalError{Late: event.Place(), Passed: passed}, p.b.opts.againstLate())
		}
	}
	return nil
}
