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
