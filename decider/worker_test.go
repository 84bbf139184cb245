package decider_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/decider"
	"github.com/switchyard-dev/switchyard/eventstore"
)

const (
	partDo    = "do"
	partReact = "react"

	commands       = 40 // of each run
	accountsOfARun = 3  // more than the cache holds
)

// The faults of a run.
const (
	faultNone  = "none"
	faultLost  = "lost answers"
	faultKills = "kills"
)

// kinds are the Deciders whose answers are compared.
func kinds() map[string]*decider.Options {
	return map[string]*decider.Options{
		"plain":     {},
		"cache":     {CacheSize: 2},
		"snapshots": {Snapshots: &decider.Snapshots{Type: "Account", Every: 3}},
	}
}

// command is the i-th of a run. What it decides depends on the state, so that a
// repetition decides something else.
func (j job) command(i int) (decider.Command, decision) {
	r := rand.New(rand.NewPCG(j.Seed, uint64(i)))
	cmd := decider.Command{
		Stream: j.account(r.IntN(accountsOfARun)),
		ID:     uuid.NewSHA1(uuid.NameSpaceOID, fmt.Appendf(nil, "%s/%d/%d", j.Name, j.Seed, i)),
	}
	cents := r.Int64N(100)
	switch r.IntN(4) {
	case 0:
		return cmd, pay(cents)
	case 1:
		return cmd, withdraw(cents)
	case 2:
		return cmd, payUpTo(10 * cents)
	}
	return cmd, func(a Account) ([]Event, error) {
		events := []Event{Paid{a.Balance / 2}, Withdrawn{a.Balance / 3}, Paid{cents}}
		return events[:1+a.Events%3], nil
	}
}

func (j job) account(i int) string { return fmt.Sprintf("account-%s-%d", j.Name, i) }

// answer is what a worker heard of a command.
type answer struct {
	command int
	stream  string
	// The command's events: the first one's version, how many, and what is in them.
	first  uint64
	events int
	digest string
	// The state, and its version.
	state   Account
	version uint64
}

const answerForm = "%d %s %d %d %s %d %d %d"

func (a answer) String() string {
	return fmt.Sprintf(answerForm, a.command, a.stream, a.first, a.events, a.digest, a.state.Balance, a.state.Events, a.version)
}

func parseAnswer(text string) (a answer, err error) {
	_, err = fmt.Sscanf(text, answerForm, &a.command, &a.stream, &a.first, &a.events, &a.digest, &a.state.Balance, &a.state.Events, &a.version)
	return a, err
}

func digest(events []eventstore.RecordedEvent) string {
	sum := sha256.New()
	for _, e := range events {
		fmt.Fprintln(sum, e.ID, e.Version, e.Type, string(e.Data))
	}
	return fmt.Sprintf("%.8x", sum.Sum(nil))
}

// worker does commands of a run, at random and again and again.
type worker struct {
	job
	store  *eventstore.Store
	report func(answer)
	// answered holds the commands whose events this process has seen.
	answered *sync.Map
}

// newWorkers are so many of one process, with one Decider.
func newWorkers(ctx context.Context, backend eventstore.Backend, j job, n int, report func(answer)) (run func() error, err error) {
	opts := &eventstore.Options{}
	if j.Fault == faultLost {
		backend = &unreliable{Backend: backend, random: rand.New(rand.NewPCG(j.Seed, uint64(j.Worker)))}
		if j.Worker%2 == 0 {
			opts.RetryFor = -1 // an unknown outcome gets as far as Do
		}
	}
	store, err := eventstore.New(backend, opts)
	if err != nil {
		return nil, err
	}
	d, err := decider.New(store, accountEvents(), Account.evolve, kinds()[j.Kind])
	if err != nil {
		return nil, err
	}
	return func() error {
		failures := make([]error, n)
		var working sync.WaitGroup
		answered := &sync.Map{}
		for i := range n {
			r := rand.New(rand.NewPCG(j.Seed+uint64(os.Getpid()), uint64(j.Worker*100+i)))
			w := &worker{job: j, store: store, report: report, answered: answered}
			working.Go(func() { failures[i] = w.work(ctx, d, r) })
		}
		working.Wait()
		return errors.Join(append(failures, store.Close())...)
	}, nil
}

func (w *worker) work(ctx context.Context, d *decider.Decider[Account, Event], r *rand.Rand) error {
	for ctx.Err() == nil {
		i := r.IntN(commands)
		_, again := w.answered.Load(i)
		if err := w.once(ctx, d, i, again, r); err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

// once does a command, as often as its outcome asks for.
func (w *worker) once(ctx context.Context, d *decider.Decider[Account, Event], i int, again bool, r *rand.Rand) error {
	cmd, decide := w.command(i)
	for ctx.Err() == nil {
		call, cancel := ctx, func() {}
		if w.Fault == faultKills && r.IntN(8) == 0 { // beside the kills, of which a process in memory has none
			call, cancel = context.WithTimeout(ctx, time.Duration(r.Int64N(int64(time.Millisecond))))
		}
		res, err := d.Do(call, cmd, decide)
		cancel()
		switch {
		case err == nil:
		case errors.Is(err, eventstore.ErrUnknownOutcome), errors.Is(err, eventstore.ErrUnavailable),
			errors.Is(err, eventstore.ErrConflict), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
			continue
		case errors.Is(err, errPoor) && !again:
			return nil
		default:
			return fmt.Errorf("command %d, again %t: %w", i, again, err)
		}
		a := answer{command: i, stream: cmd.Stream, events: len(res.Events), digest: digest(res.Events), state: res.State, version: res.Version}
		if len(res.Events) > 0 {
			a.first = res.Events[0].Version
			w.answered.Store(i, nil)
		}
		if again && (!res.Duplicate || len(res.Events) == 0) {
			return fmt.Errorf("command %d was done, and comes as new", i)
		}
		w.report(a)
		return nil
	}
	return nil
}

// childDoes is the part of a process that does commands.
func childDoes(ctx context.Context, backend eventstore.Backend, j job) error {
	var mu sync.Mutex
	run, err := newWorkers(ctx, backend, j, workersOfAProcess, func(a answer) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Println("answer", a)
	})
	if err != nil {
		return err
	}
	return run()
}

// unreliable loses answers, and does not always do what it is asked for.
type unreliable struct {
	eventstore.Backend
	mu     sync.Mutex
	random *rand.Rand
}

func (u *unreliable) Append(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
	u.mu.Lock()
	dice := u.random.IntN(12)
	u.mu.Unlock()
	switch dice {
	case 0:
		return nil, eventstore.ErrUnavailable
	case 1:
		return nil, eventstore.ErrUnknownOutcome
	}
	results, err := u.Backend.Append(ctx, req)
	if err == nil && dice < 4 {
		return nil, eventstore.ErrUnknownOutcome
	}
	return results, err
}
