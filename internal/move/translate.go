package move

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/cloudevents"
	"github.com/switchyard-dev/switchyard/internal/transfer"
)

// translate gives TO every checkpoint that FROM keeps, at the same event's place,
// and in the end the mark that TO was moved from FROM: a move that is killed
// before it does all of this again, and one that finds the mark is done.
func (m *mover) translate(ctx context.Context) error {
	if m.from.Store.Capabilities().Checkpoints.Supported() {
		kept := make(map[string]struct{})
		for checkpoint, err := range m.from.Store.ListCheckpoints(ctx) {
			if err != nil {
				return fmt.Errorf("FROM: %w", err)
			}
			if err := m.translateOne(ctx, checkpoint); err != nil {
				return err
			}
			kept[checkpoint.Name] = struct{}{}
		}
		if err := m.dropOld(ctx, kept); err != nil {
			return err
		}
	}
	if err := m.stillClosed(ctx); err != nil {
		return err
	}
	return m.arrive(ctx)
}

// translateOne gives TO one checkpoint. Where somebody takes its lease in TO beside that, it
// is looked at anew: it is a trial's, or another run has ended the move.
func (m *mover) translateOne(ctx context.Context, checkpoint eventstore.Checkpoint) error {
	for {
		there, err := m.loadTO(ctx, checkpoint.Name) // before the look, so that what happens after it shows
		if err != nil {
			return err
		}
		if err := m.stillUnderWay(ctx); err != nil {
			return err
		}
		if err := m.translateOver(ctx, checkpoint, there); !errors.Is(err, eventstore.ErrLeaseLost) {
			return err
		}
	}
}

// translateOver does it, where TO has there under that name.
func (m *mover) translateOver(ctx context.Context, checkpoint eventstore.Checkpoint, there eventstore.LoadCheckpointResult) error {
	switch {
	case isOrigin(checkpoint.Name) && checkpoint.Name != eventstore.OriginName(m.toInfo.ID): // what FROM was moved from, TO is moved from too
		return m.keep(ctx, checkpoint)
	case OwnCheckpoint(checkpoint.Name):
		return nil
	case checkpoint.Store != m.fromInfo.ID:
		return m.carry(ctx, checkpoint, there)
	}
	place, ok, err := m.translated(ctx, checkpoint)
	switch {
	case err != nil:
		return err
	case !ok && ForRetries(checkpoint.Name): // it saves Run work, or its event was changed and is handled anew
		return nil
	case !ok:
		return refuse("checkpoint %q is at %s, which TO does not hold; switchyard checkpoint reset %s %q --to POSITION, and run the move again", checkpoint.Name, checkpoint.Place, m.from.Name, checkpoint.Name)
	}
	old := checkpoint.Place
	translated := TranslatedCheckpoint{
		Name: checkpoint.Name, Stream: old.Stream, Version: old.Version, EventID: old.ID,
		Old: old.Position, New: place.Position,
	}
	stays := false
	if further, ok := m.further(there, place); ok {
		if stays, err = m.readOn(ctx, checkpoint.Name, place, further); err != nil {
			return err
		}
		if stays {
			translated.New, translated.ReadOn = further.Position, true
		} else {
			translated.SetBackFrom = further.Position
		}
	}
	if err := m.noteLeft(ctx, checkpoint); err != nil {
		return err
	}
	if !stays {
		checkpoint.Store, checkpoint.Place = m.toInfo.ID, place
		if err := m.put(ctx, checkpoint, there); err != nil {
			return err
		}
	}
	m.list(translated)
	return nil
}

// put stores a subscription's checkpoint in TO, where there was loaded before the move was
// seen to be under way. Unless it is set back it is only saved, which moves forward and is
// refused with ErrLeaseLost where the lease was taken since: so a run that is suspended
// here, and goes on in a store that is in use by then, changes nothing.
func (m *mover) put(ctx context.Context, checkpoint eventstore.Checkpoint, there eventstore.LoadCheckpointResult) error {
	before := there.Checkpoint
	if there.Found && (before.Store != checkpoint.Store || checkpoint.Place.Position.Before(before.Place.Position)) {
		if err := m.stillUnderWay(ctx); err != nil { // nothing else guards a reset
			return err
		}
		return m.keep(ctx, checkpoint)
	}
	checkpoint.Epoch = before.Epoch
	if err := m.to.Checkpoints.Save(ctx, eventstore.SaveCheckpointRequest{Checkpoint: checkpoint}); err != nil {
		return fmt.Errorf("TO: save checkpoint %q: %w", checkpoint.Name, err)
	}
	if before.Epoch == 0 {
		return nil // nobody ever had its lease
	}
	if err := m.release(ctx, checkpoint); err != nil {
		return fmt.Errorf("TO: release the lease of checkpoint %q: %w", checkpoint.Name, err)
	}
	return nil
}

// release takes the lease of a checkpoint that was saved from whoever has had it in TO since
// before: Run notices it, takes it again, and goes on after the checkpoint.
func (m *mover) release(ctx context.Context, checkpoint eventstore.Checkpoint) error {
	// The zero lease is not the stored one, and so this only asks.
	asked, err := m.to.Checkpoints.SwapLease(ctx, eventstore.SwapLeaseRequest{
		Name: checkpoint.Name, New: eventstore.Lease{Name: checkpoint.Name, Epoch: 1},
	})
	if held := asked.Lease; err != nil || held.Epoch != checkpoint.Epoch || held.Owner == "" {
		return err
	}
	free := asked.Lease
	free.Owner = ""
	free.Renewals++
	_, err = m.to.Checkpoints.SwapLease(ctx, eventstore.SwapLeaseRequest{Name: checkpoint.Name, Old: asked.Lease, New: free})
	return err
}

// translated returns where in TO a checkpoint of FROM is, and whether its event is there.
func (m *mover) translated(ctx context.Context, checkpoint eventstore.Checkpoint) (eventstore.Place, bool, error) {
	if checkpoint.Place.IsZero() {
		return checkpoint.Place, true, nil
	}
	place, ok, err := transfer.Translate(ctx, m.to.Store, cloudevents.Source(m.fromInfo.ID), checkpoint.Place)
	if err != nil {
		err = fmt.Errorf("TO: %w", err)
	}
	return place, ok, err
}

// loadTO returns what TO has under a checkpoint's name.
func (m *mover) loadTO(ctx context.Context, name string) (eventstore.LoadCheckpointResult, error) {
	there, err := m.to.Checkpoints.Load(ctx, eventstore.LoadCheckpointRequest{Name: name})
	if err != nil {
		err = fmt.Errorf("TO: load checkpoint %q: %w", name, err)
	}
	return there, err
}

// further returns where TO has a checkpoint of its own, and whether that is after a place.
func (m *mover) further(there eventstore.LoadCheckpointResult, place eventstore.Place) (eventstore.Place, bool) {
	own := there.Checkpoint
	return own.Place, there.Found && own.Store == m.toInfo.ID && place.Position.Before(own.Place.Position)
}

// dropOld looks at the subscriptions' checkpoints of TO that FROM does not keep. One
// that FROM had from TO was deleted in FROM since, so that its subscription starts anew;
// it would skip what lies before. Of any other one nobody knows whether it is wanted:
// it is left, and reported.
func (m *mover) dropOld(ctx context.Context, kept map[string]struct{}) error {
	notes := make(map[string]struct{}, len(kept))
	for name := range kept {
		notes[leftAtName(m.fromInfo.ID, name)] = struct{}{}
	}
	var old, stale []string
	for checkpoint, err := range m.to.Store.ListCheckpoints(ctx) {
		if err != nil {
			return fmt.Errorf("TO: %w", err)
		}
		if _, ok := notes[checkpoint.Name]; isLeftAt(checkpoint.Name) && !ok && checkpoint.Store == m.fromInfo.ID {
			stale = append(stale, checkpoint.Name) // of an earlier move
		}
		if _, ok := kept[checkpoint.Name]; ok || OwnCheckpoint(checkpoint.Name) {
			continue
		}
		_, had, err := m.leftAt(ctx, checkpoint.Name)
		if err != nil {
			return err
		}
		if had && m.back {
			old = append(old, checkpoint.Name)
			continue
		}
		if ForRetries(checkpoint.Name) {
			continue
		}
		m.report.NotProved = append(m.report.NotProved,
			fmt.Sprintf("that TO's checkpoint %q is wanted: FROM keeps none of that name; if its subscription is to start anew, switchyard checkpoint delete %s %q", checkpoint.Name, m.to.Name, checkpoint.Name))
	}
	for _, name := range stale {
		if err := m.stillUnderWay(ctx); err != nil {
			return err
		}
		if err := m.to.Checkpoints.Delete(ctx, eventstore.DeleteCheckpointRequest{Name: name}); err != nil {
			return fmt.Errorf("TO: delete checkpoint %q: %w", name, err)
		}
	}
	for _, name := range old {
		if err := m.stillUnderWay(ctx); err != nil {
			return err
		}
		if err := m.to.Checkpoints.Delete(ctx, eventstore.DeleteCheckpointRequest{Name: name}); err != nil {
			return fmt.Errorf("TO: delete checkpoint %q: %w", name, err)
		}
		if ForRetries(name) {
			continue
		}
		m.report.NotKept = append(m.report.NotKept, NotKept{
			What: fmt.Sprintf("TO's old checkpoint %q", name),
			Why:  "it was deleted in FROM since TO was moved there; its subscription starts anew",
		})
	}
	return nil
}

// keep stores a checkpoint in TO, whatever TO has under that name.
func (m *mover) keep(ctx context.Context, checkpoint eventstore.Checkpoint) error {
	err := m.to.Checkpoints.Save(ctx, eventstore.SaveCheckpointRequest{Checkpoint: checkpoint, Reset: true})
	if err != nil {
		return fmt.Errorf("TO: save checkpoint %q: %w", checkpoint.Name, err)
	}
	return nil
}

// originOf returns the place at which another store was moved to a side.
func originOf(ctx context.Context, side Side, other uuid.UUID) (eventstore.Place, bool, error) {
	if side.Checkpoints == nil {
		return eventstore.Place{}, false, nil
	}
	result, err := side.Checkpoints.Load(ctx, eventstore.LoadCheckpointRequest{Name: eventstore.OriginName(other)})
	if err != nil {
		return eventstore.Place{}, false, fmt.Errorf("load what %s was moved from: %w", side.Name, err)
	}
	return result.Checkpoint.Place, result.Found && result.Checkpoint.Store == other, nil
}

func isOrigin(name string) bool {
	return strings.HasPrefix(name, strings.TrimSuffix(eventstore.OriginName(uuid.Nil), uuid.Nil.String()))
}

// OwnCheckpoint tells whether a checkpoint is no subscription's, but kept by a copy or a move.
func OwnCheckpoint(name string) bool {
	return transfer.OwnCheckpoint(name) || isOrigin(name) || isUnderWay(name) || isLeftAt(name) || isAstray(name) || isEnded(name)
}
