package conformance

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/sleep"
)

// Neighbours are what lives on a server beside the stores under test. What is rare
// on a fresh server is the rule on an old one.
type Neighbours struct {
	// Events is how many events of other streams and types there are; 0 means 10,000.
	Events int
	// Subscriptions is how many subscriptions are open; 0 means 200.
	Subscriptions int
	// Pause is how long the neighbours' writer waits between its appends; 0 means 20 ms.
	Pause time.Duration
}

// WithNeighbours returns a harness whose stores have neighbours: before its first store is
// opened, another one is opened with h.Open and filled with a long history, with
// subscriptions to it and a writer that never stops. It is worth its time where
// the stores of h share something: a server, a database, a log.
//
// The neighbours stay until the function that is returned is called, which says
// what went wrong with them meanwhile: they must have lost no event. A server that
// the harness restarts is waited for.
func WithNeighbours(h Harness, n Neighbours) (Harness, func(context.Context) error) {
	if n.Events <= 0 {
		n.Events = 10_000
	}
	if n.Subscriptions <= 0 {
		n.Subscriptions = 200
	}
	if n.Pause <= 0 {
		n.Pause = 20 * time.Millisecond
	}
	neighbour := &neighbourStore{neighbours: n, openStore: h.Open}
	h.Name += " with neighbours"
	open := h.Open
	h.Open = func(ctx context.Context) (*Fixture, error) {
		if err := neighbour.open(ctx); err != nil {
			return nil, fmt.Errorf("open the neighbours' store: %w", err)
		}
		return open(ctx)
	}
	return h, neighbour.close
}

// neighbourStore is the neighbours' store, with its subscriptions and its writer.
type neighbourStore struct {
	neighbours Neighbours
	openStore  func(context.Context) (*Fixture, error)

	mu      sync.Mutex
	opened  bool
	fixture *Fixture
	store   *eventstore.Store
	end     context.CancelFunc
	running sync.WaitGroup
	written int // by the writer, which alone uses it until it has ended

	failures sync.Mutex
	failed   error
}

// open opens and fills the neighbours' store, once.
func (s *neighbourStore) open(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.opened {
		return nil
	}
	fixture, err := s.openStore(ctx)
	if err != nil {
		return err
	}
	store, err := eventstore.New(fixture.Backend, &eventstore.Options{RetryFor: time.Minute})
	if err != nil {
		return errors.Join(err, fixture.Backend.Close())
	}
	s.fixture, s.store = fixture, store
	for at := 0; at < s.neighbours.Events; at += 50 {
		if err := s.write(ctx, at/50, min(50, s.neighbours.Events-at)); err != nil {
			return errors.Join(err, s.remove(ctx))
		}
	}
	running, end := context.WithCancel(context.WithoutCancel(ctx))
	s.end, s.opened = end, true
	if store.Capabilities().GlobalOrder.Supported() {
		for i := range s.neighbours.Subscriptions {
			s.running.Go(func() { s.subscribe(running, i) })
		}
	}
	s.running.Go(func() {
		for n := s.neighbours.Events; sleep.For(running, s.neighbours.Pause) == nil; n++ {
			if err := s.write(running, n, 2); err != nil && running.Err() == nil {
				s.fail(fmt.Errorf("a neighbour's append: %w", err))
				return
			}
		}
	})
	return nil
}

// write appends n events to one of many streams, of one of many types.
func (s *neighbourStore) write(ctx context.Context, i, n int) error {
	events := make([]eventstore.Event, n)
	for j := range events {
		events[j] = eventstore.Event{ID: uuid.New(), Type: foreignType(i + j), Data: fmt.Appendf(nil, `{"neighbour": %d}`, i)}
	}
	_, err := s.store.Append(ctx, fmt.Sprintf("%s-%d", []string{"Order", "Cart", "Neighbour"}[i%3], i%97), eventstore.Any(), events...)
	if err == nil {
		s.written += n
	}
	return err
}

// foreignType is one that checks use too, or one of many that none uses.
func foreignType(i int) string {
	if i%5 == 0 {
		return []string{"Happened", "Placed", "Shipped"}[i%3]
	}
	return fmt.Sprintf("Foreign%d", i%211)
}

// subscribe is one of the neighbours' subscriptions.
func (s *neighbourStore) subscribe(ctx context.Context, i int) {
	filters := []eventstore.Filter{{}, ofTypes("Nothing"), ofTypes(foreignType(i)), ofCategory("Neighbour"), ofPrefix("Order-1")}
	opts := eventstore.SubscribeOptions{Filter: filters[i%len(filters)]}
	var last eventstore.Position
	for message, err := range s.store.Subscribe(ctx, opts) {
		switch {
		case err != nil:
			if ctx.Err() == nil {
				s.fail(fmt.Errorf("a neighbour's subscription: %w", err))
			}
			return
		case message.Kind == eventstore.MessageEvent && !last.Before(message.Place.Position):
			s.fail(unexpected("position of an event of a neighbour's subscription", "one after "+last.String(), message.Place.Position))
			return
		}
		last = message.Place.Position
	}
}

func (s *neighbourStore) fail(err error) {
	s.failures.Lock()
	defer s.failures.Unlock()
	s.failed = errors.Join(s.failed, err)
}

// close ends the neighbours, counts their events, and removes their store.
func (s *neighbourStore) close(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.opened {
		return nil
	}
	s.opened = false
	s.end()
	s.running.Wait()
	found := 0
	if s.store.Capabilities().GlobalOrder.Supported() {
		for _, err := range s.store.ReadAll(ctx, eventstore.ReadAllOptions{}) {
			if err != nil {
				s.fail(fmt.Errorf("read the neighbours' events: %w", err))
				break
			}
			found++
		}
		// The last append may have been stored though its caller had left.
		if found != s.written && found != s.written+2 {
			s.fail(unexpected("events of the neighbours", s.written, found))
		}
	}
	return errors.Join(s.failed, s.remove(ctx))
}

func (s *neighbourStore) remove(ctx context.Context) error {
	err := s.store.Close()
	if s.fixture.Remove != nil {
		err = errors.Join(err, s.fixture.Remove(ctx))
	}
	return err
}
