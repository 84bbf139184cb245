package move

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
)

const underWayPrefix = "switchyard-moving-from-"

// underWayName is the checkpoint in which TO keeps, from before the first event is
// written until the move has ended, that it is being moved to from another store, and
// the mark of an earlier move from there. As long as it has no other mark beside it, that
// other store is the one in use, also where both are sealed.
func underWayName(from uuid.UUID) string { return underWayPrefix + from.String() }

func isUnderWay(name string) bool { return strings.HasPrefix(name, underWayPrefix) }

// isDone tells whether TO was moved from FROM, which has not changed since.
func (m *mover) isDone(ctx context.Context) (bool, error) {
	origin, found, err := originOf(ctx, m.to, m.fromInfo.ID)
	if err != nil || !found || origin != m.fromInfo.Head || m.toInfo.Sealed {
		return false, err
	}
	if m.from.Store.Capabilities().Seal.Supported() && !m.fromInfo.Sealed {
		return false, nil
	}
	if _, unended, err := unfinished(ctx, m.to, m.fromInfo.ID); unended || err != nil {
		return false, err
	}
	m.report.Already, m.report.Done = true, true
	m.report.Seal, m.report.Sealed, m.report.SealReason = origin.Position, m.fromInfo.Sealed, m.fromInfo.SealReason
	m.noteEnded(ctx) // where a run was killed before it did
	return true, m.forgetUnderWay(ctx)
}

// isDoneNow looks again, for another run may have ended the move since.
func (m *mover) isDoneNow(ctx context.Context) (done bool, err error) {
	if m.fromInfo, err = m.from.Store.Info(ctx); err != nil {
		return false, fmt.Errorf("FROM: %w", err)
	}
	if m.toInfo, err = m.to.Store.Info(ctx); err != nil {
		return false, fmt.Errorf("TO: %w", err)
	}
	return m.isDone(ctx)
}

// errOtherRun ends a run of a move that was ended by another one. TO is in use then.
var errOtherRun = fmt.Errorf("%w: it was finished by another run, and this one changes nothing more; run it again to see that it is done", ErrRefused)

// stillUnderWay refuses to go on where another run has ended the move. It is asked before
// each step that a store in use would not bear.
func (m *mover) stillUnderWay(ctx context.Context) error {
	_, unended, err := unfinished(ctx, m.to, m.fromInfo.ID)
	if err == nil && !unended {
		err = errOtherRun
	}
	return err
}

// wayBack finds out whether TO was moved to FROM. One that is sealed is allowed only
// then, and where it has stayed as it was.
func (m *mover) wayBack(ctx context.Context) error {
	origin, found, err := originOf(ctx, m.from, m.toInfo.ID)
	if err != nil {
		return err
	}
	_, begun, err := unfinished(ctx, m.to, m.fromInfo.ID)
	if err != nil {
		return err
	}
	m.begun, m.unchanged = begun, found && origin == m.toInfo.Head
	m.back, m.reopen = found, found && (m.toInfo.Sealed || begun && m.to.Store.Capabilities().Seal.Supported())
	if !m.toInfo.Sealed {
		return nil
	}
	if !found {
		return refuse("TO is sealed, and FROM was not moved from it: %s", m.toInfo.SealReason)
	}
	ours := m.unchanged
	if !ours { // or what an earlier run of the way back has copied
		if ours, err = m.headIsFromFROM(ctx); err != nil {
			return err
		}
	}
	if !ours {
		return m.wentAstray(ctx, fmt.Sprintf("TO is sealed, and its last event is at %s, not at %s as when it was moved to FROM: it was unsealed and written to", m.toInfo.Head, origin))
	}
	if !begun && !sealedFor(m.toInfo, m.fromInfo.ID) { // a way back that was given up is closed by hand, and can go on
		return m.sealedSince()
	}
	return nil
}

func (m *mover) sealedSince() error {
	if strings.HasPrefix(m.toInfo.SealReason, sealPrefix) {
		return refuse("TO was moved to FROM once, and to another store since, which is the one in use: %s. Move that one", m.toInfo.SealReason)
	}
	return refuse("TO was moved to FROM once, and is sealed since for something else: %s. If it is to be moved to all the same, see that nobody needs it closed, unseal it, and run the move again", m.toInfo.SealReason)
}

// wrongWay refuses a FROM that is itself the target of a move which has not ended, from
// TO or from any other store: it holds a part of that store, which is the one in use.
func (m *mover) wrongWay(ctx context.Context) error {
	if m.from.Checkpoints == nil || !m.from.Store.Capabilities().Checkpoints.Supported() {
		return nil
	}
	for checkpoint, err := range m.from.Store.ListCheckpoints(ctx) {
		if err != nil {
			return fmt.Errorf("FROM: %w", err)
		}
		if isAstray(checkpoint.Name) && checkpoint.Store != m.toInfo.ID {
			m.reportAstray(checkpoint)
		}
		if !isUnderWay(checkpoint.Name) {
			continue
		}
		switch _, ends, err := unfinished(ctx, m.from, checkpoint.Store); {
		case err != nil:
			return err
		case ends:
			return m.wrongWayFrom(ctx, checkpoint)
		}
	}
	return nil
}

func (m *mover) wrongWayFrom(ctx context.Context, record eventstore.Checkpoint) error {
	if record.Store == m.toInfo.ID {
		_, back, err := originOf(ctx, m.to, m.fromInfo.ID)
		switch {
		case err != nil:
			return err
		case back:
			return m.wrongWayBack(ctx)
		}
	}
	return refuse("a move into FROM from store %s has begun and not ended: FROM holds a part of that store, which is the one in use. "+
		"Run that move again, or move that store; if it is gone for good and FROM is to be used as it is, switchyard checkpoint delete %s %s",
		record.Store, m.from.Name, record.Name)
}

func (m *mover) wrongWayBack(ctx context.Context) error {
	const inUse = "FROM was moved to TO, and the way back has begun and not ended: TO is the store that is in use; "
	stray, err := m.to.Checkpoints.Load(ctx, eventstore.LoadCheckpointRequest{Name: astrayName(m.fromInfo.ID)})
	switch {
	case err != nil:
		return fmt.Errorf("TO: load whether FROM holds more: %w", err)
	case stray.Found:
		return refuse(inUse+"FROM holds events that TO does not, from version %d of stream %q on; switchyard move %s %s says how they are brought over",
			stray.Checkpoint.Place.Version, stray.Checkpoint.Place.Stream, m.to.Name, m.from.Name)
	}
	return refuse(inUse + "move it to FROM, or into a fresh store")
}

// unfinished tells whether a side is being moved to from another store, by a move that
// has not ended; before is where an earlier move had ended.
func unfinished(ctx context.Context, side Side, from uuid.UUID) (before eventstore.Place, is bool, err error) {
	if side.Checkpoints == nil {
		return eventstore.Place{}, false, nil
	}
	mark, marked, err := originOf(ctx, side, from) // before the note, which goes last
	if err != nil {
		return eventstore.Place{}, false, err
	}
	result, err := side.Checkpoints.Load(ctx, eventstore.LoadCheckpointRequest{Name: underWayName(from)})
	if err != nil {
		return eventstore.Place{}, false, fmt.Errorf("load whether %s is being moved to: %w", side.Name, err)
	}
	before = result.Checkpoint.Place
	return before, result.Found && (!marked || mark == before), nil
}

// movedBefore tells whether FROM was moved to TO before this move.
func (m *mover) movedBefore(ctx context.Context) (bool, error) {
	if _, moved, err := originOf(ctx, m.to, m.fromInfo.ID); moved || err != nil {
		return moved, err
	}
	before, _, err := unfinished(ctx, m.to, m.fromInfo.ID)
	return !before.IsZero(), err
}

// setOut notes in TO that it is being moved to, before anything is done to either store.
// The mark of an earlier move stays, and the note says which it is. Each run takes an
// epoch of the note's name: one that is suspended here, and goes on when another one has
// ended the move, makes no part of TO.
func (m *mover) setOut(ctx context.Context) error {
	name := underWayName(m.fromInfo.ID)
	for {
		note, err := m.loadTO(ctx, name) // its epoch first: whatever happens from here on raises it
		if err != nil {
			return err
		}
		before, marked, err := originOf(ctx, m.to, m.fromInfo.ID)
		if err != nil {
			return err
		}
		if !marked {
			before = note.Checkpoint.Place
		}
		if done, err := m.isDoneNow(ctx); done || err != nil {
			return err
		}
		taken := eventstore.Lease{Name: name, Epoch: note.Checkpoint.Epoch + 1} // nobody's, as the one before
		swap, err := m.to.Checkpoints.SwapLease(ctx, eventstore.SwapLeaseRequest{
			Name: name, Old: eventstore.Lease{Name: name, Epoch: note.Checkpoint.Epoch}, New: taken,
		})
		if err == nil && !swap.Swapped {
			continue
		}
		if err == nil {
			err = m.to.Checkpoints.Save(ctx, eventstore.SaveCheckpointRequest{
				Checkpoint: eventstore.Checkpoint{Name: name, Store: m.fromInfo.ID, Place: before, Epoch: taken.Epoch},
			})
		}
		switch {
		case errors.Is(err, eventstore.ErrLeaseLost):
			continue
		case err != nil:
			return fmt.Errorf("TO: note that it is being moved to: %w", err)
		}
		m.underWay = true
		return nil
	}
}

// arrive ends the move: with the mark it has ended, whether or not the note is there. Where
// that is an earlier move's too, since nothing was appended, it ends when the note goes.
func (m *mover) arrive(ctx context.Context) error {
	if err := m.stillUnderWay(ctx); err != nil {
		return err
	}
	mark := eventstore.Checkpoint{Name: eventstore.OriginName(m.fromInfo.ID), Store: m.fromInfo.ID, Place: m.seal}
	// Not reset: a run that is suspended here sets no later mark back.
	if err := m.to.Checkpoints.Save(ctx, eventstore.SaveCheckpointRequest{Checkpoint: mark}); err != nil {
		return fmt.Errorf("TO: save checkpoint %q: %w", mark.Name, err)
	}
	return m.forgetUnderWay(ctx)
}

func (m *mover) forgetUnderWay(ctx context.Context) error {
	name := underWayName(m.fromInfo.ID)
	result, err := m.to.Checkpoints.Load(ctx, eventstore.LoadCheckpointRequest{Name: name})
	if err == nil && result.Found {
		err = m.to.Checkpoints.Delete(ctx, eventstore.DeleteCheckpointRequest{Name: name})
	}
	if err != nil {
		return fmt.Errorf("TO: forget that it is being moved to: %w", err)
	}
	return nil
}
