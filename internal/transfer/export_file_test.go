package transfer

import (
	"context"
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
