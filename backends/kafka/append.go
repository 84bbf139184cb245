package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/backends/kafka/fold"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventstore/adapter"
)

// prepared is an append on its way: what its caller found out, and what became of
// its record.
type prepared struct {
	proposal fold.Proposal
	verdict  fold.Verdict
}

// Append implements [eventstore.Backend].
//
// What can be answered from what is folded is, and nothing is written: a repetition,
// and a refusal that stays one. What may be reached yet is looked at again in a view
// of everything acknowledged. Only what would be stored is proposed, so that no late
// copy of a refused record is ever accepted.
func (b *Backend) Append(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
	if err := b.ready(ctx); err != nil {
		return nil, err
	}
	if req.ID == uuid.Nil {
		req.ID = uuid.New()
	}
	request, err := fold.NewRequest(req.ID, req.Parts)
	if err != nil {
		return nil, err
	}
	if size := request.MaxSize(); size > b.most {
		return nil, &eventstore.InvalidError{Field: "events", Reason: fmt.Sprintf("the append is up to %d bytes as a record, limit %d (max.message.bytes of topic %s)", size, b.most, b.topic)}
	}
	for viewed := false; ; {
		proposal, err := b.log.check(request)
		if err != nil {
			return nil, err
		}
		if proposal.Step != fold.Send {
			if proposal.Err == nil {
				return b.results(ctx, req.Parts, request.Recorded(fold.Verdict{Decisions: proposal.Decisions}))
			}
			if !viewed && !errors.Is(proposal.Err, eventstore.ErrEventIDReused) {
				if err := b.view(ctx); err == nil {
					viewed = true
					continue
				} else if proposal.Step == fold.LookAgain {
					return nil, err
				}
			}
			return nil, proposal.Err
		}
		sent := &prepared{proposal: proposal}
		if _, err := b.appends.AppendPrepared(ctx, req, sent); err != nil {
			return nil, err
		}
		switch sent.verdict.Outcome {
		case fold.Accepted, fold.Repeated:
			return b.results(ctx, req.Parts, request.Recorded(sent.verdict))
		case fold.Refused:
			return nil, sent.verdict.Err
		case fold.Overtaken, fold.Ignored:
			viewed = false // what came before it changed what it was judged by
		}
	}
}

// check judges a request by what is folded.
func (l *folded) check(request *fold.Request) (fold.Proposal, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.halted != nil {
		return fold.Proposal{}, l.halted
	}
	return l.state.Check(request), nil
}

// flush proposes a group of appends in one batch.
func (b *Backend) flush(ctx context.Context, group []*adapter.GroupedAppend) {
	proposals := make([]proposal, len(group))
	now := time.Now()
	for i, call := range group {
		sent := call.Prepared.(*prepared)
		proposals[i] = proposal{id: call.ID, at: now, frame: sent.proposal.Frame(now)}
	}
	for i, outcome := range b.write(ctx, proposals) {
		group[i].Prepared.(*prepared).verdict = outcome.verdict
		group[i].Err = outcome.err
	}
}

// results puts together the answer on an append's parts. The record times of
// repetitions are read from their records.
func (b *Backend) results(ctx context.Context, parts []eventstore.StreamAppend, recorded [][]eventstore.Recorded) ([]eventstore.PartResult, error) {
	results := make([]eventstore.PartResult, len(parts))
	var offsets []int64
	for i, part := range recorded {
		results[i] = eventstore.PartResult{Recorded: part}
		for _, event := range part {
			if event.RecordedAt.IsZero() {
				results[i].Duplicate = true
				offsets = append(offsets, offsetOf(event.Position))
			}
		}
	}
	if len(offsets) == 0 {
		return results, nil
	}
	values, err := b.records(ctx, offsets)
	if err == nil {
		err = addTimes(results, values)
	}
	if err != nil {
		// The events are stored; whoever asked again may have an attempt in doubt.
		return nil, fmt.Errorf("%w: the events are stored, and since when cannot be read: %w", eventstore.ErrUnknownOutcome, notContract(b.readError(ctx, err)))
	}
	return results, nil
}

func addTimes(results []eventstore.PartResult, values map[int64]*decoded) error {
	for i := range results {
		if !results[i].Duplicate {
			continue
		}
		for j := range results[i].Recorded {
			event := &results[i].Recorded[j]
			offset, index := event.Position.Words()
			found, err := eventAt(values[int64(offset)], int(index))
			if err != nil {
				return fmt.Errorf("the record at offset %d: %w", offset, err)
			}
			event.RecordedAt = fold.At(found.part.Time)
		}
	}
	return nil
}
