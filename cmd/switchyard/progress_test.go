package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/transfer"
)

// counted is a memory store that counts the events that are read of it in their order.
type counted struct {
	*memory.Backend
	read *atomic.Int64
}

func (c counted) ReadAll(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
	page, err := c.Backend.ReadAll(ctx, req)
	c.read.Add(int64(len(page.Events)))
	return page, err
}

func openCounted(t *testing.T) (*handle, *atomic.Int64) {
	t.Helper()
	backend := counted{memory.New(), new(atomic.Int64)}
	opts := forMoving()
	store, err := eventstore.New(backend, &opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	return &handle{Store: store, backend: backend, name: "memory:"}, backend.read
}

func TestACopyWithABarReadsItsSourceOnce(t *testing.T) {
	const events = 5000
	from, read := openCounted(t)
	to, _ := openCounted(t)
	var text strings.Builder
	for i := range events {
		text.WriteString(line(fmt.Sprintf("counter-%d", i%100), i/100+1))
	}
	_, err := transfer.Import(t.Context(), from.Store, strings.NewReader(text.String()), nil)
	require.NoError(t, err)
	a := &app{streams: streams{out: io.Discard, err: io.Discard}, interactive: true}
	require.NoError(t, a.copyStore(t.Context(), from, to, false, nil))
	require.EqualValues(t, events, read.Load())
}

func TestABarEstimatesItsEndByTheHead(t *testing.T) {
	at := func(read int, position, head uint64) transfer.Progress {
		p := transfer.Progress{Result: transfer.Result{Read: read}}
		p.Copied.Position, p.Head.Position = eventstore.NewPosition(position, 0), eventstore.NewPosition(head, 0)
		return p
	}
	var bar estimate
	require.Zero(t, bar.total(at(1000, 21000, 101000)), "nothing can be said yet")
	require.Equal(t, 9000, bar.total(at(2000, 31000, 101000)), "1,000 events were a tenth of the way")
	require.Equal(t, 9000, bar.total(at(9000, 101000, 101000)))
	require.Equal(t, 9500, bar.total(at(9500, 106000, 101000)), "what came meanwhile is there too")
}
