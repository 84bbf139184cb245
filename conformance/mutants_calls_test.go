package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/conformance/internal/hooked"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// TestBrokenCallsAreFound: each backend breaks one promise, and the checks that
// are named fail on it. On the same backend unbroken they pass.
func TestBrokenCallsAreFound(t *testing.T) {
	for _, mutant := range []callMutant{
		// Bytes.
		{"compacts JSON", alteredEvents(func(e *eventstore.Event) {
			var compact bytes.Buffer
			if strings.Contains(e.ContentType, "json") && json.Compact(&compact, e.Data) == nil {
				e.Data = compact.Bytes()
			}
		}), []string{"bytes/json-data"}},
		{"reads numbers as floats", alteredEvents(func(e *eventstore.Event) {
			var value float64
			if json.Unmarshal(e.Data, &value) == nil {
				e.Data, _ = json.Marshal(value)
			}
		}), []string{"bytes/json-data"}},
		{"keeps data as UTF-8 text", alteredEvents(func(e *eventstore.Event) { e.Data = bytes.ToValidUTF8(e.Data, []byte("\ufffd")) }), []string{"bytes/binary-data", "bytes/portable-limits"}},
		{"ends data at a NUL", alteredEvents(func(e *eventstore.Event) { e.Data, _, _ = bytes.Cut(e.Data, []byte{0}) }), []string{"bytes/binary-data"}},
		{"trims data", alteredEvents(func(e *eventstore.Event) { e.Data = bytes.TrimSpace(e.Data) }), []string{"bytes/binary-data", "bytes/json-data"}},
		{"drops escapes from metadata", alteredEvents(func(e *eventstore.Event) {
			for key, value := range e.Metadata {
				e.Metadata[key] = strings.ReplaceAll(value, "\x1b", "")
			}
		}), []string{"bytes/metadata"}},
		{"folds the case of metadata keys", alteredEvents(func(e *eventstore.Event) {
			folded := make(map[string]string)
			for key, value := range e.Metadata {
				folded[strings.ToLower(key)] = value
			}
			e.Metadata = folded
		}), []string{"bytes/metadata"}},
		{"drops the content type's parameters", alteredEvents(func(e *eventstore.Event) { e.ContentType, _, _ = strings.Cut(e.ContentType, ";") }), []string{"bytes/content-type", "bytes/json-data"}},
		{"truncates long types", alteredEvents(func(e *eventstore.Event) { e.Type = e.Type[:min(len(e.Type), 128)] }), []string{"bytes/event-type", "bytes/portable-limits"}},
		{"escapes types", alteredEvents(func(e *eventstore.Event) { e.Type = strings.ReplaceAll(e.Type, "'", "''") }), []string{"bytes/event-type"}},
		{"makes IDs version 4", alteredEvents(func(e *eventstore.Event) { e.ID[6] = e.ID[6]&0x0f | 0x40 }), []string{"bytes/event-id"}},
		{"makes IDs a variant", alteredEvents(func(e *eventstore.Event) { e.ID[8] = e.ID[8]&0x3f | 0x80 }), []string{"bytes/event-id"}},
		{"truncates long stream IDs", alteredNames(func(s string) string { return s[:min(len(s), 200)] }), []string{"bytes/stream-id", "bytes/portable-limits"}},
		{"folds the case of stream IDs", alteredNames(strings.ToLower), []string{"bytes/stream-id"}},
		{"trims stream IDs", alteredNames(strings.TrimSpace), []string{"bytes/stream-id"}},
		{"drops trailing spaces of stream IDs", alteredNames(func(s string) string { return strings.TrimRight(s, " ") }), []string{"bytes/stream-id"}},
		{"normalises stream IDs", alteredNames(func(s string) string { return strings.ReplaceAll(s, "e\u0301", "\u00e9") }), []string{"bytes/stream-id"}},
		{"ignores marks without width", alteredNames(func(s string) string { return strings.ReplaceAll(s, "\u200b", "") }), []string{"bytes/stream-id"}},
		{"cleans slashes", alteredNames(func(s string) string { return strings.TrimSuffix(strings.ReplaceAll(s, "//", "/"), "/") }), []string{"bytes/stream-id"}},
		{"decodes percent signs", alteredNames(func(s string) string { return strings.ReplaceAll(s, "%20", " ") }), []string{"bytes/stream-id"}},
		{"returns local time", alteredReads(func(e *eventstore.RecordedEvent) { e.RecordedAt = e.RecordedAt.Local() }), []string{"bytes/record-time"}},
		{"loses the time zone", alteredReads(func(e *eventstore.RecordedEvent) { e.RecordedAt = e.RecordedAt.Add(5*time.Hour + 45*time.Minute) }), []string{"bytes/record-time"}},
		{"is more precise than it declares", alteredCaps(func(c *eventstore.Capabilities) { c.TimePrecision = time.Second }), []string{"bytes/record-time"}},
		{"stamps what it reads", alteredReads(func(e *eventstore.RecordedEvent) { e.RecordedAt = time.Now().UTC() }), []string{"bytes/record-time"}},

		// Cancellation.
		{"swallows cancellation", withoutCancel, []string{"cancel/backend-refuses"}},
		{"returns the driver's error for a done context", driverErrors, []string{"cancel/backend-refuses", "cancel/waiting-subscription", "cancel/during-append"}},
		{"ends subscriptions without a reason", silentEnd, []string{"cancel/waiting-subscription", "close/wakes-subscriptions"}},
		{"ignores the size of a page", func(_ *testing.T, inner eventstore.Backend) *hooked.Hooked {
			return &hooked.Hooked{Backend: inner, OnReadStream: func(ctx context.Context, req eventstore.ReadStreamRequest) (eventstore.Page, error) {
				req.MaxEvents = 1000
				return inner.ReadStream(ctx, req)
			}}
		}, []string{"cancel/between-pages"}},
		{"says cancelled after storing", cancelledAfterStoring, []string{"cancel/during-append"}},
		{"stores after it said cancelled", storesLater, []string{"cancel/during-append"}},
		{"stores a part of what is cancelled", tornByCancellation, []string{"cancel/during-append"}},

		// Closing.
		{"works after Close", func(_ *testing.T, inner eventstore.Backend) *hooked.Hooked {
			return &hooked.Hooked{Backend: inner, OnClose: func() error { return nil }}
		}, []string{"close/backend-refuses"}},
		{"fails a second Close", func(_ *testing.T, inner eventstore.Backend) *hooked.Hooked {
			var closed atomic.Bool
			return &hooked.Hooked{Backend: inner, OnClose: func() error {
				if closed.Swap(true) {
					return errors.New("already closed")
				}
				return inner.Close()
			}}
		}, []string{"close/twice"}},
		{"panics in a second Close", func(_ *testing.T, inner eventstore.Backend) *hooked.Hooked {
			done := make(chan struct{})
			return &hooked.Hooked{Backend: inner, OnClose: func() error {
				close(done)
				return inner.Close()
			}}
		}, []string{"close/twice"}},
		{"forgets its capabilities when closed", func(_ *testing.T, inner eventstore.Backend) *hooked.Hooked {
			var closed atomic.Bool
			return &hooked.Hooked{
				Backend: inner,
				OnClose: func() error {
					closed.Store(true)
					return inner.Close()
				},
				OnCapabilities: func() eventstore.Capabilities {
					if closed.Load() {
						return eventstore.Capabilities{}
					}
					return inner.Capabilities()
				},
			}
		}, []string{"close/backend-refuses", "capability/constant"}},
		{"closes every handle", closesAll(), []string{"close/other-handle"}},
		{"says closed after storing", closedAfterStoring, []string{"close/during-use"}},
		{"returns the driver's error when closed", driverErrors, []string{"close/backend-refuses", "close/during-use"}},
		{"leaks a goroutine", func(t *testing.T, inner eventstore.Backend) *hooked.Hooked {
			end := make(chan struct{})
			t.Cleanup(func() { close(end) })
			go func() { <-end }()
			return &hooked.Hooked{Backend: inner}
		}, []string{"close/leaks-nothing"}},

		// Aliasing.
		{"shares what it returns", sharesReturned, []string{"alias/returned-events"}},
		{"reads every page into one buffer", oneBuffer, []string{"alias/kept-events"}},
		{"shares snapshots", sharesSnapshots, []string{"snapshot/aliasing"}},
	} {
		t.Run(mutant.name, func(t *testing.T) { mutant.expectFound(t) })
	}
}

// TestUntrueCapabilitiesAreFound: each backend declares what it does not do.
func TestUntrueCapabilitiesAreFound(t *testing.T) {
	for _, mutant := range []callMutant{
		{"leaves a capability undeclared", alteredCaps(func(c *eventstore.Capabilities) { c.MultiStreamAppend = eventstore.Capability{} }), []string{"capability/declared"}},
		{"gives no reason", alteredCaps(func(c *eventstore.Capabilities) { c.PreservedRecordTime = eventstore.No("") }), []string{"capability/declared"}},
		{"leaves a limit undeclared", alteredCaps(func(c *eventstore.Capabilities) { c.Limits.MaxTypeBytes = 0 }), []string{"capability/declared"}},
		{"changes its mind", func(_ *testing.T, inner eventstore.Backend) *hooked.Hooked {
			var calls atomic.Int64
			return &hooked.Hooked{Backend: inner, OnCapabilities: func() eventstore.Capabilities {
				caps := inner.Capabilities()
				if calls.Add(1)%2 == 0 {
					caps.Durability = eventstore.SurvivesPowerLoss
				}
				return caps
			}}
		}, []string{"capability/constant"}},
		{"declares less than the portable limits", alteredCaps(func(c *eventstore.Capabilities) { c.Limits.MaxEventBytes = 64 << 10 }), []string{"capability/limits"}},
		{"refuses an event that it declares", func(_ *testing.T, inner eventstore.Backend) *hooked.Hooked {
			return &hooked.Hooked{Backend: inner, OnAppend: func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
				for _, event := range req.Parts[0].Events {
					if event.Size() > 1<<20 {
						return nil, errors.New("message too large")
					}
				}
				return inner.Append(ctx, req)
			}}
		}, []string{"capability/limits"}},
		{"truncates a stream ID that it declares", alteredNames(func(s string) string { return s[:min(len(s), 1000)] }), []string{"capability/limits"}},
		{"ignores record times", alteredParts(func(p *eventstore.StreamAppend) { p.RecordedAt = new(time.Time{}) }), []string{"capability/record-time"}},
		{"loses fractions of seconds", alteredParts(func(p *eventstore.StreamAppend) { p.RecordedAt = new(p.RecordedAt.Truncate(time.Second)) }), []string{"capability/record-time"}},
		{"counts nanoseconds in 64 bits", alteredParts(func(p *eventstore.StreamAppend) {
			if p.RecordedAt != nil {
				p.RecordedAt = new(time.Unix(0, p.RecordedAt.UnixNano()))
			}
		}), []string{"capability/record-time"}},
		{"forgets IDs after a hundred events", shortMemory, []string{"capability/idempotency-window"}},

		{"writes the parts one by one", oneByOne, []string{"multi/one-conflict-fails-all", "multi/never-torn"}},
		{"writes the first part alone", firstPartOnly, []string{"multi/all-written", "multi/never-torn", "multi/duplicates-and-new"}},
		{"sorts the parts", sortsParts, []string{"multi/all-written"}},
		{"judges every part before any is written", judgesFirst, []string{"multi/same-stream-twice"}},
		{"refuses a part that is a duplicate", refusesDuplicateParts, []string{"multi/duplicates-and-new"}},
		{"takes an ID in two streams for reuse", refusesSharedIDs, []string{"multi/all-written"}},
		{"deadlocks on streams in opposite orders", locksInOrder(), []string{"multi/opposite-orders"}},
	} {
		t.Run(mutant.name, func(t *testing.T) { mutant.expectFound(t) })
	}
}

// TestCallsOfAWholeBackendPass: what fails on the mutants does not fail on the
// same backend unbroken.
func TestCallsOfAWholeBackendPass(t *testing.T) {
	for _, check := range slices.Concat(bytesChecks(), callChecks(), inputChecks(), capabilityChecks()) {
		result := runAltered(t, check.Name, func(_ *testing.T, inner eventstore.Backend) *hooked.Hooked { return &hooked.Hooked{Backend: inner} })
		require.Equal(t, Passed, result.Status, "%s: %s", check.Name, result.Failure)
	}
}

// callMutant is a broken backend and the checks that must fail on it.
type callMutant struct {
	name   string
	change alter
	kills  []string
}

func (m callMutant) expectFound(t *testing.T) {
	t.Helper()
	t.Parallel()
	require.NotEmpty(t, m.kills)
	for _, check := range m.kills {
		result := runAltered(t, check, m.change)
		require.Equal(t, Failed, result.Status, "%s does not see it", check)
		require.NotEmpty(t, result.Failure)
		t.Logf("%s: %.400s", check, result.Failure)
	}
}
