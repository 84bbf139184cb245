package conformance_test

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/conformance"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// reader is a handle on a memory log whose ways of reading a mutant replaces.
type reader struct {
	*memory.Backend
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
			open := func(opts *memory.Options) func(context.Context) (eventstore.Backend, error) {
				return func(context.Context) (eventstore.Backend, error) {
					r := &reader{Backend: shared.log.Open(opts), data: shared, handle: handle}
					handle++
					if wrap != nil {
						wrap(r)
					}
					return r, nil
				}
			}
			fast := &memory.Options{Poll: 250 * time.Millisecond}
			first, err := open(fast)(ctx)
			return &conformance.Fixture{
				Backend:   first,
				OpenAgain: open(fast),
				OpenDeaf:  open(&memory.Options{NoHints: true, Poll: 20 * time.Millisecond}),
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

type readMutant struct {
	name   string
	killed []string // each of these checks must fail
	wrap   func(*reader)
}

func readMutants() []readMutant {
	return slices.Concat(orderMutants(), pageMutants(), subscriptionMutants(), progressMutants())
}

func orderMutants() []readMutant {
	return []readMutant{
		{"reverses ReadAll", []string{"order/position-agrees-with-version", "order/union-of-streams"}, func(r *reader) {
			r.readAll = func(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
				page, err := r.Backend.ReadAll(ctx, req)
				slices.Reverse(page.Events)
				return page, err
			}
		}},
		{"orders ReadAll by stream within a page", []string{"order/append-position", "order/union-of-streams"}, func(r *reader) {
			r.readAll = func(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
				page, err := r.Backend.ReadAll(ctx, req)
				slices.SortStableFunc(page.Events, func(a, b eventstore.RecordedEvent) int { return strings.Compare(a.Stream, b.Stream) })
				return page, err
			}
		}},
		{"shows another order through each handle", []string{"order/handles-agree"}, func(r *reader) {
			if r.handle == 0 {
				return
			}
			r.readAll = func(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
				page, err := r.Backend.ReadAll(ctx, req)
				for i := 1; i < len(page.Events); i++ {
					a, b := &page.Events[i-1], &page.Events[i]
					if a.Stream < b.Stream {
						*a, *b = *b, *a
						a.Position, b.Position = b.Position, a.Position
					}
				}
				return page, err
			}
		}},
		{"lets a lower position arrive late", []string{"order/no-late-arrival", "order/no-late-arrival-forced"}, func(r *reader) {
			withoutHidden(r)
			r.append = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.AppendResult, error) {
				stream := req.Parts[0].Stream
				if strings.HasPrefix(stream, "Cart-") { // its commits take longer
					r.data.setHidden(stream, true)
					defer r.data.setHidden(stream, false)
					defer roundTrip()
				}
				return r.Backend.Append(ctx, req)
			}
		}},
		{"answers ReadStream late on the second handle", []string{"order/read-your-writes", "order/monotonic-reads"}, func(r *reader) {
			if r.handle == 0 {
				return
			}
			r.readStream = func(ctx context.Context, req eventstore.ReadStreamRequest) (eventstore.Page, error) {
				page, err := r.Backend.ReadStream(ctx, req)
				page.Events = slices.DeleteFunc(page.Events, recent)
				return page, err
			}
		}},
		{"answers ReadAll late on the second handle", []string{"order/head", "order/read-your-writes"}, func(r *reader) {
			if r.handle == 0 {
				return
			}
			r.readAll = func(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
				page, err := r.Backend.ReadAll(ctx, req)
				page.Events = slices.DeleteFunc(page.Events, recent)
				return page, err
			}
		}},
		{"leaves a hole in the versions", []string{"read/versions-from-one", "order/versions-under-writers"}, func(r *reader) {
			r.readStream = func(ctx context.Context, req eventstore.ReadStreamRequest) (eventstore.Page, error) {
				page, err := r.Backend.ReadStream(ctx, req)
				page.Events = slices.DeleteFunc(page.Events, func(e eventstore.RecordedEvent) bool { return e.Version == 3 })
				return page, err
			}
		}},
		{"makes the record time when it reads", []string{"read/immutable"}, func(r *reader) {
			r.readStream = func(ctx context.Context, req eventstore.ReadStreamRequest) (eventstore.Page, error) {
				page, err := r.Backend.ReadStream(ctx, req)
				for i := range page.Events {
					page.Events[i].RecordedAt = time.Now().UTC()
				}
				return page, err
			}
		}},
		{"does not tell upper from lower case in stream IDs", []string{"read/streams-apart", "read/absent-stream"}, func(r *reader) {
			r.append = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.AppendResult, error) {
				parts := slices.Clone(req.Parts)
				for i := range parts {
					parts[i].Stream = strings.ToLower(parts[i].Stream)
				}
				return r.Backend.Append(ctx, eventstore.AppendRequest{Parts: parts})
			}
			r.readStream = func(ctx context.Context, req eventstore.ReadStreamRequest) (eventstore.Page, error) {
				req.Stream = strings.ToLower(req.Stream)
				return r.Backend.ReadStream(ctx, req)
			}
		}},
		{"says that an absent stream is an error", []string{"read/absent-stream"}, func(r *reader) {
			r.readStream = func(ctx context.Context, req eventstore.ReadStreamRequest) (eventstore.Page, error) {
				page, err := r.Backend.ReadStream(ctx, req)
				if err == nil && len(page.Events) == 0 {
					err = fmt.Errorf("stream %q not found", req.Stream)
				}
				return page, err
			}
		}},
	}
}

func pageMutants() []readMutant {
	return []readMutant{
		{"drops an event between two pages", []string{"read/any-page-size", "page/all-within-bounds"}, func(r *reader) {
			r.readAll = func(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
				page, err := r.Backend.ReadAll(ctx, req)
				if hi, lo := page.Next.Words(); !page.End && !req.Backward {
					page.Next = eventstore.NewPosition(hi+1, lo)
				}
				return page, err
			}
		}},
		{"is off by one when it reads a stream backward", []string{"read/stream-bounds", "read/backward-stream"}, func(r *reader) {
			r.readStream = func(ctx context.Context, req eventstore.ReadStreamRequest) (eventstore.Page, error) {
				if req.Backward && req.Before != 0 {
					req.Before++
				}
				return r.Backend.ReadStream(ctx, req)
			}
		}},
		{"is off by one when it reads everything backward", []string{"read/all-bounds", "filter/with-bounds"}, func(r *reader) {
			r.readAll = func(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
				if hi, lo := req.After.Words(); req.Backward && hi > 0 {
					req.After = eventstore.NewPosition(hi-1, lo)
				}
				return r.Backend.ReadAll(ctx, req)
			}
		}},
		{"takes After for inclusive", []string{"read/stream-bounds"}, func(r *reader) {
			r.readStream = func(ctx context.Context, req eventstore.ReadStreamRequest) (eventstore.Page, error) {
				req.After = max(req.After, 1) - 1
				return r.Backend.ReadStream(ctx, req)
			}
		}},
		{"ignores the bound on a page's bytes", []string{"page/stream-within-bounds", "page/all-within-bounds"}, func(r *reader) {
			r.readStream = func(ctx context.Context, req eventstore.ReadStreamRequest) (eventstore.Page, error) {
				req.MaxBytes = 1 << 40
				return r.Backend.ReadStream(ctx, req)
			}
			r.readAll = func(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
				req.MaxBytes = 1 << 40
				return r.Backend.ReadAll(ctx, req)
			}
		}},
		{"gives each handle an identity of its own", []string{"page/names-the-store", "checkpoint/round-trip"}, func(r *reader) {
			id := uuid.New()
			r.readAll = func(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
				page, err := r.Backend.ReadAll(ctx, req)
				page.Store = id
				return page, err
			}
		}},
		{"takes % and _ in a stream prefix for wildcards", []string{"filter/stream-prefix"}, func(r *reader) {
			r.filtering(func(f eventstore.Filter, stream, eventType string) bool {
				prefix := f.StreamPrefix
				f.StreamPrefix = ""
				return f.Match(stream, eventType) && like(prefix+"%", stream)
			})
		}},
		{"takes % and _ in a category for wildcards", []string{"filter/category"}, func(r *reader) {
			r.filtering(func(f eventstore.Filter, stream, eventType string) bool {
				category := f.Category
				f.Category = ""
				return f.Match(stream, eventType) && (category == "" || like(category, eventstore.Category(stream)))
			})
		}},
		{"takes a category for a prefix", []string{"filter/category"}, func(r *reader) {
			r.filtering(func(f eventstore.Filter, stream, eventType string) bool {
				category := f.Category
				f.Category = ""
				return f.Match(stream, eventType) && strings.HasPrefix(stream, category)
			})
		}},
		{"finds no category in a stream without a dash", []string{"filter/category"}, func(r *reader) {
			r.filtering(func(f eventstore.Filter, stream, eventType string) bool {
				return f.Match(stream, eventType) && (f.Category == "" || strings.Contains(stream, "-"))
			})
		}},
		{"compares types without regard to case", []string{"filter/types"}, func(r *reader) {
			r.filtering(func(f eventstore.Filter, stream, eventType string) bool {
				types := f.Types
				f.Types = nil
				return f.Match(stream, eventType) && (len(types) == 0 || slices.ContainsFunc(types, func(t string) bool { return strings.EqualFold(t, eventType) }))
			})
		}},
		{"needs only one field of a filter to agree", []string{"filter/combined"}, func(r *reader) {
			r.filtering(func(f eventstore.Filter, stream, eventType string) bool {
				return f.IsZero() || f.Category != "" && (eventstore.Filter{Category: f.Category}).Match(stream, eventType) ||
					f.Category == "" && f.Match(stream, eventType)
			})
		}},
		{"takes a page without a match for the end", []string{"filter/rare-match"}, func(r *reader) {
			r.filtering(eventstore.Filter.Match)
			filtered := r.readAll
			r.readAll = func(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
				page, err := filtered(ctx, req)
				page.End = page.End || len(page.Events) == 0
				return page, err
			}
		}},
	}
}

func subscriptionMutants() []readMutant {
	return []readMutant{
		{"loses what is appended between the last page and CaughtUp", []string{"subscription/hand-over-forced"}, func(r *reader) {
			r.resubscribe(true, r.head)
		}},
		{"loses what is appended between CaughtUp and waiting", []string{"subscription/hand-over-forced", "subscription/hand-over-under-load"}, func(r *reader) {
			r.resubscribe(false, r.head)
		}},
		{"delivers the last stored event again when it goes live", []string{"subscription/hand-over-forced", "subscription/caught-up"}, func(r *reader) {
			r.resubscribe(false, func(last eventstore.Position) eventstore.Position {
				hi, lo := last.Words()
				return eventstore.NewPosition(max(hi, 1)-1, lo)
			})
		}},
		{"delivers an event twice", []string{"subscription/from-the-start"}, func(r *reader) {
			r.rewrite(func(m eventstore.Message, yield func(eventstore.Message) bool) bool {
				if m.Kind == eventstore.MessageEvent && m.Event.Version == 3 && !yield(m) {
					return false
				}
				return yield(m)
			})
		}},
		{"tears a batch when it resumes", []string{"subscription/from-any-position", "subscription/resume"}, func(r *reader) {
			r.subscribe = func(ctx context.Context, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
				if hi, lo := req.After.Words(); hi%3 == 2 { // as if positions were those of batches
					req.After = eventstore.NewPosition(hi+1, lo)
				}
				return r.Backend.Subscribe(ctx, req)
			}
		}},
		{"never makes progress when nothing matches", []string{"subscription/progress", "durable/filtered-progress"}, func(r *reader) {
			r.rewrite(func(m eventstore.Message, yield func(eventstore.Message) bool) bool {
				return m.Kind == eventstore.MessageProgress || yield(m)
			})
		}},
		{"never says that it has caught up", []string{"subscription/caught-up"}, func(r *reader) {
			r.rewrite(func(m eventstore.Message, yield func(eventstore.Message) bool) bool {
				return m.Kind == eventstore.MessageCaughtUp || yield(m)
			})
		}},
		{"says too early that it has caught up", []string{"subscription/caught-up"}, func(r *reader) {
			r.subscribe = func(ctx context.Context, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
				return func(yield func(eventstore.Message, error) bool) {
					if !yield(eventstore.Message{Kind: eventstore.MessageCaughtUp, Position: req.After}, nil) {
						return
					}
					for m, err := range r.Backend.Subscribe(ctx, req) {
						if (err != nil || m.Kind != eventstore.MessageCaughtUp) && !yield(m, err) {
							return
						}
					}
				}
			}
		}},
		{"needs notifications", []string{"subscription/without-hints"}, func(r *reader) {
			if r.Capabilities().LivePush.Supported() {
				return
			}
			r.subscribe = func(ctx context.Context, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
				return eventstore.Follow(ctx, req, eventstore.FollowSource{Page: r.Backend.ReadAll, Poll: time.Hour})
			}
		}},
		{"hears only of its own handle's appends", []string{"subscription/sees-other-handles"}, func(r *reader) {
			var own eventstore.Hint
			r.append = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.AppendResult, error) {
				defer own.Notify()
				return r.Backend.Append(ctx, req)
			}
			r.subscribe = func(ctx context.Context, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
				return eventstore.Follow(ctx, req, eventstore.FollowSource{Page: r.Backend.ReadAll, Hint: &own, Poll: time.Hour})
			}
		}},
		{"declares a push and polls", []string{"subscription/live-push"}, func(r *reader) {
			r.subscribe = func(ctx context.Context, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
				return eventstore.Follow(ctx, req, eventstore.FollowSource{Page: r.Backend.ReadAll, Poll: 240 * time.Millisecond})
			}
		}},
		{"does not hear of a cancelled context while it waits", []string{"subscription/cancelled"}, func(r *reader) {
			r.subscribe = func(ctx context.Context, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
				return func(yield func(eventstore.Message, error) bool) {
					for m, err := range r.Backend.Subscribe(ctx, req) {
						if err != nil {
							<-time.After(2300 * time.Millisecond)
						}
						if !yield(m, err) {
							return
						}
					}
				}
			}
		}},
		{"reads ahead without bound", []string{"subscription/bounded-memory"}, func(r *reader) {
			r.subscribe = func(ctx context.Context, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
				return func(yield func(eventstore.Message, error) bool) {
					req.MaxEvents, req.MaxBytes = 1<<30, 1<<40
					queue := make([]eventstore.Message, 0)
					for m, err := range r.Backend.Subscribe(ctx, req) {
						if err != nil {
							return
						}
						if queue = append(queue, m); m.Kind == eventstore.MessageCaughtUp {
							break
						}
					}
					for _, m := range queue {
						if !yield(m, nil) {
							return
						}
					}
				}
			}
		}},
		{"lets a slow subscriber hold up its writers", []string{"subscription/slow-consumer"}, func(r *reader) {
			r.append = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.AppendResult, error) {
				r.data.lock.Lock()
				defer r.data.lock.Unlock()
				return r.Backend.Append(ctx, req)
			}
			r.rewrite(func(m eventstore.Message, yield func(eventstore.Message) bool) bool {
				r.data.lock.RLock()
				defer r.data.lock.RUnlock()
				return yield(m)
			})
		}},
	}
}

func progressMutants() []readMutant {
	return []readMutant{
		{"moves a checkpoint back", []string{"checkpoint/forward-only", "checkpoint/survives-reopening"}, func(r *reader) {
			inner := r.Backend.Checkpoints()
			r.checkpoints = savedCheckpoints{inner, func(ctx context.Context, c eventstore.Checkpoint) error {
				r.data.mu.Lock() // it is atomic, and wrong
				defer r.data.mu.Unlock()
				if err := inner.Delete(ctx, c.Name); err != nil {
					return err
				}
				return inner.Save(ctx, c)
			}}
		}},
		{"compares a checkpoint before it takes the lock", []string{"checkpoint/concurrent-saves"}, func(r *reader) {
			inner := r.Backend.Checkpoints()
			r.checkpoints = savedCheckpoints{inner, func(ctx context.Context, c eventstore.Checkpoint) error {
				stored, ok, err := inner.Load(ctx, c.Name)
				if err != nil || ok && !stored.Position.Before(c.Position) {
					return err
				}
				roundTrip()
				r.data.mu.Lock()
				defer r.data.mu.Unlock()
				if err := inner.Delete(ctx, c.Name); err != nil {
					return err
				}
				return inner.Save(ctx, c)
			}}
		}},
		{"saves the head as the checkpoint, before the handler", []string{"durable/checkpoint-after-handler", "durable/crash", "checkpoint/round-trip"}, func(r *reader) {
			inner := r.Backend.Checkpoints()
			r.checkpoints = savedCheckpoints{inner, func(ctx context.Context, c eventstore.Checkpoint) error {
				c.Position = r.head(c.Position)
				return inner.Save(ctx, c)
			}}
		}},
		{"does not save checkpoints", []string{"durable/at-least-once", "durable/checkpoint-after-handler", "checkpoint/round-trip"}, func(r *reader) {
			r.checkpoints = savedCheckpoints{r.Backend.Checkpoints(), func(context.Context, eventstore.Checkpoint) error { return nil }}
		}},
		{"claims every checkpoint for its own store", []string{"durable/foreign-checkpoint"}, func(r *reader) {
			inner := r.Backend.Checkpoints()
			r.checkpoints = savedCheckpoints{inner, func(ctx context.Context, c eventstore.Checkpoint) error {
				page, err := r.Backend.ReadAll(ctx, eventstore.ReadAllRequest{PageSize: eventstore.PageSize{MaxEvents: 1, MaxBytes: 1}})
				if err != nil {
					return err
				}
				c.Store = page.Store
				return inner.Save(ctx, c)
			}}
		}},
		{"lets an older snapshot overwrite a newer one", []string{"snapshot/latest-wins", "snapshot/survives-reopening"}, func(r *reader) {
			inner := r.Backend.Snapshots()
			r.snapshots = savedSnapshots{Snapshots: inner, save: func(ctx context.Context, s eventstore.Snapshot) error {
				if err := inner.Delete(ctx, s.Stream, s.Type); err != nil {
					return err
				}
				return inner.Save(ctx, s)
			}}
		}},
		{"keeps one snapshot a stream, of whatever type", []string{"snapshot/keys-apart", "snapshot/absent"}, func(r *reader) {
			inner := r.Backend.Snapshots()
			r.snapshots = savedSnapshots{
				inner,
				func(ctx context.Context, s eventstore.Snapshot) error {
					s.Type = "one"
					return inner.Save(ctx, s)
				},
				func(ctx context.Context, stream, kind string) (eventstore.Snapshot, bool, error) {
					s, ok, err := inner.Load(ctx, stream, "one")
					s.Type = kind
					return s, ok, err
				},
			}
		}},
		{"cuts a snapshot at its first NUL", []string{"snapshot/round-trip"}, func(r *reader) {
			inner := r.Backend.Snapshots()
			r.snapshots = savedSnapshots{Snapshots: inner, save: func(ctx context.Context, s eventstore.Snapshot) error {
				s.Data, _, _ = bytes.Cut(s.Data, []byte{0})
				return inner.Save(ctx, s)
			}}
		}},
		{"stores snapshots as events", []string{"checkpoint/not-in-the-log"}, func(r *reader) {
			inner := r.Backend.Snapshots()
			r.snapshots = savedSnapshots{Snapshots: inner, save: func(ctx context.Context, s eventstore.Snapshot) error {
				_, err := r.Backend.Append(ctx, eventstore.AppendRequest{Parts: []eventstore.StreamAppend{{
					Stream: "$snapshots", Expected: eventstore.Any(), Events: []eventstore.Event{{ID: uuid.New(), Type: s.Type}},
				}}})
				if err != nil {
					return err
				}
				return inner.Save(ctx, s)
			}}
		}},
	}
}

func TestEveryReadMutantIsKilledAtItsNamedChecks(t *testing.T) {
	type attempt struct {
		mutant readMutant
		check  string
		report conformance.Report
		err    error
	}
	var attempts []*attempt
	for _, m := range readMutants() {
		for _, check := range m.killed {
			attempts = append(attempts, &attempt{mutant: m, check: check})
		}
	}
	run := func(a *attempt) {
		a.report, a.err = conformance.RunAll(t.Context(), readerHarness(a.mutant.name, a.mutant.wrap), conformance.Options{
			Match: fmt.Sprintf("^%s$", a.check), Timeout: 4 * time.Second,
		})
	}
	// Many of them end when a check has waited long enough, so they wait together,
	// but for the one that measures the process's memory.
	var running sync.WaitGroup
	tickets := make(chan struct{}, 16)
	for _, a := range attempts {
		if a.check == "subscription/bounded-memory" {
			continue
		}
		running.Go(func() {
			tickets <- struct{}{}
			defer func() { <-tickets }()
			run(a)
		})
	}
	running.Wait()
	for _, a := range attempts {
		if a.check == "subscription/bounded-memory" {
			run(a)
		}
		t.Run(a.mutant.name+" at "+a.check, func(t *testing.T) {
			require.NoError(t, a.err)
			require.Len(t, a.report.Results, 1)
			require.Equal(t, conformance.Failed, a.report.Results[0].Status, "the mutant survived: %s", a.report.Results[0].Reason)
			require.NotEmpty(t, a.report.Results[0].Failure)
		})
	}
}

func TestEveryCheckThatKillsAReadMutantPassesOnASoundBackend(t *testing.T) {
	const all = "^(read|page|iterator|filter|order|subscription|durable|checkpoint|snapshot)/"
	inOneLock := readerHarness("in one lock", nil)
	open := inOneLock.Open
	inOneLock.Open = func(ctx context.Context) (*conformance.Fixture, error) {
		fixture, err := open(ctx)
		fixture.HoldWriter, fixture.HoldWriterReason = nil, "one lock is held from taking a position until the event is visible"
		return fixture, err
	}
	for _, sound := range []struct {
		harness conformance.Harness
		checks  string
		skipped []string
	}{
		{inOneLock, all, []string{"order/no-late-arrival-forced"}},
		{readerHarness("that stops before what is not yet visible", upToHidden), all, nil},
		{readerHarness("whose filtered pages may hold no match", func(r *reader) { r.filtering(eventstore.Filter.Match) }), "^(read|page|filter)/", nil},
	} {
		t.Run(sound.harness.Name, func(t *testing.T) {
			report, err := conformance.RunAll(t.Context(), sound.harness, conformance.Options{Match: sound.checks})
			require.NoError(t, err)
			for _, result := range report.Results {
				want := conformance.Passed
				if slices.Contains(sound.skipped, result.Check) {
					want = conformance.Skipped
				}
				require.Equal(t, want, result.Status, "%s: %s%s", result.Check, result.Reason, result.Failure)
			}
		})
	}
}
