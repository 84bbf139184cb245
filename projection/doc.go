// Package projection keeps read models: tables that applications query, made from the
// events of a store.
//
//	target, err := sqldb.Open(ctx, db, sqldb.SQLite)
//	err = store.Run(ctx, projection.New(target, "orders-v1", events, apply))
//	err = projection.WaitFor(ctx, target, "orders-v1", result.Position) // read your own write
//
// A read model's rows and its checkpoint are committed in one transaction, so every
// event counts exactly once. A [Target] is the database: see package sqldb for
// database/sql with SQLite or PostgreSQL, and package pgxdb for pgx. It keeps
// checkpoints and leases in a table of its own there, switchyard_checkpoints, which
// several applications may share.
//
// To change a read model, run the new version under a new name and on tables of its own
// beside the old one; when it has caught up, Swap of the target lets readers go over
// and none of them sees the model go back. Then stop the old one and drop its tables.
// Read models have no side effects, so nothing fires twice.
//
// Databases without transactions, such as a search index, need no target: let a plain
// [eventstore.Subscription] write with the event's position, and the database refuse
// what is older. A read model in memory is [eventstore.Store.Subscribe] from the start.
package projection
