package marten

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/switchyard-dev/switchyard/eventstore"
)

const (
	// lookEvery is how often a reader looks whether those that it waits for have ended.
	lookEvery = 5 * time.Millisecond
	// runLimit is how many numbers a look follows that have no hole between them.
	runLimit = 4096
	// A writer that has held readers up for so long is told of in the log, and then to
	// the reader.
	stallSaid, stallRefused = time.Second, 10 * time.Second
)

// watermark knows up to which number the order is settled: each number at or below it is
// visible, or never will be. Numbers are taken before they are visible, so a reader that
// passes a hole may miss what appears in it.
//
// Whoever takes a number holds a lock on the sequence from before that to the end of the
// transaction. So a number that had been given out, and is not visible, belongs to a
// transaction that holds the lock now, or is lost. The order of what is asked matters:
// the last number first, then the locks, and only when all who held one then have ended,
// the events.
//
// A Rich application reserves numbers in a transaction of their own, and nothing shows
// them. There the grace passes between the first question and the second.
type watermark struct {
	sql    *statements
	pool   *pgxpool.Pool
	grace  time.Duration
	logger *slog.Logger
	holes  holes

	turn    chan struct{} // one looks at a time, the others use what it found
	settled int64
	last    int64 // the sequence's last number, when it was looked at
	samples []sample
	waiting *wait
}

// sample is a last number, and when it was read.
type sample struct {
	number int64
	at     time.Time
}

// wait is for transactions that held the lock after number was read.
type wait struct {
	number  int64
	holders map[string]int // process IDs, by virtual transaction
	since   time.Time
	said    bool
}

func newWatermark(sql *statements, pool *pgxpool.Pool, opts Options) *watermark {
	w := &watermark{sql: sql, pool: pool, grace: opts.Grace, logger: opts.Logger, turn: make(chan struct{}, 1)}
	w.turn <- struct{}{}
	return w
}

// take waits for the turn to look; give ends it.
func (w *watermark) take(ctx context.Context) error {
	select {
	case <-w.turn:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (w *watermark) give() { w.turn <- struct{}{} }

// now returns what is settled without looking.
func (w *watermark) now(ctx context.Context) (int64, error) {
	if err := w.take(ctx); err != nil {
		return 0, err
	}
	defer w.give()
	return w.settled, nil
}

// advance notes that everything from a settled number to another is visible, one number
// after the other.
func (w *watermark) advance(ctx context.Context, from, to int64) error {
	if err := w.take(ctx); err != nil {
		return err
	}
	defer w.give()
	if from <= w.settled && w.settled < to {
		w.settled = to
	}
	return nil
}

// reach waits until target is settled. within bounds that, where above zero: then what is
// settled is returned without an error. A writer that holds the reader up for longer than
// stallRefused is ErrUnavailable, with its process ID and age.
func (w *watermark) reach(ctx context.Context, target int64, within time.Duration) (int64, error) {
	var end time.Time
	if within > 0 {
		end = time.Now().Add(within)
	}
	for {
		settled, stalled, err := w.step(ctx, target)
		switch {
		case err != nil || settled >= target:
			return settled, err
		case within > 0 && !time.Now().Before(end):
			return settled, nil
		case within <= 0 && stalled != nil:
			return settled, stalled
		}
		timer := time.NewTimer(lookEvery)
		select {
		case <-ctx.Done():
			timer.Stop()
			return settled, ctx.Err()
		case <-timer.C:
		}
	}
}

// step looks once, if target is not settled yet.
func (w *watermark) step(ctx context.Context, target int64) (settled int64, stalled, err error) {
	if err := w.take(ctx); err != nil {
		return 0, nil, err
	}
	defer w.give()
	if w.settled >= target {
		return w.settled, nil, nil
	}
	if err := w.look(ctx); err != nil {
		return w.settled, nil, err
	}
	if target > w.last {
		return w.settled, nil, fmt.Errorf("marten: there is an event at %d, and the last number of %s is %d: the sequence was set back; set it to the highest seq_id", target, w.sql.sequence, w.last)
	}
	return w.settled, w.stall(ctx), nil
}

// look asks the server once.
func (w *watermark) look(ctx context.Context) error {
	from, asked := w.settled, time.Now()
	batch := &pgx.Batch{}
	batch.Queue(`select case when is_called then last_value else 0 end from ` + w.sql.sequence)
	batch.Queue(w.sql.locks())
	batch.Queue(w.sql.run(), from)
	answers := w.pool.SendBatch(ctx, batch)
	defer func() { _ = answers.Close() }() // the rows told its error
	var last, run int64
	if err := answers.QueryRow().Scan(&last); err != nil {
		return err
	}
	holders, err := scanHolders(answers)
	if err != nil {
		return err
	}
	if err := answers.QueryRow().Scan(&run); err != nil {
		return err
	}
	if err := answers.Close(); err != nil {
		return err
	}
	w.last = last
	if last < from { // the sequence was restarted
		w.settled, w.samples, w.waiting = 0, nil, nil
		w.holes.forget()
		return nil
	}
	w.settled = max(w.settled, run)
	if next := w.decide(last, holders, asked); next > w.settled {
		crossed := w.settled
		w.settled = next
		return w.holes.cross(ctx, w.pool, w.sql, crossed, next)
	}
	return nil
}

func scanHolders(answers pgx.BatchResults) (map[string]int, error) {
	rows, err := answers.Query()
	if err != nil {
		return nil, err
	}
	holders := make(map[string]int)
	var transaction string
	var pid int
	_, err = pgx.ForEachRow(rows, []any{&transaction, &pid}, func() error {
		holders[transaction] = pid
		return nil
	})
	return holders, err
}

// decide returns the number up to which the order is settled, by a look whose questions
// were sent at asked.
func (w *watermark) decide(last int64, holders map[string]int, asked time.Time) int64 {
	eligible, now := int64(0), time.Now()
	kept := w.samples[:0]
	for _, s := range w.samples { // in their order
		if asked.Sub(s.at) >= w.grace {
			eligible = s.number
			continue
		}
		kept = append(kept, s)
	}
	w.samples = kept
	if w.grace == 0 {
		eligible = last // it was read before the locks
	} else if n := len(kept); n == 0 || kept[n-1].number < last && now.Sub(kept[n-1].at) >= w.grace/100 {
		w.samples = append(w.samples, sample{last, now})
	}
	settled := w.settled
	if w.waiting != nil {
		for transaction := range w.waiting.holders {
			if _, still := holders[transaction]; !still {
				delete(w.waiting.holders, transaction)
			}
		}
		if len(w.waiting.holders) == 0 {
			settled = max(settled, w.waiting.number)
			w.waiting = nil
		}
	}
	switch {
	case eligible <= settled:
	case len(holders) == 0:
		settled, w.waiting = eligible, nil
	case w.waiting == nil:
		w.waiting = &wait{number: eligible, holders: holders, since: now}
	default:
		w.samples = append([]sample{{eligible, asked.Add(-w.grace)}}, w.samples...) // for the next wait
	}
	return settled
}

// stall says which writer has held readers up for long.
func (w *watermark) stall(ctx context.Context) error {
	if w.waiting == nil || time.Since(w.waiting.since) < stallSaid {
		return nil
	}
	held := time.Since(w.waiting.since).Round(100 * time.Millisecond)
	refused := time.Since(w.waiting.since) >= stallRefused
	if w.waiting.said && !refused {
		return nil
	}
	for transaction, pid := range w.waiting.holders {
		text := fmt.Sprintf("process %d (transaction %s) has held numbers of %s for %s and more%s", pid, transaction, w.sql.sequence, held, w.activity(ctx, pid))
		if !w.waiting.said {
			w.logger.WarnContext(ctx, "marten: a writer holds readers up", "writer", text)
			w.waiting.said = true
		}
		if refused {
			return fmt.Errorf("%w: marten: what comes next in the order is not decided: %s; end it, or let it end", eventstore.ErrUnavailable, text)
		}
	}
	return nil
}

// activity says since when a process is in its transaction, as far as this role may know.
func (w *watermark) activity(ctx context.Context, pid int) string {
	var state, application, age *string
	err := w.pool.QueryRow(ctx, `select state, application_name, date_trunc('milliseconds', clock_timestamp() - xact_start)::text from pg_stat_activity where pid = $1`, pid).Scan(&state, &application, &age)
	if err != nil || age == nil || state == nil || application == nil {
		return ""
	}
	return fmt.Sprintf(": %q is %s, in a transaction that is %s old", *application, *state, *age)
}

// locks selects who holds the lock that a number is taken under.
func (q *statements) locks() string {
	return `select virtualtransaction, coalesce(pid, 0) from pg_locks where locktype = 'relation' and mode = 'RowExclusiveLock' and granted
		and database = (select oid from pg_database where datname = current_database()) and relation = ` + literal(q.sequence) + `::regclass`
}

// run selects the last number of those that follow $1 without a hole.
func (q *statements) run() string {
	return fmt.Sprintf(`select coalesce(max(seq_id) filter (where seq_id = $1::bigint + n), $1::bigint) from
		(select seq_id, row_number() over (order by seq_id) as n from
			(select e.seq_id from %s e where e.seq_id > $1::bigint%s order by e.seq_id limit %d) x) y`, q.events, q.numbered, runLimit)
}

// begin notes the last number when the handle is opened, so that the grace begins then.
// It is a courtesy: whoever waits asks anew.
func (w *watermark) begin(ctx context.Context) {
	if w.grace == 0 {
		return
	}
	var last int64
	if err := w.pool.QueryRow(ctx, `select case when is_called then last_value else 0 end from `+w.sql.sequence).Scan(&last); err == nil {
		w.samples = append(w.samples, sample{last, time.Now()})
	}
}
