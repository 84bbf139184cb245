package eventtest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/decider"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// Spec describes a decision; begin it with [For].
type Spec[S, E any] struct {
	t       testing.TB
	d       *decider.Decider[S, E]
	history []E
}

// For begins to describe a decision of d. Its store should be that of [NewStore]: each
// When writes a stream of its own to it.
//
// The history is an argument of its own, because Go infers no interface E from values
// that implement it.
func For[S, E any](t testing.TB, d *decider.Decider[S, E]) Spec[S, E] {
	return Spec[S, E]{t: t, d: d}
}

// Given says what has happened before the decision, in order. Without it, or without
// events, there is no stream yet.
func (s Spec[S, E]) Given(history ...E) Spec[S, E] {
	s.history = append(slices.Clip(s.history), history...)
	return s
}

// When stores the history, decides on it and stores what was decided. The events are
// read back and compared with what they were: the test fails where the codec loses
// something of them. It fails too where evolve or decide change what the state that
// they are given points to, which other decisions may share, or where evolve makes
// different states of the same events.
//
// Appending to a slice of the state changes it where the slice has room: what another
// decision appends takes the same place. Write append(slices.Clip(s), …).
func (s Spec[S, E]) When(decide func(S) ([]E, error)) Outcome[E] {
	s.t.Helper()
	stream := "eventtest-" + uuid.NewString()
	for events := range slices.Chunk(s.history, eventstore.PortableLimits().MaxAppendEvents) {
		if _, err := s.d.Transact(s.t.Context(), stream, func(S) ([]E, error) { return events, nil }); err != nil {
			s.t.Fatalf("store the given events: %v", err)
		}
	}
	_, given := s.fold(stream) // first: an evolve that changes its state may change the events with it
	s.checkStored("given", stream, 0, s.history)

	var decided []E
	var touched string
	res, err := s.d.Transact(s.t.Context(), stream, func(state S) ([]E, error) {
		before := changed(state, given) // as it may, of a snapshot
		events, err := decide(state)
		if path := changed(state, given); before == nil && path != nil {
			touched = *path
			return nil, errChanged
		}
		decided = events
		return events, err
	})
	if errors.Is(err, errChanged) {
		s.t.Fatalf("decide changes the state that it is given, at %s: other decisions share what it points to; decide returns events and changes nothing", touched)
	}
	o := Outcome[E]{t: s.t, decided: decided, err: err, checked: new(bool)}
	if err == nil {
		s.fold(stream)
		s.checkStored("decided", stream, res.Version-uint64(len(decided)), decided)
	}
	s.t.Cleanup(func() {
		if !*o.checked && !s.t.Failed() {
			s.t.Errorf("a When was not checked: call Then or ThenError on what it returns")
		}
	})
	return o
}

var errChanged = errors.New("decide changed the state")

// read returns a stream's events after a version, decoded anew.
func (s Spec[S, E]) read(stream string, after uint64) []E {
	s.t.Helper()
	var events []E
	for e, err := range s.d.Read(s.t.Context(), stream, after) {
		if err != nil {
			s.t.Fatalf("read the stored events: %v", err)
		}
		events = append(events, e.Value)
	}
	return events
}

// checkStored compares events with what was stored of them.
func (s Spec[S, E]) checkStored(what, stream string, after uint64, events []E) {
	s.t.Helper()
	stored := s.read(stream, after)
	if len(stored) != len(events) {
		s.t.Fatalf("of %d events that were %s, %d were read back: the codec ignores a type that it writes", len(events), what, len(stored))
	}
	for i, event := range events {
		if path := differ(event, stored[i]); path != nil {
			s.t.Fatalf("event %d that was %s is not what was stored of it, at %s:\n\t%s\nwas read back as\n\t%s\nThe codec loses something: a field that it does not encode, or a form that its encoding does not keep. "+
				"A time has to be UTC and without a clock reading: t.UTC().", i+1, what, *path, show(event), show(stored[i]))
		}
	}
}

// fold folds a stream, and returns the state twice, without shared memory: the events
// are decoded for each, because a state may share the memory of its events. After each
// event the state before it is held against its twin, on which nothing was folded yet.
func (s Spec[S, E]) fold(stream string) (state, twin S) {
	s.t.Helper()
	twins := s.read(stream, 0)
	for i, event := range s.read(stream, 0) {
		next := s.d.Fold(state, event)
		if path := changed(state, twin); path != nil {
			s.t.Fatalf("evolve changes the state that it is given, at %s, with event %d:\n\t%s\nOther decisions share what a state points to: copy a map with maps.Clone before it is changed, a slice with slices.Clone, and append to slices.Clip of it.",
				*path, i+1, show(event))
		}
		twinNext := s.d.Fold(twin, twins[i])
		if path := differ(next, twinNext); path != nil {
			s.t.Fatalf("evolve makes two states of the same events, which differ at %s, with event %d:\n\t%s\nIt may use nothing but the state and the event: no clock, no randomness, no order of a map.", *path, i+1, show(event))
		}
		state, twin = next, twinNext
	}
	return state, twin
}

// Outcome is what came of a decision.
type Outcome[E any] struct {
	t       testing.TB
	decided []E
	err     error
	checked *bool
}

// Then fails unless exactly these events were decided; none stand for a decision that
// there is nothing to do.
func (o Outcome[E]) Then(want ...E) {
	o.t.Helper()
	*o.checked = true
	switch {
	case o.err != nil:
		o.t.Fatalf("the decision failed: %v\nwanted were:%s", o.err, list(want))
	case len(o.decided) != len(want):
		o.t.Fatalf("decided were:%s\nwanted were:%s", list(o.decided), list(want))
	}
	for i := range want {
		if path := differ(o.decided[i], want[i]); path != nil {
			o.t.Fatalf("decided were:%s\nwanted were:%s\nThey differ in event %d, at %s.", list(o.decided), list(want), i+1, *path)
		}
	}
}

// ThenError fails unless the decision was refused with an error that matches want, as
// [errors.Is] has it.
func (o Outcome[E]) ThenError(want error) {
	o.t.Helper()
	*o.checked = true
	switch {
	case o.err == nil:
		o.t.Fatalf("wanted was the error: %v\ndecided were:%s", want, list(o.decided))
	case !errors.Is(o.err, want):
		o.t.Fatalf("wanted was the error: %v\nthe decision failed with another one: %v", want, o.err)
	}
}

// list shows events, each on a line of its own.
func list[E any](events []E) string {
	if len(events) == 0 {
		return "\n\tno events"
	}
	var b strings.Builder
	for _, event := range events {
		fmt.Fprintf(&b, "\n\t%s", show(event))
	}
	return b.String()
}
