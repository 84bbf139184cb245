// Package target is what the targets of read models share: the table of checkpoints and
// leases, the transaction of an update, and the swap. Packages sqldb and pgxdb bring
// their drivers to it.
package target

import (
	"context"
	"time"
)

// Database is what a target needs of a database and its driver. Queries have parameters
// $1, $2 … in the order in which they first appear.
type Database[Tx any] interface {
	Querier
	// Begin begins a transaction on a connection that it keeps to the end.
	Begin(ctx context.Context) (Transaction[Tx], error)
	// Mapped gives the error of a statement of this package its meaning: ErrUnavailable
	// where waiting may help.
	Mapped(err error) error
	// OverLimit tells whether the database itself says that a statement, or the whole
	// transaction, took more than it has there: time, memory, room in temporary files.
	OverLimit(err error) bool
	// Transient tells whether the database itself says that waiting may help.
	Transient(err error) bool
}

// Querier runs statements.
type Querier interface {
	Exec(ctx context.Context, query string, args ...any) error
	// Query calls each for every row, with the function that scans it.
	Query(ctx context.Context, query string, args []any, each func(scan func(into ...any) error) error) error
}

// Transaction is one that was begun.
type Transaction[Tx any] interface {
	Querier
	// Tx is what the application's function is given.
	Tx() Tx
	// Lost tells whether the connection is gone.
	Lost(ctx context.Context) bool
	// Commit is not cut short when ctx ends: its outcome would be unknown.
	Commit(ctx context.Context) error
	// End rolls back what is not committed, and gives the connection back. It is called
	// once, at the end, whatever happened.
	End()
}

// How long a server may take to end a transaction.
const (
	CommitPatience = 30 * time.Second
	EndPatience    = 5 * time.Second // which rolls back
)
