package postgres_test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/postgres"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/audit"
	"github.com/switchyard-dev/switchyard/internal/testservers"
	"github.com/switchyard-dev/switchyard/internal/testservers/tcpproxy"
)

// cutOnce makes a rule that swallows one answer to a request with the marker and
// cuts its connection, each time it is armed.
func cutOnce(armed *atomic.Bool, marker string, how tcpproxy.Cut) func() tcpproxy.Rule {
	answers := tcpproxy.OnAnswer(tcpproxy.Contains(marker), tcpproxy.Verdict{Cut: how})
	return func() tcpproxy.Rule {
		answer := answers()
		return func(from tcpproxy.Side, chunk []byte) tcpproxy.Verdict {
			verdict := answer(from, chunk)
			if verdict.Cut != tcpproxy.None && !armed.CompareAndSwap(true, false) {
				return tcpproxy.Pass()
			}
			return verdict
		}
	}
}

func TestAnAppendWhoseAnswerIsLostIsStoredOnce(t *testing.T) {
	t.Parallel()
	const cuts, marker = 200, "cut me after the commit"
	url := server.Database(t)
	proxy, through := tcpproxy.ForURL(t, url)
	pool := openPool(t, through)
	backend := openBackend(t, pool, nil)
	settling := newStore(t, backend, nil)
	bare, err := eventstore.New(backend, &eventstore.Options{RetryFor: -1}) // shares the backend, so it is not closed
	require.NoError(t, err)
	var book audit.Book
	for i := range cuts {
		how := []tcpproxy.Cut{tcpproxy.Reset, tcpproxy.Close}[i%2]
		// The function has been prepared on the connection before it is cut.
		_, err := book.Append(t.Context(), settling, "warm", eventstore.Any(), event("Warmed", "{}"))
		require.NoError(t, err)
		var armed atomic.Bool
		armed.Store(true)
		proxy.SetRule(cutOnce(&armed, marker, how))
		e := event("Cut", fmt.Sprintf("%q", marker))
		stream := fmt.Sprintf("cut-%d", i)
		if i%4 < 2 {
			result, err := book.Append(t.Context(), settling, stream, eventstore.NoStream(), e)
			require.NoError(t, err)
			require.True(t, result.Duplicate, "the lost attempt was found")
		} else {
			_, err := book.Append(t.Context(), bare, stream, eventstore.NoStream(), e)
			require.ErrorIs(t, err, eventstore.ErrUnknownOutcome)
		}
		require.False(t, armed.Load(), "nothing was cut")
		proxy.SetRule(nil)
	}
	found, err := book.Audit(settling.ReadAll(t.Context(), eventstore.ReadAllOptions{}))
	require.NoError(t, err)
	require.True(t, found.Clean(), "%s", found)
	stored := 0
	for _, err := range settling.ReadAll(t.Context(), eventstore.ReadAllOptions{Filter: eventstore.Filter{Categories: []string{"cut"}}}) {
		require.NoError(t, err)
		stored++
	}
	require.Equal(t, cuts, stored, "every cut came after the commit")
}

func TestAListenerThatIsKilledIsReplaced(t *testing.T) {
	url := server.Database(t)
	writer := newStore(t, openBackend(t, openPool(t, url), nil), nil)
	// Polling is too slow to explain a delivery in this test.
	reading := openBackend(t, openPool(t, url), &postgres.Options{Poll: time.Hour})
	reader := newStore(t, reading, nil)
	admin, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer admin.Close(context.Background())
	listener := func() (pid int32) {
		require.Eventually(t, func() bool {
			return admin.QueryRow(t.Context(), `select pid from pg_stat_activity where datname = current_database() and query like 'listen %'`).Scan(&pid) == nil
		}, soon, 5*time.Millisecond, "nobody listens")
		return pid
	}
	ctx, cancel := context.WithTimeout(t.Context(), 6*soon)
	defer cancel()
	delivered := make(chan eventstore.RecordedEvent, 1)
	go func() {
		for message, err := range reader.Subscribe(ctx, eventstore.SubscribeOptions{}) {
			if err == nil && message.Kind == eventstore.MessageEvent {
				delivered <- message.Event
			}
		}
		close(delivered)
	}()
	for i := range 3 {
		pid := listener()
		_, err := writer.Append(ctx, "order-1", eventstore.Exactly(uint64(i)), event("Placed", "{}"))
		require.NoError(t, err)
		select {
		case e := <-delivered:
			require.EqualValues(t, i+1, e.Version)
		case <-time.After(soon):
			t.Fatal("the event was not delivered, and the next poll is an hour away")
		}
		_, err = admin.Exec(ctx, `select pg_terminate_backend($1)`, pid)
		require.NoError(t, err)
		require.Eventually(t, func() bool { return listener() != pid }, soon, 5*time.Millisecond)
	}
	cancel()
	_, open := <-delivered
	require.False(t, open, "the subscription has ended")
}

func TestAWriterThatStopsWithTheLockHoldsOthersUpForABoundedTime(t *testing.T) {
	t.Parallel()
	server := testservers.PrivatePostgres(t, testservers.PostgresOptions{})
	pool := openPool(t, server.URL())
	backend := openBackend(t, pool, nil)
	impatient, err := eventstore.New(backend, &eventstore.Options{RetryFor: -1})
	require.NoError(t, err)
	store := newStore(t, backend, &eventstore.Options{RetryFor: time.Minute})

	holder, err := pgx.Connect(t.Context(), server.URL())
	require.NoError(t, err)
	tx, err := holder.Begin(t.Context())
	require.NoError(t, err)
	_, err = backend.AppendTx(t.Context(), tx, "order-1", eventstore.NoStream(), event("Placed", "{}"))
	require.NoError(t, err)
	pid := int(holder.PgConn().PID())
	require.NoError(t, server.Pause(pid)) // SIGSTOP: not even its timeouts run

	start := time.Now()
	_, err = impatient.Append(t.Context(), "order-2", eventstore.Any(), event("Placed", "{}"))
	require.ErrorIs(t, err, eventstore.ErrUnavailable, "for certain: nothing was written")
	require.NotErrorIs(t, err, eventstore.ErrUnknownOutcome)
	require.Less(t, time.Since(start), 20*time.Second)
	version, err := store.StreamVersion(t.Context(), "order-1")
	require.NoError(t, err, "readers do not wait for writers")
	require.Zero(t, version)

	// Once it runs again, its transaction has idled too long: the server ends it.
	require.NoError(t, server.Resume(pid))
	result, err := store.Append(t.Context(), "order-3", eventstore.Any(), event("Placed", "{}"))
	require.NoError(t, err)
	require.Equal(t, eventstore.NewPosition(1, 0), result.Position, "what was never committed left no gap")
	require.Error(t, tx.Commit(t.Context()))
	_ = holder.Close(t.Context())
}

func TestAFullDiskLosesNothing(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can mount a small file system")
	}
	dir, err := os.MkdirTemp("", "switchyard-disk-") //nolint:usetesting // the server, another user, must reach it
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.Remove(dir) })
	mount := exec.CommandContext(t.Context(), "mount", "-t", "tmpfs", "-o", "size=256m,mode=0755", "tmpfs", dir)
	if out, err := mount.CombinedOutput(); err != nil {
		t.Skipf("this machine does not let root mount a file system: %s", out)
	}
	t.Cleanup(func() {
		_ = exec.CommandContext(context.Background(), "umount", "-l", dir).Run()
	})
	server := testservers.PrivatePostgres(t, testservers.PostgresOptions{Dir: dir, Settings: map[string]string{
		"shared_buffers": "16MB", "min_wal_size": "32MB", "max_wal_size": "48MB", "checkpoint_timeout": "30s",
	}})
	pool := openPool(t, server.URL())
	store := newStore(t, openBackend(t, pool, nil), &eventstore.Options{RetryFor: -1})
	var disk syscall.Statfs_t
	require.NoError(t, syscall.Statfs(dir, &disk))
	const left = 12 << 20
	require.NoError(t, os.WriteFile(filepath.Join(dir, "filler"), make([]byte, int(disk.Bavail)*int(disk.Bsize)-left), 0o600))
	var book audit.Book
	bytes := make([]byte, 64<<10) // random, so that the server cannot compress it
	_, err = rand.Read(bytes)
	require.NoError(t, err)
	large := fmt.Sprintf("%q", hex.EncodeToString(bytes))
	failures := 0
	for i := 0; failures < 5; i++ {
		require.Less(t, i, 20_000, "the disk does not fill up")
		ctx, cancel := context.WithTimeout(t.Context(), soon)
		_, err := book.Append(ctx, store, fmt.Sprintf("large-%d", i%3), eventstore.Any(), event("Large", large))
		cancel()
		if err != nil {
			require.True(t, errors.Is(err, eventstore.ErrUnavailable) || errors.Is(err, eventstore.ErrUnknownOutcome), "%v", err)
			failures++
		}
	}
	require.Greater(t, book.Totals().Acknowledged, 10, "it was the disk that failed")
	// Room again: the server goes on, or is started again.
	require.NoError(t, os.Remove(filepath.Join(dir, "filler")))
	require.NoError(t, server.Stop())
	require.NoError(t, server.Start(t.Context()))
	require.Eventually(t, func() bool {
		_, err := book.Append(t.Context(), store, "after", eventstore.Any(), event("After", "{}"))
		return err == nil
	}, soon, 20*time.Millisecond)
	found, err := book.Audit(store.ReadAll(t.Context(), eventstore.ReadAllOptions{}))
	require.NoError(t, err)
	t.Logf("%+v", book.Totals())
	require.True(t, found.Clean(), "%s", found)
}

// A connection that is lost while the function's call is prepared has sent nothing of it, and
// the outcome is known.
func TestAnAppendThatIsLostBeforeItIsSentIsDefinite(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"cache_statement", "cache_describe", "describe_exec"} {
		for name, events := range map[string][]eventstore.Event{"one": {event("Happened", "{}")}, "two": {event("Happened", "{}"), event("Happened", "{}")}} {
			proxy, through := tcpproxy.ForURL(t, server.Database(t)+"&default_query_exec_mode="+mode)
			backend := openBackend(t, openPool(t, through), nil)
			store, err := eventstore.New(backend, &eventstore.Options{RetryFor: -1}) // the backend is closed by itself
			require.NoError(t, err)
			var armed atomic.Bool
			armed.Store(true)
			proxy.SetRule(cutOnce(&armed, "seal, epoch from", tcpproxy.Reset))
			_, err = store.Append(t.Context(), "order-1", eventstore.Any(), events...)
			require.False(t, armed.Load(), "nothing was cut")
			require.ErrorIs(t, err, eventstore.ErrUnavailable, "%s %s", mode, name)
			require.NotErrorIs(t, err, eventstore.ErrUnknownOutcome, "%s %s", mode, name)
		}
	}
}
