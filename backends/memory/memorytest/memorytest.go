// Package memorytest prepares memory stores for conformance runs, benchmarks and
// tests. It is linked by those alone.
package memorytest

import (
	"context"
	"iter"
	"net/url"
	"time"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/conformance"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventstore/adapter"
)

// PollInterval is that of the handles without notifications: short, because
// checks wait for it.
const PollInterval = 20 * time.Millisecond

// Isolate prepares a new store in this process's memory, for the URL "memory:".
func Isolate(ctx context.Context, u *url.URL) (*conformance.Isolated, error) {
	if _, err := memory.Scheme().Open(ctx, u); err != nil { // it costs nothing, and refuses what a user's would
		return nil, err
	}
	return isolated(memory.NewLog()), nil
}

// Harness gives each check a log of its own. It is the reference that the
// differential tests hold other backends against.
func Harness() conformance.Harness {
	return conformance.IsolatedHarness("memory", func(context.Context) (*conformance.Isolated, error) {
		return isolated(memory.NewLog()), nil
	})
}

func isolated(log *memory.Log) *conformance.Isolated {
	return &conformance.Isolated{
		Open:             func(context.Context) (eventstore.Backend, error) { return log.Open(nil), nil },
		OpenPolling:      func(context.Context) (eventstore.Backend, error) { return Polling(log, PollInterval), nil },
		HoldWriterReason: "one lock is held from taking a position until the event is visible",
		Remove:           func(context.Context) error { return nil },
	}
}

// Polling returns a handle on the log whose subscriptions hear of nothing: they
// look for events at each poll interval.
func Polling(log *memory.Log, poll time.Duration) eventstore.Backend {
	return polling{log.Open(&memory.Options{Poll: poll})}
}

type polling struct{ *memory.Backend }

func (p polling) Capabilities() eventstore.Capabilities {
	caps := p.Backend.Capabilities()
	caps.LivePush = eventstore.No("this handle is made without notifications")
	return caps
}

func (p polling) Subscribe(ctx context.Context, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
	return adapter.Follow(ctx, req, adapter.FollowSource{Page: p.ReadAll, Info: p.Info, Poll: p.Capabilities().PollInterval})
}
