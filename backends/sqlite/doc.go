// Package sqlite keeps events in one SQLite file: the embedded default. It needs
// no server and no cgo.
//
// The file is in write-ahead-log mode with synchronous=FULL, so an acknowledged
// append survives a loss of power. Concurrent appends of one process share
// transactions, each with its own verdict; other processes may work on the same
// file at the same time, and are heard of by polling. README.md has the caveats.
package sqlite
