package move

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/transfer"
)

// ErrRefused says that a move was not begun, or not ended, because of what the
// stores hold. Its text says what, and how to go on.
var ErrRefused = errors.New("move refused")

func refuse(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrRefused}, args...)...)
}

// Side is one of the two stores of a move.
type Side struct {
	// Store is opened with the backend's own limits and reserved names.
	Store *eventstore.Store
	// Checkpoints are those that its backend keeps.
	Checkpoints eventstore.Checkpoints
	// Name is how the store may be shown, without a credential. LeftOut says what of the
	// URL is not in it, and who has it; it is empty where the name is the URL.
	Name, LeftOut string
}

// Options configures a [Move]. The zero value, like nil, means the defaults.
type Options struct {
	// OnRefused is what is done with an event that TO refuses: the first of these that
	// helps. With none, nothing is written where such an event is found beforehand.
	OnRefused []transfer.Remedy
	// DryRun ends before the seal; on the way back before TO is opened again.
	DryRun bool
	// WritersStopped says that nobody writes to a FROM that cannot be sealed.
	WritersStopped bool
	// MaxLag is how far TO may be behind FROM, in time, when FROM is sealed; 0
	// means 500 ms.
	MaxLag time.Duration
	// StateDir is the folder in which digests are kept for a next start; with ""
	// none are.
	StateDir string
	// StateEvery is how often they are kept at most; 0 means 5 s.
	StateEvery time.Duration
	// Phase, where not nil, hears when a phase begins; Progress how many events are
	// done in it, of about how many, which is 0 where nobody knows; Tell what else is worth a line.
	Phase    func(Phase)
	Progress func(done, total int)
	Tell     func(line string)
}

// Move brings FROM to TO. It ends with a report also where it fails: the report
// then says how far it came.
//
// Errors match ErrRefused where what the stores hold forbids the move; otherwise
// they are those of the stores and of the copy. Run it again to go on.
func Move(ctx context.Context, from, to Side, opts *Options) (*Report, error) {
	m := &mover{from: from, to: to, report: newReport(from, to)}
	if opts != nil {
		m.opts = *opts
	}
	if m.opts.MaxLag <= 0 {
		m.opts.MaxLag = 500 * time.Millisecond
	}
	if m.opts.StateEvery <= 0 {
		m.opts.StateEvery = 5 * time.Second
	}
	m.report.DryRun = m.opts.DryRun
	err := m.run(ctx)
	m.endPhase()
	if m.fromTail != nil && !m.report.Already {
		m.report.summarize(m.fromTail.end(), m.toTail.end(), m.toTail.refused)
	}
	if err != nil {
		m.report.Failure = err.Error()
	}
	return m.report, err
}

// mover is one run of a move.
type mover struct {
	from, to         Side
	opts             Options
	report           *Report
	fromInfo, toInfo eventstore.Info
	asJSON           bool // one of them keeps JSON and not its bytes
	back             bool // TO was moved to FROM, and is moved back to
	reopen           bool // and it has been sealed since, and is opened again behind FROM's seal
	unchanged        bool // TO ends where it did when it was moved to FROM
	begun            bool // TO says that an earlier run of this move has begun
	underWay         bool // TO says that this run has
	resumed          bool // digests of an earlier run are gone on with
	fromTail, toTail *tail
	reasons          map[event]string // why TO refuses events, as fits found
	statePath        string
	saving           sync.Mutex          // of the state, and of fromInfo while it is kept
	closing          atomic.Bool         // the state is not kept any more: writers wait
	copied           eventstore.Position // up to here an earlier run has copied FROM
	seal             eventstore.Place    // FROM's last event
	toHead           eventstore.Place    // TO's last event, which is FROM's
	closed           time.Time           // when FROM was
	phase            Phase
	phaseBegan       time.Time
}

func (m *mover) run(ctx context.Context) (err error) {
	m.begin(PhaseFits)
	defer func() { err = m.leave(ctx, err) }()
	if err := m.identify(ctx); err != nil || m.report.Already {
		return err
	}
	if m.report.NoSeal != "" && !m.opts.WritersStopped {
		m.tell("FROM cannot be sealed (%s). %s", m.report.NoSeal, closedByHand)
	}
	if err := m.load(ctx); err != nil {
		return err
	}
	if err := m.orDone(ctx, m.fits(ctx)); err != nil || m.report.Already {
		return err
	}
	if m.reopen {
		if err := m.readOld(ctx); err != nil || m.opts.DryRun {
			return err
		}
	}
	if err := m.setOut(ctx); err != nil || m.report.Already {
		return err
	}
	if m.reopen {
		if err := m.compareOld(ctx); err != nil {
			return err
		}
		if err := m.changeSeals(ctx); err != nil {
			return err
		}
	}
	group, background := errgroup.WithContext(ctx)
	background, stop := context.WithCancel(background)
	defer stop()
	group.Go(func() error { return m.copy(background) })
	group.Go(func() error { return m.fromTail.follow(background, m.stillFits) })
	group.Go(func() error { return m.toTail.follow(background, nil) })
	group.Go(func() error {
		m.keepState(background)
		return nil
	})
	err = m.handOver(background)
	stop()
	failed := group.Wait()
	m.toTail.explain(m.report.Copied.Refused.Decisions, m.reasons)
	if failed != nil {
		return m.explain(ctx, failed) // the cause, where the hand-over only saw its context end
	}
	if err == nil && !m.opts.DryRun {
		m.dropState()
	} else {
		m.keepStateNow()
	}
	return err
}

// orDone looks once more before the move is refused for what is in the stores: another run
// may have ended it since, and TO is in use.
func (m *mover) orDone(ctx context.Context, refused error) error {
	if !errors.Is(refused, ErrRefused) {
		return refused
	}
	if done, err := m.isDoneNow(ctx); done {
		return err
	}
	return refused // whatever this look met
}

// explain says of a copy that met somebody else's events in the old store what those are.
func (m *mover) explain(ctx context.Context, failed error) error {
	if !m.back || ctx.Err() != nil || errors.Is(failed, ErrRefused) {
		return failed
	}
	if errors.Is(failed, transfer.ErrForeign) { // whose own remedy is that of a copy
		return m.wentAstray(ctx, "TO has another event where FROM's is to go")
	}
	if found, err := m.findAstray(ctx); err != nil || found.count == 0 {
		return failed
	}
	return m.wentAstray(ctx, failed.Error())
}

// handOver is what is done while the copy and the digests go on beside it.
func (m *mover) handOver(ctx context.Context) error {
	m.begin(PhaseCopy)
	if _, err := m.level(ctx); err != nil {
		return err
	}
	if !m.reopen {
		m.begin(PhaseFollow)
		if err := m.nearlyLevel(ctx); err != nil {
			return err
		}
		if err := m.compareSoFar(ctx); err != nil || m.opts.DryRun {
			return err
		}
	}
	m.closing.Store(true) // and everything else can wait
	m.keepStateNow()
	if !m.reopen {
		if err := m.close(ctx); err != nil {
			return err
		}
	}
	m.begin(PhaseDrain)
	if err := m.drain(ctx); err != nil {
		return err
	}
	m.begin(PhaseVerify)
	if err := m.verify(ctx); err != nil {
		return err
	}
	m.begin(PhaseTranslate)
	if err := m.translate(ctx); err != nil {
		return err
	}
	m.report.Closed = time.Since(m.closed)
	m.report.Done = true
	m.noteEnded(ctx)
	return nil
}

// nearlyLevel waits until TO is less than the option's time behind.
func (m *mover) nearlyLevel(ctx context.Context) error {
	for {
		lag, err := m.level(ctx)
		if err != nil {
			return err
		}
		if m.report.Lag = lag; lag <= m.opts.MaxLag {
			return nil
		}
	}
}

// copy copies and follows until ctx is done.
func (m *mover) copy(ctx context.Context) error {
	result, err := transfer.Copy(ctx, m.from.Store, m.to.Store, &transfer.CopyOptions{
		Follow: true, Checkpoints: m.to.Checkpoints, OnRefused: m.opts.OnRefused,
	})
	m.report.Copied = result
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return restored(err)
}

// level waits until everything that FROM holds now was read back from TO, and
// returns how long that took: so far TO is behind.
func (m *mover) level(ctx context.Context) (time.Duration, error) {
	asked := time.Now()
	info, err := m.from.Store.Info(ctx)
	if err != nil {
		return 0, fmt.Errorf("FROM: %w", err)
	}
	err = m.reach(ctx, info.Head.Position, levelPause)
	return time.Since(asked), err
}

// How often a move looks whether TO has come as far as FROM.
const levelPause, drainPause = 20 * time.Millisecond, time.Millisecond

// reach waits until FROM was read up to a position, and as many events from TO.
func (m *mover) reach(ctx context.Context, position eventstore.Position, pause time.Duration) error {
	ticker := time.NewTicker(pause)
	defer ticker.Stop()
	want := -1
	for {
		read, place := m.fromTail.at()
		if want < 0 && !place.Position.Before(position) {
			want = read
		}
		there, _ := m.toTail.at()
		if want >= 0 && there >= want {
			return nil
		}
		m.progress(there, read)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

// begin ends a phase and begins the next one.
func (m *mover) begin(phase Phase) {
	m.endPhase()
	m.phase, m.phaseBegan = phase, time.Now()
	if m.opts.Phase != nil {
		m.opts.Phase(phase)
	}
}

func (m *mover) endPhase() {
	if m.phase != "" {
		m.report.Phases = append(m.report.Phases, PhaseTime{Phase: m.phase, Took: time.Since(m.phaseBegan)})
		m.phase = ""
	}
}

func (m *mover) progress(done, total int) {
	if m.opts.Progress != nil {
		m.opts.Progress(done, total)
	}
}

// readsUpTo returns what tells how far a store was read that holds this as its last event.
func (m *mover) readsUpTo(t *tail, head eventstore.Place) func(eventstore.RecordedEvent) {
	var whole transfer.Estimate
	return func(event eventstore.RecordedEvent) {
		if n, _ := t.at(); n%1000 == 0 {
			m.progress(n, whole.Total(transfer.Progress{Result: transfer.Result{Read: n}, Copied: event.Place(), Head: head}))
		}
	}
}

func (m *mover) tell(format string, args ...any) {
	if m.opts.Tell != nil {
		m.opts.Tell(fmt.Sprintf(format, args...))
	}
}
