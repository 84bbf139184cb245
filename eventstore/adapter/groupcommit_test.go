package adapter_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventstore/adapter"
)

// request is an append of so many events to a stream that names it.
func request(name string, events int) eventstore.AppendRequest {
	return eventstore.AppendRequest{Parts: []eventstore.StreamAppend{{
		Stream: name, Expected: eventstore.Any(), Events: make([]eventstore.Event, events),
	}}}
}

func name(call *adapter.GroupedAppend) string { return call.Parts[0].Stream }

// database is a double that flushes when it is told to.
type database struct {
	arrived chan []string // the names of a group, when it gets here
	proceed chan struct{}

	mu     sync.Mutex
	groups [][]string
	stored map[string]int
}

func newDatabase() *database {
	return &database{arrived: make(chan []string, 1000), proceed: make(chan struct{}), stored: make(map[string]int)}
}

func (d *database) flush(_ context.Context, group []*adapter.GroupedAppend) {
	var names []string
	for _, call := range group {
		names = append(names, name(call))
	}
	d.arrived <- names
	<-d.proceed
	d.mu.Lock()
	defer d.mu.Unlock()
	d.groups = append(d.groups, names)
	for _, call := range group {
		d.stored[name(call)]++
		call.Results = []eventstore.PartResult{{Recorded: make([]eventstore.Recorded, len(call.Parts[0].Events))}}
	}
}

// events weighs an append by the number of its events.
func events(req eventstore.AppendRequest) int { return len(req.Parts[0].Events) }

// answer is what an append came to.
type answer struct {
	results []eventstore.PartResult
	err     error
}

func start(ctx context.Context, c *adapter.GroupCommit, req eventstore.AppendRequest) <-chan answer {
	done := make(chan answer, 1)
	go func() {
		results, err := c.Append(ctx, req)
		done <- answer{results, err}
	}()
	return done
}

// both runs a test with flushes by a goroutine and by callers.
func both(t *testing.T, test func(t *testing.T, opts adapter.GroupCommitOptions)) {
	t.Helper()
	for _, callers := range []bool{false, true} {
		t.Run(fmt.Sprintf("CallerFlushes=%t", callers), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, adapter.GroupCommitOptions{CallerFlushes: callers}) })
		})
	}
}

func TestThoseWhoComeMeanwhileTravelTogether(t *testing.T) {
	both(t, func(t *testing.T, opts adapter.GroupCommitOptions) {
		d := newDatabase()
		c := adapter.NewGroupCommit(d.flush, opts)
		first := start(t.Context(), c, request("first", 1))
		require.Equal(t, []string{"first"}, <-d.arrived)
		var later []<-chan answer
		for i := range 5 {
			later = append(later, start(t.Context(), c, request(fmt.Sprint(i), 1)))
			synctest.Wait() // so that they queue in this order
		}
		close(d.proceed)
		require.NoError(t, (<-first).err)
		for _, done := range later {
			require.NoError(t, (<-done).err)
		}
		require.Equal(t, [][]string{{"first"}, {"0", "1", "2", "3", "4"}}, d.groups)
		c.Close()
	})
}

func TestEachAppendGetsItsOwnVerdict(t *testing.T) {
	both(t, func(t *testing.T, opts adapter.GroupCommitOptions) {
		refused := errors.New("refused")
		gate := make(chan struct{})
		c := adapter.NewGroupCommit(func(_ context.Context, group []*adapter.GroupedAppend) {
			<-gate
			for _, call := range group {
				if name(call) == "bad" {
					call.Err = refused
					continue
				}
				call.Results = []eventstore.PartResult{{Recorded: make([]eventstore.Recorded, len(call.Parts[0].Events))}}
			}
		}, opts)
		answers := make(map[string]<-chan answer)
		for i, n := range []string{"first", "good", "bad", "fine"} {
			answers[n] = start(t.Context(), c, request(n, i+1))
			synctest.Wait()
		}
		close(gate)
		for i, n := range []string{"first", "good", "bad", "fine"} {
			got := <-answers[n]
			if n == "bad" {
				require.Equal(t, refused, got.err)
				require.Nil(t, got.results)
				continue
			}
			require.NoError(t, got.err)
			require.Len(t, got.results[0].Recorded, i+1)
		}
		c.Close()
	})
}

func TestACallerWhoLeavesTheQueueIsWithdrawn(t *testing.T) {
	both(t, func(t *testing.T, opts adapter.GroupCommitOptions) {
		d := newDatabase()
		c := adapter.NewGroupCommit(d.flush, opts)
		first := start(t.Context(), c, request("first", 1))
		<-d.arrived
		ctx, cancel := context.WithCancel(t.Context())
		leaver := start(ctx, c, request("leaver", 1))
		stayer := start(t.Context(), c, request("stayer", 1))
		synctest.Wait()
		cancel()
		got := <-leaver // while the first group is still on its way
		require.ErrorIs(t, got.err, context.Canceled)
		require.NotErrorIs(t, got.err, eventstore.ErrUnknownOutcome, "it never left")
		close(d.proceed)
		require.NoError(t, (<-first).err)
		require.NoError(t, (<-stayer).err)
		require.Zero(t, d.stored["leaver"])
		c.Close()
	})
}

func TestACallerWhoLeavesInFlightDoesNotKnow(t *testing.T) {
	both(t, func(t *testing.T, opts adapter.GroupCommitOptions) {
		d := newDatabase()
		c := adapter.NewGroupCommit(d.flush, opts)
		first := start(t.Context(), c, request("first", 1))
		<-d.arrived
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		leaver := start(ctx, c, request("leaver", 1))
		synctest.Wait()
		d.proceed <- struct{}{} // the first group ends
		require.NoError(t, (<-first).err)
		require.Equal(t, []string{"leaver"}, <-d.arrived)
		got := <-leaver // a second later
		require.ErrorIs(t, got.err, eventstore.ErrUnknownOutcome)
		require.ErrorIs(t, got.err, context.DeadlineExceeded)
		d.proceed <- struct{}{}
		c.Close()
		require.Equal(t, 1, d.stored["leaver"], "it was stored after all")
	})
}

func TestALoneCallersFlushHearsItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := adapter.NewGroupCommit(func(ctx context.Context, group []*adapter.GroupedAppend) {
			<-ctx.Done() // it waits for a lock, say
			for _, call := range group {
				call.Err = ctx.Err()
			}
		}, adapter.GroupCommitOptions{CallerFlushes: true})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin := time.Now()
		_, err := c.Append(ctx, request("a", 1))
		require.Equal(t, context.DeadlineExceeded, err, "definite: nothing was begun")
		require.Equal(t, time.Second, time.Since(begin))
		c.Close()
	})
}

func TestACallersContextDoesNotReachTheOthersFlush(t *testing.T) {
	both(t, func(t *testing.T, opts adapter.GroupCommitOptions) {
		opts.Timeout = time.Minute
		gate := make(chan struct{})
		c := adapter.NewGroupCommit(func(ctx context.Context, group []*adapter.GroupedAppend) {
			<-gate
			if len(group) > 1 {
				deadline, ok := ctx.Deadline()
				require.True(t, ok)
				require.Equal(t, time.Minute, time.Until(deadline))
			}
		}, opts)
		first := start(t.Context(), c, request("first", 1))
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		second, third := start(ctx, c, request("second", 1)), start(ctx, c, request("third", 1))
		synctest.Wait()
		close(gate)
		for _, done := range []<-chan answer{first, second, third} {
			require.NoError(t, (<-done).err)
		}
		c.Close()
	})
}

func TestADoneContextSendsNothing(t *testing.T) {
	both(t, func(t *testing.T, opts adapter.GroupCommitOptions) {
		c := adapter.NewGroupCommit(func(context.Context, []*adapter.GroupedAppend) { t.Error("flushed") }, opts)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := c.Append(ctx, request("a", 1))
		require.Equal(t, context.Canceled, err)
		c.Close()
	})
}

func TestCloseRefusesNewAppendsAndWaitsForThoseUnderWay(t *testing.T) {
	both(t, func(t *testing.T, opts adapter.GroupCommitOptions) {
		d := newDatabase()
		c := adapter.NewGroupCommit(d.flush, opts)
		first := start(t.Context(), c, request("first", 1))
		<-d.arrived
		queued := start(t.Context(), c, request("queued", 1))
		synctest.Wait()
		closed := make(chan struct{})
		go func() { c.Close(); close(closed) }()
		synctest.Wait()
		select {
		case <-closed:
			t.Fatal("Close returned while a flush was under way")
		default:
		}
		_, err := c.Append(t.Context(), request("late", 1))
		require.Equal(t, eventstore.ErrClosed, err)
		close(d.proceed)
		<-closed
		require.NoError(t, (<-first).err)
		require.NoError(t, (<-queued).err, "it was accepted before")
		c.Close() // again is fine
	})
}

func TestGroupsAreBounded(t *testing.T) {
	tests := []struct {
		name   string
		opts   adapter.GroupCommitOptions
		sizes  []int // events of the appends that wait
		groups []int // appends of the groups that they form
	}{
		{"by events", adapter.GroupCommitOptions{MaxWeight: 10, Weigh: events}, []int{4, 4, 4, 1, 1}, []int{2, 3}},
		{"filled exactly", adapter.GroupCommitOptions{MaxWeight: 10, Weigh: events}, []int{5, 5, 5, 5}, []int{2, 2}},
		{"a heavier append goes alone", adapter.GroupCommitOptions{MaxWeight: 10, Weigh: events}, []int{1, 50, 1, 1}, []int{1, 1, 2}},
		{"by bytes", adapter.GroupCommitOptions{MaxWeight: 300, Weigh: adapter.WeighEvents(1)}, []int{1, 1, 1, 1, 1}, []int{3, 2}},
		{"by bytes where events are small", adapter.GroupCommitOptions{MaxWeight: 600, Weigh: adapter.WeighEvents(200)}, []int{1, 2, 2, 1}, []int{2, 2}},
		{"by default at 1024 events", adapter.GroupCommitOptions{}, []int{1000, 24, 1}, []int{2, 1}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			both(t, func(t *testing.T, opts adapter.GroupCommitOptions) {
				test.opts.CallerFlushes = opts.CallerFlushes
				d := newDatabase()
				c := adapter.NewGroupCommit(d.flush, test.opts)
				all := []<-chan answer{start(t.Context(), c, request("first", 1))}
				<-d.arrived
				for i, size := range test.sizes {
					req := request(fmt.Sprint(i), size)
					for j := range req.Parts[0].Events {
						req.Parts[0].Events[j].Data = make([]byte, 100)
					}
					all = append(all, start(t.Context(), c, req))
					synctest.Wait()
				}
				close(d.proceed)
				for _, done := range all {
					require.NoError(t, (<-done).err)
				}
				var got []int
				for _, group := range d.groups[1:] {
					got = append(got, len(group))
				}
				require.Equal(t, test.groups, got)
				c.Close()
			})
		})
	}
}

func TestSeveralFlushesMayBeUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDatabase()
		c := adapter.NewGroupCommit(d.flush, adapter.GroupCommitOptions{Flushes: 2})
		var all []<-chan answer
		for i := range 4 {
			all = append(all, start(t.Context(), c, request(fmt.Sprint(i), 1)))
			synctest.Wait()
		}
		require.Len(t, d.arrived, 2, "two are under way, two wait")
		close(d.proceed)
		for _, done := range all {
			require.NoError(t, (<-done).err)
		}
		require.Len(t, d.stored, 4)
		c.Close()
	})
}

func TestHowManyFlushesAreUnderWayChangesWhileTheyAre(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDatabase()
		c := adapter.NewGroupCommit(d.flush, adapter.GroupCommitOptions{Flushes: 2})
		var all []<-chan answer
		add := func(n int) {
			for range n {
				all = append(all, start(t.Context(), c, request(fmt.Sprint(len(all)), 1)))
				synctest.Wait()
			}
		}
		finish := func() (next []string) {
			d.proceed <- struct{}{}
			synctest.Wait()
			select {
			case next = <-d.arrived:
			default:
			}
			return next
		}
		add(4)
		require.Equal(t, []string{"0"}, <-d.arrived)
		require.Equal(t, []string{"1"}, <-d.arrived)
		c.SetFlushes(1)
		require.Nil(t, finish(), "one of the two is enough now")
		add(1)
		require.Empty(t, d.arrived, "and no other starts")
		require.Equal(t, []string{"2", "3", "4"}, finish(), "those who waited leave together")
		c.SetFlushes(2)
		add(2)
		require.Equal(t, []string{"5"}, <-d.arrived, "a second one starts again")
		c.SetFlushes(0)
		close(d.proceed)
		for i, done := range all {
			require.NoError(t, (<-done).err, i)
		}
		require.Len(t, d.stored, 7)
		c.Close()
	})
}

// 32 racers hand in appends as fast as they can; each is flushed once, one group
// at a time, and no goroutine outlives Close.
func TestThirtyTwoRacersEachGoThroughOnce(t *testing.T) {
	both(t, func(t *testing.T, opts adapter.GroupCommitOptions) {
		const racers, each = 32, 50
		var mu sync.Mutex
		stored, flushing := make(map[string]int), false
		opts.MaxWeight, opts.Weigh = 10, events
		c := adapter.NewGroupCommit(func(_ context.Context, group []*adapter.GroupedAppend) {
			mu.Lock()
			require.False(t, flushing, "one flush at a time")
			flushing = true
			mu.Unlock()
			<-time.After(time.Millisecond) // of the bubble's time: all others get to run
			mu.Lock()
			defer mu.Unlock()
			flushing = false
			require.LessOrEqual(t, len(group), 10)
			for _, call := range group {
				stored[name(call)]++
				call.Results = []eventstore.PartResult{{Recorded: make([]eventstore.Recorded, len(call.Parts[0].Events))}}
			}
		}, opts)
		var wg sync.WaitGroup
		for r := range racers {
			wg.Go(func() {
				for n := range each {
					results, err := c.Append(t.Context(), request(fmt.Sprintf("%d-%d", r, n), 1))
					if err != nil || len(results) != 1 {
						t.Errorf("append: %v, %v", results, err)
					}
				}
			})
		}
		wg.Wait()
		c.Close()
		require.Len(t, stored, racers*each)
		for n, times := range stored {
			require.Equal(t, 1, times, n)
		}
	})
}
