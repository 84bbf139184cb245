// Package move brings a live store to another backend: it copies and follows while
// applications go on writing, seals the old store, drains it, proves that both
// hold the same events in the same order, and translates the checkpoints. The
// command line is a thin layer over it.
//
// A move can be killed at any point and run again. What it needs to go on is in the
// two stores: the seal in the one, the copy's checkpoints in the other. The
// digests that it has taken so far are kept in a file, which is a cache: where it
// is missing or does not fit the stores they are taken again.
package move
