package esdb

import (
	"bytes"
	"context"
	"maps"
	"sync"
	"time"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// lastReads lets those who ask for a stream's last event at the same time ask the
// server together. Writers of a hot stream do so all the time, to learn the version
// that they append at. Nobody is answered by a read that began before he asked.
type lastReads struct {
	read    func(ctx context.Context, stream string) (eventstore.Page, error)
	timeout time.Duration

	mu      sync.Mutex
	waiting map[string][]chan lastRead // by stream; there while a read is under way
}

type lastRead struct {
	page eventstore.Page
	err  error
}

// get returns a page of the stream's last event.
func (l *lastReads) get(ctx context.Context, stream string) (eventstore.Page, error) {
	l.mu.Lock()
	queue, busy := l.waiting[stream]
	if !busy {
		l.waiting[stream] = nil
		l.mu.Unlock()
		defer l.done(stream)
		return l.read(ctx, stream)
	}
	answer := make(chan lastRead, 1)
	l.waiting[stream] = append(queue, answer)
	l.mu.Unlock()
	select {
	case is := <-answer:
		return is.page, is.err
	case <-ctx.Done():
		return eventstore.Page{}, ctx.Err()
	}
}

// done ends a read, and begins one for those who came meanwhile.
func (l *lastReads) done(stream string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	queue := l.waiting[stream]
	if len(queue) == 0 {
		delete(l.waiting, stream)
		return
	}
	l.waiting[stream] = nil
	go func() {
		defer l.done(stream)
		ctx, cancel := context.WithTimeout(context.Background(), l.timeout)
		defer cancel()
		page, err := l.read(ctx, stream)
		for _, answer := range queue {
			answer <- lastRead{page: copyOf(page), err: err}
		}
	}()
}

// copyOf returns a page whose memory is the receiver's own.
func copyOf(page eventstore.Page) eventstore.Page {
	events := make([]eventstore.RecordedEvent, len(page.Events))
	for i, event := range page.Events {
		event.Data, event.Metadata = bytes.Clone(event.Data), maps.Clone(event.Metadata)
		events[i] = event
	}
	page.Events = events
	return page
}
