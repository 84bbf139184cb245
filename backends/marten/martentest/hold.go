package martentest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/switchyard-dev/switchyard/backends/marten"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// tables is how the tables of a store are made.
type tables struct {
	schema              string
	uuidKeys, conjoined bool
	metadata            bool
	serverTimes         bool
}

func (t tables) name(table string) string { return pgx.Identifier{t.schema, table}.Sanitize() }

func (t tables) tenant() string {
	if t.conjoined {
		return Tenant
	}
	return "*DEFAULT*"
}

// call is a call of Marten's function: its arguments are the stream's ID and type, the
// tenant, and the events' IDs, types, .NET types and bodies. expected is SQL.
func (t tables) call(expected string) string {
	key, optional := "varchar", ""
	if t.uuidKeys {
		key = "uuid"
	}
	if t.metadata {
		optional = ", causation_ids => null::varchar[], correlation_ids => null::varchar[], headers => null::jsonb[], user_names => null::varchar[]"
	}
	if t.serverTimes {
		optional += ", timestamps => array_fill(now(), array[cardinality($4::uuid[])])"
	}
	return `select ` + t.name("mt_quick_append_events") + `(stream => $1::text::` + key + `, stream_type => $2::varchar, tenantid => $3::varchar,
		event_ids => $4::uuid[], event_types => $5::varchar[], dotnet_types => $6::varchar[], bodies => $7::text[]::jsonb[], bdatas => null::bytea[]` +
		optional + `, expected_version => ` + expected + `)`
}

// holding starts appends that are held before they are visible.
type holding struct {
	tables
	config *pgxpool.Config
}

// hold appends in a transaction that is not committed yet, as a handle does that was
// stopped there: it has the lock among our writers and its numbers, and nobody can see
// them. The function that it returns commits.
func (h holding) hold(ctx context.Context, part eventstore.StreamAppend) (func() (eventstore.AppendResult, error), error) {
	pool, err := pgxpool.NewWithConfig(ctx, h.config.Copy())
	if err != nil {
		return nil, fmt.Errorf("hold a writer: %w", err)
	}
	tx, err := pool.Begin(ctx)
	if err != nil {
		pool.Close()
		return nil, fmt.Errorf("hold a writer: %w", err)
	}
	id := part.Stream
	if h.uuidKeys {
		id = id[len(id)-36:]
	}
	kind := pgtype.Text{}
	if h.uuidKeys && len(part.Stream) > 37 {
		kind = pgtype.Text{String: part.Stream[:len(part.Stream)-37], Valid: true}
	}
	var ids []pgtype.UUID
	var types, dotnets, bodies []string
	for _, event := range part.Events {
		ids, types, dotnets = append(ids, pgtype.UUID{Bytes: event.ID, Valid: true}), append(types, event.Type), append(dotnets, "")
		bodies = append(bodies, string(event.Data))
	}
	var numbers []int64
	err = marten.Lock(ctx, tx, h.schema)
	if err == nil {
		err = tx.QueryRow(ctx, h.call("null"), id, kind, h.tenant(), ids, types, dotnets, bodies).Scan(&numbers)
	}
	if err != nil {
		err = errors.Join(fmt.Errorf("hold a writer: %w", err), tx.Rollback(ctx))
		pool.Close()
		return nil, err
	}
	result := eventstore.AppendResult{Version: uint64(numbers[0]), Position: eventstore.NewPosition(uint64(numbers[len(numbers)-1]), 0)}
	for i, event := range part.Events {
		result.Events = append(result.Events, eventstore.RecordedEvent{
			Event: event, Stream: part.Stream, Version: uint64(numbers[0]) - uint64(len(part.Events)-1-i),
			Position: eventstore.NewPosition(uint64(numbers[i+1]), 0), RecordedAt: time.Now().UTC(),
		})
	}
	return func() (eventstore.AppendResult, error) {
		err := tx.Commit(context.WithoutCancel(ctx))
		pool.Close()
		return result, err
	}, nil
}
