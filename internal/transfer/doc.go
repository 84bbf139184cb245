// Package transfer moves events between stores and files: import and export as
// NDJSON, copy from store to store, and the comparison of two stores. The
// command line is a thin layer over it.
//
// Everything here works on a stream of events and holds a batch at a time.
// Moving events is idempotent and starts again anywhere: an event is written
// with its ID at its version, and one that is there already is recognised by
// the store.
package transfer
