package transfer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// The most that goes into one append; less where the backend's limits say so.
const batchEvents, batchBytes = 1000, 4 << 20

// Result counts what a transfer did.
type Result struct {
	// Read counts the events that were looked at; Stored those that were new to
	// the target, and Duplicates those that it had already.
	Read, Stored, Duplicates int
	// Refused says what became of events that the target refused. Read is the sum of
	// Stored, Duplicates and those that were parked and skipped.
	Refused Refusals
}

// Loss is something of the source that a target does not keep, and why.
type Loss struct {
	What, Why string
}

// Losses says what of an event a target with these capabilities does not keep, of a source
// whose record times have a precision; 0 where nobody knows it.
// Versions, IDs, types, content types and metadata are always kept, and so is data
// at least as JSON: a target that cannot refuses the event. Positions never are,
// for they are the target's own order.
func Losses(target eventstore.Capabilities, precision time.Duration) []Loss {
	var losses []Loss
	switch {
	case !target.PreservedRecordTime.Supported():
		losses = append(losses, Loss{What: "record times", Why: target.PreservedRecordTime.Reason()})
	case precision > 0 && precision < target.TimePrecision:
		losses = append(losses, Loss{What: fmt.Sprintf("parts of record times below %s", target.TimePrecision), Why: "that is its precision"})
	}
	if !target.ExactData.Supported() {
		losses = append(losses, Loss{What: "the exact bytes of JSON data", Why: target.ExactData.Reason()})
	}
	return losses
}

// writer appends records to a store in their order. It is used by one goroutine.
type writer struct {
	store     *eventstore.Store
	maxEvents int
	maxBytes  int
	maxParts  int
	multi     bool // several streams in one append
	keepTimes bool
	asJSON    bool // data is compared as JSON
	remedies  []Remedy
	result    Result
	known     *known // nil where the store recognises every ID
	held      *held
	// Of streams of the source that have another name in the target, that name, and of
	// those whose versions are lower there, by how much.
	renamed map[string]string
	lower   map[string]uint64
	// own are the streams that look renamed, and that the target has under their own name.
	own   map[string]bool
	forms []Record // used again by each append
	// reached is where in its store the last record came from.
	reached eventstore.Place
	// wrote, where not nil, hears of each append's new events.
	wrote func(ctx context.Context, stored []eventstore.RecordedEvent) error
}

func newWriter(store *eventstore.Store, remedies []Remedy) *writer {
	caps, limits := store.Capabilities(), store.Limits()
	return &writer{
		store:     store,
		maxEvents: min(batchEvents, limits.MaxAppendEvents),
		maxBytes:  min(batchBytes, limits.MaxAppendBytes),
		maxParts:  limits.MaxAppendParts,
		multi:     caps.MultiStreamAppend.Supported(),
		keepTimes: caps.PreservedRecordTime.Supported(),
		asJSON:    !keepsBytes(store),
		remedies:  remedies,
		known:     newKnown(store),
		held:      newHeld(store),
		renamed:   make(map[string]string),
		lower:     make(map[string]uint64),
		own:       make(map[string]bool),
	}
}

// full tells whether a batch of so much takes no further event.
func (w *writer) full(events, bytes int) bool {
	return events >= w.maxEvents || bytes >= w.maxBytes
}

// write stores records that are at most one batch long. When it fails, every
// record before the one that the error names is stored, and none after it.
func (w *writer) write(ctx context.Context, records []Record) error {
	for len(records) > 0 {
		forms, err := w.group(ctx, records)
		if err != nil {
			return located(records[0], err)
		}
		n := len(forms)
		if err := w.writeGroup(ctx, records[:n], forms); err != nil {
			return err
		}
		w.reached = records[n-1].origin()
		records = records[n:]
	}
	return nil
}

// group returns the forms of the first records, as many as may go into one append.
func (w *writer) group(ctx context.Context, records []Record) (forms []Record, err error) {
	w.known.forget()
	w.forms = w.forms[:0]
	bytes, parts := 0, 1
	for i, r := range records {
		form := w.form(r).marked()
		if r.broken == nil {
			if err := w.known.assign(ctx, &form); err != nil {
				return nil, err
			}
		}
		if form.passed, err = w.standsOtherwise(ctx, r); err != nil {
			return nil, err
		}
		if form.taken, err = w.takenName(ctx, r, form); err != nil {
			return nil, err
		}
		alone := form.stored || form.passed || form.taken != nil || r.broken != nil
		bytes += form.Size()
		if i > 0 && !w.continues(w.forms[i-1], form) {
			parts++
		}
		over := i >= w.maxEvents || bytes > w.maxBytes || parts > w.maxParts || (parts > 1 && !w.multi) || alone
		if i > 0 && over {
			break
		}
		w.forms = append(w.forms, form)
		if alone {
			break
		}
	}
	return w.forms, nil
}

// first returns the remedy that is tried first against a fault, "" where none is.
func (w *writer) first(f fault) Remedy {
	for _, remedy := range w.remedies {
		if slices.Contains(f.remedies(), remedy) {
			return remedy
		}
	}
	return ""
}

// form returns a record as its stream is known to be stored.
func (w *writer) form(r Record) Record {
	name, renamed := w.renamed[r.Stream]
	lower := w.lower[r.Stream]
	r = r.quoted()
	if !renamed && (lower == 0 || r.Version <= lower) {
		return r
	}
	if was := r; !errors.Is(r.reason, errQuoted) {
		r.was = &was
	}
	if renamed {
		r.Stream, r.remedies = name, append(r.remedies, Rename)
	}
	if lower > 0 && r.Version > lower {
		r.Version, r.remedies = r.Version-lower, append(r.remedies, Renumber)
	}
	return r
}

// continues tells whether two records can be in one part of an append.
func (w *writer) continues(before, r Record) bool {
	next := r.Version == before.Version+1 && before.Version > 0 || r.Version == 0 && before.Version == 0
	return next && r.Stream == before.Stream && (!w.keepTimes || sameTime(r.RecordedAt, before.RecordedAt))
}

func sameTime(a, b *time.Time) bool {
	return a == b || a != nil && b != nil && a.Equal(*b)
}

func (w *writer) parts(records []Record) []eventstore.StreamAppend {
	parts := make([]eventstore.StreamAppend, 0, len(records))
	var before Record
	for _, r := range records {
		if len(parts) > 0 && w.continues(before, r) {
			last := &parts[len(parts)-1]
			last.Events = append(last.Events, r.Event)
		} else {
			parts = append(parts, w.part(r))
		}
		before = r
	}
	return parts
}

func (w *writer) part(r Record) eventstore.StreamAppend {
	part := eventstore.StreamAppend{Stream: r.Stream, Expected: eventstore.Any(), Events: []eventstore.Event{r.Event}}
	if r.Version > 0 {
		part.Expected = eventstore.Exactly(r.Version - 1)
	}
	if w.keepTimes {
		part.RecordedAt = r.RecordedAt
	}
	return part
}

// writeGroup appends a group at once. Where the store refuses it, which leaves
// nothing written, it is divided: what is stored already is passed over, and what is
// wrong is found.
func (w *writer) writeGroup(ctx context.Context, records, forms []Record) error {
	var err error
	switch {
	case forms[0].passed:
		w.pass()
	case records[0].broken != nil:
		err = records[0].broken
	case forms[0].taken != nil:
		err = forms[0].taken
	case len(records) == 1:
		err = w.writeOne(ctx, records[0], forms[0])
	default:
		var results []eventstore.AppendResult
		if results, err = w.store.AppendStreams(ctx, w.parts(forms)...); err == nil {
			err = w.accept(ctx, forms, results)
		}
	}
	switch {
	case err == nil:
		return nil
	case records[0].broken == nil && !refused(err):
		return located(records[0], err)
	case len(records) == 1:
		return w.settle(ctx, records[0], faultOf(w.store, err, forms[0]), err)
	}
	half := len(records) / 2
	if err := w.write(ctx, records[:half]); err != nil {
		return err
	}
	return w.write(ctx, records[half:])
}

// refused tells whether the store judged an append and wrote nothing.
func refused(err error) bool {
	var misplaced *misplacedError
	var taken *takenNameError
	return errors.As(err, &misplaced) || errors.As(err, &taken) || errors.Is(err, eventstore.ErrInvalid) || errors.Is(err, eventstore.ErrUnsupported) ||
		errors.Is(err, eventstore.ErrConflict) || errors.Is(err, eventstore.ErrEventIDReused)
}

// misplacedError says that the target has an event already, at another version than
// the one that was asked for.
type misplacedError struct{ event eventstore.RecordedEvent }

func (e *misplacedError) Error() string {
	return fmt.Sprintf("the target has event %s at version %d of stream %q already", e.event.ID, e.event.Version, clip(e.event.Stream))
}

// accept counts what an append did, and holds the versions that it gave against
// those that the records ask for.
func (w *writer) accept(ctx context.Context, forms []Record, results []eventstore.AppendResult) error {
	i := 0
	for _, result := range results {
		first, got := forms[i], result.Events[0]
		switch {
		case first.Version == 0 || got.Version == first.Version:
		case result.Duplicate:
			return &misplacedError{got} // and the whole append is a repetition
		default:
			return fmt.Errorf("the target gave event %s version %d of stream %q, not version %d", first.ID, got.Version, clip(first.Stream), first.Version)
		}
		i += len(result.Events)
	}
	i = 0
	var stored []eventstore.RecordedEvent
	for _, result := range results {
		for j, event := range result.Events {
			w.count(forms[i+j], event, result.Duplicate)
		}
		if !result.Duplicate {
			stored = append(stored, result.Events...)
		}
		i += len(result.Events)
	}
	if w.wrote == nil {
		return nil
	}
	return w.wrote(ctx, stored)
}

// count counts a form that is stored now, and learns from it how its stream is stored.
func (w *writer) count(form Record, event eventstore.RecordedEvent, duplicate bool) {
	w.known.stored(event)
	w.result.Read++
	switch {
	case duplicate:
		w.result.Duplicates++
	case !form.apart:
		w.result.Stored++
	}
	was := form.was
	if was == nil {
		return
	}
	if !duplicate {
		w.result.Refused.add(form, event)
	}
	if form.apart {
		return
	}
	if was.Stream != form.Stream {
		w.renamed[was.Stream] = form.Stream
	}
	w.learn(*was, event.Version)
}

// learn notes by how much the versions of a record's stream are lower in the target.
func (w *writer) learn(r Record, version uint64) {
	if r.Version > version {
		w.lower[r.Stream] = r.Version - version
	}
}

// located adds to an error which record it is about.
func located(r Record, err error) error {
	if r.line > 0 {
		return &LineError{Line: r.line, Err: err}
	}
	return fmt.Errorf("%s: %w", r.place(), err)
}
