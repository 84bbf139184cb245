package move

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/transfer"
)

// sealPrefix begins the reason of every seal of a move. Who appends to FROM is told it.
const sealPrefix = "moved to "

// sealedStore comes before the other store's identity, at the end of the reason.
const sealedStore = " (store "

const maxReason = 1024 // bytes, of a seal

// sealReason says where a store has gone.
func sealReason(name string, store uuid.UUID) string {
	end := sealedStore + store.String() + ")"
	return sealPrefix + strings.ToValidUTF8(name[:min(len(name), maxReason-len(sealPrefix)-len(end))], "") + end
}

// sealedFor tells whether a store's seal says that it moved to another one.
func sealedFor(info eventstore.Info, other uuid.UUID) bool {
	return info.Sealed && strings.HasSuffix(info.SealReason, sealedStore+other.String()+")")
}

// sealedForAnother tells whether FROM has a seal that does not say that it moved to TO:
// it was moved to another store, or closed by hand for no move.
func (m *mover) sealedForAnother() bool {
	return m.fromInfo.Sealed && !sealedFor(m.fromInfo, m.toInfo.ID)
}

func (m *mover) movedElsewhere() error {
	return refuse("FROM is sealed: %s; if it is to be moved here all the same, unseal it first", m.fromInfo.SealReason)
}

// closedByHand is how a FROM that cannot be sealed is moved.
const closedByHand = "Its writers are stopped by hand: stop every program that writes to it, take its rights to write away, and run the move with --writers-stopped. " +
	"That nobody appends to it afterwards is then not proved"

// close ends FROM's growth: by its seal or, where it has none, by the operator's word.
func (m *mover) close(ctx context.Context) error {
	m.begin(PhaseSeal)
	if err := m.stillUnderWay(ctx); err != nil { // or FROM may be in use again since
		return err
	}
	before, err := m.from.Store.Info(ctx)
	if err != nil {
		return fmt.Errorf("FROM: %w", err)
	}
	m.closed = time.Now()
	capability := m.from.Store.Capabilities().Seal
	info := before
	switch {
	case capability.Supported():
		info, err = m.from.Store.Seal(ctx, sealReason(m.to.Name, m.toInfo.ID))
	case !m.opts.WritersStopped:
		return refuse("FROM cannot be sealed (%s). Stop every program that writes to it, take its rights to write away, and run the move again with --writers-stopped; what was copied is kept", capability.Reason())
	default:
		info, err = m.from.Store.Info(ctx)
		m.report.NotProved = append(m.report.NotProved,
			"that nobody appends to FROM after "+info.Head.Position.String()+": it cannot be sealed ("+capability.Reason()+"), and that its writers are stopped is the operator's word; FROM was looked at once more at the end")
	}
	if err != nil {
		return fmt.Errorf("FROM: %w", err)
	}
	m.saving.Lock() // the state is being kept beside this, and holds whose it is
	m.fromInfo = info
	m.saving.Unlock()
	if m.sealedForAnother() { // meanwhile, and the first seal's reason stays
		return m.movedElsewhere()
	}
	m.seal = info.Head
	m.report.Seal = info.Head.Position
	m.report.sealedBy(info)
	switch {
	case before.Sealed:
		m.wasSealed()
	case info.Sealed:
		m.noteSealed()
	}
	return nil
}

// readOld takes the digests of the old store of a way back before anything is sealed or
// opened, and says how much is to be copied while nobody can append.
func (m *mover) readOld(ctx context.Context) error {
	if err := m.toTail.read(ctx, m.readsUpTo(m.toTail, m.toInfo.Head)); err != nil {
		return err
	}
	from, _ := m.fromTail.at()
	to, _ := m.toTail.at()
	m.report.ToCopy = max(0, from-to)
	end := ""
	if m.opts.DryRun {
		end = "; a dry run does not open it, and ends here"
	}
	m.tell("TO is sealed since it was moved to FROM, and opened behind FROM's seal: %s and what comes until then are copied while nobody can append%s", transfer.Count(m.report.ToCopy, "event"), end)
	return nil
}

// compareOld lets the copy compare what the old store holds while it is sealed, which it
// would otherwise do while nobody can append. The seal refuses the first event that is
// new, and the copy goes on there.
func (m *mover) compareOld(ctx context.Context) error {
	if !m.toInfo.Sealed { // by a run that was killed; FROM is sealed, or the operator has opened it
		return nil
	}
	total, _ := m.toTail.at()
	_, err := transfer.Copy(ctx, m.from.Store, m.to.Store, &transfer.CopyOptions{
		Checkpoints: m.to.Checkpoints, OnRefused: m.opts.OnRefused, Checking: func(p transfer.Progress) { m.progress(p.Read, total) },
	})
	if err == nil || errors.Is(err, eventstore.ErrSealed) {
		return nil
	}
	return m.explain(ctx, restored(err))
}

const closeTimeout = 5 * time.Second

// changeSeals closes FROM and then opens TO, which is sealed since it was moved to FROM.
// In this order, and before the copy, no crash leaves both open to writers.
func (m *mover) changeSeals(ctx context.Context) error {
	if err := m.close(ctx); err != nil {
		return err
	}
	if err := m.stillUnderWay(ctx); err != nil {
		return err
	}
	info, err := m.to.Store.Info(ctx)
	if err == nil && info.Sealed && info.SealReason != m.toInfo.SealReason {
		return refuse("TO was sealed meanwhile: %s; unseal FROM to go on there", info.SealReason)
	}
	if err == nil {
		_, err = m.to.Store.Unseal(ctx)
	}
	if err != nil {
		return fmt.Errorf("TO: %w", err)
	}
	return nil
}

// leave is done at the end of every run. Where the move has ended without this one, that
// is what its failure means, and TO is in use: nothing is done to it.
func (m *mover) leave(ctx context.Context, err error) error {
	if errors.Is(err, errOtherRun) {
		m.report.OtherRun = true
	}
	if err == nil || m.report.OtherRun || !m.underWay && !m.reopen || m.opts.DryRun {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	_, unended, failed := unfinished(ctx, m.to, m.fromInfo.ID)
	switch {
	case failed != nil:
		m.leftOpen(failed)
	case unended && m.reopen:
		m.closeAgain(ctx)
	case !unended && m.underWay:
		m.report.OtherRun = true
		if errors.Is(err, ErrRefused) || errors.Is(err, transfer.ErrForeign) { // whose remedies are for a move that has not ended
			return errOtherRun
		}
		return fmt.Errorf("%w (this run ended with: %w)", errOtherRun, err)
	}
	return err
}

// closeAgain seals a TO that was opened for a way back which has not ended, also where
// ctx has: the operator may open FROM again, and who writes to TO would be in a store of
// his own. Another run may end the way back at the same time; then TO is opened again.
func (m *mover) closeAgain(ctx context.Context) {
	before, err := m.to.Store.Info(ctx)
	if err == nil && !before.Sealed {
		_, err = m.to.Store.Seal(ctx, sealReason(m.from.Name, m.fromInfo.ID))
	}
	if err != nil {
		m.leftOpen(err)
		return
	}
	if _, unended, err := unfinished(ctx, m.to, m.fromInfo.ID); err != nil || unended || before.Sealed {
		return
	}
	if _, err := m.to.Store.Unseal(ctx); err != nil {
		m.tell("TO was moved to by another run meanwhile, and sealed by this one; unseal it: %v", err)
	}
}

func (m *mover) leftOpen(err error) {
	if m.reopen {
		m.report.LeftOpen = err.Error()
		m.tell("TO was opened and cannot be sealed again; see that nobody writes to it: %v", err)
	}
}

// drain waits until TO has everything up to the seal, and nothing else.
func (m *mover) drain(ctx context.Context) error {
	if err := m.reach(ctx, m.seal.Position, drainPause); err != nil {
		return err
	}
	if _, place := m.fromTail.at(); place != m.seal {
		return m.grew(place)
	}
	info, err := m.to.Store.Info(ctx)
	if err != nil {
		return fmt.Errorf("TO: %w", err)
	}
	if info.Sealed {
		return refuse("TO was sealed meanwhile: %s; unseal FROM to go on there, or TO, and run the move again", info.SealReason)
	}
	_, m.toHead = m.toTail.at()
	return m.onlyOurs(ctx, info.Head)
}

// onlyOurs refuses a TO in which somebody else has appended.
func (m *mover) onlyOurs(ctx context.Context, head eventstore.Place) error {
	if head == m.toHead {
		return nil
	}
	if m.back {
		return m.wentAstray(ctx, fmt.Sprintf("TO's last event is at %s and the last one that was copied at %s: somebody else writes to TO", head, m.toHead))
	}
	return refuse("TO's last event is at %s and the last one that was copied at %s: somebody else writes to TO. Stop them; unseal FROM to go on there, or move into a fresh store", head, m.toHead)
}

// readAgain takes the digests of both stores anew.
func (m *mover) readAgain(ctx context.Context) error {
	for _, t := range []*tail{m.fromTail, m.toTail} {
		_, end := t.at()
		fresh := t.fresh()
		if err := fresh.read(ctx, m.readsUpTo(fresh, end)); err != nil {
			return err
		}
		t.replace(fresh)
	}
	m.report.From.Before, m.report.To.Before = 0, 0
	return nil
}

// stillClosed looks once more whether FROM is as it was sealed, and TO as it was drained.
func (m *mover) stillClosed(ctx context.Context) error {
	info, err := m.from.Store.Info(ctx)
	switch {
	case err != nil:
		return fmt.Errorf("FROM: %w", err)
	case info.Head != m.seal:
		return m.grew(info.Head)
	case m.report.Sealed && !info.Sealed:
		return refuse("FROM is not sealed any more: somebody lifted the seal. Run the move again")
	}
	if info, err = m.to.Store.Info(ctx); err != nil {
		return fmt.Errorf("TO: %w", err)
	}
	return m.onlyOurs(ctx, info.Head)
}

func (m *mover) grew(place eventstore.Place) error {
	return refuse("FROM has an event at %s, after its last one at %s: its seal was lifted, or its writers were not stopped. Run the move again", place, m.seal)
}

// compareSoFar compares what was read back from both stores while FROM is in use, so that what
// differs is found before writers wait. It leaves alone what it cannot tell: how far
// both are known may not be the same place, and an earlier run's digests may be wrong.
func (m *mover) compareSoFar(ctx context.Context) error {
	from, _ := m.fromTail.at()
	to, _ := m.toTail.at()
	n := min(from, to)
	left, knowsFrom := m.fromTail.orderAt(n)
	right, knowsTo := m.toTail.orderAt(n)
	switch {
	case !knowsFrom || !knowsTo:
		return nil
	case left == right:
		m.report.EqualSoFar = n
		return nil
	}
	if m.back {
		if stray, err := m.findAstray(ctx); err != nil || stray.count > 0 {
			return m.wentAstray(ctx, "both stores differ")
		}
	}
	found, err := transfer.FirstInOrder(ctx, m.from.Store, m.to.Store, m.fromTail.digests, m.toTail.digests, n)
	remedy := "FROM is in use as before; move it into a fresh store"
	if m.report.Sealed {
		remedy = "FROM stays sealed; unseal it to go on there, and move into a fresh store"
	}
	switch {
	case err != nil:
		return err
	case found == nil && m.resumed: // an earlier run's digests are wrong, and taken again when FROM has stopped
		return nil
	case found == nil:
		return refuse("both stores differed as they were followed, and not when they were read again: see what switchyard verify says of them. %s", remedy)
	case found.Field == "order":
		return refuse("TO has the events in another order, from version %d of stream %q on: in FROM %s, in TO %s; a subscription that goes on in TO would leave events out. %s",
			found.Version, found.Stream, found.A, found.B, remedy)
	}
	return refuse("both stores differ, first in the %s at version %d of stream %q: FROM has %s, TO has %s. %s",
		found.Field, found.Version, found.Stream, found.A, found.B, remedy)
}

// verify compares what was read back from both stores.
func (m *mover) verify(ctx context.Context) error {
	from, to := m.fromTail.end(), m.toTail.end()
	if m.resumed && from.Order != to.Order {
		m.tell("the digests differ, and some are an earlier run's: both stores are read again")
		if err := m.readAgain(ctx); err != nil {
			return err
		}
		from, to = m.fromTail.end(), m.toTail.end()
	}
	if err := m.stillClosed(ctx); err != nil { // which would explain every difference
		return err
	}
	differing, first := from.Differing(to)
	m.report.Differing = differing
	if from.Order != to.Order && m.back { // the clearer reason, if it is that
		if stray, err := m.findAstray(ctx); err != nil || stray.count > 0 {
			return m.wentAstray(ctx, "both stores differ")
		}
	}
	if differing > 0 {
		found, err := transfer.FirstDifference(ctx, m.from.Store, m.to.Store, from, to)
		if err != nil {
			return err
		}
		differ := "streams differ"
		if differing == 1 {
			differ = "stream differs"
		}
		return refuse("%d %s; the first difference is the %s at version %d of stream %q: FROM has %s, TO has %s. FROM stays as it is; unseal it to go on there",
			differing, differ, found.Field, found.Version, first, found.A, found.B)
	}
	if from.Order != to.Order {
		return refuse("both stores hold the same events, in another order: a subscription that goes on in TO would leave events out. Unseal FROM to go on there, and move into a fresh store")
	}
	if before := m.report; before.From.Before+before.To.Before > 0 {
		m.report.NotProved = append(m.report.NotProved, fmt.Sprintf(
			"that %s is as an earlier run left it: the digests of FROM's first %s and of TO's first %d come from there; without that file all is read again",
			m.statePath, transfer.Count(before.From.Before, "event"), before.To.Before))
	}
	return nil
}
