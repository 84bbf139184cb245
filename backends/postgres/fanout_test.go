package postgres

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/pgdriver"
)

// fannedOut is a fanOut over a memory log.
type fannedOut struct {
	fanOut
	log   *memory.Backend
	reads atomic.Int64
	err   error
}

func newFannedOut() *fannedOut {
	l := &fannedOut{log: memory.New()}
	l.read = func(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
		l.reads.Add(1)
		if l.err != nil {
			return eventstore.Page{}, l.err
		}
		return l.log.ReadAll(ctx, req)
	}
	return l
}

func (l *fannedOut) append(t *testing.T, stream string, events ...eventstore.Event) {
	t.Helper()
	_, err := l.store(t).Append(t.Context(), stream, eventstore.Any(), events...)
	require.NoError(t, err)
}

func (l *fannedOut) store(t *testing.T) *eventstore.Store {
	t.Helper()
	store, err := eventstore.New(l.log, &eventstore.Options{BackendLimits: true})
	require.NoError(t, err)
	return store
}

func some(n int) []eventstore.Event {
	events := make([]eventstore.Event, n)
	for i := range events {
		events[i] = eventstore.Event{Type: "Happened", Data: []byte(`{}`), Metadata: map[string]string{"k": "v"}}
	}
	return events
}

// follower is a subscription that is asked to look when a test wants it.
type follower struct {
	page   pages
	leave  func()
	filter eventstore.Filter
	size   eventstore.PageSize
	after  eventstore.Place
	got    []eventstore.RecordedEvent
}

func (l *fannedOut) newFollower(t *testing.T, filter eventstore.Filter) *follower {
	f := &follower{filter: filter, size: eventstore.PageSize{MaxEvents: 512, MaxBytes: 4 << 20}}
	f.page, f.leave = l.follow()
	t.Cleanup(func() { f.leave() })
	return f
}

// look reads page after page to the end.
func (f *follower) look(t *testing.T) {
	t.Helper()
	for end := false; !end; {
		end = f.step(t)
	}
}

func (f *follower) step(t *testing.T) (end bool) {
	t.Helper()
	page, err := f.page(t.Context(), eventstore.ReadAllRequest{After: f.after, Filter: f.filter, PageSize: f.size})
	require.NoError(t, err)
	require.LessOrEqual(t, len(page.Events), f.size.MaxEvents)
	f.got = append(f.got, page.Events...)
	require.False(t, page.Next.Position.Before(f.after.Position), "a place to go on does not go back")
	f.after = page.Next
	return page.End
}

// two returns a fanOut of which two followers have seen the end.
func two(t *testing.T) (l *fannedOut, a, b *follower) {
	t.Helper()
	l = newFannedOut()
	l.append(t, "order-1", some(3)...)
	a, b = l.newFollower(t, eventstore.Filter{}), l.newFollower(t, eventstore.Filter{Categories: []string{"invoice"}})
	a.look(t)
	b.look(t)
	l.reads.Store(0)
	return l, a, b
}

func TestLiveSubscriptionsShareOneReadOfTheEnd(t *testing.T) {
	l, a, b := two(t)
	l.append(t, "order-2", some(2)...)
	l.append(t, "invoice-1", some(1)...)
	l.advance(t.Context())
	a.look(t)
	b.look(t)
	require.Len(t, a.got, 6)
	require.Len(t, b.got, 1)
	require.Equal(t, a.after, b.after, "a filter that passed over events makes progress")
	require.Equal(t, int64(1), l.reads.Load())
}

func TestALoneSubscriptionReadsForItself(t *testing.T) {
	l, a, b := two(t)
	b.leave()
	b.leave = func() {}
	for looks := range int64(3) {
		l.append(t, "order-2", some(2)...)
		l.advance(t.Context())
		require.Equal(t, looks, l.reads.Load(), "reads, of which it makes none")
		a.look(t)
	}
	require.Len(t, a.got, 9)
}

func TestASubscriptionThatNoHintReachedReadsForItself(t *testing.T) {
	l, a, _ := two(t)
	l.append(t, "order-2", some(2)...) // and nobody advances it
	a.look(t)
	require.Len(t, a.got, 5)
}

func TestANewSubscriptionIsNotToldThatItIsCaughtUpByAnOldTail(t *testing.T) {
	l, a, b := two(t)
	l.append(t, "order-2", some(1)...)
	l.advance(t.Context())
	a.look(t)
	b.look(t)
	l.append(t, "order-3", some(1)...) // acknowledged before the subscription, and not in what is kept
	c := l.newFollower(t, eventstore.Filter{})
	c.after = a.got[2].Place() // within what is kept
	page, err := c.page(t.Context(), eventstore.ReadAllRequest{After: c.after, PageSize: c.size})
	require.NoError(t, err)
	require.True(t, page.End)
	require.Len(t, page.Events, 2)
}

func TestASubscriptionBehindTheTailReadsForItselfAndNothingGrows(t *testing.T) {
	l, a, b := two(t)
	for range 10 {
		l.append(t, "order-2", some(300)...)
		l.advance(t.Context())
		b.look(t) // keeps it alive
		require.LessOrEqual(t, len(l.events), fanOutEvents)
		require.LessOrEqual(t, cap(l.events), 2*fanOutEvents)
	}
	require.Greater(t, len(l.events), fanOutEvents/2)
	a.look(t)
	require.Len(t, a.got, 3003)
	for i, event := range a.got {
		require.Equal(t, pgdriver.Position(int64(i+1)), event.Position)
	}
}

func TestATailIsBoundedInBytes(t *testing.T) {
	l, _, b := two(t)
	large := some(1)
	large[0].Data = []byte(`"` + string(make([]byte, 300_000)) + `"`)
	large[0].ContentType = "application/octet-stream"
	for range 40 {
		l.append(t, "order-2", large...)
		l.advance(t.Context())
		b.look(t)
		sum := 0
		for _, event := range l.events {
			sum += event.Size()
		}
		require.Equal(t, sum, l.bytes)
		require.LessOrEqual(t, sum, fanOutBytes)
	}
	require.Greater(t, l.bytes, fanOutBytes/2)
}

func TestMoreThanAPageBetweenTwoWakeUpsEndsTheTailUntilSomebodyHasCaughtUp(t *testing.T) {
	l, a, b := two(t)
	l.append(t, "order-2", some(fanOutEvents/2+1)...)
	l.advance(t.Context())
	require.False(t, l.active)
	require.Empty(t, l.events)
	a.look(t)
	b.look(t)
	require.Len(t, a.got, 3+fanOutEvents/2+1)
	l.append(t, "order-3", some(1)...)
	l.advance(t.Context())
	l.reads.Store(0)
	a.look(t)
	b.look(t)
	require.Zero(t, l.reads.Load())
	require.Len(t, a.got, 3+fanOutEvents/2+2)
}

func TestAFailedReadEndsTheTail(t *testing.T) {
	l, a, _ := two(t)
	l.err = errors.New("connection reset by peer")
	l.append(t, "order-2", some(1)...)
	l.advance(t.Context())
	require.False(t, l.active)
	l.err = nil
	a.look(t)
	require.Len(t, a.got, 4)
}

func TestATailThatNobodyReadsIsGivenUp(t *testing.T) {
	l, _, _ := two(t)
	for range 3 * fanOutUnused {
		l.append(t, "order-2", some(1)...)
		l.advance(t.Context())
	}
	require.LessOrEqual(t, l.reads.Load(), int64(fanOutUnused))
	require.Empty(t, l.events)
}

func TestSubscribersMayChangeWhatTheyGet(t *testing.T) {
	l, a, _ := two(t)
	b := l.newFollower(t, eventstore.Filter{})
	b.look(t)
	l.append(t, "order-2", some(1)...)
	l.advance(t.Context())
	a.look(t)
	a.got[3].Data[0] = 'X'
	a.got[3].Metadata["k"] = "changed"
	b.look(t)
	require.Equal(t, `{}`, string(b.got[3].Data))
	require.Equal(t, map[string]string{"k": "v"}, b.got[3].Metadata)
}

// Followers with all kinds of filters and page sizes look when they like, while
// events come, some with a wake-up and some without; others come and go.
func TestThroughATailEverySubscriptionSeesWhatItWouldHaveReadItself(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 1))
			l := newFannedOut()
			filters := []eventstore.Filter{{}, {Categories: []string{"order"}}, {StreamPrefixes: []string{"order-1"}}, {Types: []string{"Happened"}}, {Categories: []string{"none"}}}
			var followers []*follower
			for range 300 {
				switch random.IntN(8) {
				case 0, 1, 2:
					stream := []string{"order-1", "order-2", "invoice-1"}[random.IntN(3)]
					l.append(t, stream, some(1+random.IntN(1+random.IntN(200)))...)
				case 3, 4:
					l.advance(t.Context())
				case 5:
					if len(followers) < 8 {
						f := l.newFollower(t, filters[random.IntN(len(filters))])
						f.size.MaxEvents = 1 + random.IntN(300)
						if random.IntN(3) == 0 {
							f.size.MaxBytes = 1 + random.IntN(500)
						}
						followers = append(followers, f)
					}
				default:
					if len(followers) > 0 {
						followers[random.IntN(len(followers))].step(t)
					}
				}
			}
			for _, f := range followers {
				f.look(t)
				f.look(t) // where it ended before the log did
				var want []eventstore.RecordedEvent
				for event, err := range l.store(t).ReadAll(t.Context(), eventstore.ReadAllOptions{Filter: f.filter}) {
					require.NoError(t, err)
					want = append(want, event)
				}
				require.Equal(t, positions(want), positions(f.got))
			}
		})
	}
}

func positions(events []eventstore.RecordedEvent) []string {
	all := make([]string, len(events))
	for i, event := range events {
		all[i] = event.Position.String()
	}
	return all
}
