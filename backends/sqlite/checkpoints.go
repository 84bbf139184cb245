package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventstore/adapter"
)

const (
	progressColumns = `name, store, position, stream, version, event, epoch, owner, renewals, ttl`
	progressCount   = 10
	loadProgress    = `SELECT ` + progressColumns + ` FROM checkpoints WHERE name = ?`
	listProgress    = `SELECT ` + progressColumns + ` FROM checkpoints WHERE name > ? AND store IS NOT NULL ORDER BY name LIMIT ?`
	saveProgress    = `INSERT INTO checkpoints (` + progressColumns + `) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (name) DO UPDATE SET store = excluded.store, position = excluded.position, stream = excluded.stream, version = excluded.version, event = excluded.event,
	epoch = excluded.epoch, owner = excluded.owner, renewals = excluded.renewals, ttl = excluded.ttl`
)

// progress reads what is kept under a name; ok is false where nothing is.
func (c *conn) progress(name string) (p adapter.Progress, ok bool, err error) {
	row, ok, err := c.row(loadProgress, progressCount, name)
	if err != nil || !ok {
		return p, false, err
	}
	_, p, err = decodeProgress(row)
	return p, err == nil, err
}

func decodeProgress(row []driver.Value) (name string, p adapter.Progress, err error) {
	name, ok1 := row[0].(string)
	epoch, ok2 := row[6].(int64)
	owner, ok3 := row[7].(string)
	renewals, ok4 := row[8].(int64)
	ttl, ok5 := row[9].(int64)
	if !ok1 || !ok2 || !ok3 || !ok4 || !ok5 {
		return "", p, errors.New("the row is not a checkpoint; delete it")
	}
	if epoch > 0 {
		p.Lease = eventstore.Lease{Name: name, Epoch: uint64(epoch), Owner: owner, Renewals: uint64(renewals), TTL: time.Duration(ttl)}
	}
	store, found := row[1].([]byte)
	if !found {
		return name, p, nil
	}
	p.Found = true
	position, ok1 := row[2].(string)
	stream, ok2 := row[3].(string)
	version, ok3 := row[4].(int64)
	event, ok4 := row[5].([]byte)
	if !ok1 || !ok2 || !ok3 || !ok4 {
		return "", p, errors.New("the row is not a checkpoint; delete it")
	}
	place := &p.Checkpoint.Place
	place.Stream, place.Version = stream, uint64(version)
	var errs [3]error
	p.Checkpoint.Store, errs[0] = uuid.FromBytes(store)
	place.ID, errs[1] = uuid.FromBytes(event)
	place.Position, errs[2] = eventstore.ParsePosition(position)
	return name, p, errors.Join(errs[:]...)
}

// saveProgress stores what is kept under a name.
func (c *conn) saveProgress(name string, p adapter.Progress) error {
	args := []driver.Value{
		name, nil, nil, nil, nil, nil,
		int64(p.Lease.Epoch), p.Lease.Owner, int64(p.Lease.Renewals), int64(p.Lease.TTL),
	}
	if place := p.Checkpoint.Place; p.Found {
		copy(args[1:], []driver.Value{p.Checkpoint.Store[:], place.Position.String(), place.Stream, int64(place.Version), place.ID[:]})
	}
	_, err := c.exec(saveProgress, args...)
	return err
}

type checkpoints struct{ b *Backend }

func (s checkpoints) Load(ctx context.Context, req eventstore.LoadCheckpointRequest) (eventstore.LoadCheckpointResult, error) {
	return withReader(ctx, s.b, "load checkpoint", func(c *conn) (eventstore.LoadCheckpointResult, error) {
		stored, _, err := c.progress(req.Name)
		return stored.Load(req.Name), err
	})
}

func (s checkpoints) Save(ctx context.Context, req eventstore.SaveCheckpointRequest) error {
	name := req.Checkpoint.Name
	refused, err := change(ctx, s.b, "save checkpoint", func(w *writer) (refused error, err error) {
		stored, _, err := w.conn.progress(name)
		if err != nil {
			return nil, err
		}
		changed, refused := stored.Save(req)
		if refused != nil || !changed {
			return refused, nil
		}
		return nil, w.conn.saveProgress(name, stored)
	})
	if err != nil {
		return err
	}
	return refused
}

func (s checkpoints) Delete(ctx context.Context, req eventstore.DeleteCheckpointRequest) error {
	_, err := change(ctx, s.b, "delete checkpoint", func(w *writer) (struct{}, error) {
		stored, ok, err := w.conn.progress(req.Name)
		if err != nil || !ok {
			return struct{}{}, err
		}
		stored.Delete()
		return struct{}{}, w.conn.saveProgress(req.Name, stored)
	})
	return err
}

func (s checkpoints) List(ctx context.Context, req eventstore.ListCheckpointsRequest) (eventstore.ListCheckpointsResult, error) {
	return withReader(ctx, s.b, "list checkpoints", func(c *conn) (result eventstore.ListCheckpointsResult, err error) {
		err = c.each(listProgress, progressCount, func(row []driver.Value) error {
			name, stored, err := decodeProgress(row)
			result.Checkpoints = append(result.Checkpoints, stored.Load(name).Checkpoint)
			return err
		}, req.After, int64(req.Limit))
		return result, err
	})
}

func (s checkpoints) SwapLease(ctx context.Context, req eventstore.SwapLeaseRequest) (eventstore.SwapLeaseResult, error) {
	return change(ctx, s.b, "swap lease", func(w *writer) (eventstore.SwapLeaseResult, error) {
		stored, _, err := w.conn.progress(req.Name)
		if err != nil {
			return eventstore.SwapLeaseResult{}, err
		}
		result := stored.SwapLease(req)
		if result.Swapped {
			err = w.conn.saveProgress(req.Name, stored)
		}
		return result, err
	})
}
