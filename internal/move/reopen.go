package move

import (
	"context"
	"fmt"
	"strings"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
)

const endedPrefix = "switchyard-moved-to-"

// endedName is the checkpoint in which FROM keeps, behind its seal, that a move to
// another store has ended: its place is FROM's last event then. Nothing depends on it
// but [Reopen]; a FROM that is opened and written to has another last event.
func endedName(to uuid.UUID) string { return endedPrefix + to.String() }

func isEnded(name string) bool { return strings.HasPrefix(name, endedPrefix) }

// noteEnded tells FROM that the move has ended. It has, whether or not this can be noted.
func (m *mover) noteEnded(ctx context.Context) {
	if m.opts.DryRun || !m.report.Sealed || !m.from.Store.Capabilities().Checkpoints.Supported() {
		return
	}
	err := m.from.Checkpoints.Save(ctx, eventstore.SaveCheckpointRequest{Reset: true, Checkpoint: eventstore.Checkpoint{
		Name: endedName(m.toInfo.ID), Store: m.toInfo.ID, Place: m.fromInfo.Head,
	}})
	if err != nil {
		m.tell("FROM is not told that the move has ended, so that unseal would open it without a question: %v", err)
	}
}

// Reopen lifts the seal of a store. Where a move away from it has ended, so that the other
// store may be in use, it does so only where the caller knows better; warn hears of
// what to look after.
func Reopen(ctx context.Context, side Side, althoughMoved bool, warn func(string)) (eventstore.Info, error) {
	info, err := side.Store.Info(ctx)
	if err != nil {
		return eventstore.Info{}, err
	}
	to, moved := movedTo(info)
	if !moved {
		return side.Store.Unseal(ctx)
	}
	ended, back, err := movesWith(ctx, side, to, info.Head)
	if err != nil {
		return eventstore.Info{}, err
	}
	const two = "what is appended to both is brought together by nobody"
	switch {
	case ended && !althoughMoved:
		return eventstore.Info{}, refuse("%s is %s. That move has ended, and applications may write there: %s. "+
			"To go back, move that store to %s. If nobody writes to it and nobody will (switchyard seal), open %s all the same: switchyard unseal %s --although-moved",
			side.Name, info.SealReason, two, side.Name, side.Name, side.Name)
	case ended:
		warn(fmt.Sprintf("%s was %s, and that move has ended: see that nobody writes to that store, for %s", side.Name, info.SealReason, two))
	case back:
		warn(fmt.Sprintf("%s was %s, from where it had come, and that way back has not ended: see that the other store is sealed, for %s", side.Name, info.SealReason, two))
	default:
		warn(fmt.Sprintf("%s was %s, and that move has not ended: run it again when it is to go on, and let nobody write to that store before it has ended", side.Name, info.SealReason))
	}
	return side.Store.Unseal(ctx)
}

// movedTo returns where a store's seal says that it moved to, and whether it says so.
func movedTo(info eventstore.Info) (to uuid.UUID, moved bool) {
	at := strings.LastIndex(info.SealReason, sealedStore)
	if !info.Sealed || at < 0 || !strings.HasPrefix(info.SealReason, sealPrefix) {
		return uuid.Nil, false
	}
	to, err := uuid.Parse(strings.TrimSuffix(info.SealReason[at+len(sealedStore):], ")"))
	return to, err == nil
}

// movesWith tells whether a move of a side, whose last event is head, to another store has
// ended, and whether the side was moved from there before.
func movesWith(ctx context.Context, side Side, to uuid.UUID, head eventstore.Place) (ended, back bool, err error) {
	if side.Checkpoints == nil || !side.Store.Capabilities().Checkpoints.Supported() {
		return false, false, nil
	}
	note, err := side.Checkpoints.Load(ctx, eventstore.LoadCheckpointRequest{Name: endedName(to)})
	if err != nil {
		return false, false, fmt.Errorf("load whether a move of %s has ended: %w", side.Name, err)
	}
	_, back, err = originOf(ctx, side, to)
	return note.Found && note.Checkpoint.Place == head, back, err
}
