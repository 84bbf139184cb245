package transfer

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
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
	long := lineStart + strings.Repeat("x", 200<<10)
	for name, content := range map[string]string{
		"a foreign event without a line break":          foreignLine,
		"the beginning of a foreign export":             foreign[:len(lineStart)+75],
		"foreign events":                                foreign,
		"a CloudEvent of another program":               lineStart + uuid.NewString() + `","source":"/shop","type":"T","subject":"s","data":1}`,
		"an export, and a foreign line without a break": own + foreignLine,
		"an export, and something else":                 own + "notes",
		"a part of an export, and something else":       ownLine + "\nnotes",
		"a long line":                                   long,
		"an export, and a long line":                    own + long,
		"one byte":                                      "x",
		"a line break":                                  "\n",
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
		after, err := exportFile(t.Context(), t, empty, lineStart)
		require.ErrorIs(t, err, ErrForeignFile)
		require.Len(t, after, len(lineStart))
	})
}
