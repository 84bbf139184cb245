package marten

import (
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// What an error says to do can be done here: a Marten store is not listened to.
func TestThePoolersRemedyIsOneOfThisBackend(t *testing.T) {
	err := mapped(&pgconn.PgError{Severity: "ERROR", SeverityUnlocalized: "ERROR", Code: "42P05"}, false)
	require.ErrorContains(t, err, "use default_query_exec_mode=exec")
	require.NotContains(t, err.Error(), "listen")
}

// A row that a constraint of somebody's refuses is not one without a partition.
func TestAConstraintOfSomebodysIsNoMissingPartition(t *testing.T) {
	part := eventstore.StreamAppend{Stream: "order-1", Events: []eventstore.Event{{}}}
	require.ErrorIs(t, refusal(&pgconn.PgError{Code: "23514", Message: `no partition of relation "mt_events" found for row`}, part, 0), eventstore.ErrInvalid)
	require.NoError(t, refusal(&pgconn.PgError{Code: "23514", ConstraintName: "data_is_small"}, part, 0))
}
