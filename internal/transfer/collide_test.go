package transfer

import (
	"fmt"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/cloudevents"
)

// A source may hold a stream with the very name that another one would get.
func TestAStreamWithTheNameThatAnotherOneGetsIsCopiedBesideIt(t *testing.T) {
	const stream = "cart-1\t2"
	like := otherName(stream, 255)
	for name, order := range map[string][]struct {
		stream  string
		version uint64
	}{
		"the other one first":             {{stream, 1}, {stream, 2}, {like, 1}, {like, 2}, {stream, 3}},
		"it first":                        {{like, 1}, {stream, 1}, {like, 2}, {stream, 2}},
		"it first, and a later beginning": {{like, 1}, {stream, 2}, {like, 2}, {stream, 3}},
		"in turn":                         {{like, 1}, {stream, 2}, {stream, 3}, {like, 2}},
	} {
		for _, remedies := range [][]Remedy{{Rename}, {Park}, {Skip}, {Rename, Park}, {KeepBytes, Rename}} {
			f := &filled{Backend: memory.New(), id: uuid.New()}
			for _, event := range order {
				f.add(event.stream, event.version, eventstore.Event{})
			}
			target := openFilled(t, strict{memory.New(), nil})
			_, err := Copy(t.Context(), openFilled(t, f), target, &CopyOptions{OnRefused: remedies})
			require.NoError(t, err, "%s, %v", name, remedies)
			requireRestored(t, f, target)
			for _, again := range [][]Remedy{remedies, nil} {
				result, err := Copy(t.Context(), openFilled(t, f), target, &CopyOptions{OnRefused: again})
				require.NoError(t, err)
				require.Equal(t, Result{}, result)
			}
		}
	}
}

func TestACopyWithoutARemedyForATakenNameSaysWhatHelps(t *testing.T) {
	f := &filled{Backend: memory.New(), id: uuid.New()}
	f.add("cart-1\t2", 1, eventstore.Event{})
	target := openFilled(t, strict{memory.New(), nil})
	_, err := Copy(t.Context(), openFilled(t, f), target, &CopyOptions{OnRefused: []Remedy{Rename}})
	require.NoError(t, err)
	like := otherName("cart-1\t2", 255)
	f.add(like, 1, eventstore.Event{})
	_, err = Copy(t.Context(), openFilled(t, f), target, nil)
	var refused *RefusedError
	require.ErrorAs(t, err, &refused)
	require.Equal(t, []Remedy{Rename, Park, Skip}, refused.Helps)
	require.ErrorContains(t, err, fmt.Sprintf("stream %q of the target holds the events of stream %q; to go on", like, "cart-1\t2"))
}

// A run that goes on knows of no name that an earlier one gave.
func TestAStreamDoesNotGoOnBehindTheEventsOfAnotherOne(t *testing.T) {
	f := &filled{Backend: memory.New(), id: uuid.New()}
	like := otherName("cart-1\t2", 255)
	f.add("cart-1\t2", 1, eventstore.Event{})
	f.add(like, 1, eventstore.Event{Data: []byte{}})
	f.add(like, 2, eventstore.Event{})
	f.add(like, 3, eventstore.Event{})
	f.add("cart-1\t2", 2, eventstore.Event{})
	for _, last := range [][]Remedy{{Rename}, {Park}, {Skip}} {
		target := openFilled(t, strict{memory.New(), nil})
		for i, remedies := range [][]Remedy{{Rename}, {Skip, Rename}} {
			some := *f
			some.events = f.events[:i+1]
			_, err := Copy(t.Context(), openFilled(t, &some), target, &CopyOptions{OnRefused: remedies})
			require.NoError(t, err)
		}
		_, err := Copy(t.Context(), openFilled(t, f), target, &CopyOptions{OnRefused: last})
		require.NoError(t, err)
		requireRestored(t, f, target)
		streams := make(map[string]string)
		for _, event := range all(t, target) {
			if o := Restore(event, cloudevents.Source(f.id)); !o.Apart() {
				require.Contains(t, []string{"", o.Stream}, streams[event.Stream], "%v", last)
				streams[event.Stream] = o.Stream
			}
		}
	}
}
