// Package linelog is a complete event store backend in one text file: each
// append, checkpoint and snapshot is one line of JSON. It lives in a module of
// its own and imports only what Switchyard exports, as a third party's backend
// would; docs/writing-a-backend.md walks through it.
//
// It is for learning, not for production: each handle keeps all events in memory.
package linelog
