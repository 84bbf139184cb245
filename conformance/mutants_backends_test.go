package conformance

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/conformance/internal/hooked"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// The broken backends that take more than a line.

// withoutCancel lets a done context pass.
func withoutCancel(_ *testing.T, inner eventstore.Backend) *hooked.Hooked {
	return &hooked.Hooked{
		Backend: inner,
		OnAppend: func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
			return inner.Append(context.WithoutCancel(ctx), req)
		},
		OnReadStream: func(ctx context.Context, req eventstore.ReadStreamRequest) (eventstore.Page, error) {
			return inner.ReadStream(context.WithoutCancel(ctx), req)
		},
	}
}

// pause waits as long as a disk or network takes.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

const diskTime = 500 * time.Microsecond

// slowDisk makes sure that appends are under way when their backend is closed:
// from a stream's second append on, each takes until then.
type slowDisk struct {
	inner  eventstore.Backend
	once   sync.Once
	closed chan struct{}
}

func newSlowDisk(inner eventstore.Backend) *slowDisk {
	return &slowDisk{inner: inner, closed: make(chan struct{})}
}

func (d *slowDisk) write(ctx context.Context, req eventstore.AppendRequest) {
	if version, _ := req.Parts[0].Expected.Exact(); version > 0 {
		select {
		case <-d.closed:
		case <-ctx.Done():
		}
	}
}

func (d *slowDisk) close() error {
	err := d.inner.Close()
	d.once.Do(func() { close(d.closed) })
	return err
}

// driverErrors does not translate what its driver says of a done context and a
// closed connection.
func driverErrors(_ *testing.T, inner eventstore.Backend) *hooked.Hooked {
	raw := func(err error) error {
		if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, eventstore.ErrClosed) {
			return errors.New("driver: bad connection")
		}
		return err
	}
	disk := newSlowDisk(inner)
	return &hooked.Hooked{
		Backend: inner,
		OnClose: disk.close,
		OnAppend: func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
			pause(ctx, diskTime)
			disk.write(ctx, req)
			results, err := inner.Append(ctx, req)
			return results, raw(err)
		},
		OnSubscribe: func(ctx context.Context, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
			return func(yield func(eventstore.Message, error) bool) {
				for message, err := range inner.Subscribe(ctx, req) {
					if !yield(message, raw(err)) {
						return
					}
				}
			}
		},
	}
}

// silentEnd ends subscriptions as if all had been read.
func silentEnd(_ *testing.T, inner eventstore.Backend) *hooked.Hooked {
	return &hooked.Hooked{Backend: inner, OnSubscribe: func(ctx context.Context, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
		return func(yield func(eventstore.Message, error) bool) {
			for message, err := range inner.Subscribe(ctx, req) {
				if err != nil || !yield(message, nil) {
					return
				}
			}
		}
	}}
}

// cancelledAfterStoring looks at the context once the commit is done.
func cancelledAfterStoring(_ *testing.T, inner eventstore.Backend) *hooked.Hooked {
	return &hooked.Hooked{Backend: inner, OnAppend: func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
		results, err := inner.Append(ctx, req)
		pause(ctx, diskTime)
		return results, errors.Join(err, ctx.Err())
	}}
}

// storesLater leaves the commit to a goroutine when the caller gives up, and
// tells the caller that nothing was written.
func storesLater(_ *testing.T, inner eventstore.Backend) *hooked.Hooked {
	var commits sync.WaitGroup
	return &hooked.Hooked{
		Backend: inner,
		OnAppend: func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
			type verdict struct {
				results []eventstore.PartResult
				err     error
			}
			done := make(chan verdict, 1)
			commits.Go(func() {
				detached := context.WithoutCancel(ctx)
				pause(detached, diskTime)
				results, err := inner.Append(detached, req)
				done <- verdict{results, err}
			})
			select {
			case v := <-done:
				return v.results, v.err
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		},
		OnClose: func() error {
			commits.Wait()
			return inner.Close()
		},
	}
}

// tornByCancellation writes event by event until the context ends.
func tornByCancellation(_ *testing.T, inner eventstore.Backend) *hooked.Hooked {
	return &hooked.Hooked{Backend: inner, OnAppend: func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
		result := eventstore.PartResult{}
		for i, event := range req.Parts[0].Events {
			expected := req.Parts[0].Expected
			if i > 0 {
				expected = eventstore.Any()
			}
			results, err := inner.Append(context.WithoutCancel(ctx), eventstore.AppendRequest{Parts: []eventstore.StreamAppend{part(req.Parts[0].Stream, expected, event)}})
			if err != nil {
				return nil, err
			}
			result.Recorded = append(result.Recorded, results[0].Recorded...)
			result.Duplicate = results[0].Duplicate
			pause(ctx, diskTime/3)
			if ctx.Err() != nil {
				return nil, errors.Join(eventstore.ErrUnknownOutcome, ctx.Err())
			}
		}
		return []eventstore.PartResult{result}, nil
	}}
}

// closesAll has handles that share a connection, which the first Close ends.
func closesAll() alter {
	var mu sync.Mutex
	var handles []eventstore.Backend
	return func(_ *testing.T, inner eventstore.Backend) *hooked.Hooked {
		mu.Lock()
		defer mu.Unlock()
		handles = append(handles, inner)
		return &hooked.Hooked{Backend: inner, OnClose: func() error {
			mu.Lock()
			defer mu.Unlock()
			var err error
			for _, handle := range handles {
				err = errors.Join(err, handle.Close())
			}
			return err
		}}
	}
}

// closedAfterStoring finds itself closed once the commit is done.
func closedAfterStoring(_ *testing.T, inner eventstore.Backend) *hooked.Hooked {
	disk := newSlowDisk(inner)
	return &hooked.Hooked{
		Backend: inner,
		OnClose: disk.close,
		OnAppend: func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
			results, err := inner.Append(ctx, req)
			disk.write(ctx, req)
			select {
			case <-disk.closed:
				return nil, eventstore.ErrClosed
			default:
				return results, err
			}
		},
	}
}

// sharesReturned caches events and returns the cached memory.
func sharesReturned(t *testing.T, inner eventstore.Backend) *hooked.Hooked {
	var mu sync.Mutex
	cache := make(map[eventstore.Position]eventstore.Event)
	return alteredReads(func(e *eventstore.RecordedEvent) {
		mu.Lock()
		defer mu.Unlock()
		if cached, ok := cache[e.Position]; ok {
			e.Event = cached
		}
		cache[e.Position] = e.Event
	})(t, inner)
}

// oneBuffer reads all rows into the same memory.
func oneBuffer(t *testing.T, inner eventstore.Backend) *hooked.Hooked {
	var mu sync.Mutex
	buffers := make(map[uint64][]byte)
	return alteredReads(func(e *eventstore.RecordedEvent) {
		mu.Lock()
		defer mu.Unlock()
		row := e.Version % 2 // two rows a page
		buffers[row] = append(buffers[row][:0], e.Data...)
		e.Data = buffers[row]
	})(t, inner)
}

// sharedSnapshots returns the memory that it keeps.
type sharedSnapshots struct {
	eventstore.Snapshots
	mu   sync.Mutex
	kept map[string]eventstore.Snapshot
}

func sharesSnapshots(_ *testing.T, inner eventstore.Backend) *hooked.Hooked {
	s := &sharedSnapshots{Snapshots: inner.Records().Snapshots, kept: make(map[string]eventstore.Snapshot)}
	return &hooked.Hooked{Backend: inner, OnSnapshots: func() eventstore.Snapshots { return s }}
}

func (s *sharedSnapshots) Save(_ context.Context, req eventstore.SaveSnapshotRequest) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept[req.Snapshot.Stream] = req.Snapshot
	return nil
}

func (s *sharedSnapshots) Load(_ context.Context, req eventstore.LoadSnapshotRequest) (eventstore.LoadSnapshotResult, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	snapshot, ok := s.kept[req.Stream]
	return eventstore.LoadSnapshotResult{Snapshot: snapshot, Found: ok}, nil
}

// shortMemory does not recognise an ID a hundred events back, and stores it again.
func shortMemory(_ *testing.T, inner eventstore.Backend) *hooked.Hooked {
	var mu sync.Mutex
	streams := make(map[string][]uuid.UUID)
	return &hooked.Hooked{Backend: inner, OnAppend: func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
		mu.Lock()
		defer mu.Unlock()
		for i := range req.Parts {
			p := &req.Parts[i]
			ids := streams[p.Stream]
			for j := range p.Events {
				if at := slices.Index(ids, p.Events[j].ID); at >= 0 && at < len(ids)-100 {
					p.Events[j].ID, p.Expected = uuid.New(), eventstore.Any()
				}
				streams[p.Stream] = append(streams[p.Stream], p.Events[j].ID)
			}
		}
		return inner.Append(ctx, req)
	}}
}

// oneByOne makes an append of its own of each part.
func oneByOne(_ *testing.T, inner eventstore.Backend) *hooked.Hooked {
	return &hooked.Hooked{Backend: inner, OnAppend: func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
		var all []eventstore.PartResult
		for i := range req.Parts {
			results, err := inner.Append(ctx, eventstore.AppendRequest{Parts: req.Parts[i : i+1]})
			if err != nil {
				return nil, err
			}
			all = append(all, results...)
			pause(ctx, diskTime)
		}
		return all, nil
	}}
}

// firstPartOnly writes one stream, and answers as if it had written all.
func firstPartOnly(_ *testing.T, inner eventstore.Backend) *hooked.Hooked {
	return &hooked.Hooked{Backend: inner, OnAppend: func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
		results, err := inner.Append(ctx, eventstore.AppendRequest{Parts: req.Parts[:1]})
		if err != nil {
			return nil, err
		}
		for _, p := range req.Parts[1:] {
			answer := eventstore.PartResult{}
			hi, _ := results[0].Recorded[0].Position.Words()
			for i := range p.Events {
				answer.Recorded = append(answer.Recorded, eventstore.Recorded{Version: uint64(i) + 1, Position: eventstore.NewPosition(hi+uint64(len(results)+i), 0), RecordedAt: time.Now().UTC()})
			}
			results = append(results, answer)
		}
		return results, nil
	}}
}

// sortsParts writes the parts in the order of their streams.
func sortsParts(_ *testing.T, inner eventstore.Backend) *hooked.Hooked {
	return &hooked.Hooked{Backend: inner, OnAppend: func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
		slices.SortStableFunc(req.Parts, func(a, b eventstore.StreamAppend) int { return cmp.Compare(a.Stream, b.Stream) })
		return inner.Append(ctx, req)
	}}
}

// judgesFirst holds every part against what was stored before the append.
func judgesFirst(_ *testing.T, inner eventstore.Backend) *hooked.Hooked {
	return &hooked.Hooked{Backend: inner, OnAppend: func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
		for _, p := range req.Parts {
			page, err := inner.ReadStream(ctx, eventstore.ReadStreamRequest{Stream: p.Stream, PageSize: eventstore.PageSize{MaxEvents: 1000, MaxBytes: 1 << 20}})
			if err != nil {
				return nil, err
			}
			if current := uint64(len(page.Events)); !p.Expected.Allows(current) {
				return nil, &eventstore.ConflictError{Stream: p.Stream, Expected: p.Expected, Actual: current}
			}
		}
		return inner.Append(ctx, req)
	}}
}

// refusesDuplicateParts takes a repeated part among new ones for reuse.
func refusesDuplicateParts(_ *testing.T, inner eventstore.Backend) *hooked.Hooked {
	return &hooked.Hooked{Backend: inner, OnAppend: func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
		results, err := inner.Append(ctx, req)
		if err != nil {
			return nil, err
		}
		for i, result := range results {
			if result.Duplicate && len(results) > 1 {
				return nil, &eventstore.EventIDReusedError{Stream: req.Parts[i].Stream, ID: req.Parts[i].Events[0].ID, Reason: "only a part of the append is stored"}
			}
		}
		return results, nil
	}}
}

// refusesSharedIDs has one index of IDs for all streams.
func refusesSharedIDs(_ *testing.T, inner eventstore.Backend) *hooked.Hooked {
	return &hooked.Hooked{Backend: inner, OnAppend: func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
		seen := make(map[uuid.UUID]bool)
		for _, p := range req.Parts {
			for _, event := range p.Events {
				if seen[event.ID] {
					return nil, &eventstore.EventIDReusedError{Stream: p.Stream, ID: event.ID, Reason: "duplicate key"}
				}
				seen[event.ID] = true
			}
		}
		return inner.Append(ctx, req)
	}}
}

// locksInOrder locks each stream in turn, and gives up when it finds a deadlock.
func locksInOrder() alter {
	var mu sync.Mutex
	locked := make(map[string]bool)
	return func(_ *testing.T, inner eventstore.Backend) *hooked.Hooked {
		lock := func(stream string) bool {
			mu.Lock()
			defer mu.Unlock()
			if locked[stream] {
				return false
			}
			locked[stream] = true
			return true
		}
		return &hooked.Hooked{Backend: inner, OnAppend: func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
			var mine []string
			defer func() {
				mu.Lock()
				defer mu.Unlock()
				for _, stream := range mine {
					delete(locked, stream)
				}
			}()
			for _, p := range req.Parts {
				for tries := 0; !lock(p.Stream); tries++ {
					if tries > 20 {
						return nil, errors.New("deadlock detected")
					}
					pause(ctx, diskTime)
				}
				mine = append(mine, p.Stream)
				pause(ctx, diskTime)
			}
			return inner.Append(ctx, req)
		}}
	}
}
