package conformance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// DifferentialOptions configures [Differential]. The zero value, like nil, means
// the defaults.
type DifferentialOptions struct {
	// Seed makes the list of operations: the same seed makes the same list.
	Seed uint64
	// Operations is the length of the list, at most 20,000; 0 means 400.
	Operations int
}

const (
	defaultOperations = 400
	maxOperations     = 20_000
	maxShrinkRuns     = 60
)

// DifferenceError says how two backends differed. Running [Differential] with
// its Seed and Operations again gives it again.
type DifferenceError struct {
	Reference, Subject string
	Seed               uint64
	Operations         int
	// Index is the place in the list, from 0, of the first operation that differed.
	Index int
	// Operation is what was asked, Want the reference's answer and Got the subject's.
	Operation, Want, Got string
	// Shortest is a shorter list of operations, found by leaving out what does
	// not matter, of which the last one differs too.
	Shortest []string
}

func (e *DifferenceError) Error() string {
	return fmt.Sprintf(
		"%s and %s differ at operation %d of %d (seed %d): %s\n  %s: %s\n  %s: %s\nshortest list that differs:\n  %s",
		e.Reference, e.Subject, e.Index, e.Operations, e.Seed, e.Operation,
		e.Reference, e.Want, e.Subject, e.Got, strings.Join(e.Shortest, "\n  "))
}

// Differential runs one seeded list of operations on a fresh store of each
// harness and compares every answer: appends with all expectations, repetitions
// and reuses of event IDs, reads in all shapes, subscriptions up to the head,
// snapshots and checkpoints, through two handles where both harnesses have
// OpenAgain. What only one of the two supports is left out.
//
// It returns nil where all answers agree, a [*DifferenceError] where one does
// not, and another error where a store could not be opened. Positions are
// compared by their order, never by their value; record times only where both
// backends preserve them.
func Differential(ctx context.Context, reference, subject Harness, opts *DifferentialOptions) error {
	d := differential{reference: reference, subject: subject, operations: defaultOperations}
	if opts != nil {
		d.seed = opts.Seed
		if opts.Operations > 0 {
			d.operations = min(opts.Operations, maxOperations)
		}
	}
	shared, err := d.shared(ctx)
	if err != nil {
		return err
	}
	list := generate(d.seed, d.operations, shared)
	found, err := d.compare(ctx, list)
	if err != nil || found == nil {
		return err
	}
	found.Seed, found.Operations = d.seed, len(list)
	for _, op := range d.shrink(ctx, list[:found.Index+1]) {
		found.Shortest = append(found.Shortest, op.text)
	}
	return found
}

type differential struct {
	reference, subject Harness
	seed               uint64
	operations         int
}

// shared opens both stores once to learn what both can do.
func (d differential) shared(ctx context.Context) (abilities, error) {
	left, right, closeBoth, err := d.open(ctx)
	if err != nil {
		return abilities{}, err
	}
	a, b := left.handles[0].Capabilities(), right.handles[0].Capabilities()
	c := abilities{
		multiStream: a.MultiStreamAppend.Supported() && b.MultiStreamAppend.Supported(),
		globalOrder: a.GlobalOrder.Supported() && b.GlobalOrder.Supported(),
		recordTime:  a.PreservedRecordTime.Supported() && b.PreservedRecordTime.Supported(),
		precision:   max(a.TimePrecision, b.TimePrecision),
		window:      min(a.IdempotencyWindow-1, b.IdempotencyWindow-1) + 1, // 0 is without limit
	}
	return c, closeBoth()
}

// compare runs a list on fresh stores up to the first difference.
func (d differential) compare(ctx context.Context, list []operation) (*DifferenceError, error) {
	left, right, closeBoth, err := d.open(ctx)
	if err != nil {
		return nil, err
	}
	for i, op := range list {
		want, got := op.run(ctx, left), op.run(ctx, right)
		if ctx.Err() != nil {
			return nil, errors.Join(ctx.Err(), closeBoth())
		}
		if want != got {
			return &DifferenceError{
				Reference: d.reference.Name, Subject: d.subject.Name,
				Index: i, Operation: op.text, Want: want, Got: got,
			}, closeBoth()
		}
	}
	return nil, closeBoth()
}

// shrink leaves out operations, in ever smaller runs of them, as long as the
// stores still differ.
func (d differential) shrink(ctx context.Context, list []operation) []operation {
	runs := 0
	for size := len(list) / 2; size > 0; size /= 2 {
		for start := 0; start+size < len(list); {
			if runs++; runs > maxShrinkRuns {
				return list
			}
			shorter := slices.Concat(list[:start], list[start+size:])
			found, err := d.compare(ctx, shorter)
			switch {
			case err != nil:
				return list
			case found != nil:
				list = shorter[:found.Index+1]
			default:
				start += size
			}
		}
	}
	return list
}

// open opens a fresh store of each harness, with two handles if both can.
func (d differential) open(ctx context.Context) (left, right *side, closeBoth func() error, err error) {
	left, err = openSide(ctx, d.reference)
	if err != nil {
		return nil, nil, nil, err
	}
	right, err = openSide(ctx, d.subject)
	if err != nil {
		return nil, nil, nil, errors.Join(err, left.close(ctx))
	}
	if len(left.handles) != len(right.handles) {
		left.single, right.single = true, true
	}
	return left, right, func() error {
		return errors.Join(left.close(ctx), right.close(ctx))
	}, nil
}

// side is one of the two stores, and what its answers are told apart by.
type side struct {
	name    string
	fixture *Fixture
	handles []*eventstore.Store
	single  bool // only the first handle is used

	marks []eventstore.Place          // of every append that was stored, in order
	index map[eventstore.Position]int // into marks
}

func openSide(ctx context.Context, h Harness) (*side, error) {
	fixture, err := h.Open(ctx)
	if err != nil {
		return nil, fmt.Errorf("open a store of %s: %w", h.Name, err)
	}
	s := &side{name: h.Name, fixture: fixture, index: make(map[eventstore.Position]int)}
	err = s.add(fixture.Backend, &eventstore.Options{RetryFor: -1})
	if err == nil && fixture.OpenAgain != nil {
		var again eventstore.Backend
		if again, err = fixture.OpenAgain(ctx); err == nil {
			err = s.add(again, &eventstore.Options{RetryFor: -1, PageSize: 3})
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open a store of %s: %w", h.Name, err), s.close(ctx))
	}
	return s, nil
}

func (s *side) add(backend eventstore.Backend, opts *eventstore.Options) error {
	store, err := eventstore.New(backend, opts)
	if err != nil {
		return errors.Join(err, backend.Close())
	}
	s.handles = append(s.handles, store)
	return nil
}

// handle returns the n-th handle, or the only one.
func (s *side) handle(n int) *eventstore.Store {
	if s.single {
		return s.handles[0]
	}
	return s.handles[n%len(s.handles)]
}

func (s *side) close(ctx context.Context) error {
	var errs []error
	for _, store := range s.handles {
		errs = append(errs, store.Close())
	}
	if s.fixture.Remove != nil {
		errs = append(errs, s.fixture.Remove(context.WithoutCancel(ctx)))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close a store of %s: %w", s.name, err)
	}
	return nil
}
