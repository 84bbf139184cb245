package conformance_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math/big"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/conformance"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// Backends that lack something, declare it, and are sound: the whole suite runs on
// each of them.

// declares changes what a handle declares.
func declares(h *handle, change func(*eventstore.Capabilities)) {
	inner := h.OnCapabilities
	h.OnCapabilities = func() eventstore.Capabilities {
		caps := inner()
		change(&caps)
		return caps
	}
}

// rewritten is JSON as a jsonb column returns it: parsed and written again.
func rewritten(data []byte) []byte {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return data
	}
	var b bytes.Buffer
	writeValue(&b, value)
	return b.Bytes()
}

func writeValue(b *bytes.Buffer, value any) {
	switch value := value.(type) {
	case map[string]any:
		b.WriteByte('{')
		for i, key := range slices.Sorted(maps.Keys(value)) {
			if i > 0 {
				b.WriteString(", ")
			}
			writeValue(b, key)
			b.WriteString(": ")
			writeValue(b, value[key])
		}
		b.WriteByte('}')
	case []any:
		b.WriteByte('[')
		for i, item := range value {
			if i > 0 {
				b.WriteString(", ")
			}
			writeValue(b, item)
		}
		b.WriteByte(']')
	case json.Number:
		if n, ok := new(big.Rat).SetString(value.String()); ok && n.IsInt() {
			b.WriteString(n.Num().String()) // 1e400 becomes its digits
			return
		}
		b.WriteString(value.String())
	default:
		text, _ := json.Marshal(value)
		b.Write(text)
	}
}

// jsonb keeps JSON alone, and not its bytes. A repetition is known by what is kept.
func jsonb(h *handle) {
	declares(h, func(c *eventstore.Capabilities) {
		c.ExactData = eventstore.No("a jsonb column")
		c.BinaryData = eventstore.No("a jsonb column")
		c.Metadata = eventstore.No("there is no column for it")
		c.Limits.MaxEventBytes, c.Limits.MaxAppendBytes = 512<<10, 1<<20
	})
	h.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
		for _, part := range req.Parts {
			for _, event := range part.Events {
				if !event.IsJSON() || len(event.Metadata) > 0 {
					return nil, fmt.Errorf("there is no column for %s and %q", event.ContentType, event.Metadata)
				}
			}
		}
		return h.Backend.Append(ctx, req)
	}
	rewrittenAppends(h)
}

func rewrittenAppends(h *handle) {
	inner := h.Backend.Append
	if h.OnAppend != nil {
		inner = h.OnAppend
	}
	h.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
		parts := slices.Clone(req.Parts)
		for i := range parts {
			parts[i].Events = slices.Clone(parts[i].Events)
			for j := range parts[i].Events {
				if event := &parts[i].Events[j]; event.IsJSON() {
					event.Data = rewritten(event.Data)
				}
			}
		}
		return inner(ctx, eventstore.AppendRequest{ID: req.ID, Parts: parts})
	}
}

// comparesBytes is the same column where a repetition is looked for in what the
// column returns.
func comparesBytes(h *handle) {
	jsonb(h)
	inner := h.OnAppend
	h.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
		results, err := inner(ctx, req)
		if err != nil {
			return results, err
		}
		for i, part := range req.Parts {
			for _, event := range part.Events {
				if results[i].Duplicate && !bytes.Equal(event.Data, rewritten(event.Data)) {
					return nil, &eventstore.EventIDReusedError{Stream: part.Stream, ID: event.ID}
				}
			}
		}
		return results, err
	}
}

// losesNumbers reads numbers as floats.
func losesNumbers(h *handle) {
	jsonb(h)
	h.OnReadStream = func(ctx context.Context, req eventstore.ReadStreamRequest) (eventstore.Page, error) {
		page, err := h.Backend.ReadStream(ctx, req)
		for i := range page.Events {
			var value any
			if json.Unmarshal(page.Events[i].Data, &value) == nil {
				page.Events[i].Data, _ = json.Marshal(value)
			}
		}
		return page, err
	}
}

// withoutRecords keeps neither checkpoints nor snapshots.
func withoutRecords(h *handle) {
	declares(h, func(c *eventstore.Capabilities) {
		c.Checkpoints = eventstore.No("there is no table for them")
		c.Snapshots = eventstore.No("there is no table for them")
		c.Seal = eventstore.No("other programs write too")
	})
	h.OnCheckpoints = func() eventstore.Checkpoints { return nil }
	h.OnSnapshots = func() eventstore.Snapshots { return nil }
	h.OnSeal = func(context.Context, eventstore.SealRequest) (eventstore.Info, error) {
		return eventstore.Info{}, errors.New("called though it is declared absent")
	}
}

// oneStreamOnly has one index of IDs, one stream an append, and a narrow clock.
func oneStreamOnly(h *handle) {
	earliest, latest := time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2262, 4, 11, 0, 0, 0, 0, time.UTC)
	declares(h, func(c *eventstore.Capabilities) {
		c.MultiStreamAppend = eventstore.No("one stream an append")
		c.StreamScopedIDs = eventstore.No("one index of IDs")
		c.ContiguousAppends = eventstore.No("other programs write too")
		c.Earliest, c.Latest = &earliest, &latest
		c.IdempotencyTime = 2 * time.Minute
		c.Limits.TypePattern = `[A-Za-z][A-Za-z0-9_]*`
	})
	var mu sync.Mutex
	h.data.remember(func(kept map[string]any) {
		if kept["ids"] == nil {
			kept["ids"] = make(map[uuid.UUID]string)
		}
	})
	h.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) (results []eventstore.PartResult, err error) {
		mu.Lock()
		defer mu.Unlock()
		h.data.remember(func(kept map[string]any) {
			ids := kept["ids"].(map[uuid.UUID]string) //nolint:forcetypeassert // made above
			part := req.Parts[0]
			for _, event := range part.Events {
				if stream, ok := ids[event.ID]; ok && stream != part.Stream {
					err = &eventstore.EventIDReusedError{Stream: part.Stream, ID: event.ID, Reason: "another stream has it"}
					return
				}
			}
			if results, err = h.Backend.Append(ctx, req); err == nil {
				for _, event := range part.Events {
					ids[event.ID] = part.Stream
				}
			}
		})
		return results, err
	}
}

// cutHarness opens stores whose streams may be cut: those events are read no more.
func cutHarness() conformance.Harness {
	h := classHarness("whose streams begin at 3", func(h *handle) {
		declares(h, func(c *eventstore.Capabilities) { c.WholeStreams = eventstore.No("an owner may archive") })
		gone := func(events []eventstore.RecordedEvent) []eventstore.RecordedEvent {
			return slices.DeleteFunc(events, func(e eventstore.RecordedEvent) (cut bool) {
				h.data.remember(func(kept map[string]any) {
					first, _ := kept["cut "+e.Stream].(uint64)
					cut = e.Version < first
				})
				return cut
			})
		}
		h.OnReadStream = func(ctx context.Context, req eventstore.ReadStreamRequest) (eventstore.Page, error) {
			h.data.remember(func(kept map[string]any) {
				if first, _ := kept["cut "+req.Stream].(uint64); first > 0 {
					req.After = max(req.After, first-1)
				}
			})
			return h.Backend.ReadStream(ctx, req)
		}
		all := h.OnReadAll
		h.OnReadAll = func(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
			h.data.remember(func(kept map[string]any) {
				if first, _ := kept["cut "+req.After.Stream].(uint64); req.After.Version < first {
					req.After = eventstore.Place{Position: req.After.Position}
				}
			})
			page, err := all(ctx, req)
			page.Events = gone(page.Events)
			return page, err
		}
	})
	open := h.Open
	h.Open = func(ctx context.Context) (*conformance.Fixture, error) {
		fixture, err := open(ctx)
		first := fixture.Backend.(*handle) //nolint:forcetypeassert // made above
		fixture.CutStream = func(_ context.Context, stream string, version uint64) error {
			first.data.remember(func(kept map[string]any) { kept["cut "+stream] = version })
			return nil
		}
		return fixture, err
	}
	return h
}

// uuidHarness opens stores whose stream IDs are UUIDs, as its pattern says.
func uuidHarness() conformance.Harness {
	h := classHarness("whose streams are UUIDs", func(h *handle) {
		declares(h, func(c *eventstore.Capabilities) {
			c.Limits.StreamPattern = `[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`
		})
		refused := func(stream string) error {
			if _, err := uuid.Parse(stream); err != nil {
				return fmt.Errorf("stream %q is not a UUID", stream)
			}
			return nil
		}
		h.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
			for _, part := range req.Parts {
				if err := refused(part.Stream); err != nil {
					return nil, err
				}
			}
			return h.Backend.Append(ctx, req)
		}
	})
	h.StreamID = func(category string, number int) string {
		return uuid.NewSHA1(uuid.NameSpaceOID, fmt.Appendf(nil, "%s %d", category, number)).String()
	}
	return h
}

func TestASoundBackendThatLacksSomethingPassesTheWholeSuite(t *testing.T) {
	var beside, alone []string
	for _, check := range conformance.Checks() {
		if check.Alone {
			alone = append(alone, check.Name)
		} else {
			beside = append(beside, check.Name)
		}
	}
	lacking := []conformance.Harness{
		classHarness("of JSON alone", jsonb),
		classHarness("without records", withoutRecords),
		classHarness("of one stream an append", oneStreamOnly),
		cutHarness(),
		uuidHarness(),
	}
	passes := func(t *testing.T, h conformance.Harness, checks []string) {
		t.Helper()
		h.Scale.LongEvents = conformance.SmallScale().LongEvents // a sound backend passes at any
		report, err := conformance.RunAll(t.Context(), h, conformance.Options{Match: "^(" + strings.Join(checks, "|") + ")$", Parallel: 16, Timeout: 3 * time.Minute})
		require.NoError(t, err)
		require.Len(t, report.Results, len(checks))
		for _, result := range report.Results {
			assert.NotEqual(t, conformance.Failed, result.Status, "%s: %.600s", result.Check, result.Failure)
			assert.NotEqual(t, conformance.Skipped, result.Status, "%s: %s", result.Check, result.Reason)
		}
	}
	for _, h := range lacking {
		t.Run("measured "+h.Name, func(t *testing.T) { passes(t, h, alone) }) // nothing beside them
	}
	for _, h := range lacking {
		t.Run(h.Name, func(t *testing.T) {
			t.Parallel()
			passes(t, h, beside)
		})
	}
}

// absentMutants declare something absent, or present, and do otherwise.
func absentMutants() []classMutant {
	appends := func(change func(ctx context.Context, h *handle, req eventstore.AppendRequest) ([]eventstore.PartResult, error)) func(*handle) {
		return func(h *handle) {
			h.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
				return change(ctx, h, req)
			}
		}
	}
	declared := func(change func(*eventstore.Capabilities)) func(*handle) {
		return func(h *handle) { declares(h, change) }
	}
	return []classMutant{
		{"does not keep bytes and does not say so", "bytes/json-data", "expected event", rewrittenAppends},
		{"compares the bytes that it does not keep", "bytes/json-data", "appended again", comparesBytes},
		{"reads numbers as floats", "bytes/json-data", "JSON of event", losesNumbers},
		{"has one index of IDs and does not say so", "idempotency/another-stream-is-another-event", "an ID that another stream has", func(h *handle) {
			declare := h.OnCapabilities
			oneStreamOnly(h)
			h.OnCapabilities = declare
		}},
		{"says that it has one index of IDs and has not", "idempotency/another-stream-is-another-event", "got no error", declared(func(c *eventstore.Capabilities) {
			c.StreamScopedIDs = eventstore.No("one index of IDs")
		})},
		{"does not take a name that it declares", "capability/names", "100%", appends(func(ctx context.Context, h *handle, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
			if strings.Contains(req.Parts[0].Stream, "%") {
				return nil, errors.New("invalid character in the key")
			}
			return h.Backend.Append(ctx, req)
		})},
		{"takes year 1 for no time at all", "capability/record-time-range", "0001-01-01", appends(func(ctx context.Context, h *handle, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
			if at := req.Parts[0].RecordedAt; at != nil && at.IsZero() {
				req.Parts[0].RecordedAt = nil
			}
			return h.Backend.Append(ctx, req)
		})},
		{"wraps times that it declares", "capability/record-time-range", "0001-01-01", appends(func(ctx context.Context, h *handle, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
			if at := req.Parts[0].RecordedAt; at != nil {
				req.Parts[0].RecordedAt = new(time.Unix(0, at.UnixNano()).UTC())
			}
			return h.Backend.Append(ctx, req)
		})},
		{"forgets IDs while appends are still tried again", "capability/idempotency-time", "at least 1m", declared(func(c *eventstore.Capabilities) { c.IdempotencyTime = 10 * time.Second })},
		{"takes fewer parts than it declares", "capability/limits", "within the declared limit", appends(func(ctx context.Context, h *handle, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
			if len(req.Parts) > 100 {
				return nil, errors.New("more than 100 items in a transaction")
			}
			return h.Backend.Append(ctx, req)
		})},
		{"declares fewer parts than are portable", "capability/limits", "at least the portable 64", declared(func(c *eventstore.Capabilities) { c.Limits.MaxAppendParts = 63 })},
		{"begins streams at version 2", "capability/whole-streams", "its version: expected 1, got 2", func(h *handle) {
			h.pages(func(page *eventstore.Page) {
				for i := range page.Events {
					page.Events[i].Version++
				}
			})
		}},
		{"catches up when nothing is left", "subscription/caught-up-under-writers", "ten times what was stored", func(h *handle) {
			h.OnSubscribe = func(ctx context.Context, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
				return func(yield func(eventstore.Message, error) bool) {
					for {
						page, err := h.ReadAll(ctx, eventstore.ReadAllRequest{After: req.After, Filter: req.Filter, PageSize: req.PageSize})
						if err != nil {
							yield(eventstore.Message{}, err)
							return
						}
						for _, event := range page.Events {
							if !yield(eventstore.Message{Kind: eventstore.MessageEvent, Event: event, Place: event.Place()}, nil) {
								return
							}
						}
						req.After = page.Next
						if page.End && !yield(eventstore.Message{Kind: eventstore.MessageCaughtUp, Place: page.Next}, nil) {
							return
						}
					}
				}
			}
		}},
	}
}
