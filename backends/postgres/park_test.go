package postgres_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/postgres"
	"github.com/switchyard-dev/switchyard/eventstore"
)

func TestAProjectionParksWhatFailsForGoodAndGoesOn(t *testing.T) {
	store, backend, pool := openStore(t)
	_, err := pool.Exec(t.Context(), `create table counted (version int)`)
	require.NoError(t, err)
	const events = 12
	for range events {
		_, err := store.Append(t.Context(), "order-1", eventstore.Any(), event("Placed", "{}"))
		require.NoError(t, err)
	}
	tries := make(map[uint64]int)
	p := postgres.Projection{
		Name: "parking", ParkStream: "parked-parking",
		Retry: eventstore.HandlerRetry{Attempts: 3, Pause: time.Millisecond},
		Handler: func(ctx context.Context, tx pgx.Tx, e eventstore.RecordedEvent) error {
			if e.Stream != "order-1" {
				t.Errorf("the handler got version %d of stream %q", e.Version, e.Stream)
			}
			tries[e.Version]++
			if _, err := tx.Exec(ctx, `insert into counted values ($1)`, e.Version); err != nil {
				return err
			}
			switch e.Version {
			case 4:
				panic("four")
			case events:
				return errors.New("the last one never works")
			}
			return nil
		},
	}
	// Its own links come last in the global order, and it passes over them.
	arrived := func() bool {
		loaded, err := backend.Records().Checkpoints.Load(t.Context(), eventstore.LoadCheckpointRequest{Name: "parking"})
		require.NoError(t, err)
		return loaded.Checkpoint.Place.Position == eventstore.NewPosition(events+2, 0)
	}
	require.NoError(t, project(t, backend, p, arrived))

	var stored int
	require.NoError(t, pool.QueryRow(t.Context(), `select count(*) from counted where version not in (4, $1)`, events).Scan(&stored))
	require.Equal(t, events-2, stored, "each event that can be handled counts once")
	require.NoError(t, pool.QueryRow(t.Context(), `select count(*) from counted`).Scan(&stored))
	require.Equal(t, events-2, stored, "of a parked event's handler nothing is kept")
	require.Equal(t, 4, tries[4], "once in its batch, then three attempts alone")
	require.Equal(t, []eventstore.Parked{
		parkedLink(t, store, "order-1", 4, "panicked: four"),
		parkedLink(t, store, "order-1", events, "the last one never works"),
	}, parked(t, store, "parked-parking"))

	// From the beginning again: the links are there already, and stay as they are.
	require.NoError(t, store.DeleteCheckpoint(t.Context(), "parking"))
	require.NoError(t, project(t, backend, p, arrived))
	require.Len(t, parked(t, store, "parked-parking"), 2)
}

func TestAProjectionHandlesARetriedEventOnce(t *testing.T) {
	store, backend, pool := openStore(t)
	_, err := pool.Exec(t.Context(), `create table counted (version int)`)
	require.NoError(t, err)
	for range 4 {
		_, err := store.Append(t.Context(), "order-1", eventstore.Any(), event("Placed", "{}"))
		require.NoError(t, err)
	}
	broken := true
	run := func() {
		t.Helper()
		require.NoError(t, backend.Project(t.Context(), postgres.Projection{
			Name: "retrying", ParkStream: "parked-retrying", UntilCaughtUp: true, Retry: eventstore.HandlerRetry{Attempts: 1},
			Handler: func(ctx context.Context, tx pgx.Tx, e eventstore.RecordedEvent) error {
				if broken && e.Version == 2 {
					return errors.New("no price list")
				}
				_, err := tx.Exec(ctx, `insert into counted values ($1)`, e.Version)
				return err
			},
		}))
	}
	run()
	broken = false
	events, err := store.ParkedEvents(t.Context(), "parked-retrying")
	require.NoError(t, err)
	require.NoError(t, store.RetryParked(t.Context(), "parked-retrying", events...))
	run()
	run()
	events, err = store.ParkedEvents(t.Context(), "parked-retrying")
	require.NoError(t, err)
	require.Len(t, events, 1)
	require.Equal(t, eventstore.ParkedHandled, events[0].State)
	rows, err := pool.Query(t.Context(), `select version from counted`)
	require.NoError(t, err)
	versions, err := pgx.CollectRows(rows, pgx.RowTo[int])
	require.NoError(t, err)
	require.Equal(t, []int{1, 3, 4, 2}, versions)
}

func parked(t *testing.T, store *eventstore.Store, stream string) (links []eventstore.Parked) {
	t.Helper()
	for e, err := range store.ReadStream(t.Context(), stream, eventstore.ReadOptions{}) {
		require.NoError(t, err)
		require.Equal(t, eventstore.ParkedType, e.Type)
		var link eventstore.Parked
		require.NoError(t, json.Unmarshal(e.Data, &link))
		links = append(links, link)
	}
	return links
}

func parkedLink(t *testing.T, store *eventstore.Store, stream string, version uint64, failure string) eventstore.Parked {
	t.Helper()
	for e, err := range store.ReadStream(t.Context(), stream, eventstore.ReadOptions{After: version - 1, Limit: 1}) {
		require.NoError(t, err)
		return eventstore.Parked{Subscription: "parking", Stream: stream, Version: version, Position: e.Position, EventID: e.ID, Error: failure}
	}
	t.Fatal("no such event")
	return eventstore.Parked{}
}

func TestAProjectionRefusesAStreamThatCannotTakeItsLinks(t *testing.T) {
	_, backend, _ := openStore(t)
	handler := func(context.Context, pgx.Tx, eventstore.RecordedEvent) error { return nil }
	for _, stream := range []string{"$parked", "a\x00b"} {
		require.ErrorIs(t, backend.Project(t.Context(), postgres.Projection{Name: "x", Handler: handler, ParkStream: stream}), eventstore.ErrInvalid)
	}
}

func TestARetryConcernsTheFailedEventAlone(t *testing.T) {
	store, backend, _ := openStore(t)
	add := func() {
		_, err := store.Append(t.Context(), "order-1", eventstore.Any(), event("Placed", "{}"))
		require.NoError(t, err)
	}
	add()
	tries := 0
	err := backend.Project(t.Context(), postgres.Projection{
		Name: "lone", Retry: eventstore.HandlerRetry{Attempts: 4, Pause: time.Millisecond},
		Handler: func(_ context.Context, _ pgx.Tx, e eventstore.RecordedEvent) error {
			require.EqualValues(t, 1, e.Version, "what comes meanwhile waits")
			tries++
			add()
			return errors.New("never")
		},
	})
	var failure *eventstore.HandlerError
	require.ErrorAs(t, err, &failure)
	require.Equal(t, 4, failure.Attempts)
	require.Equal(t, 4, tries, "every attempt counts")
}
