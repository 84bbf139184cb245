package marten

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/pgdriver"
)

const (
	// lookEvery is how often a reader looks whether those that it waits for have ended.
	lookEvery = 5 * time.Millisecond
	// runLimit is how many numbers a look follows that have no hole between them.
	runLimit = 4096
	// spread is how far apart the numbers of one transaction may lie for readers to keep
	// its events together.
	spread = 20_000
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
// the events. Where numbers follow one another without a hole nothing need be asked.
//
// A Rich application reserves numbers in a transaction of their own, and nothing shows
// them. There the grace passes between the first question and the second.
//
// Others' numbers may lie between those of an append, and so may the end of what is
// settled. Readers go as far as ready, which no append lies across: whoever sees a part
// of one can see the rest.
//
// A server that crashes gives numbers again that it had given out before, where nothing
// with such a number had been committed. So ready ends at the last row: beyond it a number
// is settled only while no crash has ended all sessions. A server that was started anew, or
// another one in its place, may also have lost what was committed: nothing is known of it.
type watermark struct {
	sql    *statements
	pool   *pgxpool.Pool
	grace  time.Duration
	logger *slog.Logger
	holes  holes

	turn    chan struct{} // one looks at a time, the others use what it found
	settled int64
	ready   int64
	visible int64     // the last event's number then; 0 where none was above settled
	known   time.Time // by the server's clock, when all this was found
	started time.Time // when the server was that it was found of
	unsure  time.Time // since when each look found new sessions only; zero where the last did not
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

// now returns how far readers may go, without a look, and when the server was started of
// which that is known.
func (w *watermark) now(ctx context.Context) (ready int64, started time.Time, err error) {
	if err := w.take(ctx); err != nil {
		return 0, started, err
	}
	defer w.give()
	return w.ready, w.started, nil
}

// isOf forgets what is known where it is not of the server that a page was read of.
func (w *watermark) isOf(ctx context.Context, started time.Time) error {
	if err := w.take(ctx); err != nil {
		return err
	}
	defer w.give()
	if !w.started.Equal(started) {
		w.forget(started)
	}
	return nil
}

// forget begins anew, as in a handle that was just opened.
func (w *watermark) forget(started time.Time) {
	w.settled, w.ready, w.visible, w.samples, w.waiting, w.started = 0, 0, 0, nil, nil, started
	w.holes.forget()
}

// beyond finds how far readers may go, which is beyond a number if any event is, or
// that there is none. It waits while there is one that they must not see yet. within
// bounds that, where above zero: then what is ready is returned without an error. A writer
// that holds readers up for longer than stallRefused is ErrUnavailable, with its process
// ID and age.
func (w *watermark) beyond(ctx context.Context, number int64, within time.Duration) (seen look, more bool, err error) {
	var end time.Time
	if within > 0 {
		end = time.Now().Add(within)
	}
	for {
		seen, err := w.step(ctx, number)
		switch {
		case err != nil || seen.ready > number:
			return seen, true, err
		case seen.visible <= number:
			return seen, false, nil
		case within > 0 && !time.Now().Before(end):
			return seen, true, nil
		case within <= 0 && seen.stalled != nil:
			return seen, true, seen.stalled
		case seen.advanced:
			continue
		}
		timer := time.NewTimer(lookEvery)
		select {
		case <-ctx.Done():
			timer.Stop()
			return seen, true, ctx.Err()
		case <-timer.C:
		}
	}
}

// reach waits until readers may go as far as target, the number of an event.
func (w *watermark) reach(ctx context.Context, target int64) error {
	for {
		seen, more, err := w.beyond(ctx, target-1, 0)
		if err != nil || !more || seen.ready >= target {
			return err
		}
	}
}

// look is what one look has found.
type look struct {
	ready, visible int64
	started        time.Time // the server was
	advanced       bool
	stalled        error
}

// step looks once, if readers may not go beyond a number yet.
func (w *watermark) step(ctx context.Context, number int64) (look, error) {
	if err := w.take(ctx); err != nil {
		return look{}, err
	}
	defer w.give()
	if w.ready > number {
		return look{ready: w.ready, visible: w.ready, started: w.started}, nil
	}
	before := w.settled
	if err := w.look(ctx); err != nil {
		return look{ready: w.ready}, err
	}
	return look{ready: w.ready, visible: w.visible, started: w.started, advanced: w.settled > before, stalled: w.stall(ctx)}, nil
}

// look asks the server once.
func (w *watermark) look(ctx context.Context) error {
	from, asked := w.settled, time.Now()
	var known *time.Time // nil where nothing depends on it
	if w.settled > w.ready || len(w.samples) > 0 || w.waiting != nil {
		known = &w.known
	}
	batch := &pgx.Batch{}
	batch.Queue(w.sql.lastNumber(), known)
	batch.Queue(w.sql.locks())
	batch.Queue(w.sql.run(), from)
	batch.Queue(w.sql.lastAfter(), w.ready)
	answers := w.pool.SendBatch(ctx, batch)
	defer func() { _ = answers.Close() }() // the rows told its error
	var last, run, top, visible int64
	var now, started time.Time
	var older, replica bool // a session is older than what is known; and this is a replica
	if err := answers.QueryRow().Scan(&last, &now, &older, &started, &replica); err != nil {
		return err
	}
	holders, err := scanHolders(answers)
	if err != nil {
		return err
	}
	if err := answers.QueryRow().Scan(&run, &top); err != nil {
		return err
	}
	if err := answers.QueryRow().Scan(&visible); err != nil {
		return err
	}
	if err := answers.Close(); err != nil {
		return err
	}
	if replica { // since the store was opened
		return errReplica
	}
	if !w.started.Equal(started) {
		w.forget(started)
		if from > 0 { // what was asked begins there
			return nil
		}
	}
	seen := w.visible // before the sequence was asked
	w.visible = visible
	w.known = now
	if err := w.forgetUnless(older); err != nil {
		return err
	}
	if w.settled < from { // what was asked begins there
		return nil
	}
	if last < from { // the sequence was restarted
		w.forget(started)
		return nil
	}
	if visible > 0 && seen > last {
		return fmt.Errorf("there is an event at %d, and the last number of %s is %d, which no reader can go by %w: the sequence was set back; set it to the highest seq_id", seen, w.sql.sequence, last, pgdriver.ErrLocal)
	}
	w.settled = max(w.settled, run)
	if next := w.decide(last, holders, asked); next > w.settled {
		if err := w.holes.cross(ctx, w.pool, w.sql, w.settled, next); err != nil { // or nobody would look for what is late there
			return err
		}
		w.settled = next
	}
	return w.keepTogether(ctx, min(w.settled, top))
}

var errReplica = fmt.Errorf("%w: marten: the server is a replica now, which does not show who is writing; have the pool connect to the primary (target_session_attrs=primary)", eventstore.ErrUnavailable)

// forgetUnless keeps what is settled beyond the last row only if a session is older than
// that: a crash of the server ends all. Where no look finds one, it cannot get on.
func (w *watermark) forgetUnless(older bool) error {
	if older {
		w.unsure = time.Time{}
		return nil
	}
	w.settled, w.samples, w.waiting = w.ready, nil, nil
	if w.unsure.IsZero() {
		w.unsure = time.Now()
	}
	if time.Since(w.unsure) < stallRefused {
		return nil
	}
	w.unsure = time.Time{}
	return fmt.Errorf("%w: marten: what comes next in the order is not decided: for %s each look has found only sessions that are younger than the look before, as after a crash of the server; "+
		"let the pool's connections live longer, or give the role pg_read_all_stats", eventstore.ErrUnavailable, stallRefused)
}

// keepTogether moves ready up to a number that is settled, or to before it where a
// transaction lies across. Rows of one transaction have the same xmin; that they lose it
// when they are archived or masked does no harm, for it is long after.
func (w *watermark) keepTogether(ctx context.Context, upTo int64) error {
	if w.ready >= upTo {
		return nil
	}
	// Where nothing lies behind what is settled, nothing lies across its end.
	rows, err := w.pool.Query(ctx, `select e.seq_id, e.xmin::text from `+w.sql.events+` e where e.seq_id > $1 and e.seq_id <= $3`+w.sql.numbered+`
		and (select min(e.seq_id) from `+w.sql.events+` e where e.seq_id > $2`+w.sql.numbered+`) <= $3`,
		max(w.ready, upTo-spread), upTo, upTo+spread)
	if err != nil {
		return err
	}
	type extent struct{ first, last int64 }
	transactions := make(map[string]extent)
	var number int64
	var xmin string
	_, err = pgx.ForEachRow(rows, []any{&number, &xmin}, func() error {
		t, ok := transactions[xmin]
		if !ok {
			t = extent{number, number}
		}
		transactions[xmin] = extent{min(t.first, number), max(t.last, number)}
		return nil
	})
	if err != nil {
		return err
	}
	ready := upTo
	for moved := true; moved; { // to keep one together may tear another
		moved = false
		for _, t := range transactions {
			if t.first <= ready && ready < t.last {
				ready, moved = t.first-1, true
			}
		}
	}
	w.ready = max(w.ready, ready)
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

// lastAfter selects the number of the last event after $1 that is delivered; 0 where
// there is none.
func (q *statements) lastAfter() string {
	return "select coalesce(max(e.seq_id), 0) from " + q.shown + " where e.seq_id > $1 and " + q.live
}

// run selects the last number of those that follow $1 without a hole, and the last of all
// rows.
func (q *statements) run() string {
	return fmt.Sprintf(`select coalesce(max(seq_id) filter (where seq_id = $1::bigint + n), $1::bigint), coalesce((select max(e.seq_id) from %s e where true%s), 0) from
		(select seq_id, row_number() over (order by seq_id) as n from
			(select e.seq_id from %s e where e.seq_id > $1::bigint%s order by e.seq_id limit %d) x) y`, q.events, q.numbered, q.events, q.numbered, runLimit)
}

// lastNumber selects the sequence's last number, the server's time, whether any session that
// this role may see is older than a time, where one is given, when the server was started and
// whether it is a replica.
func (q *statements) lastNumber() string {
	older := func(pid string) string {
		return "exists (select from pg_stat_get_activity(" + pid + ") where backend_start <= $1::timestamptz)"
	}
	return "select case when is_called then last_value else 0 end, clock_timestamp(), $1::timestamptz is null or " + older("pg_backend_pid()") + " or " + older("null") +
		", pg_postmaster_start_time(), pg_is_in_recovery() from " + q.sequence
}

// begin notes the last number when the handle is opened, so that the grace begins then.
// It is a courtesy: whoever waits asks anew.
func (w *watermark) begin(ctx context.Context) {
	if w.grace == 0 {
		return
	}
	var last int64
	if err := w.pool.QueryRow(ctx, w.sql.lastNumber(), nil).Scan(&last, &w.known, nil, &w.started, nil); err == nil {
		w.samples = append(w.samples, sample{last, time.Now()})
	}
}
