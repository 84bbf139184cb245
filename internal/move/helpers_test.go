package move

import (
	"context"
	"fmt"
	"iter"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/backends/sqlite"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// side opens a store as the command line does.
func side(t *testing.T, backend eventstore.Backend, name string) Side {
	t.Helper()
	s, err := open(backend, name)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Store.Close()) })
	return s
}

func open(backend eventstore.Backend, name string) (Side, error) {
	store, err := eventstore.New(backend, &eventstore.Options{BackendLimits: true, AllowReserved: true})
	return Side{Store: store, Checkpoints: backend.Records().Checkpoints, Name: name}, err
}

func memorySide(t *testing.T, name string) Side {
	t.Helper()
	return side(t, memory.New(), name)
}

func sqliteSide(ctx context.Context, path string) (Side, error) {
	backend, err := sqlite.Open(ctx, path, nil)
	if err != nil {
		return Side{}, err
	}
	return open(backend, "sqlite:"+path)
}

// add appends n events to the streams a, b and c in turn.
func add(t *testing.T, s Side, n int) {
	t.Helper()
	for i := range n {
		_, err := s.Store.Append(t.Context(), []string{"a", "b", "c"}[i%3], eventstore.Any(),
			eventstore.Event{Type: "Counted", Data: fmt.Appendf(nil, `{"n":%d}`, i), Metadata: map[string]string{"k": fmt.Sprint(i)}})
		require.NoError(t, err)
	}
}

func all(t *testing.T, s Side) []eventstore.RecordedEvent {
	t.Helper()
	var events []eventstore.RecordedEvent
	for event, err := range s.Store.ReadAll(t.Context(), eventstore.ReadAllOptions{}) {
		require.NoError(t, err)
		events = append(events, event)
	}
	return events
}

// requireMoved holds two stores against each other event by event, without what a
// move itself uses.
func requireMoved(t *testing.T, from, to Side) {
	t.Helper()
	left, right := all(t, from), all(t, to)
	require.Len(t, right, len(left))
	for i := range left {
		require.Equal(t, left[i].Stream, right[i].Stream)
		require.Equal(t, left[i].Version, right[i].Version)
		require.Equal(t, left[i].Event, right[i].Event)
	}
}

// handle runs a subscription over the first n events of a store and returns them.
func handle(t *testing.T, s Side, name string, n int) []eventstore.RecordedEvent {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var handled []eventstore.RecordedEvent
	err := s.Store.Run(ctx, eventstore.Subscription{Name: name, UntilCaughtUp: true, CheckpointEvery: 1, Handler: func(_ context.Context, event eventstore.RecordedEvent) error {
		if len(handled) == n {
			cancel()
			return context.Canceled
		}
		handled = append(handled, event)
		return nil
	}})
	require.NoError(t, err)
	return handled
}

func infoOf(t *testing.T, s Side) eventstore.Info {
	t.Helper()
	info, err := s.Store.Info(t.Context())
	require.NoError(t, err)
	return info
}

func sealed(t *testing.T, s Side) bool {
	t.Helper()
	return infoOf(t, s).Sealed
}

// spread is a store whose positions are ten times those of others.
type spread struct{ *memory.Backend }

func apart(p eventstore.Position) eventstore.Position {
	hi, lo := p.Words()
	return eventstore.NewPosition(hi*10, lo*10)
}

func together(p eventstore.Position) eventstore.Position {
	hi, lo := p.Words()
	return eventstore.NewPosition(hi/10, lo/10)
}

func (s spread) Append(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
	results, err := s.Backend.Append(ctx, req)
	for _, result := range results {
		for i := range result.Recorded {
			result.Recorded[i].Position = apart(result.Recorded[i].Position)
		}
	}
	return results, err
}

func (s spread) page(page eventstore.Page, err error) (eventstore.Page, error) {
	for i := range page.Events {
		page.Events[i].Position = apart(page.Events[i].Position)
	}
	page.Next.Position = apart(page.Next.Position)
	return page, err
}

func (s spread) ReadStream(ctx context.Context, req eventstore.ReadStreamRequest) (eventstore.Page, error) {
	return s.page(s.Backend.ReadStream(ctx, req))
}

func (s spread) ReadAll(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
	req.After.Position, req.Before = together(req.After.Position), together(req.Before)
	return s.page(s.Backend.ReadAll(ctx, req))
}

func (s spread) Subscribe(ctx context.Context, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
	req.After.Position = together(req.After.Position)
	return func(yield func(eventstore.Message, error) bool) {
		for message, err := range s.Backend.Subscribe(ctx, req) {
			message.Event.Position, message.Place.Position = apart(message.Event.Position), apart(message.Place.Position)
			if !yield(message, err) {
				return
			}
		}
	}
}

func (s spread) Info(ctx context.Context) (eventstore.Info, error) {
	info, err := s.Backend.Info(ctx)
	info.Head.Position = apart(info.Head.Position)
	return info, err
}

func (s spread) Seal(ctx context.Context, req eventstore.SealRequest) (eventstore.Info, error) {
	info, err := s.Backend.Seal(ctx, req)
	info.Head.Position = apart(info.Head.Position)
	return info, err
}

// bothOpen returns a store that was moved to another one, which went on with four events,
// and that was opened again: either takes appends now.
func bothOpen(t *testing.T) (a, b Side) {
	t.Helper()
	a, b = memorySide(t, "memory:a"), memorySide(t, "memory:b")
	add(t, a, 5)
	_, err := Move(t.Context(), a, b, nil)
	require.NoError(t, err)
	add(t, b, 4)
	_, err = a.Store.Unseal(t.Context())
	require.NoError(t, err)
	return a, b
}
