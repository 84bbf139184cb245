package eventstore_test

import (
	"context"
	"iter"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// scripted is a memory backend whose calls a test can replace or count.
type scripted struct {
	*memory.Backend
	calls     atomic.Int64
	append    func(ctx context.Context, call int, req eventstore.AppendRequest) ([]eventstore.PartResult, error)
	readAll   func(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error)
	subscribe func(ctx context.Context, call int, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error]
	info      func(ctx context.Context) (eventstore.Info, error)
	caps      func(eventstore.Capabilities) eventstore.Capabilities
}

func newScripted() *scripted { return &scripted{Backend: memory.New()} }

func (s *scripted) open(t *testing.T, opts *eventstore.Options) *eventstore.Store {
	t.Helper()
	store, err := eventstore.New(s, opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	return store
}

func (s *scripted) Append(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
	call := int(s.calls.Add(1))
	if s.append != nil {
		return s.append(ctx, call, req)
	}
	return s.Backend.Append(ctx, req)
}

func (s *scripted) ReadStream(ctx context.Context, req eventstore.ReadStreamRequest) (eventstore.Page, error) {
	s.calls.Add(1)
	return s.Backend.ReadStream(ctx, req)
}

func (s *scripted) ReadAll(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
	s.calls.Add(1)
	if s.readAll != nil {
		return s.readAll(ctx, req)
	}
	return s.Backend.ReadAll(ctx, req)
}

func (s *scripted) Subscribe(ctx context.Context, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
	call := int(s.calls.Add(1))
	if s.subscribe != nil {
		return s.subscribe(ctx, call, req)
	}
	return s.Backend.Subscribe(ctx, req)
}

func (s *scripted) Info(ctx context.Context) (eventstore.Info, error) {
	if s.info != nil {
		return s.info(ctx)
	}
	return s.Backend.Info(ctx)
}

func (s *scripted) Capabilities() eventstore.Capabilities {
	if s.caps != nil {
		return s.caps(s.Backend.Capabilities())
	}
	return s.Backend.Capabilities()
}

// event returns a small event.
func event(eventType string) eventstore.Event {
	return eventstore.Event{Type: eventType, Data: []byte(`{}`)}
}

// collect reads an iterator to its end.
func collect(t *testing.T, seq iter.Seq2[eventstore.RecordedEvent, error]) []eventstore.RecordedEvent {
	t.Helper()
	var all []eventstore.RecordedEvent
	for e, err := range seq {
		require.NoError(t, err)
		all = append(all, e)
	}
	return all
}
