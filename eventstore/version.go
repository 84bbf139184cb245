package eventstore

import "strconv"

// ExpectedVersion says what an append requires of its stream. It is checked
// atomically with the write. Make one with [Any], [NoStream], [StreamExists] or
// [Exactly]: the zero value is invalid, so that nobody skips the check by
// forgetting it. ExpectedVersions are comparable with ==.
type ExpectedVersion struct {
	kind    expectation
	version uint64
}

type expectation uint8

const (
	expectAny expectation = iota + 1
	expectExists
	expectExactly
)

// Any requires nothing: the events go after whatever the stream holds.
func Any() ExpectedVersion { return ExpectedVersion{kind: expectAny} }

// NoStream requires that the stream has no events. It equals Exactly(0).
func NoStream() ExpectedVersion { return Exactly(0) }

// StreamExists requires that the stream has at least one event.
func StreamExists() ExpectedVersion { return ExpectedVersion{kind: expectExists} }

// Exactly requires that the stream's last event has this version.
func Exactly(version uint64) ExpectedVersion {
	return ExpectedVersion{kind: expectExactly, version: version}
}

// Valid tells whether e was made by one of the constructors.
func (e ExpectedVersion) Valid() bool { return e.kind != 0 }

// Exact returns the required version, and whether e requires one: true for
// Exactly and, with version 0, for NoStream.
func (e ExpectedVersion) Exact() (version uint64, ok bool) {
	return e.version, e.kind == expectExactly
}

// Allows tells whether a stream at version current meets the expectation.
// An invalid expectation allows nothing.
func (e ExpectedVersion) Allows(current uint64) bool {
	switch e.kind {
	case expectAny:
		return true
	case expectExists:
		return current > 0
	case expectExactly:
		return current == e.version
	}
	return false
}

// String returns "any", "none", "exists", a number, or "invalid".
func (e ExpectedVersion) String() string {
	switch {
	case e.kind == expectAny:
		return "any"
	case e.kind == expectExists:
		return "exists"
	case e == NoStream():
		return "none"
	case e.kind == expectExactly:
		return strconv.FormatUint(e.version, 10)
	}
	return "invalid"
}

// ParseExpectedVersion reads "any", "none", "exists" or a version number.
func ParseExpectedVersion(s string) (ExpectedVersion, error) {
	switch s {
	case "any":
		return Any(), nil
	case "none":
		return NoStream(), nil
	case "exists":
		return StreamExists(), nil
	}
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil {
		return ExpectedVersion{}, invalid("expected version", "%q is not any, none, exists or a version number", clip(s))
	}
	return Exactly(n), nil
}
