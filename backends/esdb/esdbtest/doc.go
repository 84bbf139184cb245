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
// It is a double, not the server. It is held against one: the answers of a real
// EventStoreDB 24.6.0 to 1,824 requests are in testdata, and a test plays each of
// them and compares. What was not recorded, and what other versions do, is written
// from the protocol, the documentation and the published sources. Run the same
// tests against a real server before you rely on them.
//
// # What it models
//
// Appends: the whole table of expected revisions and idempotency, with its
// unkind half. An append that names the current revision is written again,
// whatever its event ids. Appends with Any or StreamExists are recognised only
// by a cache of event ids which is bounded, lost at a restart, and which
// remembers an id for the first stream that used it. A batch of which some
// events are known and others new is a wrong expected version. Event ids are
// not unique. A batch is stored whole or not at all. BatchAppend: many appends on
// one call, in pieces and with deadlines.
//
// Reads: sparse $all positions in which commit equals prepare, positions inside
// a record refused, system events from the first position on, pages of 32
// events, $maxCount, $maxAge and $tb in stream reads but not in $all, link
// resolution with missing targets, soft deletes that revive with continued
// numbering, tombstones, metadata streams that keep one event. Filters: .NET's
// regular expressions, and prefixes that are compared by culture, so that "Cafe"
// is no beginning of "Cafe" with a combining accent. Use expressions.
//
// Subscriptions: confirmation, catch-up, checkpoints (filtered ones), caught up,
// live, with neither gap nor duplicate at the switch. The checkpoints are the
// server's: while it catches up they name the place where a page began, they never
// name the end, and below 24.10.5 who found nothing from the start is sent 2^64-1,
// which is the end to go on from. A reader for which more than 32 events wait falls
// behind: it catches up, and is told "caught up" once more.
//
// The rest: the append size limit enforced, and access denied, in the middle of
// the client's stream, so that a client still sending sees EOF and no reason; 100
// calls at once on a connection, after which the next one waits; TLS with a
// certificate that an authority signed, basic authentication and access control
// lists, also of subscriptions under way, server features, gossip, not-leader
// answers, "Server Is Not Ready".
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
//   - Persistent subscriptions (answered with Unimplemented).
//   - The flow of $stats events: a few system events are written at the start
//     and one at each restart, no more.
//   - Explicit transactions and the HTTP API.
//   - Ligatures, and characters of the same weight, in prefixes of filters.
//   - Default access control lists changed through the $settings stream.
//   - Deadlines: gRPC for Go resets a call at the client's, so that one in some
//     dozens is seen to be cancelled, and not to have run out of time.
//   - Timing: the double is faster than the server, and never busy. A filtered read
//     costs the server its whole log.
package esdbtest
