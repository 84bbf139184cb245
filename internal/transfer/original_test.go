package transfer

import (
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
