package marten

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/pgdriver"
)

// write writes the parts, commits, and sets the results of their appends: all in one round
// trip.
//
// It takes the locks in the order of the store's own application, or both would wait for
// each other again and again: a Quick one writes the events first and then the stream's
// row, a Rich one the other way about. A row that is not there comes first in both.
func (t *transaction) write(ctx context.Context, writes []*partWrite) error {
	absent, err := t.holdChecked(ctx, writes)
	if err != nil {
		return err
	}
	if err := t.insert(ctx, writes, absent); err != nil {
		if isInDoubt(&doubtError{err}) {
			return &doubtError{err}
		}
		return err
	}
	for _, w := range writes {
		t.calls[w.call].Results[w.part].Recorded = w.recorded
	}
	return nil
}

// holdChecked locks the rows of streams that are only checked. One that is not there is
// inserted for the time of the transaction; absent are the IDs of those, to be forgotten.
func (t *transaction) holdChecked(ctx context.Context, writes []*partWrite) (absent []string, err error) {
	q := t.b.sql()
	for _, id := range t.checked {
		s := t.streams[id]
		written := slices.ContainsFunc(writes, func(w *partWrite) bool { return w.key.id == id }) // its guard holds it
		switch {
		case written:
		case !s.exists:
			absent = append(absent, id)
			_, err = t.conn.Exec(ctx, `insert into `+q.streams+` (id, tenant_id, version, is_archived) values ($1::text::`+q.id+`, `+q.tenantValue+`, 0, false)`, id)
		default:
			var version int64
			err = t.conn.QueryRow(ctx, `select coalesce(s.version, 0)::bigint from `+q.streams+` s where s.id = $1::text::`+q.id+q.streamTenant+` order by s.is_archived limit 1 for update`, id).Scan(&version)
			if err == nil && uint64(version) != s.read || errors.Is(err, pgx.ErrNoRows) {
				err = errOvertaken
			}
		}
		if err != nil {
			return nil, err
		}
	}
	return absent, nil
}

// forget takes the rows of absent streams away again.
func (t *transaction) forget(absent []string) step {
	if len(absent) == 0 {
		return step{}
	}
	q := t.b.sql()
	return step{args: []any{absent}, sql: `delete from ` + q.streams + ` s where s.id = any($1::text[]::` + q.id + `[])` + q.streamTenant + ` and s.version = 0`}
}

// failed says for which part a statement failed.
func (t *transaction) failed(w *partWrite, err error) error {
	return &partError{part: w.part, actual: t.streams[w.key.id].read, err: err}
}

// recordTime is that of a part's events.
func (t *transaction) recordTime(w *partWrite) time.Time {
	if w.at != nil {
		return w.at.UTC().Truncate(time.Microsecond)
	}
	return t.at
}

// record notes where the events of a part are.
func (w *partWrite) record(numbers []int64, at time.Time) {
	w.recorded = make([]eventstore.Recorded, len(numbers))
	for i, number := range numbers {
		w.recorded[i] = eventstore.Recorded{Version: w.first + uint64(i), Position: pgdriver.Position(number), RecordedAt: at}
	}
}

// streamWrite is what was judged of a stream that is written to.
type streamWrite struct {
	read    int64
	creates bool
}

// insert writes the parts, and commits.
func (t *transaction) insert(ctx context.Context, writes []*partWrite, absent []string) error {
	streams, w := t.writing(writes)
	batch := &pgx.Batch{}
	batch.Queue(judgedHere, judgedBy(streams)...)
	steps := t.steps(w)
	if forget := t.forget(absent); forget.sql != "" {
		steps = append(steps, forget)
	}
	queue(batch, steps)
	answers := t.conn.SendBatch(ctx, batch)
	defer func() { _ = answers.Close() }() // the rows told its error
	if _, err := answers.Exec(); err != nil {
		return err
	}
	if err := t.follow(answers, steps); err != nil {
		return t.failed(writes[0], err)
	}
	numbers := t.numbers
	for _, w := range writes {
		w.record(numbers[:len(w.events)], t.recordTime(w))
		numbers = numbers[len(w.events):]
	}
	return nil
}

// queue adds the steps to a batch, and the commit.
func queue(batch *pgx.Batch, steps []step) {
	batch.Queue(`savepoint before_events`)
	for _, s := range steps {
		batch.Queue(s.sql, s.args...)
	}
	batch.Queue(`commit`)
}

// follow reads the answers of what was queued.
func (t *transaction) follow(answers pgx.BatchResults, steps []step) error {
	if _, err := answers.Exec(); err != nil {
		return err
	}
	t.saved = true
	for _, s := range steps {
		if !s.numbers {
			if _, err := answers.Exec(); err != nil {
				return err
			}
			continue
		}
		var numbers string
		if err := answers.QueryRow().Scan(&numbers); err != nil {
			return err
		}
		for digits := range strings.SplitSeq(numbers, ",") {
			n, err := strconv.ParseInt(digits, 10, 64)
			if err != nil {
				return err
			}
			if t.numbers = append(t.numbers, n); n > 0 {
				t.burned = append(t.burned, n)
			}
		}
	}
	tag, err := answers.Exec()
	if err == nil && tag.String() != "COMMIT" {
		err = pgx.ErrTxCommitRollback
	}
	return errors.Join(err, answers.Close())
}

// writing puts together what is written to each stream, and the events.
func (t *transaction) writing(writes []*partWrite) (streams []*streamWrite, w writing) {
	places := make(map[string]int)
	for _, part := range writes {
		place, met := places[part.key.id]
		if !met {
			place = len(streams)
			places[part.key.id] = place
			streams = append(streams, &streamWrite{read: int64(t.streams[part.key.id].read), creates: part.creates})
			w.creates, w.updates = w.creates || part.creates, w.updates || !part.creates
			w.streams, w.kinds, w.counts = append(w.streams, part.key.id), append(w.kinds, part.key.kind), append(w.counts, 0)
		}
		at := t.recordTime(part)
		for _, event := range part.events {
			w.add(event, part.key.id, place, int(w.counts[place]), recordTime(&at))
			w.counts[place]++
		}
	}
	return streams, w
}

// bury writes tombstones for the numbers that a failed write has taken: the .NET daemon
// stops for seconds at each hole, and so do readers of a Rich store. That is in the same
// transaction where it is still open. Where it is over, or may be, the handle owes them.
func (t *transaction) bury(ctx context.Context, cause error) {
	open := t.saved && !t.conn.Conn().PgConn().IsClosed() && t.rollback(ctx)
	if t.called && (open || !t.saved) {
		t.lookForBurned(ctx, cause)
	}
	if len(t.burned) == 0 {
		return
	}
	if open {
		batch := &pgx.Batch{}
		t.b.sql().queueTombstones(batch, t.b.shape().uuidKeys, t.burned, t.started)
		batch.Queue(`commit`)
		if t.conn.SendBatch(ctx, batch).Close() == nil {
			return
		}
	}
	t.b.owed.add(owedNumbers{t.burned, t.started})
}

// rollback goes back to before the events. It fails where the transaction did not come so
// far, or is over. It goes by itself, for nothing can be prepared before it.
func (t *transaction) rollback(ctx context.Context) bool {
	_, err := t.conn.Exec(ctx, `rollback to savepoint before_events`)
	return err == nil
}

// lookForBurned finds the number that a call of Marten's function has taken before it
// failed, which a call for one event does once or not at all. It is the session's last
// number, if that is higher than the sequence's was when the transaction had begun: who had
// the session before, behind a pooler, has taken a lower one. A session that never took one
// has no last number.
//
// Behind a pooler, when the transaction is over, the session may have been another's since,
// who may hold a number for a Rich application. There the server's process is not the one
// that the connection was told of, and nothing is buried.
func (t *transaction) lookForBurned(ctx context.Context, cause error) {
	var server *pgconn.PgError
	if !t.began || !errors.As(cause, &server) || server.Code == raisedVersion || server.Code == raisedArchived || overtaken(server) && !versionTaken(server) {
		return // the function refuses before it takes a number
	}
	var number int64
	var process uint32
	if err := t.conn.QueryRow(ctx, `select currval(`+literal(t.b.sql().sequence)+`), pg_backend_pid()`).Scan(&number, &process); err != nil {
		if t.saved {
			t.rollback(ctx)
		}
		return
	}
	if number > t.last && !slices.Contains(t.burned, number) && (t.saved || process == t.conn.Conn().PgConn().PID()) {
		t.burned = append(t.burned, number)
	}
}
