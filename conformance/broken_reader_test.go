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
	"github.com/switchyard-dev/switchyard/conformance/internal/hooked"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventstore/adapter"
)

// reader is a handle on a memory log whose ways of reading a mutant replaces.
type reader struct {
	hooked.Hooked
	data   *data
	handle int // 0 is the fixture's first
}

// keeps replaces who keeps checkpoints.
func (r *reader) keeps(checkpoints eventstore.Checkpoints) {
	r.OnCheckpoints = func() eventstore.Checkpoints { return checkpoints }
}

// keepsSnapshots replaces who keeps snapshots.
func (r *reader) keepsSnapshots(snapshots eventstore.Snapshots) {
	r.OnSnapshots = func() eventstore.Snapshots { return snapshots }
}

// data is what the handles of one fixture share.
type data struct {
	log  *memory.Log
	lock sync.RWMutex // for mutants that hold one

	mu     sync.Mutex
	hidden map[string]bool // streams of appends that are not yet visible

	overwritten map[string]eventstore.Checkpoint
}

// poll follows with this handle's own ReadAll, as a backend without hints does.
func (r *reader) poll(ctx context.Context, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
	return adapter.Follow(ctx, req, adapter.FollowSource{Page: r.ReadAll, Info: r.Info, Poll: time.Millisecond})
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
			shared, handle := &data{log: memory.NewLog(), hidden: make(map[string]bool), overwritten: make(map[string]eventstore.Checkpoint)}, 0
			open := func(handleOn func() eventstore.Backend) func(context.Context) (eventstore.Backend, error) {
				return func(context.Context) (eventstore.Backend, error) {
					r := &reader{Hooked: hooked.Hooked{Backend: handleOn()}, data: shared, handle: handle}
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
						return toResult(part.Stream, part.Events, results[0]), nil
					}, err
				},
			}, err
		},
	}
}

// toResult is a Store's answer made of a backend's.
func toResult(stream string, events []eventstore.Event, answer eventstore.PartResult) eventstore.AppendResult {
	result := eventstore.AppendResult{Duplicate: answer.Duplicate}
	for i, at := range answer.Recorded {
		result.Version, result.Position = at.Version, at.Position
		result.Events = append(result.Events, eventstore.RecordedEvent{Event: events[i], Stream: stream, Version: at.Version, Position: at.Position, RecordedAt: at.RecordedAt})
	}
	return result
}

// withoutHidden is a ReadAll that passes over what is not yet visible: the
// field's most repeated bug.
func withoutHidden(r *reader) {
	r.OnReadAll = func(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
		page, err := r.Backend.ReadAll(ctx, req)
		page.Events = slices.DeleteFunc(page.Events, r.data.isHidden)
		return page, err
	}
	r.OnSubscribe = r.poll
}

// upToHidden is a ReadAll that stops before what is not yet visible.
func upToHidden(r *reader) {
	r.OnReadAll = func(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
		page, err := r.Backend.ReadAll(ctx, req)
		if i := slices.IndexFunc(page.Events, r.data.isHidden); i >= 0 {
			page.Events, page.End, page.Next = page.Events[:i], true, req.After
			if i > 0 {
				page.Next = page.Events[i-1].Place()
			}
		}
		return page, err
	}
	r.OnSubscribe = r.poll
}

// rewrite makes a subscription whose messages are changed by a function that
// calls yield as often as it likes.
func (r *reader) rewrite(change func(m eventstore.Message, yield func(eventstore.Message) bool) bool) {
	r.OnSubscribe = func(ctx context.Context, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
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
func (r *reader) resubscribe(beforeSignal bool, from func(last eventstore.Place) eventstore.Place) {
	r.OnSubscribe = func(ctx context.Context, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
		return func(yield func(eventstore.Message, error) bool) {
			var live eventstore.Place
			for m, err := range r.Backend.Subscribe(ctx, req) {
				caughtUp := err == nil && m.Kind == eventstore.MessageCaughtUp
				if caughtUp && beforeSignal {
					live = from(m.Place)
				}
				if !yield(m, err) || err != nil {
					return
				}
				if caughtUp {
					if !beforeSignal {
						live = from(m.Place)
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

// head reads the last place behind the mutant's back.
func (r *reader) head(eventstore.Place) eventstore.Place {
	info, err := r.Backend.Info(context.Background())
	if err != nil {
		return eventstore.Place{}
	}
	return info.Head
}

// filtering is a ReadAll whose filter is another one than the contract's.
func (r *reader) filtering(match func(f eventstore.Filter, stream, eventType string) bool) {
	r.OnReadAll = func(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
		filter := req.Filter
		req.Filter = eventstore.Filter{}
		page, err := r.Backend.ReadAll(ctx, req)
		page.Events = slices.DeleteFunc(page.Events, func(e eventstore.RecordedEvent) bool { return !match(filter, e.Stream, e.Type) })
		return page, err
	}
}

// filteringCategories is a ReadAll that compares categories in another way.
func (r *reader) filteringCategories(matches func(category, stream string) bool) {
	r.filtering(func(f eventstore.Filter, stream, eventType string) bool {
		categories := f.Categories
		f.Categories = nil
		return f.Match(stream, eventType) && (len(categories) == 0 || slices.ContainsFunc(categories, func(c string) bool { return matches(c, stream) }))
	})
}

// filteringPrefixes is a ReadAll that compares stream prefixes in another way.
func (r *reader) filteringPrefixes(matches func(prefix, stream string) bool) {
	r.filtering(func(f eventstore.Filter, stream, eventType string) bool {
		prefixes := f.StreamPrefixes
		f.StreamPrefixes = nil
		return f.Match(stream, eventType) && (len(prefixes) == 0 || slices.ContainsFunc(prefixes, func(p string) bool { return matches(p, stream) }))
	})
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

func (c savedCheckpoints) Save(ctx context.Context, req eventstore.SaveCheckpointRequest) error {
	return c.save(ctx, req.Checkpoint)
}

// overwritten are checkpoints where the last save wins, whatever was there.
type overwritten struct {
	eventstore.Checkpoints
	data   *data
	before func(stored, saved eventstore.Checkpoint) bool // whether a save is refused, asked without the lock; nil refuses none
}

func (o overwritten) Load(_ context.Context, req eventstore.LoadCheckpointRequest) (eventstore.LoadCheckpointResult, error) {
	o.data.mu.Lock()
	defer o.data.mu.Unlock()
	checkpoint, found := o.data.overwritten[req.Name]
	return eventstore.LoadCheckpointResult{Checkpoint: checkpoint, Found: found}, nil
}

func (o overwritten) Save(ctx context.Context, req eventstore.SaveCheckpointRequest) error {
	if o.before != nil {
		stored, _ := o.Load(ctx, eventstore.LoadCheckpointRequest{Name: req.Checkpoint.Name})
		if stored.Found && o.before(stored.Checkpoint, req.Checkpoint) {
			return nil
		}
		roundTrip()
	}
	o.data.mu.Lock()
	defer o.data.mu.Unlock()
	o.data.overwritten[req.Checkpoint.Name] = req.Checkpoint
	return nil
}

// savedSnapshots replaces how snapshots are saved and found.
type savedSnapshots struct {
	eventstore.Snapshots
	save  func(context.Context, eventstore.SaveSnapshotRequest) error
	load  func(context.Context, eventstore.LoadSnapshotRequest) (eventstore.LoadSnapshotResult, error)
	erase func(context.Context, eventstore.DeleteSnapshotRequest) error
}

func (s savedSnapshots) Delete(ctx context.Context, req eventstore.DeleteSnapshotRequest) error {
	if s.erase == nil {
		return s.Snapshots.Delete(ctx, req)
	}
	return s.erase(ctx, req)
}

func (s savedSnapshots) Save(ctx context.Context, req eventstore.SaveSnapshotRequest) error {
	if s.save == nil {
		return s.Snapshots.Save(ctx, req)
	}
	return s.save(ctx, req)
}

func (s savedSnapshots) Load(ctx context.Context, req eventstore.LoadSnapshotRequest) (eventstore.LoadSnapshotResult, error) {
	if s.load == nil {
		return s.Snapshots.Load(ctx, req)
	}
	return s.load(ctx, req)
}
