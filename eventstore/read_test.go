package eventstore_test

import (
	"context"
	"fmt"
	"iter"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// slowly is a backend whose pages take a second each, with its log of events.
type slowly struct {
	*scripted
	store   *eventstore.Store
	started atomic.Int64      // pages asked for
	busy    atomic.Int64      // pages being fetched
	most    atomic.Int64      // the most at once
	callers context.Context   //nolint:containedctx // to compare with
	fetches []context.Context // those of other contexts than the caller's
	fail    func(page int64) error
}

const pageTime = time.Second

// newSlowly opens a store with n events, read in pages of 2.
func newSlowly(t *testing.T, n int, opts *eventstore.Options) *slowly {
	t.Helper()
	s := &slowly{scripted: newScripted()}
	if opts == nil {
		opts = &eventstore.Options{}
	}
	opts.PageSize = 2
	s.store = s.open(t, opts)
	s.append(t, n)
	s.readAll = func(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
		page := s.started.Add(1)
		if ctx != s.callers {
			s.fetches = append(s.fetches, ctx)
		}
		s.most.Store(max(s.most.Load(), s.busy.Add(1)))
		defer s.busy.Add(-1)
		timer := time.NewTimer(pageTime)
		defer timer.Stop()
		select {
		case <-ctx.Done():
			return eventstore.Page{}, ctx.Err()
		case <-timer.C:
		}
		if s.fail != nil {
			if err := s.fail(page); err != nil {
				return eventstore.Page{}, err
			}
		}
		return s.Backend.ReadAll(ctx, req)
	}
	return s
}

// work takes a caller's time, which in these tests costs nobody any.
func work(d time.Duration) { <-time.After(d) }

func (s *slowly) append(t *testing.T, n int) {
	t.Helper()
	for range n {
		_, err := s.store.Append(t.Context(), "order-1", eventstore.Any(), event("A"))
		require.NoError(t, err)
	}
}

func (s *slowly) all(ctx context.Context) iter.Seq2[eventstore.RecordedEvent, error] {
	s.callers = ctx
	return s.store.ReadAll(ctx, eventstore.ReadAllOptions{})
}

func TestALongReadFetchesTheNextPageWhileItsCallerWorks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlowly(t, 10, nil)
		start, n := time.Now(), 0
		for _, err := range s.all(t.Context()) {
			require.NoError(t, err)
			n++
			work(pageTime / 2) // so that a page takes its caller as long as the backend
		}
		require.Equal(t, 10, n)
		// Pages 1 and 2 and the one that finds the end are waited for; the other
		// three are there when they are wanted.
		require.Equal(t, 3*pageTime+10*pageTime/2, time.Since(start))
		require.Equal(t, int64(1), s.most.Load())
	})
}

func TestAReadHoldsOnePageAheadAndNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlowly(t, 20, nil)
		n := int64(0)
		for _, err := range s.all(t.Context()) {
			require.NoError(t, err)
			n++
			work(10 * pageTime)
			page := (n + 1) / 2
			if page == 1 {
				require.Equal(t, page, s.started.Load())
			} else {
				require.LessOrEqual(t, s.started.Load(), page+1)
			}
		}
		require.Equal(t, int64(20), n)
	})
}

func TestNoPageIsFetchedThatIsNotWanted(t *testing.T) {
	for _, c := range []struct {
		name          string
		events, limit int
		backward      bool
		pages         int64
	}{
		{"a first page that is the end", 1, 0, false, 1},
		{"a limit within the first page", 10, 1, false, 1},
		{"a limit at the end of the first page", 10, 2, false, 1},
		{"a limit in the second page", 10, 3, false, 2},
		{"a limit at the end of the third page", 10, 6, false, 3},
		{"a limit in the fourth page", 10, 7, false, 4},
		{"backward to the beginning", 5, 0, true, 3},
		{"backward with a limit", 10, 4, true, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSlowly(t, c.events, nil)
				read := s.store.ReadAll(t.Context(), eventstore.ReadAllOptions{Limit: c.limit, Backward: c.backward})
				want := c.events
				if c.limit > 0 {
					want = c.limit
				}
				for _, err := range read {
					require.NoError(t, err)
					work(10 * pageTime)
					want--
				}
				require.Zero(t, want)
				require.Equal(t, c.pages, s.started.Load())
			})
		})
	}
}

func TestALimitHoldsForThePageThatIsReadAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlowly(t, 10, nil)
		read, sizes := s.readAll, []int(nil)
		s.readAll = func(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
			sizes = append(sizes, req.MaxEvents)
			return read(ctx, req)
		}
		require.Len(t, collect(t, s.store.ReadAll(t.Context(), eventstore.ReadAllOptions{Limit: 5})), 5)
		require.Equal(t, []int{2, 2, 1}, sizes)
	})
}

// A read that ends leaves nothing behind: synctest fails the test where a
// goroutine remains, and busy counts the fetches that were left under way.
func TestNothingIsFetchedAfterAReadHasEnded(t *testing.T) {
	inThePageThatReadsAhead := func(n int, f func()) {
		if n == 3 {
			synctest.Wait() // the fetch is under way
			f()
		}
	}
	for _, c := range []struct {
		name string
		read func(t *testing.T, s *slowly)
	}{
		{"by its limit", func(t *testing.T, s *slowly) {
			s.callers = t.Context()
			require.Len(t, collect(t, s.store.ReadAll(t.Context(), eventstore.ReadAllOptions{Limit: 6})), 6)
		}},
		{"by break", func(t *testing.T, s *slowly) {
			n := 0
			for _, err := range s.all(t.Context()) {
				require.NoError(t, err)
				n++
				inThePageThatReadsAhead(n, func() { require.Equal(t, int64(1), s.busy.Load()) })
				if n == 3 {
					break
				}
			}
		}},
		{"by a panic in the caller", func(t *testing.T, s *slowly) {
			require.PanicsWithValue(t, "caller", func() {
				n := 0
				for _, err := range s.all(t.Context()) {
					require.NoError(t, err)
					n++
					inThePageThatReadsAhead(n, func() { panic("caller") })
				}
			})
		}},
		{"by a done context", func(t *testing.T, s *slowly) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			n, last := 0, error(nil)
			for _, err := range s.all(ctx) {
				n++
				last = err
				inThePageThatReadsAhead(n, cancel)
			}
			require.Equal(t, 5, n, "the rest of the page, and the error")
			require.ErrorIs(t, last, context.Canceled)
		}},
		{"by a context that is done while the next page is waited for", func(t *testing.T, s *slowly) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			time.AfterFunc(2*pageTime+pageTime/2, cancel)
			start, n, last := time.Now(), 0, error(nil)
			for _, err := range s.all(ctx) {
				n++
				last = err
			}
			require.Equal(t, 2*pageTime+pageTime/2, time.Since(start))
			require.Equal(t, 5, n, "two pages, and the error")
			require.ErrorIs(t, last, context.Canceled)
			require.Error(t, ctx.Err())
		}},
		{"by closing the store", func(t *testing.T, s *slowly) {
			n, last := 0, error(nil)
			for _, err := range s.all(t.Context()) {
				n++
				last = err
				inThePageThatReadsAhead(n, func() { require.NoError(t, s.store.Close()) })
			}
			require.Equal(t, 5, n, "the rest of the page, and the error")
			require.ErrorIs(t, last, eventstore.ErrClosed)
		}},
		{"by a puller that stops", func(t *testing.T, s *slowly) {
			next, stop := iter.Pull2(s.all(t.Context()))
			for range 3 {
				_, err, ok := next()
				require.True(t, ok)
				require.NoError(t, err)
			}
			synctest.Wait()
			require.Equal(t, int64(1), s.busy.Load())
			stop()
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSlowly(t, 10, nil)
				start := time.Now()
				c.read(t, s)
				require.Zero(t, s.busy.Load(), "fetches left under way")
				require.Equal(t, int64(3), s.started.Load(), "pages asked for")
				require.LessOrEqual(t, time.Since(start), 3*pageTime, "a fetch that is not wanted any more is cut short")
				for _, fetch := range s.fetches {
					require.Error(t, fetch.Err(), "what a fetch's context holds is freed")
				}
			})
		})
	}
}

func TestAPageIsDeliveredWholeBeforeTheErrorOfTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlowly(t, 10, nil)
		s.fail = func(page int64) error {
			if page >= 3 {
				return errBroken
			}
			return nil
		}
		n, last := 0, error(nil)
		for e, err := range s.all(t.Context()) {
			if last = err; err == nil {
				n++
				require.Equal(t, uint64(n), e.Version)
				work(10 * pageTime)
			}
		}
		require.Equal(t, 4, n)
		require.ErrorIs(t, last, errBroken)
	})
}

func TestAFetchThatFailedWhileItsCallerWorkedIsMadeAgain(t *testing.T) {
	for _, failure := range []error{unavailable(), errBroken} {
		t.Run(fmt.Sprint(failure), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSlowly(t, 10, &eventstore.Options{RetryFor: -1})
				var away atomic.Bool
				s.fail = func(int64) error {
					if away.Load() {
						return failure
					}
					return nil
				}
				n := 0
				for _, err := range s.all(t.Context()) {
					require.NoError(t, err)
					n++
					away.Store(n == 3) // back long before the caller needs the next page
					work(time.Hour)
				}
				require.Equal(t, 10, n)
			})
		})
	}
}

func TestAPageThatIsWantedIsRetriedForAsLongAsTheOptionsSay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlowly(t, 10, &eventstore.Options{RetryFor: time.Minute})
		s.fail = func(page int64) error {
			if page >= 3 {
				return unavailable()
			}
			return nil
		}
		var lastEvent time.Time
		var last error
		for _, err := range s.all(t.Context()) {
			if last = err; err == nil {
				work(time.Hour)
				lastEvent = time.Now()
			}
		}
		require.ErrorIs(t, last, eventstore.ErrUnavailable)
		require.InDelta(t, time.Minute, time.Since(lastEvent), float64(3*time.Second))
	})
}

func TestAForwardReadEndsWhereTheStoreEndsWhenItsCallerGetsThere(t *testing.T) {
	for _, at := range []int{1, 2, 3, 4, 5, 6} {
		t.Run(fmt.Sprintf("events appended while the caller has event %d of 6", at), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSlowly(t, 6, nil)
				var versions []uint64
				for e, err := range s.all(t.Context()) {
					require.NoError(t, err)
					versions = append(versions, e.Version)
					work(10 * pageTime) // what can be read ahead has been
					if len(versions) == at {
						s.append(t, 3)
						work(10 * pageTime)
					}
				}
				want := []uint64{1, 2, 3, 4, 5, 6, 7, 8, 9}
				require.Equal(t, want, versions)
			})
		})
	}
}

func TestAReadWithinBoundsAsksForNothingBeyondThem(t *testing.T) {
	s := newScripted()
	store := s.open(t, &eventstore.Options{PageSize: 2})
	for range 9 {
		_, err := store.Append(t.Context(), "order-1", eventstore.Any(), event("A"))
		require.NoError(t, err)
	}
	all := collect(t, store.ReadAll(t.Context(), eventstore.ReadAllOptions{}))
	s.readAll = func(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
		require.True(t, req.Before.IsZero() || req.After.Position.Before(req.Before), "after %s, before %s", req.After, req.Before)
		return s.Backend.ReadAll(ctx, req)
	}
	for before := 2; before <= 9; before++ {
		read := collect(t, store.ReadAll(t.Context(), eventstore.ReadAllOptions{Before: all[before-1].Position}))
		require.Len(t, read, before-1)
	}
}

func TestAPanicInAPageThatIsFetchedAheadIsTheReadersOwn(t *testing.T) {
	backend := newScripted()
	store := backend.open(t, &eventstore.Options{PageSize: 2})
	for range 9 {
		_, err := store.Append(t.Context(), "order-1", eventstore.Any(), event("A"))
		require.NoError(t, err)
	}
	pages := 0
	backend.readAll = func(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
		if pages++; pages == 3 {
			panic("a driver's bug")
		}
		return backend.Backend.ReadAll(ctx, req)
	}
	require.PanicsWithValue(t, "a driver's bug", func() {
		for _, err := range store.ReadAll(t.Context(), eventstore.ReadAllOptions{}) {
			require.NoError(t, err)
		}
	}, "a caller such as an HTTP server can recover it")
}
