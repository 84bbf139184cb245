// Package conformance proves that a backend keeps the contract of the package
// eventstore. Teams run it against their own database before they trust it, and
// authors of backends build against it.
//
// A [Check] is data: a stable name, the sentence of the contract that it
// enforces, what it needs, and a function that returns an error. The same table
// runs as subtests ([Run]) and from a command line ([RunAll] with a [Report]).
package conformance
