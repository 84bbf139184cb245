package postgres_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/postgres"
	"github.com/switchyard-dev/switchyard/conformance"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/testservers"
)

// A transaction pooler can be used with LISTEN off and without prepared
// statements that outlive a transaction. Each mode of the driver that does so is
// held to the checks whose statements differ; the whole suite passes too, and
// takes longer.
func TestThePromisesHoldBehindATransactionPooler(t *testing.T) {
	t.Parallel()
	server := testservers.PrivatePostgres(t, testservers.PostgresOptions{})
	p, through := startPooler(t, server.URL())
	for mode, checks := range map[string]string{
		"exec":            "^(append|expect|idempotency|multi|page|filter|checkpoint|snapshot)/",
		"simple_protocol": "^(append|idempotency|multi|checkpoint|snapshot)/",
		"cache_describe":  "^(append|multi)/",
	} {
		t.Run(mode, func(t *testing.T) {
			h := harness(server, through+"&listen=off&default_query_exec_mode="+mode)
			open := h.Open
			h.Open = func(ctx context.Context) (*conformance.Fixture, error) {
				fixture, err := open(ctx)
				if err == nil {
					fixture.Restart = nil // other checks are under way, and it is tested without a pooler
				}
				return fixture, err
			}
			// The pooler is in this process: the race detector looks at each byte of it.
			report, err := conformance.RunAll(t.Context(), h, conformance.Options{Match: checks, Parallel: 4, Timeout: 3 * time.Minute})
			require.NoError(t, err)
			if !report.OK() {
				var text strings.Builder
				require.NoError(t, report.WriteText(&text))
				t.Error(text.String())
			}
			for _, result := range report.Results {
				require.True(t, result.Status != conformance.Skipped || result.Reason == "the fixture has no Restart", "%s: %s", result.Check, result.Reason)
			}
			require.Empty(t, p.leftovers(t.Context()), "a transaction leaves nothing behind in its session")
		})
	}
	require.Greater(t, p.turns, 1000, "transactions went through the pooler")
}

// This is the proof that the pooler is one: what belongs to a session gets lost.
func TestPreparedStatementsDoNotSurviveATransactionPoolerAndTheErrorSaysWhatToDo(t *testing.T) {
	t.Parallel()
	_, through := startPooler(t, server.Database(t))
	pool := openPool(t, through)
	backend, err := postgres.Open(t.Context(), pool, &postgres.Options{NoListen: true})
	for i := 0; err == nil && i < 10; i++ {
		_, err = newStore(t, backend, nil).Append(t.Context(), "order-1", eventstore.Any(), event("Placed", "{}"))
	}
	require.ErrorContains(t, err, "behind a transaction pooler use listen=off and default_query_exec_mode=exec")
}

func TestSubscriptionsBehindAPoolerHearOfOtherProcessesByPolling(t *testing.T) {
	t.Parallel()
	_, through := startPooler(t, server.Database(t))
	through += "&default_query_exec_mode=exec"
	writer := newStore(t, openBackend(t, openPool(t, through), &postgres.Options{NoListen: true}), nil)
	reader := newStore(t, openBackend(t, openPool(t, through), &postgres.Options{NoListen: true, Poll: 10 * time.Millisecond}), nil)
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	versions := uint64(0)
	for message, err := range reader.Subscribe(ctx, eventstore.SubscribeOptions{}) {
		require.NoError(t, err)
		if message.Kind == eventstore.MessageEvent {
			versions++
			require.Equal(t, versions, message.Event.Version)
		}
		if versions == 3 {
			break
		}
		if message.Kind != eventstore.MessageProgress {
			_, err := writer.Append(ctx, "order-1", eventstore.Any(), event("Placed", "{}"))
			require.NoError(t, err)
		}
	}
	require.EqualValues(t, 3, versions)
}
