package conformance

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// spy passes everything on to a backend and notes each call that may do I/O.
type spy struct {
	eventstore.Backend

	mu    sync.Mutex
	calls []string
}

// spied returns a Store whose calls on the fixture's first handle are noted.
func spied(env *Env, opts eventstore.Options) (*eventstore.Store, *spy, error) {
	s := &spy{Backend: env.Fixture.Backend}
	store, err := env.NewStore(s, opts)
	return store, s, err
}

func (s *spy) note(call string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, call)
}

// take returns the calls since the last take.
func (s *spy) take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	calls := s.calls
	s.calls = nil
	return calls
}

// expectNoCalls returns an error if anything was called since the last take.
func (s *spy) expectNoCalls(what string) error {
	if calls := s.take(); len(calls) > 0 {
		return unexpected(what, "no I/O", fmt.Sprintf("the backend calls %q", calls))
	}
	return nil
}

// count returns how often a call was made since the last take.
func (s *spy) count(call string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.calls) - len(slices.DeleteFunc(slices.Clone(s.calls), func(c string) bool { return c == call }))
}

func (s *spy) Append(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
	s.note("Append")
	return s.Backend.Append(ctx, req)
}

func (s *spy) ReadStream(ctx context.Context, req eventstore.ReadStreamRequest) (eventstore.Page, error) {
	s.note("ReadStream")
	return s.Backend.ReadStream(ctx, req)
}

func (s *spy) ReadAll(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
	s.note("ReadAll")
	return s.Backend.ReadAll(ctx, req)
}

func (s *spy) Subscribe(ctx context.Context, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
	s.note("Subscribe")
	return s.Backend.Subscribe(ctx, req)
}

func (s *spy) Info(ctx context.Context) (eventstore.Info, error) {
	s.note("Info")
	return s.Backend.Info(ctx)
}

func (s *spy) Seal(ctx context.Context, req eventstore.SealRequest) (eventstore.Info, error) {
	s.note("Seal")
	return s.Backend.Seal(ctx, req)
}

func (s *spy) Records() eventstore.Records {
	records := s.Backend.Records()
	if records.Checkpoints != nil {
		records.Checkpoints = spiedCheckpoints{s, records.Checkpoints}
	}
	if records.Snapshots != nil {
		records.Snapshots = spiedSnapshots{s, records.Snapshots}
	}
	return records
}

type spiedCheckpoints struct {
	spy *spy
	eventstore.Checkpoints
}

func (c spiedCheckpoints) Load(ctx context.Context, req eventstore.LoadCheckpointRequest) (eventstore.LoadCheckpointResult, error) {
	c.spy.note("Checkpoints.Load")
	return c.Checkpoints.Load(ctx, req)
}

func (c spiedCheckpoints) Save(ctx context.Context, req eventstore.SaveCheckpointRequest) error {
	c.spy.note("Checkpoints.Save")
	return c.Checkpoints.Save(ctx, req)
}

func (c spiedCheckpoints) Delete(ctx context.Context, req eventstore.DeleteCheckpointRequest) error {
	c.spy.note("Checkpoints.Delete")
	return c.Checkpoints.Delete(ctx, req)
}

func (c spiedCheckpoints) List(ctx context.Context, req eventstore.ListCheckpointsRequest) (eventstore.ListCheckpointsResult, error) {
	c.spy.note("Checkpoints.List")
	return c.Checkpoints.List(ctx, req)
}

func (c spiedCheckpoints) SwapLease(ctx context.Context, req eventstore.SwapLeaseRequest) (eventstore.SwapLeaseResult, error) {
	c.spy.note("Checkpoints.SwapLease")
	return c.Checkpoints.SwapLease(ctx, req)
}

type spiedSnapshots struct {
	spy *spy
	eventstore.Snapshots
}

func (s spiedSnapshots) Load(ctx context.Context, req eventstore.LoadSnapshotRequest) (eventstore.LoadSnapshotResult, error) {
	s.spy.note("Snapshots.Load")
	return s.Snapshots.Load(ctx, req)
}

func (s spiedSnapshots) Save(ctx context.Context, req eventstore.SaveSnapshotRequest) error {
	s.spy.note("Snapshots.Save")
	return s.Snapshots.Save(ctx, req)
}

func (s spiedSnapshots) Delete(ctx context.Context, req eventstore.DeleteSnapshotRequest) error {
	s.spy.note("Snapshots.Delete")
	return s.Snapshots.Delete(ctx, req)
}
