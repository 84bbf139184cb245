// Package sqlstate says what PostgreSQL's error codes mean, whichever driver brought
// them.
package sqlstate

// ReadOnly is what a server says that takes no writes: a standby that is not promoted
// yet, or one that an administrator holds still. Who appends is told; a read model waits.
const ReadOnly = "25006"

// MissingRight is what a server says to a role without the right to what it asks for.
const MissingRight = "42501"

const (
	queryCanceled      = "57014" // out of its time, or cancelled
	idleInTransaction  = "25P03"
	transactionTimeout = "25P04"
)

// OutOfTime tells whether a transaction, a statement of it or the pause between two of
// them took longer than the server's settings allow. It may have ended the connection.
func OutOfTime(code string) bool {
	return code == queryCanceled || code == idleInTransaction || code == transactionTimeout
}

// Transient tells whether a statement was rolled back for a reason that may pass.
func Transient(code string) bool {
	switch code {
	case "55P03", // the lock was not free in time
		queryCanceled,
		"57P01", "57P02", "57P03": // shutting down or starting up
		return true
	}
	switch code[:min(2, len(code))] {
	case "08", // connection
		"40", // serialisation, deadlock
		"53", // disk full, out of memory, too many connections
		"58": // I/O
		return true
	}
	return false
}
