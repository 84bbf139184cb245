package move

import (
	"context"
	"iter"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/transfer"
)

// damaging is a store that answers reads with one event changed; followed says that this is
// so where it is followed alone.
type damaging struct {
	*memory.Backend
	change   func(*eventstore.RecordedEvent)
	followed bool
}

func (d damaging) ReadAll(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
	page, err := d.Backend.ReadAll(ctx, req)
	for i := range page.Events {
		if !d.followed {
			d.change(&page.Events[i])
		}
	}
	return page, err
}

func (d damaging) ReadStream(ctx context.Context, req eventstore.ReadStreamRequest) (eventstore.Page, error) {
	page, err := d.Backend.ReadStream(ctx, req)
	for i := range page.Events {
		d.change(&page.Events[i])
	}
	return page, err
}

func (d damaging) Subscribe(ctx context.Context, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
	return func(yield func(eventstore.Message, error) bool) {
		for message, err := range d.Backend.Subscribe(ctx, req) {
			d.change(&message.Event)
			if !yield(message, err) {
				return
			}
		}
	}
}

func TestWhatTOHoldsOtherwiseThanFROMIsFound(t *testing.T) {
	data := func(e *eventstore.RecordedEvent) { e.Data = []byte(`{"n":-1}`) }
	for name, test := range map[string]struct {
		change   func(*eventstore.RecordedEvent)
		followed bool
		late     bool // the event comes when FROM is about to be sealed
		want     string
	}{
		"data":            {data, false, false, `both stores differ, first in the data at version 3 of stream "b"`},
		"type":            {func(e *eventstore.RecordedEvent) { e.Type = "Other" }, false, false, `first in the type at version 3 of stream "b"`},
		"metadata":        {func(e *eventstore.RecordedEvent) { e.Metadata = map[string]string{"k": "other"} }, false, false, `first in the metadata at version 3 of stream "b"`},
		"one way to read": {data, true, false, "differed as they were followed, and not when they were read again"},
		"what came last":  {data, false, true, `1 stream differs; the first difference is the data at version 3 of stream "b"`},
	} {
		t.Run(name, func(t *testing.T) {
			a := memorySide(t, "memory:a")
			damaged := func() Side {
				return side(t, damaging{memory.New(), func(e *eventstore.RecordedEvent) {
					if e.Stream == "b" && e.Version == 3 {
						test.change(e)
					}
				}, test.followed}, "memory:b")
			}
			b, opts := damaged(), &Options{}
			if test.late {
				add(t, a, 6)
				opts.Phase = func(phase Phase) {
					if phase == PhaseSeal {
						add(t, a, 14)
					}
				}
			} else {
				add(t, a, 20)
				dry, err := Move(t.Context(), a, damaged(), &Options{DryRun: true})
				require.ErrorContains(t, err, test.want, "a dry run says so too")
				require.Zero(t, dry.EqualSoFar)
			}
			report, err := Move(t.Context(), a, b, opts)
			require.ErrorIs(t, err, ErrRefused)
			require.ErrorContains(t, err, test.want)
			require.Equal(t, test.late, sealed(t, a), "what can be found before writers wait is found before")
			require.False(t, report.Done)
			_, found, err := originOf(t.Context(), b, report.From.Store)
			require.NoError(t, err)
			require.False(t, found, "TO does not say that it was moved")
		})
	}
}

func TestTheSameEventsInAnotherOrderAreRefused(t *testing.T) {
	a, b := memorySide(t, "memory:a"), memorySide(t, "memory:b")
	add(t, a, 6)
	events := all(t, a)
	for _, i := range []int{1, 0, 2, 3, 4} { // each stream is right
		_, err := b.Store.Append(t.Context(), events[i].Stream, eventstore.Any(), events[i].Event)
		require.NoError(t, err)
	}
	_, err := Move(t.Context(), a, b, nil)
	require.ErrorIs(t, err, ErrRefused)
	require.ErrorContains(t, err, `in another order, from version 1 of stream "a" on: in FROM version 1 of stream "a" comes next, in TO version 1 of stream "b" comes next`)
	require.False(t, sealed(t, a))
}

func TestATailKnowsTheOrderOfSoManyEventsBack(t *testing.T) {
	s := newTail("FROM", nil, false, "")
	const more = recentOrders + 10
	var early, late transfer.Digest
	for n := range more {
		s.add(eventstore.RecordedEvent{Stream: "a", Version: uint64(n + 1)})
		switch n + 1 {
		case more - recentOrders + 1:
			early = s.digests.Order
		case more - 5:
			late = s.digests.Order
		}
	}
	for n, want := range map[int]transfer.Digest{more: s.digests.Order, more - 5: late, more - recentOrders + 1: early} {
		got, ok := s.orderAt(n)
		require.True(t, ok)
		require.Equal(t, want, got)
	}
	for _, n := range []int{more + 1, more - recentOrders, 0} {
		_, ok := s.orderAt(n)
		require.False(t, ok, n)
	}
}

func TestWhatHappensBetweenTheSealAndTheEndIsNoticed(t *testing.T) {
	one := eventstore.Event{Type: "T", Data: []byte("1")}
	writesToTO := func(t *testing.T, _, to Side) {
		t.Helper()
		_, err := to.Store.Append(t.Context(), "foreign", eventstore.Any(), one)
		require.NoError(t, err)
	}
	for name, test := range map[string]struct {
		at   Phase
		do   func(t *testing.T, from, to Side)
		want string
	}{
		"the seal is lifted": {PhaseVerify, func(t *testing.T, from, _ Side) {
			_, err := from.Store.Unseal(t.Context())
			require.NoError(t, err)
		}, "lifted the seal"},
		"the seal is lifted at the last moment": {PhaseTranslate, func(t *testing.T, from, _ Side) {
			_, err := from.Store.Unseal(t.Context())
			require.NoError(t, err)
		}, "lifted the seal"},
		"the seal is lifted and FROM written to": {PhaseVerify, func(t *testing.T, from, _ Side) {
			_, err := from.Store.Unseal(t.Context())
			require.NoError(t, err)
			_, err = from.Store.Append(t.Context(), "a", eventstore.Any(), one)
			require.NoError(t, err)
		}, "FROM has an event at"},
		"somebody writes to TO before the seal":      {PhaseSeal, writesToTO, ""},
		"somebody writes to TO after the drain":      {PhaseVerify, writesToTO, "somebody else writes to TO"},
		"somebody writes to TO after the comparison": {PhaseTranslate, writesToTO, "somebody else writes to TO"},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := memorySide(t, "memory:a"), memorySide(t, "memory:b")
			add(t, a, 10)
			report, err := Move(t.Context(), a, b, &Options{Phase: func(phase Phase) {
				if phase == test.at {
					test.do(t, a, b)
				}
			}})
			require.ErrorIs(t, err, ErrRefused)
			require.ErrorContains(t, err, test.want)
			require.False(t, report.Done)
			_, found, err := originOf(t.Context(), b, report.From.Store)
			require.NoError(t, err)
			require.False(t, found, "TO does not say that it was moved")
		})
	}
}

func TestASourceThatWasRestoredFromAnOlderBackupIsRefused(t *testing.T) {
	for name, test := range map[string]struct {
		lives int
		noted bool // how far the copy is, which it does every few seconds
		want  string
	}{
		"as it was":                          {0, true, "FROM no longer holds event"},
		"and lives on":                       {25, true, "FROM no longer holds event"},
		"before the copy noted anything":     {0, false, "somebody else writes to TO, or FROM was"},
		"and lives on, and nothing is noted": {25, false, "somebody else writes to TO, or FROM was"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path, state := filepath.Join(dir, "from.db"), filepath.Join(dir, "state")
			b := memorySide(t, "memory:b")
			session := func(work func(a Side)) {
				a, err := sqliteSide(t.Context(), path)
				require.NoError(t, err)
				work(a)
				require.NoError(t, a.Store.Close())
			}
			session(func(a Side) { add(t, a, 10) })
			backup, err := os.ReadFile(path)
			require.NoError(t, err)
			session(func(a Side) {
				add(t, a, 10)
				_, err := Move(t.Context(), a, b, &Options{DryRun: true, StateDir: state})
				require.NoError(t, err)
			})
			for checkpoint, err := range b.Store.ListCheckpoints(t.Context()) {
				require.NoError(t, err)
				if transfer.OwnCheckpoint(checkpoint.Name) && !test.noted {
					require.NoError(t, b.Checkpoints.Delete(t.Context(), eventstore.DeleteCheckpointRequest{Name: checkpoint.Name}))
				}
			}
			require.NoError(t, os.WriteFile(path, backup, 0o600))
			session(func(a Side) {
				add(t, a, test.lives)
				_, err := Move(t.Context(), a, b, &Options{StateDir: state})
				require.ErrorIs(t, err, ErrRefused)
				require.ErrorContains(t, err, test.want)
				require.ErrorContains(t, err, "restored from a backup")
				info, err := a.Store.Info(t.Context())
				require.NoError(t, err)
				require.False(t, info.Sealed)
			})
			require.Len(t, all(t, b), 20)
		})
	}
}

// replaced is a store that is restored while it is followed.
type replaced struct{ *memory.Backend }

func (r replaced) Subscribe(ctx context.Context, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
	return func(yield func(eventstore.Message, error) bool) {
		for message, err := range r.Backend.Subscribe(ctx, req) {
			if message.Kind == eventstore.MessageCaughtUp {
				yield(eventstore.Message{}, &eventstore.CheckpointAheadError{})
				return
			}
			if !yield(message, err) {
				return
			}
		}
	}
}

func TestASourceThatIsRestoredWhileItIsFollowedEndsTheMoveWithTheReason(t *testing.T) {
	a, b := side(t, replaced{memory.New()}, "memory:a"), memorySide(t, "memory:b")
	add(t, a, 10)
	_, err := Move(t.Context(), a, b, nil)
	require.ErrorIs(t, err, ErrRefused)
	require.ErrorContains(t, err, "restored from a backup")
}

// counting counts the events that are read in the global order.
type counting struct {
	*memory.Backend
	read *atomic.Int64
}

func (c counting) ReadAll(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
	page, err := c.Backend.ReadAll(ctx, req)
	c.read.Add(int64(len(page.Events)))
	return page, err
}

func TestDigestsGoOnWhereTheyWereAndAreTakenAgainWhereTheirFileDoesNotFit(t *testing.T) {
	spoil := func(change func(*state)) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			t.Helper()
			s := readState(path)
			require.NotNil(t, s)
			change(s)
			require.NoError(t, s.write(path))
		}
	}
	for name, test := range map[string]struct {
		spoil func(*testing.T, string)
		again bool // everything is read again
	}{
		"a file as it was left": {func(*testing.T, string) {}, false},
		"no file":               {func(t *testing.T, path string) { require.NoError(t, os.Remove(path)) }, true},
		"a file cut short":      {func(t *testing.T, path string) { require.NoError(t, os.Truncate(path, 100)) }, true},
		"of another store":      {spoil(func(s *state) { s.FromID[0]++ }), true},
		"of another event":      {spoil(func(s *state) { s.From.ID[0]++ }), true},
		"without digests":       {spoil(func(s *state) { s.From.Digests = nil }), true},
		"a wrong digest":        {spoil(func(s *state) { s.From.Digests.Order[0]++ }), true},
	} {
		t.Run(name, func(t *testing.T) {
			var read atomic.Int64
			a, b := side(t, counting{memory.New(), &read}, "memory:a"), memorySide(t, "memory:b")
			add(t, a, 50)
			opts := &Options{StateDir: t.TempDir(), DryRun: true, StateEvery: time.Hour}
			_, err := Move(t.Context(), a, b, opts)
			require.NoError(t, err)
			info, err := a.Store.Info(t.Context())
			require.NoError(t, err)
			other, err := b.Store.Info(t.Context())
			require.NoError(t, err)
			path := statePath(opts.StateDir, info.ID, other.ID)
			require.NotNil(t, readState(path))
			requireAFlippedBitIsFound(t, path)
			test.spoil(t, path)

			read.Store(0)
			opts.DryRun = false
			report, err := Move(t.Context(), a, b, opts)
			require.NoError(t, err)
			require.NoFileExists(t, path)
			if test.again {
				require.GreaterOrEqual(t, read.Load(), int64(50))
				require.Zero(t, report.From.Before)
			} else {
				require.Zero(t, read.Load())
				require.Equal(t, []int{50, 50}, []int{report.From.Before, report.To.Before})
				require.Equal(t, []string{"that " + path + " is as an earlier run left it: the digests of FROM's first 50 events and of TO's first 50 come from there; without that file all is read again"}, report.NotProved)
			}
			whole, err := transfer.Verify(t.Context(), a.Store, b.Store, nil)
			require.NoError(t, err)
			require.Equal(t, whole.A.Digest, report.From.Summary.Digest)
			require.Equal(t, whole.B.Digest, report.To.Summary.Digest)
		})
	}
}

func requireAFlippedBitIsFound(t *testing.T, path string) {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	text[len(text)-8] ^= 1 // of an ID, which would still be one
	flipped := filepath.Join(t.TempDir(), "flipped")
	require.NoError(t, os.WriteFile(flipped, text, 0o600))
	require.Nil(t, readState(flipped))
}

func TestAMoveWhoseDigestsCannotBeKeptSaysSoAndGoesOn(t *testing.T) {
	a, b := memorySide(t, "memory:a"), memorySide(t, "memory:b")
	add(t, a, 5)
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	var told []string
	report, err := Move(t.Context(), a, b, &Options{StateDir: filepath.Join(file, "state"), Tell: func(line string) { told = append(told, line) }})
	require.NoError(t, err)
	require.True(t, report.Done)
	require.Len(t, told, 1)
	require.Contains(t, told[0], "the digests are not kept")
}
