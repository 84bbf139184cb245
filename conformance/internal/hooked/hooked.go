// Package hooked has a backend whose calls tests replace one by one.
package hooked

import (
	"context"
	"iter"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// Hooked passes every call on to its Backend but those that are replaced. A nil
// field leaves the call as it is.
type Hooked struct {
	eventstore.Backend

	OnAppend       func(context.Context, eventstore.AppendRequest) ([]eventstore.AppendResult, error)
	OnReadStream   func(context.Context, eventstore.ReadStreamRequest) (eventstore.Page, error)
	OnReadAll      func(context.Context, eventstore.ReadAllRequest) (eventstore.Page, error)
	OnSubscribe    func(context.Context, eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error]
	OnCheckpoints  func() eventstore.Checkpoints
	OnSnapshots    func() eventstore.Snapshots
	OnCapabilities func() eventstore.Capabilities
	OnClose        func() error
}

// Append implements [eventstore.Backend], as the other methods do.
func (h *Hooked) Append(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.AppendResult, error) {
	if h.OnAppend != nil {
		return h.OnAppend(ctx, req)
	}
	return h.Backend.Append(ctx, req)
}

func (h *Hooked) ReadStream(ctx context.Context, req eventstore.ReadStreamRequest) (eventstore.Page, error) {
	if h.OnReadStream != nil {
		return h.OnReadStream(ctx, req)
	}
	return h.Backend.ReadStream(ctx, req)
}

func (h *Hooked) ReadAll(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
	if h.OnReadAll != nil {
		return h.OnReadAll(ctx, req)
	}
	return h.Backend.ReadAll(ctx, req)
}

func (h *Hooked) Subscribe(ctx context.Context, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
	if h.OnSubscribe != nil {
		return h.OnSubscribe(ctx, req)
	}
	return h.Backend.Subscribe(ctx, req)
}

func (h *Hooked) Checkpoints() eventstore.Checkpoints {
	if h.OnCheckpoints != nil {
		return h.OnCheckpoints()
	}
	return h.Backend.Checkpoints()
}

func (h *Hooked) Snapshots() eventstore.Snapshots {
	if h.OnSnapshots != nil {
		return h.OnSnapshots()
	}
	return h.Backend.Snapshots()
}

func (h *Hooked) Capabilities() eventstore.Capabilities {
	if h.OnCapabilities != nil {
		return h.OnCapabilities()
	}
	return h.Backend.Capabilities()
}

func (h *Hooked) Close() error {
	if h.OnClose != nil {
		return h.OnClose()
	}
	return h.Backend.Close()
}
