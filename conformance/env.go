package conformance

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"sync"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// Env is what a check works with: a fresh store and everything opened from it,
// all of which is closed after the check. Its methods are safe for concurrent
// use; Rand is not.
type Env struct {
	// Store is the first handle on the fresh store, with retries off, so that
	// a backend's own errors are seen.
	Store *eventstore.Store
	// Fixture is the store's, for the hooks.
	Fixture *Fixture
	// Caps is what the backend declares.
	Caps eventstore.Capabilities
	// Scale is the harness's, with its defaults filled in.
	Scale Scale
	// Seed makes Rand, and is printed with a failure.
	Seed uint64
	// Rand is the check's only source of chance. It belongs to the goroutine
	// that the check was started in.
	Rand *rand.Rand

	streamID func(category string, number int) string // the harness's

	mu      sync.Mutex
	ids     *rand.Rand
	streams int
	closers []func() error
}

// OnClose has fn called when the check is over, the last one first.
func (e *Env) OnClose(fn func() error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closers = append(e.closers, fn)
}

// close ends everything that the check opened.
func (e *Env) close() error {
	e.mu.Lock()
	closers := e.closers
	e.closers = nil
	e.mu.Unlock()
	var errs []error
	for i := len(closers) - 1; i >= 0; i-- {
		errs = append(errs, closers[i]())
	}
	return errors.Join(errs...)
}

// NewStore returns a Store over any backend, such as a wrapper around the fixture's,
// with retries off unless the options ask for them. Closing it closes the backend.
func (e *Env) NewStore(backend eventstore.Backend, opts eventstore.Options) (*eventstore.Store, error) {
	if opts.RetryFor == 0 {
		opts.RetryFor = -1
	}
	store, err := eventstore.New(backend, &opts)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open a Store over the backend: %w", err), backend.Close())
	}
	e.OnClose(store.Close)
	return store, nil
}

// Again returns a second handle on the same data, as another process would have.
func (e *Env) Again(ctx context.Context) (*eventstore.Store, error) {
	return e.open(ctx, NeedsOpenAgain, e.Fixture.OpenAgain)
}

// Polling is Again without notifications: others' events are found by polling.
func (e *Env) Polling(ctx context.Context) (*eventstore.Store, error) {
	return e.open(ctx, NeedsOpenPolling, e.Fixture.OpenPolling)
}

func (e *Env) open(ctx context.Context, hook Hook, open func(context.Context) (eventstore.Backend, error)) (*eventstore.Store, error) {
	if open == nil {
		return nil, skip("the fixture has no %s", hook)
	}
	backend, err := open(ctx)
	if err != nil {
		return nil, fmt.Errorf("the fixture's %s: %w", hook, err)
	}
	return e.NewStore(backend, eventstore.Options{})
}

// Reopen closes every handle and opens the same data anew; Store is then the new
// handle. It is a restart of the application, not of the server.
func (e *Env) Reopen(ctx context.Context) error {
	if e.Fixture.OpenAgain == nil {
		return skip("the fixture has no %s", NeedsOpenAgain)
	}
	if err := e.close(); err != nil {
		return fmt.Errorf("close every handle: %w", err)
	}
	store, err := e.Again(ctx)
	if err != nil {
		return err
	}
	e.Store = store
	return nil
}

// Restart ends the server without warning under the open handles, starts it
// again, and opens a new handle as Store.
func (e *Env) Restart(ctx context.Context) error {
	if e.Fixture.Restart == nil {
		return skip("the fixture has no %s", NeedsRestart)
	}
	if err := e.Fixture.Restart(ctx); err != nil {
		return fmt.Errorf("the fixture's %s: %w", NeedsRestart, err)
	}
	_ = e.close() // handles on a server that crashed may say so
	store, err := e.Again(ctx)
	if err != nil {
		return err
	}
	e.Store = store
	return nil
}

// Stream returns a stream ID that Stream has not returned before: category-1,
// category-2 …, or what the harness makes of these.
func (e *Env) Stream(category string) string {
	e.mu.Lock()
	e.streams++
	number := e.streams
	e.mu.Unlock()
	return e.StreamID(category, number)
}

// StreamID returns the ID of the stream with this category and number: always the
// same one. Checks that need a name of their own take a number above 900, which
// Stream does not reach.
func (e *Env) StreamID(category string, number int) string {
	if e.streamID != nil {
		return e.streamID(category, number)
	}
	return fmt.Sprintf("%s-%d", category, number)
}

// takes tells whether a name matches one of the patterns that a backend declares;
// check capability/names holds it to them.
func takes(pattern, name string) bool {
	matched, err := regexp.MatchString(`\A(?:`+pattern+`)\z`, name)
	return err == nil && matched || pattern == ""
}

// odd returns names for streams that are hard to keep apart. In the place of those
// that the backend does not take there are plain ones.
func (e *Env) odd(names ...string) []string {
	all := make([]string, len(names))
	for i, name := range names {
		if all[i] = name; !takes(e.Caps.Limits.StreamPattern, name) {
			all[i] = e.StreamID("Odd", 2000+i)
		}
	}
	return all
}

// oddTypes is odd for event types.
func (e *Env) oddTypes(names ...string) []string {
	all := make([]string, len(names))
	for i, name := range names {
		if all[i] = name; !takes(e.Caps.Limits.TypePattern, name) {
			all[i] = fmt.Sprintf("Odd%d", i)
		}
	}
	return all
}

// ID returns a new event ID, the same in each run with the same seed.
func (e *Env) ID() uuid.UUID {
	e.mu.Lock()
	defer e.mu.Unlock()
	var id uuid.UUID
	for i := range id {
		id[i] = byte(e.ids.Uint32())
	}
	id[6] = id[6]&0x0f | 0x40 // version 4
	id[8] = id[8]&0x3f | 0x80 // RFC 9562
	return id
}

// Event returns a new event of the given type: a small JSON object that no other
// event has.
func (e *Env) Event(eventType string) eventstore.Event {
	id := e.ID()
	return eventstore.Event{
		ID:          id,
		Type:        eventType,
		Data:        e.data(id),
		ContentType: eventstore.JSONContentType,
		Metadata:    e.metadata(),
	}
}

// data is JSON that comes back byte for byte also where bytes are not kept.
func (e *Env) data(id uuid.UUID) []byte {
	if !e.Caps.ExactData.Supported() {
		return fmt.Appendf(nil, "%q", id)
	}
	return fmt.Appendf(nil, `{"of":%q}`, id)
}

// metadata is what the suite's events have, where the backend can hold it.
func (e *Env) metadata() map[string]string {
	if !e.Caps.Metadata.Supported() {
		return nil
	}
	return map[string]string{"made-by": "conformance"}
}

// Events returns n new events of the type "Happened".
func (e *Env) Events(n int) []eventstore.Event {
	events := make([]eventstore.Event, n)
	for i := range events {
		events[i] = e.Event("Happened")
	}
	return events
}

// Fill appends n new events to a stream in appends of size events and returns
// what a reader must find there.
func (e *Env) Fill(ctx context.Context, stream string, n, size int) ([]eventstore.RecordedEvent, error) {
	for left := n; left > 0; left -= size {
		events := e.Events(min(size, left))
		if _, err := e.Store.Append(ctx, stream, eventstore.Any(), events...); err != nil {
			return nil, fmt.Errorf("fill the stream: %w", err)
		}
	}
	stored, err := collect(e.Store.ReadStream(ctx, stream, eventstore.ReadOptions{}))
	if err == nil && len(stored) < n {
		err = unexpected(fmt.Sprintf("stream %q after it was filled", stream), fmt.Sprintf("at least %d events", n), len(stored))
	}
	return stored, err
}
