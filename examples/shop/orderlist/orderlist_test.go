package orderlist

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventtest"
	"github.com/switchyard-dev/switchyard/examples/shop/order"
	"github.com/switchyard-dev/switchyard/internal/testservers"
	"github.com/switchyard-dev/switchyard/projection"
	"github.com/switchyard-dev/switchyard/projection/sqldb"
)

var server testservers.SharedPostgres

func TestMain(m *testing.M) { os.Exit(server.Main(m)) }

// shop is a store with orders, and their list in a database.
type shop struct {
	store  *eventstore.Store
	orders *order.Orders
	list   *List
}

// onEachDatabase runs a test on SQLite and on PostgreSQL.
func onEachDatabase(t *testing.T, test func(t *testing.T, s shop)) {
	t.Helper()
	for name, open := range map[string]func(*testing.T) (*sql.DB, sqldb.Dialect){
		"SQLite": func(t *testing.T) (*sql.DB, sqldb.Dialect) {
			db, err := sql.Open("sqlite", "file:"+filepath.ToSlash(filepath.Join(t.TempDir(), "list.db"))+"?_pragma=busy_timeout(5000)&_pragma=journal_mode(wal)")
			require.NoError(t, err)
			return db, sqldb.SQLite
		},
		"PostgreSQL": func(t *testing.T) (*sql.DB, sqldb.Dialect) {
			db, err := sql.Open("pgx", server.Database(t))
			require.NoError(t, err)
			return db, sqldb.PostgreSQL
		},
	} {
		t.Run(name, func(t *testing.T) {
			db, dialect := open(t)
			t.Cleanup(func() { require.NoError(t, db.Close()) })
			store := eventtest.NewStore(t)
			orders, err := order.New(store, order.Events(nil), nil)
			require.NoError(t, err)
			list, err := Open(t.Context(), db, dialect)
			require.NoError(t, err)
			test(t, shop{store, orders, list})
		})
	}
}

// do decides, and returns the position of what was decided.
func (s shop) do(t *testing.T, id string, decide func(order.Order) ([]order.Event, error)) eventstore.Position {
	t.Helper()
	res, err := s.orders.Transact(t.Context(), order.Stream(id), decide)
	require.NoError(t, err)
	return res.Position
}

// run keeps the list in step until the test ends.
func (s shop) run(t *testing.T) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.list.Run(ctx, s.store) }()
	t.Cleanup(func() {
		stop()
		require.NoError(t, <-ended)
	})
}

// catchUp brings a version as far as the store.
func (s shop) catchUp(t *testing.T, v version) {
	t.Helper()
	sub := s.list.model(v)
	sub.UntilCaughtUp = true
	require.NoError(t, s.store.Run(t.Context(), sub))
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func TestAClientReadsItsOwnWrite(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, s shop) {
		s.run(t)
		for i := range int64(20) {
			id := fmt.Sprint(i)
			due, err := s.list.Due(within(t, 10*time.Second), "ann", s.do(t, id, order.Place("ann", 100+i)))
			require.NoError(t, err)
			require.Equal(t, 100+i, due["order-"+id])
			due, err = s.list.Due(within(t, 10*time.Second), "ann", s.do(t, id, order.Pay(60, "p1")))
			require.NoError(t, err)
			require.Equal(t, 40+i, due["order-"+id])
		}
		due, err := s.list.Due(within(t, 10*time.Second), "ann", s.do(t, "7", order.Cancel("late")))
		require.NoError(t, err)
		require.Len(t, due, 19)
		due, err = s.list.Due(within(t, 10*time.Second), "ann", s.do(t, "8", order.Pay(48, "p2")))
		require.NoError(t, err)
		require.Len(t, due, 18)
		due, err = s.list.Due(t.Context(), "bob", eventstore.Position{})
		require.NoError(t, err)
		require.Empty(t, due)
	})
}

func TestAListThatIsBehindSaysSo(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, s shop) { // nobody runs it
		at := s.do(t, "1", order.Place("ann", 1))
		var err error
		for patience := 20 * time.Millisecond; patience < 20*time.Second && !errors.Is(err, projection.ErrBehind); patience *= 2 { // in less a slow machine may not have asked
			_, err = s.list.Due(within(t, patience), "ann", at)
			require.Error(t, err)
		}
		require.ErrorIs(t, err, projection.ErrBehind)
	})
}

func TestReadersGoOverToTheSecondVersionAndNeverBack(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, s shop) {
		_, err := s.list.db.ExecContext(t.Context(), `UPDATE orderlist_current SET name = 'orderlist-v1'`) // a list that an older release made
		require.NoError(t, err)
		for i := range 100 {
			s.do(t, fmt.Sprint(i), order.Place("ann", 1))
		}
		s.catchUp(t, v1())
		due, err := s.list.Due(t.Context(), "ann", eventstore.Position{})
		require.NoError(t, err)
		require.Len(t, due, 100, "the first version")

		s.run(t)
		seen := len(due)
		for i := 100; ; i++ { // orders are placed meanwhile, one after the other
			at := s.do(t, fmt.Sprint(i), order.Place("ann", 1))
			for _, position := range []eventstore.Position{{}, at} {
				due, err := s.list.Due(within(t, 10*time.Second), "ann", position)
				require.NoError(t, err)
				require.GreaterOrEqual(t, len(due), seen)
				seen = len(due)
			}
			require.Equal(t, i+1, seen)
			v, err := s.list.current(t.Context())
			require.NoError(t, err)
			if v.name == v2().name && i > 120 {
				break
			}
			require.Less(t, i, 5000, "it goes over at last")
		}
	})
}

func TestReadersStayWithTheFirstVersionUntilTheSecondHasCaughtUp(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, s shop) {
		_, err := s.list.db.ExecContext(t.Context(), `UPDATE orderlist_current SET name = 'orderlist-v1'`)
		require.NoError(t, err)
		s.do(t, "1", order.Place("ann", 1))
		s.catchUp(t, v1())
		require.NoError(t, s.list.swap(within(t, 100*time.Millisecond)), "it was told to end")
		v, err := s.list.current(t.Context())
		require.NoError(t, err)
		require.Equal(t, "orderlist-v1", v.name)
		s.catchUp(t, v2())
		require.NoError(t, s.list.swap(t.Context()))
		v, err = s.list.current(t.Context())
		require.NoError(t, err)
		require.Equal(t, "orderlist-v2", v.name)
	})
}

// watched tells when somebody asks how far a version is.
type watched struct {
	eventstore.Checkpoints

	asked func()
}

func (w watched) Load(ctx context.Context, request eventstore.LoadCheckpointRequest) (eventstore.LoadCheckpointResult, error) {
	w.asked()
	return w.Checkpoints.Load(ctx, request)
}

func TestAReaderWhoWaitsWhileTheOthersGoOverGoesOverToo(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, s shop) {
		exec := func(statement string) {
			_, err := s.list.db.ExecContext(t.Context(), statement)
			require.NoError(t, err)
		}
		exec(`UPDATE orderlist_current SET name = 'orderlist-v1'`)
		asked := make(chan struct{})
		s.list.waited = watched{s.list.target, sync.OnceFunc(func() { close(asked) })}
		at := s.do(t, "1", order.Place("ann", 500))
		read := make(chan map[string]int64, 1)
		go func() {
			due, err := s.list.Due(within(t, 20*time.Second), "ann", at)
			if err != nil {
				t.Error(err)
			}
			read <- due
		}()
		select {
		case <-asked: // it waits for the first version
		case <-within(t, 20*time.Second).Done():
			require.Fail(t, "it does not wait")
		}
		s.catchUp(t, v2())
		exec(`UPDATE orderlist_v2 SET due = 2`) // shows whose row it is
		exec(`UPDATE orderlist_current SET name = 'orderlist-v2'`)
		s.catchUp(t, v1())
		require.Equal(t, map[string]int64{"order-1": 2}, <-read)
	})
}

func TestAnEmptyFirstVersionIsGoneOverFrom(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, s shop) {
		_, err := s.list.db.ExecContext(t.Context(), `UPDATE orderlist_current SET name = 'orderlist-v1'`)
		require.NoError(t, err)
		s.run(t)
		require.Eventually(t, func() bool {
			v, err := s.list.current(t.Context())
			return err == nil && v.name == v2().name
		}, 20*time.Second, 5*time.Millisecond)
		due, err := s.list.Due(t.Context(), "ann", s.do(t, "1", order.Place("ann", 1)))
		require.NoError(t, err)
		require.Equal(t, map[string]int64{"order-1": 1}, due)
	})
}

func TestOverdueOrdersAreThoseThatWaitForTheirPayment(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, s shop) {
		for _, id := range []string{"open", "half", "paid", "cancelled"} {
			s.do(t, id, order.Place("ann", 500))
		}
		s.do(t, "half", order.Pay(200, "p1"))
		s.do(t, "paid", order.Pay(500, "p2"))
		s.do(t, "cancelled", order.Cancel("late"))
		s.catchUp(t, v2())

		overdue, err := s.list.Overdue(t.Context(), time.Now().Add(time.Minute))
		require.NoError(t, err)
		placed := func(id string) uuid.UUID {
			for event, err := range s.store.ReadStream(t.Context(), order.Stream(id), eventstore.ReadOptions{}) {
				require.NoError(t, err)
				return event.ID
			}
			return uuid.Nil
		}
		require.Equal(t, map[string]uuid.UUID{"order-open": placed("open"), "order-half": placed("half")}, overdue)
		overdue, err = s.list.Overdue(t.Context(), time.Now().Add(-time.Minute))
		require.NoError(t, err)
		require.Empty(t, overdue)
	})
}

func TestAListThatIsToldToEndBeforeItHasBegunHasNotFailed(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, s shop) {
		ctx, stop := context.WithCancel(t.Context())
		stop()
		require.NoError(t, s.list.Run(ctx, s.store))
	})
}

func TestAVersionThatIsUnknownIsAnError(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, s shop) {
		_, err := s.list.db.ExecContext(t.Context(), `UPDATE orderlist_current SET name = 'orderlist-v3'`)
		require.NoError(t, err)
		_, err = s.list.Due(t.Context(), "ann", eventstore.Position{})
		require.ErrorContains(t, err, "deploy the code that knows it")
		require.ErrorContains(t, s.list.Run(t.Context(), s.store), "deploy the code that knows it")
	})
}
