package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventstore/adapter"
)

// Append implements [eventstore.Backend].
func (b *Backend) Append(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
	if err := b.ready(ctx); err != nil {
		return nil, err
	}
	return b.committer.Append(ctx, req)
}

// flush writes a group of appends, each with its own verdict, in one transaction
// or, where it is too large for one, in several.
func (b *Backend) flush(ctx context.Context, group []*adapter.GroupedAppend) {
	w, err := b.takeWriter(ctx)
	if err != nil {
		fail(group, fmt.Errorf("%w: the log's writer did not become free: %w", eventstore.ErrUnavailable, err))
		return
	}
	defer func() { b.writer <- w }()
	w.appendAll(ctx, group)
}

func (b *Backend) takeWriter(ctx context.Context) (*writer, error) {
	select {
	case w := <-b.writer:
		return w, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func fail(group []*adapter.GroupedAppend, err error) {
	for _, call := range group {
		call.Results, call.Err = nil, err
	}
}

// appendAll writes the appends of a group in their order.
func (w *writer) appendAll(ctx context.Context, group []*adapter.GroupedAppend) {
	if err := w.pace.wait(ctx); err != nil {
		fail(group, tooLate(err))
		return
	}
	for len(group) > 0 {
		if err := w.prepare(ctx, partsOf(group)); err != nil {
			w.forget()
			fail(group, definite(ctx, err))
			return
		}
		round, err := w.judge(ctx, group)
		if err != nil {
			fail(group, definite(ctx, err))
			return
		}
		outcome, err := w.settle(ctx, round)
		switch outcome {
		case outcomeStored:
			round.answer()
			group = group[len(round.calls):]
		case outcomeAgain:
		case outcomeUnknown:
			w.forget()
			round.unknown(err)
			fail(group[len(round.calls):], fmt.Errorf("%w: the transaction before this append's has an unknown outcome", eventstore.ErrUnavailable))
			return
		case outcomeFailed:
			fail(group, definite(ctx, err))
			return
		}
		if ctx.Err() != nil && len(group) > 0 {
			fail(group, tooLate(ctx.Err()))
			return
		}
	}
}

// partsOf are the parts of a group's appends.
func partsOf(group []*adapter.GroupedAppend) func(yield func(eventstore.StreamAppend) bool) {
	return func(yield func(eventstore.StreamAppend) bool) {
		for _, call := range group {
			for _, part := range call.Parts {
				if !yield(part) {
					return
				}
			}
		}
	}
}

// tooLate is the error of appends that were not written within a flush's time. The
// context is the flush's and not a caller's.
func tooLate(err error) error {
	return fmt.Errorf("%w: the appends were not written in time, for others write too or the table is throttled: %w", eventstore.ErrUnavailable, err)
}

// definite makes an error of a flush's own context into one that may pass.
func definite(ctx context.Context, err error) error {
	if ctx.Err() != nil && !errors.Is(err, eventstore.ErrUnavailable) {
		return tooLate(err)
	}
	return err
}

// round is the part of a group that is judged together, and what it writes.
type round struct {
	batch *batch
	calls []verdict
	ahead []ahead // refusals that expect more than is there
}

// verdict is what an append is answered if its round succeeds.
type verdict struct {
	call     *adapter.GroupedAppend
	results  []eventstore.PartResult
	err      error
	writes   bool
	repeated bool // an event that the same round writes
}

// ahead is a stream that was expected to be further than it is known to be.
type ahead struct {
	stream  string
	version uint64
}

// refused tells whether the round refuses anything.
func (r *round) refused() bool {
	for i := range r.calls {
		if r.calls[i].err != nil {
			return true
		}
	}
	return false
}

func (r *round) answer() {
	for i := range r.calls {
		v := &r.calls[i]
		v.call.Results, v.call.Err = v.results, v.err
	}
}

// unknown answers the appends of a round whose transaction may have been stored.
func (r *round) unknown(err error) {
	for i := range r.calls {
		v := &r.calls[i]
		switch {
		case v.writes || v.repeated:
			v.call.Results, v.call.Err = nil, err
		case v.err != nil:
			v.call.Results, v.call.Err = nil, fmt.Errorf("%w: whether this append is refused was not settled", eventstore.ErrUnavailable)
		default: // a repetition of what was stored before
			v.call.Results, v.call.Err = v.results, nil
		}
	}
}

// judge judges the appends of a group in their order, each against what is known
// and what earlier ones add, until the transaction is full.
func (w *writer) judge(ctx context.Context, group []*adapter.GroupedAppend) (*round, error) {
	r := &round{batch: newBatch(w.end+1, w.next(), time.Now())}
	for _, call := range group {
		v := verdict{call: call}
		looker := looker{ctx: ctx, w: w, batch: r.batch}
		decisions, err := adapter.Judge(call.Parts, adapter.Streams{Version: looker.version, Find: looker.find(call.Parts), Sealed: w.seal})
		switch {
		case looker.failed != nil:
			return nil, looker.failed
		case err != nil:
			v.err = err
			var conflict *eventstore.ConflictError
			if errors.As(err, &conflict) && expectsMore(conflict) {
				r.ahead = append(r.ahead, ahead{conflict.Stream, conflict.Actual})
			}
		default:
			write := func(i int) bool { return decisions[i].Write }
			c := r.batch.cost(call.Parts, write)
			if c.chunks > 0 && !r.batch.fits(c) {
				return r, nil
			}
			r.batch.add(c)
			v.results = make([]eventstore.PartResult, len(call.Parts))
			for i, decision := range decisions {
				if decision.Write {
					v.writes = true
					v.results[i].Recorded = r.batch.write(&call.Parts[i], decision.First)
				} else {
					v.results[i] = eventstore.PartResult{Recorded: decision.Recorded, Duplicate: decision.Recorded != nil}
				}
			}
			v.repeated = looker.pending
		}
		r.calls = append(r.calls, v)
	}
	return r, nil
}

// expectsMore tells whether a conflict may be of a reader who saw more of the
// stream than is known here.
func expectsMore(conflict *eventstore.ConflictError) bool {
	exact, ok := conflict.Expected.Exact()
	return conflict.Actual == 0 || (ok && exact > conflict.Actual)
}

// looker answers adapter.Judge about one append.
type looker struct {
	ctx     context.Context //nolint:containedctx // lives as long as one judgement
	w       *writer
	batch   *batch
	chunk   *chunk // read last: the events of a repetition lie side by side
	pending bool   // an event was found in the batch
	failed  error
}

// stored reads an event of a stream.
func (l *looker) stored(stream string, version uint64) (eventstore.RecordedEvent, error) {
	if c := l.chunk; c == nil || c.stream != stream || version < c.first || version > c.last() {
		var err error
		if l.chunk, err = l.w.b.chunkAt(l.ctx, stream, version); err != nil {
			return eventstore.RecordedEvent{}, err
		}
	}
	return l.chunk.recorded(int(version - l.chunk.first)), nil
}

func (l *looker) version(stream string) (uint64, error) {
	if version, ok := l.batch.version(stream); ok {
		return version, nil
	}
	t, ok := l.w.tails.get(stream)
	if !ok {
		l.failed = fmt.Errorf("dynamodb: stream %q was not looked at", stream)
		return 0, l.failed
	}
	return t.version, nil
}

// find looks for events of an append's parts: among what the batch adds, and as far
// back as the largest of the parts asks for.
func (l *looker) find(parts []eventstore.StreamAppend) func(string, eventstore.Event) (adapter.Met, error) {
	largest := 0
	for _, part := range parts {
		largest = max(largest, len(part.Events))
	}
	depth := l.w.b.depth(largest)
	return func(stream string, event eventstore.Event) (adapter.Met, error) {
		if version, added := l.batch.find(stream, event.ID); added != nil {
			l.pending = true
			return adapter.Met{
				Found: true, Same: event.SameContent(*added.Event),
				Recorded: eventstore.Recorded{
					Version: version, Position: eventstore.NewPosition(l.batch.log.seq, added.index), RecordedAt: fromMicros(added.at),
				},
			}, nil
		}
		t, ok := l.w.tails.get(stream)
		if !ok {
			l.failed = fmt.Errorf("dynamodb: stream %q was not looked at", stream)
			return adapter.Met{}, l.failed
		}
		version, known, ok := t.find(event.ID, depth)
		if !ok {
			return adapter.Met{}, nil
		}
		stored, err := l.stored(stream, version)
		if err != nil {
			l.failed = err
			return adapter.Met{}, err
		}
		return adapter.Met{
			Found: true, Same: stored.ID == event.ID && event.SameContent(stored.Event),
			Recorded: eventstore.Recorded{Version: version, Position: known.position, RecordedAt: fromMicros(known.at)},
		}, nil
	}
}

// settle writes what a round writes. A round that only refuses is confirmed: a
// refusal is given only where the log, read after judging, holds nothing newer.
// Repetitions need no confirmation, for events never change.
func (w *writer) settle(ctx context.Context, r *round) (outcome, error) {
	if r.batch.count > 0 {
		began := time.Now()
		in := r.batch.build(w.b.keys, &w.b.deflater, w.b.client.table, w.events, w.streams)
		result, err := w.commit(ctx, &r.batch.log, in)
		if result == outcomeStored {
			w.pace.won(time.Since(began), time.Now())
		}
		return result, err
	}
	if !r.refused() {
		return outcomeStored, nil
	}
	news, _, err := w.catchUp(ctx, nil)
	switch {
	case err != nil:
		return outcomeFailed, err
	case news:
		return outcomeAgain, nil
	}
	for _, a := range r.ahead {
		// Who saw more read a transaction that becomes visible item by item.
		chunks, err := w.b.backwardChunks(ctx, a.stream, mostSort, 1)
		if err != nil {
			return outcomeFailed, err
		}
		if len(chunks) > 0 && chunks[0].last() > a.version {
			w.tails.delete(a.stream)
			news = true
		}
	}
	if news {
		return outcomeAgain, nil
	}
	return outcomeStored, nil
}
