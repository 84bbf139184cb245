// Package esdbtest is a double of EventStoreDB: an in-process server that
// speaks the real gRPC protocol, so that code which talks to EventStoreDB can
// be tested without the server, with the faults a real server will not produce
// on request.
//
//	srv, err := esdbtest.Start(nil)
//	if err != nil { … }
//	defer srv.Stop()
//	conf, err := esdb.ParseConnectionString(srv.URL())
//
// It is a double, not the server: its rules are written from the protocol, the
// documentation and the published sources of version 24.10, and no test result
// against it says more than that. Run the same tests against a real server
// before you rely on them.
//
// # What it models
//
// Appends: the whole table of expected revisions and idempotency, with its
// unkind half. An append that names the current revision is written again,
// whatever its event ids. Appends with Any or StreamExists are recognised only
// by a cache of event ids which is bounded, lost at a restart, and which
// remembers an id for the first stream that used it. A batch of which some
// events are known and others new is a wrong expected version. Event ids are
// not unique. A batch is stored whole or not at all.
//
// Reads: sparse $all positions in which commit equals prepare, positions inside
// a record refused, system events from the first position on, pages of 32
// events, $maxCount, $maxAge and $tb in stream reads but not in $all, link
// resolution with missing targets, soft deletes that revive with continued
// numbering, tombstones, metadata streams that keep one event.
//
// Subscriptions: confirmation, catch-up, checkpoint (filtered ones), caught up,
// live, with neither gap nor duplicate at the switch. A reader more than 32
// events behind falls back to catching up and is told "caught up" once more.
//
// The rest: the append size limit enforced, and access denied, in the middle of
// the client's stream, so that a client still sending sees EOF and no reason; TLS, basic authentication and access control lists, server features,
// gossip, not-leader answers, "Server Is Not Ready".
//
// Faults: see [Hooks], [Server.Stop], [Server.Restart],
// [Server.DropConnections], [Server.SetReady] and [Server.FollowLeader].
//
// # What it does not model
//
//   - Scavenging: nothing is ever removed from the log, which is in memory.
//   - Replication: [Server.FollowLeader] and [Server.SetMembers] change what the
//     server says, not what it stores. There are no stale reads on followers.
//   - Projections, so no $ce- or $et- streams unless you append the links.
//   - Persistent subscriptions and BatchAppend (answered with Unimplemented).
//   - The flow of $stats events: a few system events are written at the start
//     and one at each restart, no more.
//   - Explicit transactions and the HTTP API.
//   - .NET regular expressions: filters are compiled by Go's regexp (RE2). One
//     which RE2 does not know, such as a look-ahead, is refused with
//     InvalidArgument. The usual "exclude system events" filter ^[^\$].* works.
//   - Default access control lists changed through the $settings stream.
//   - Timing: the double is faster than the server, and never busy.
package esdbtest
