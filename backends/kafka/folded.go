package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/backends/kafka/fold"
	"github.com/switchyard-dev/switchyard/backends/kafka/internal/connection"
	"github.com/switchyard-dev/switchyard/eventstore/adapter"
)

// foldAtOnce is how many records are folded before readers get their turn.
const foldAtOnce = 256

// folded is the log as this process knows it. All of it is acknowledged: a broker
// gives no consumer a record before, and a writer folds its own when it hears so.
type folded struct {
	// changed wakes whoever waits for records: this handle's readers, writers and
	// subscriptions.
	changed adapter.Hint

	mu     sync.RWMutex
	state  *fold.State
	recent recent
	// halted is why nothing can be said of the log any more.
	halted error
	// doubts counts the reasons to doubt that the log is still the one that was folded,
	// such as a lost connection, and settled those of them that a look at the log came
	// after.
	doubts, settled uint64
	// lost is since when the log cannot be read, and why.
	lost    time.Time
	lostErr error
	waiting map[uuid.UUID][]*verdicts
	foreign uint64 // records that are not ours, as logged
}

// verdicts collects those on the records of a request, as they are folded.
type verdicts struct{ all []fold.Verdict }

func newFolded() *folded {
	return &folded{state: fold.New(), waiting: make(map[uuid.UUID][]*verdicts)}
}

// restore begins with a state instead of nothing. last is its last record.
func (l *folded) restore(state *fold.State, last connection.Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state = state
	l.recent.restart(last)
}

func (l *folded) next() int64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.state.Next()
}

func (l *folded) haltedBy() error {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.halted
}

// halt ends all use of the log, for a reason that does not pass.
func (l *folded) halt(err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.haltLocked(err)
}

func (l *folded) haltLocked(err error) error {
	if l.halted == nil {
		l.halted = fmt.Errorf("kafka: %w", &haltedError{err})
		l.changed.Notify()
	}
	return l.halted
}

// take folds records that were read from the log. Those that are folded already are
// passed over.
func (l *folded) take(records []connection.Record) error {
	for len(records) > 0 {
		n := min(len(records), foldAtOnce)
		if err := l.takeSome(records[:n]); err != nil {
			return err
		}
		records = records[n:]
	}
	return nil
}

func (l *folded) takeSome(records []connection.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.changed.Notify()
	for _, record := range records {
		switch next := l.state.Next(); {
		case l.halted != nil:
			return l.halted
		case record.Offset < next:
			continue
		case record.Offset > next:
			return l.haltLocked(&fold.HaltError{Offset: next, Reason: fmt.Sprintf("the next record is at %d: records are missing, the log was truncated or compacted", record.Offset)})
		}
		if err := l.foldLocked(record); err != nil {
			return err
		}
	}
	return nil
}

// takeOwn folds records that this process has appended at an offset, if they are
// next. Otherwise they come with the others.
func (l *folded) takeOwn(base int64, records []connection.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.halted != nil || l.doubts != l.settled || base != l.state.Next() {
		return l.halted
	}
	defer l.changed.Notify()
	for i := range records {
		record := connection.Record{Offset: base + int64(i), Value: records[i].Value}
		if err := l.foldLocked(record); err != nil {
			return err
		}
	}
	return nil
}

func (l *folded) foldLocked(record connection.Record) error {
	verdict, err := l.state.Fold(record.Offset, record.Value)
	if err != nil {
		return l.haltLocked(err)
	}
	l.recent.add(record)
	for _, waits := range l.waiting[verdict.ID] {
		waits.all = append(waits.all, verdict)
	}
	return nil
}

// await collects the verdicts on a request's records from now on, until the
// returned function is called.
func (l *folded) await(ids []uuid.UUID) (all []*verdicts, forget func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range ids {
		one := &verdicts{}
		all = append(all, one)
		l.waiting[id] = append(l.waiting[id], one)
	}
	return all, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		for i, id := range ids {
			if others := without(l.waiting[id], all[i]); len(others) > 0 {
				l.waiting[id] = others
			} else {
				delete(l.waiting, id)
			}
		}
	}
}

func without(all []*verdicts, one *verdicts) []*verdicts {
	var others []*verdicts
	for _, other := range all {
		if other != one {
			others = append(others, other)
		}
	}
	return others
}

// find returns the first verdict that fits.
func (l *folded) find(v *verdicts, fits func(fold.Verdict) bool) (fold.Verdict, bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	for _, verdict := range v.all {
		if fits(verdict) {
			return verdict, true
		}
	}
	return fold.Verdict{}, false
}

// errStalled says that the log's end is known, and its records do not come.
var errStalled = errors.New("the log's last records cannot be read")

// waitFor waits until the log is folded up to an offset, and is known to be the one
// that was folded. It gives up when nothing
// was folded for so long.
func (l *folded) waitFor(ctx context.Context, end int64, patience time.Duration) error {
	stalled := time.NewTimer(patience)
	defer stalled.Stop()
	for last := int64(-1); ; {
		changed := l.changed.C()
		l.mu.RLock()
		next, halted, lost, doubted := l.state.Next(), l.halted, l.lostErr, l.doubts != l.settled
		l.mu.RUnlock()
		if halted != nil {
			return halted
		}
		if next >= end && !doubted { // or the log that ends there may be another one
			return nil
		}
		if next != last {
			last = next
			stalled.Reset(patience)
		}
		select {
		case <-changed:
		case <-stalled.C:
			if lost != nil {
				return fmt.Errorf("%w: %w", errStalled, lost)
			}
			return errStalled
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// last returns the last folded record.
func (l *folded) last() (connection.Record, bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.recent.last()
}

// setLost notes that the log cannot be read, or, with nil, that it can be again.
func (l *folded) setLost(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err == nil:
		l.lost, l.lostErr = time.Time{}, nil
		return
	case l.lostErr == nil:
		l.lost = time.Now()
	}
	l.lostErr = err
	l.doubts++
}

// doubt has the log looked at before anything more is said of it.
func (l *folded) doubt() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.doubts++
}

// doubted returns how many reasons to doubt there were, and whether one is open.
func (l *folded) doubted() (doubts uint64, open bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.doubts, l.doubts != l.settled
}

// settle says that the log was the one that was folded, after so many doubts.
func (l *folded) settle(doubts uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.settled < doubts {
		l.settled = doubts
		l.changed.Notify()
	}
}

// lostFor returns why the log cannot be read, if that is so for longer than so much.
func (l *folded) lostFor(d time.Duration) error {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.lostErr != nil && time.Since(l.lost) > d {
		return l.lostErr
	}
	return nil
}
