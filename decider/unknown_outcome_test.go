package decider_test

import (
	"context"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/codec"
	"github.com/switchyard-dev/switchyard/decider"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// A command whose answer is lost is found by the store to be there; what comes after is
// to read it.
func TestAReadThatFailsAfterTheEventsAreStoredIsAnUnknownOutcome(t *testing.T) {
	for failure, spoil := range map[string]func(w *world){
		"no read": func(w *world) {
			w.spy.read = func(eventstore.ReadStreamRequest) error { return eventstore.ErrUnavailable }
		},
		"an event that this code does not know": func(w *world) {
			_, err := newStore(t, w.spy.Backend, nil).Append(t.Context(), stream, eventstore.Any(), eventstore.Event{Type: "Frozen", Data: []byte("{}")})
			require.NoError(t, err)
		},
	} {
		for name, call := range map[string]func(w *world, d *decider.Decider[Account, Event], store *eventstore.Store, id uuid.UUID) error{
			"Do": func(_ *world, d *decider.Decider[Account, Event], _ *eventstore.Store, id uuid.UUID) error {
				_, err := d.Do(t.Context(), decider.Command{Stream: stream, ID: id}, pay(1, 2))
				return err
			},
			"Atomically": func(_ *world, d *decider.Decider[Account, Event], store *eventstore.Store, id uuid.UUID) error {
				_, err := decider.Atomically(t.Context(), store, &decider.AtomicOptions{ID: id}, func(tx *decider.Tx) error {
					s, err := d.In(tx, stream)
					if err == nil {
						s.Add(Paid{1}, Paid{2})
					}
					return err
				})
				return err
			},
		} {
			t.Run(name+"/"+failure, func(t *testing.T) {
				w := newWorld(t, decider.Options{}, nil)
				store := newStore(t, w.spy, &eventstore.Options{RetryFor: 200_000_000})
				d := accounts(t, store, nil)
				w.spy.nextAppend(func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
					defer spoil(w)
					return w.spy.answerLost(ctx, req)
				})
				err := call(w, d, store, uuid.New())
				var unknown *eventstore.UnknownOutcomeError
				require.ErrorAs(t, err, &unknown)
				require.NotErrorIs(t, err, eventstore.ErrUnavailable, "which says that nothing is written")
				require.NotErrorIs(t, err, codec.ErrUnknownEvent)
				w.spy.read = nil
				results, err := w.store.AppendStreams(t.Context(), unknown.Parts...)
				require.NoError(t, err)
				last := results[len(results)-1]
				require.True(t, last.Duplicate, "its events are there")
				require.Len(t, last.Events, 2)
			})
		}
	}
}
