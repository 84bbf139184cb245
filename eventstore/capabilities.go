package eventstore

import (
	"fmt"
	"reflect"
	"time"
)

// Capability is a backend's answer on an optional guarantee: [Yes], or [No]
// with the reason. The zero value is "undeclared", which the conformance suite
// refuses.
type Capability struct {
	declared  bool
	supported bool
	reason    string
}

// Yes declares that a guarantee holds.
func Yes() Capability { return Capability{declared: true, supported: true} }

// No declares that a guarantee does not hold, and why. Calls that need it are
// refused with ErrUnsupported.
func No(reason string) Capability { return Capability{declared: true, reason: reason} }

// Supported tells whether the guarantee holds.
func (c Capability) Supported() bool { return c.supported }

// Reason says why the guarantee does not hold; it is empty where it does.
func (c Capability) Reason() string { return c.reason }

// String returns "yes", "no: reason" or "undeclared".
func (c Capability) String() string {
	switch {
	case c.supported:
		return "yes"
	case c.declared:
		return "no: " + c.reason
	}
	return "undeclared"
}

// Durability says what an acknowledged append survives.
type Durability uint8

// The durability levels, from weakest to strongest. Each includes the ones before it.
const (
	// SurvivesNothing: events live in the process's memory.
	SurvivesNothing Durability = iota + 1
	// SurvivesProcessCrash: a kill of the process or server loses nothing; a
	// loss of power may.
	SurvivesProcessCrash
	// SurvivesPowerLoss: the bytes were flushed to stable storage.
	SurvivesPowerLoss
)

// String says in words what an acknowledgement survives.
func (d Durability) String() string {
	switch d {
	case SurvivesNothing:
		return "nothing (in memory)"
	case SurvivesProcessCrash:
		return "process crash"
	case SurvivesPowerLoss:
		return "power loss"
	}
	return "undeclared"
}

// Capabilities is a backend's declaration: constant for an open backend, and
// read without I/O. Every field is declared; [Capabilities.Validate] says which
// are not.
type Capabilities struct {
	// Backend is the backend's name, such as "sqlite".
	Backend string
	// MultiStreamAppend: one append may write to several streams atomically.
	MultiStreamAppend Capability
	// GlobalOrder: all events have one total order that every reader agrees on.
	GlobalOrder Capability
	// LivePush: a subscription hears of a new event from any process at once
	// rather than at the next poll.
	LivePush Capability
	// PollInterval is the longest time a live subscription waits before it looks
	// for new events on its own. Zero says that delivery never depends on polling.
	PollInterval time.Duration
	// PreservedRecordTime: an import may set RecordedAt.
	PreservedRecordTime Capability
	// IdempotencyWindow is how far back from a stream's end an event ID is
	// recognised, in events; 0 means without limit.
	IdempotencyWindow uint64
	// Durability is what an acknowledged append survives.
	Durability Durability
	// TimePrecision is the resolution of RecordedAt.
	TimePrecision time.Duration
	// Limits are the backend's own.
	Limits Limits
}

// Validate returns an error that names the first field which is not declared.
func (c Capabilities) Validate() error {
	v := reflect.ValueOf(c)
	for i := range v.NumField() {
		name := v.Type().Field(i).Name
		if capability, ok := v.Field(i).Interface().(Capability); ok {
			if !capability.declared {
				return fmt.Errorf("capability %s is undeclared; say Yes() or No(why)", name)
			}
			if !capability.supported && capability.reason == "" {
				return fmt.Errorf("capability %s is declared absent without a reason; say No(why)", name)
			}
		}
	}
	limits := reflect.ValueOf(c.Limits)
	for i := range limits.NumField() {
		if limits.Field(i).Int() <= 0 {
			return fmt.Errorf("limit %s is undeclared; give a number above zero", limits.Type().Field(i).Name)
		}
	}
	switch {
	case c.Backend == "":
		return fmt.Errorf("capability Backend is undeclared; give the backend's name")
	case c.Durability == 0:
		return fmt.Errorf("capability Durability is undeclared; say what an acknowledged append survives")
	case c.TimePrecision <= 0:
		return fmt.Errorf("capability TimePrecision is undeclared; give the resolution of RecordedAt")
	case c.PollInterval <= 0 && !c.LivePush.supported:
		return fmt.Errorf("capability PollInterval is undeclared; a backend without LivePush polls")
	}
	return nil
}
