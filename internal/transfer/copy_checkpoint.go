package transfer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// A copy notes how far it is at this interval, and once more when it ends.
const checkpointEvery, lastSaveTimeout = time.Second, 5 * time.Second

// The names of a copy's two checkpoints in its target. The first holds a
// position of the source, the second one of the target.
func copiedName(source uuid.UUID) string  { return "switchyard-copied-from-" + source.String() }
func checkedName(source uuid.UUID) string { return "switchyard-checked-against-" + source.String() }

// load takes up the checkpoints of an earlier copy. One that does not fit, as
// after a store was restored from a backup, is passed over: the copy then starts
// from the beginning, which is slower and as right.
func (c *copier) load(ctx context.Context, source, target eventstore.Info) error {
	if c.opts.Checkpoints == nil {
		return nil
	}
	position := func(name string, store eventstore.Info) (eventstore.Position, error) {
		checkpoint, ok, err := c.opts.Checkpoints.Load(ctx, name)
		if err != nil {
			return eventstore.Position{}, fmt.Errorf("load the copy's checkpoint: %w", err)
		}
		if !ok || checkpoint.Store != store.ID || store.Head.Before(checkpoint.Position) {
			return eventstore.Position{}, nil
		}
		return checkpoint.Position, nil
	}
	copied, errCopied := position(copiedName(source.ID), source)
	checked, errChecked := position(checkedName(source.ID), target)
	if copied.IsZero() || checked.IsZero() {
		copied, checked = eventstore.Position{}, eventstore.Position{}
	}
	c.copied, c.checked = copied, checked
	return errors.Join(errCopied, errChecked)
}

// save notes how far the copy is. Each checkpoint is true by itself, so a crash
// between the two does no harm.
func (c *copier) save(ctx context.Context) error {
	c.saved = time.Now()
	if c.opts.Checkpoints == nil {
		return nil
	}
	for _, checkpoint := range []eventstore.Checkpoint{
		{Name: copiedName(c.sourceID), Store: c.sourceID, Position: c.copied},
		{Name: checkedName(c.sourceID), Store: c.targetID, Position: c.checked},
	} {
		if checkpoint.Position.IsZero() {
			continue
		}
		if err := c.opts.Checkpoints.Save(ctx, checkpoint); err != nil {
			return fmt.Errorf("save the copy's checkpoint: %w", err)
		}
	}
	return nil
}
