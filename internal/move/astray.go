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

// astray are events that TO, the old store of a way back, has and FROM has not: they were
// acknowledged to programs that still write there.
type astray struct {
	count int
	first eventstore.Place
	after eventstore.Position // of TO's event before the first of them
}

// streamID names an event wherever in its stream it is.
type streamID struct {
	stream string
	id     uuid.UUID
}

// findAstray reads of both stores what came after TO was moved to FROM.
func (m *mover) findAstray(ctx context.Context) (astray, error) {
	origin, _, err := originOf(ctx, m.from, m.toInfo.ID)
	if err != nil {
		return astray{}, err
	}
	place := origin
	if !origin.IsZero() {
		if place, _, err = transfer.Translate(ctx, m.from.Store, cloudevents.Source(m.toInfo.ID), origin); err != nil {
			return astray{}, fmt.Errorf("FROM: %w", err)
		}
	}
	held := make(map[streamID]struct{})
	for event, err := range m.from.Store.ReadAll(ctx, eventstore.ReadAllOptions{After: place.Position}) {
		if err != nil {
			return astray{}, fmt.Errorf("FROM: %w", err)
		}
		held[streamID{event.Stream, event.ID}] = struct{}{}
	}
	found, before := astray{}, origin.Position
	for event, err := range m.to.Store.ReadAll(ctx, eventstore.ReadAllOptions{After: origin.Position}) {
		if err != nil {
			return astray{}, fmt.Errorf("TO: %w", err)
		}
		if _, ok := held[streamID{event.Stream, event.ID}]; !ok {
			if found.count++; found.count == 1 {
				found.first, found.after = event.Place(), before
			}
		}
		before = event.Position
	}
	return found, nil
}

// wentAstray is the refusal of a way back into a store that was written to, whatever
// made it show. It says in which store the events are, and how to bring them over.
func (m *mover) wentAstray(ctx context.Context, because string) error {
	// Where another run has ended the way back TO is in use, and its events are its own.
	if m.underWay {
		if err := m.stillUnderWay(ctx); err != nil {
			return err
		}
	} else if done, err := m.isDoneNow(ctx); err != nil {
		return err
	} else if done {
		return errOtherRun
	}
	found, err := m.findAstray(ctx)
	if err != nil {
		return errors.Join(refuse("%s; how many events FROM does not hold is not known", because), err)
	}
	if found.count == 0 {
		err = m.forgetAstray(ctx)
		return errors.Join(refuse("%s. FROM holds all events of TO, but not all where TO has them, so TO cannot be moved to any more: move FROM into a fresh store (switchyard move %s NEW)", because, m.from.Name), err)
	}
	var remedy strings.Builder
	if m.from.Store.Capabilities().Seal.Supported() {
		fmt.Fprintf(&remedy, "switchyard unseal %s (if it is sealed), then ", m.from.Name)
	}
	fmt.Fprintf(&remedy, "switchyard export %s", m.to.Name)
	if !found.after.IsZero() {
		fmt.Fprintf(&remedy, " --after %s", found.after)
	}
	fmt.Fprintf(&remedy, " | jq -c 'del(.version)' | switchyard import %s", m.from.Name)
	return errors.Join(refuse("%s. TO holds %s that FROM does not, the first is version %d of stream %q at %s: a program appended to TO after it was moved to FROM, and was told that they are stored. "+
		"FROM is the store in use, and a move of it into a fresh store leaves them behind. Stop that program, seal TO if it is open, and bring them over to the ends of their streams: %s. "+
		"TO cannot be moved to any more, also then; move FROM into a fresh store (switchyard move %s NEW)", because, transfer.Count(found.count, "event"), found.first.Version, found.first.Stream, found.first.Position, remedy.String(), m.from.Name),
		m.noteAstray(ctx, found))
}

const astrayPrefix = "switchyard-astray-in-"

// astrayName is the checkpoint in which a store in use keeps that its old one holds
// events which it does not.
func astrayName(old uuid.UUID) string { return astrayPrefix + old.String() }

func isAstray(name string) bool { return strings.HasPrefix(name, astrayPrefix) }

func (m *mover) noteAstray(ctx context.Context, found astray) error {
	if m.opts.DryRun { // which changes nothing in FROM
		return nil
	}
	err := m.from.Checkpoints.Save(ctx, eventstore.SaveCheckpointRequest{Reset: true, Checkpoint: eventstore.Checkpoint{
		Name: astrayName(m.toInfo.ID), Store: m.toInfo.ID, Place: found.first,
	}})
	if err != nil {
		return fmt.Errorf("FROM: note that TO holds more: %w", err)
	}
	return nil
}

func (m *mover) forgetAstray(ctx context.Context) error {
	if m.opts.DryRun {
		return nil
	}
	if err := m.from.Checkpoints.Delete(ctx, eventstore.DeleteCheckpointRequest{Name: astrayName(m.toInfo.ID)}); err != nil {
		return fmt.Errorf("FROM: forget that TO held more: %w", err)
	}
	return nil
}

// reportAstray says of a FROM that is moved what it was found to lack.
func (m *mover) reportAstray(note eventstore.Checkpoint) {
	m.report.NotProved = append(m.report.NotProved, fmt.Sprintf(
		"that FROM holds all that was acknowledged: when it was to be moved back to store %s, that one held events which FROM did not, from version %d of stream %q at %s on. "+
			"Where they were not brought over they are left behind; where they were, switchyard checkpoint delete %s %s",
		note.Store, note.Place.Version, note.Place.Stream, note.Place.Position, m.from.Name, note.Name))
}
