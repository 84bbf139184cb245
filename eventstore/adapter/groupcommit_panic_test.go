package adapter_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventstore/adapter"
)

// What a flush does instead of returning is every append's unknown outcome,
// whatever verdicts it had set, and the next groups are written.
func TestAFlushThatDoesNotReturnLeavesUnknownOutcomesAndGoesOn(t *testing.T) {
	unavailable := fmt.Errorf("%w: as a panic", eventstore.ErrUnavailable)
	tests := []struct {
		name  string
		fail  func()
		value any
	}{
		{"a panic", func() { panic("broken") }, "broken"},
		{"a panic with a sentinel", func() { panic(unavailable) }, unavailable},
		{"the end of its goroutine", runtime.Goexit, "it called runtime.Goexit"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			both(t, func(t *testing.T, opts adapter.GroupCommitOptions) {
				gate := make(chan struct{})
				c := adapter.NewGroupCommit(func(_ context.Context, group []*adapter.GroupedAppend) {
					<-gate
					for i, call := range group {
						if call.Results = []eventstore.PartResult{{}}; i == 1 {
							call.Results, call.Err = nil, &eventstore.ConflictError{}
						}
					}
					if name(group[0]) == "bad" {
						test.fail()
					}
				}, opts)
				first := start(t.Context(), c, request("first", 1))
				synctest.Wait()
				var group []<-chan answer
				for _, n := range []string{"bad", "conflict", "good"} {
					group = append(group, start(t.Context(), c, request(n, 1)))
					synctest.Wait()
				}
				close(gate)
				require.NoError(t, (<-first).err)
				for _, done := range group {
					got := <-done
					require.Nil(t, got.results)
					require.ErrorIs(t, got.err, eventstore.ErrUnknownOutcome)
					require.NotErrorIs(t, got.err, eventstore.ErrConflict, "nothing definite is known")
					require.NotErrorIs(t, got.err, eventstore.ErrUnavailable, "nothing definite is known")
					var panicked *eventstore.PanicError
					require.ErrorAs(t, got.err, &panicked)
					require.Equal(t, test.value, panicked.Value)
					require.Contains(t, string(panicked.Stack), "groupcommit_panic_test.go")
				}
				_, err := c.Append(t.Context(), request("after", 1))
				require.NoError(t, err)
				c.Close()
			})
		})
	}
}

func TestACallersOwnFlushThatPanicsIsItsUnknownOutcome(t *testing.T) {
	broken := errors.New("broken")
	fail := true
	c := adapter.NewGroupCommit(func(context.Context, []*adapter.GroupedAppend) {
		if fail {
			panic(broken)
		}
	}, adapter.GroupCommitOptions{CallerFlushes: true})
	_, err := c.Append(t.Context(), request("a", 1))
	require.ErrorIs(t, err, eventstore.ErrUnknownOutcome)
	var panicked *eventstore.PanicError
	require.ErrorAs(t, err, &panicked)
	require.Equal(t, broken, panicked.Value)
	fail = false
	_, err = c.Append(t.Context(), request("b", 1))
	require.NoError(t, err)
	c.Close()
}
