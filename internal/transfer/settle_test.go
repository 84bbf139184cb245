package transfer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/eventstore"
)

func TestAnotherEventUnderAnIDThatTheTargetForgotIsNoRepetition(t *testing.T) {
	store := openFilled(t, strict{memory.New(), func(caps *eventstore.Capabilities) { caps.IdempotencyWindow = 1 }})
	id := uuid.New()
	lines := func(data ...int) string {
		var b strings.Builder
		for i, n := range data {
			if i > 0 {
				id = uuid.New()
			}
			fmt.Fprintf(&b, `{"specversion":"1.0","id":"%s","type":"T","subject":"s","data":%d}`+"\n", id, n)
		}
		return b.String()
	}
	first := id
	_, err := Import(t.Context(), store, strings.NewReader(lines(1, 2, 3)), nil)
	require.NoError(t, err)
	id = first
	other := lines(9)
	result, err := Import(t.Context(), store, strings.NewReader(other), nil)
	require.ErrorIs(t, err, eventstore.ErrEventIDReused)
	require.Zero(t, result.Duplicates)
	result, err = Import(t.Context(), store, strings.NewReader(other), &ImportOptions{OnRefused: []Remedy{Rename}})
	require.NoError(t, err)
	require.Equal(t, 1, result.Stored)
	require.Equal(t, []byte("9"), all(t, store)[3].Data)
}

// failing fails at one append.
type failing struct {
	strict
	at *int
}

var errDown = errors.New("down for a moment")

func (f failing) Append(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
	if *f.at--; *f.at == 0 {
		return nil, errDown
	}
	return f.strict.Append(ctx, req)
}

func TestAFailureOfTheTargetIsNoRefusal(t *testing.T) {
	for at := 1; at < 40; at++ {
		f, left := dirty(), at
		target := openFilled(t, failing{strict{memory.New(), nil}, &left})
		result, err := Copy(t.Context(), openFilled(t, f), target, &CopyOptions{OnRefused: []Remedy{Park, Skip}})
		if left > 0 {
			require.NoError(t, err)
			return
		}
		require.ErrorIs(t, err, errDown, "append %d", at)
		require.Zero(t, result.Refused.Skipped, "append %d", at)
	}
}
