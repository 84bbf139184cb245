package transfer

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/cloudevents"
)

func TestEventsThatAreAlikeInTwoStreamsAreParkedAsTwo(t *testing.T) {
	for _, remedies := range [][]Remedy{{Park}, {Skip}} {
		f := &filled{Backend: memory.New(), id: uuid.New()}
		alike := eventstore.Event{ID: uuid.New(), Data: []byte("no JSON")}
		f.add("a", 1, alike)
		f.add("b", 1, alike)
		target := openFilled(t, strict{memory.New(), nil})
		_, err := Copy(t.Context(), openFilled(t, f), target, &CopyOptions{OnRefused: remedies})
		require.NoError(t, err)
		requireRestored(t, f, target)
	}
}

func TestAnOriginalOfItsOwnComesBackFromAChangedEvent(t *testing.T) {
	f := &filled{Backend: memory.New(), id: uuid.New()}
	f.add("with\ncontrol", 1, eventstore.Event{Metadata: map[string]string{originalKey: "from an earlier copy", "k": "v"}})
	f.add(strings.Repeat("long", 100), 1, eventstore.Event{Data: []byte("no JSON")})
	target := openFilled(t, strict{memory.New(), nil})
	_, err := Copy(t.Context(), openFilled(t, f), target, &CopyOptions{OnRefused: []Remedy{Rename, KeepBytes}})
	require.NoError(t, err)
	requireRestored(t, f, target)
}

func TestAPlaceWithAnotherEventsIDIsNotTranslated(t *testing.T) {
	for _, remedies := range [][]Remedy{{KeepBytes, Rename}, {Park}} {
		f := dirty()
		target := openFilled(t, strict{memory.New(), nil})
		_, err := Copy(t.Context(), openFilled(t, f), target, &CopyOptions{OnRefused: remedies})
		require.NoError(t, err)
		for _, event := range f.events {
			place := event.Place()
			place.ID = uuid.New()
			_, found, err := Translate(t.Context(), target, cloudevents.Source(f.id), place)
			require.NoError(t, err)
			require.False(t, found, "%v", place)
		}
	}
}

func TestATimeThatJSONCannotSayDoesNotLoseTheOriginal(t *testing.T) {
	f := &filled{Backend: memory.New(), id: uuid.New()}
	f.add("with\ncontrol", 1, eventstore.Event{})
	f.events[0].RecordedAt = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
	target := openFilled(t, strict{memory.New(), nil})
	_, err := Copy(t.Context(), openFilled(t, f), target, &CopyOptions{OnRefused: []Remedy{Park}})
	require.NoError(t, err)
	requireRestored(t, f, target)
}

// jsonb is a memory store that keeps JSON as PostgreSQL's jsonb, which holds no NUL.
type jsonb struct{ strict }

func (j jsonb) Append(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
	for _, part := range req.Parts {
		for _, event := range part.Events {
			if event.IsJSON() && bytes.Contains(event.Data, []byte(`\u0000`)) {
				return nil, &eventstore.InvalidError{Field: "event data", Reason: "it holds NUL"}
			}
		}
	}
	return j.strict.Append(ctx, req)
}

func TestAnEventWithNULInItsNamesStandsApartWhereJSONHoldsNone(t *testing.T) {
	for _, remedies := range [][]Remedy{{Park}, {Skip}, {KeepBytes, Park}} {
		f := &filled{Backend: memory.New(), id: uuid.New()}
		f.add("nul\x00name", 1, eventstore.Event{Type: "T\x00", Metadata: map[string]string{"a\x00b": "c\x00d"}})
		f.add("s", 1, eventstore.Event{Data: []byte(`"\u0000"`)})
		target := openFilled(t, jsonb{strict{memory.New(), nil}})
		_, err := Copy(t.Context(), openFilled(t, f), target, &CopyOptions{OnRefused: remedies})
		require.NoError(t, err, "%v", remedies)
		requireRestored(t, f, target)
	}
}

// What stands for an event apart has no other form, but for less of it.
func TestTheAdviceForWhatIsRefusedApartIsWhatHelps(t *testing.T) {
	for _, test := range []struct{ tried, helps []Remedy }{
		{[]Remedy{Park}, []Remedy{Skip}},
		{[]Remedy{Skip}, nil},
		{[]Remedy{Park, Skip}, nil},
	} {
		f := &filled{Backend: memory.New(), id: uuid.New()}
		f.add("with\ncontrol", 1, eventstore.Event{})
		_, err := Copy(t.Context(), openFilled(t, f), openFilled(t, noneApart{strict{memory.New(), nil}}), &CopyOptions{OnRefused: test.tried})
		var refused *RefusedError
		require.ErrorAs(t, err, &refused)
		require.ElementsMatch(t, test.helps, refused.Helps, "%v", test.tried)
	}
}

// noneApart takes no event apart.
type noneApart struct{ strict }

func (n noneApart) Append(ctx context.Context, req eventstore.AppendRequest) ([]eventstore.PartResult, error) {
	if strings.HasPrefix(req.Parts[0].Stream, refusedPrefix) {
		return nil, &eventstore.InvalidError{Field: "event data", Reason: "it does not please"}
	}
	return n.strict.Append(ctx, req)
}

// asJSON is a store that keeps JSON and not its bytes.
type asJSON struct{ *filled }

func (a asJSON) Capabilities() eventstore.Capabilities {
	caps := a.filled.Capabilities()
	caps.ExactData = eventstore.No("this double keeps JSON")
	return caps
}

// Whether data is compared as JSON depends on the two stores that are compared, and not on
// the one that took the events.
func TestASkippedEventIsComparedByBytesAndAsJSON(t *testing.T) {
	f := &filled{Backend: memory.New(), id: uuid.New()}
	f.add("with\ncontrol", 1, eventstore.Event{Data: []byte(`{"a": 1.0}`)})
	source := openFilled(t, asJSON{f})
	target := openFilled(t, strict{memory.New(), nil})
	text := export(t, source)
	for range 2 {
		_, err := Import(t.Context(), target, strings.NewReader(text), &ImportOptions{OnRefused: []Remedy{Skip}})
		require.NoError(t, err)
		requireRestored(t, f, target)
	}
	for data, equal := range map[string]bool{`{"a": 1.0}`: true, `{"a":1}`: true, `{"a": 2}`: false} {
		f.events[0].Data = []byte(data)
		report, err := Verify(t.Context(), source, target, nil)
		require.NoError(t, err)
		require.Equal(t, equal, report.Equal(), data)
		report, err = Verify(t.Context(), openFilled(t, f), target, nil)
		require.NoError(t, err)
		require.Equal(t, data == `{"a": 1.0}`, report.Equal(), data)
		_, err = Copy(t.Context(), source, target, nil)
		require.Equal(t, equal, err == nil, "%v", err)
	}
}
