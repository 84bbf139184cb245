package transfer

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/cloudevents"
)

// exportFile exports a store into a file that holds content, and returns what it
// holds afterwards.
func exportFile(ctx context.Context, t *testing.T, store *eventstore.Store, content string) (string, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "export.ndjson")
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	require.NoError(t, err)
	_, exported := ExportFile(ctx, store, file, nil)
	require.NoError(t, file.Close())
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(after), exported
}

func TestAnExportGoesOnAfterEveryPlaceWhereItWasCutOff(t *testing.T) {
	store := newStore(t, nil)
	fill(t, store, 2, 3)
	whole := export(t, store)
	for cut := 0; cut <= len(whole); cut += 1 + cut%17 { // each is synced to disk
		after, err := exportFile(t.Context(), t, store, whole[:cut])
		require.NoError(t, err, cut)
		require.Equal(t, whole, after, cut)
	}
}

func TestAFileThatIsNoExportOfTheStoreIsLeftAlone(t *testing.T) {
	store, empty, other := newStore(t, nil), newStore(t, nil), newStore(t, nil)
	fill(t, store, 2, 3)
	fill(t, other, 1, 2)
	own, foreign := export(t, store), export(t, other)
	foreignLine, _, _ := strings.Cut(foreign, "\n")
	ownLine, _, _ := strings.Cut(own, "\n")
	another := cloudevents.Start + uuid.NewString() + `","source":"/shop","type":"T","subject":"s","data":1}`
	long := cloudevents.Start + strings.Repeat("x", 200<<10)
	for name, content := range map[string]string{
		"a foreign event without a line break":          foreignLine,
		"the beginning of a foreign export":             foreign[:len(cloudevents.Start)+75],
		"foreign events":                                foreign,
		"a CloudEvent of another program":               another,
		"an export, and a foreign line without a break": own + foreignLine,
		"an export, and something else":                 own + "notes",
		"a part of an export, and something else":       ownLine + "\nnotes",
		"an export, and a long line":                    own + long,
		"a long line":                                   long,
		"a line break":                                  "\n",
		"one byte":                                      "x",
	} {
		t.Run(name, func(t *testing.T) {
			for _, from := range []*eventstore.Store{store, empty} {
				after, err := exportFile(t.Context(), t, from, content)
				require.ErrorIs(t, err, ErrForeignFile)
				require.Equal(t, []byte(content), []byte(after), "it is as it was")
			}
		})
	}
	t.Run("the beginning of any line, from an empty store", func(t *testing.T) {
		after, err := exportFile(t.Context(), t, empty, cloudevents.Start)
		require.ErrorIs(t, err, ErrForeignFile)
		require.Len(t, after, len(cloudevents.Start))
	})
}

func TestAnExportOfAStoreThatWasRestoredIsAnotherStores(t *testing.T) {
	log := memory.NewLog()
	before := newStore(t, log.Open(nil))
	fill(t, before, 1, 3)
	old, _, _ := strings.Cut(export(t, before), "\n")
	restored := newStore(t, otherwise{log.Open(nil)})
	_, err := exportFile(t.Context(), t, restored, old+"\n")
	require.ErrorIs(t, err, ErrForeignFile)
}

// otherwise is a store that holds other events at the positions where another
// copy of it held some.
type otherwise struct{ *memory.Backend }

func (o otherwise) ReadStream(ctx context.Context, req eventstore.ReadStreamRequest) (eventstore.Page, error) {
	page, err := o.Backend.ReadStream(ctx, req)
	for i := range page.Events {
		page.Events[i].ID = uuid.New()
	}
	return page, err
}

func TestAnExportIsContinuedWithTheSameSelectionAlone(t *testing.T) {
	store := newStore(t, nil)
	for _, stream := range []string{"order-1", "cart-1", "order-2"} {
		_, err := store.Append(t.Context(), stream, eventstore.NoStream(), eventstore.Event{Type: "T", Data: []byte("1")})
		require.NoError(t, err)
	}
	first := all(t, store)[0].Position
	orders := func(categories ...string) ExportOptions {
		return ExportOptions{Filter: eventstore.Filter{Categories: categories}}
	}
	for name, test := range map[string]struct {
		before, after ExportOptions
		want          string // in the error; empty where the export goes on
	}{
		"all":                         {ExportOptions{}, ExportOptions{}, ""},
		"a category":                  {orders("order"), orders("order"), ""},
		"categories in another order": {orders("order", "cart"), orders("cart", "order", "cart"), ""},
		"after a position":            {ExportOptions{After: first}, ExportOptions{After: first}, ""},
		"another category":            {orders("cart"), orders("order"), `holds the events of "category=cart", and the events of "category=order" were asked for`},
		"a part of all":               {ExportOptions{}, orders("order"), "holds all events"},
		"all of a part":               {orders("order"), ExportOptions{}, "all events were asked for"},
		"all, of what is after some":  {ExportOptions{After: first}, ExportOptions{}, "all events were asked for"},
		"another type":                {ExportOptions{Filter: eventstore.Filter{Types: []string{"T"}}}, ExportOptions{Filter: eventstore.Filter{Types: []string{"T", "U"}}}, "type=T"},
		"another prefix":              {ExportOptions{Filter: eventstore.Filter{StreamPrefixes: []string{"c"}}}, ExportOptions{Filter: eventstore.Filter{Categories: []string{"c"}}}, "prefix=c"},
	} {
		t.Run(name, func(t *testing.T) {
			file, err := os.Create(filepath.Join(t.TempDir(), "export.ndjson"))
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, file.Close()) })
			_, err = ExportFile(t.Context(), store, file, &test.before)
			require.NoError(t, err)
			before, err := os.ReadFile(file.Name())
			require.NoError(t, err)
			n, err := ExportFile(t.Context(), store, file, &test.after)
			if test.want == "" {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, ErrOtherSelection)
				require.ErrorContains(t, err, test.want)
			}
			require.Zero(t, n)
			after, err := os.ReadFile(file.Name())
			require.NoError(t, err)
			require.Equal(t, string(before), string(after), "it is as it was")
			imported := newStore(t, nil)
			_, err = Import(t.Context(), imported, strings.NewReader(string(before)), nil)
			require.NoError(t, err)
			require.Empty(t, all(t, imported)[0].Metadata, "what part it is, is not the events'")
		})
	}
}

// An export that an older version made of a part does not say so in its lines.
func TestAnExportThatCannotBeOfTheSelectionIsNotContinued(t *testing.T) {
	store := newStore(t, nil)
	fill(t, store, 1, 3)
	file, err := os.Create(filepath.Join(t.TempDir(), "export.ndjson"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, file.Close()) })
	opts := &ExportOptions{Filter: eventstore.Filter{Types: []string{"Other"}}}
	_, err = file.WriteString(strings.ReplaceAll(export(t, store), `"metadata"`, `"switchyardselection":"type=Other","metadata"`))
	require.NoError(t, err)
	_, err = ExportFile(t.Context(), store, file, opts)
	require.ErrorIs(t, err, ErrOtherSelection)
}

// What takes most in a line is text of control characters that is no JSON.
func TestTheLargestEventOfAStoreIsExportedAndImported(t *testing.T) {
	a, b := newStore(t, small{memory.New()}), newStore(t, small{memory.New()})
	for i, event := range []eventstore.Event{
		{Type: "T", ContentType: "text/plain", Data: []byte(strings.Repeat("\x01", 2<<20-100))},
		{Type: "T", ContentType: "application/octet-stream", Data: []byte(strings.Repeat("\xff", 2<<20-100))},
		{Type: "T", ContentType: "text/plain", Data: []byte("x"), Metadata: map[string]string{"k": strings.Repeat("\x01", (2<<20)/6-100)}},
	} {
		_, err := a.Append(t.Context(), "s", eventstore.Exactly(uint64(i)), event)
		require.NoError(t, err)
		text := export(t, a)
		after, err := exportFile(t.Context(), t, a, text)
		require.NoError(t, err, "the file can be continued")
		require.Len(t, after, len(text))
		_, err = Import(t.Context(), b, strings.NewReader(text), nil)
		require.NoError(t, err)
	}
	requireSame(t, a, b)
}

func TestAnExportAfterAPositionThatTheStoreDoesNotHaveIsRefused(t *testing.T) {
	store := newStore(t, nil)
	fill(t, store, 1, 3)
	_, err := Export(t.Context(), store, io.Discard, &ExportOptions{After: eventstore.NewPosition(4, 0)})
	require.ErrorIs(t, err, eventstore.ErrCheckpointAhead)
}
