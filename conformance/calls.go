package conformance

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// The checks of promise 20, and what they share: a table of all operations.

func callChecks() []Check {
	return slices.Concat(cancellationChecks(), closingChecks(), aliasingChecks())
}

// returnsPromptly runs call in a goroutine of its own and returns its error. Late is
// not nil where call did not return promptly.
func returnsPromptly(what string, call func() error) (result, late error) {
	done := make(chan error, 1)
	go func() { done <- contain(call) }()
	patient, cancel := within(context.Background(), promptly)
	defer cancel()
	select {
	case result := <-done:
		return result, nil
	case <-patient.Done():
		return nil, unexpected(what, fmt.Sprintf("its return within %s", promptly), "none")
	}
}

// storeCall is an operation of a Store with valid input.
type storeCall struct {
	name string
	run  func(ctx context.Context, store *eventstore.Store) error
}

// storeCalls lists every operation that takes a context. The subscriptions among
// them end only with the context or the store. All write to or read this stream.
func storeCalls(env *Env, stream string) []storeCall {
	snapshot := eventstore.Snapshot{Stream: stream, Type: "State", Version: 1, Data: []byte("{}")}
	return []storeCall{
		{"Append", func(ctx context.Context, s *eventstore.Store) error {
			_, err := s.Append(ctx, stream, eventstore.Any(), env.Events(2)...)
			return err
		}},
		{"AppendStreams", func(ctx context.Context, s *eventstore.Store) error {
			_, err := s.AppendStreams(ctx, eventstore.StreamAppend{Stream: stream, Expected: eventstore.Any(), Events: env.Events(2)})
			return err
		}},
		{"ReadStream", func(ctx context.Context, s *eventstore.Store) error {
			_, err := collect(s.ReadStream(ctx, stream, eventstore.ReadOptions{}))
			return err
		}},
		{"StreamVersion", func(ctx context.Context, s *eventstore.Store) error {
			_, err := s.StreamVersion(ctx, stream)
			return err
		}},
		{"ReadAll", func(ctx context.Context, s *eventstore.Store) error {
			_, err := collect(s.ReadAll(ctx, eventstore.ReadAllOptions{}))
			return err
		}},
		{"Subscribe", func(ctx context.Context, s *eventstore.Store) error {
			_, err := collect(s.Subscribe(ctx, eventstore.SubscribeOptions{}))
			return err
		}},
		{"Run", func(ctx context.Context, s *eventstore.Store) error {
			return s.Run(ctx, eventstore.Subscription{Name: "calls", Handler: ignoreEvent})
		}},
		{"Info", func(ctx context.Context, s *eventstore.Store) error {
			_, err := s.Info(ctx)
			return err
		}},
		{"LoadCheckpoint", func(ctx context.Context, s *eventstore.Store) error {
			_, _, err := s.LoadCheckpoint(ctx, "calls")
			return err
		}},
		{"SaveCheckpoint", func(ctx context.Context, s *eventstore.Store) error {
			return s.SaveCheckpoint(ctx, eventstore.Checkpoint{Name: "calls"})
		}},
		{"DeleteCheckpoint", func(ctx context.Context, s *eventstore.Store) error { return s.DeleteCheckpoint(ctx, "calls") }},
		{"LoadSnapshot", func(ctx context.Context, s *eventstore.Store) error {
			_, _, err := s.LoadSnapshot(ctx, stream, "State")
			return err
		}},
		{"SaveSnapshot", func(ctx context.Context, s *eventstore.Store) error { return s.SaveSnapshot(ctx, snapshot) }},
		{"DeleteSnapshot", func(ctx context.Context, s *eventstore.Store) error {
			return s.DeleteSnapshot(ctx, stream, "State")
		}},
	}
}

func ignoreEvent(context.Context, eventstore.RecordedEvent) error { return nil }

// backendCall is an operation of a Backend as the Store makes it.
type backendCall struct {
	name string
	run  func(ctx context.Context, backend eventstore.Backend) error
}

// backendCalls lists every operation of a Backend that takes a context.
func backendCalls(env *Env, stream string) []backendCall {
	size := eventstore.PageSize{MaxEvents: 10, MaxBytes: 1 << 20}
	snapshot := eventstore.Snapshot{Stream: stream, Type: "State", Version: 1, SchemaVersion: 1, Data: []byte("{}")}
	calls := []backendCall{
		{"Append", func(ctx context.Context, b eventstore.Backend) error {
			part := eventstore.StreamAppend{Stream: stream, Expected: eventstore.Any(), Events: env.Events(2)}
			_, err := b.Append(ctx, eventstore.AppendRequest{Parts: []eventstore.StreamAppend{part}})
			return err
		}},
		{"ReadStream", func(ctx context.Context, b eventstore.Backend) error {
			_, err := b.ReadStream(ctx, eventstore.ReadStreamRequest{Stream: stream, PageSize: size})
			return err
		}},
		{"Checkpoints.Load", func(ctx context.Context, b eventstore.Backend) error {
			_, err := b.Records().Checkpoints.Load(ctx, eventstore.LoadCheckpointRequest{Name: "calls"})
			return err
		}},
		{"Checkpoints.Save", func(ctx context.Context, b eventstore.Backend) error {
			return b.Records().Checkpoints.Save(ctx, eventstore.SaveCheckpointRequest{Checkpoint: eventstore.Checkpoint{Name: "calls", Store: env.ID()}})
		}},
		{"Checkpoints.Delete", func(ctx context.Context, b eventstore.Backend) error {
			return b.Records().Checkpoints.Delete(ctx, eventstore.DeleteCheckpointRequest{Name: "calls"})
		}},
		{"Checkpoints.List", func(ctx context.Context, b eventstore.Backend) error {
			_, err := b.Records().Checkpoints.List(ctx, eventstore.ListCheckpointsRequest{Limit: 1})
			return err
		}},
		{"Checkpoints.SwapLease", func(ctx context.Context, b eventstore.Backend) error {
			_, err := b.Records().Checkpoints.SwapLease(ctx, eventstore.SwapLeaseRequest{Name: "calls", New: eventstore.Lease{Name: "calls", Epoch: 1, Owner: "suite", TTL: time.Minute}})
			return err
		}},
		{"Snapshots.Load", func(ctx context.Context, b eventstore.Backend) error {
			_, err := b.Records().Snapshots.Load(ctx, eventstore.LoadSnapshotRequest{Stream: stream, Type: "State"})
			return err
		}},
		{"Snapshots.Save", func(ctx context.Context, b eventstore.Backend) error {
			return b.Records().Snapshots.Save(ctx, eventstore.SaveSnapshotRequest{Snapshot: snapshot})
		}},
		{"Snapshots.Delete", func(ctx context.Context, b eventstore.Backend) error {
			return b.Records().Snapshots.Delete(ctx, eventstore.DeleteSnapshotRequest{Stream: stream, Type: "State"})
		}},
	}
	calls = append(calls, backendCall{"Info", func(ctx context.Context, b eventstore.Backend) error {
		_, err := b.Info(ctx)
		return err
	}})
	if !env.Caps.GlobalOrder.Supported() {
		return calls // the Store asks such a backend for neither of the others
	}
	return append(calls,
		backendCall{"ReadAll", func(ctx context.Context, b eventstore.Backend) error {
			_, err := b.ReadAll(ctx, eventstore.ReadAllRequest{PageSize: size})
			return err
		}},
		backendCall{"Subscribe", func(ctx context.Context, b eventstore.Backend) error {
			_, err := collect(b.Subscribe(ctx, eventstore.SubscribeRequest{PageSize: size}))
			return err
		}},
	)
}
