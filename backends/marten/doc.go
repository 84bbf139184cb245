// Package marten reads and writes the event store of a live .NET application that uses
// Marten, in Marten's own tables on PostgreSQL 13 or later.
//
// It finds out at open how Marten made the tables, and refuses what it does not
// recognise, or only reads it. It alters no object of Marten's, ever. Checkpoints, leases,
// snapshots and the store's identity are in a schema of its own.
//
//	pool, err := pgxpool.New(ctx, url)
//	backend, err := marten.Open(ctx, pool, &marten.Options{Append: marten.Quick})
//	store, err := eventstore.New(backend, nil)
//
// [OpenURL] makes the pool too. What a .NET application sees of events that Go wrote, and
// what it does not, is in the package's README: read that first.
package marten
