package conformance

import (
	"context"
	"iter"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/conformance/internal/hooked"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventstore/adapter"
)

// alter changes a memory backend into a broken one.
type alter func(t *testing.T, inner eventstore.Backend) *hooked.Hooked

// alteredEvents breaks what is stored of each event.
func alteredEvents(change func(*eventstore.Event)) alter {
	return alteredParts(func(part *eventstore.StreamAppend) {
		for i := range part.Events {
			change(&part.Events[i])
		}
	})
}

// alteredParts breaks what is stored of each part.
func alteredParts(change func(*eventstore.StreamAppend)) alter {
	return func(_ *testing.T, inner eventstore.Backend) *hooked.Hooked {
		return &hooked.Hooked{Backend: inner, OnAppend: func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
			for i := range req.Parts {
				change(&req.Parts[i])
			}
			return inner.Append(ctx, req)
		}}
	}
}

// alteredReads breaks what every read returns.
func alteredReads(change func(*eventstore.RecordedEvent)) alter {
	pages := func(page eventstore.Page, err error) (eventstore.Page, error) {
		for i := range page.Events {
			change(&page.Events[i])
		}
		return page, err
	}
	return func(_ *testing.T, inner eventstore.Backend) *hooked.Hooked {
		a := &hooked.Hooked{Backend: inner}
		a.OnReadStream = func(ctx context.Context, req eventstore.ReadStreamRequest) (eventstore.Page, error) {
			return pages(inner.ReadStream(ctx, req))
		}
		a.OnReadAll = func(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
			return pages(inner.ReadAll(ctx, req))
		}
		a.OnSubscribe = func(ctx context.Context, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
			return adapter.Follow(ctx, req, adapter.FollowSource{Page: a.OnReadAll, Info: inner.Info, Poll: 10 * time.Millisecond})
		}
		return a
	}
}

// alteredNames breaks stream IDs alike in appends and reads, as a column's
// collation or type does.
func alteredNames(change func(string) string) alter {
	return func(_ *testing.T, inner eventstore.Backend) *hooked.Hooked {
		return &hooked.Hooked{
			Backend: inner,
			OnAppend: func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
				for i := range req.Parts {
					req.Parts[i].Stream = change(req.Parts[i].Stream)
				}
				return inner.Append(ctx, req)
			},
			OnReadStream: func(ctx context.Context, req eventstore.ReadStreamRequest) (eventstore.Page, error) {
				stream := req.Stream
				req.Stream = change(stream)
				page, err := inner.ReadStream(ctx, req)
				for i := range page.Events {
					page.Events[i].Stream = stream // even where it looks right
				}
				return page, err
			},
		}
	}
}

// alteredCaps breaks what is declared.
func alteredCaps(change func(*eventstore.Capabilities)) alter {
	return func(_ *testing.T, inner eventstore.Backend) *hooked.Hooked {
		return &hooked.Hooked{Backend: inner, OnCapabilities: func() eventstore.Capabilities {
			caps := inner.Capabilities()
			change(&caps)
			return caps
		}}
	}
}

// runAltered runs one check against memory stores that are altered; nil leaves
// them whole.
func runAltered(t *testing.T, check string, change alter) Result {
	t.Helper()
	report, err := RunAll(t.Context(), Harness{
		Name: "altered memory",
		Open: func(context.Context) (*Fixture, error) {
			log := memory.NewLog()
			open := func() eventstore.Backend {
				if change == nil {
					return log.Open(nil)
				}
				return change(t, log.Open(nil))
			}
			return &Fixture{
				Backend:          open(),
				OpenAgain:        func(context.Context) (eventstore.Backend, error) { return open(), nil },
				HoldWriterReason: "one lock is held from taking a position until the event is visible",
			}, nil
		},
	}, Options{Match: "^" + regexp.QuoteMeta(check) + "$", Timeout: 30 * time.Second})
	require.NoError(t, err)
	require.Len(t, report.Results, 1)
	return report.Results[0]
}
