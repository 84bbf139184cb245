//go:build unix

package esdb_test

import (
	"context"
	"net/url"
	"os"
	"testing"

	"github.com/switchyard-dev/switchyard/backends/esdb"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/ownertest"
)

func TestMain(m *testing.M) {
	if ownertest.Part() == "" {
		os.Exit(m.Run())
	}
	open := func(ctx context.Context, u *url.URL) (eventstore.Backend, error) { return esdb.OpenURL(ctx, u) }
	os.Exit(ownertest.Play(open, nil))
}

// An owner that is killed, stopped and woken, or cut off is replaced by the next within
// the lease: every event is handled, in the order, and what is handled twice is what an
// owner had not saved yet.
func TestOwnersThatAreKilledPausedOrCutOffAreReplaced(t *testing.T) {
	srv := startServer(t)
	ownertest.TakeOvers(t, openStore(t, srv.URL(), nil), srv.URL())
}
