package eventstore

import (
	"slices"
	"strings"
)

// Filter selects events of the global order. A zero field selects all; the
// fields that are set must all agree.
type Filter struct {
	// Category selects the streams of one category; see [Category].
	Category string
	// StreamPrefix selects the streams whose ID starts with it.
	StreamPrefix string
	// Types selects events of any of these types.
	Types []string
}

// IsZero tells whether f selects everything.
func (f Filter) IsZero() bool {
	return f.Category == "" && f.StreamPrefix == "" && len(f.Types) == 0
}

// Match tells whether f selects an event of this type in this stream.
func (f Filter) Match(stream, eventType string) bool {
	return (f.Category == "" || f.Category == Category(stream)) &&
		strings.HasPrefix(stream, f.StreamPrefix) &&
		(len(f.Types) == 0 || slices.Contains(f.Types, eventType))
}
