// Package memory keeps events in the memory of one process. It is the readable
// reference for authors of backends, held to every check of the conformance
// suite, and a fast store for tests.
//
// A [Log] is the data; each [Log.Open] is one handle on it, as a second process
// would have on a database.
package memory
