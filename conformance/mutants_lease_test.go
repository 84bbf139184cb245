package conformance_test

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// progressWith replaces some calls of what keeps checkpoints and leases.
type progressWith struct {
	eventstore.Checkpoints
	load  func(context.Context, eventstore.LoadCheckpointRequest) (eventstore.LoadCheckpointResult, error)
	save  func(context.Context, eventstore.SaveCheckpointRequest) error
	erase func(context.Context, eventstore.DeleteCheckpointRequest) error
	list  func(context.Context, eventstore.ListCheckpointsRequest) (eventstore.ListCheckpointsResult, error)
	swap  func(context.Context, eventstore.SwapLeaseRequest) (eventstore.SwapLeaseResult, error)
}

func (p progressWith) Load(ctx context.Context, req eventstore.LoadCheckpointRequest) (eventstore.LoadCheckpointResult, error) {
	if p.load == nil {
		return p.Checkpoints.Load(ctx, req)
	}
	return p.load(ctx, req)
}

func (p progressWith) Save(ctx context.Context, req eventstore.SaveCheckpointRequest) error {
	if p.save == nil {
		return p.Checkpoints.Save(ctx, req)
	}
	return p.save(ctx, req)
}

func (p progressWith) Delete(ctx context.Context, req eventstore.DeleteCheckpointRequest) error {
	if p.erase == nil {
		return p.Checkpoints.Delete(ctx, req)
	}
	return p.erase(ctx, req)
}

func (p progressWith) List(ctx context.Context, req eventstore.ListCheckpointsRequest) (eventstore.ListCheckpointsResult, error) {
	if p.list == nil {
		return p.Checkpoints.List(ctx, req)
	}
	return p.list(ctx, req)
}

func (p progressWith) SwapLease(ctx context.Context, req eventstore.SwapLeaseRequest) (eventstore.SwapLeaseResult, error) {
	if p.swap == nil {
		return p.Checkpoints.SwapLease(ctx, req)
	}
	return p.swap(ctx, req)
}

// storedLease reads a lease, by a swap that cannot succeed.
func storedLease(ctx context.Context, c eventstore.Checkpoints, name string) eventstore.Lease {
	result, _ := c.SwapLease(ctx, eventstore.SwapLeaseRequest{Name: name, Old: eventstore.Lease{Epoch: math.MaxUint64}})
	return result.Lease
}

// storeLease writes a lease, whatever is stored.
func storeLease(ctx context.Context, c eventstore.Checkpoints, lease eventstore.Lease) (eventstore.SwapLeaseResult, error) {
	for {
		result, err := c.SwapLease(ctx, eventstore.SwapLeaseRequest{Name: lease.Name, Old: storedLease(ctx, c, lease.Name), New: lease})
		if err != nil || result.Swapped {
			return result, err
		}
	}
}

// leaseMutants break promise 24, and the list of checkpoints.
func leaseMutants() []classMutant {
	progress := func(change func(h *handle, p *progressWith)) func(*handle) {
		return func(h *handle) {
			h.OnCheckpoints = func() eventstore.Checkpoints {
				p := progressWith{Checkpoints: h.Backend.Records().Checkpoints}
				change(h, &p)
				return p
			}
		}
	}
	// swaps breaks the request, knowing the stored lease.
	swaps := func(change func(stored eventstore.Lease, req *eventstore.SwapLeaseRequest)) func(*handle) {
		return progress(func(_ *handle, p *progressWith) {
			inner := p.Checkpoints
			p.swap = func(ctx context.Context, req eventstore.SwapLeaseRequest) (eventstore.SwapLeaseResult, error) {
				change(storedLease(ctx, inner, req.Name), &req)
				return inner.SwapLease(ctx, req)
			}
		})
	}
	saves := func(change func(ctx context.Context, h *handle, inner eventstore.Checkpoints, req eventstore.SaveCheckpointRequest) error) func(*handle) {
		return progress(func(h *handle, p *progressWith) {
			inner := p.Checkpoints
			p.save = func(ctx context.Context, req eventstore.SaveCheckpointRequest) error {
				return change(ctx, h, inner, req)
			}
		})
	}
	lists := func(change func(all []eventstore.Checkpoint, req eventstore.ListCheckpointsRequest) []eventstore.Checkpoint) func(*handle) {
		return progress(func(_ *handle, p *progressWith) {
			inner := p.Checkpoints
			p.list = func(ctx context.Context, req eventstore.ListCheckpointsRequest) (eventstore.ListCheckpointsResult, error) {
				all, err := inner.List(ctx, eventstore.ListCheckpointsRequest{Limit: math.MaxInt})
				return eventstore.ListCheckpointsResult{Checkpoints: change(all.Checkpoints, req)}, err
			}
		})
	}
	// page is what a correct list does of checkpoints that are sorted by key.
	page := func(all []eventstore.Checkpoint, req eventstore.ListCheckpointsRequest, key func(string) string) []eventstore.Checkpoint {
		slices.SortStableFunc(all, func(a, b eventstore.Checkpoint) int { return cmp.Compare(key(a.Name), key(b.Name)) })
		all = slices.DeleteFunc(all, func(c eventstore.Checkpoint) bool { return key(c.Name) <= key(req.After) && req.After != "" })
		return all[:min(len(all), req.Limit)]
	}
	asIs := func(s string) string { return s }
	// swapped are the names whose leases were ever swapped.
	swapped := func(h *handle, p *progressWith) {
		inner := p.Checkpoints
		p.swap = func(ctx context.Context, req eventstore.SwapLeaseRequest) (eventstore.SwapLeaseResult, error) {
			h.data.remember(func(kept map[string]any) { kept[req.Name] = true })
			return inner.SwapLease(ctx, req)
		}
	}
	names := func(h *handle) (names []string) {
		h.data.remember(func(kept map[string]any) {
			for name := range kept {
				names = append(names, name)
			}
		})
		slices.Sort(names)
		return names
	}
	forgets := func(which func(result eventstore.LoadCheckpointResult) bool) func(*handle) {
		return func(h *handle) {
			progress(swapped)(h)
			ctx, inner := context.Background(), h.Backend.Records().Checkpoints
			for _, name := range names(h) {
				if result, err := inner.Load(ctx, eventstore.LoadCheckpointRequest{Name: name}); err == nil && which(result) {
					_, _ = storeLease(ctx, inner, eventstore.Lease{Name: name})
				}
			}
		}
	}
	anyEpoch := func(ctx context.Context, inner eventstore.Checkpoints, req eventstore.SaveCheckpointRequest) error {
		req.Checkpoint.Epoch = max(req.Checkpoint.Epoch, storedLease(ctx, inner, req.Checkpoint.Name).Epoch)
		return inner.Save(ctx, req)
	}
	return []classMutant{
		{"compares only the epoch of a lease", "lease/compare-and-swap", "another owner is thought to have|renewed meanwhile", swaps(func(stored eventstore.Lease, req *eventstore.SwapLeaseRequest) {
			if req.Old.Epoch == stored.Epoch {
				req.Old = stored
			}
		})},
		{"does not compare the renewals of a lease", "lease/compare-and-swap", "renewed meanwhile", swaps(func(stored eventstore.Lease, req *eventstore.SwapLeaseRequest) { req.Old.Renewals = stored.Renewals })},
		{"does not compare the owner of a lease", "lease/compare-and-swap", "another owner is thought to have", swaps(func(stored eventstore.Lease, req *eventstore.SwapLeaseRequest) { req.Old.Owner = stored.Owner })},
		{"does not compare the epoch of a lease", "lease/compare-and-swap", "in an earlier epoch", swaps(func(stored eventstore.Lease, req *eventstore.SwapLeaseRequest) { req.Old.Epoch = stored.Epoch })},
		{"takes any lease for the first one's", "lease/compare-and-swap", "as if it were known", swaps(func(stored eventstore.Lease, req *eventstore.SwapLeaseRequest) {
			if stored.Epoch == 0 {
				req.Old = stored
			}
		})},
		{"loses the epoch of a lease that is released", "lease/compare-and-swap", "release a lease", swaps(func(_ eventstore.Lease, req *eventstore.SwapLeaseRequest) {
			if req.New.Owner == "" {
				req.New.Epoch = 0
			}
		})},
		{"loses the length of a lease", "lease/compare-and-swap", "take a lease that nobody ever had", swaps(func(_ eventstore.Lease, req *eventstore.SwapLeaseRequest) { req.New.TTL = 0 })},
		{"keeps the length of a lease in milliseconds", "lease/compare-and-swap", "take a lease that nobody ever had", swaps(func(_ eventstore.Lease, req *eventstore.SwapLeaseRequest) {
			req.New.TTL = req.New.TTL.Truncate(time.Millisecond)
		})},
		{"returns the lease that it refuses", "lease/compare-and-swap", "as if nobody had it", progress(func(_ *handle, p *progressWith) {
			inner := p.Checkpoints
			p.swap = func(ctx context.Context, req eventstore.SwapLeaseRequest) (eventstore.SwapLeaseResult, error) {
				result, err := inner.SwapLease(ctx, req)
				if result.Lease.Epoch > 0 {
					result.Lease = req.New
				}
				return result, err
			}
		})},
		{"reads a lease and writes it afterwards", "lease/one-winner", "racers that have a lease", progress(func(_ *handle, p *progressWith) {
			inner := p.Checkpoints
			p.swap = func(ctx context.Context, req eventstore.SwapLeaseRequest) (eventstore.SwapLeaseResult, error) {
				if stored := storedLease(ctx, inner, req.Name); !stored.Same(req.Old) {
					return eventstore.SwapLeaseResult{Lease: stored}, nil
				}
				roundTrip()
				return storeLease(ctx, inner, req.New)
			}
		})},
		{"keeps leases in each process for itself", "lease/one-winner", "racers that have a lease", progress(func(h *handle, p *progressWith) {
			inner := p.Checkpoints
			p.swap = func(ctx context.Context, req eventstore.SwapLeaseRequest) (eventstore.SwapLeaseResult, error) {
				name := req.Name
				req.Name = strings.Repeat("'", h.number) + name
				result, err := inner.SwapLease(ctx, req)
				if result.Lease.Name != "" {
					result.Lease.Name = name
				}
				return result, err
			}
		})},
		{"does not compare epochs in a save", "lease/fences-saves", "save at epoch 0", saves(func(ctx context.Context, _ *handle, inner eventstore.Checkpoints, req eventstore.SaveCheckpointRequest) error {
			return anyEpoch(ctx, inner, req)
		})},
		{"compares epochs in the process that took the lease", "lease/fences-saves", "save at epoch 0", saves(func(ctx context.Context, h *handle, inner eventstore.Checkpoints, req eventstore.SaveCheckpointRequest) error {
			if h.number == 0 {
				return inner.Save(ctx, req)
			}
			return anyEpoch(ctx, inner, req)
		})},
		{"takes a save without an epoch for anybody's", "lease/fences-saves", "save at epoch 0", saves(func(ctx context.Context, _ *handle, inner eventstore.Checkpoints, req eventstore.SaveCheckpointRequest) error {
			if req.Checkpoint.Epoch == 0 {
				return anyEpoch(ctx, inner, req)
			}
			return inner.Save(ctx, req)
		})},
		{"refuses the epoch that is stored", "lease/fences-saves", "save by the owner", saves(func(ctx context.Context, _ *handle, inner eventstore.Checkpoints, req eventstore.SaveCheckpointRequest) error {
			if stored := storedLease(ctx, inner, req.Checkpoint.Name); stored.Epoch > 0 && req.Checkpoint.Epoch <= stored.Epoch {
				return &eventstore.LeaseLostError{Name: req.Checkpoint.Name, Epoch: req.Checkpoint.Epoch, Stored: stored.Epoch}
			}
			return inner.Save(ctx, req)
		})},
		{"ignores a save of an earlier epoch in silence", "lease/fences-saves", "got no error", saves(func(ctx context.Context, _ *handle, inner eventstore.Checkpoints, req eventstore.SaveCheckpointRequest) error {
			if !req.Reset && req.Checkpoint.Epoch < storedLease(ctx, inner, req.Checkpoint.Name).Epoch {
				return nil
			}
			return inner.Save(ctx, req)
		})},
		{"saves what it refuses", "lease/fences-saves", "after refused saves", saves(func(ctx context.Context, _ *handle, inner eventstore.Checkpoints, req eventstore.SaveCheckpointRequest) error {
			err := inner.Save(ctx, req)
			if err != nil {
				_ = anyEpoch(ctx, inner, req)
			}
			return err
		})},
		{"drops the epoch with the checkpoint", "lease/reset-stands", "checkpoint that was deleted", progress(func(_ *handle, p *progressWith) {
			inner := p.Checkpoints
			p.erase = func(ctx context.Context, req eventstore.DeleteCheckpointRequest) error {
				if err := inner.Delete(ctx, req); err != nil {
					return err
				}
				_, err := storeLease(ctx, inner, eventstore.Lease{Name: req.Name})
				return err
			}
		})},
		{"leaves the lease when a checkpoint is deleted", "lease/reset-stands", "checkpoint that was deleted", progress(func(_ *handle, p *progressWith) {
			inner := p.Checkpoints
			p.erase = func(ctx context.Context, req eventstore.DeleteCheckpointRequest) error {
				stored := storedLease(ctx, inner, req.Name)
				if err := inner.Delete(ctx, req); err != nil {
					return err
				}
				_, err := storeLease(ctx, inner, stored)
				return err
			}
		})},
		{"raises the epoch of a reset and leaves its owner", "lease/reset-stands", "epoch 2, free", saves(func(ctx context.Context, _ *handle, inner eventstore.Checkpoints, req eventstore.SaveCheckpointRequest) error {
			stored := storedLease(ctx, inner, req.Checkpoint.Name)
			err := inner.Save(ctx, req)
			if req.Reset && err == nil {
				stored.Epoch++
				_, err = storeLease(ctx, inner, stored)
			}
			return err
		})},
		{"does not fence the owner of a reset checkpoint", "lease/reset-stands", "reset backward", saves(func(ctx context.Context, _ *handle, inner eventstore.Checkpoints, req eventstore.SaveCheckpointRequest) error {
			stored := storedLease(ctx, inner, req.Checkpoint.Name)
			err := inner.Save(ctx, req)
			if req.Reset && err == nil {
				_, err = storeLease(ctx, inner, stored)
			}
			return err
		})},
		{"overwrites a checkpoint at its own position", "checkpoint/every-position", "checkpoint after a save at", saves(func(ctx context.Context, _ *handle, inner eventstore.Checkpoints, req eventstore.SaveCheckpointRequest) error {
			stored, err := inner.Load(ctx, eventstore.LoadCheckpointRequest{Name: req.Checkpoint.Name})
			req.Reset = req.Reset || err == nil && stored.Found && stored.Checkpoint.Place.Position == req.Checkpoint.Place.Position
			return inner.Save(ctx, req)
		})},
		{"loses the length of a lease beside a checkpoint", "lease/reset-stands", "nobody owned before", progress(func(_ *handle, p *progressWith) {
			inner := p.Checkpoints
			p.swap = func(ctx context.Context, req eventstore.SwapLeaseRequest) (eventstore.SwapLeaseResult, error) {
				asked := req.New
				if kept, err := inner.Load(ctx, eventstore.LoadCheckpointRequest{Name: req.Name}); err == nil && kept.Found && req.New.Epoch == 1 {
					req.New.TTL = 0
				}
				result, err := inner.SwapLease(ctx, req)
				if result.Swapped {
					result.Lease = asked
				}
				return result, err
			}
		})},
		{"fences a checkpoint that nobody owns", "lease/reset-stands", "of a checkpoint that nobody owns", saves(func(ctx context.Context, _ *handle, inner eventstore.Checkpoints, req eventstore.SaveCheckpointRequest) error {
			err := inner.Save(ctx, req)
			if name := req.Checkpoint.Name; req.Reset && err == nil && storedLease(ctx, inner, name).Epoch == 0 {
				_, err = storeLease(ctx, inner, eventstore.Lease{Name: name, Epoch: 1})
			}
			return err
		})},
		{"does not move a checkpoint back", "lease/reset-stands", "reset backward", saves(func(ctx context.Context, _ *handle, inner eventstore.Checkpoints, req eventstore.SaveCheckpointRequest) error {
			stored, err := inner.Load(ctx, eventstore.LoadCheckpointRequest{Name: req.Checkpoint.Name})
			if err == nil && req.Reset && req.Checkpoint.Place.Position.Before(stored.Checkpoint.Place.Position) {
				req.Checkpoint.Place = stored.Checkpoint.Place
			}
			return inner.Save(ctx, req)
		})},
		{"does not tell the epoch where there is no checkpoint", "lease/reset-stands", "checkpoint that was deleted", progress(func(_ *handle, p *progressWith) {
			inner := p.Checkpoints
			p.load = func(ctx context.Context, req eventstore.LoadCheckpointRequest) (eventstore.LoadCheckpointResult, error) {
				result, err := inner.Load(ctx, req)
				if !result.Found {
					result.Checkpoint.Epoch = 0
				}
				return result, err
			}
		})},
		{"forgets the owners of leases when it is opened again", "lease/survives-reopening", `lease "kept" after reopening`, func(h *handle) {
			progress(swapped)(h)
			ctx, inner := context.Background(), h.Backend.Records().Checkpoints
			for _, name := range names(h) {
				free := storedLease(ctx, inner, name)
				free.Owner = ""
				_, _ = storeLease(ctx, inner, free)
			}
		}},
		{"keeps the length that a lease had first", "lease/compare-and-swap", "renew a lease", swaps(func(stored eventstore.Lease, req *eventstore.SwapLeaseRequest) {
			if stored.TTL > 0 {
				req.New.TTL = stored.TTL
			}
		})},
		{"renews all leases of an owner", "lease/names-apart", "renew lease|beside others of the same owner", progress(func(h *handle, p *progressWith) {
			swapped(h, p)
			one, inner := p.swap, p.Checkpoints
			p.swap = func(ctx context.Context, req eventstore.SwapLeaseRequest) (eventstore.SwapLeaseResult, error) {
				result, err := one(ctx, req)
				if err != nil || !result.Swapped || req.Old.Epoch == 0 {
					return result, err
				}
				for _, name := range names(h) {
					if other := storedLease(ctx, inner, name); other.Same(req.Old) {
						other.Renewals = req.New.Renewals
						_, _ = storeLease(ctx, inner, other)
					}
				}
				return result, nil
			}
		})},
		{"forgets leases when it is opened again", "lease/survives-reopening", `"(kept|deleted)" after reopening`, forgets(func(eventstore.LoadCheckpointResult) bool { return true })},
		{"forgets the leases without checkpoints when it is opened again", "lease/survives-reopening", `"deleted" after reopening`, forgets(func(r eventstore.LoadCheckpointResult) bool { return !r.Found })},
		{"lists leases as checkpoints", "lease/names-apart", "checkpoints where only leases were taken", progress(func(h *handle, p *progressWith) {
			swapped(h, p)
			p.list = func(_ context.Context, req eventstore.ListCheckpointsRequest) (eventstore.ListCheckpointsResult, error) {
				var all []eventstore.Checkpoint
				for _, name := range names(h) {
					all = append(all, eventstore.Checkpoint{Name: name})
				}
				return eventstore.ListCheckpointsResult{Checkpoints: page(all, req, asIs)}, nil
			}
		})},
		{"folds the case of leases", "lease/names-apart", `take lease "Billing"`, swaps(func(_ eventstore.Lease, req *eventstore.SwapLeaseRequest) { req.Name = strings.ToLower(req.Name) })},
		{"trims the names of leases", "lease/names-apart", `take lease "billing "`, swaps(func(_ eventstore.Lease, req *eventstore.SwapLeaseRequest) {
			req.Name = strings.TrimRight(req.Name, " ")
		})},
		{"gives a lease to everybody", "lease/one-owner", "what one owner after the other handled|at the same time", progress(func(_ *handle, p *progressWith) {
			inner := p.Checkpoints
			p.swap = func(ctx context.Context, req eventstore.SwapLeaseRequest) (eventstore.SwapLeaseResult, error) {
				result, err := inner.SwapLease(ctx, req)
				if err == nil && !result.Swapped {
					req.New.Epoch = max(result.Lease.Epoch, 1)
					return storeLease(ctx, inner, req.New)
				}
				return result, err
			}
			p.save = func(ctx context.Context, req eventstore.SaveCheckpointRequest) error {
				return anyEpoch(ctx, inner, req)
			}
		})},
		{"lets an owner save that was followed by another", "lease/taken-over", "that was followed by another", saves(func(ctx context.Context, _ *handle, inner eventstore.Checkpoints, req eventstore.SaveCheckpointRequest) error {
			return anyEpoch(ctx, inner, req)
		})},
		{"gives a lease that somebody has", "lease/taken-over", "until the lease of a killed owner is taken over", progress(func(_ *handle, p *progressWith) {
			inner := p.Checkpoints
			p.swap = func(ctx context.Context, req eventstore.SwapLeaseRequest) (eventstore.SwapLeaseResult, error) {
				if stored := storedLease(ctx, inner, req.Name); req.Old == (eventstore.Lease{}) && stored.Epoch > 0 {
					req.Old, req.New.Epoch = stored, stored.Epoch+1
				}
				return inner.SwapLease(ctx, req)
			}
		})},
		{"lists checkpoints by a collation", "checkpoint/list", "of the list", lists(func(all []eventstore.Checkpoint, req eventstore.ListCheckpointsRequest) []eventstore.Checkpoint {
			return page(all, req, func(s string) string { return strings.ToLower(s) + s })
		})},
		{"skips a checkpoint between its pages", "checkpoint/list", "of the list", lists(func(all []eventstore.Checkpoint, req eventstore.ListCheckpointsRequest) []eventstore.Checkpoint {
			found := page(all, req, asIs)
			if req.After != "" && len(found) > 0 {
				found = found[1:]
			}
			return found
		})},
		{"lists a checkpoint in two pages", "checkpoint/list", "of the list", lists(func(all []eventstore.Checkpoint, req eventstore.ListCheckpointsRequest) []eventstore.Checkpoint {
			i := slices.IndexFunc(all, func(c eventstore.Checkpoint) bool { return c.Name == req.After })
			found := page(all, req, asIs)
			if i >= 0 && len(found) > 0 {
				found = append([]eventstore.Checkpoint{all[i]}, found[:len(found)-1]...)
			}
			return found
		})},
		{"lists one page", "checkpoint/list", "of the list", lists(func(all []eventstore.Checkpoint, req eventstore.ListCheckpointsRequest) []eventstore.Checkpoint {
			if req.After != "" {
				return nil
			}
			return page(all, req, asIs)
		})},
		{"lists checkpoints without their events", "checkpoint/list", "of the list", lists(func(all []eventstore.Checkpoint, req eventstore.ListCheckpointsRequest) []eventstore.Checkpoint {
			for i := range all {
				all[i].Place = eventstore.Place{Position: all[i].Place.Position}
			}
			return page(all, req, asIs)
		})},
		{"lists checkpoints that were deleted", "checkpoint/list", "of the list", progress(func(_ *handle, p *progressWith) {
			p.erase = func(context.Context, eventstore.DeleteCheckpointRequest) error { return nil }
		})},
	}
}
