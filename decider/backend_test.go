package decider_test

import (
	"context"
	"slices"
	"sync"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// spy is a backend whose calls are counted, and whose appends and reads a test may
// change.
type spy struct {
	eventstore.Backend

	mu      sync.Mutex
	reads   []eventstore.ReadStreamRequest
	appends []eventstore.AppendRequest
	// append, where not nil, is called in place of the backend's.
	append func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error)
	// read, where not nil, is called before each read of a stream.
	read func(req eventstore.ReadStreamRequest) error
	// change, where not nil, changes what is declared.
	change func(*eventstore.Capabilities)
	// records, where not nil, are in place of the backend's.
	records *eventstore.Records
}

func (s *spy) Append(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
	s.mu.Lock()
	s.appends = append(s.appends, req)
	hook := s.append
	s.mu.Unlock()
	if hook != nil {
		return hook(ctx, req)
	}
	return s.Backend.Append(ctx, req)
}

func (s *spy) ReadStream(ctx context.Context, req eventstore.ReadStreamRequest) (eventstore.Page, error) {
	s.mu.Lock()
	s.reads = append(s.reads, req)
	hook := s.read
	s.mu.Unlock()
	if hook != nil {
		if err := hook(req); err != nil {
			return eventstore.Page{}, err
		}
	}
	return s.Backend.ReadStream(ctx, req)
}

func (s *spy) Capabilities() eventstore.Capabilities {
	caps := s.Backend.Capabilities()
	if s.change != nil {
		s.change(&caps)
	}
	return caps
}

func (s *spy) Records() eventstore.Records {
	if s.records != nil {
		return *s.records
	}
	return s.Backend.Records()
}

// since forgets what was counted.
func (s *spy) since() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads, s.appends = nil, nil
}

func (s *spy) counted() (reads []eventstore.ReadStreamRequest, appends []eventstore.AppendRequest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.reads), slices.Clone(s.appends)
}

// nextAppend lets one append go through f, and the later ones pass.
func (s *spy) nextAppend(f func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.append = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
		s.mu.Lock()
		s.append = nil
		s.mu.Unlock()
		return f(ctx, req)
	}
}

// answerLost stores an append and loses the answer.
func (s *spy) answerLost(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
	if _, err := s.Backend.Append(ctx, req); err != nil {
		return nil, err
	}
	return nil, eventstore.ErrUnknownOutcome
}
