package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/postgres"
	"github.com/switchyard-dev/switchyard/codec"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/audit"
	"github.com/switchyard-dev/switchyard/internal/testservers"
	"github.com/switchyard-dev/switchyard/projection"
	"github.com/switchyard-dev/switchyard/projection/pgxdb"
)

// load is writers and subscribers at work while a test breaks things. Half of
// the writers let the Store settle unknown outcomes, half leave them unknown; the
// handles have pools of their own, as processes would.
type load struct {
	t       *testing.T
	url     string
	book    audit.Book
	stop    context.CancelFunc
	working sync.WaitGroup
}

const faultSeed = 7

func startLoad(t *testing.T, url string) *load {
	ctx, stop := context.WithCancel(context.Background())
	l := &load{t: t, url: url, stop: stop}
	t.Cleanup(func() { stop(); l.working.Wait() })
	for i := range 4 {
		settle := &eventstore.Options{RetryFor: time.Minute}
		if i%2 == 1 {
			settle.RetryFor = -1
		}
		store := newStore(t, openBackend(t, openPool(t, url), nil), settle)
		for j := range 4 {
			l.working.Go(func() { l.write(ctx, store, rand.New(rand.NewPCG(faultSeed, uint64(10*i+j)))) })
		}
	}
	for i, listen := range []bool{true, false} {
		store := newStore(t, openBackend(t, openPool(t, url), &postgres.Options{NoListen: !listen, Poll: 50 * time.Millisecond}), &eventstore.Options{RetryFor: time.Minute})
		l.working.Go(func() { l.book.Follow(ctx, store, fmt.Sprintf("subscriber %d", i)) })
	}
	return l
}

// write appends until the end: to a few shared streams and to many short ones,
// one event or three at a time.
func (l *load) write(ctx context.Context, store *eventstore.Store, chance *rand.Rand) {
	for n := 0; ctx.Err() == nil; n++ {
		stream := fmt.Sprintf("shared-%d", chance.IntN(4))
		if chance.IntN(2) == 0 {
			stream = "own-" + uuid.NewString()
		}
		events := []eventstore.Event{event("Happened", fmt.Sprintf(`{"n":%d}`, n))}
		if chance.IntN(3) == 0 {
			events = append(events, event("Happened", "{}"), event("Happened", "{}"))
		}
		appending, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		_, err := l.book.Append(appending, store, stream, eventstore.Any(), events...)
		cancel()
		if errors.Is(err, eventstore.ErrUnavailable) || errors.Is(err, eventstore.ErrUnknownOutcome) {
			pause(ctx, 20*time.Millisecond)
		} else if err != nil {
			l.t.Errorf("append: %v", err)
			return
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// await waits until so many more appends are acknowledged.
func (l *load) await(more int) {
	l.t.Helper()
	before := l.book.Totals().Acknowledged
	require.Eventually(l.t, func() bool { return l.book.Totals().Acknowledged >= before+more }, time.Minute, time.Millisecond)
}

// audit ends the load, lets the subscribers arrive, and holds the books against
// the store.
func (l *load) audit() (audit.Findings, audit.Totals) {
	l.t.Helper()
	store := newStore(l.t, openBackend(l.t, openPool(l.t, l.url), nil), nil)
	l.await(20)
	info, err := store.Info(l.t.Context())
	require.NoError(l.t, err)
	for _, name := range []string{"subscriber 0", "subscriber 1"} {
		require.Eventually(l.t, func() bool { return !l.book.Last(name).Before(info.Head.Position) }, time.Minute, 5*time.Millisecond, "%s does not arrive", name)
	}
	l.stop()
	l.working.Wait()
	found, err := l.book.Audit(store.ReadAll(l.t.Context(), eventstore.ReadAllOptions{}))
	require.NoError(l.t, err)
	return found, l.book.Totals()
}

func TestNothingIsLostOrDoubledWhenTheServerIsKilled(t *testing.T) {
	t.Parallel()
	server := testservers.PrivatePostgres(t, testservers.PostgresOptions{})
	l := startLoad(t, server.URL())
	rows := startRows(l)
	for range 20 {
		l.await(20)
		require.NoError(t, server.Kill())
		require.NoError(t, server.Start(t.Context()))
	}
	rows.finish()
	found, totals := l.audit()
	t.Logf("%+v, rows and events in one transaction: %d", totals, rows.committed)
	require.True(t, found.Clean(), "%s", found)
	require.Positive(t, totals.Unknown, "no kill met an append under way: the test proves nothing")
}

func TestNothingIsLostOrDoubledWhenSessionsAreTerminated(t *testing.T) {
	t.Parallel()
	url := server.Database(t)
	l := startLoad(t, url)
	admin, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer admin.Close(context.Background())
	chance := rand.New(rand.NewPCG(faultSeed, 1))
	for terminated := 0; terminated < 100; {
		l.await(2 + chance.IntN(10))
		rows, err := admin.Query(t.Context(), `select pid from pg_stat_activity
			where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend' order by pid`)
		require.NoError(t, err)
		pids, err := pgx.CollectRows(rows, pgx.RowTo[int32])
		require.NoError(t, err)
		if len(pids) > 0 {
			_, err = admin.Exec(t.Context(), `select pg_terminate_backend($1)`, pids[chance.IntN(len(pids))])
			require.NoError(t, err)
			terminated++
		}
	}
	found, totals := l.audit()
	t.Logf("%+v", totals)
	require.True(t, found.Clean(), "%s", found)
}

// Without a flush at commit the server loses what it acknowledged, and the audit
// says so: this is the proof that the tests above can fail.
func TestTheAuditFindsLossesOfAServerThatDoesNotFlush(t *testing.T) {
	t.Parallel()
	server := testservers.PrivatePostgres(t, testservers.PostgresOptions{
		Settings: map[string]string{"synchronous_commit": "off", "wal_writer_delay": "10s"},
	})
	l := startLoad(t, server.URL())
	backend := openBackend(t, openPool(t, server.URL()), nil)
	require.Equal(t, eventstore.SurvivesNothing, backend.Capabilities().Durability, "and the backend declares it")
	for range 3 {
		l.await(100)
		require.NoError(t, server.Kill())
		require.NoError(t, server.Start(t.Context()))
	}
	l.await(1)
	l.stop()
	l.working.Wait()
	store := newStore(t, backend, nil)
	found, err := l.book.Audit(store.ReadAll(t.Context(), eventstore.ReadAllOptions{}))
	require.NoError(t, err)
	require.Positive(t, found.Lost, "%s", found)
}

// rows is a writer that stores a row of its own and an event in one transaction,
// and a projection that counts those events, both across kills.
type rows struct {
	t         *testing.T
	book      *audit.Book
	pool      *pgxpool.Pool
	stop      context.CancelFunc
	working   sync.WaitGroup
	writing   context.CancelFunc
	written   sync.WaitGroup
	committed int
}

func startRows(l *load) *rows {
	t := l.t
	pool := openPool(t, l.url)
	_, err := pool.Exec(t.Context(), `create table orders (id uuid); create table counted (id uuid)`)
	require.NoError(t, err)
	backend := openBackend(t, pool, nil)
	ctx, stop := context.WithCancel(context.Background())
	writing, stopWriting := context.WithCancel(ctx)
	r := &rows{t: t, book: &l.book, pool: pool, stop: stop, writing: stopWriting}
	t.Cleanup(func() { stop(); r.written.Wait(); r.working.Wait() })
	r.written.Go(func() {
		for writing.Err() == nil {
			if r.order(context.WithoutCancel(ctx), backend) == nil {
				r.committed++
			} else {
				pause(writing, 10*time.Millisecond)
			}
		}
	})
	for range 2 { // two processes under one name
		store := newStore(t, openBackend(t, openPool(t, l.url), nil), nil)
		target, err := pgxdb.Open(t.Context(), openPool(t, l.url))
		require.NoError(t, err)
		placed := codec.Must(codec.New[struct{}](nil, codec.Of[struct{}]("OrderPlaced")))
		sub := projection.New(target, "counted", placed, func(ctx context.Context, tx pgx.Tx, _ struct{}, at eventstore.RecordedEvent) error {
			_, err := tx.Exec(ctx, `insert into counted values ($1)`, at.ID)
			return err
		})
		sub.Filter.Categories, sub.LeaseTTL = []string{"order"}, 2*time.Second
		r.working.Go(func() {
			if err := store.Run(ctx, sub); err != nil {
				t.Errorf("project: %v", err)
			}
		})
	}
	return r
}

func (r *rows) order(ctx context.Context, backend *postgres.Backend) error {
	placed := event("OrderPlaced", "{}")
	placed.ID = uuid.New()
	stream := "order-" + placed.ID.String()
	var result eventstore.AppendResult
	err := pgx.BeginFunc(ctx, r.pool, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `insert into orders values ($1)`, placed.ID)
		if err == nil {
			result, err = backend.AppendTx(ctx, tx, stream, eventstore.NoStream(), placed)
		}
		return err
	})
	outcome := err
	if err != nil {
		outcome = eventstore.ErrUnknownOutcome // a caller's transaction is the caller's to judge; here nobody does
	}
	r.book.Outcome(stream, []eventstore.Event{placed}, result, outcome)
	return err
}

// finish ends the writer, lets the projection arrive, and compares.
func (r *rows) finish() {
	r.t.Helper()
	r.writing()
	r.written.Wait()
	count := func(query string) (n int) {
		require.NoError(r.t, r.pool.QueryRow(r.t.Context(), query).Scan(&n))
		return n
	}
	const events = ` from switchyard.events where split_part(stream_id, '-', 1) = 'order'`
	require.Eventually(r.t, func() bool {
		var n, m int
		err := r.pool.QueryRow(r.t.Context(), `select (select count(distinct id) from counted), (select count(*)`+events+`)`).Scan(&n, &m)
		return err == nil && n >= m
	}, time.Minute, 10*time.Millisecond, "the projection does not arrive")
	r.stop()
	r.working.Wait()
	stored := count(`select count(*)` + events)
	require.GreaterOrEqual(r.t, stored, r.committed, "committed transactions are stored")
	require.Equal(r.t, stored, count(`select count(*) from orders`), "a row for each event and an event for each row")
	require.Zero(r.t, count(`select count(*) from (select id from orders except select id`+events+`) x`))
	require.Equal(r.t, stored, count(`select count(*) from counted`), "each event is counted once")
	require.Zero(r.t, count(`select count(*) from (select id`+events+` except select id from counted) x`))
}
