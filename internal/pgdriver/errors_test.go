package pgdriver_test

import (
	"context"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/pgdriver"
	"github.com/switchyard-dev/switchyard/internal/testservers"
	"github.com/switchyard-dev/switchyard/internal/testservers/tcpproxy"
)

var server testservers.SharedPostgres

func TestMain(m *testing.M) { os.Exit(server.Main(m)) }

// timedOut is a context whose time is over when done is closed.
type timedOut struct {
	context.Context //nolint:containedctx // the one it changes

	done chan struct{}
}

func (c timedOut) Done() <-chan struct{} { return c.done }

func (c timedOut) Err() error {
	select {
	case <-c.done:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

// What times out before it was sent has not committed; what times out later may have. Which
// it is tells whether the server hears of the statement's argument.
func TestATimeoutBeforeAStatementIsSentIsDefinite(t *testing.T) {
	single := func(ctx context.Context, conn *pgxpool.Conn, sql string) error {
		rows, err := pgdriver.Query(ctx, conn, sql, "argument")
		if err != nil {
			return err
		}
		rows.Close()
		return rows.Err()
	}
	batch := func(ctx context.Context, conn *pgxpool.Conn, sql string) error {
		b := &pgx.Batch{}
		b.Queue(sql, "argument")
		b.Queue(sql+", 2", "argument")
		return conn.SendBatch(ctx, b).Close()
	}
	for name, send := range map[string]func(ctx context.Context, conn *pgxpool.Conn, sql string) error{"single": single, "batch": batch} {
		for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol} {
			prepares := mode != pgx.QueryExecModeExec && mode != pgx.QueryExecModeSimpleProtocol
			for _, prepared := range []bool{false, true} {
				if mode == pgx.QueryExecModeDescribeExec && prepared {
					continue // it keeps nothing
				}
				proxy, through := tcpproxy.ForURL(t, server.Database(t))
				config, err := pgxpool.ParseConfig(through)
				require.NoError(t, err)
				config.ConnConfig.DefaultQueryExecMode = mode
				pool, err := pgxpool.NewWithConfig(t.Context(), config)
				require.NoError(t, err)
				conn, err := pool.Acquire(t.Context())
				require.NoError(t, err)
				if prepared {
					require.NoError(t, send(t.Context(), conn, `select $1::text`))
				}
				ctx := timedOut{t.Context(), make(chan struct{})}
				var sent atomic.Bool
				proxy.SetRule(func() tcpproxy.Rule {
					return func(tcpproxy.Side, []byte) tcpproxy.Verdict {
						if sent.CompareAndSwap(false, true) {
							close(ctx.done)
							return tcpproxy.Verdict{} // it arrives nowhere
						}
						return tcpproxy.Pass()
					}
				})
				err = send(ctx, conn, `select $1::text`)
				require.ErrorIs(t, err, context.DeadlineExceeded)
				want := eventstore.ErrUnknownOutcome
				if prepares && !prepared {
					want = eventstore.ErrUnavailable
				}
				require.Equal(t, want, pgdriver.Classify(err, true, nil), "%s %s, prepared: %t: %v", name, mode, prepared, err)
				require.Equal(t, eventstore.ErrUnavailable, pgdriver.Classify(err, false, nil))
				proxy.SetRule(nil)
				conn.Release()
				pool.Close()
			}
		}
	}
}

func TestAServerThatIsAwayIsNamedOnceWithItsPort(t *testing.T) {
	_, err := pgconn.Connect(t.Context(), "postgres://ann:s3cr3t@127.0.0.1:1/shop?sslmode=prefer")
	require.Error(t, err)
	text := pgdriver.Mapped("postgres", nil, err).Error()
	require.Contains(t, text, "postgres: connect to postgres://127.0.0.1:1/shop: ")
	require.Equal(t, 1, strings.Count(text, "dial error"), "with and without TLS it is one failure: %s", text)
	require.NotContains(t, text, "ann")
	require.NotContains(t, text, "s3cr3t")
}

func TestARefusalToConnectNamesTheRemedyAndNoUser(t *testing.T) {
	const credentials = "correct the user or the password, in the URL, in PGUSER and PGPASSWORD or in the passfile, or let the server's pg_hba.conf accept them"
	for name, test := range map[string]struct{ code, message, want string }{
		"a wrong password":             {"28P01", `password authentication failed for user "ann"`, credentials},
		"a host that may not connect":  {"28000", `no pg_hba.conf entry for host "10.0.0.1", user "ann", database "shop", no encryption`, credentials},
		"a database that is closed":    {"42501", `permission denied for database "shop"`, "grant the role of this connection the right to connect to the database"},
		"a database that is not there": {"3D000", `database "shop" does not exist`, `database "shop" does not exist`},
	} {
		t.Run(name, func(t *testing.T) {
			listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
			require.NoError(t, err)
			answered := make(chan error, 1)
			go func() {
				conn, err := listener.Accept()
				if err != nil {
					answered <- err
					return
				}
				defer func() { _ = conn.Close() }()
				backend := pgproto3.NewBackend(conn, conn)
				if _, err = backend.ReceiveStartupMessage(); err == nil {
					backend.Send(&pgproto3.ErrorResponse{Severity: "FATAL", SeverityUnlocalized: "FATAL", Code: test.code, Message: test.message})
					err = backend.Flush()
				}
				answered <- err
			}()
			_, err = pgconn.Connect(t.Context(), "postgres://ann:s3cr3t@"+listener.Addr().String()+"/shop?sslmode=disable")
			require.NoError(t, listener.Close())
			require.NoError(t, <-answered)
			text := pgdriver.Mapped("postgres", pgdriver.Classify(err, true, nil), err).Error()
			require.Contains(t, text, test.want)
			require.Contains(t, text, "(SQLSTATE "+test.code+")")
			require.NotContains(t, text, "ann")
			require.NotContains(t, text, "s3cr3t")
		})
	}
}

func TestAMissingRightNamesWhereTheRightsAreListed(t *testing.T) {
	err := &pgconn.PgError{Severity: "ERROR", SeverityUnlocalized: "ERROR", Code: "42501", Message: "permission denied for function append_one"}
	for adapter, remedy := range map[string]string{
		"postgres": "the rights that the README of backends/postgres lists",
		"marten":   "the rights that the README of backends/marten lists",
		"pgxdb":    "that right",
	} {
		mapped := pgdriver.Mapped(adapter, nil, err)
		require.EqualError(t, mapped, adapter+": ERROR: permission denied for function append_one (SQLSTATE 42501); grant the role of this connection "+remedy)
		require.ErrorIs(t, mapped, err)
	}
}
