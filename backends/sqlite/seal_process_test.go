package sqlite_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// childFillsUntilSealed appends one event after another to a stream of its own and
// prints each acknowledgement, until the store is sealed. Then it appends its last
// event again, says so, and appends one more when the parent has lifted the seal.
func childFillsUntilSealed(ctx context.Context, store *eventstore.Store, name string) error {
	stream := "filler-" + name
	appendOne := func(n uint64) (eventstore.AppendResult, error) {
		return store.Append(ctx, stream, eventstore.Exactly(n-1), numbered(stream, n))
	}
	n := uint64(1)
	for ; ; n++ {
		result, err := appendOne(n)
		var sealed *eventstore.SealedError
		if errors.As(err, &sealed) {
			fmt.Printf("sealed %q\n", sealed.Reason)
			break
		}
		if err != nil {
			return err
		}
		fmt.Println("stored", result.Position)
	}
	again, err := appendOne(n - 1)
	if err != nil || !again.Duplicate {
		return fmt.Errorf("a repetition in a sealed store: duplicate %t, %w", again.Duplicate, err)
	}
	if err := awaitParent(); err != nil {
		return err
	}
	_, err = appendOne(n)
	return err
}

func TestASealHoldsInEveryProcessFromItsPlaceOn(t *testing.T) {
	const processes, first = 2, 20
	path := file(t)
	store := open(t, path, nil)
	fillers := make([]*child, processes)
	for i := range fillers {
		fillers[i] = startChild(t, "fill", path, fmt.Sprint(i))
		fillers[i].begin(t)
	}
	acknowledged := make(map[eventstore.Position]bool)
	note := func(line string) bool {
		var text string
		if n, _ := fmt.Sscanf(line, "stored %s", &text); n != 1 {
			return false
		}
		position, err := eventstore.ParsePosition(text)
		require.NoError(t, err)
		acknowledged[position] = true
		return true
	}
	for _, filler := range fillers { // they are under way, and think that the store is open
		for range first {
			require.True(t, filler.out.Scan())
			require.True(t, note(filler.out.Text()))
		}
	}

	// Several seal at once: one reason wins, and everybody hears that one.
	infos := make([]eventstore.Info, 3)
	var sealers sync.WaitGroup
	for i := range infos {
		other := open(t, path, nil)
		sealers.Go(func() {
			info, err := other.Seal(t.Context(), fmt.Sprintf("reason %d", i))
			if err != nil {
				t.Error(err)
			}
			infos[i] = info
		})
	}
	sealers.Wait()
	for _, info := range infos {
		require.Equal(t, infos[0], info)
	}
	require.True(t, infos[0].Sealed)

	for _, filler := range fillers {
		for more := true; more; {
			more = filler.out.Scan() && note(filler.out.Text())
		}
		require.Equal(t, fmt.Sprintf("sealed %q", infos[0].SealReason), filler.out.Text())
	}
	stored := collect(t, store)
	require.Len(t, acknowledged, len(stored), "what was refused is not there, and what is there was acknowledged")
	for _, event := range stored {
		require.True(t, acknowledged[event.Position])
	}
	require.Equal(t, infos[0].Head, stored[len(stored)-1].Place(), "the seal's place is the end")

	_, err := store.Unseal(t.Context())
	require.NoError(t, err)
	for _, filler := range fillers {
		filler.begin(t)
		require.NoError(t, filler.Wait())
	}
	require.Len(t, collect(t, store), len(stored)+processes)
}

// A handle that has appended before knows that there was no seal. It looks again.
func TestAHandleDoesNotTrustWhatItKnewOfTheSeal(t *testing.T) {
	path := file(t)
	first, second := open(t, path, nil), open(t, path, nil)
	for version, store := range []*eventstore.Store{first, second, first, second} {
		_, err := store.Append(t.Context(), "s-1", eventstore.Exactly(uint64(version)), event(version))
		require.NoError(t, err)
	}
	for round, sealer := range []*eventstore.Store{first, second} {
		_, err := sealer.Seal(t.Context(), "moved")
		require.NoError(t, err)
		for _, store := range []*eventstore.Store{first, second} {
			_, err := store.Append(t.Context(), "s-1", eventstore.Any(), event(9))
			require.ErrorIs(t, err, eventstore.ErrSealed)
			require.ErrorContains(t, err, "moved")
		}
		_, err = sealer.Unseal(t.Context())
		require.NoError(t, err)
		for i, store := range []*eventstore.Store{first, second} {
			_, err := store.Append(t.Context(), "s-1", eventstore.Exactly(uint64(4+2*round+i)), event(9))
			require.NoError(t, err)
		}
	}
}
