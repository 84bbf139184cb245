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

	OnAppend       func(context.Context, eventstore.AppendRequest) ([]eventstore.PartResult, error)
	OnReadStream   func(context.Context, eventstore.ReadStreamRequest) (eventstore.Page, error)
	OnReadAll      func(context.Context, eventstore.ReadAllRequest) (eventstore.Page, error)
	OnSubscribe    func(context.Context, eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error]
	OnInfo         func(context.Context) (eventstore.Info, error)
	OnSeal         func(context.Context, eventstore.SealRequest) (eventstore.Info, error)
	OnCheckpoints  func() eventstore.Checkpoints
	OnSnapshots    func() eventstore.Snapshots
	OnCapabilities func() eventstore.Capabilities
	OnClose        func() error
}

// Append implements [eventstore.Backend].
func (h *Hooked) Append(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
	if h.OnAppend != nil {
		return h.OnAppend(ctx, req)
	}
	return h.Backend.Append(ctx, req)
}

// ReadStream implements [eventstore.Backend].
func (h *Hooked) ReadStream(ctx context.Context, req eventstore.ReadStreamRequest) (eventstore.Page, error) {
	if h.OnReadStream != nil {
		return h.OnReadStream(ctx, req)
	}
	return h.Backend.ReadStream(ctx, req)
}

// ReadAll implements [eventstore.Backend].
func (h *Hooked) ReadAll(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
	if h.OnReadAll != nil {
		return h.OnReadAll(ctx, req)
	}
	return h.Backend.ReadAll(ctx, req)
}

// Subscribe implements [eventstore.Backend].
func (h *Hooked) Subscribe(ctx context.Context, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
	if h.OnSubscribe != nil {
		return h.OnSubscribe(ctx, req)
	}
	return h.Backend.Subscribe(ctx, req)
}

// Info implements [eventstore.Backend].
func (h *Hooked) Info(ctx context.Context) (eventstore.Info, error) {
	if h.OnInfo != nil {
		return h.OnInfo(ctx)
	}
	return h.Backend.Info(ctx)
}

// Seal implements [eventstore.Backend].
func (h *Hooked) Seal(ctx context.Context, req eventstore.SealRequest) (eventstore.Info, error) {
	if h.OnSeal != nil {
		return h.OnSeal(ctx, req)
	}
	return h.Backend.Seal(ctx, req)
}

// Records implements [eventstore.Backend].
func (h *Hooked) Records() eventstore.Records {
	records := h.Backend.Records()
	if h.OnCheckpoints != nil {
		records.Checkpoints = h.OnCheckpoints()
	}
	if h.OnSnapshots != nil {
		records.Snapshots = h.OnSnapshots()
	}
	return records
}

// Capabilities implements [eventstore.Backend].
func (h *Hooked) Capabilities() eventstore.Capabilities {
	if h.OnCapabilities != nil {
		return h.OnCapabilities()
	}
	return h.Backend.Capabilities()
}

// Close implements [eventstore.Backend].
func (h *Hooked) Close() error {
	if h.OnClose != nil {
		return h.OnClose()
	}
	return h.Backend.Close()
}
