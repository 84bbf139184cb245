// Package linelog is a complete event store backend in one text file: each line is
// a request that changed something, as JSON. Whoever opens the file makes the same
// changes again, in the order of the lines, to a store in memory, and answers reads
// from that. It lives in a module of its own and imports only what Switchyard
// exports, as a third party's backend would; docs/writing-a-backend.md walks
// through it.
//
// It is for learning, not for production: each handle keeps all events in memory.
package linelog
