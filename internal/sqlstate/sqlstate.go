// Package sqlstate says what PostgreSQL's error codes mean, whichever driver brought
// them.
package sqlstate

// Transient tells whether a statement was rolled back for a reason that may pass.
func Transient(code string) bool {
	switch code {
	case "55P03", // the lock was not free in time
		"57014",                   // cancelled, or out of its time
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
