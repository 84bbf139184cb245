package postgres

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
)

func TestEveryFailureHasOneMeaning(t *testing.T) {
	server := func(severity, code, constraint string) error {
		return fmt.Errorf("wrapped: %w", &pgconn.PgError{Severity: "FEHLER", SeverityUnlocalized: severity, Code: code, ConstraintName: constraint})
	}
	const certain, available, unknown = "certain", "unavailable", "unknown"
	sentinels := map[string]error{certain: nil, available: eventstore.ErrUnavailable, unknown: eventstore.ErrUnknownOutcome}
	for _, test := range []struct {
		name           string
		err            error
		before, commit string // what it means before a commit, and during one
	}{
		{"a serialisation failure is rolled back", server("ERROR", "40001", ""), available, available},
		{"a deadlock is rolled back", server("ERROR", "40P01", ""), available, available},
		{"a full disk is rolled back", server("ERROR", "53100", ""), available, available},
		{"too many connections", server("ERROR", "53300", ""), available, available},
		{"a lock that is not free in time", server("ERROR", "55P03", ""), available, available},
		{"a cancelled statement", server("ERROR", "57014", ""), available, available},
		{"a transaction that may only read", server("ERROR", "25006", ""), certain, certain},
		{"no memory", server("ERROR", "53200", ""), available, available},
		{"a configured limit", server("ERROR", "53400", ""), available, available},
		{"a server that shuts down", server("ERROR", "57P01", ""), available, available},
		{"a server that starts up", server("FATAL", "57P03", ""), available, unknown},
		{"credentials that are refused in a session", server("ERROR", "28000", ""), certain, certain},
		{"a missing table", server("ERROR", "42P01", ""), certain, certain},
		{"damage", server("ERROR", "XX001", ""), certain, certain},
		{"text that is no UTF-8", server("ERROR", "22021", ""), certain, certain},
		{"functions of another store", server("ERROR", "SY001", ""), certain, certain},
		{"a value that cannot be encoded", fmt.Errorf("metadata: %w: bad", errLocal), certain, certain},
		{"an I/O error", server("ERROR", "58030", ""), available, available},
		{"a writer outside the lock: version", server("ERROR", "23505", "events_stream_version"), available, available},
		{"a writer outside the lock: position", server("ERROR", "23505", "events_position"), available, available},
		{"a writer outside the lock: ID", server("ERROR", "23505", "events_id_in_stream"), available, available},
		{"a constraint of somebody else's", server("ERROR", "23505", "orders_pkey"), certain, certain},
		{"a missing right", server("ERROR", "42501", ""), certain, certain},
		{"a prepared statement of another session", server("ERROR", "26000", ""), certain, certain},
		{"a wrong isolation level", server("ERROR", "25001", ""), certain, certain},
		{"an index entry that is too large", server("ERROR", "54000", ""), certain, certain},
		{"the server itself does not know", server("ERROR", "40003", ""), available, unknown},
		{"the server cannot tell how the transaction ended", server("ERROR", "08007", ""), available, unknown},
		{"a terminated session may have committed", server("FATAL", "57P01", ""), available, unknown},
		{"a crashing server may have committed", server("FATAL", "57P02", ""), available, unknown},
		{"a panic may come after the commit", server("PANIC", "53100", ""), available, unknown},
		{"a lost connection", fmt.Errorf("read: %w", io.ErrUnexpectedEOF), available, unknown},
		{"a deadline while waiting for the answer", errors.New("timeout: context deadline exceeded"), available, unknown},
		{"a connection that was closed", errors.New("conn closed"), available, unknown},
		{"a transaction that was over", pgx.ErrTxClosed, certain, certain},
		{"a commit that was a rollback", pgx.ErrTxCommitRollback, certain, certain},
	} {
		t.Run(test.name, func(t *testing.T) {
			require.Equal(t, sentinels[test.before], classify(test.err, false), "before a commit")
			require.Equal(t, sentinels[test.commit], classify(test.err, true), "during a commit")
			mapped := commitError(test.err)
			require.ErrorIs(t, mapped, test.err, "the driver's error stays reachable")
			for _, sentinel := range []error{eventstore.ErrInvalid, eventstore.ErrConflict, eventstore.ErrClosed, eventstore.ErrUnavailable, eventstore.ErrUnknownOutcome} {
				require.Equal(t, errors.Is(sentinels[test.commit], sentinel), errors.Is(mapped, sentinel), "%v", sentinel)
			}
		})
	}
}

func TestAMappedErrorKeepsItsMeaning(t *testing.T) {
	mapped := commitError(io.EOF)
	require.Equal(t, mapped, readError(t.Context(), mapped))
	require.NoError(t, readError(t.Context(), nil))
	require.NoError(t, commitError(nil))
}
