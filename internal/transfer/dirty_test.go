package transfer

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventstore/adapter"
	"github.com/switchyard-dev/switchyard/internal/cloudevents"
)

// filled is a store that other programs filled, by rules of their own.
type filled struct {
	*memory.Backend
	id     uuid.UUID
	events []eventstore.RecordedEvent
}

func (f *filled) Capabilities() eventstore.Capabilities {
	caps := f.Backend.Capabilities()
	caps.WholeStreams = eventstore.No("other programs fill this double")
	return caps
}

func (f *filled) Info(context.Context) (eventstore.Info, error) {
	return eventstore.Info{ID: f.id, Head: f.events[len(f.events)-1].Place()}, nil
}

func (f *filled) page(backward bool, selected func(eventstore.RecordedEvent) bool) []eventstore.RecordedEvent {
	var events []eventstore.RecordedEvent
	for _, event := range f.events {
		if selected(event) {
			events = append(events, event)
		}
	}
	if backward {
		slices.Reverse(events)
	}
	return events
}

func (f *filled) ReadStream(_ context.Context, req eventstore.ReadStreamRequest) (eventstore.Page, error) {
	events := f.page(req.Backward, func(e eventstore.RecordedEvent) bool {
		return e.Stream == req.Stream && e.Version > req.After && (req.Before == 0 || e.Version < req.Before)
	})
	return eventstore.Page{Events: events[:min(len(events), req.MaxEvents)], End: len(events) <= req.MaxEvents}, nil
}

func (f *filled) ReadAll(_ context.Context, req eventstore.ReadAllRequest) (eventstore.Page, error) {
	events := f.page(req.Backward, func(e eventstore.RecordedEvent) bool {
		return req.After.Position.Before(e.Position) && (req.Before.IsZero() || e.Position.Before(req.Before)) && req.Filter.Match(e.Stream, e.Type)
	})
	page := eventstore.Page{Events: events[:min(len(events), req.MaxEvents)], End: len(events) <= req.MaxEvents, Next: req.After}
	if n := len(page.Events); n > 0 {
		page.Next = page.Events[n-1].Place()
	}
	return page, nil
}

func (f *filled) Subscribe(ctx context.Context, req eventstore.SubscribeRequest) iter.Seq2[eventstore.Message, error] {
	return adapter.Follow(ctx, req, adapter.FollowSource{Page: f.ReadAll, Info: f.Info, Poll: time.Millisecond})
}

func (f *filled) add(stream string, version uint64, event eventstore.Event) {
	if event.ID == uuid.Nil {
		event.ID = uuid.NewSHA1(f.id, fmt.Append(nil, len(f.events)))
	}
	if event.Type == "" {
		event.Type = "Happened"
	}
	if event.ContentType == "" {
		event.ContentType = eventstore.JSONContentType
	}
	if event.Data == nil {
		event.Data = fmt.Appendf(nil, `{"n":%d}`, len(f.events))
	}
	at := time.Date(2026, 3, 4, 5, 6, 7, 8000, time.UTC).Add(time.Duration(len(f.events)) * time.Second)
	f.events = append(f.events, eventstore.RecordedEvent{
		Event: event, Stream: stream, Version: version, Position: eventstore.NewPosition(uint64(len(f.events)+1), 0), RecordedAt: at,
	})
}

// dirty is a store with everything in it that no append is allowed.
func dirty() *filled {
	f := &filled{Backend: memory.New(), id: uuid.New()}
	empty, bom := eventstore.Event{Data: []byte{}}, eventstore.Event{Data: []byte("\xef\xbb\xbf{}")}
	again := eventstore.Event{ID: uuid.New(), Data: []byte(`"once"`)}
	f.add("cart-1", 1, eventstore.Event{})
	f.add("late-7", 5, eventstore.Event{})
	f.add("cart-1", 2, empty)
	f.add("cart-1\t2", 1, eventstore.Event{Metadata: map[string]string{"a": "b"}})
	f.add("cart-1", 3, bom)
	f.add("cart-1", 4, eventstore.Event{})
	f.add("twice-1", 1, again)
	f.add("late-7", 6, eventstore.Event{})
	f.add("cart-2", 1, eventstore.Event{Metadata: map[string]string{"": "1", "ok": "2"}})
	f.add("cart-2", 2, eventstore.Event{Metadata: map[string]string{"a\tb": "1", "nul": "x\x00y", "latin": "caf\xe9"}})
	f.add("switchyard:kept", 1, eventstore.Event{})
	f.add("cart-1\t2", 2, empty)
	f.add("twice-1", 2, eventstore.Event{})
	f.add("twice-1", 3, again)
	other := again
	other.Data = []byte(`"other"`)
	f.add("twice-1", 4, other)
	f.add("twice-1", 5, eventstore.Event{})
	f.add("cart-3", 1, eventstore.Event{Type: strings.Repeat("long", 80)})
	f.add("cart-3", 2, eventstore.Event{Type: "with\ncontrol"})
	f.add("cart-3", 3, eventstore.Event{Type: "T", ContentType: "text/\x01plain", Data: []byte("x")})
	f.add(strings.Repeat("name", 100), 1, eventstore.Event{})
	f.add("late-7", 7, bom)
	f.add("late-7", 8, eventstore.Event{})
	f.add("cart-1\t2", 3, eventstore.Event{})
	f.add("clean-9", 1, eventstore.Event{})
	return f
}

// strict is a memory store with the limits on names of other ones.
type strict struct {
	*memory.Backend
	change func(*eventstore.Capabilities)
}

func (s strict) Capabilities() eventstore.Capabilities {
	caps := s.Backend.Capabilities()
	caps.Limits.MaxStreamBytes, caps.Limits.MaxTypeBytes = 255, 255
	if s.change != nil {
		s.change(&caps)
	}
	return caps
}

// openFilled opens a store as the command line does.
func openFilled(t *testing.T, backend eventstore.Backend) *eventstore.Store {
	t.Helper()
	store, err := eventstore.New(backend, &eventstore.Options{BackendLimits: true, AllowReserved: true, ReadAnyName: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	return store
}

// requireRestored holds that the target, read in its order, gives the source's events.
func requireRestored(t *testing.T, f *filled, target *eventstore.Store) {
	t.Helper()
	report, err := Verify(t.Context(), openFilled(t, f), target, nil)
	require.NoError(t, err)
	require.True(t, report.Equal(), "first difference: %+v", report.First)
	require.Equal(t, report.A.Digest, report.B.Digest)
	stored, source := all(t, target), cloudevents.Source(f.id)
	require.Len(t, stored, len(f.events))
	versions := make(map[string]uint64)
	for i, event := range stored {
		o := Restore(event, source)
		require.Empty(t, o.Difference(f.events[i], false), "%+v is not %+v", o, f.events[i])
		require.Equal(t, Original{RecordedEvent: event}, Restore(event, "switchyard:another"), "it is no other source's")
		versions[event.Stream]++
		require.Equal(t, versions[event.Stream], event.Version)
		place, found, err := Translate(t.Context(), target, source, f.events[i].Place())
		require.NoError(t, err)
		require.True(t, found)
		require.Equal(t, event.Place(), place)
	}
}

func TestEveryDirtyEventHasAWayToTravel(t *testing.T) {
	reasons := func(caps *eventstore.Capabilities) { caps.BinaryData = eventstore.No("JSON alone") }
	window := func(caps *eventstore.Capabilities) { caps.IdempotencyWindow = 2 }
	single := func(caps *eventstore.Capabilities) { caps.MultiStreamAppend = eventstore.No("one at a time") }
	want := func(kept, renamed, renumbered, parked, skipped int) Refusals {
		return Refusals{KeptBytes: kept, Renamed: renamed, Renumbered: renumbered, Parked: parked, Skipped: skipped}
	}
	for name, test := range map[string]struct {
		remedies string
		change   func(*eventstore.Capabilities)
		want     Refusals
	}{
		"as bytes, or by another name":      {"keep-bytes,rename", nil, want(5, 11, 4, 0, 0)},
		"by another name, or as bytes":      {"rename,keep-bytes", single, want(5, 11, 4, 0, 0)},
		"where only JSON is taken":          {"keep-bytes,rename", reasons, want(5, 11, 4, 0, 0)},
		"parked":                            {"park", nil, want(0, 0, 5, 15, 0)},
		"parked, where IDs are forgotten":   {"park", window, want(0, 0, 5, 15, 0)},
		"skipped":                           {"skip", single, want(0, 0, 5, 0, 15)},
		"as bytes, or else parked":          {"keep-bytes,park", nil, want(4, 0, 6, 11, 0)},
		"by another name, or else left out": {"rename,skip", window, want(0, 10, 5, 0, 5)},
	} {
		t.Run(name, func(t *testing.T) {
			remedies, err := ParseRemedies(test.remedies)
			require.NoError(t, err)
			f, log := dirty(), memory.NewLog()
			source, target := openFilled(t, f), openFilled(t, strict{log.Open(nil), test.change})
			opts := &CopyOptions{OnRefused: remedies, Checkpoints: log.Open(nil).Records().Checkpoints}
			result, err := Copy(t.Context(), source, target, opts)
			require.NoError(t, err)
			counted := result.Refused
			require.Equal(t, len(f.events), result.Read)
			require.Equal(t, result.Read, result.Stored+counted.Parked+counted.Skipped)
			require.GreaterOrEqual(t, len(counted.Decisions), 14)
			for _, d := range counted.Decisions {
				require.NotEmpty(t, d.Reason)
				require.NotEmpty(t, d.Remedies)
				event, found, err := eventAt(t.Context(), target, d.ToStream, d.ToVersion)
				require.NoError(t, err)
				require.True(t, found)
				o := Restore(event, cloudevents.Source(f.id))
				require.Equal(t, [3]any{d.Stream, d.Version, d.ID}, [3]any{o.Stream, o.Version, o.ID}, "the target says it too")
				require.Equal(t, d.Remedies, o.Remedies)
			}
			counted.Decisions = nil
			require.Equal(t, test.want, counted)
			requireRestored(t, f, target)

			for _, opts := range []*CopyOptions{opts, {OnRefused: remedies}, nil} {
				result, err := Copy(t.Context(), source, target, opts)
				require.NoError(t, err, "what is copied is recognised")
				require.Equal(t, Result{}, result)
			}
			moreOf(t, f, source, target, opts)
		})
	}
}

// moreOf holds that a copy goes on with what comes to streams that were changed.
func moreOf(t *testing.T, f *filled, source, target *eventstore.Store, opts *CopyOptions) {
	t.Helper()
	for _, event := range []eventstore.RecordedEvent{{Stream: "late-7", Version: 9}, {Stream: "cart-1", Version: 5}, {Stream: "twice-1", Version: 6}, {Stream: "cart-1\t2", Version: 4}} {
		f.add(event.Stream, event.Version, eventstore.Event{})
	}
	result, err := Copy(t.Context(), source, target, opts)
	require.NoError(t, err)
	require.Equal(t, 4, result.Read)
	requireRestored(t, f, target)
}

func TestADirtyCopyThatIsKilledGoesOnFromEveryPlace(t *testing.T) {
	for _, remedies := range [][]Remedy{{KeepBytes, Rename}, {Park}, {Rename, Skip}} {
		for _, kept := range []bool{true, false} {
			for left := range 60 {
				f, log := dirty(), memory.NewLog()
				source := openFilled(t, f)
				opts := &CopyOptions{OnRefused: remedies}
				if kept {
					opts.Checkpoints = log.Open(nil).Records().Checkpoints
				}
				killed := openFilled(t, struct {
					*stopping
					limits
				}{&stopping{Backend: log.Open(nil), left: left}, limits{}})
				_, err := Copy(t.Context(), source, killed, opts)
				if err == nil {
					break
				}
				require.ErrorIs(t, err, errKilled)
				target := openFilled(t, strict{log.Open(nil), nil})
				_, err = Copy(t.Context(), source, target, opts)
				require.NoError(t, err, "%v, killed after %d", remedies, left)
				requireRestored(t, f, target)
			}
		}
	}
}

// limits are strict's, for another backend.
type limits struct{}

func (limits) Capabilities() eventstore.Capabilities {
	return strict{Backend: memory.New()}.Capabilities()
}

// Without its place in the checkpoints a copy of streams that were changed is repeated
// from the beginning, event by event.
func TestADirtyCopyThatIsRepeatedStoresNothingTwice(t *testing.T) {
	for _, remedies := range [][]Remedy{{KeepBytes, Rename}, {Park}, {Skip}, {Park, Skip}} {
		f, target := dirty(), openFilled(t, strict{memory.New(), nil})
		source := openFilled(t, f)
		_, err := Copy(t.Context(), source, target, &CopyOptions{OnRefused: remedies})
		require.NoError(t, err)
		if len(remedies) == 2 && remedies[0] == Park {
			remedies = []Remedy{Skip} // what stands apart stays as it is
		}
		w := newWriter(target, remedies)
		err = pipe(t.Context(), records(source.ReadAll(t.Context(), eventstore.ReadAllOptions{}), cloudevents.Source(f.id)), w, func() error { return nil })
		require.NoError(t, err)
		require.Equal(t, Result{Read: len(f.events), Duplicates: len(f.events)}, w.result, "%v", remedies)
		requireRestored(t, f, target)
	}
}

func TestACopyWithoutARemedyStopsAndSaysWhatHelps(t *testing.T) {
	names := []Remedy{Rename, Park, Skip}
	bytes := []Remedy{KeepBytes, Park, Skip}
	for name, test := range map[string]struct {
		stream string
		event  eventstore.Event
		tried  []Remedy
		helps  []Remedy
	}{
		"empty JSON":                      {"s", eventstore.Event{Data: []byte{}}, nil, bytes},
		"empty JSON, by another name":     {"s", eventstore.Event{Data: []byte{}}, []Remedy{Rename}, bytes},
		"a control character":             {"s\t", eventstore.Event{}, nil, names},
		"a control character, as bytes":   {"s\t", eventstore.Event{}, []Remedy{KeepBytes}, names},
		"an empty key":                    {"s", eventstore.Event{Metadata: map[string]string{"": "1"}}, nil, names},
		"a reserved name":                 {"switchyard:x", eventstore.Event{}, nil, names},
		"an ID of another event":          {"s", eventstore.Event{ID: uuid.MustParse("01890a5d-ac96-774b-bcce-b302099a8057")}, nil, names},
		"a type with a control":           {"s", eventstore.Event{Type: "\x7f"}, nil, names},
		"more than an event may have":     {"s", eventstore.Event{Data: []byte(`"` + strings.Repeat("x", 3<<20) + `"`)}, nil, []Remedy{Skip}},
		"more than fits, which is parked": {"s", eventstore.Event{Data: []byte(`"` + strings.Repeat("x", 3<<20) + `"`)}, []Remedy{Park}, []Remedy{Skip}},
	} {
		t.Run(name, func(t *testing.T) {
			f := &filled{Backend: memory.New(), id: uuid.New()}
			f.add("s", 1, eventstore.Event{ID: uuid.MustParse("01890a5d-ac96-774b-bcce-b302099a8057")})
			version := uint64(1)
			if test.stream == "s" {
				version = 2
			}
			f.add(test.stream, version, test.event)
			target := openFilled(t, small{memory.New()})
			_, err := Copy(t.Context(), openFilled(t, f), target, &CopyOptions{OnRefused: test.tried})
			var refused *RefusedError
			require.ErrorAs(t, err, &refused)
			require.Equal(t, test.helps, refused.Helps)
			require.ErrorContains(t, err, fmt.Sprintf("event at version %d of stream %q", version, test.stream))
			require.ErrorContains(t, err, "run it again with --on-refused ")
			require.NotContains(t, err.Error(), "are missing")
			require.Len(t, all(t, target), 1, "what is before it is stored")

			_, err = Copy(t.Context(), openFilled(t, f), target, &CopyOptions{OnRefused: append(test.tried, test.helps[0])})
			require.NoError(t, err, "what the error says helps")
			requireRestored(t, f, target)
		})
	}
}

func TestATimeThatTheTargetCannotHoldIsTheNearestOne(t *testing.T) {
	f := &filled{Backend: memory.New(), id: uuid.New()}
	f.add("s", 1, eventstore.Event{})
	f.events[0].RecordedAt = time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)
	target := openFilled(t, since1970{memory.New()})
	_, err := Copy(t.Context(), openFilled(t, f), target, nil)
	require.ErrorIs(t, err, eventstore.ErrInvalid)
	_, err = Copy(t.Context(), openFilled(t, f), target, &CopyOptions{OnRefused: []Remedy{KeepBytes}})
	require.NoError(t, err)
	event := all(t, target)[0]
	require.Equal(t, time.Unix(0, 0).UTC(), event.RecordedAt)
	require.Equal(t, f.events[0].RecordedAt, Restore(event, cloudevents.Source(f.id)).RecordedAt)
}

func TestAnEventOfTheTargetThatOnlyLooksChangedIsForeign(t *testing.T) {
	f := dirty()
	source := openFilled(t, f)
	for name, spoil := range map[string]func(event *eventstore.Event){
		"other data":     func(e *eventstore.Event) { e.Data = []byte("1") },
		"other metadata": func(e *eventstore.Event) { e.Metadata = maps.Clone(e.Metadata); e.Metadata["x"] = "y" },
		"no original":    func(e *eventstore.Event) { e.Metadata = nil },
	} {
		t.Run(name, func(t *testing.T) {
			good, bad := openFilled(t, strict{memory.New(), nil}), openFilled(t, strict{memory.New(), nil})
			_, err := Copy(t.Context(), source, good, &CopyOptions{OnRefused: []Remedy{KeepBytes, Rename}})
			require.NoError(t, err)
			for _, event := range all(t, good)[:3] {
				if event.Version == 2 {
					spoil(&event.Event)
				}
				_, err := bad.Append(t.Context(), event.Stream, eventstore.Any(), event.Event)
				require.NoError(t, err)
			}
			_, err = Copy(t.Context(), source, bad, &CopyOptions{OnRefused: []Remedy{KeepBytes, Rename}})
			require.ErrorIs(t, err, ErrForeign)
		})
	}
}

func TestASkippedEventIsComparedByItsDigest(t *testing.T) {
	f := dirty()
	target := openFilled(t, strict{memory.New(), nil})
	_, err := Copy(t.Context(), openFilled(t, f), target, &CopyOptions{OnRefused: []Remedy{Skip}})
	require.NoError(t, err)
	f.events[4].Data = []byte("\xef\xbb\xbf[]")
	_, err = Copy(t.Context(), openFilled(t, f), target, nil)
	var foreign *ForeignError
	require.ErrorAs(t, err, &foreign)
	require.Equal(t, "content", foreign.Field)
}

func TestAReportListsTheFirstThousandDecisions(t *testing.T) {
	f := &filled{Backend: memory.New(), id: uuid.New()}
	for i := range maxDecisions + 5 {
		f.add(fmt.Sprintf("s-%d", i), 1, eventstore.Event{Data: []byte{}})
	}
	result, err := Copy(t.Context(), openFilled(t, f), openFilled(t, memory.New()), &CopyOptions{OnRefused: []Remedy{KeepBytes}})
	require.NoError(t, err)
	require.Equal(t, maxDecisions+5, result.Refused.KeptBytes)
	require.Len(t, result.Refused.Decisions, maxDecisions)
	require.Equal(t, 5, result.Refused.Unlisted)
}

// Versions that are given to lines without any are right only as long as nobody else
// appends to the stream.
func TestAnImportWithoutVersionsGoesOnBesideOtherWriters(t *testing.T) {
	store := openFilled(t, strict{memory.New(), func(caps *eventstore.Capabilities) { caps.IdempotencyWindow = 2 }})
	var text strings.Builder
	for i := range 2500 {
		fmt.Fprintf(&text, `{"specversion":"1.0","id":"%s","type":"T","subject":"s","data":%d}`+"\n", uuid.New(), i)
	}
	others := 0
	result, err := Import(t.Context(), store, strings.NewReader(text.String()), &ImportOptions{Progress: func(Progress) {
		others++
		_, err := store.Append(t.Context(), "s", eventstore.Any(), eventstore.Event{Type: "Other", Data: []byte("1")})
		require.NoError(t, err)
	}})
	require.NoError(t, err)
	require.Equal(t, Result{Read: 2500, Stored: 2500}, result)
	result, err = Import(t.Context(), store, strings.NewReader(text.String()), nil)
	require.NoError(t, err)
	require.Equal(t, Result{Read: 2500, Duplicates: 2500}, result)
	require.Len(t, all(t, store), 2500+others)
}

func TestTwoImportsOfOneTextAtOnceStoreItOnce(t *testing.T) {
	store := openFilled(t, forgetful{memory.New()})
	var text strings.Builder
	for i := range 1200 {
		fmt.Fprintf(&text, `{"specversion":"1.0","id":"%s","type":"T","subject":"s","data":%d}`+"\n", uuid.New(), i)
	}
	first := true
	result, err := Import(t.Context(), store, strings.NewReader(text.String()), &ImportOptions{Progress: func(Progress) {
		if first {
			first = false
			_, err := Import(t.Context(), store, strings.NewReader(text.String()), nil)
			require.NoError(t, err)
			_, err = store.Append(t.Context(), "s", eventstore.Exactly(1200), eventstore.Event{Type: "Other", Data: []byte("1")})
			require.NoError(t, err)
		}
	}})
	require.NoError(t, err)
	require.Equal(t, Result{Read: 1200, Stored: 1000, Duplicates: 200}, result)
	require.Len(t, all(t, store), 1201)
}

func TestACopyFollowsADirtySource(t *testing.T) {
	f := dirty()
	ctx, cancel := context.WithCancel(t.Context())
	target := openFilled(t, strict{memory.New(), nil})
	_, err := Copy(ctx, openFilled(t, f), target, &CopyOptions{
		Follow: true, OnRefused: []Remedy{Park}, CaughtUp: func(r Result) {
			require.Equal(t, 15, r.Refused.Parked)
			cancel()
		},
	})
	require.ErrorIs(t, err, context.Canceled)
	requireRestored(t, f, target)
}

// A store that was restored from a backup keeps its identity.
func TestACopyOfASourceThatWasRestoredIsRefusedWithTheReason(t *testing.T) {
	id := uuid.New()
	log := memory.NewLogWithID(id)
	fill(t, newStore(t, log.Open(nil)), 2, 6)
	target := memory.New()
	to, opts := newStore(t, target), &CopyOptions{Checkpoints: target.Records().Checkpoints}
	_, err := Copy(t.Context(), newStore(t, log.Open(nil)), to, opts)
	require.NoError(t, err)
	for name, others := range map[string]int{"an older backup": 0, "a backup that lives on": 2, "a backup that has grown past the copy": 9} {
		t.Run(name, func(t *testing.T) {
			restored := newStore(t, memory.NewLogWithID(id).Open(nil))
			fill(t, restored, 2, 3)
			for range others {
				_, err := restored.Append(t.Context(), "counter-1", eventstore.Any(), eventstore.Event{Type: "T", Data: []byte("1")})
				require.NoError(t, err)
			}
			result, err := Copy(t.Context(), restored, to, opts)
			var foreign *ForeignError
			require.ErrorAs(t, err, &foreign)
			require.False(t, foreign.Lost.IsZero())
			require.ErrorContains(t, err, "it was restored from a backup or replaced")
			require.Zero(t, result.Stored)
		})
	}
}

func TestRemediesAreReadAsTheyAreWritten(t *testing.T) {
	for text, want := range map[string][]Remedy{"stop": nil, "park": {Park}, "rename, keep-bytes,skip": {Rename, KeepBytes, Skip}} {
		got, err := ParseRemedies(text)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	for _, text := range []string{"", "stop,park", "park,park", "renumber", "drop"} {
		_, err := ParseRemedies(text)
		require.ErrorContains(t, err, "separated by commas", text)
	}
}

func TestAnExportOfADirtyStoreIsImportedWithTheSameRemedies(t *testing.T) {
	for _, remedies := range [][]Remedy{{KeepBytes, Rename}, {Park}, {Rename, Skip}} {
		f := dirty()
		for i := range f.events {
			delete(f.events[i].Metadata, "latin") // which no line can hold
		}
		text := export(t, openFilled(t, f))
		_, err := Import(t.Context(), openFilled(t, strict{memory.New(), nil}), strings.NewReader(text), nil)
		var refused *RefusedError
		require.ErrorAs(t, err, &refused)
		require.ErrorContains(t, err, "line 2: ")

		target := openFilled(t, strict{memory.New(), nil})
		for _, want := range []int{len(f.events), 0} {
			result, err := Import(t.Context(), target, strings.NewReader(text), &ImportOptions{OnRefused: remedies})
			require.NoError(t, err)
			require.Equal(t, want, result.Stored+result.Refused.Parked+result.Refused.Skipped)
			require.Equal(t, len(f.events)-want, result.Duplicates)
			requireRestored(t, f, target)
		}
	}
}

func TestALineThatIsNoEventIsParkedOrSkipped(t *testing.T) {
	good := `{"specversion":"1.0","id":"` + uuid.NewString() + `","type":"T","subject":"s","data":1}` + "\n"
	surrogate := `{"specversion":"1.0","id":"` + uuid.NewString() + `","type":"T","subject":"s","data":"\ud800"}` + "\n"
	text := "hello\n" + good + surrogate
	_, err := Import(t.Context(), newStore(t, nil), strings.NewReader(text), nil)
	require.ErrorContains(t, err, "line 1: it is not JSON")
	require.ErrorContains(t, err, "run it again with --on-refused park or skip")

	for _, remedy := range []Remedy{Park, Skip} {
		store := newStore(t, nil)
		for range 2 {
			_, err := Import(t.Context(), store, strings.NewReader(text), &ImportOptions{OnRefused: []Remedy{remedy}})
			require.NoError(t, err)
			events := all(t, store)
			require.Len(t, events, 3)
			require.Equal(t, RefusedStream(""), events[0].Stream)
			if remedy == Park {
				require.Equal(t, "hello", string(Restore(events[0], "").Data))
				require.Equal(t, strings.TrimSpace(surrogate), string(Restore(events[2], "").Data))
			}
		}
		_, err := Import(t.Context(), store, strings.NewReader(text+good[:40]), &ImportOptions{OnRefused: []Remedy{remedy}})
		require.ErrorContains(t, err, "line 4: it is cut off", "what is missing is not refused")
	}
}

func TestALineWhoseIDIsNoUUIDGetsOne(t *testing.T) {
	text := `{"specversion":"1.0","id":"A234-1234","source":"/shop","type":"T","subject":"s","data":1}` + "\n"
	store := newStore(t, nil)
	_, err := Import(t.Context(), store, strings.NewReader(text), nil)
	require.ErrorContains(t, err, `id "A234-1234" is not a UUID`)
	require.ErrorContains(t, err, "run it again with --on-refused rename, park or skip")
	for _, want := range []Result{{Read: 1, Stored: 1}, {Read: 1, Duplicates: 1}} {
		result, err := Import(t.Context(), store, strings.NewReader(text), &ImportOptions{OnRefused: []Remedy{Rename}})
		require.NoError(t, err)
		require.Equal(t, want.Stored, result.Refused.Renamed)
		for _, decision := range result.Refused.Decisions {
			require.Equal(t, 1, decision.Line, "it is where the event is to be looked for")
		}
		result.Refused = Refusals{}
		require.Equal(t, want, result)
	}
	event := all(t, store)[0]
	require.Equal(t, "A234-1234", event.Metadata["id"])
	require.Equal(t, []Remedy{Rename}, Restore(event, "/shop").Remedies)
}
