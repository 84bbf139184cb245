package move

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/cloudevents"
	"github.com/switchyard-dev/switchyard/internal/transfer"
)

// Problem is something of FROM that TO cannot hold.
type Problem struct {
	// What names the rule, such as "type" or "a preserved record time".
	What string `json:"what"`
	// Count is how many events or checkpoints break it.
	Count int `json:"count"`
	// Helps are the remedies that can help against it; none where FROM has to be changed.
	Helps []transfer.Remedy `json:"helps,omitempty"`
	// First is the first of them, and why TO would refuse it.
	First string `json:"first"`
}

// identify looks at both stores before anything is read or written: whether this
// move can be, is under way, or is done.
func (m *mover) identify(ctx context.Context) (err error) {
	if m.fromInfo, err = m.from.Store.Info(ctx); err != nil {
		return fmt.Errorf("FROM: %w", err)
	}
	if m.toInfo, err = m.to.Store.Info(ctx); err != nil {
		return fmt.Errorf("TO: %w", err)
	}
	m.report.From.Store, m.report.To.Store = m.fromInfo.ID, m.toInfo.ID
	if m.fromInfo.ID == m.toInfo.ID {
		return transfer.ErrSameStore
	}
	m.report.sealedBy(m.fromInfo)
	m.report.toHeld = !m.toInfo.Head.IsZero()
	if !m.to.Store.Capabilities().Checkpoints.Supported() {
		return refuse("TO keeps no checkpoints: %s", m.to.Store.Capabilities().Checkpoints.Reason())
	}
	m.asJSON = transfer.AsJSON(m.from.Store, m.to.Store)
	m.fromTail, m.toTail = newTail("FROM", m.from.Store, m.asJSON, cloudevents.Source(m.toInfo.ID)), newTail("TO", m.to.Store, m.asJSON, cloudevents.Source(m.fromInfo.ID))
	m.toTail.refused = new(decisions)
	m.statePath = statePath(m.opts.StateDir, m.fromInfo.ID, m.toInfo.ID)
	if err := m.wrongWay(ctx); err != nil {
		return err
	}
	if done, err := m.isDone(ctx); done || err != nil {
		return err
	}
	if m.sealedForAnother() {
		return m.movedElsewhere()
	}
	if err := m.orDone(ctx, m.wayBack(ctx)); err != nil || m.report.Already {
		return err
	}
	m.report.inUse = true
	return m.orDone(ctx, m.holdsOnlyFrom(ctx))
}

// holdsOnlyFrom refuses a TO that holds other events than FROM, and a FROM that has
// lost events which TO has. It looks at two events; the copy compares all that it
// did not write itself before it writes.
func (m *mover) holdsOnlyFrom(ctx context.Context) error {
	copied, found, err := transfer.CopiedFrom(ctx, m.to.Checkpoints, m.fromInfo.ID)
	if err != nil {
		return fmt.Errorf("TO: %w", err)
	}
	lost := "FROM no longer holds event %s at %s, which was copied from it: it was restored from a backup, or replaced. " +
		"TO has events that FROM has lost; compare them (switchyard verify), then move into a fresh store"
	if found && copied.Named() {
		switch here, ok, err := transfer.Holds(ctx, m.from.Store, copied); {
		case err != nil:
			return fmt.Errorf("FROM: %w", err)
		case !ok || here != copied:
			return refuse(lost, copied.ID, copied)
		}
		m.copied = copied.Position
	}
	head := m.toInfo.Head
	if head.IsZero() || m.unchanged { // its last event may have been changed on its way to FROM, as fits finds
		return nil
	}
	if ok, err := m.headIsFromFROM(ctx); ok || err != nil {
		return err
	}
	if m.back {
		return m.wentAstray(ctx, fmt.Sprintf("TO's last event %s at %s is not FROM's: somebody else writes to TO", head.ID, head))
	}
	switch _, moved, err := originOf(ctx, m.to, m.fromInfo.ID); {
	case err != nil:
		return err
	case moved:
		return refuse("TO's last event %s at %s is not FROM's: FROM was moved to TO before, and TO was appended to since, so TO is the store in use. "+
			"If FROM was written to as well, switchyard move %s %s says how what it holds alone is brought over; FROM is not to be moved", head.ID, head, m.to.Name, m.from.Name)
	case found || m.begun: // by a run that was killed before its copy had noted anything
		return refuse("TO's last event %s at %s is not FROM's: somebody else writes to TO, or FROM was restored from a backup; stop them, and move into a fresh store", head.ID, head)
	}
	return refuse("TO is not empty, and its last event %s at %s is not FROM's; move into a fresh store", head.ID, head)
}

// headIsFromFROM tells whether FROM holds TO's last event.
func (m *mover) headIsFromFROM(ctx context.Context) (bool, error) {
	last, ok, err := transfer.OriginalAt(ctx, m.to.Store, cloudevents.Source(m.fromInfo.ID), m.toInfo.Head)
	if err != nil {
		return false, fmt.Errorf("TO: %w", err)
	}
	if !ok {
		return false, nil
	}
	if _, ok, err = transfer.Holds(ctx, m.from.Store, last); err != nil {
		return false, fmt.Errorf("FROM: %w", err)
	}
	return ok, nil
}

// fits reads FROM and says what of it TO cannot hold. Its digests are taken in the
// same pass.
func (m *mover) fits(ctx context.Context) error {
	for _, loss := range transfer.Losses(m.to.Store.Capabilities(), m.from.Store.Capabilities().TimePrecision) {
		m.report.NotKept = append(m.report.NotKept, NotKept{What: loss.What, Why: loss.Why})
	}
	m.report.NotKept = append(m.report.NotKept,
		NotKept{What: "snapshots", Why: "they are a cache; applications make them again"},
		NotKept{What: "positions", Why: "they are each store's own; checkpoints are translated"},
		NotKept{What: "tables of applications", Why: "read models and whatever else is in FROM's database beside the store are not Switchyard's; move them yourself, or build them anew from TO"})
	found, wrong := &problems{list: m.report.Problems}, &problems{}
	if err := m.fitCheckpoints(ctx, wrong); err != nil {
		return err
	}
	unfit := func(what string, event eventstore.RecordedEvent, err error, helps []transfer.Remedy) {
		helped := slices.ContainsFunc(m.opts.OnRefused, func(remedy transfer.Remedy) bool { return slices.Contains(helps, remedy) })
		stored := !m.copied.Before(event.Position) // by an earlier run's remedies
		if helped || stored || len(m.opts.OnRefused) == 0 {
			found.add(what, about(event), err, helps...)
		} else {
			wrong.add(what, about(event), err, helps...)
		}
	}
	otherNames := []transfer.Remedy{transfer.Rename, transfer.Park, transfer.Skip}
	check, used := transfer.Checker(m.to.Store, cloudevents.Source(m.fromInfo.ID)), m.usedIDs()
	progress := m.readsUpTo(m.fromTail, m.fromInfo.Head)
	err := m.fromTail.read(ctx, func(event eventstore.RecordedEvent) {
		progress(event)
		if m.cameChanged(event) {
			wrong.add("events changed by --on-refused", about(event), errors.New(changedOnItsWay))
			return
		}
		if helps, err := check(event); err != nil {
			unfit(rule(err), event, err, helps)
			m.noteReason(event, err)
		}
		if before := m.fromTail.digests.Streams[event.Stream].Events; before+1 != event.Version {
			unfit("whole streams", event, fmt.Errorf("it would be version %d there, for versions count from 1 without holes", before+1), otherNames)
		}
		if used(event.ID) {
			unfit("stream-scoped IDs", event, errors.New(m.to.Store.Capabilities().StreamScopedIDs.Reason()), otherNames)
		}
	})
	if err != nil {
		return err
	}
	if len(m.opts.OnRefused) > 0 {
		m.report.Remedied, found.list = found.list, []Problem{}
	}
	found.list = append(found.list, wrong.list...)
	m.report.Problems = found.list
	if len(found.list) > 0 {
		return refuse("TO cannot hold all that FROM has: %s; %s", found, m.report.wrote())
	}
	return nil
}

// noteReason keeps why TO refuses an event, for the report of what was done with it.
func (m *mover) noteReason(of eventstore.RecordedEvent, err error) {
	if m.reasons == nil {
		m.reasons = make(map[event]string)
	}
	if len(m.reasons) < maxDecisions {
		m.reasons[event{of.Stream, of.Version, of.ID}] = err.Error()
	}
}

// changedOnItsWay is why an event of FROM cannot go back where it came from.
const changedOnItsWay = "it was changed on its way from TO, which has it as it was; move into a fresh store"

// cameChanged tells whether an event says that a transfer changed it on its way from TO.
func (m *mover) cameChanged(event eventstore.RecordedEvent) bool {
	return transfer.Changed(event, cloudevents.Source(m.toInfo.ID))
}

// stillFits refuses what comes while FROM is followed and would be found only by the
// digests, which is behind the seal. What TO refuses for another reason ends the copy.
func (m *mover) stillFits(event eventstore.RecordedEvent) error {
	if !m.cameChanged(event) {
		return nil
	}
	return refuse("%s says of itself that %s. Where FROM is sealed, unseal it to go on there", about(event), changedOnItsWay)
}

func about(event eventstore.RecordedEvent) string {
	return fmt.Sprintf("event %s at %s", event.ID, event.Place())
}

// fitCheckpoints finds the checkpoints that nobody could translate, and those that would
// be set back in a TO that was in use.
func (m *mover) fitCheckpoints(ctx context.Context, found *problems) error {
	if !m.from.Store.Capabilities().Checkpoints.Supported() {
		return nil
	}
	moved, err := m.movedBefore(ctx)
	if err != nil {
		return err
	}
	for checkpoint, err := range m.from.Store.ListCheckpoints(ctx) {
		if err != nil {
			return fmt.Errorf("FROM: %w", err)
		}
		if OwnCheckpoint(checkpoint.Name) || ForRetries(checkpoint.Name) || checkpoint.Store != m.fromInfo.ID {
			continue // those of another store travel as they are
		}
		where := fmt.Sprintf("checkpoint %q", checkpoint.Name)
		_, _, err := m.from.Store.LoadCheckpoint(ctx, checkpoint.Name)
		switch {
		case errors.Is(err, eventstore.ErrForeignCheckpoint), errors.Is(err, eventstore.ErrCheckpointAhead):
			found.add("checkpoints", where, err)
		case err != nil:
			return fmt.Errorf("FROM: %w", err)
		case !checkpoint.Place.IsZero() && !checkpoint.Place.Named():
			found.add("checkpoints", where, errors.New("it does not name the event at its position; run its subscription once, or switchyard checkpoint reset"))
		case moved && !m.back:
			if err := m.fitInUse(ctx, checkpoint, found); err != nil {
				return err
			}
		}
	}
	return nil
}

// fitInUse looks at a checkpoint of a TO that FROM was moved to before, and that was in
// use since.
func (m *mover) fitInUse(ctx context.Context, checkpoint eventstore.Checkpoint, found *problems) error {
	place, there, err := m.translated(ctx, checkpoint)
	if err != nil || !there {
		return err
	}
	stored, err := m.loadTO(ctx, checkpoint.Name)
	if err != nil {
		return err
	}
	if further, ok := m.further(stored, place); ok {
		found.add("checkpoints", fmt.Sprintf("checkpoint %q", checkpoint.Name),
			fmt.Errorf("TO has it at %s, and FROM at what is %s there: TO was in use since FROM was moved to it, and its subscription would get again what it has handled; if it may, switchyard checkpoint delete %s %q, or move into a fresh store, where they come again too", further, place, m.to.Name, checkpoint.Name))
	}
	return nil
}

// usedIDs returns what tells whether an ID was met before, where TO would mind.
func (m *mover) usedIDs() func(uuid.UUID) bool {
	if m.to.Store.Capabilities().StreamScopedIDs.Supported() || !m.from.Store.Capabilities().StreamScopedIDs.Supported() {
		return func(uuid.UUID) bool { return false }
	}
	m.fromTail = m.fromTail.fresh() // all of it is to be looked at
	m.report.From.Before = 0
	met := make(map[uuid.UUID]struct{})
	return func(id uuid.UUID) bool {
		_, before := met[id]
		met[id] = struct{}{}
		return before
	}
}

// problems counts what does not fit, by rule.
type problems struct{ list []Problem }

func (p *problems) add(what, where string, err error, helps ...transfer.Remedy) {
	at := slices.IndexFunc(p.list, func(known Problem) bool { return known.What == what && slices.Equal(known.Helps, helps) })
	if at < 0 {
		p.list = append(p.list, Problem{What: what, Helps: helps, First: where + ": " + err.Error()})
		at = len(p.list) - 1
	}
	p.list[at].Count++
}

func (p *problems) String() string {
	texts := make([]string, 0, len(p.list))
	for _, problem := range p.list {
		texts = append(texts, problem.title()+", first "+problem.First)
	}
	return strings.Join(texts, "; ")
}

// title says what does not fit, how often, and what helps.
func (p Problem) title() string {
	if len(p.Helps) == 0 {
		return fmt.Sprintf("%s (%d)", p.What, p.Count)
	}
	return fmt.Sprintf("%s (%d; --on-refused %s helps)", p.What, p.Count, transfer.OrList(p.Helps))
}

// rule names the rule that an event breaks: the field or the capability.
func rule(err error) string {
	var invalid *eventstore.InvalidError
	var unsupported *eventstore.UnsupportedError
	switch {
	case errors.As(err, &invalid):
		_, field, of := strings.Cut(invalid.Field, "].")
		if of {
			return field
		}
		return invalid.Field
	case errors.As(err, &unsupported):
		return unsupported.Feature
	}
	return "event"
}
