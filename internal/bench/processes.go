package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// Processes are further processes that append to the same store as this one, at
// the same time. Each runs [Work]; they end with this process, however it ends,
// because their input does.
type Processes struct {
	workers []*worker
}

// worker is one of them, seen from here. It answers one order after the other.
type worker struct {
	cmd     *exec.Cmd
	input   io.WriteCloser
	orders  *json.Encoder
	answers *json.Decoder
}

// order tells a worker to append. The first one names the store and only opens it.
type order struct {
	URL           string `json:",omitempty"`
	Writers, Size int
	Duration      time.Duration
}

type answer struct {
	Result Result
	Error  string
}

// StartProcesses starts so many processes beside this one and has each open the
// store of the URL, which travels through a pipe because it may hold a credential.
// command makes the command of one process that runs [Work] on its standard
// input and output. The processes are killed when ctx ends.
func StartProcesses(ctx context.Context, beside int, url string, command func(context.Context) (*exec.Cmd, error)) (*Processes, error) {
	p := &Processes{}
	for range beside {
		var w *worker
		cmd, err := command(ctx)
		if err == nil {
			w, err = startWorker(cmd)
		}
		if err == nil {
			p.workers = append(p.workers, w)
			_, err = w.do(order{URL: url})
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("start another process: %w", err), p.Close())
		}
	}
	return p, nil
}

func startWorker(cmd *exec.Cmd) (*worker, error) {
	input, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	output, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	return &worker{cmd, input, json.NewEncoder(input), json.NewDecoder(output)}, cmd.Start()
}

func (w *worker) do(o order) (Result, error) {
	if err := w.orders.Encode(o); err != nil {
		return Result{}, fmt.Errorf("the other process has ended: %w", err)
	}
	var a answer
	if err := w.answers.Decode(&a); err != nil {
		return Result{}, fmt.Errorf("the other process has ended: %w", err)
	}
	if a.Error != "" {
		return Result{}, fmt.Errorf("the other process: %s", a.Error)
	}
	return a.Result, nil
}

// Close ends the processes and waits for them.
func (p *Processes) Close() error {
	var errs []error
	for _, w := range p.workers {
		_ = w.input.Close() // it has ended, or this ends it
		if err := w.cmd.Wait(); err != nil {
			errs = append(errs, fmt.Errorf("another process of the benchmark: %w", err))
		}
	}
	return errors.Join(errs...)
}

// Cases are the appends to new streams of [Cases], under the same names, with
// the writers divided evenly among all processes: what changes against one
// process is only how many share the work. The rate is of all together.
func (p *Processes) Cases() []Case {
	all := len(p.workers) + 1
	var cases []Case
	for _, shape := range Shapes() {
		writers, size := shape[0]/all, shape[1]
		if writers*all != shape[0] {
			continue
		}
		cases = append(cases, Case{
			Name: newStreamsName(shape[0], size),
			Run: func(ctx context.Context, store *eventstore.Store, d time.Duration) (Result, error) {
				return p.together(ctx, store, order{Writers: writers, Size: size, Duration: d})
			},
		})
	}
	return cases
}

// together has every process do the same, this one too.
func (p *Processes) together(ctx context.Context, store *eventstore.Store, o order) (Result, error) {
	results, errs := make([]Result, len(p.workers)+1), make([]error, len(p.workers)+1)
	var done sync.WaitGroup
	for i, w := range p.workers {
		done.Go(func() { results[i], errs[i] = w.do(o) })
	}
	last := len(p.workers)
	results[last], errs[last] = newStreams(ctx, store, o.Writers, o.Size, o.Duration)
	done.Wait()
	if err := errors.Join(errs...); err != nil {
		return Result{}, err
	}
	sum, rates := Result{Unit: "events"}, make([]string, len(results))
	for i, r := range results {
		sum.Rate += r.Rate
		sum.P50, sum.P99 = max(sum.P50, r.P50), max(sum.P99, r.P99)
		rates[i] = fmt.Sprintf("%.0f", r.Rate)
	}
	sum.Note = strings.Join(rates, " + ") + " by process; latencies of the slower one"
	return sum, nil
}

// Work does what [Processes] of another process order through in, and answers
// through out, until in ends: then it gives up what it is doing and returns. open
// opens the store that the first order names.
func Work(ctx context.Context, in io.Reader, out io.Writer, open func(ctx context.Context, url string) (*eventstore.Store, error)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	orders := make(chan order)
	go func() {
		defer cancel()
		for decoder := json.NewDecoder(in); ; {
			var o order
			if decoder.Decode(&o) != nil {
				return
			}
			select {
			case orders <- o:
			case <-ctx.Done():
				return
			}
		}
	}()
	var store *eventstore.Store
	defer func() {
		if store != nil {
			_ = store.Close()
		}
	}()
	answers := json.NewEncoder(out)
	for {
		var o order
		select {
		case <-ctx.Done():
			return nil // the end of the orders is the end of the work
		case o = <-orders:
		}
		var a answer
		var err error
		if store == nil {
			store, err = open(ctx, o.URL)
		} else {
			a.Result, err = newStreams(ctx, store, o.Writers, o.Size, o.Duration)
		}
		if err != nil {
			a.Error = err.Error()
		}
		if err := answers.Encode(a); err != nil {
			return fmt.Errorf("answer the benchmark: %w", err)
		}
	}
}
