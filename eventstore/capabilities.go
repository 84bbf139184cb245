package eventstore

import (
	"fmt"
	"reflect"
	"time"
)

// Capability is a backend's answer on an optional guarantee: [Yes], or [No]
// with the reason. The zero value is "undeclared": a Store takes it as No, and the
// conformance suite fails it.
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

// Capabilities is a backend's declaration: constant for an open backend, and read
// without I/O. What depends on the store is found when it is opened. A Store takes
// a capability that is not declared as [No]: the backend was written before it
// existed. The conformance suite asks for all; [Capabilities.Validate] says which
// are missing.
type Capabilities struct {
	// Backend is the backend's name, such as "sqlite".
	Backend string
	// MultiStreamAppend: one append may write to several streams atomically, and
	// hold others to an expectation.
	MultiStreamAppend Capability
	// ContiguousAppends: the events of an append have neighbouring places in the
	// global order. Without it other programs' events may lie between them, and
	// still nobody sees a part of an append before the rest can be seen.
	ContiguousAppends Capability
	// GlobalOrder: all events have one total order that every reader agrees on.
	GlobalOrder Capability
	// WholeStreams: every stream begins at version 1, and its events stay as they
	// were written. Without it a stream may begin later and its owner may replace
	// an event's data; there is still no hole.
	WholeStreams Capability
	// LivePush: a subscription hears of a new event from any process at once
	// rather than at the next poll.
	LivePush Capability
	// PollInterval is the longest time a live subscription waits before it looks
	// for new events on its own. Zero says that delivery never depends on polling.
	PollInterval time.Duration
	// PreservedRecordTime: an import may set RecordedAt.
	PreservedRecordTime Capability
	// ExactData: an event's data comes back byte for byte. Without it JSON comes
	// back equal as JSON.
	ExactData Capability
	// BinaryData: an event may have another content type than JSON.
	BinaryData Capability
	// Metadata: an event may have metadata.
	Metadata Capability
	// StreamScopedIDs: an event ID may be used again in another stream, for
	// another event. Without it the append is refused.
	StreamScopedIDs Capability
	// Checkpoints: the backend keeps checkpoints and leases. Without it a durable
	// subscription brings its own.
	Checkpoints Capability
	// Snapshots: the backend keeps snapshots.
	Snapshots Capability
	// Seal: the store can be closed for appends, and opened again.
	Seal Capability
	// IdempotencyWindow is how far back from a stream's end an event ID is
	// recognised, in events; 0 means without limit.
	IdempotencyWindow uint64
	// IdempotencyTime is how long an event ID is recognised where IDs are
	// forgotten by time; 0 means for ever.
	IdempotencyTime time.Duration
	// WriterGrace is the time after which a reader passes a place in the order
	// that another program reserved without a trace; 0 means that no such place
	// exists and none is ever passed. See [LateArrivalError].
	WriterGrace time.Duration
	// Durability is what an acknowledged append survives.
	Durability Durability
	// TimePrecision is the resolution of RecordedAt.
	TimePrecision time.Duration
	// Earliest and Latest bound RecordedAt; nil is no bound.
	Earliest, Latest *time.Time
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
		if limits.Field(i).Kind() == reflect.Int && limits.Field(i).Int() <= 0 {
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
	_, err := c.Limits.names()
	return err
}

// orAbsent returns c with every capability declared.
func (c Capabilities) orAbsent() Capabilities {
	v := reflect.ValueOf(&c).Elem()
	absent := reflect.ValueOf(No("this backend was written before the capability existed"))
	for i := range v.NumField() {
		if capability, ok := v.Field(i).Interface().(Capability); ok && !capability.declared {
			v.Field(i).Set(absent)
		}
	}
	c.Limits = c.Limits.orPortable()
	return c
}
