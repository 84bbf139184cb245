package move

import (
	"context"
	"fmt"
	"strings"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/cloudevents"
	"github.com/switchyard-dev/switchyard/internal/transfer"
)

const leftAtPrefix = "switchyard-moved-at-"

// leftAtName is the checkpoint in which TO keeps where FROM had one of its checkpoints
// when it was translated. On the way back it tells a subscription that was read on in
// the old store from one that was set back in the new one. Names have a limit, and so
// it is not the checkpoint's own.
func leftAtName(from uuid.UUID, name string) string {
	return leftAtPrefix + uuid.NewSHA1(from, []byte(name)).String()
}

func isLeftAt(name string) bool { return strings.HasPrefix(name, leftAtPrefix) }

// leftAt returns where TO had a checkpoint when it was moved to FROM, and whether that
// is known: FROM has had it from there then.
func (m *mover) leftAt(ctx context.Context, name string) (eventstore.Place, bool, error) {
	if m.from.Checkpoints == nil {
		return eventstore.Place{}, false, nil
	}
	result, err := m.from.Checkpoints.Load(ctx, eventstore.LoadCheckpointRequest{Name: leftAtName(m.toInfo.ID, name)})
	if err != nil {
		return eventstore.Place{}, false, fmt.Errorf("FROM: load where TO had checkpoint %q: %w", name, err)
	}
	return result.Checkpoint.Place, result.Found, nil
}

// readOn tells whether a checkpoint of TO is further on than FROM's because an old process
// went on in TO after it was moved to FROM: what it has handled is handled. One that was
// set back in FROM since is to be handled anew, and so is what FROM does not hold.
func (m *mover) readOn(ctx context.Context, name string, place, further eventstore.Place) (bool, error) {
	if !m.back {
		return false, nil
	}
	at, known, err := m.leftAt(ctx, name)
	if err != nil || !known || place.Position.Before(at.Position) {
		return false, err
	}
	_, holds, err := transfer.Translate(ctx, m.from.Store, cloudevents.Source(m.toInfo.ID), further)
	if err != nil {
		return false, fmt.Errorf("FROM: %w", err)
	}
	return holds, nil
}

// noteLeft keeps in TO where FROM has a checkpoint.
func (m *mover) noteLeft(ctx context.Context, checkpoint eventstore.Checkpoint) error {
	return m.keep(ctx, eventstore.Checkpoint{Name: leftAtName(m.fromInfo.ID, checkpoint.Name), Store: m.fromInfo.ID, Place: checkpoint.Place})
}
