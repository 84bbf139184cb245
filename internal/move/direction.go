package move

import (
	"context"
	"fmt"
	"strings"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
)

const wayBackPrefix = "switchyard-moving-back-from-"

// wayBackName is the checkpoint in which an old store keeps, while it lasts, that it is
// moved back to. As long as it is there the other store is the one in use, also where
// both are sealed.
func wayBackName(from uuid.UUID) string { return wayBackPrefix + from.String() }

// isDone tells whether TO was moved from FROM, which has not changed since.
func (m *mover) isDone(ctx context.Context) (bool, error) {
	origin, found, err := originOf(ctx, m.to, m.fromInfo.ID)
	if err != nil || !found || origin != m.fromInfo.Head || m.toInfo.Sealed {
		return false, err
	}
	if m.from.Store.Capabilities().Seal.Supported() && !m.fromInfo.Sealed {
		return false, nil
	}
	m.report.Already, m.report.Done = true, true
	m.report.Seal, m.report.Sealed, m.report.SealReason = origin.Position, m.fromInfo.Sealed, m.fromInfo.SealReason
	return true, nil
}

// wayBack finds out whether TO was moved to FROM. One that is sealed is allowed only
// then, and where it has stayed as it was.
func (m *mover) wayBack(ctx context.Context) error {
	origin, found, err := originOf(ctx, m.from, m.toInfo.ID)
	if err != nil {
		return err
	}
	begun, err := goesBack(ctx, m.to, m.fromInfo.ID)
	if err != nil {
		return err
	}
	m.back, m.reopen = found, found && (m.toInfo.Sealed || begun && m.to.Store.Capabilities().Seal.Supported())
	if !m.toInfo.Sealed {
		return nil
	}
	if !found {
		return refuse("TO is sealed, and FROM was not moved from it: %s", m.toInfo.SealReason)
	}
	ours := origin == m.toInfo.Head
	if !ours { // or what an earlier run of the way back has copied
		if ours, err = m.headIsFromFROM(ctx); err != nil {
			return err
		}
	}
	if !ours {
		return refuse("TO is sealed, and its last event is at %s, not at %s as when it was moved to FROM: it was unsealed and written to; move into a fresh store", m.toInfo.Head, origin)
	}
	return nil
}

// wrongWay refuses a move of the old store into the new one, once the way back was
// begun: TO is the live store then, and its checkpoints would be overwritten with
// FROM's older ones.
func (m *mover) wrongWay(ctx context.Context) error {
	begun, err := goesBack(ctx, m.from, m.toInfo.ID)
	if err != nil || !begun {
		return err
	}
	return refuse("FROM was moved to TO, and the way back has begun and not ended: TO is the store that is in use; move it to FROM, or into a fresh store")
}

// goesBack tells whether a side is being moved back to from another store.
func goesBack(ctx context.Context, side Side, from uuid.UUID) (bool, error) {
	if side.Checkpoints == nil {
		return false, nil
	}
	result, err := side.Checkpoints.Load(ctx, eventstore.LoadCheckpointRequest{Name: wayBackName(from)})
	if err != nil {
		return false, fmt.Errorf("load whether %s is moved back to: %w", side.Name, err)
	}
	return result.Found, nil
}

// setOut notes in TO that it is moved back to, before anything is done to either store.
func (m *mover) setOut(ctx context.Context) error {
	if !m.back {
		return nil
	}
	return m.keep(ctx, eventstore.Checkpoint{Name: wayBackName(m.fromInfo.ID), Store: m.fromInfo.ID, Place: m.fromInfo.Head})
}

// arrive ends the way back. It comes before the mark, so that no TO which is in use is
// ever taken for one that is being moved back to, and closed.
func (m *mover) arrive(ctx context.Context) error {
	begun, err := goesBack(ctx, m.to, m.fromInfo.ID)
	if err != nil || !begun {
		return err
	}
	if err := m.to.Checkpoints.Delete(ctx, eventstore.DeleteCheckpointRequest{Name: wayBackName(m.fromInfo.ID)}); err != nil {
		return fmt.Errorf("TO: forget the way back: %w", err)
	}
	return nil
}

func isWayBack(name string) bool { return strings.HasPrefix(name, wayBackPrefix) }
