package eventstore

import (
	"cmp"
	"fmt"
	"regexp"
)

// Limits bounds what one append may carry, and says which names a store takes.
// Sizes are in bytes; see [Event.Size].
type Limits struct {
	// MaxAppendEvents is the most events in one append.
	MaxAppendEvents int
	// MaxAppendBytes is the largest sum of the sizes of an append's events.
	MaxAppendBytes int
	// MaxAppendParts is the most parts of one append, those without events included.
	MaxAppendParts int
	// MaxEventBytes is the largest size of one event, and of a snapshot's data.
	MaxEventBytes int
	// MaxStreamBytes is the longest stream ID.
	MaxStreamBytes int
	// MaxTypeBytes is the longest event type.
	MaxTypeBytes int
	// StreamPattern and TypePattern are regular expressions (package regexp) that
	// match every stream ID and event type a store can hold; empty means any that
	// this package allows.
	StreamPattern, TypePattern string
}

// PortableLimits are every Store's defaults. They bound sizes and counts, and hold
// on every backend that Switchyard knows, byte for byte: an append fits
// EventStoreDB's 1 MiB with its overhead, an event fits DynamoDB's 400 KB item.
// Which names a store takes is its own to declare. [Options].BackendLimits lifts
// them to the backend's own.
func PortableLimits() Limits {
	return Limits{
		MaxAppendEvents: 64,
		MaxAppendBytes:  896 << 10,
		MaxAppendParts:  64,
		MaxEventBytes:   256 << 10,
		MaxStreamBytes:  255,
		MaxTypeBytes:    255,
	}
}

// orPortable fills in what a backend did not declare: one that was written before
// a limit existed holds the portable one.
func (l Limits) orPortable() Limits {
	portable := PortableLimits()
	l.MaxAppendEvents = cmp.Or(l.MaxAppendEvents, portable.MaxAppendEvents)
	l.MaxAppendBytes = cmp.Or(l.MaxAppendBytes, portable.MaxAppendBytes)
	l.MaxAppendParts = cmp.Or(l.MaxAppendParts, portable.MaxAppendParts)
	l.MaxEventBytes = cmp.Or(l.MaxEventBytes, portable.MaxEventBytes)
	l.MaxStreamBytes = cmp.Or(l.MaxStreamBytes, portable.MaxStreamBytes)
	l.MaxTypeBytes = cmp.Or(l.MaxTypeBytes, portable.MaxTypeBytes)
	return l
}

// names are a store's patterns, compiled; nil matches everything.
type names struct{ stream, eventType *regexp.Regexp }

func (l Limits) names() (names, error) {
	var n names
	for _, pattern := range []struct {
		text string
		into **regexp.Regexp
	}{{l.StreamPattern, &n.stream}, {l.TypePattern, &n.eventType}} {
		if pattern.text == "" {
			continue
		}
		compiled, err := regexp.Compile(`\A(?:` + pattern.text + `)\z`)
		if err != nil {
			return names{}, fmt.Errorf("the backend declares a pattern of names that does not compile: %w", err)
		}
		*pattern.into = compiled
	}
	return n, nil
}
