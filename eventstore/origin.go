package eventstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
)

// OriginName is the name of the checkpoint in which a store remembers that it was
// moved from another one: Store is the other's identity, and Place its last event
// when it was moved. `switchyard move` writes it at its end.
//
// With it [Store.Run] accepts a checkpoint that an application keeps elsewhere and
// that names the other store: it goes on after the same event, found by its
// stream, version and ID. Until a store is moved that checkpoint is foreign.
func OriginName(store uuid.UUID) string { return "switchyard-moved-from-" + store.String() }

// errTranslated: a subscription's checkpoint was that of the store which this one
// was moved from, and is this one's now.
var errTranslated = errors.New("the checkpoint was translated")

// translate makes a checkpoint of another store one of this store: the place of the
// same event. It is refused as foreign where this store was not moved from the
// other, or lies beyond what was moved.
func (s *Store) translate(ctx context.Context, c Checkpoint, info Info) (Checkpoint, error) {
	foreign := &ForeignCheckpointError{Name: c.Name, Checkpoint: c.Store, Store: info.ID, Place: c.Place}
	checkpoints, err := s.checkpoints()
	if err != nil {
		return c, foreign
	}
	origin, err := checkpoints.Load(ctx, LoadCheckpointRequest{Name: OriginName(c.Store)})
	if err != nil {
		return c, err
	}
	if !origin.Found || origin.Checkpoint.Store != c.Store || origin.Checkpoint.Place.Position.Before(c.Place.Position) {
		return c, foreign
	}
	if c.Place.IsZero() {
		c.Store = info.ID
		return c, nil
	}
	if !c.Place.Named() || c.Place.Version == 0 {
		return c, foreign
	}
	page, err := s.readOne(ctx, c.Place.Stream, c.Place.Version)
	if err != nil {
		return c, err
	}
	if len(page.Events) == 0 || page.Events[0].ID != c.Place.ID {
		return c, foreign
	}
	c.Store, c.Place = info.ID, page.Events[0].Place()
	return c, nil
}

// takeOver stores a subscription's checkpoint of another store as this store's. It
// resets it, since places of two stores cannot be compared and a save may only go
// forward; that ends the lease, and Run takes it again. It returns errTranslated.
func (s *Store) takeOver(ctx context.Context, sub Subscription, foreign Checkpoint, info Info) error {
	own, err := patiently(ctx, s, sub.Name, func() (Checkpoint, error) { return s.translate(ctx, foreign, info) })
	if err != nil {
		return err
	}
	stored, err := patiently(ctx, s, sub.Name, func() (LoadCheckpointResult, error) {
		if err := sub.Checkpoints.Save(ctx, SaveCheckpointRequest{Checkpoint: own, Reset: true}); err != nil {
			return LoadCheckpointResult{}, err
		}
		return sub.Checkpoints.Load(ctx, LoadCheckpointRequest{Name: sub.Name})
	})
	switch {
	case err != nil:
		return fmt.Errorf("translate the checkpoint: %w", err)
	case stored.Found && stored.Checkpoint.Store == foreign.Store:
		return fmt.Errorf("translate the checkpoint: what keeps it does not reset it, and still says that it is store %s's", foreign.Store)
	}
	return errTranslated
}
