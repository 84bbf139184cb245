package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
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

// progress is what is kept under a subscription's name: its checkpoint, where one
// is found, and its lease. Their epochs are one.
type progress struct {
	checkpoint eventstore.Checkpoint
	found      bool
	lease      eventstore.Lease
}

// fence begins a new epoch that nobody owns, so that the owner cannot save. Where
// nobody ever took the lease there is no owner.
func (p *progress) fence() {
	if p.lease.Epoch > 0 {
		p.lease = eventstore.Lease{Name: p.lease.Name, Epoch: p.lease.Epoch + 1}
	}
}

// progress reads what is kept under a name; ok is false where nothing is.
func (c *conn) progress(name string) (p progress, ok bool, err error) {
	row, ok, err := c.row(loadProgress, progressCount, name)
	if err != nil || !ok {
		return progress{checkpoint: eventstore.Checkpoint{Name: name}}, false, err
	}
	p, err = decodeProgress(row)
	return p, err == nil, err
}

func decodeProgress(row []driver.Value) (p progress, err error) {
	name, ok1 := row[0].(string)
	epoch, ok2 := row[6].(int64)
	owner, ok3 := row[7].(string)
	renewals, ok4 := row[8].(int64)
	ttl, ok5 := row[9].(int64)
	if !ok1 || !ok2 || !ok3 || !ok4 || !ok5 {
		return progress{}, errors.New("the row is not a checkpoint; delete it")
	}
	p.checkpoint = eventstore.Checkpoint{Name: name, Epoch: uint64(epoch)}
	if epoch > 0 {
		p.lease = eventstore.Lease{Name: name, Epoch: uint64(epoch), Owner: owner, Renewals: uint64(renewals), TTL: time.Duration(ttl)}
	}
	store, found := row[1].([]byte)
	if !found {
		return p, nil
	}
	p.found = true
	position, ok1 := row[2].(string)
	stream, ok2 := row[3].(string)
	version, ok3 := row[4].(int64)
	event, ok4 := row[5].([]byte)
	if !ok1 || !ok2 || !ok3 || !ok4 {
		return progress{}, errors.New("the row is not a checkpoint; delete it")
	}
	p.checkpoint.Place.Stream, p.checkpoint.Place.Version = stream, uint64(version)
	var errs [3]error
	p.checkpoint.Store, errs[0] = uuid.FromBytes(store)
	p.checkpoint.Place.ID, errs[1] = uuid.FromBytes(event)
	p.checkpoint.Place.Position, errs[2] = eventstore.ParsePosition(position)
	return p, errors.Join(errs[:]...)
}

// save stores what is kept under the checkpoint's name.
func (p progress) save(c *conn) error {
	args := []driver.Value{
		p.checkpoint.Name, nil, nil, nil, nil, nil,
		int64(p.lease.Epoch), p.lease.Owner, int64(p.lease.Renewals), int64(p.lease.TTL),
	}
	if place := p.checkpoint.Place; p.found {
		copy(args[1:], []driver.Value{p.checkpoint.Store[:], place.Position.String(), place.Stream, int64(place.Version), place.ID[:]})
	}
	_, err := c.exec(saveProgress, args...)
	return err
}

type checkpoints struct{ b *Backend }

func (s checkpoints) Load(ctx context.Context, req eventstore.LoadCheckpointRequest) (eventstore.LoadCheckpointResult, error) {
	return withReader(ctx, s.b, "load checkpoint", func(c *conn) (eventstore.LoadCheckpointResult, error) {
		stored, _, err := c.progress(req.Name)
		return eventstore.LoadCheckpointResult{Checkpoint: stored.checkpoint, Found: stored.found}, err
	})
}

func (s checkpoints) Save(ctx context.Context, req eventstore.SaveCheckpointRequest) error {
	checkpoint := req.Checkpoint
	lost, err := change(ctx, s.b, "save checkpoint", func(w *writer) (lost *eventstore.LeaseLostError, err error) {
		stored, _, err := w.conn.progress(checkpoint.Name)
		switch {
		case err != nil:
			return nil, err
		case req.Reset:
			stored.fence()
		case checkpoint.Epoch < stored.lease.Epoch:
			return &eventstore.LeaseLostError{Name: checkpoint.Name, Epoch: checkpoint.Epoch, Stored: stored.lease.Epoch}, nil
		case stored.found && !stored.checkpoint.Place.Position.Before(checkpoint.Place.Position):
			return nil, nil //nolint:nilnil // it only moves forward
		}
		stored.checkpoint, stored.found = checkpoint, true
		return nil, stored.save(w.conn)
	})
	if err == nil && lost != nil {
		return lost
	}
	return err
}

func (s checkpoints) Delete(ctx context.Context, req eventstore.DeleteCheckpointRequest) error {
	_, err := change(ctx, s.b, "delete checkpoint", func(w *writer) (struct{}, error) {
		stored, ok, err := w.conn.progress(req.Name)
		if err != nil || !ok {
			return struct{}{}, err
		}
		stored.fence()
		stored.found = false
		return struct{}{}, stored.save(w.conn)
	})
	return err
}

func (s checkpoints) List(ctx context.Context, req eventstore.ListCheckpointsRequest) (eventstore.ListCheckpointsResult, error) {
	return withReader(ctx, s.b, "list checkpoints", func(c *conn) (result eventstore.ListCheckpointsResult, err error) {
		err = c.each(listProgress, progressCount, func(row []driver.Value) error {
			stored, err := decodeProgress(row)
			result.Checkpoints = append(result.Checkpoints, stored.checkpoint)
			return err
		}, req.After, int64(req.Limit))
		return result, err
	})
}

func (s checkpoints) SwapLease(ctx context.Context, req eventstore.SwapLeaseRequest) (eventstore.SwapLeaseResult, error) {
	return change(ctx, s.b, "swap lease", func(w *writer) (eventstore.SwapLeaseResult, error) {
		stored, _, err := w.conn.progress(req.Name)
		if err != nil || !stored.lease.Same(req.Old) {
			return eventstore.SwapLeaseResult{Lease: stored.lease}, err
		}
		stored.lease = req.New
		return eventstore.SwapLeaseResult{Lease: stored.lease, Swapped: true}, stored.save(w.conn)
	})
}
