package fold

import (
	"errors"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventstore/adapter"
)

// judgeAppend comes to the verdict on the append in s.record, and stores its
// events where it is accepted.
func (s *State) judgeAppend() Verdict {
	decisions, err := adapter.Judge(s.judged(), s.known(s.record.SealEpoch))
	clear(s.events) // which hold the record's bytes
	if err != nil {
		if errors.Is(err, errOvertaken) {
			return s.verdict(Overtaken)
		}
		verdict := s.verdict(Refused)
		verdict.Err = err
		return verdict
	}
	verdict := s.verdict(mixedRule(s.record.Parts, decisions))
	if verdict.Outcome == Accepted {
		s.keep(decisions)
	}
	if verdict.Outcome != Overtaken {
		verdict.Decisions = decisions
	}
	return verdict
}

// errOvertaken is the seal that [Judge] is shown for a record whose writer had
// not seen all seals before it: it refuses what only a fresh judgement may let
// pass, and lets repetitions and reused IDs be found.
var errOvertaken = &eventstore.SealedError{Reason: "it was judged before the last seal"}

// known is what adapter.Judge may ask about this state for an append whose writer had
// seen so many seals.
func (s *State) known(sealEpoch uint64) adapter.Streams {
	streams := s.asked
	switch {
	case s.seal != nil:
		streams.Sealed = &eventstore.SealedError{Reason: s.seal.Reason}
	case sealEpoch != s.sealEpoch:
		streams.Sealed = errOvertaken
	}
	return streams
}

func (s *State) version(name string) (uint64, error) { return s.Version(name), nil }

func (s *State) find(name string, event eventstore.Event) (adapter.Met, error) {
	stream := s.streams[name]
	if stream == nil {
		return adapter.Met{}, nil
	}
	version := stream.find(event.ID, s.seed)
	if version == 0 {
		return adapter.Met{}, nil
	}
	e := stream.entries[version-1]
	return adapter.Met{
		Found:    true,
		Recorded: eventstore.Recorded{Version: version, Position: e.place.position()},
		Same:     e.digest == digest(event.Data),
	}, nil
}

// judged returns the parts of s.record in the form that [Judge] takes: of each
// event the ID, and its encoded content as the data.
func (s *State) judged() []eventstore.StreamAppend {
	s.parts, s.events = s.parts[:0], s.events[:0]
	for _, event := range s.record.events {
		s.events = append(s.events, eventstore.Event{ID: event.ID, Data: event.Body})
	}
	first := 0
	for _, part := range s.record.Parts {
		judged := eventstore.StreamAppend{Expected: part.Expected, Events: s.events[first : first+len(part.Events)]}
		if stream := s.streams[string(part.Stream)]; stream != nil {
			judged.Stream = stream.name
		} else {
			judged.Stream = string(part.Stream)
		}
		first += len(part.Events)
		s.parts = append(s.parts, judged)
	}
	return s.parts
}

// mixedRule tells whether an append whose parts were not refused stores anything:
// of the parts that were no repetition when it was sent, all or none may be one
// now. Otherwise a refused record could come back to life: when the part it was
// refused for is stored by another append, a late copy would store the others.
func mixedRule(parts []Part, decisions []adapter.Decision) Outcome {
	writes, repeats := false, false
	for i, decision := range decisions {
		switch {
		case decision.Write && parts[i].Repetition:
			return Overtaken // no writer has seen it stored
		case decision.Write:
			writes = true
		case decision.Recorded != nil && !parts[i].Repetition:
			repeats = true
		}
	}
	switch {
	case writes && repeats:
		return Overtaken
	case writes:
		return Accepted
	}
	return Repeated
}

// keep adds the events of the parts that are to be written.
func (s *State) keep(decisions []adapter.Decision) {
	index := 0
	for i, part := range s.record.Parts {
		if !decisions[i].Write {
			index += len(part.Events)
			continue
		}
		to := s.streams[s.parts[i].Stream]
		if to == nil {
			to = &stream{name: s.parts[i].Stream}
			s.streams[to.name] = to
			s.counts.Streams++
		}
		for _, event := range part.Events {
			to.add(entry{newPlace(s.next, index), event.ID, digest(event.Body)}, s.seed)
			index++
		}
		s.counts.Events += uint64(len(part.Events))
		s.head = to
	}
}
