// Package esdb keeps a store in EventStoreDB.
//
// It speaks the server's protocol with the generated code of the official client,
// github.com/EventStore/EventStore-Client-Go/v4, and takes that client's
// Configuration, over a gRPC connection of its own.
//
// Revisions count from 0 there and versions from 1 here. A position is the
// commit and the prepare position of the log. What the server itself promises
// less of, this package adds: an event ID is recognised within a window at the
// stream's end whatever the expectation, and every write is pinned to the
// revision it was judged at. Subscriptions of a handle share one of the server's.
// See the README for what is declared absent, for how streams of other clients
// appear, and for the server versions.
package esdb
