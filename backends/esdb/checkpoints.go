package esdb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventstore/adapter"
)

// Records implements [eventstore.Backend].
func (b *Backend) Records() eventstore.Records {
	return eventstore.Records{Checkpoints: checkpoints{b}, Snapshots: snapshots{b}}
}

// storedProgress is the data of the record under a subscription's name. A single
// record holds checkpoint and lease, so that each change is compared with all of it and
// written at once.
type storedProgress struct {
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

func decodeProgress(name string, stored record) (p adapter.Progress, err error) {
	if stored.kind == "" {
		return p, nil
	}
	var s storedProgress
	if err := json.Unmarshal(stored.data, &s); err != nil {
		return p, fmt.Errorf("esdb: checkpoint %q cannot be read: %w", name, err)
	}
	if s.Epoch > 0 {
		p.Lease = eventstore.Lease{Name: name, Epoch: s.Epoch, Owner: s.Owner, Renewals: s.Renewals, TTL: s.TTL}
	}
	if c := s.Checkpoint; c != nil {
		p.Found = true
		p.Checkpoint = eventstore.Checkpoint{
			Store: c.Store, Place: eventstore.Place{Position: c.Position, Stream: c.Stream, Version: c.Version, ID: c.ID},
		}
	}
	return p, nil
}

func encodeProgress(p adapter.Progress) ([]byte, error) {
	s := storedProgress{Epoch: p.Lease.Epoch, Owner: p.Lease.Owner, Renewals: p.Lease.Renewals, TTL: p.Lease.TTL}
	if place := p.Checkpoint.Place; p.Found {
		s.Checkpoint = &storedCheckpoint{Store: p.Checkpoint.Store, Position: place.Position, Stream: place.Stream, Version: place.Version, ID: place.ID}
	}
	return json.Marshal(s)
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
	p, err := decodeProgress(req.Name, stored)
	return p.Load(req.Name), err
}

// change replaces what is stored under a name by what change makes of it, as one
// step. It is left as it is where change returns false.
func (c checkpoints) change(ctx context.Context, name string, change func(p *adapter.Progress) (bool, error)) error {
	if err := c.b.ready(ctx); err != nil {
		return err
	}
	return c.b.save(ctx, c.b.names.checkpoint(name), func(stored record) (*record, error) {
		p, err := decodeProgress(name, stored)
		if err != nil {
			return nil, err
		}
		if changed, err := change(&p); err != nil || !changed {
			return nil, err
		}
		data, err := encodeProgress(p)
		return &record{kind: kindCheckpoint, json: true, data: data, listed: name}, err
	})
}

func (c checkpoints) Save(ctx context.Context, req eventstore.SaveCheckpointRequest) error {
	return c.change(ctx, req.Checkpoint.Name, func(p *adapter.Progress) (bool, error) { return p.Save(req) })
}

func (c checkpoints) Delete(ctx context.Context, req eventstore.DeleteCheckpointRequest) error {
	return c.change(ctx, req.Name, func(p *adapter.Progress) (bool, error) {
		if *p == (adapter.Progress{}) {
			return false, nil // there never was one
		}
		p.Delete()
		return true, nil
	})
}

func (c checkpoints) SwapLease(ctx context.Context, req eventstore.SwapLeaseRequest) (result eventstore.SwapLeaseResult, err error) {
	err = c.change(ctx, req.Name, func(p *adapter.Progress) (bool, error) {
		result = p.SwapLease(req)
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
	if err != nil && !errors.Is(err, errNoStream) {
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
func (b *Backend) index(ctx context.Context, name string) error {
	_, _, err := b.conn.appendTo(ctx, b.names.checkpoints(), anyVersion, []proposed{{eventType: kindName, data: []byte(name)}})
	return err
}
