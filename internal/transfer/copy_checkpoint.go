package transfer

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// A copy notes how far it is at this interval, and once more when it ends.
const checkpointEvery, lastSaveTimeout = time.Second, 5 * time.Second

// The names of a copy's two checkpoints in its target. The first holds a place in
// the source, the second one in the target.
func copiedName(source uuid.UUID) string  { return "switchyard-copied-from-" + source.String() }
func checkedName(source uuid.UUID) string { return "switchyard-checked-against-" + source.String() }

// load takes up the checkpoints of an earlier copy. One that does not fit, as
// after a store was restored from a backup, is passed over: all of the target is then
// compared with the source, which is slower and as right, and finds what the source
// does not hold any more.
func (c *copier) load(ctx context.Context, source, target eventstore.Info) error {
	if c.opts.Checkpoints == nil {
		return nil
	}
	copied, lost, err := c.loadPlace(ctx, copiedName(source.ID), c.source, source)
	if err != nil {
		return err
	}
	c.lost = lost
	checked, _, err := c.loadPlace(ctx, checkedName(source.ID), c.target, target)
	if err != nil {
		return err
	}
	if copied.IsZero() || checked.IsZero() {
		copied, checked = eventstore.Place{}, eventstore.Place{}
	}
	c.copied, c.checked = copied, checked
	return nil
}

// loadPlace returns the place of a checkpoint, if its store still holds that very
// event there, and otherwise as lost: a store that was restored from a backup may have
// given the position to another.
func (c *copier) loadPlace(ctx context.Context, name string, store *eventstore.Store, info eventstore.Info) (place, lost eventstore.Place, err error) {
	result, err := c.opts.Checkpoints.Load(ctx, eventstore.LoadCheckpointRequest{Name: name})
	if err != nil {
		return place, lost, fmt.Errorf("load the copy's checkpoint: %w", err)
	}
	stored := result.Checkpoint.Place
	if !result.Found || result.Checkpoint.Store != info.ID || !stored.Named() {
		return place, lost, nil
	}
	event, ok, err := eventAt(ctx, store, stored.Stream, stored.Version)
	if err != nil {
		return place, lost, fmt.Errorf("look at the copy's checkpoint: %w", err)
	}
	if !ok || event.Place() != stored {
		return place, stored, nil
	}
	return stored, lost, nil
}

// save notes how far the copy is. Each checkpoint is true by itself, so a crash
// between the two does no harm.
func (c *copier) save(ctx context.Context) error {
	c.saved = time.Now()
	if c.opts.Checkpoints == nil {
		return nil
	}
	for _, checkpoint := range []eventstore.Checkpoint{
		{Name: copiedName(c.sourceID), Store: c.sourceID, Place: c.copied},
		{Name: checkedName(c.sourceID), Store: c.targetID, Place: c.checked},
	} {
		if checkpoint.Place.IsZero() {
			continue
		}
		if err := c.opts.Checkpoints.Save(ctx, eventstore.SaveCheckpointRequest{Checkpoint: checkpoint}); err != nil {
			return fmt.Errorf("save the copy's checkpoint: %w", err)
		}
	}
	return nil
}
