package decider_test

import (
	"context"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/codec"
	"github.com/switchyard-dev/switchyard/decider"
)

type recorder struct {
	starts []decider.TransactStart
	ends   []decider.TransactEnd
}

func (r *recorder) TransactStart(ctx context.Context, start decider.TransactStart) context.Context {
	r.starts = append(r.starts, start)
	return codec.WithMetadata(ctx, map[string]string{"traceparent": "here"})
}

func (r *recorder) TransactEnd(ctx context.Context, end decider.TransactEnd) {
	if e, err := accountEvents().Encode(ctx, uuid.New(), Paid{}); err == nil && e.Metadata["traceparent"] == "here" {
		r.ends = append(r.ends, end)
	}
}

func TestATracerHearsOfEachDecision(t *testing.T) {
	r := &recorder{}
	w := newWorld(t, decider.Options{Tracer: r}, nil)
	transact(t, w.others, pay(1, 2))
	id := uuid.New()
	w.before(t, pay(3))
	res := do(t, w.here, decider.Command{Stream: stream, ID: id}, pay(4))
	require.Equal(t, "here", res.Events[0].Metadata["traceparent"])
	do(t, w.here, decider.Command{Stream: stream, ID: id}, pay(4))
	_, err := w.here.Transact(t.Context(), stream, withdraw(1000))
	require.Equal(t, errPoor, err)
	require.Panics(t, func() {
		_, _ = w.here.Transact(t.Context(), stream, func(Account) ([]Event, error) { panic("test") })
	})
	start := decider.TransactStart{Stream: stream, Category: "account"}
	withID := start
	withID.Command = id
	require.Equal(t, []decider.TransactStart{withID, withID, start, start}, r.starts)
	require.Equal(t, []decider.TransactEnd{
		{Version: 4, Events: 1, Attempts: 2, Conflicts: 1, Folded: 3},
		{Version: 4, Events: 1, Duplicate: true, Folded: 4},
		{Version: 4, Attempts: 1, Folded: 4, Err: errPoor, Refused: true},
		{Attempts: 1, Folded: 4},
	}, r.ends)
}

// endless is a tracer that breaks at every end.
type endless struct{}

func (endless) TransactStart(ctx context.Context, _ decider.TransactStart) context.Context {
	return ctx
}
func (endless) TransactEnd(context.Context, decider.TransactEnd) { panic("full") }

func TestATracerThatPanicsAtTheEndTakesNoAnswer(t *testing.T) {
	w := newWorld(t, decider.Options{Tracer: endless{}}, nil)
	res := transact(t, w.here, pay(1))
	require.Equal(t, Account{1, 1}, res.State)
	require.Len(t, res.Events, 1)
	require.Contains(t, w.log.String(), "panic=full")
	require.Contains(t, w.log.String(), "tracer_test.go")
	_, err := w.here.Transact(t.Context(), stream, withdraw(5))
	require.Equal(t, errPoor, err)
	require.PanicsWithValue(t, "decide", func() {
		_, _ = w.here.Transact(t.Context(), stream, func(Account) ([]Event, error) { panic("decide") })
	})
	require.Zero(t, decider.Turns(w.here))
}
