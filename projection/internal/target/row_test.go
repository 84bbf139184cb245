package target

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// late is a connection to SQLite whose n-th statement takes effect, and is answered only when
// its context is over.
type late struct {
	Database[int]
	at, n       int
	over        context.CancelFunc
	busyTimeout int
}

func (l *late) answer(ctx context.Context) error {
	if l.n++; l.n == l.at {
		l.over()
	}
	return ctx.Err()
}

func (l *late) Exec(ctx context.Context, query string, _ ...any) error {
	if _, err := fmt.Sscanf(query, "PRAGMA busy_timeout = %d", &l.busyTimeout); strings.HasPrefix(query, "PRAGMA") && err != nil {
		return err
	}
	return l.answer(ctx)
}

func (l *late) Query(ctx context.Context, _ string, _ []any, each func(func(...any) error) error) error {
	err := each(func(into ...any) error {
		*into[0].(*int64) = int64(l.busyTimeout)
		return nil
	})
	if err != nil {
		return err
	}
	return l.answer(ctx)
}

func (l *late) Transient(error) bool { return false }

func TestTheBusyTimeoutIsAsItWasWhereverTheContextEnds(t *testing.T) {
	for at := 1; ; at++ {
		ctx, cancel := context.WithCancel(t.Context())
		conn := &late{at: at, over: cancel, busyTimeout: 5000}
		target := &Target[int]{db: conn, dialect: SQLite()}
		err := target.lockFile(ctx, conn, "m")
		cancel()
		require.Equal(t, 5000, conn.busyTimeout, "after %d statements", at)
		if conn.n < at {
			require.NoError(t, err)
			return
		}
	}
}
