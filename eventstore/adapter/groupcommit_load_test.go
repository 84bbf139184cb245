package adapter_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventstore/adapter"
)

// slowly is a flush that takes its time, whatever it is given, and answers.
func slowly(took func() time.Duration) adapter.FlushFunc {
	return func(_ context.Context, group []*adapter.GroupedAppend) {
		<-time.After(took())
		for _, call := range group {
			call.Results = []eventstore.PartResult{{}}
		}
	}
}

// load is what became of the appends of a run.
type load struct {
	answered, withdrawn, unknown int
	late                         time.Duration // after its deadline, the worst return
}

// closedLoop lets so many callers append one after the other for a time.
func closedLoop(ctx context.Context, c *adapter.GroupCommit, callers int, during time.Duration) (n int) {
	var answered atomic.Int64
	var wg sync.WaitGroup
	for end := time.Now().Add(during); callers > 0; callers-- {
		wg.Go(func() {
			for time.Now().Before(end) {
				if _, err := c.Append(ctx, request("s", 1)); err == nil {
					answered.Add(1)
				}
			}
		})
	}
	wg.Wait()
	return int(answered.Load())
}

// openLoop lets callers come at a rate, in bursts of a millisecond's, whatever
// becomes of those before; each with a time after which it gives up.
func openLoop(ctx context.Context, c *adapter.GroupCommit, perSecond float64, during time.Duration, patience func(i int) time.Duration) (sum load) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	came := 0
	begin := time.Now()
	for time.Since(begin) < during {
		<-time.After(time.Millisecond)
		// What is due now: a machine that cannot start so many must not try for ever.
		for due := int(perSecond * time.Since(begin).Seconds()); came < due; came++ {
			allowed := patience(came)
			wg.Go(func() {
				end := time.Now().Add(allowed)
				ctx, cancel := context.WithDeadline(ctx, end)
				defer cancel()
				_, err := c.Append(ctx, request("s", 1))
				late := time.Since(end)
				mu.Lock()
				defer mu.Unlock()
				sum.late = max(sum.late, late)
				switch {
				case err == nil:
					sum.answered++
				case errors.Is(err, eventstore.ErrUnknownOutcome):
					sum.unknown++
				default:
					sum.withdrawn++
				}
			})
		}
	}
	wg.Wait()
	return sum
}

// At twice the rate that the database sustains, half of the callers must be
// disappointed, but not more: what is written is what its caller hears of. In a
// bubble's time the figures are exact and the same on every machine.
func TestTwiceTheSustainableRateIsAnsweredAtTheSustainableRate(t *testing.T) {
	const flush, during = 10 * time.Millisecond, 5 * time.Second
	constant := func() time.Duration { return flush }
	tests := []struct {
		name     string
		flush    func() time.Duration
		patience func(i int) time.Duration
	}{
		{"deadlines far above a flush", constant, func(int) time.Duration { return time.Second }},
		{"deadlines a few flushes away", constant, func(int) time.Duration { return 5 * flush }},
		{"deadlines just above a flush", constant, func(int) time.Duration { return flush * 3 / 2 }},
		{"deadlines of all kinds", constant, func(i int) time.Duration { return flush*2 + time.Duration(i*7919%1000)*time.Millisecond }},
		{"half of the deadlines hopeless", constant, func(i int) time.Duration { return flush/2 + time.Duration(i%2)*time.Second }},
		{"flushes that vary", func() func() time.Duration {
			n := 0
			return func() time.Duration { n++; return flush/2 + flush*time.Duration(n%5)/4 } // 5 to 15 ms
		}(), func(int) time.Duration { return 200 * time.Millisecond }},
		{"one flush that stalled for long", func() func() time.Duration {
			n := 0
			return func() time.Duration {
				if n++; n == 20 {
					return time.Second / 2
				}
				return flush
			}
		}(), func(int) time.Duration { return 200 * time.Millisecond }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			both(t, func(t *testing.T, opts adapter.GroupCommitOptions) {
				opts.MaxWeight, opts.Weigh = 20, events
				c := adapter.NewGroupCommit(slowly(test.flush), opts)
				closed := closedLoop(t.Context(), c, 100, during)
				rate := float64(closed) / during.Seconds()
				open := openLoop(t.Context(), c, 2*rate, during, test.patience)
				c.Close()
				t.Logf("closed loop: %d answered; open loop: %+v", closed, open)
				require.GreaterOrEqual(t, float64(open.answered), 0.8*float64(closed))
				late := time.Duration(0)
				if opts.CallerFlushes { // a caller that flushes cannot leave, and this flush heeds no context
					late = flush
				}
				require.LessOrEqual(t, open.late, late, "everyone has an answer by their deadline")
				require.Less(t, open.unknown, open.answered/5, "few are written in vain")
			})
		})
	}
}

func TestACallerPastItsDeadlineDoesNotTravelInAGroupThatLeavesAfter(t *testing.T) {
	both(t, func(t *testing.T, opts adapter.GroupCommitOptions) {
		d := newDatabase()
		c := adapter.NewGroupCommit(d.flush, opts)
		first := start(t.Context(), c, request("first", 1))
		<-d.arrived
		// Its context never says that it is done: as if its timer were late.
		late := start(lateTimer{Context: t.Context(), deadline: time.Now().Add(time.Second)}, c, request("late", 1))
		stayer := start(t.Context(), c, request("stayer", 1))
		synctest.Wait()
		<-time.After(time.Second)
		close(d.proceed)
		require.NoError(t, (<-first).err)
		require.NoError(t, (<-stayer).err)
		require.Equal(t, context.DeadlineExceeded, (<-late).err, "definite: it never left")
		require.Zero(t, d.stored["late"])
		c.Close()
	})
}

// lateTimer is a context whose deadline passes without a signal.
type lateTimer struct {
	context.Context //nolint:containedctx // the one it changes

	deadline time.Time
}

func (c lateTimer) Deadline() (time.Time, bool) { return c.deadline, true }

// Callers that come without end, as fast as two goroutines can start them, must
// not keep a group from leaving: the flush takes no time, so what is answered is
// what the committer gets done. Both rates are of the same run.
func TestAStormOfCallersIsAnswered(t *testing.T) {
	if testing.Short() {
		t.Skip("it keeps two cores busy for some seconds")
	}
	const during = 300 * time.Millisecond
	var shares []float64
	for range 5 {
		var flushes, answered, came atomic.Int64
		c := adapter.NewGroupCommit(func(context.Context, []*adapter.GroupedAppend) { flushes.Add(1) }, adapter.GroupCommitOptions{})
		ctx, cancel := context.WithTimeout(t.Context(), during)
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				for n := 0; ctx.Err() == nil; n++ {
					came.Add(1)
					wg.Go(func() {
						if _, err := c.Append(ctx, request("s", 1)); err == nil {
							answered.Add(1)
						}
					})
				}
			})
		}
		wg.Wait()
		c.Close()
		cancel()
		shares = append(shares, float64(answered.Load())/float64(came.Load()))
		t.Logf("%d flushes, %d of %d answered", flushes.Load(), answered.Load(), came.Load())
	}
	slices.Sort(shares)
	require.Greater(t, shares[len(shares)/2], 0.1, "the median share of callers that were answered")
}

// A flush of at most 64 takes 5 ms, so that it and not the machine bounds the rate:
// 128 callers wait for their answers (closed), or twice as many come as can be
// answered (open, with deadlines of 250 ms).
func BenchmarkGroupCommit(b *testing.B) {
	for _, callers := range []bool{false, true} {
		opts := adapter.GroupCommitOptions{MaxWeight: 64, Weigh: events, CallerFlushes: callers}
		flush := slowly(func() time.Duration { return 5 * time.Millisecond })
		b.Run(fmt.Sprintf("CallerFlushes=%t", callers), func(b *testing.B) {
			for b.Loop() {
				c := adapter.NewGroupCommit(flush, opts)
				closed := closedLoop(b.Context(), c, 128, time.Second)
				open := openLoop(b.Context(), c, 2*float64(closed), time.Second, func(int) time.Duration { return 250 * time.Millisecond })
				c.Close()
				b.ReportMetric(float64(closed), "closed/s")
				b.ReportMetric(float64(open.answered), "open/s")
				b.ReportMetric(float64(open.unknown), "unknown/s")
				b.ReportMetric(float64(open.late.Milliseconds()), "late-ms")
			}
		})
	}
}
