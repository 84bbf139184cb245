package conformance_test

import (
	"context"
	"iter"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/backends/memory/memorytest"
	"github.com/switchyard-dev/switchyard/conformance"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// reader is a handle on a memory log whose ways of reading a mutant replaces.
type reader struct {
	eventstore.Backend
	data   *data
	handle int // 0 is the fixture's first

	append      func(context.Context, eventstore.AppendRequest) ([]eventstore.AppendResult, error)
	readStream  func(context.Context, eventstore.ReadStreamRequest) (eventstore.Page, error)
	readAll     func(context.Context, eventstore.ReadAllRequest) (eventstore.Page, error)
	subscribe   func(context.Context, eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error]
	checkpoints eventstore.Checkpoints
	snapshots   eventstore.Snapshots
}

// data is what the handles of one fixture share.
type data struct {
	log  *memory.Log
	lock sync.RWMutex // for mutants that hold one

	mu     sync.Mutex
	hidden map[string]bool // streams of appends that are not yet visible
}

func (r *reader) Append(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.AppendResult, error) {
	if r.append != nil {
		return r.append(ctx, req)
	}
	return r.Backend.Append(ctx, req)
}

func (r *reader) ReadStream(ctx context.Context, req eventstore.ReadStreamRequest) (eventstore.Page, error) {
	if r.readStream != nil {
		return r.readStream(ctx, req)
	}
	return r.Backend.ReadStream(ctx, req)
}

func (r *reader) ReadAll(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
	if r.readAll != nil {
		return r.readAll(ctx, req)
	}
	return r.Backend.ReadAll(ctx, req)
}

func (r *reader) Subscribe(ctx context.Context, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
	if r.subscribe != nil {
		return r.subscribe(ctx, req)
	}
	return r.Backend.Subscribe(ctx, req)
}

func (r *reader) Checkpoints() eventstore.Checkpoints {
	if r.checkpoints != nil {
		return r.checkpoints
	}
	return r.Backend.Checkpoints()
}

func (r *reader) Snapshots() eventstore.Snapshots {
	if r.snapshots != nil {
		return r.snapshots
	}
	return r.Backend.Snapshots()
}

// poll follows with this handle's own ReadAll, as a backend without hints does.
func (r *reader) poll(ctx context.Context, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
	return eventstore.Follow(ctx, req, eventstore.FollowSource{Page: r.ReadAll, Poll: time.Millisecond})
}

// setHidden hides the events of a stream from ReadAll, or shows them again.
func (d *data) setHidden(stream string, hide bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hidden[stream] = hide
}

func (d *data) isHidden(e eventstore.RecordedEvent) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.hidden[e.Stream]
}

// readerHarness opens fixtures whose every handle is wrapped.
func readerHarness(name string, wrap func(*reader)) conformance.Harness {
	return conformance.Harness{
		Name: name,
		Open: func(ctx context.Context) (*conformance.Fixture, error) {
			shared, handle := &data{log: memory.NewLog(), hidden: make(map[string]bool)}, 0
			open := func(handleOn func() eventstore.Backend) func(context.Context) (eventstore.Backend, error) {
				return func(context.Context) (eventstore.Backend, error) {
					r := &reader{Backend: handleOn(), data: shared, handle: handle}
					handle++
					if wrap != nil {
						wrap(r)
					}
					return r, nil
				}
			}
			fast := func() eventstore.Backend { return shared.log.Open(&memory.Options{Poll: 250 * time.Millisecond}) }
			first, err := open(fast)(ctx)
			return &conformance.Fixture{
				Backend:     first,
				OpenAgain:   open(fast),
				OpenPolling: open(func() eventstore.Backend { return memorytest.Polling(shared.log, memorytest.PollInterval) }),
				// The events are in the log and have their positions; ReadAll of a
				// backend that reads hidden streams does not show them before release.
				HoldWriter: func(ctx context.Context, part eventstore.StreamAppend) (func() (eventstore.AppendResult, error), error) {
					shared.setHidden(part.Stream, true)
					results, err := shared.log.Open(nil).Append(ctx, eventstore.AppendRequest{Parts: []eventstore.StreamAppend{part}})
					return func() (eventstore.AppendResult, error) {
						shared.setHidden(part.Stream, false)
						return results[0], nil
					}, err
				},
			}, err
		},
	}
}

// withoutHidden is a ReadAll that passes over what is not yet visible: the
// field's most repeated bug.
func withoutHidden(r *reader) {
	r.readAll = func(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
		page, err := r.Backend.ReadAll(ctx, req)
		page.Events = slices.DeleteFunc(page.Events, r.data.isHidden)
		return page, err
	}
	r.subscribe = r.poll
}

// upToHidden is a ReadAll that stops before what is not yet visible.
func upToHidden(r *reader) {
	r.readAll = func(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
		page, err := r.Backend.ReadAll(ctx, req)
		if i := slices.IndexFunc(page.Events, r.data.isHidden); i >= 0 {
			page.Events, page.End, page.Next = page.Events[:i], true, req.After
			if i > 0 {
				page.Next = page.Events[i-1].Position
			}
		}
		return page, err
	}
	r.subscribe = r.poll
}

// rewrite makes a subscription whose messages are changed by a function that
// calls yield as often as it likes.
func (r *reader) rewrite(change func(m eventstore.Message, yield func(eventstore.Message) bool) bool) {
	r.subscribe = func(ctx context.Context, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
		return func(yield func(eventstore.Message, error) bool) {
			for m, err := range r.Backend.Subscribe(ctx, req) {
				if err != nil {
					yield(m, err)
					return
				}
				if !change(m, func(m eventstore.Message) bool { return yield(m, nil) }) {
					return
				}
			}
		}
	}
}

// resubscribe ends a subscription at CaughtUp and begins another one at the
// position that from returns.
func (r *reader) resubscribe(beforeSignal bool, from func(last eventstore.Position) eventstore.Position) {
	r.subscribe = func(ctx context.Context, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
		return func(yield func(eventstore.Message, error) bool) {
			var live eventstore.Position
			for m, err := range r.Backend.Subscribe(ctx, req) {
				caughtUp := err == nil && m.Kind == eventstore.MessageCaughtUp
				if caughtUp && beforeSignal {
					live = from(m.Position)
				}
				if !yield(m, err) || err != nil {
					return
				}
				if caughtUp {
					if !beforeSignal {
						live = from(m.Position)
					}
					break
				}
			}
			req.After = live
			for m, err := range r.Backend.Subscribe(ctx, req) {
				if err == nil && m.Kind == eventstore.MessageCaughtUp {
					continue
				}
				if !yield(m, err) {
					return
				}
			}
		}
	}
}

// head reads the last position behind the mutant's back.
func (r *reader) head(eventstore.Position) eventstore.Position {
	page, err := r.Backend.ReadAll(context.Background(), eventstore.ReadAllRequest{Backward: true, PageSize: eventstore.PageSize{MaxEvents: 1, MaxBytes: 1}})
	if err != nil || len(page.Events) == 0 {
		return eventstore.Position{}
	}
	return page.Events[0].Position
}

// filtering is a ReadAll whose filter is another one than the contract's.
func (r *reader) filtering(match func(f eventstore.Filter, stream, eventType string) bool) {
	r.readAll = func(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
		filter := req.Filter
		req.Filter = eventstore.Filter{}
		page, err := r.Backend.ReadAll(ctx, req)
		page.Events = slices.DeleteFunc(page.Events, func(e eventstore.RecordedEvent) bool { return !match(filter, e.Stream, e.Type) })
		return page, err
	}
}

// like is SQL's LIKE.
func like(pattern, text string) bool {
	quoted := regexp.QuoteMeta(pattern)
	quoted = strings.NewReplacer("%", ".*", "_", ".").Replace(quoted)
	return regexp.MustCompile("^(?s:" + quoted + ")$").MatchString(text)
}

// recent tells whether an event is so new that a lagging replica has not got it.
func recent(e eventstore.RecordedEvent) bool { return time.Since(e.RecordedAt) < 100*time.Millisecond }

// savedCheckpoints replaces how checkpoints are saved.
type savedCheckpoints struct {
	eventstore.Checkpoints
	save func(context.Context, eventstore.Checkpoint) error
}

func (c savedCheckpoints) Save(ctx context.Context, checkpoint eventstore.Checkpoint) error {
	return c.save(ctx, checkpoint)
}

// savedSnapshots replaces how snapshots are saved and found.
type savedSnapshots struct {
	eventstore.Snapshots
	save func(context.Context, eventstore.Snapshot) error
	load func(ctx context.Context, stream, snapshotType string) (eventstore.Snapshot, bool, error)
}

func (s savedSnapshots) Save(ctx context.Context, snapshot eventstore.Snapshot) error {
	if s.save == nil {
		return s.Snapshots.Save(ctx, snapshot)
	}
	return s.save(ctx, snapshot)
}

func (s savedSnapshots) Load(ctx context.Context, stream, snapshotType string) (eventstore.Snapshot, bool, error) {
	if s.load == nil {
		return s.Snapshots.Load(ctx, stream, snapshotType)
	}
	return s.load(ctx, stream, snapshotType)
}
