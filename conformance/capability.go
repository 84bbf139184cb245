package conformance

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/switchyard-dev/switchyard/eventstore"
)

func capabilityChecks() []Check {
	return slices.Concat([]Check{
		{
			Name: "capability/declared", Promise: 21, plain: true,
			Sentence: "Every capability and every limit is declared, and an absent one has its reason.",
			Run:      capabilitiesDeclared,
		},
		{
			Name: "capability/constant", Promise: 21, plain: true,
			Sentence: "A backend's capabilities are constant: across calls, handles, appends and Close.",
			Run:      capabilitiesConstant,
		},
		{
			Name: "capability/no-io", Promise: 21, plain: true,
			Sentence: "Opening a Store over a backend and asking for its capabilities and limits does no I/O.",
			Run:      capabilitiesWithoutIO,
		},
		{
			Name: "capability/limits", Promise: 21, plain: true,
			Sentence: "The portable limits lie within the backend's own; what these allow is stored, and one more is refused before any I/O.",
			Run:      ownLimits,
		},
		{
			Name: "capability/record-time", Promise: 21, Requires: preservedRecordTime, Refused: refusesRecordTime,
			Sentence: "A record time that an import sets is kept, as UTC, to the declared precision.",
			Run:      keepsRecordTime,
		},
		{
			Name: "capability/idempotency-window", Promise: 21,
			Sentence: "An event is recognised as far back from its stream's end as the idempotency window says; without a window, however far.",
			Run:      idempotencyWindow,
		},
	}, multiStreamChecks())
}

// expectUnsupported returns an error unless err refuses what a backend declares
// that it cannot do, with the declared reason.
func expectUnsupported(what string, err error, declared eventstore.Capability) error {
	if err := expectError(what, err, eventstore.ErrUnsupported); err != nil {
		return err
	}
	var unsupported *eventstore.UnsupportedError
	if !errors.As(err, &unsupported) || unsupported.Reason != declared.Reason() || unsupported.Feature == "" {
		return unexpected(what, fmt.Sprintf("an *UnsupportedError with the declared reason, %q", declared.Reason()), fmt.Sprintf("%q", err))
	}
	return nil
}

func capabilitiesDeclared(_ context.Context, env *Env) error {
	if err := env.Fixture.Backend.Capabilities().Validate(); err != nil {
		return err
	}
	if got := env.Store.Capabilities(); !sameCapabilities(got, env.Caps) {
		return unexpected("capabilities of the Store", env.Caps, got)
	}
	return nil
}

// sameCapabilities compares what is declared: bounds in time are pointers, which need
// not be the same ones.
func sameCapabilities(a, b eventstore.Capabilities) bool { return reflect.DeepEqual(a, b) }

func capabilitiesConstant(ctx context.Context, env *Env) error {
	expectSame := func(what string, b eventstore.Backend) error {
		if got := b.Capabilities(); !sameCapabilities(got, env.Caps) {
			return unexpected("capabilities "+what, env.Caps, got)
		}
		return nil
	}
	backend := env.Fixture.Backend
	err := race(8, func(int) error { return expectSame("at once with other calls", backend) })
	if err != nil {
		return err
	}
	if _, err := env.Fill(ctx, env.Stream("Order"), 3, 3); err != nil {
		return err
	}
	err = expectSame("after an append", backend)
	if env.Fixture.OpenAgain != nil {
		again, openErr := env.Fixture.OpenAgain(ctx)
		if openErr != nil {
			return fmt.Errorf("the fixture's %s: %w", NeedsOpenAgain, openErr)
		}
		err = errors.Join(err, expectSame("of a second handle", again), again.Close(), expectSame("of a closed handle", again))
	}
	return errors.Join(err, backend.Close(), expectSame("after Close", backend))
}

func capabilitiesWithoutIO(_ context.Context, env *Env) error {
	for _, opts := range []eventstore.Options{{}, {BackendLimits: true}} {
		store, spy, err := spied(env, opts)
		if err != nil {
			return err
		}
		if got := store.Capabilities(); !sameCapabilities(got, env.Caps) {
			return unexpected("capabilities of the Store", env.Caps, got)
		}
		limits := eventstore.PortableLimits()
		if opts.BackendLimits {
			limits = env.Caps.Limits
		}
		limits.StreamPattern, limits.TypePattern = env.Caps.Limits.StreamPattern, env.Caps.Limits.TypePattern
		if got := store.Limits(); got != limits {
			return unexpected(fmt.Sprintf("limits of a Store with BackendLimits %t", opts.BackendLimits), fmt.Sprintf("%+v", limits), fmt.Sprintf("%+v", got))
		}
		if err := spy.expectNoCalls("New, Capabilities and Limits"); err != nil {
			return err
		}
	}
	return nil
}

// What a backend declares is tried up to these sizes, so that the suite stays a
// matter of seconds on one that declares gigabytes.
const (
	mostTriedEvents = 1000
	mostTriedBytes  = 4 << 20
	mostTriedName   = 64 << 10
)

func ownLimits(ctx context.Context, env *Env) error {
	own, portable := env.Caps.Limits, eventstore.PortableLimits()
	if !env.Caps.MultiStreamAppend.Supported() {
		portable.MaxAppendParts = 1 // more are refused, whatever is declared
	}
	for _, limit := range []struct {
		name          string
		own, portable int
	}{
		{"MaxAppendEvents", own.MaxAppendEvents, portable.MaxAppendEvents},
		{"MaxAppendBytes", own.MaxAppendBytes, portable.MaxAppendBytes},
		{"MaxAppendParts", own.MaxAppendParts, portable.MaxAppendParts},
		{"MaxEventBytes", own.MaxEventBytes, portable.MaxEventBytes},
		{"MaxStreamBytes", own.MaxStreamBytes, portable.MaxStreamBytes},
		{"MaxTypeBytes", own.MaxTypeBytes, portable.MaxTypeBytes},
	} {
		if limit.own < limit.portable {
			return unexpected("limit "+limit.name, fmt.Sprintf("at least the portable %d", limit.portable), limit.own)
		}
	}
	store, spy, err := spied(env, eventstore.Options{BackendLimits: true})
	if err != nil {
		return err
	}
	long := strings.Repeat("s", min(own.MaxStreamBytes, mostTriedName)-1)
	large := sizedEvent(env, min(own.MaxEventBytes, mostTriedBytes))
	typed := env.Event(env.oddTypes(strings.Repeat("T", min(own.MaxTypeBytes, mostTriedName)))[0])
	many := env.Events(min(own.MaxAppendEvents, mostTriedEvents))
	var wide []eventstore.Event
	for left := min(own.MaxAppendBytes, mostTriedBytes); left > 1000 && len(wide) < own.MaxAppendEvents; {
		event := sizedEvent(env, min(left, own.MaxEventBytes))
		wide = append(wide, event)
		left -= event.Size()
	}
	for _, allowed := range []struct {
		stream string
		events []eventstore.Event
	}{
		{env.odd(long + "1")[0], env.Events(1)},
		{env.odd("", long+"2")[1], env.Events(1)},
		{env.Stream("Large"), []eventstore.Event{large}},
		{env.Stream("Typed"), []eventstore.Event{typed}},
		{env.Stream("Many"), many},
		{env.Stream("Wide"), wide},
	} {
		if _, err := store.Append(ctx, allowed.stream, eventstore.NoStream(), allowed.events...); err != nil {
			return fmt.Errorf("an append within the declared limits %+v: %w", own, err)
		}
		if err := expectEvents(ctx, store, allowed.stream, allowed.events...); err != nil {
			return err
		}
	}
	return errors.Join(ownParts(ctx, env, store, spy), beyondOwnLimits(ctx, env, store, spy))
}

// ownParts appends as many parts as are declared, every second one a check.
func ownParts(ctx context.Context, env *Env, store *eventstore.Store, spy *spy) error {
	if !env.Caps.MultiStreamAppend.Supported() {
		return nil
	}
	most := min(env.Caps.Limits.MaxAppendParts, mostTriedEvents)
	parts := make([]eventstore.StreamAppend, most)
	for i := range parts {
		parts[i] = part(env.Stream("Parts"), eventstore.NoStream())
		if i%2 == 0 && i/2 < env.Caps.Limits.MaxAppendEvents {
			parts[i].Events = env.Events(1)
		}
	}
	if _, err := store.AppendStreams(ctx, parts...); err != nil {
		return fmt.Errorf("an append of %d parts, within the declared limit: %w", most, err)
	}
	for _, p := range parts {
		if err := expectEvents(ctx, store, p.Stream, p.Events...); err != nil {
			return err
		}
	}
	if most < env.Caps.Limits.MaxAppendParts {
		return nil
	}
	spy.take()
	_, err := store.AppendStreams(ctx, append(parts, part(env.Stream("Parts"), eventstore.Any()))...)
	const what = "more parts than the declared limit"
	return errors.Join(expectError(what, err, eventstore.ErrInvalid), spy.expectNoCalls(what))
}

// beyondOwnLimits goes one beyond those limits that are small enough to try.
func beyondOwnLimits(ctx context.Context, env *Env, store *eventstore.Store, spy *spy) error {
	own := env.Caps.Limits
	spy.take()
	refused := func(what, stream string, events ...eventstore.Event) error {
		_, err := store.Append(ctx, stream, eventstore.Any(), events...)
		return errors.Join(expectError(what, err, eventstore.ErrInvalid), spy.expectNoCalls(what))
	}
	var err error
	if own.MaxStreamBytes < mostTriedName {
		err = errors.Join(err, refused("a stream ID beyond the declared limit", strings.Repeat("s", own.MaxStreamBytes+1), env.Event("Happened")))
	}
	if own.MaxTypeBytes < mostTriedName {
		err = errors.Join(err, refused("a type beyond the declared limit", env.StreamID("Order", 1), env.Event(strings.Repeat("T", own.MaxTypeBytes+1))))
	}
	if own.MaxAppendEvents < mostTriedEvents {
		err = errors.Join(err, refused("more events than the declared limit", env.StreamID("Order", 1), env.Events(own.MaxAppendEvents+1)...))
	}
	if own.MaxEventBytes < mostTriedBytes {
		err = errors.Join(err, refused("an event beyond the declared limit", env.StreamID("Order", 1), sizedEvent(env, own.MaxEventBytes+1)))
	}
	return err
}

func refusesRecordTime(ctx context.Context, env *Env) error {
	store, spy, err := spied(env, eventstore.Options{})
	if err != nil {
		return err
	}
	stream := env.Stream("Order")
	part := eventstore.StreamAppend{Stream: stream, Expected: eventstore.NoStream(), Events: env.Events(1), RecordedAt: new(time.Unix(0, 0))}
	_, err = store.AppendStreams(ctx, part)
	const what = "an append with a record time"
	if err := errors.Join(expectUnsupported(what, err, env.Caps.PreservedRecordTime), spy.expectNoCalls(what)); err != nil {
		return err
	}
	return expectEvents(ctx, env.Store, stream)
}

func keepsRecordTime(ctx context.Context, env *Env) error {
	kathmandu := time.FixedZone("UTC+05:45", (5*60+45)*60)
	for _, at := range []time.Time{
		time.Date(2024, 2, 29, 23, 59, 59, 999_999_999, time.UTC),
		time.Date(2024, 2, 29, 1, 2, 3, 123_456_789, kathmandu),
		time.Date(2024, 10, 27, 2, 30, 0, 1, time.FixedZone("UTC+02:00", 2*60*60)),
		time.Unix(0, 0),
		time.Unix(-1, 999_999_999),
		time.Date(1901, 1, 1, 0, 0, 0, 0, time.UTC),
		time.Date(2300, 1, 1, 0, 0, 0, 0, time.UTC), // beyond 64 bits of nanoseconds
		time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
	} {
		if !holdsTime(env.Caps, at) || !holdsTime(env.Caps, at.Add(time.Hour)) {
			continue // what is out of range is capability/record-time-range's
		}
		stream, events := env.Stream("Order"), env.Events(2)
		part := eventstore.StreamAppend{Stream: stream, Expected: eventstore.NoStream(), Events: events, RecordedAt: new(at)}
		if _, err := env.Store.AppendStreams(ctx, part); err != nil {
			return fmt.Errorf("append with the record time %s: %w", at, err)
		}
		part.RecordedAt = new(at.Add(time.Hour)) // the first one counts
		repeated, err := env.Store.AppendStreams(ctx, part)
		if err != nil || !repeated[0].Duplicate {
			return unexpected("the same append with another record time", "a duplicate", fmt.Sprintf("%+v, error: %v", repeated, err))
		}
		if err := expectEvents(ctx, env.Store, stream, events...); err != nil {
			return err
		}
		stored, err := collect(env.Store.ReadStream(ctx, stream, eventstore.ReadOptions{}))
		if err != nil {
			return err
		}
		for _, event := range stored {
			what := fmt.Sprintf("record time that was set to %s", at.Format(time.RFC3339Nano))
			if err := expectTime(what, event.RecordedAt, env.Caps.TimePrecision); err != nil {
				return err
			}
			if lost := at.Sub(event.RecordedAt).Abs(); lost >= env.Caps.TimePrecision {
				return unexpected(what, fmt.Sprintf("that time to %s", env.Caps.TimePrecision), event.RecordedAt.Format(time.RFC3339Nano))
			}
		}
	}
	return nil
}

func idempotencyWindow(ctx context.Context, env *Env) error {
	const back = 500
	distance := back
	if window := env.Caps.IdempotencyWindow; window > 0 && window < back {
		distance = int(window)
	}
	stream, old := env.Stream("Order"), env.Events(min(2, distance))
	original, err := env.Store.Append(ctx, stream, eventstore.NoStream(), old...)
	if err != nil {
		return err
	}
	// With so many more, the first of them is the last one within the window.
	if _, err := env.Fill(ctx, stream, distance-len(old), 50); err != nil {
		return err
	}
	for _, expected := range []eventstore.ExpectedVersion{eventstore.NoStream(), eventstore.Any(), eventstore.Exactly(uint64(distance))} {
		again, err := env.Store.Append(ctx, stream, expected, old...)
		if err != nil {
			return fmt.Errorf("the same append again, %d events back from the stream's end: %w", distance, err)
		}
		original.Duplicate = true
		if !sameResult(again, original) {
			return unexpected(fmt.Sprintf("the same append again, %d events back from the stream's end", distance), describeResult(original), describeResult(again))
		}
	}
	version, err := env.Store.StreamVersion(ctx, stream)
	if err == nil && version != uint64(distance) {
		err = unexpected("version of the stream after repetitions", distance, version)
	}
	return err
}
