// Package postgres keeps events in PostgreSQL 13 or later, totally ordered and
// without gaps.
//
// One lock orders the store: an append takes it before it looks at versions and
// holds it to its commit, so positions become visible in their order. Concurrent
// appends of a process travel as one group in one server-side call, so order
// costs one lock a group. Readers take no lock and never wait for writers.
//
//	pool, err := pgxpool.New(ctx, url)
//	backend, err := postgres.Open(ctx, pool, nil)
//	store, err := eventstore.New(backend, nil)
//
// [OpenURL] makes the pool too. [Backend.AppendTx] and [Backend.InTx] append inside a
// transaction of the caller's. Package projection/pgxdb keeps tables of this or another
// database in step with the events, each exactly once.
package postgres
