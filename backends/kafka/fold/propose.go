package fold

import (
	"errors"
	"time"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventstore/adapter"
)

// Step is what a writer does with a request.
type Step byte

// The steps of a writer.
const (
	// Answer: the request is settled, whatever became of earlier attempts:
	// nothing is sent.
	Answer Step = iota + 1
	// LookAgain: an expectation is not reached, or the store is sealed, as far as
	// this state goes. Check the request against one that has all that was
	// acknowledged before; if that is no better, its error is the answer. Nothing is
	// sent, for a record that is refused for this would not stay refused.
	LookAgain
	// Send: the frame may be sent. Its verdict comes from the log.
	Send
)

// Proposal is what [State.Check] makes of a request.
type Proposal struct {
	Step Step
	// Decisions are on the parts, where the request is a repetition. The record
	// times are zero: the index does not have them.
	Decisions []adapter.Decision
	// Err is the refusal: an [eventstore.ConflictError], an
	// [eventstore.EventIDReusedError] or a [eventstore.SealedError].
	Err error

	request   *Request
	sealEpoch uint64
}

// Check says what a writer that knows this state does with a request.
func (s *State) Check(r *Request) Proposal {
	decisions, err := adapter.Judge(r.parts, s.known(s.sealEpoch))
	proposal := Proposal{Decisions: decisions, Err: err, request: r, sealEpoch: s.sealEpoch}
	proposal.Step = step(decisions, err)
	return proposal
}

func step(decisions []adapter.Decision, err error) Step {
	// What a stream that grows, or the end of a seal, may change. All other errors
	// are as true now as they were in the state that was judged.
	if conflict := (*eventstore.ConflictError)(nil); errors.As(err, &conflict) && mayBeReached(conflict) || errors.Is(err, eventstore.ErrSealed) {
		return LookAgain
	}
	if err != nil {
		return Answer
	}
	for _, decision := range decisions {
		if decision.Write {
			return Send
		}
	}
	return Answer
}

// mayBeReached tells whether a stream that grows may meet the expectation yet.
func mayBeReached(conflict *eventstore.ConflictError) bool {
	version, exact := conflict.Expected.Exact()
	return !exact || version > conflict.Actual
}

// Frame encodes the record to send, with the time of the writer's clock, which
// must be in [TimeRange]. It is for proposals to [Send].
func (p Proposal) Frame(at time.Time) []byte {
	return p.request.frame(at, p.sealEpoch, p.Decisions)
}

// Recorded returns where the events of the request's parts are, and since when,
// after an accepted or repeated record of it. The record times of parts that are
// repetitions are zero.
func (r *Request) Recorded(verdict Verdict) [][]eventstore.Recorded {
	all := make([][]eventstore.Recorded, len(r.parts))
	index := 0
	for i, part := range r.parts {
		decision := verdict.Decisions[i]
		if !decision.Write {
			all[i] = decision.Recorded
			index += len(part.Events)
			continue
		}
		at := verdict.At
		if part.RecordedAt != nil {
			at = *part.RecordedAt
		}
		all[i] = make([]eventstore.Recorded, len(part.Events))
		for j := range all[i] {
			all[i][j] = eventstore.Recorded{
				Version:    decision.First + uint64(j),
				Position:   newPlace(verdict.Offset, index).position(),
				RecordedAt: at.UTC(),
			}
			index++
		}
	}
	return all
}
