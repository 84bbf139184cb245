package move

import (
	"context"
	"fmt"
	"strings"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// ForRetries tells whether a checkpoint is one that Run keeps for the retries of parked
// events. They travel as subscriptions' do, and no report names them.
func ForRetries(name string) bool {
	return strings.HasPrefix(name, eventstore.RetriedPrefix) || strings.HasPrefix(name, eventstore.ParkedReadPrefix)
}

// carry gives TO a checkpoint that FROM keeps of another store, a read model's, as it is:
// that store is not moved. TO's own of that name, which is of yet another one, is left.
func (m *mover) carry(ctx context.Context, checkpoint eventstore.Checkpoint, result eventstore.LoadCheckpointResult) error {
	there, here := result.Checkpoint, checkpoint.Place
	if result.Found && there.Store != checkpoint.Store {
		m.report.NotProved = append(m.report.NotProved, fmt.Sprintf(
			"which checkpoint %q is wanted: FROM's, of store %s at %s, or TO's, of store %s at %s, which is left",
			checkpoint.Name, checkpoint.Store, here.Position, there.Store, there.Place.Position))
		return nil
	}
	carried := TranslatedCheckpoint{
		Name: checkpoint.Name, Of: checkpoint.Store, Stream: here.Stream, Version: here.Version, EventID: here.ID,
		Old: here.Position, New: here.Position,
	}
	if result.Found && here.Position.Before(there.Place.Position) {
		carried.SetBackFrom = there.Place.Position
	}
	if err := m.noteLeft(ctx, checkpoint); err != nil {
		return err
	}
	if err := m.put(ctx, checkpoint, result); err != nil {
		return err
	}
	m.list(carried)
	return nil
}

// list puts a checkpoint into the report, where it is a subscription's.
func (m *mover) list(c TranslatedCheckpoint) {
	if ForRetries(c.Name) {
		m.report.RetryCheckpoints++
		return
	}
	m.report.Checkpoints = append(m.report.Checkpoints, c)
}
