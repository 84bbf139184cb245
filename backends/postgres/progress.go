package postgres

import (
	"fmt"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/pgrecords"
)

// Records implements [eventstore.Backend].
func (b *Backend) Records() eventstore.Records { return b.records.Records() }

// newRecords returns what the store keeps for others, held to the events table that
// was opened.
func (b *Backend) newRecords() *pgrecords.Records {
	return pgrecords.New(pgrecords.Config{
		Pool: b.pool, Schema: b.schema, Anchor: "events", Table: b.table, Call: b.call,
		Moved: func() error { return fmt.Errorf("schema %q %w", b.schema, errMoved) },
	})
}
