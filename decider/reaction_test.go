package decider_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/codec"
	"github.com/switchyard-dev/switchyard/decider"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/ownertest"
)

// bonus pays a tenth of what is paid into an account to another one, and counts each
// payment in two steps on a third.
func bonus(d *decider.Decider[Account, Event]) func(context.Context, *decider.Cause, Event) error {
	return func(ctx context.Context, cause *decider.Cause, e Event) error {
		paid, ok := e.(Paid)
		if !ok || !strings.HasPrefix(cause.Stream, "account-") {
			return nil
		}
		if _, err := d.Do(ctx, cause.Command("bonus-1", "bonus"), pay(paid.Cents/10)); err != nil {
			return err
		}
		for _, step := range []string{"first", "second"} {
			if _, err := d.Do(ctx, cause.Command("count-1", step), pay(1)); err != nil {
				return err
			}
		}
		return nil
	}
}

// react runs a reaction until it has seen everything.
func react(t *testing.T, store *eventstore.Store, sub eventstore.Subscription) error {
	t.Helper()
	sub.UntilCaughtUp = true
	return store.Run(t.Context(), sub)
}

func load(t *testing.T, d *decider.Decider[Account, Event], name string) Account {
	t.Helper()
	state, _, err := d.Load(t.Context(), name)
	require.NoError(t, err)
	return state
}

func TestAReactionHasItsEffectsOnce(t *testing.T) {
	store := newStore(t, memory.New(), nil)
	d := accounts(t, store, nil)
	for i := range 5 {
		do(t, d, decider.Command{Stream: "account-1"}, pay(int64(10*i), 100))
	}
	sub := decider.React("bonus", accountEvents(), bonus(d))
	for range 3 {
		require.NoError(t, react(t, store, sub))
		require.Equal(t, Account{60, 10}, load(t, d, "bonus-1"))
		require.Equal(t, Account{20, 20}, load(t, d, "count-1"), "each of two commands on one stream")
		require.NoError(t, store.DeleteCheckpoint(t.Context(), "bonus"))
	}
	require.NoError(t, react(t, store, decider.React("renamed", accountEvents(), bonus(d))))
	require.Equal(t, Account{120, 20}, load(t, d, "bonus-1"), "the name is part of the IDs")
}

func TestAnEffectContinuesTheConversationOfItsCause(t *testing.T) {
	store := newStore(t, memory.New(), nil)
	d := accounts(t, store, nil)
	res, err := d.Do(codec.WithCorrelation(t.Context(), "request-1"), decider.Command{Stream: "account-1"}, pay(10))
	require.NoError(t, err)
	require.NoError(t, react(t, store, decider.React("bonus", accountEvents(), bonus(d))))
	for e, err := range d.Read(t.Context(), "bonus-1", 0) {
		require.NoError(t, err)
		require.Equal(t, "request-1", e.Recorded.CorrelationID())
		require.Equal(t, res.Events[0].ID.String(), e.Recorded.CausationID())
	}
}

func TestAReactionMeetsItsTypesAlone(t *testing.T) {
	store := newStore(t, memory.New(), nil)
	_, err := store.Append(t.Context(), "account-1", eventstore.Any(), eventstore.Event{Type: "Closed", Data: []byte("{}")}, eventstore.Event{Type: "Paid", Data: []byte(`{"Cents":1}`)})
	require.NoError(t, err)
	var met []Event
	sub := decider.React("all", accountEvents(), func(_ context.Context, _ *decider.Cause, e Event) error {
		met = append(met, e)
		return nil
	})
	require.Equal(t, []string{"Paid", "Withdrawn"}, sub.Filter.Types)
	require.NoError(t, react(t, store, sub))
	require.Equal(t, []Event{Paid{1}}, met)
}

func TestAnEventThatCannotBeDecodedIsParkedOrStops(t *testing.T) {
	store := newStore(t, memory.New(), nil)
	_, err := store.Append(t.Context(), "account-1", eventstore.Any(), eventstore.Event{Type: "Paid", Data: []byte(`{"Cents":"x"}`)})
	require.NoError(t, err)
	sub := decider.React("all", accountEvents(), func(context.Context, *decider.Cause, Event) error { return nil })
	sub.Retry = eventstore.HandlerRetry{Attempts: 1}
	var failure *eventstore.HandlerError
	require.ErrorAs(t, react(t, store, sub), &failure)
	sub.ParkStream = "parked"
	require.NoError(t, react(t, store, sub))
}

func TestAFailedReactionIsTriedAgainAndCountsOnce(t *testing.T) {
	store := newStore(t, memory.New(), nil)
	d := accounts(t, store, nil)
	do(t, d, decider.Command{Stream: "account-1"}, pay(10, 20))
	calls := 0
	sub := decider.React("bonus", accountEvents(), func(ctx context.Context, cause *decider.Cause, e Event) error {
		calls++
		if err := bonus(d)(ctx, cause, e); err != nil || calls%2 == 0 {
			return err
		}
		return errors.New("after the effect")
	})
	sub.Retry.Pause = 1
	require.NoError(t, react(t, store, sub))
	require.Equal(t, 4, calls)
	require.Equal(t, Account{3, 2}, load(t, d, "bonus-1"))
}

func TestAReactionWithoutItsPartsIsRefused(t *testing.T) {
	store := newStore(t, memory.New(), nil)
	require.ErrorIs(t, store.Run(t.Context(), decider.React[Event]("bonus", nil, nil)), eventstore.ErrInvalid)
	require.ErrorIs(t, store.Run(t.Context(), decider.React("bonus", accountEvents(), nil)), eventstore.ErrInvalid)
}

// The two tests that follow are why a command has a name, and not the number of those asked
// for before it: in both, a number counts otherwise the second time.
func TestACommandMayBeDoneAgainAfterAnUnknownOutcome(t *testing.T) {
	w := newWorld(t, decider.Options{}, nil) // whose store does not try again
	transact(t, w.others, pay(1))
	w.spy.nextAppend(w.spy.answerLost)
	calls := 0
	sub := decider.React("r", accountEvents(), func(ctx context.Context, cause *decider.Cause, _ Event) error {
		for {
			calls++
			_, err := w.here.Do(ctx, cause.Command("other-1", "pay"), pay(1))
			if !errors.Is(err, eventstore.ErrUnknownOutcome) {
				return err
			}
		}
	})
	sub.Filter.Categories = []string{"account"}
	require.NoError(t, react(t, w.store, sub))
	require.Equal(t, 2, calls)
	require.Equal(t, Account{1, 1}, load(t, w.others, "other-1"))
}

func TestAReactionThatSkipsAStepTakesNoOthersAnswer(t *testing.T) {
	for name, test := range map[string]struct {
		first, second string
		want          Account
	}{
		"two names are two commands": {"first", "second", Account{3, 2}},
		"one name is one command":    {"pay", "pay", Account{1, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			store := newStore(t, memory.New(), nil)
			d := accounts(t, store, nil)
			do(t, d, decider.Command{Stream: "account-1"}, pay(1))
			sub := decider.React("r", accountEvents(), func(ctx context.Context, cause *decider.Cause, _ Event) error {
				if load(t, d, "other-1").Events == 0 {
					if _, err := d.Do(ctx, cause.Command("other-1", test.first), pay(1)); err != nil {
						return err
					}
					return errors.New("it crashes between the steps")
				}
				_, err := d.Do(ctx, cause.Command("other-1", test.second), pay(2))
				return err
			})
			sub.Filter.Categories, sub.Retry.Pause = []string{"account"}, 1
			require.NoError(t, react(t, store, sub))
			require.Equal(t, test.want, load(t, d, "other-1"))
		})
	}
}

func TestTheIDsOfACauseDifferInWhatTheyAreFor(t *testing.T) {
	seen := make(map[uuid.UUID]string)
	ids := make(map[string][]uuid.UUID)
	note := func(what string, id uuid.UUID) {
		require.NotContains(t, seen, id, what)
		seen[id] = what
		ids[what] = append(ids[what], id)
	}
	store := newStore(t, memory.New(), nil)
	id := uuid.New()
	for _, name := range []string{"account-1", "account-2"} { // an ID is unique in its stream only
		_, err := store.Append(t.Context(), name, eventstore.Any(), eventstore.Event{ID: id, Type: "Paid", Data: []byte("{}")})
		require.NoError(t, err)
	}
	for _, reaction := range []string{"a", "b"} {
		require.NoError(t, react(t, store, decider.React(reaction, accountEvents(), func(_ context.Context, cause *decider.Cause, _ Event) error {
			what := reaction + "/" + cause.Stream
			for _, name := range []string{"one", "two", "three"} {
				note(what, cause.Command("x", name).ID)
				note(what, cause.Command("y", name).ID)
			}
			require.Equal(t, what, seen[cause.Command("x", "one").ID], "a command that is asked for again is the same")
			note(what, cause.Command("xo", "ne").ID)
			note(what, cause.Key("x"))
			note(what, cause.Key("y"))
			require.NotEqual(t, cause.Command("x", "one").ID, cause.Key("x\x00one"), "a command is no effect")
			require.Equal(t, what, seen[cause.Key("x")], "a key that is asked for again is the same")
			return nil
		})))
	}
	require.Len(t, seen, 4*9)

	before := ids["a/account-1"]
	clear(seen)
	ids["a/account-1"] = nil
	require.NoError(t, store.DeleteCheckpoint(t.Context(), "a"))
	require.NoError(t, react(t, store, decider.React("a", accountEvents(), func(_ context.Context, cause *decider.Cause, _ Event) error {
		if cause.Stream == "account-1" {
			for _, name := range []string{"one", "two", "three"} {
				note("a/account-1", cause.Command("x", name).ID)
				note("a/account-1", cause.Command("y", name).ID)
			}
			note("a/account-1", cause.Command("xo", "ne").ID)
			note("a/account-1", cause.Key("x"))
			note("a/account-1", cause.Key("y"))
		}
		return nil
	})))
	require.Equal(t, before, ids["a/account-1"], "delivered again they are the same")
}

// childReacts is the part of a process that runs a reaction, and is killed between an
// effect and the checkpoint.
func childReacts(ctx context.Context, backend eventstore.Backend, j job) error {
	store, err := eventstore.New(backend, nil)
	if err != nil {
		return err
	}
	d, err := decider.New(store, accountEvents(), Account.evolve, kinds()[j.Kind])
	if err != nil {
		return err
	}
	sub := decider.React("bonus", accountEvents(), func(ctx context.Context, cause *decider.Cause, e Event) error {
		if err := bonus(d)(ctx, cause, e); err != nil {
			return err
		}
		if paid, ok := e.(Paid); ok && cause.Stream == "account-1" && paid.Cents == j.BlockAt {
			fmt.Println("appended", paid.Cents)
			select {} // the checkpoint stays before this event
		}
		return nil
	})
	sub.UntilCaughtUp, sub.LeaseTTL, sub.CheckpointInterval = true, 100*time.Millisecond, time.Millisecond
	if err := store.Run(ctx, sub); err != nil {
		return err
	}
	fmt.Println("end")
	return store.Close()
}

func TestAReactionThatIsKilledBeforeItsCheckpointHasItsEffectsOnce(t *testing.T) {
	for _, kind := range []string{"plain", "cache", "snapshots"} {
		t.Run(kind, func(t *testing.T) {
			rawURL := "sqlite:" + filepath.Join(t.TempDir(), "events.db")
			backend, err := openURL(t.Context(), rawURL)
			require.NoError(t, err)
			store := newStore(t, backend, nil)
			d := accounts(t, store, nil)
			for cents := range int64(6) {
				do(t, d, decider.Command{Stream: "account-1"}, pay(10*cents))
			}
			lines := make(chan ownertest.Line, 16)
			next := func(blockAt int64) ownertest.Line {
				p := ownertest.Start(t, partReact, job{URL: rawURL, Kind: kind, BlockAt: blockAt}.argument(t), lines)
				line := <-lines
				if line.Word == "appended" {
					require.NoError(t, p.Process.Kill())
				}
				<-p.Ended()
				return line
			}
			for _, blockAt := range []int64{0, 20, 20, 50} {
				require.Equal(t, "appended", next(blockAt).Word)
			}
			require.Equal(t, "end", next(-1).Word)
			require.Equal(t, Account{15, 6}, load(t, d, "bonus-1"))
			require.Equal(t, Account{12, 12}, load(t, d, "count-1"))

			require.NoError(t, store.DeleteCheckpoint(t.Context(), "bonus"))
			require.Equal(t, "end", next(-1).Word)
			require.Equal(t, Account{15, 6}, load(t, d, "bonus-1"))
			require.Equal(t, Account{12, 12}, load(t, d, "count-1"))
		})
	}
}
