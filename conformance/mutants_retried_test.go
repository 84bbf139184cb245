package conformance_test

import (
	"context"
	"strings"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// retriedMutants break what the retry of a parked event rests on.
func retriedMutants() []classMutant {
	// keeps replaces who keeps checkpoints, for the names of retried events.
	keeps := func(change func(inner eventstore.Checkpoints, p *progressWith)) func(*handle) {
		return func(h *handle) {
			h.OnCheckpoints = func() eventstore.Checkpoints {
				inner := h.Backend.Records().Checkpoints
				p := progressWith{Checkpoints: inner}
				change(inner, &p)
				return p
			}
		}
	}
	ofRetried := func(name string) bool { return strings.HasPrefix(name, "switchyard-retried-") }
	return []classMutant{
		{"answers an append to a stream of links as stored, and stores it elsewhere", "durable/retry-parked", "state of a parked event", func(h *handle) {
			h.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
				if strings.HasPrefix(req.Parts[0].Events[0].Type, "ParkedEvent") {
					req.Parts[0].Stream += "-results"
				}
				return h.Backend.Append(ctx, req)
			}
		}},
		{"drops the epoch of a retried event with its checkpoint", "durable/retry-parked-batch", "after its result", keeps(func(inner eventstore.Checkpoints, p *progressWith) {
			p.erase = func(ctx context.Context, req eventstore.DeleteCheckpointRequest) error {
				err := inner.Delete(ctx, req)
				if err == nil && ofRetried(req.Name) {
					_, err = storeLease(ctx, inner, eventstore.Lease{Name: req.Name})
				}
				return err
			}
		})},
		{"forgets the checkpoint of a retried event with its owner", "durable/retry-parked-batch", "what a target applied", keeps(func(inner eventstore.Checkpoints, p *progressWith) {
			p.swap = func(ctx context.Context, req eventstore.SwapLeaseRequest) (eventstore.SwapLeaseResult, error) {
				result, err := inner.SwapLease(ctx, req)
				if err != nil || !result.Swapped || !ofRetried(req.Name) {
					return result, err
				}
				err = inner.Delete(ctx, eventstore.DeleteCheckpointRequest{Name: req.Name})
				if err == nil {
					_, err = storeLease(ctx, inner, req.New)
				}
				return result, err
			}
		})},
	}
}
