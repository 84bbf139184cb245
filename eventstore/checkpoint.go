package eventstore

import (
	"context"
)

// LoadCheckpoint returns the checkpoint of a named subscription, and whether
// there is one. It fails with ErrForeignCheckpoint where the checkpoint belongs
// to another store, and with ErrCheckpointAhead where it lies after the last event.
func (s *Store) LoadCheckpoint(ctx context.Context, name string) (Checkpoint, bool, error) {
	checkpoint, ok, err := s.loadCheckpoint(ctx, s.backend.Checkpoints(), name)
	return checkpoint, ok, opError("load checkpoint", name, err)
}

func (s *Store) loadCheckpoint(ctx context.Context, from Checkpoints, name string) (checkpoint Checkpoint, ok bool, err error) {
	if err := s.checkCheckpointName(ctx, name); err != nil {
		return Checkpoint{}, false, err
	}
	checkpoint, err = again(ctx, s, func() (Checkpoint, error) {
		c, found, err := from.Load(ctx, name)
		ok = found
		return c, err
	})
	if err != nil || !ok {
		return Checkpoint{}, false, err
	}
	return checkpoint, true, s.checkCheckpoint(ctx, checkpoint)
}

// SaveCheckpoint stores how far a named subscription has come. A checkpoint only
// moves forward: saving one at or before the stored position changes nothing.
// It fails with ErrForeignCheckpoint and ErrCheckpointAhead as LoadCheckpoint does.
func (s *Store) SaveCheckpoint(ctx context.Context, checkpoint Checkpoint) error {
	err := s.checkCheckpointName(ctx, checkpoint.Name)
	if err == nil {
		err = s.checkCheckpoint(ctx, checkpoint)
	}
	if err == nil {
		err = s.backend.Checkpoints().Save(ctx, checkpoint)
	}
	return opError("save checkpoint", checkpoint.Name, err)
}

// DeleteCheckpoint removes a checkpoint, so that its subscription starts anew.
// One that does not exist is no error.
func (s *Store) DeleteCheckpoint(ctx context.Context, name string) error {
	err := s.checkCheckpointName(ctx, name)
	if err == nil {
		err = s.backend.Checkpoints().Delete(ctx, name)
	}
	return opError("delete checkpoint", name, err)
}

func (s *Store) checkCheckpointName(ctx context.Context, name string) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	return checkText("name", name, maxNameBytes)
}

// checkCheckpoint holds a checkpoint against the store's identity and head.
func (s *Store) checkCheckpoint(ctx context.Context, c Checkpoint) error {
	info, err := s.info(ctx)
	switch {
	case err != nil:
		return err
	case c.Store != info.ID:
		return &ForeignCheckpointError{Name: c.Name, Checkpoint: c.Store, Store: info.ID}
	case info.Head.Before(c.Position):
		return &CheckpointAheadError{Name: c.Name, Position: c.Position, Head: info.Head}
	}
	return nil
}
