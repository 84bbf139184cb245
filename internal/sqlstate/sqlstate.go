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
	outOfMemory        = "53200" // of its own, or of what all share for locks
	limitExceeded      = "53400" // such as temp_file_limit
)

// OverLimit tells whether a transaction, a statement of it or the pause between two of
// them took more than the server's settings allow: time, which may have ended the
// connection, memory, or room in temporary files. Where it is always the same statement,
// no waiting helps.
func OverLimit(code string) bool {
	switch code {
	case queryCanceled, idleInTransaction, transactionTimeout, outOfMemory, limitExceeded:
		return true
	}
	return false
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
