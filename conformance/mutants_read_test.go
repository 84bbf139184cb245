package conformance_test

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/conformance"
	"github.com/switchyard-dev/switchyard/eventstore"
)

type readMutant struct {
	name   string
	killed []string // each of these checks must fail
	wrap   func(*reader)
}

func readMutants() []readMutant {
	return slices.Concat(orderMutants(), pageMutants(), subscriptionMutants(), progressMutants())
}

func orderMutants() []readMutant {
	return []readMutant{
		{"reverses ReadAll", []string{"order/position-agrees-with-version", "order/union-of-streams"}, func(r *reader) {
			r.OnReadAll = func(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
				page, err := r.Backend.ReadAll(ctx, req)
				slices.Reverse(page.Events)
				return page, err
			}
		}},
		{"orders ReadAll by stream within a page", []string{"order/append-position", "order/union-of-streams"}, func(r *reader) {
			r.OnReadAll = func(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
				page, err := r.Backend.ReadAll(ctx, req)
				slices.SortStableFunc(page.Events, func(a, b eventstore.RecordedEvent) int { return strings.Compare(a.Stream, b.Stream) })
				return page, err
			}
		}},
		{"turns the pages backward and not what is in them", []string{"read/backward-all"}, func(r *reader) {
			r.OnReadAll = func(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
				page, err := r.Backend.ReadAll(ctx, req)
				if req.Backward {
					slices.Reverse(page.Events)
				}
				return page, err
			}
		}},
		{"has a head before its first event", []string{"read/empty-store"}, func(r *reader) {
			r.OnInfo = func(ctx context.Context) (eventstore.Info, error) {
				info, err := r.Backend.Info(ctx)
				if info.Head.IsZero() {
					info.Head.Position = eventstore.NewPosition(0, 1)
				}
				return info, err
			}
		}},
		{"shows another order through each handle", []string{"order/handles-agree"}, func(r *reader) {
			if r.handle == 0 {
				return
			}
			r.OnReadAll = func(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
				page, err := r.Backend.ReadAll(ctx, req)
				for i := 1; i < len(page.Events); i++ {
					a, b := &page.Events[i-1], &page.Events[i]
					if a.Stream < b.Stream {
						*a, *b = *b, *a
						a.Position, b.Position = b.Position, a.Position
					}
				}
				return page, err
			}
		}},
		{"lets a lower position arrive late", []string{"order/no-late-arrival", "order/no-late-arrival-forced"}, func(r *reader) {
			withoutHidden(r)
			r.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
				stream := req.Parts[0].Stream
				if strings.HasPrefix(stream, "Cart-") { // its commits take longer
					r.data.setHidden(stream, true)
					defer r.data.setHidden(stream, false)
					defer roundTrip()
				}
				return r.Backend.Append(ctx, req)
			}
		}},
		{"answers ReadStream late on the second handle", []string{"order/read-your-writes", "order/monotonic-reads"}, func(r *reader) {
			if r.handle == 0 {
				return
			}
			r.OnReadStream = func(ctx context.Context, req eventstore.ReadStreamRequest) (eventstore.Page, error) {
				page, err := r.Backend.ReadStream(ctx, req)
				page.Events = slices.DeleteFunc(page.Events, recent)
				return page, err
			}
		}},
		{"answers ReadAll late on the second handle", []string{"order/read-your-writes"}, func(r *reader) {
			if r.handle == 0 {
				return
			}
			r.OnReadAll = func(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
				page, err := r.Backend.ReadAll(ctx, req)
				page.Events = slices.DeleteFunc(page.Events, recent)
				return page, err
			}
		}},
		{"answers Info late on the second handle", []string{"order/head"}, func(r *reader) {
			if r.handle == 0 {
				return
			}
			var last eventstore.Info
			r.OnInfo = func(ctx context.Context) (eventstore.Info, error) {
				r.data.mu.Lock()
				defer r.data.mu.Unlock()
				late := last
				info, err := r.Backend.Info(ctx)
				if last = info; late.ID != info.ID {
					late = info
				}
				return late, err
			}
		}},
		{"leaves a hole in the versions", []string{"read/versions-from-one", "order/versions-under-writers"}, func(r *reader) {
			r.OnReadStream = func(ctx context.Context, req eventstore.ReadStreamRequest) (eventstore.Page, error) {
				page, err := r.Backend.ReadStream(ctx, req)
				page.Events = slices.DeleteFunc(page.Events, func(e eventstore.RecordedEvent) bool { return e.Version == 3 })
				return page, err
			}
		}},
		{"makes the record time when it reads", []string{"read/immutable"}, func(r *reader) {
			r.OnReadStream = func(ctx context.Context, req eventstore.ReadStreamRequest) (eventstore.Page, error) {
				page, err := r.Backend.ReadStream(ctx, req)
				for i := range page.Events {
					page.Events[i].RecordedAt = time.Now().UTC()
				}
				return page, err
			}
		}},
		{"does not tell upper from lower case in stream IDs", []string{"read/streams-apart", "read/absent-stream"}, func(r *reader) {
			r.OnAppend = func(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
				parts := slices.Clone(req.Parts)
				for i := range parts {
					parts[i].Stream = strings.ToLower(parts[i].Stream)
				}
				return r.Backend.Append(ctx, eventstore.AppendRequest{Parts: parts})
			}
			r.OnReadStream = func(ctx context.Context, req eventstore.ReadStreamRequest) (eventstore.Page, error) {
				req.Stream = strings.ToLower(req.Stream)
				return r.Backend.ReadStream(ctx, req)
			}
		}},
		{"says that an absent stream is an error", []string{"read/absent-stream"}, func(r *reader) {
			r.OnReadStream = func(ctx context.Context, req eventstore.ReadStreamRequest) (eventstore.Page, error) {
				page, err := r.Backend.ReadStream(ctx, req)
				if err == nil && len(page.Events) == 0 {
					err = fmt.Errorf("stream %q not found", req.Stream)
				}
				return page, err
			}
		}},
	}
}

func TestEveryReadMutantIsKilledAtItsNamedChecks(t *testing.T) {
	type attempt struct {
		mutant readMutant
		check  string
		report conformance.Report
		err    error
	}
	var attempts []*attempt
	for _, m := range readMutants() {
		for _, check := range m.killed {
			attempts = append(attempts, &attempt{mutant: m, check: check})
		}
	}
	run := func(a *attempt, timeout time.Duration) {
		a.report, a.err = conformance.RunAll(t.Context(), readerHarness(a.mutant.name, a.mutant.wrap), conformance.Options{
			Match: fmt.Sprintf("^%s$", a.check), Timeout: timeout,
		})
	}
	// Many of them end when a check has waited long enough, so they wait together,
	// but for the one that measures the process's memory.
	var running sync.WaitGroup
	tickets := make(chan struct{}, 16)
	for _, a := range attempts {
		if a.check == "subscription/bounded-memory" {
			continue
		}
		running.Go(func() {
			tickets <- struct{}{}
			defer func() { <-tickets }()
			run(a, 4*time.Second)
		})
	}
	running.Wait()
	for _, a := range attempts {
		if a.check == "subscription/bounded-memory" {
			run(a, time.Minute)
		}
		t.Run(a.mutant.name+" at "+a.check, func(t *testing.T) {
			require.NoError(t, a.err)
			require.Len(t, a.report.Results, 1)
			require.Equal(t, conformance.Failed, a.report.Results[0].Status, "the mutant survived: %s", a.report.Results[0].Reason)
			require.NotEmpty(t, a.report.Results[0].Failure)
		})
	}
}

func TestEveryCheckThatKillsAReadMutantPassesOnASoundBackend(t *testing.T) {
	const all = "^(read|page|iterator|filter|order|subscription|durable|checkpoint|snapshot)/"
	inOneLock := readerHarness("in one lock", nil)
	open := inOneLock.Open
	inOneLock.Open = func(ctx context.Context) (*conformance.Fixture, error) {
		fixture, err := open(ctx)
		fixture.HoldWriter, fixture.HoldWriterReason = nil, "one lock is held from taking a position until the event is visible"
		return fixture, err
	}
	for _, sound := range []struct {
		harness conformance.Harness
		checks  string
		cannot  []string // bring about the state that the check needs, as declared
	}{
		{inOneLock, all, []string{"order/no-late-arrival-forced"}},
		{readerHarness("that stops before what is not yet visible", upToHidden), all, nil},
		{readerHarness("whose filtered pages may hold no match", func(r *reader) { r.filtering(eventstore.Filter.Match) }), "^(read|page|filter)/", nil},
	} {
		t.Run(sound.harness.Name, func(t *testing.T) {
			report, err := conformance.RunAll(t.Context(), sound.harness, conformance.Options{Match: sound.checks, Parallel: 8})
			require.NoError(t, err)
			for _, result := range report.Results {
				want := conformance.Passed
				if slices.Contains(sound.cannot, result.Check) {
					want = conformance.Skipped
				}
				require.Equal(t, want, result.Status, "%s: %s%s", result.Check, result.Reason, result.Failure)
			}
		})
	}
}

func pageMutants() []readMutant {
	return []readMutant{
		{"drops an event between two pages", []string{"read/any-page-size", "page/all-within-bounds"}, func(r *reader) {
			r.OnReadAll = func(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
				page, err := r.Backend.ReadAll(ctx, req)
				if hi, lo := page.Next.Position.Words(); !page.End && !req.Backward {
					page.Next = eventstore.Place{Position: eventstore.NewPosition(hi+1, lo)}
				}
				return page, err
			}
		}},
		{"is off by one when it reads a stream backward", []string{"read/stream-bounds", "read/backward-stream"}, func(r *reader) {
			r.OnReadStream = func(ctx context.Context, req eventstore.ReadStreamRequest) (eventstore.Page, error) {
				if req.Backward && req.Before != 0 {
					req.Before++
				}
				return r.Backend.ReadStream(ctx, req)
			}
		}},
		{"is off by one when it reads everything backward", []string{"read/all-bounds", "filter/with-bounds"}, func(r *reader) {
			r.OnReadAll = func(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
				if hi, lo := req.After.Position.Words(); req.Backward && hi > 0 {
					req.After = eventstore.Place{Position: eventstore.NewPosition(hi-1, lo)}
				}
				return r.Backend.ReadAll(ctx, req)
			}
		}},
		{"takes After for inclusive", []string{"read/stream-bounds"}, func(r *reader) {
			r.OnReadStream = func(ctx context.Context, req eventstore.ReadStreamRequest) (eventstore.Page, error) {
				req.After = max(req.After, 1) - 1
				return r.Backend.ReadStream(ctx, req)
			}
		}},
		{"ignores the bound on a page's bytes", []string{"page/stream-within-bounds", "page/all-within-bounds"}, func(r *reader) {
			r.OnReadStream = func(ctx context.Context, req eventstore.ReadStreamRequest) (eventstore.Page, error) {
				req.MaxBytes = math.MaxInt
				return r.Backend.ReadStream(ctx, req)
			}
			r.OnReadAll = func(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
				req.MaxBytes = math.MaxInt
				return r.Backend.ReadAll(ctx, req)
			}
		}},
		{"gives each handle an identity of its own", []string{"place/identity", "checkpoint/round-trip"}, func(r *reader) {
			id := uuid.New()
			r.OnInfo = func(ctx context.Context) (eventstore.Info, error) {
				info, err := r.Backend.Info(ctx)
				info.ID = id
				return info, err
			}
		}},
		{"takes % and _ in a stream prefix for wildcards", []string{"filter/stream-prefix"}, func(r *reader) {
			r.filteringPrefixes(func(prefix, stream string) bool { return like(prefix+"%", stream) })
		}},
		{"takes a stream prefix's last letter and the mark behind it for another letter", []string{"filter/stream-prefix", "filter/in-subscriptions"}, func(r *reader) {
			r.filteringPrefixes(func(prefix, stream string) bool {
				rest, ok := strings.CutPrefix(stream, prefix)
				next, _ := utf8.DecodeRuneInString(rest)
				return ok && !unicode.Is(unicode.M, next)
			})
			r.OnSubscribe = r.poll
		}},
		{"passes over soft hyphens in a stream prefix", []string{"filter/stream-prefix"}, func(r *reader) {
			r.filteringPrefixes(func(prefix, stream string) bool {
				return strings.HasPrefix(strings.ReplaceAll(stream, "\u00ad", ""), prefix) || strings.HasPrefix(stream, prefix)
			})
		}},
		{"does not tell the case of a stream prefix's last letter", []string{"filter/stream-prefix"}, func(r *reader) {
			r.filteringPrefixes(func(prefix, stream string) bool {
				_, size := utf8.DecodeLastRuneInString(prefix)
				rest, ok := strings.CutPrefix(stream, prefix[:len(prefix)-size])
				_, next := utf8.DecodeRuneInString(rest)
				return ok && strings.EqualFold(rest[:next], prefix[len(prefix)-size:])
			})
		}},
		{"folds a stream prefix's last letter beyond ASCII", []string{"filter/stream-prefix"}, func(r *reader) {
			r.filteringPrefixes(func(prefix, stream string) bool {
				return strings.HasPrefix(stream, prefix) || (strings.HasSuffix(prefix, "K") && strings.HasPrefix(stream, strings.TrimSuffix(prefix, "K")+"\u212a"))
			})
		}},
		{"takes % and _ in a category for wildcards", []string{"filter/category"}, func(r *reader) {
			r.filteringCategories(func(category, stream string) bool { return like(category, eventstore.Category(stream)) })
		}},
		{"takes a category for a prefix", []string{"filter/category"}, func(r *reader) {
			r.filteringCategories(func(category, stream string) bool { return strings.HasPrefix(stream, category) })
		}},
		{"finds no category in a stream without a dash", []string{"filter/category"}, func(r *reader) {
			r.filteringCategories(func(category, stream string) bool {
				return category == eventstore.Category(stream) && strings.Contains(stream, "-")
			})
		}},
		{"compares types without regard to case", []string{"filter/types"}, func(r *reader) {
			r.filtering(func(f eventstore.Filter, stream, eventType string) bool {
				types := f.Types
				f.Types = nil
				return f.Match(stream, eventType) && (len(types) == 0 || slices.ContainsFunc(types, func(t string) bool { return strings.EqualFold(t, eventType) }))
			})
		}},
		{"needs only one field of a filter to agree", []string{"filter/combined"}, func(r *reader) {
			r.filtering(func(f eventstore.Filter, stream, eventType string) bool {
				return f.IsZero() || len(f.Categories) > 0 && (eventstore.Filter{Categories: f.Categories}).Match(stream, eventType) ||
					len(f.Categories) == 0 && f.Match(stream, eventType)
			})
		}},
		{"takes a page without a match for the end", []string{"filter/rare-match"}, func(r *reader) {
			r.filtering(eventstore.Filter.Match)
			filtered := r.OnReadAll
			r.OnReadAll = func(ctx context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
				page, err := filtered(ctx, req)
				page.End = page.End || len(page.Events) == 0
				return page, err
			}
		}},
	}
}
