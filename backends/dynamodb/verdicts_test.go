package dynamodb_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/dynamodb"
	"github.com/switchyard-dev/switchyard/backends/dynamodb/dynamodbtest"
	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// failing takes what a scenario finds wrong, where a mutant is to be found.
type failing struct{ errors []string }

// Errorf implements require.TestingT.
func (f *failing) Errorf(format string, args ...any) {
	f.errors = append(f.errors, fmt.Sprintf(format, args...))
}

// FailNow implements require.TestingT.
func (f *failing) FailNow() { panic(f) }

// finds tells what a scenario finds wrong; empty where nothing is.
func finds(scenario func(t require.TestingT)) string {
	f := &failing{}
	func() {
		defer func() {
			if value := recover(); value != nil && value != any(f) {
				panic(value)
			}
		}()
		scenario(f)
	}()
	return strings.Join(f.errors, "\n")
}

// behind has another handle append, and then one that has not heard of it: with the
// right expectation, and with a wrong one.
func behind(t require.TestingT, test testing.TB, first, second *dynamodb.Backend, stream string) {
	ctx := test.Context()
	_, err := first.Append(ctx, part(stream, eventstore.NoStream(), event()))
	require.NoError(t, err)
	_, err = second.Append(ctx, part(stream, eventstore.Exactly(1), event()))
	require.NoError(t, err)
	_, err = first.Append(ctx, part(stream, eventstore.Exactly(2), event()))
	require.NoError(t, err, "the right expectation")
	_, err = second.Append(ctx, part(stream, eventstore.Exactly(3), event()))
	require.NoError(t, err)
	_, err = first.Append(ctx, part(stream, eventstore.Exactly(3), event()))
	var conflict *eventstore.ConflictError
	require.ErrorAs(t, err, &conflict, "a wrong one")
	require.EqualValues(t, 4, conflict.Actual)
	_, err = second.Append(ctx, part(stream, eventstore.Any(), event()))
	require.NoError(t, err)
	_, err = first.Append(ctx, part(stream, eventstore.Exactly(1), event()))
	require.ErrorAs(t, err, &conflict)
	require.EqualValues(t, 5, conflict.Actual, "a refusal says what was true when it was given")
}

func TestAHandleThatIsBehindGivesTheRightVerdicts(t *testing.T) {
	w := newWorld(t, nil)
	handles := make([]*dynamodb.Backend, 4)
	for i := range handles {
		handles[i] = w.backend(nil, nil)
	}
	for i, first := range handles {
		for j, second := range handles {
			if i != j {
				behind(t, t, first, second, fmt.Sprintf("order-%d-%d", i, j))
			}
		}
	}
	t.Run("the mutant that refuses without reading the log after judging is found", func(t *testing.T) {
		// It is shown an empty log where it asks what follows.
		deaf := w.backend(nil, func(operation string, request, answer []byte) []byte {
			if answer != nil && operation == "Query" && strings.Contains(string(request), `"/log"`) && strings.Contains(string(request), `"ScanIndexForward":true`) {
				return []byte(`{"Count":0,"Items":[],"ScannedCount":0}`)
			}
			return nil
		})
		require.Contains(t, finds(func(f require.TestingT) { behind(f, t, deaf, handles[0], "mutant-1") }), "a refusal says what was true when it was given")
	})
}

// lostAnswer appends where the answer to the first send is lost.
func lostAnswer(t require.TestingT, w *world, b *dynamodb.Backend, stream string) {
	lost := dynamodbtest.FailTimes(1, dynamodbtest.ErrDrop)
	w.srv.SetHooks(dynamodbtest.Hooks{After: dynamodbtest.AfterAny(dynamodbtest.Only(transact, lost))})
	defer w.srv.SetHooks(dynamodbtest.Hooks{})
	before := w.srv.Usage()
	results, err := b.Append(w.t.Context(), part(stream, eventstore.NoStream(), event()))
	require.NoError(t, err)
	require.False(t, results[0].Duplicate, "it is the append itself, and not a repetition")
	require.Equal(t, before.CanceledTransactions, w.srv.Usage().CanceledTransactions, "the repetition has the token of the first send")
	require.Equal(t, before.Requests[transact]+2, w.srv.Usage().Requests[transact])
}

func TestALostAnswerIsAskedForWithItsOwnToken(t *testing.T) {
	w := newWorld(t, nil)
	lostAnswer(t, w, w.backend(nil, nil), "order-1")
}

func TestMutantsOfTheRepetitionAreFound(t *testing.T) {
	// Each send has another token, as where the SDK is not given one.
	tokenless := func(operation string, request, answer []byte) []byte {
		const name = `"ClientRequestToken":"`
		if before, rest, ok := strings.Cut(string(request), name); ok && operation == transact && answer == nil {
			_, rest, _ = strings.Cut(rest, `"`)
			return []byte(before + name + uuid.NewString() + `"` + rest)
		}
		return nil
	}
	w := newWorld(t, nil)
	b := w.backend(nil, tokenless)
	require.Contains(t, finds(func(f require.TestingT) { lostAnswer(f, w, b, "order-1") }), "the repetition has the token of the first send")

	// And what is refused then is taken for a conflict with another: so does who lets
	// the SDK repeat a conditional write. The item that is shown is made another's.
	w = newWorld(t, nil)
	b = w.backend(nil, func(operation string, request, answer []byte) []byte {
		const name = `"x":{"B":"`
		before, rest, ok := strings.Cut(string(answer), name)
		if operation != transact || !ok {
			return tokenless(operation, request, answer)
		}
		_, rest, _ = strings.Cut(rest, `"`)
		return []byte(before + name + "AAAAAAAAAAAAAAAAAAAAAA==" + `"` + rest)
	})
	require.Contains(t, finds(func(f require.TestingT) { lostAnswer(f, w, b, "order-1") }), "it is the append itself, and not a repetition")
}

func TestNothingThatWasLearnedSurvivesAnUnknownOutcome(t *testing.T) {
	scenario := func(t require.TestingT, w *world, believe bool) {
		b := w.backend(nil, nil)
		req := part("order-1", eventstore.NoStream(), event())
		w.srv.SetHooks(dynamodbtest.Hooks{Before: dynamodbtest.Only(transact, func(context.Context, dynamodbtest.Call) error { return dynamodbtest.ErrDrop })})
		_, err := b.Append(w.t.Context(), req)
		require.ErrorIs(t, err, eventstore.ErrUnknownOutcome)
		w.srv.SetHooks(dynamodbtest.Hooks{})
		if believe { // the mutant's view: it took the append for stored
			b.BelieveWritten("order-1", req.Parts[0].Events...)
		}
		queries := w.srv.Usage().Requests["Query"]
		results, err := b.Append(w.t.Context(), part("order-1", eventstore.NoStream(), event()))
		require.NoError(t, err, "nothing was stored")
		require.Equal(t, queries+2, w.srv.Usage().Requests["Query"], "the ends of the log and of the stream are read anew")
		require.EqualValues(t, 1, results[0].Recorded[0].Version)
	}
	scenario(t, newWorld(t, nil), false)
	require.Contains(t, finds(func(f require.TestingT) { scenario(f, newWorld(t, nil), true) }), "nothing was stored")
}

// rewritten changes an answer's items.
func rewritten(answer []byte, change func(items []json.RawMessage) []json.RawMessage) []byte {
	var page map[string]json.RawMessage
	var items []json.RawMessage
	if json.Unmarshal(answer, &page) != nil || json.Unmarshal(page["Items"], &items) != nil {
		return nil
	}
	changed, err := json.Marshal(change(items))
	if err != nil {
		return nil
	}
	page["Items"] = changed
	out, err := json.Marshal(page)
	if err != nil {
		return nil
	}
	return out
}

func TestChunksInTheOrderOfTheirTextAreFound(t *testing.T) {
	w := newWorld(t, nil)
	store := w.store()
	for range 12 {
		_, err := store.Append(t.Context(), "order-1", eventstore.Any(), event())
		require.NoError(t, err)
	}
	read := func(t require.TestingT, b *dynamodb.Backend) {
		page, err := b.ReadStream(w.t.Context(), eventstore.ReadStreamRequest{Stream: "order-1", PageSize: eventstore.PageSize{MaxEvents: 100, MaxBytes: 1 << 20}})
		require.NoError(t, err)
		for i, e := range page.Events {
			require.EqualValues(t, i+1, e.Version)
		}
		require.Len(t, page.Events, 12)
	}
	read(t, w.backend(nil, nil))
	byText := w.backend(nil, func(operation string, request, answer []byte) []byte {
		if answer == nil || operation != "Query" || !strings.Contains(string(request), "/s/") {
			return nil
		}
		return rewritten(answer, func(items []json.RawMessage) []json.RawMessage {
			if len(items) == 12 { // 1, 10, 11, 12, 2 …
				return append(append(items[:1:1], items[9:]...), items[1:9]...)
			}
			return items
		})
	})
	require.Contains(t, finds(func(f require.TestingT) { read(f, byText) }), "lacks its versions 2 to 9")
}

func TestAPageOfTheLogThatSkipsAnItemLosesNothing(t *testing.T) {
	w := newWorld(t, nil)
	store := w.store()
	for i := range 12 {
		_, err := store.Append(t.Context(), fmt.Sprintf("order-%d", i), eventstore.Any(), event())
		require.NoError(t, err)
	}
	var skips atomic.Int64
	skipping := w.backend(nil, func(operation string, request, answer []byte) []byte {
		if answer == nil || operation != "Query" || !strings.Contains(string(request), `"/log"`) || strings.Contains(string(request), `"ScanIndexForward":false`) {
			return nil
		}
		return rewritten(answer, func(items []json.RawMessage) []json.RawMessage {
			if n := int(skips.Add(1)); n <= 8 && len(items) > n {
				return append(items[:n-1:n-1], items[n:]...)
			}
			return items
		})
	})
	n := 0
	for e, err := range storeOf(t, skipping).ReadAll(t.Context(), eventstore.ReadAllOptions{}) {
		require.NoError(t, err)
		require.Equal(t, fmt.Sprintf("order-%d", n), e.Stream)
		n++
	}
	require.Equal(t, 12, n)
	require.Greater(t, skips.Load(), int64(3), "pages were skipped in")
}

func TestAGroupsAppendsHaveTheVerdictsThatTheyHaveAlone(t *testing.T) {
	w := newWorld(t, nil)
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 7))
		b, reference := w.backend(&dynamodb.Options{Namespace: fmt.Sprintf("seed-%d", seed)}, nil), memory.New()
		var old []eventstore.Event
		var requests []eventstore.AppendRequest
		for range 12 {
			stream := fmt.Sprintf("s-%d", rng.IntN(3))
			expected := []eventstore.ExpectedVersion{
				eventstore.Any(), eventstore.NoStream(), eventstore.StreamExists(), eventstore.Exactly(rng.Uint64N(4)),
			}[rng.IntN(4)]
			var sent []eventstore.Event
			for range 1 + rng.IntN(2) {
				if len(old) > 0 && rng.IntN(3) == 0 {
					again := old[rng.IntN(len(old))]
					if rng.IntN(4) == 0 {
						again.Data = []byte(`"other"`)
					}
					sent = append(sent, again)
				} else {
					sent = append(sent, event())
				}
			}
			if len(sent) == 2 && sent[0].ID == sent[1].ID {
				sent = sent[:1]
			}
			old = append(old, sent...)
			requests = append(requests, part(stream, expected, sent...))
		}
		half := len(requests) / 2
		group := append(b.Flush(t.Context(), requests[:half]), b.Flush(t.Context(), requests[half:])...)
		for i, request := range requests {
			want, err := reference.Append(t.Context(), request)
			if err != nil {
				require.Error(t, group[i].Err, "seed %d, append %d: %v", seed, i, err)
				require.Equal(t, err.Error(), group[i].Err.Error(), "seed %d, append %d", seed, i)
				continue
			}
			require.NoError(t, group[i].Err, "seed %d, append %d", seed, i)
			require.Equal(t, want[0].Duplicate, group[i].Results[0].Duplicate, "seed %d, append %d", seed, i)
			for j, recorded := range want[0].Recorded {
				require.Equal(t, recorded.Version, group[i].Results[0].Recorded[j].Version, "seed %d, append %d", seed, i)
			}
		}
		require.NoError(t, b.Close())
	}
}

func TestARepetitionIsRecognisedAsFarBackAsDeclared(t *testing.T) {
	w := newWorld(t, nil)
	for later, recognised := range map[int]bool{64: true, 127: true, 128: false} {
		for name, fresh := range map[string]bool{"by the handle that wrote it": false, "by a fresh one": true} {
			stream := fmt.Sprintf("order-%d-%t", later, fresh)
			b := w.backend(nil, nil)
			first := part(stream, eventstore.NoStream(), event())
			_, err := b.Append(t.Context(), first)
			require.NoError(t, err)
			for range later {
				_, err := b.Append(t.Context(), part(stream, eventstore.Any(), event()))
				require.NoError(t, err)
			}
			if fresh {
				b = w.backend(nil, nil)
			}
			results, err := b.Append(t.Context(), first)
			if !recognised {
				require.ErrorIs(t, err, eventstore.ErrConflict, "%d, %s", later, name)
				continue
			}
			require.NoError(t, err, "%d, %s", later, name)
			require.True(t, results[0].Duplicate)
			require.EqualValues(t, 1, results[0].Recorded[0].Version)
		}
	}
}

func TestTheLargestAppendIsRecognisedAtOnce(t *testing.T) {
	w := newWorld(t, nil)
	b := w.backend(nil, nil)
	large := part("order-1", eventstore.NoStream(), events(1000)...)
	_, err := b.Append(t.Context(), large)
	require.NoError(t, err)
	for _, handle := range []*dynamodb.Backend{b, w.backend(nil, nil)} {
		results, err := handle.Append(t.Context(), large)
		require.NoError(t, err)
		require.True(t, results[0].Duplicate)
		require.Len(t, results[0].Recorded, 1000)
	}
}

func TestCheckpointsWhoseHashesCollideAreKeptApart(t *testing.T) {
	w := newWorld(t, nil)
	b := w.backend(nil, nil)
	b.HashNames(func(string) uint64 { return 7 })
	checkpoints := b.Records().Checkpoints
	results, err := b.Append(t.Context(), part("order-1", eventstore.NoStream(), events(3)...))
	require.NoError(t, err)
	want := make(map[string]uint64)
	for i, name := range []string{"a", "b", "c"} {
		at := results[0].Recorded[i]
		want[name] = at.Version
		require.NoError(t, checkpoints.Save(t.Context(), eventstore.SaveCheckpointRequest{Checkpoint: eventstore.Checkpoint{
			Name: name, Store: b.ID(), Place: eventstore.Place{Position: at.Position, Stream: "order-1", Version: at.Version},
		}}))
	}
	require.NoError(t, checkpoints.Delete(t.Context(), eventstore.DeleteCheckpointRequest{Name: "b"}))
	delete(want, "b")
	list, err := checkpoints.List(t.Context(), eventstore.ListCheckpointsRequest{Limit: 10})
	require.NoError(t, err)
	got := make(map[string]uint64)
	for _, c := range list.Checkpoints {
		got[c.Name] = c.Place.Version
	}
	require.True(t, maps.Equal(want, got), "%v", got)
	for name, version := range map[string]uint64{"a": 1, "b": 0, "c": 3, "d": 0} {
		loaded, err := checkpoints.Load(t.Context(), eventstore.LoadCheckpointRequest{Name: name})
		require.NoError(t, err)
		require.Equal(t, version > 0, loaded.Found, name)
		require.Equal(t, version, loaded.Checkpoint.Place.Version, name)
	}
}
