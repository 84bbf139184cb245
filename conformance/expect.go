package conformance

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// What checks are written with: collecting, comparing, racing and waiting.

// collect reads an iterator to its end.
func collect[T any](seq iter.Seq2[T, error]) ([]T, error) {
	var all []T
	for item, err := range seq {
		if err != nil {
			return all, err
		}
		all = append(all, item)
	}
	return all, nil
}

// unexpected is the error of a check that found something else than expected.
func unexpected(what string, expected, got any) error {
	return fmt.Errorf("%s: expected %v, got %v", what, expected, got)
}

// expectError returns an error unless err is the sentinel.
func expectError(what string, err, sentinel error) error {
	if err == nil {
		return unexpected(what, fmt.Sprintf("the error %q", sentinel), "no error")
	}
	if !errors.Is(err, sentinel) {
		return unexpected(what, fmt.Sprintf("the error %q", sentinel), fmt.Sprintf("%q", err.Error()))
	}
	verdicts := []error{eventstore.ErrInvalid, eventstore.ErrConflict, eventstore.ErrEventIDReused, eventstore.ErrSealed, eventstore.ErrUnsupported}
	if !slices.Contains(verdicts, sentinel) {
		return nil
	}
	// A verdict leaves nothing open, so it is nothing else besides.
	for _, other := range append(verdicts, eventstore.ErrUnknownOutcome, eventstore.ErrUnavailable, eventstore.ErrClosed) {
		if other != sentinel && errors.Is(err, other) { //nolint:errorlint // two sentinels are compared
			return unexpected(what, fmt.Sprintf("the error %q and no other", sentinel), fmt.Sprintf("one that is %q too: %q", other, err.Error()))
		}
	}
	return nil
}

// whereItIs returns a store's identity and head; nothing where the backend has
// no global order, and so no head.
func whereItIs(ctx context.Context, store *eventstore.Store) (eventstore.Info, error) {
	if !store.Capabilities().GlobalOrder.Supported() {
		return eventstore.Info{}, nil
	}
	return store.Info(ctx)
}

// expectSameHead returns an error unless the store is where it was.
func expectSameHead(ctx context.Context, store *eventstore.Store, before eventstore.Info) error {
	after, err := whereItIs(ctx, store)
	if err == nil && after != before {
		return unexpected("the store's identity and head", fmt.Sprintf("%s at %s", before.ID, before.Head), fmt.Sprintf("%s at %s", after.ID, after.Head))
	}
	return err
}

// expectConflict returns an error unless err is a conflict with these facts.
func expectConflict(what string, err error, stream string, expected eventstore.ExpectedVersion, actual uint64) error {
	if err := expectError(what, err, eventstore.ErrConflict); err != nil {
		return err
	}
	var conflict *eventstore.ConflictError
	if !errors.As(err, &conflict) {
		return unexpected(what, "a *ConflictError", fmt.Sprintf("%q without one", err))
	}
	want := eventstore.ConflictError{Stream: stream, Expected: expected, Actual: actual}
	if *conflict != want {
		return unexpected(what, want.Error(), conflict.Error())
	}
	return nil
}

// expectEvents returns an error unless the stream holds exactly these events,
// from version 1.
func expectEvents(ctx context.Context, store *eventstore.Store, stream string, events ...eventstore.Event) error {
	stored, err := collect(store.ReadStream(ctx, stream, eventstore.ReadOptions{}))
	if err != nil {
		return err
	}
	what := fmt.Sprintf("stream %q", stream)
	for i, event := range events {
		if i >= len(stored) {
			return unexpected(what, fmt.Sprintf("%d events", len(events)), fmt.Sprintf("%d: the first one missing is %s", len(stored), describe(event)))
		}
		if err := expectEvent(stored[i], stream, uint64(i)+1, event); err != nil {
			return err
		}
	}
	if n := len(events); len(stored) > n {
		return unexpected(what, fmt.Sprintf("%d events", n), fmt.Sprintf("%d: the first one too many is %s", len(stored), describe(stored[n].Event)))
	}
	return nil
}

// expectEvent compares a recorded event with what was appended.
func expectEvent(got eventstore.RecordedEvent, stream string, version uint64, event eventstore.Event) error {
	what := fmt.Sprintf("version %d of stream %q", version, stream)
	switch {
	case got.Stream != stream:
		return unexpected(what+", its stream", fmt.Sprintf("%q", stream), fmt.Sprintf("%q", got.Stream))
	case got.Version != version:
		return unexpected(what+", its version", version, got.Version)
	case got.ID != event.ID:
		return unexpected(what+", its ID", event.ID, got.ID)
	case got.Position.IsZero():
		return unexpected(what+", its position", "one after zero", got.Position)
	case !got.SameContent(event):
		return unexpected(what, describe(event), describe(got.Event))
	}
	return nil
}

func describe(e eventstore.Event) string {
	const most = 200
	data := e.Data
	if len(data) > most {
		data = data[:most]
	}
	return fmt.Sprintf("event %s type %q content type %q metadata %q data (%d bytes) %q", e.ID, e.Type, e.ContentType, e.Metadata, len(e.Data), data)
}

// expectSame compares two lists of recorded events in every field.
func expectSame(what string, expected, got []eventstore.RecordedEvent) error {
	for i := range max(len(expected), len(got)) {
		switch {
		case i == len(expected):
			return unexpected(what, fmt.Sprintf("%d events", len(expected)), fmt.Sprintf("%d: the first one too many is version %d of stream %q", len(got), got[i].Version, got[i].Stream))
		case i == len(got):
			return unexpected(what, fmt.Sprintf("%d events", len(expected)), fmt.Sprintf("%d: the first one missing is version %d of stream %q", len(got), expected[i].Version, expected[i].Stream))
		case !sameRecord(expected[i], got[i]):
			return unexpected(fmt.Sprintf("%s, event %d", what, i+1), describeRecord(expected[i]), describeRecord(got[i]))
		}
	}
	return nil
}

func sameRecord(a, b eventstore.RecordedEvent) bool {
	return a.ID == b.ID && a.SameContent(b.Event) && a.Stream == b.Stream && a.Version == b.Version &&
		a.Position == b.Position && a.RecordedAt.Equal(b.RecordedAt)
}

func describeRecord(e eventstore.RecordedEvent) string {
	return fmt.Sprintf("version %d of stream %q at position %s, recorded at %s: %s", e.Version, e.Stream, e.Position, e.RecordedAt, describe(e.Event))
}

// race calls run n times at once, each in a goroutine of its own that starts
// when all are ready, and returns the first error by number. A panic is an error.
func race(n int, run func(i int) error) error {
	errs := make([]error, n)
	start := make(chan struct{})
	var done sync.WaitGroup
	for i := range n {
		done.Go(func() {
			<-start
			errs[i] = contain(func() error { return run(i) })
		})
	}
	close(start)
	done.Wait()
	for i, err := range errs {
		if err != nil {
			return fmt.Errorf("racer %d of %d: %w", i+1, n, err)
		}
	}
	return nil
}

// contain calls run and turns its panic into an error.
func contain(run func() error) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = fmt.Errorf("expected no panic, got: %v\n%s", value, debug.Stack())
		}
	}()
	return run()
}

// eventually calls done until it returns true or an error. When ctx ends first,
// its error says what was waited for.
func eventually(ctx context.Context, what string, done func() (bool, error)) error {
	const longest = 50 * time.Millisecond
	timer := time.NewTimer(0)
	defer timer.Stop()
	for pause := time.Millisecond; ; pause = min(2*pause, longest) {
		select {
		case <-ctx.Done():
			return fmt.Errorf("expected %s in time: %w", what, ctx.Err())
		case <-timer.C:
		}
		if ok, err := done(); ok || err != nil {
			return err
		}
		timer.Reset(pause)
	}
}

// skipError is what a check returns that cannot be run here.
type skipError struct{ reason string }

func (e *skipError) Error() string { return "skipped: " + e.reason }

// skip makes the error with which a check says that it cannot be run here, and why.
func skip(format string, args ...any) error {
	return &skipError{reason: fmt.Sprintf(format, args...)}
}
