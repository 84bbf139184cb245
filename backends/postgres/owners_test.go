package postgres_test

import (
	"testing"

	"github.com/switchyard-dev/switchyard/internal/ownertest"
)

// An owner that is killed, stopped and woken, or cut off is replaced by the next within
// the lease: every event is handled, in the order, and what is handled twice is what an
// owner had not saved yet.
func TestOwnersThatAreKilledPausedOrCutOffAreReplaced(t *testing.T) {
	t.Parallel()
	rawURL := server.Database(t)
	store := newStore(t, openBackend(t, openPool(t, rawURL), nil), nil)
	ownertest.TakeOvers(t, store, rawURL+"&connect_timeout=2")
}
