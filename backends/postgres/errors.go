package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/switchyard-dev/switchyard/internal/pgdriver"
)

// classify says what a failure means; see [pgdriver.Classify].
func classify(err error, committing bool) error {
	return pgdriver.Classify(err, committing, wroteWithoutLock)
}

// wroteWithoutLock tells whether somebody wrote without the lock, and a constraint
// stopped us.
func wroteWithoutLock(e *pgconn.PgError) bool {
	return e.Code == "23505" && (e.ConstraintName == "events_position" || e.ConstraintName == "events_stream_version" || e.ConstraintName == "events_id_in_stream")
}

// readError maps the error of a call that cannot have committed anything, or
// whose repetition does no harm.
func readError(ctx context.Context, err error) error {
	return pgdriver.ReadError(ctx, err, func(err error) error { return mapped(err, false) })
}

// commitError maps the error of a call that may have committed.
func commitError(err error) error {
	if err == nil {
		return nil
	}
	return mapped(err, true)
}

// anotherTable is what the schema's functions raise where they are not those of the
// table that was opened. They have written nothing.
const anotherTable = "SY001"

// checkTable refuses the answer of a statement whose schema's name led it to another
// table than the one that was opened.
func (b *Backend) checkTable(table int64) error {
	if table != b.table {
		return fmt.Errorf("schema %q %w", b.schema, errMoved)
	}
	return nil
}

// errLocal is of what this program cannot encode or read.
var errLocal = pgdriver.ErrLocal

var errMoved = errors.New("is not the store any more that this handle opened: it was renamed, swapped, replaced or restored; nothing was written; open it again")

func mapped(err error, committing bool) error {
	var server *pgconn.PgError
	if errors.As(err, &server) && server.Code == anotherTable {
		return fmt.Errorf("postgres: the schema %w: %w", errMoved, err)
	}
	if errors.Is(err, errMoved) {
		return fmt.Errorf("postgres: %w", err)
	}
	return pgdriver.Mapped("postgres", classify(err, committing), err)
}
