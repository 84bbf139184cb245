package pgdriver_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/pgdriver"
	"github.com/switchyard-dev/switchyard/internal/testservers"
	"github.com/switchyard-dev/switchyard/internal/testservers/tcpproxy"
)

var server testservers.SharedPostgres

func TestMain(m *testing.M) { os.Exit(server.Main(m)) }

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
				proxy.Stall()
				ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
				err = send(ctx, conn, `select $1::text`)
				cancel()
				require.Error(t, err)
				want := eventstore.ErrUnknownOutcome
				if prepares && !prepared {
					want = eventstore.ErrUnavailable
				}
				require.Equal(t, want, pgdriver.Classify(err, true, nil), "%s %s, prepared: %t: %v", name, mode, prepared, err)
				require.Equal(t, eventstore.ErrUnavailable, pgdriver.Classify(err, false, nil))
				proxy.Resume()
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
