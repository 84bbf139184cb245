package postgres_test

import (
	"context"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// An older copy of a store's events is put in place, in one transaction, under a Run
// that has handled more. Whatever is appended next, Run ends and says why.
func TestARestoreUnderALiveRunEndsIt(t *testing.T) {
	for _, test := range []struct {
		name string
		more int // events that are appended in the restore's own transaction
		want error
	}{
		{"its head is behind", 0, eventstore.ErrCheckpointAhead},
		{"it has grown, and is still behind", 50, eventstore.ErrCheckpointAhead},
		{"it has grown past the checkpoint", 150, eventstore.ErrForeignCheckpoint},
	} {
		t.Run(test.name, func(t *testing.T) {
			store, _, pool := openStore(t)
			add := func(n int) {
				for range n {
					_, err := store.Append(t.Context(), "order-1", eventstore.Any(), event("Placed", "{}"))
					require.NoError(t, err)
				}
			}
			add(20)
			mustExec(t, pool, `create table copied as select * from switchyard.events`)
			add(100)
			var handled atomic.Int64
			ended := make(chan error, 1)
			ctx, cancel := context.WithTimeout(t.Context(), 3*soon)
			defer cancel()
			go func() {
				ended <- store.Run(ctx, eventstore.Subscription{Name: "billing", Handler: func(context.Context, eventstore.RecordedEvent) error {
					handled.Add(1)
					return nil
				}})
			}()
			require.Eventually(t, func() bool { return handled.Load() == 120 }, soon, now)
			mustExec(t, pool,
				`alter table switchyard.events disable trigger immutable`, `truncate switchyard.events`,
				`insert into switchyard.events select * from copied`,
				`insert into switchyard.events select 20 + n, 20 + n, gen_random_uuid(), now(), 'order-1', 'Placed', null, '{}', null
				 from generate_series(1, `+strconv.Itoa(test.more)+`) n`,
				`alter table switchyard.events enable trigger immutable`)
			select {
			case err := <-ended:
				require.ErrorIs(t, err, test.want)
			case <-time.After(soon):
				t.Fatal("Run goes on in silence")
			}
			require.EqualValues(t, 120, handled.Load())
			require.ErrorIs(t, store.Run(ctx, eventstore.Subscription{Name: "billing", Handler: func(context.Context, eventstore.RecordedEvent) error { return nil }}), test.want, "and so does the next one")
		})
	}
}

// A restore that makes the schema anew makes another store under the same name.
func TestASchemaThatIsReplacedUnderALiveRunEndsIt(t *testing.T) {
	pool := openPool(t, server.Database(t))
	inSchema(t, pool, "staging")
	store, _ := inSchema(t, pool, "live")
	_, err := store.Append(t.Context(), "order-1", eventstore.Any(), event("Placed", "{}"))
	require.NoError(t, err)
	var handled atomic.Int64
	ended := make(chan error, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 3*soon)
	defer cancel()
	go func() {
		ended <- store.Run(ctx, eventstore.Subscription{Name: "billing", Handler: func(context.Context, eventstore.RecordedEvent) error {
			handled.Add(1)
			return nil
		}})
	}()
	require.Eventually(t, func() bool { return handled.Load() == 1 }, soon, now)
	swap(t, pool)
	select {
	case err := <-ended:
		definite(t, err, "run")
		require.ErrorContains(t, err, "open it again")
	case <-time.After(soon):
		t.Fatal("Run goes on in silence")
	}
}
