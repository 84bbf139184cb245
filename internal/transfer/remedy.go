package transfer

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// Remedy is what a transfer does with an event that its target refuses.
type Remedy string

// The remedies.
const (
	// KeepBytes keeps what is refused as what it says it is: data that is no JSON
	// becomes application/octet-stream, or its base64 as JSON text where the target
	// takes JSON alone, and a time out of the target's range the nearest in it.
	KeepBytes Remedy = "keep-bytes"
	// Rename gives a stream, a type or a metadata key another name, and an event
	// whose ID its stream holds already another ID.
	Rename Remedy = "rename"
	// Park puts the whole event, as JSON, into the stream that [RefusedStream] names.
	Park Remedy = "park"
	// Skip puts into that stream what the event was called, and the SHA-256 of its content.
	Skip Remedy = "skip"
	// Renumber gives a lower version. Nobody chooses it: Rename, Park and Skip bring
	// it along, for streams that begin above version 1 or lost an event.
	Renumber Remedy = "renumber"
	// Quote keeps what an event says of itself inside what is said of it: its metadata
	// reads as if a transfer had changed it on its way from where it is. Nobody chooses it.
	Quote Remedy = "quote"
)

// ParseRemedies reads remedies separated by commas, each once, in the order in
// which they are to be tried; "stop" is none.
func ParseRemedies(text string) ([]Remedy, error) {
	if text == "stop" {
		return nil, nil
	}
	var remedies []Remedy
	for name := range strings.SplitSeq(text, ",") {
		remedy := Remedy(strings.TrimSpace(name))
		if !slices.Contains([]Remedy{KeepBytes, Rename, Park, Skip}, remedy) || slices.Contains(remedies, remedy) {
			return nil, fmt.Errorf("%q is not stop, or keep-bytes, rename, park and skip, each once, separated by commas", clip(text))
		}
		remedies = append(remedies, remedy)
	}
	return remedies, nil
}

// fault is what of an event a target refuses.
type fault string

const (
	faultData        fault = "data"
	faultContentType fault = "content type"
	faultTime        fault = "record time"
	faultMetadata    fault = "metadata"
	faultStream      fault = "stream"
	faultType        fault = "type"
	faultID          fault = "ID"
	faultVersion     fault = "version"
	faultSize        fault = "size"
	faultApart       fault = "apart" // what stands for an event in the stream of refused ones
	faultLine        fault = "line"  // a line that holds no event
	faultOther       fault = "event" // such as metadata where the target has none
	faultPlace       fault = "place" // a version or an ID: the stream has to be looked at
)

// remedies are what can help against a fault.
func (f fault) remedies() []Remedy {
	switch f {
	case faultData, faultContentType, faultTime:
		return []Remedy{KeepBytes, Park, Skip}
	case faultMetadata, faultStream, faultType, faultID, faultVersion:
		return []Remedy{Rename, Park, Skip}
	case faultSize, faultApart:
		return []Remedy{Skip} // what is parked is larger still, and has no other form
	case faultOther, faultPlace, faultLine:
	}
	return []Remedy{Park, Skip}
}

// faultOf says what of a record a store refused.
func faultOf(store *eventstore.Store, refusal error, r Record) fault {
	var invalid *eventstore.InvalidError
	var unsupported *eventstore.UnsupportedError
	var misplaced *misplacedError
	var taken *takenError
	var name *takenNameError
	switch {
	case errors.As(refusal, &name):
		return faultStream
	case errors.As(refusal, &taken):
		return faultID
	case r.broken != nil:
		return faultLine
	case errors.As(refusal, &misplaced), errors.Is(refusal, eventstore.ErrConflict), errors.Is(refusal, eventstore.ErrEventIDReused):
		return faultPlace
	case r.apart:
		return faultApart
	case errors.As(refusal, &unsupported) && strings.HasPrefix(unsupported.Feature, "BinaryData"):
		return faultContentType
	case !errors.As(refusal, &invalid):
		return faultOther
	}
	field := strings.TrimPrefix(invalid.Field[strings.LastIndexByte(invalid.Field, '.')+1:], "event ")
	switch field {
	case "events":
		return faultSize
	case "data":
		if r.Size() > store.Limits().MaxEventBytes {
			return faultSize
		}
		return faultData
	case "contentType":
		return faultContentType
	case "recordedAt", "record time":
		return faultTime
	case "metadata", "stream", "type":
		return fault(field)
	}
	return faultOther
}

// RefusedError says that a target refuses an event, and how to go on.
type RefusedError struct {
	// Helps are the remedies that would help and were not asked for.
	Helps []Remedy
	Err   error
}

func (e *RefusedError) Error() string {
	if len(e.Helps) == 0 {
		return e.Err.Error()
	}
	return fmt.Sprintf("%s; to go on, run it again with --on-refused %s", e.Err, OrList(e.Helps))
}

// Unwrap returns the store's refusal.
func (e *RefusedError) Unwrap() error { return e.Err }

// refusedError returns a RefusedError with what helps against a fault, besides
// what was tried.
func refusedError(f fault, tried []Remedy, err error) error {
	helps := slices.DeleteFunc(f.remedies(), func(r Remedy) bool { return slices.Contains(tried, r) })
	return &RefusedError{Helps: helps, Err: err}
}

// OrList names remedies of which each would do.
func OrList(remedies []Remedy) string {
	var b strings.Builder
	for i, remedy := range remedies {
		switch {
		case i > 0 && i == len(remedies)-1:
			b.WriteString(" or ")
		case i > 0:
			b.WriteString(", ")
		}
		b.WriteString(string(remedy))
	}
	return b.String()
}

// maxDecisions is how many decisions a report lists.
const maxDecisions = 1000

// Refusals says what a transfer did with the events that its target refused. Each
// counts events; one that needed several remedies counts with each.
type Refusals struct {
	KeptBytes  int `json:"keptBytes"`
	Renamed    int `json:"renamed"`
	Renumbered int `json:"renumbered"`
	Parked     int `json:"parked"`
	Skipped    int `json:"skipped"`
	// Quoted counts events that nothing refused, and that say of themselves what a
	// transfer says.
	Quoted int `json:"quoted,omitempty"`
	// Decisions are the first 1000: one an event, and of a stream that is renamed or
	// renumbered as a whole the first event.
	Decisions []Decision `json:"decisions"`
	// Unlisted counts the decisions after those.
	Unlisted int `json:"unlisted,omitempty"`
}

// None tells whether nothing was refused.
func (r Refusals) None() bool {
	return r.KeptBytes+r.Renamed+r.Renumbered+r.Parked+r.Skipped+r.Quoted == 0
}

// Decision is what became of one event.
type Decision struct {
	Remedies []Remedy `json:"remedies"`
	// Reason is the target's.
	Reason string `json:"reason"`
	// Line is where the event is in its file, 0 where it comes from a store.
	Line int `json:"line,omitempty"`
	// Stream, Version and ID are the event's in its source.
	Stream  string    `json:"stream"`
	Version uint64    `json:"version,omitempty"`
	ID      uuid.UUID `json:"id"`
	// ToStream, ToVersion and ToID are its own in the target, or those of its record
	// in the stream of refused events.
	ToStream  string    `json:"toStream"`
	ToVersion uint64    `json:"toVersion"`
	ToID      uuid.UUID `json:"toId"`
}

// count counts an event by what was done with it.
func (r *Refusals) count(remedies []Remedy) {
	for _, remedy := range remedies {
		switch remedy {
		case KeepBytes:
			r.KeptBytes++
		case Rename:
			r.Renamed++
		case Renumber:
			r.Renumbered++
		case Park:
			r.Parked++
		case Skip:
			r.Skipped++
		case Quote:
			r.Quoted++
		}
	}
}

// add counts an event that was stored otherwise than it was, and lists why.
func (r *Refusals) add(record Record, stored eventstore.RecordedEvent) {
	r.count(record.remedies)
	if record.reason == nil {
		return // as its stream
	}
	if len(r.Decisions) == maxDecisions {
		r.Unlisted++
		return
	}
	was := record.was
	r.Decisions = append(r.Decisions, Decision{
		Remedies: record.remedies, Reason: record.reason.Error(), Line: record.line,
		Stream: was.Stream, Version: was.Version, ID: was.ID,
		ToStream: stored.Stream, ToVersion: stored.Version, ToID: stored.ID,
	})
}
