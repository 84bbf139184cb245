package linelog

import (
	"context"
	"iter"
	"slices"
	"time"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventstore/adapter"
)

// Poll is how often a subscription looks for events of other handles.
const Poll = 20 * time.Millisecond

// Capabilities declares what a line log can do: what the memory store can, but for
// what a file makes better or worse.
func (b *Backend) Capabilities() eventstore.Capabilities {
	caps := memory.New().Capabilities()
	caps.Backend = "linelog"
	caps.LivePush = eventstore.No("a file tells nobody that it grew")
	caps.PollInterval = Poll
	caps.Durability = eventstore.SurvivesProcessCrash // written, not flushed
	caps.Limits = eventstore.PortableLimits()
	return caps
}

// Append implements [eventstore.Backend].
func (b *Backend) Append(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
	return write(ctx, b, func() ([]eventstore.PartResult, *line, error) {
		now, parts := time.Now().UTC(), slices.Clone(req.Parts)
		for i := range parts {
			if parts[i].RecordedAt == nil {
				parts[i].RecordedAt = &now // the same for whoever reads the line
			}
		}
		results, err := b.state.Append(ctx, eventstore.AppendRequest{Parts: parts})
		if err != nil || !slices.ContainsFunc(results, isNew) {
			return results, nil, err
		}
		return results, &line{Append: parts}, nil
	})
}

func isNew(result eventstore.PartResult) bool { return len(result.Recorded) > 0 && !result.Duplicate }

// ReadStream implements [eventstore.Backend].
func (b *Backend) ReadStream(ctx context.Context, req eventstore.ReadStreamRequest) (eventstore.Page, error) {
	return read(ctx, b, func() (eventstore.Page, error) { return b.state.ReadStream(ctx, req) })
}

// ReadAll implements [eventstore.Backend].
func (b *Backend) ReadAll(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
	return read(ctx, b, func() (eventstore.Page, error) { return b.state.ReadAll(ctx, req) })
}

// Subscribe implements [eventstore.Backend].
func (b *Backend) Subscribe(ctx context.Context, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
	return adapter.Follow(ctx, req, adapter.FollowSource{Page: b.ReadAll, Info: b.Info, Hint: &b.hint, Poll: Poll})
}

// Info implements [eventstore.Backend].
func (b *Backend) Info(ctx context.Context) (eventstore.Info, error) {
	return read(ctx, b, func() (eventstore.Info, error) { return b.state.Info(ctx) })
}

// Seal implements [eventstore.Backend]. A seal is a line like any other, so every
// append lies before it or is judged after it.
func (b *Backend) Seal(ctx context.Context, req eventstore.SealRequest) (eventstore.Info, error) {
	return write(ctx, b, func() (eventstore.Info, *line, error) {
		info, err := b.state.Seal(ctx, req)
		return info, &line{Seal: &req}, err
	})
}

// Records implements [eventstore.Backend].
func (b *Backend) Records() eventstore.Records {
	return eventstore.Records{Checkpoints: checkpoints{b}, Snapshots: snapshots{b}}
}

type checkpoints struct{ *Backend }

func (c checkpoints) kept() eventstore.Checkpoints { return c.state.Records().Checkpoints }

func (c checkpoints) Load(ctx context.Context, req eventstore.LoadCheckpointRequest) (eventstore.LoadCheckpointResult, error) {
	return read(ctx, c.Backend, func() (eventstore.LoadCheckpointResult, error) { return c.kept().Load(ctx, req) })
}

func (c checkpoints) List(ctx context.Context, req eventstore.ListCheckpointsRequest) (eventstore.ListCheckpointsResult, error) {
	return read(ctx, c.Backend, func() (eventstore.ListCheckpointsResult, error) { return c.kept().List(ctx, req) })
}

func (c checkpoints) Save(ctx context.Context, req eventstore.SaveCheckpointRequest) error {
	return c.keep(ctx, line{Save: &req})
}

func (c checkpoints) Delete(ctx context.Context, req eventstore.DeleteCheckpointRequest) error {
	return c.keep(ctx, line{Delete: &req})
}

func (c checkpoints) SwapLease(ctx context.Context, req eventstore.SwapLeaseRequest) (eventstore.SwapLeaseResult, error) {
	return write(ctx, c.Backend, func() (eventstore.SwapLeaseResult, *line, error) {
		result, err := c.kept().SwapLease(ctx, req)
		if !result.Swapped {
			return result, nil, err // who waits for a lease asks again and again
		}
		return result, &line{Swap: &req}, err
	})
}

type snapshots struct{ *Backend }

func (s snapshots) Load(ctx context.Context, req eventstore.LoadSnapshotRequest) (eventstore.LoadSnapshotResult, error) {
	return read(ctx, s.Backend, func() (eventstore.LoadSnapshotResult, error) { return s.state.Records().Snapshots.Load(ctx, req) })
}

func (s snapshots) Save(ctx context.Context, req eventstore.SaveSnapshotRequest) error {
	return s.keep(ctx, line{Snapshot: &req})
}

func (s snapshots) Delete(ctx context.Context, req eventstore.DeleteSnapshotRequest) error {
	return s.keep(ctx, line{DeleteSnapshot: &req})
}

// keep makes a change that has no answer.
func (b *Backend) keep(ctx context.Context, entry line) error {
	_, err := write(ctx, b, func() (none struct{}, _ *line, err error) { return none, &entry, b.apply(ctx, entry) })
	return err
}
