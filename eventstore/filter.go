package eventstore

import (
	"slices"
	"strings"
)

// Filter selects events of the global order. An empty field selects all; an event
// matches a field if it matches any of the field's values, and must match every
// field that is not empty.
type Filter struct {
	// Categories selects the streams of any of these categories; see [Category].
	Categories []string
	// StreamPrefixes selects the streams whose ID starts with any of these.
	StreamPrefixes []string
	// Types selects events of any of these types.
	Types []string
}

// IsZero tells whether f selects everything.
func (f Filter) IsZero() bool {
	return len(f.Categories) == 0 && len(f.StreamPrefixes) == 0 && len(f.Types) == 0
}

// Match tells whether f selects an event of this type in this stream.
func (f Filter) Match(stream, eventType string) bool {
	return (len(f.Categories) == 0 || slices.Contains(f.Categories, Category(stream))) &&
		(len(f.StreamPrefixes) == 0 || slices.ContainsFunc(f.StreamPrefixes, func(prefix string) bool {
			return strings.HasPrefix(stream, prefix)
		})) &&
		(len(f.Types) == 0 || slices.Contains(f.Types, eventType))
}

// clone copies what the caller could change while a read goes on.
func (f Filter) clone() Filter {
	return Filter{
		Categories:     slices.Clone(f.Categories),
		StreamPrefixes: slices.Clone(f.StreamPrefixes),
		Types:          slices.Clone(f.Types),
	}
}
