package marten_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/marten"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// A stream that an append only checks must be so until the append is committed, and Marten
// takes none of our locks. Whoever of .NET writes to it after it was read is met, and whoever
// comes when it is held waits for the commit.
func TestNobodyWritesToAStreamBetweenItsCheckAndTheCommit(t *testing.T) {
	for name, test := range map[string]struct {
		checked  string
		expected eventstore.ExpectedVersion
		holds    string // the statement that holds its row
	}{
		"one that is there": {"order-1", eventstore.Exactly(1), "for update"},
		"one that is not":   {"order-9", eventstore.NoStream(), "insert into \"public\".\"mt_streams\" (id, tenant_id, version, is_archived)"},
	} {
		for _, mode := range []marten.AppendMode{marten.Quick, marten.Rich} {
			// It comes when the stream was read, or when it is held.
			for _, when := range []string{"read", "held"} {
				t.Run(name+", "+when+", "+string(mode), func(t *testing.T) {
					rawURL := server.Database(t)
					pool := connect(t, rawURL)
					require.NoError(t, marten.Create(t.Context(), pool, "", marten.Creation{}))
					_, err := pool.Exec(t.Context(), callAppend, "order-1", 1)
					require.NoError(t, err)
					net := make(chan error, 1)
					come := func() {
						_, err := pool.Exec(context.Background(), callAppend, test.checked, 1)
						net <- err
					}
					waited := false
					meanwhile := &between{statement: "unnest($1::text[]) with ordinality w(id, n) left join", do: come}
					if when == "held" {
						meanwhile = &between{statement: test.holds, do: func() {
							go come()
							for deadline := time.Now().Add(10 * time.Second); !waited && time.Now().Before(deadline); {
								waited = waits(context.Background(), pool, "transactionid")()
							}
						}}
					}
					config, err := pgxpool.ParseConfig(rawURL)
					require.NoError(t, err)
					config.ConnConfig.Tracer = meanwhile
					traced, err := pgxpool.NewWithConfig(t.Context(), config)
					require.NoError(t, err)
					t.Cleanup(traced.Close)
					store := openStore(t, traced, &marten.Options{Append: mode})
					_, err = store.AppendStreams(t.Context(),
						eventstore.StreamAppend{Stream: test.checked, Expected: test.expected},
						eventstore.StreamAppend{Stream: "order-2", Expected: eventstore.NoStream(), Events: []eventstore.Event{event("happened", `{}`)}})
					if when == "held" {
						require.NoError(t, err)
						require.True(t, waited, "for the commit")
					} else {
						require.ErrorIs(t, err, eventstore.ErrConflict)
					}
					require.NoError(t, <-net)
					require.NoError(t, sound(t.Context(), pool))
				})
			}
		}
	}
}
