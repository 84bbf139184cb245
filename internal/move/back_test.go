package move

import (
	"context"
	"iter"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// reading counts every event that is read, however.
type reading struct {
	*memory.Backend
	events *atomic.Int64
}

func (r reading) page(page eventstore.Page, err error) (eventstore.Page, error) {
	r.events.Add(int64(len(page.Events)))
	return page, err
}

func (r reading) ReadAll(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
	return r.page(r.Backend.ReadAll(ctx, req))
}

func (r reading) ReadStream(ctx context.Context, req eventstore.ReadStreamRequest) (eventstore.Page, error) {
	return r.page(r.Backend.ReadStream(ctx, req))
}

func (r reading) Subscribe(ctx context.Context, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
	return func(yield func(eventstore.Message, error) bool) {
		for message, err := range r.Backend.Subscribe(ctx, req) {
			if message.Kind == eventstore.MessageEvent {
				r.events.Add(1)
			}
			if !yield(message, err) {
				return
			}
		}
	}
}

// Nobody can append while the old store is filled, so all that it holds already is read
// and compared before.
func TestOnTheWayBackOnlyWhatCameSinceIsReadBehindTheSeal(t *testing.T) {
	var read atomic.Int64
	a, b := side(t, reading{memory.New(), &read}, "memory:a"), side(t, reading{memory.New(), &read}, "memory:b")
	add(t, a, 1000)
	_, err := Move(t.Context(), a, b, nil)
	require.NoError(t, err)
	add(t, b, 7)

	var told []string
	tell := func(line string) { told = append(told, line) }
	const want = "7 events and what comes until then are copied while nobody can append"
	dry, err := Move(t.Context(), b, a, &Options{DryRun: true, Tell: tell})
	require.NoError(t, err)
	require.Equal(t, 7, dry.ToCopy)
	require.Len(t, told, 1)
	require.Contains(t, told[0], want+"; a dry run does not open it, and ends here")
	require.Contains(t, textOf(t, dry), "7 events, and what came until FROM's seal, while nobody can append")
	require.Contains(t, jsonOf(t, dry), `"copiedWhileClosed":7`)
	require.True(t, sealed(t, a))

	report, err := Move(t.Context(), b, a, &Options{Tell: tell, Phase: func(phase Phase) {
		if phase == PhaseSeal {
			read.Store(0)
		}
	}})
	require.NoError(t, err)
	require.Less(t, read.Load(), int64(100), "of the 1,000 before none is read again")
	require.Equal(t, 7, report.ToCopy)
	require.Contains(t, told[1], want)
	require.Equal(t, 7, report.Copied.Stored)
	requireMoved(t, b, a)
}

// What the old store was filled with by others is found before FROM is sealed.
func TestAnOldStoreThatHoldsOthersEventsIsFoundBeforeTheSeal(t *testing.T) {
	a, b := bothOpen(t)
	appendTo(t, a, "paid", "1")
	events := all(t, b)
	_, err := a.Store.Append(t.Context(), events[5].Stream, eventstore.Any(), events[5].Event) // and the last is FROM's
	require.NoError(t, err)
	_, err = a.Store.Seal(t.Context(), sealReason("memory:b", infoOf(t, b).ID))
	require.NoError(t, err)
	_, err = Move(t.Context(), b, a, nil)
	require.ErrorIs(t, err, ErrRefused)
	require.ErrorContains(t, err, `TO holds 1 event that FROM does not, the first is version 1 of stream "paid"`)
	require.True(t, sealed(t, a))
	require.False(t, sealed(t, b), "nothing has happened to FROM")
}
