package esdbtest

import (
	"strconv"
	"strings"
)

// resolved is an event as a reader gets it: with links resolved, event is the
// target, nil if it cannot be read, and link is the event that points to it.
type resolved struct {
	event *record
	link  *record
}

// resolve follows a link if asked to; other events are themselves.
func (s *store) resolve(r *record, links bool) resolved {
	if !links || r.eventType != typeLink {
		return resolved{event: r}
	}
	return resolved{event: s.target(string(r.data)), link: r}
}

// target finds the event "revision@stream", nil if there is none to be read.
func (s *store) target(reference string) *record {
	number, stream, ok := strings.Cut(reference, "@")
	if !ok {
		return nil
	}
	revision, err := strconv.ParseInt(number, 10, 64)
	if err != nil || revision < 0 {
		return nil
	}
	p, err := s.streamForward(stream, revision, 1, false)
	if err != nil || len(p.records) == 0 || p.records[0].revision != revision {
		return nil
	}
	return p.records[0]
}
