package eventtest

import (
	"os"
	"testing"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/transfer"
)

// NewStore returns an empty store in memory, which is closed when the test ends.
func NewStore(t testing.TB) *eventstore.Store {
	t.Helper()
	store, err := eventstore.New(memory.New(), nil)
	if err != nil {
		t.Fatalf("open a store in memory: %v", err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return store
}

// Load stores the events of a file that `switchyard export` wrote, at their versions
// and with their IDs and metadata: a stream from production becomes a test. The test
// fails at a line that is no event, with its number.
func Load(t testing.TB, store *eventstore.Store, path string) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatalf("load events: %v", err)
	}
	defer func() { _ = file.Close() }()
	if _, err := transfer.Import(t.Context(), store, file, nil); err != nil {
		t.Fatalf("load events of %s: %v", path, err)
	}
}
