package esdb

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// Records implements [eventstore.Backend].
func (b *Backend) Records() eventstore.Records {
	return eventstore.Records{Checkpoints: checkpoints{b}, Snapshots: snapshots{b}}
}

// progress is the data of the record under a subscription's name: its checkpoint,
// where there is one, and its lease. Their epochs are one, and a single record holds
// both, so that each change is compared with all of it and written at once.
type progress struct {
	Checkpoint *storedCheckpoint `json:"checkpoint,omitempty"`
	Epoch      uint64            `json:"epoch,omitempty"`
	Owner      string            `json:"owner,omitempty"`
	Renewals   uint64            `json:"renewals,omitempty"`
	TTL        time.Duration     `json:"ttl,omitempty"` // ns
}

type storedCheckpoint struct {
	Store    uuid.UUID           `json:"store"`
	Position eventstore.Position `json:"position"`
	Stream   string              `json:"stream,omitempty"`
	Version  uint64              `json:"version,omitempty"`
	ID       uuid.UUID           `json:"id"`
}

func (p *progress) checkpoint(name string) eventstore.Checkpoint {
	c := eventstore.Checkpoint{Name: name, Epoch: p.Epoch}
	if s := p.Checkpoint; s != nil {
		c.Store, c.Place = s.Store, eventstore.Place{Position: s.Position, Stream: s.Stream, Version: s.Version, ID: s.ID}
	}
	return c
}

func (p *progress) lease(name string) eventstore.Lease {
	if p.Epoch == 0 {
		return eventstore.Lease{} // never taken
	}
	return eventstore.Lease{Name: name, Epoch: p.Epoch, Owner: p.Owner, Renewals: p.Renewals, TTL: p.TTL}
}

func (p *progress) setLease(l eventstore.Lease) {
	p.Epoch, p.Owner, p.Renewals, p.TTL = l.Epoch, l.Owner, l.Renewals, l.TTL
}

// fence begins a new epoch that nobody owns, so that the owner cannot save. Where
// nobody ever took the lease there is no owner.
func (p *progress) fence() {
	if p.Epoch > 0 {
		p.setLease(eventstore.Lease{Epoch: p.Epoch + 1})
	}
}

func readProgress(name string, stored record) (p progress, err error) {
	if stored.kind == "" {
		return p, nil
	}
	if err := json.Unmarshal(stored.data, &p); err != nil {
		return p, fmt.Errorf("esdb: checkpoint %q cannot be read: %w", name, err)
	}
	return p, nil
}

type checkpoints struct{ b *Backend }

func (c checkpoints) Load(ctx context.Context, req eventstore.LoadCheckpointRequest) (eventstore.LoadCheckpointResult, error) {
	if err := c.b.ready(ctx); err != nil {
		return eventstore.LoadCheckpointResult{}, err
	}
	stored, err := c.b.load(ctx, c.b.names.checkpoint(req.Name))
	if err != nil {
		return eventstore.LoadCheckpointResult{}, err
	}
	p, err := readProgress(req.Name, stored)
	return eventstore.LoadCheckpointResult{Checkpoint: p.checkpoint(req.Name), Found: p.Checkpoint != nil}, err
}

// change replaces what is stored under a name by what change makes of it, as one
// step. It is left as it is where change returns false.
func (c checkpoints) change(ctx context.Context, name string, change func(p *progress) (bool, error)) error {
	if err := c.b.ready(ctx); err != nil {
		return err
	}
	return c.b.save(ctx, c.b.names.checkpoint(name), func(stored record) (*record, error) {
		p, err := readProgress(name, stored)
		if err != nil {
			return nil, err
		}
		if changed, err := change(&p); err != nil || !changed {
			return nil, err
		}
		data, err := json.Marshal(p)
		return &record{kind: kindCheckpoint, json: true, data: data}, err
	})
}

func (c checkpoints) Save(ctx context.Context, req eventstore.SaveCheckpointRequest) error {
	checkpoint := req.Checkpoint
	return c.change(ctx, checkpoint.Name, func(p *progress) (bool, error) {
		switch {
		case req.Reset:
			p.fence()
		case checkpoint.Epoch < p.Epoch:
			return false, &eventstore.LeaseLostError{Name: checkpoint.Name, Epoch: checkpoint.Epoch, Stored: p.Epoch}
		case p.Checkpoint != nil && !p.Checkpoint.Position.Before(checkpoint.Place.Position):
			return false, nil // it only moves forward
		}
		place := checkpoint.Place
		p.Checkpoint = &storedCheckpoint{Store: checkpoint.Store, Position: place.Position, Stream: place.Stream, Version: place.Version, ID: place.ID}
		return true, nil
	})
}

func (c checkpoints) Delete(ctx context.Context, req eventstore.DeleteCheckpointRequest) error {
	return c.change(ctx, req.Name, func(p *progress) (bool, error) {
		if p.Checkpoint == nil && p.Epoch == 0 {
			return false, nil // there never was one
		}
		p.fence()
		p.Checkpoint = nil
		return true, nil
	})
}

func (c checkpoints) SwapLease(ctx context.Context, req eventstore.SwapLeaseRequest) (result eventstore.SwapLeaseResult, err error) {
	err = c.change(ctx, req.Name, func(p *progress) (bool, error) {
		result.Swapped = p.lease(req.Name).Same(req.Old)
		if result.Swapped {
			p.setLease(req.New)
		}
		result.Lease = p.lease(req.Name)
		return result.Swapped, nil
	})
	if err != nil {
		return eventstore.SwapLeaseResult{}, err
	}
	return result, nil
}

// List reads the stream of names whole, which is as long as there ever were names,
// and then the checkpoints that are asked for.
func (c checkpoints) List(ctx context.Context, req eventstore.ListCheckpointsRequest) (result eventstore.ListCheckpointsResult, err error) {
	if err := c.b.ready(ctx); err != nil {
		return result, err
	}
	names := make(map[string]struct{})
	err = c.b.conn.readStream(ctx, streamRead{stream: c.b.names.checkpoints(), count: math.MaxInt64}, func(read *recorded) bool {
		if name := string(read.data); name > req.After {
			names[name] = struct{}{}
		}
		return true
	})
	if err != nil && !isNoStream(err) {
		return result, mapError(ctx, err)
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if len(result.Checkpoints) == req.Limit {
			break
		}
		loaded, err := c.Load(ctx, eventstore.LoadCheckpointRequest{Name: name})
		if err != nil {
			return eventstore.ListCheckpointsResult{}, err
		}
		if loaded.Found {
			result.Checkpoints = append(result.Checkpoints, loaded.Checkpoint)
		}
	}
	return result, nil
}

// index notes the name of a checkpoint that is about to be saved for the first time.
// Two processes may both do so; List takes the names for a set.
func (b *Backend) index(ctx context.Context, stream string) error {
	name, ok := strings.CutPrefix(stream, b.names.checkpoint(""))
	if !ok {
		return nil // another record than a checkpoint
	}
	_, _, err := b.conn.appendTo(ctx, b.names.checkpoints(), anyVersion, []proposed{{eventType: kindName, data: []byte(name)}})
	return err
}
