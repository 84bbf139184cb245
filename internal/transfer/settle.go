package transfer

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// settle looks at a single record that the store refused for a fault: it may be
// stored already, further back than the store recognises an ID; otherwise the remedies
// are tried.
func (w *writer) settle(ctx context.Context, r Record, f fault, refusal error) error {
	form := w.form(r)
	tried := make(map[attempt]int)
	for looked := false; ; looked = true {
		if f == faultPlace {
			at, err := w.place(ctx, r, form, refusal)
			if err != nil || at.found {
				return err
			}
			form, f, refusal = at.form, at.fault, cmp.Or(at.refusal, refusal)
		}
		if !looked {
			if found, err := w.isHeld(ctx, r); err != nil || found {
				return err
			}
		}
		if f != faultVersion {
			next, ok, err := w.change(ctx, r, form, f, refusal, tried)
			if err != nil {
				return located(r, err)
			}
			if !ok {
				return located(r, refusedError(f, w.remedies, refusal))
			}
			form = next
		}
		ready := form.marked()
		if err := w.known.assign(ctx, &ready); err != nil {
			return located(r, err)
		}
		form.assigned = ready.assigned
		refusal = w.writeOne(ctx, r, ready)
		switch {
		case refusal == nil:
			return nil
		case !refused(refusal):
			return located(r, refusal)
		}
		f = faultOf(w.store, refusal, ready)
	}
}

// isHeld tells whether the target holds a refused record already, by whichever remedy.
func (w *writer) isHeld(ctx context.Context, r Record) (bool, error) {
	event, found, err := w.held.find(ctx, r, w.asJSON)
	switch {
	case err != nil:
		return false, located(r, err)
	case !found:
		return false, nil
	}
	w.pass()
	if Restore(event, r.source).Apart() {
		return true, nil
	}
	w.learn(r, event.Version)
	if event.Stream != r.Stream && w.first(faultStream) == Rename {
		w.renamed[r.Stream] = event.Stream
	}
	return true, nil
}

// standsOtherwise tells whether the target holds what an earlier run made of a line, or put
// apart of a stream that has another name by now, and is not refused for its own any more.
func (w *writer) standsOtherwise(ctx context.Context, r Record) (bool, error) {
	if _, renamed := w.renamed[r.Stream]; renamed && r.broken == nil {
		if _, found, err := w.held.standing(ctx, r, w.asJSON); err != nil || found {
			return found, err
		}
	}
	if r.other == nil {
		return false, nil
	}
	_, found, err := w.held.find(ctx, *r.other, w.asJSON)
	return found, err
}

// pass counts a record that the target holds.
func (w *writer) pass() {
	w.result.Read++
	w.result.Duplicates++
}

// writeOne appends one form of a record, where the target does not hold it already.
func (w *writer) writeOne(ctx context.Context, r, form Record) error {
	if form.stored {
		return w.confirm(ctx, r, form)
	}
	results, err := w.store.AppendStreams(ctx, w.parts([]Record{form})...)
	if err != nil {
		return err
	}
	return w.accept(ctx, []Record{form}, results)
}

// placed is what a look at a stream has found: the record itself or, where that is not
// there, what is wrong.
type placed struct {
	found   bool
	form    Record
	fault   fault
	refusal error // nil for the store's
}

// place looks at the stream in which the target refused a record because of its
// version or its ID. It has found the record where it is stored there; otherwise the
// stream is another one's of the source, the form has the version that comes next, or the
// ID is what was refused.
func (w *writer) place(ctx context.Context, r, form Record, refusal error) (placed, error) {
	if form.apart {
		found, err := w.standsApart(ctx, r, form)
		if err != nil || found {
			return placed{found: found}, err
		}
	}
	if form.Version == 0 && w.known == nil {
		return placed{form: form, fault: faultID}, nil
	}
	if form.assigned || form.Version == 0 {
		form.assigned, form.Version = true, 0 // and gets the next version
		return placed{form: form, fault: faultVersion}, w.known.refresh(ctx, form.Stream)
	}
	last, exists, err := lastOf(ctx, w.store, form.Stream)
	if err != nil {
		return placed{}, located(r, err)
	}
	if other := Restore(last, r.source).Stream; exists && other != r.Stream {
		return placed{form: form, fault: faultStream, refusal: fmt.Errorf("%w: %w", &takenNameError{form.Stream, other}, refusal)}, nil
	}
	if exists && Restore(last, r.source).Version >= r.Version {
		found, err := w.stored(ctx, r, form, refusal)
		return placed{found: found, form: form, fault: faultID}, err
	}
	if form.Version == last.Version+1 {
		return placed{form: form, fault: faultID}, nil
	}
	missing := fmt.Errorf("version %d of stream %q is to be stored, but the target has %s of it: the ones between are missing: %w",
		r.Version, clip(r.Stream), Count(int(last.Version), "event"), refusal)
	if !slices.ContainsFunc(w.remedies, func(remedy Remedy) bool { return slices.Contains(faultVersion.remedies(), remedy) }) {
		return placed{}, located(r, refusedError(faultVersion, w.remedies, missing))
	}
	form.Version, form.was, form.reason = last.Version+1, &r, missing
	if !slices.Contains(form.remedies, Renumber) {
		form.remedies = append(slices.Clone(form.remedies), Renumber)
	}
	return placed{form: form, fault: faultVersion}, nil
}

// stored tells whether the target's stream, which holds the source's events up to the
// record's and more, holds the record. It does not where that was parked or skipped.
func (w *writer) stored(ctx context.Context, r, form Record, refusal error) (bool, error) {
	event, found, err := find(ctx, w.store, form.Stream, r.source, r.Version)
	if err != nil {
		return false, located(r, err)
	}
	if !found {
		return false, nil
	}
	if field := Restore(event, r.source).Difference(r.recorded(), w.asJSON); field != "" {
		return false, located(r, fmt.Errorf("the target has another event at version %d of stream %q (it differs in %s): %w",
			event.Version, clip(event.Stream), field, refusal))
	}
	w.count(Record{}, event, true)
	w.learn(r, event.Version)
	return true, nil
}

// standsApart tells whether the stream of refused events holds the record, by another
// remedy than the form's.
func (w *writer) standsApart(ctx context.Context, r, form Record) (bool, error) {
	for event, err := range w.store.ReadStream(ctx, form.Stream, eventstore.ReadOptions{}) {
		if err != nil {
			return false, located(r, err)
		}
		if event.ID == form.ID && Restore(event, r.source).Difference(r.recorded(), w.asJSON) == "" {
			w.count(form, event, true)
			return true, nil
		}
	}
	return false, nil
}

// takenError says that the target holds another event under an ID.
type takenError struct{ *eventstore.EventIDReusedError }

// confirm passes over a record whose ID the target holds, if it is the same event; if
// not, it returns a *takenError.
func (w *writer) confirm(ctx context.Context, r, form Record) error {
	event, found, err := eventAt(ctx, w.store, form.Stream, form.Version)
	if err != nil {
		return err
	}
	original := Restore(event, r.source)
	want := r.recorded()
	if r.Version == 0 {
		want.Version = original.Version
	}
	if field := original.Difference(want, w.asJSON); !found || field != "" {
		return &takenError{&eventstore.EventIDReusedError{Stream: form.Stream, ID: r.ID, Reason: "it differs in " + field}}
	}
	w.count(form, event, true)
	return nil
}

// eventAt returns the event of a stream at a version, and whether there is one.
func eventAt(ctx context.Context, store *eventstore.Store, stream string, version uint64) (eventstore.RecordedEvent, bool, error) {
	if version == 0 {
		return eventstore.RecordedEvent{}, false, nil
	}
	for event, err := range streamOf(ctx, store, stream, eventstore.ReadOptions{After: version - 1, Limit: 1}) {
		return event, err == nil && event.Version == version, err // a stream may begin later
	}
	return eventstore.RecordedEvent{}, false, nil
}
