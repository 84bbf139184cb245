package dynamodb_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/dynamodb"
	"github.com/switchyard-dev/switchyard/backends/dynamodb/dynamodbharness"
	"github.com/switchyard-dev/switchyard/backends/dynamodb/dynamodbtest"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/testservers"
)

func TestNothingIsLostAndNothingIsTwiceWhereAnswersAndRequestsAreLost(t *testing.T) {
	for seed := range uint64(3) {
		w := newWorld(t, nil)
		var stores []*eventstore.Store
		for range 4 {
			b := w.backend(nil, nil)
			b.SetPatience(time.Second, 2*time.Second)
			stores = append(stores, storeOf(t, b))
		}
		lost := chance(seed, transact, 0.10, dynamodbtest.ErrDrop)
		failed := chance(seed+100, transact, 0.05, dynamodbtest.InternalError())
		w.srv.SetHooks(dynamodbtest.Hooks{
			Before: chance(seed+200, transact, 0.05, dynamodbtest.ErrDrop),
			After:  dynamodbtest.AfterAny(both(lost, failed)),
		})
		l := work(t, stores, 16, 6, seed)
		w.srv.SetHooks(dynamodbtest.Hooks{})
		require.NoError(t, l.audit(t.Context(), w.store()), "seed %d", seed)
		require.NotEmpty(t, l.stored)
	}
}

const (
	childTable  = "SWITCHYARD_DYNAMODB_CHILD"
	childStream = "SWITCHYARD_DYNAMODB_STREAM"
)

// child appends without end and prints what was acknowledged.
func child(table string) int {
	ctx := context.Background()
	u, err := url.Parse(table)
	if err != nil {
		return 2
	}
	b, err := dynamodb.OpenURL(ctx, u)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	store, err := eventstore.New(b, nil)
	if err != nil {
		return 2
	}
	for i := 0; ; i++ {
		sent := events(1 + i%5)
		result, err := store.Append(ctx, os.Getenv(childStream), eventstore.Any(), sent...)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		for _, e := range result.Events {
			fmt.Printf("%s %s %d\n", e.ID, e.Position, e.Version)
		}
	}
}

// killedWriter has a process append until it is killed, and notes what it was told.
func killedWriter(t *testing.T, table, stream string, l *ledger) {
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childTable+"="+table, childStream+"="+stream)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	cmd.Stderr = os.Stderr
	require.NoError(t, cmd.Start())
	lines := bufio.NewScanner(out)
	for n := 0; lines.Scan(); n++ {
		fields := strings.Fields(lines.Text())
		if len(fields) != 3 {
			break
		}
		var e eventstore.RecordedEvent
		e.ID = uuid.MustParse(fields[0])
		e.Position, err = eventstore.ParsePosition(fields[1])
		require.NoError(t, err)
		_, err = fmt.Sscan(fields[2], &e.Version)
		require.NoError(t, err)
		l.stored[e.ID] = e
		if n == 40 {
			require.NoError(t, cmd.Process.Kill())
		}
	}
	require.Error(t, cmd.Wait(), "it was killed")
}

func TestAWriterThatIsKilledLosesNothingThatItWasTold(t *testing.T) {
	w := newWorld(t, nil)
	other := w.store()
	for i := range 3 {
		l := newLedger()
		killedWriter(t, w.url, fmt.Sprintf("killed-%d", i), l)
		_, err := other.Append(t.Context(), fmt.Sprintf("killed-%d", i), eventstore.Any(), event())
		require.NoError(t, err)
		require.NoError(t, l.audit(t.Context(), w.store()))
	}
}

func TestAServerThatIsKilledLosesNothingThatItAcknowledged(t *testing.T) {
	server := testservers.PrivateDynoxide(t, testservers.DynoxideOptions{Persistent: true})
	u, err := url.Parse(dynamodbharness.TableURL(server.URL(), "events"))
	require.NoError(t, err)
	b, err := dynamodb.OpenURL(t.Context(), u)
	require.NoError(t, err)
	store := storeOf(t, b)
	l := newLedger()
	for round := range 3 {
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for i := range 60 {
				sent := events(1 + i%4)
				result, err := store.Append(t.Context(), fmt.Sprintf("order-%d-%d", round, i/10), eventstore.Any(), sent...)
				l.note(sent, result, err)
			}
		}()
		require.Eventually(t, func() bool { l.mu.Lock(); defer l.mu.Unlock(); return len(l.stored) > (round+1)*30 }, 30*time.Second, time.Millisecond)
		require.NoError(t, server.Kill())
		require.NoError(t, server.Start(t.Context()))
		<-ended
	}
	fresh, err := dynamodb.OpenURL(t.Context(), u)
	require.NoError(t, err)
	require.NoError(t, l.audit(t.Context(), storeOf(t, fresh)))
	require.NoError(t, fresh.Close())
	require.NoError(t, b.Close())
}

// sends counts how often each transaction was sent, by its token.
type sends struct {
	mu     sync.Mutex
	tokens map[string]int
	order  []string
}

// send returns the number of the transaction, from 1, and of its send.
func (s *sends) send(call dynamodbtest.Call) (transaction, nth int) {
	_, rest, _ := strings.Cut(string(call.Body), `"ClientRequestToken":"`)
	token, _, _ := strings.Cut(rest, `"`)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tokens == nil {
		s.tokens = make(map[string]int)
	}
	if s.tokens[token]++; s.tokens[token] == 1 {
		s.order = append(s.order, token)
	}
	for i, t := range s.order {
		if t == token {
			transaction = i + 1
		}
	}
	return transaction, s.tokens[token]
}

func (s *sends) none() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.order) == 0
}

func TestARequestThatArrivesLateAndItsRepetitionAreNeverBothStored(t *testing.T) {
	w := newWorld(t, nil)
	store := w.store()
	for i := range 50 {
		stream := fmt.Sprintf("late-%d", i)
		b := w.backend(nil, nil)
		b.SetPatience(60*time.Millisecond, 120*time.Millisecond)
		release := make(chan struct{})
		var sent sends
		var arrived sync.WaitGroup
		w.srv.SetHooks(dynamodbtest.Hooks{
			Before: dynamodbtest.Only(transact, func(ctx context.Context, call dynamodbtest.Call) error {
				if n, _ := sent.send(call); n > 1 {
					return nil
				}
				arrived.Add(1)
				return dynamodbtest.Hold(release)(ctx, call)
			}),
			After: func(_ context.Context, call dynamodbtest.Call, _ *dynamodbtest.Error) error {
				if call.Operation == transact {
					if n, _ := sent.send(call); n == 1 {
						arrived.Done()
					}
				}
				return nil
			},
		})
		req := part(stream, eventstore.NoStream(), event())
		_, err := b.Append(t.Context(), req)
		if sent.none() { // so busy a machine that its time was over before it was sent
			close(release)
			continue
		}
		require.ErrorIs(t, err, eventstore.ErrUnknownOutcome)
		require.NotErrorIs(t, err, context.DeadlineExceeded, "an outcome that is not known matches nothing else")
		if i%2 == 0 { // the repetition is first, or the one that was late
			b.SetPatience(5*time.Second, 5*time.Second)
			results, err := b.Append(t.Context(), req)
			require.NoError(t, err)
			require.False(t, results[0].Duplicate)
		}
		close(release)
		arrived.Wait()
		b.SetPatience(5*time.Second, 5*time.Second)
		results, err := b.Append(t.Context(), req)
		require.NoError(t, err)
		require.True(t, results[0].Duplicate)
		w.srv.SetHooks(dynamodbtest.Hooks{})
		version, err := store.StreamVersion(t.Context(), stream)
		require.NoError(t, err)
		require.EqualValues(t, 1, version)
	}
	require.NoError(t, newLedger().audit(t.Context(), store))
}

func TestConflictingTransactionsAreNoErrorAndLoseNothing(t *testing.T) {
	w := newWorld(t, nil)
	stores := []*eventstore.Store{w.store(), w.store()}
	var calls atomic.Int64
	until := time.Now().Add(time.Second)
	w.srv.SetHooks(dynamodbtest.Hooks{Before: dynamodbtest.Only(transact, func(_ context.Context, call dynamodbtest.Call) error {
		if time.Now().Before(until) || calls.Add(1)%3 == 0 {
			return conflicted(call)
		}
		return nil
	})})
	l := work(t, stores, 8, 20, 1)
	require.Empty(t, l.unknown)
	require.GreaterOrEqual(t, len(l.stored), 320)
	require.NoError(t, l.audit(t.Context(), w.store()))
}

// One append by itself: the Store would repeat one of unknown outcome.
func TestAReasonThatPassesIsWaitedForAndNoUnknownOutcome(t *testing.T) {
	for _, code := range []string{dynamodbtest.CodeTransactionConflict, dynamodbtest.CodeThrottling, dynamodbtest.CodeThroughputExceeded} {
		t.Run(code, func(t *testing.T) {
			w := newWorld(t, nil)
			b := w.backend(nil, nil)
			w.srv.SetHooks(dynamodbtest.Hooks{Before: dynamodbtest.Only(transact, dynamodbtest.FailTimes(5, dynamodbtest.Canceled(code, dynamodbtest.CodeNone)))})
			_, err := b.Append(t.Context(), part("order-1", eventstore.NoStream(), event()))
			require.NoError(t, err)
		})
	}
}

func TestThrottlingIsWaitedForAndNeverAnUnknownOutcome(t *testing.T) {
	w := newWorld(t, nil)
	stores := []*eventstore.Store{w.store(), w.store()}
	w.srv.SetHooks(dynamodbtest.Hooks{Before: both(chance(1, transact, 0.2, dynamodbtest.Throttled()), chance(2, transact, 0.1, dynamodbtest.ThroughputExceeded()))})
	l := work(t, stores, 16, 10, 1)
	require.Empty(t, l.unknown)
	require.GreaterOrEqual(t, len(l.stored), 320)
	require.NoError(t, l.audit(t.Context(), w.store()))
}

// Five refusals of a chunk in a row are damage; those that are apart because others
// took the turn in between are not.
func TestRefusedChunksBetweenLostTurnsAreNoDamage(t *testing.T) {
	w := newWorld(t, nil)
	b, other := w.backend(nil, nil), w.store()
	var calls int
	w.srv.SetHooks(dynamodbtest.Hooks{Before: dynamodbtest.Only(transact, func(ctx context.Context, call dynamodbtest.Call) error {
		if !strings.Contains(string(call.Body), "order-1") {
			return nil
		}
		switch calls++; {
		case calls > 12:
			return nil
		case calls%2 == 1:
			return dynamodbtest.Canceled(dynamodbtest.CodeNone, dynamodbtest.CodeConditionalCheckFailed)
		}
		_, err := other.Append(ctx, "other-1", eventstore.Any(), event())
		return err
	})})
	_, err := b.Append(t.Context(), part("order-1", eventstore.NoStream(), event()))
	require.NoError(t, err)
	require.Equal(t, 13, calls)
}

func TestASealThatIsThrottledEndsWithinItsTime(t *testing.T) {
	w := newWorld(t, nil)
	b := w.backend(nil, nil)
	b.SetSealPatience(200 * time.Millisecond)
	w.srv.SetHooks(dynamodbtest.Hooks{Before: dynamodbtest.Only(transact, func(context.Context, dynamodbtest.Call) error { return dynamodbtest.Throttled() })})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_, err := b.Seal(ctx, eventstore.SealRequest{Reason: "moved"})
	if !errors.Is(err, eventstore.ErrUnknownOutcome) { // its time ended while a request was on its way
		require.ErrorIs(t, err, eventstore.ErrUnavailable)
	}
	require.NoError(t, ctx.Err(), "it ends by itself")
	w.srv.SetHooks(dynamodbtest.Hooks{})
	info, err := b.Seal(ctx, eventstore.SealRequest{Reason: "moved"})
	require.NoError(t, err)
	require.True(t, info.Sealed)
}

func TestAHandlerIsNeverToldOfAnEventThatItsStreamDoesNotHave(t *testing.T) {
	for name, order := range map[string]func(dynamodbtest.Call) []int{
		"the log first": nil,
		"the log last": func(call dynamodbtest.Call) []int {
			reversed := make([]int, len(call.Keys))
			for i := range reversed {
				reversed[i] = len(reversed) - 1 - i
			}
			return reversed
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			writer, reader := w.store(), w.store()
			w.srv.SetHooks(dynamodbtest.Hooks{Order: order, BetweenItems: func(ctx context.Context, call dynamodbtest.Call, _ int) {
				if strings.Contains(string(call.Body), "Told") {
					timer := time.NewTimer(20 * time.Millisecond)
					defer timer.Stop()
					select {
					case <-timer.C:
					case <-ctx.Done():
					}
				}
			}})
			const count = 50
			done := make(chan error, 1)
			go func() {
				for i := range count {
					e := event()
					e.Type = "Told"
					if _, err := writer.Append(t.Context(), fmt.Sprintf("told-%d", i%5), eventstore.Any(), e); err != nil {
						done <- err
						return
					}
				}
				done <- nil
			}()
			seen := 0
			for m, err := range reader.Subscribe(t.Context(), eventstore.SubscribeOptions{Filter: eventstore.Filter{Types: []string{"Told"}}}) {
				require.NoError(t, err)
				if m.Kind != eventstore.MessageEvent {
					continue
				}
				version, err := reader.StreamVersion(t.Context(), m.Event.Stream)
				require.NoError(t, err)
				require.GreaterOrEqual(t, version, m.Event.Version, "the stream is behind what it was told")
				_, err = reader.Append(t.Context(), "answer-"+m.Event.ID.String(), eventstore.NoStream(), event())
				require.NoError(t, err, "a false conflict")
				if seen++; seen == count {
					break
				}
			}
			require.NoError(t, <-done)
		})
	}
}

func TestALogItemWhoseChunksAreNotVisibleYetCounts(t *testing.T) {
	w := newWorld(t, nil)
	writer := w.store()
	for i := range 50 {
		stream := fmt.Sprintf("half-%d", i)
		visible, release := make(chan struct{}), make(chan struct{})
		var once sync.Once
		w.srv.SetHooks(dynamodbtest.Hooks{BetweenItems: func(ctx context.Context, _ dynamodbtest.Call, _ int) {
			once.Do(func() {
				close(visible)
				select {
				case <-release:
				case <-ctx.Done():
				}
			})
		}})
		written := make(chan error, 1)
		go func() {
			_, err := writer.Append(t.Context(), stream, eventstore.NoStream(), event())
			written <- err
		}()
		<-visible
		b := w.backend(nil, nil) // it finds the item in the log, and not in the stream
		timer := time.AfterFunc(15*time.Millisecond, func() { close(release) })
		if i%2 == 0 {
			results, err := b.Append(t.Context(), part(stream, eventstore.Exactly(1), event()))
			require.NoError(t, err)
			require.EqualValues(t, 2, results[0].Recorded[0].Version)
		} else {
			_, err := b.Append(t.Context(), part(stream, eventstore.NoStream(), event()))
			var conflict *eventstore.ConflictError
			require.ErrorAs(t, err, &conflict)
			require.EqualValues(t, 1, conflict.Actual)
		}
		timer.Stop()
		require.NoError(t, <-written)
		w.srv.SetHooks(dynamodbtest.Hooks{})
	}
}

func TestARefusedRepetitionSaysNothingAboutASendThatMayArrive(t *testing.T) {
	for i := range 50 {
		w := newWorld(t, nil)
		b := w.backend(nil, nil)
		b.SetPatience(60*time.Millisecond, 120*time.Millisecond)
		release := make(chan struct{})
		arrived := make(chan struct{})
		var sent sends
		w.srv.SetHooks(dynamodbtest.Hooks{
			Before: dynamodbtest.Only(transact, func(ctx context.Context, call dynamodbtest.Call) error {
				switch n, nth := sent.send(call); {
				case n == 1 && nth == 1:
					return dynamodbtest.Hold(release)(ctx, call)
				case n > 1:
					return nil
				case i%2 == 0:
					return dynamodbtest.Throttled()
				default:
					return conflicted(call)
				}
			}),
			After: func(_ context.Context, call dynamodbtest.Call, err *dynamodbtest.Error) error {
				if call.Operation == transact && err == nil {
					select {
					case <-arrived:
					default:
						close(arrived)
					}
				}
				return nil
			},
		})
		req := part("order-1", eventstore.NoStream(), event())
		_, err := b.Append(t.Context(), req)
		if sent.none() {
			close(release)
			continue
		}
		require.ErrorIs(t, err, eventstore.ErrUnknownOutcome)
		require.NotErrorIs(t, err, eventstore.ErrUnavailable)
		close(release)
		<-arrived
		results, err := b.Append(t.Context(), req)
		require.NoError(t, err)
		require.True(t, results[0].Duplicate, "the first send arrived")
		require.NoError(t, b.Close())
		w.srv.Stop()
	}
}

// A send whose answer was lost may have been carried out, whatever its repetition is
// answered.
func TestNoRefusalIsDefiniteAfterAnAnswerThatWasLost(t *testing.T) {
	for name, refusal := range map[string]func(call dynamodbtest.Call) error{
		"no right":    func(dynamodbtest.Call) error { return dynamodbtest.AccessDenied("dynamodb:PutItem") },
		"throttled":   func(dynamodbtest.Call) error { return dynamodbtest.Throttled() },
		"in conflict": conflicted,
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			b := w.backend(nil, nil)
			var sent sends
			w.srv.SetHooks(dynamodbtest.Hooks{
				Before: dynamodbtest.Only(transact, func(_ context.Context, call dynamodbtest.Call) error {
					if _, nth := sent.send(call); nth > 1 {
						return refusal(call)
					}
					return nil
				}),
				After: dynamodbtest.AfterAny(dynamodbtest.Only(transact, dynamodbtest.FailTimes(1, dynamodbtest.ErrDrop))),
			})
			req := part("order-1", eventstore.NoStream(), event())
			_, err := b.Append(t.Context(), req)
			require.ErrorIs(t, err, eventstore.ErrUnknownOutcome)
			require.NotErrorIs(t, err, eventstore.ErrUnavailable)
			w.srv.SetHooks(dynamodbtest.Hooks{})
			results, err := b.Append(t.Context(), req)
			require.NoError(t, err)
			require.True(t, results[0].Duplicate, "the first send was carried out")
		})
	}
}

func TestASealThatLosesItsTurnReplacesNothing(t *testing.T) {
	w := newWorld(t, nil)
	b, other, l := w.backend(nil, nil), w.store(), newLedger()
	var once sync.Once
	w.srv.SetHooks(dynamodbtest.Hooks{Before: dynamodbtest.Only(transact, func(ctx context.Context, call dynamodbtest.Call) error {
		if strings.Contains(string(call.Body), `"seal"`) {
			once.Do(func() {
				sent := events(1)
				result, err := other.Append(ctx, "order-1", eventstore.NoStream(), sent...)
				l.note(sent, result, err)
			})
		}
		return nil
	})})
	info, err := b.Seal(t.Context(), eventstore.SealRequest{Reason: "moved"})
	require.NoError(t, err)
	require.True(t, info.Sealed)
	require.Equal(t, "order-1", info.Head.Stream)
	require.Len(t, l.stored, 1)
	require.NoError(t, l.audit(t.Context(), w.store()))
}

func TestOfTwoHandlesOneWinsAndTheOtherIsToldTheVersion(t *testing.T) {
	w := newWorld(t, nil)
	handles := []*eventstore.Store{w.store(), w.store()}
	for i := range 500 {
		var errs [2]error
		var all sync.WaitGroup
		for j, store := range handles {
			all.Go(func() {
				_, errs[j] = store.Append(t.Context(), "order-1", eventstore.Exactly(uint64(i)), event())
			})
		}
		all.Wait()
		lost := errors.Join(errs[0], errs[1])
		require.NotEqual(t, errs[0] == nil, errs[1] == nil, "one wins: %v", lost)
		var conflict *eventstore.ConflictError
		require.ErrorAs(t, lost, &conflict)
		require.EqualValues(t, i+1, conflict.Actual)
	}
}
