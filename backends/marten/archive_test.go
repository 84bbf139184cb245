package marten_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/marten"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// callEmpty is a call of Marten's function without events, which leaves a stream's row
// behind it.
const callEmpty = `select mt_quick_append_events(stream => $1, stream_type => null, tenantid => '*DEFAULT*', event_ids => '{}'::uuid[],
	event_types => '{}'::varchar[], dotnet_types => '{}'::varchar[], bodies => '{}'::jsonb[], bdatas => null,
	causation_ids => null, correlation_ids => null, headers => null, user_names => null, expected_version => null)`

func TestAStreamThatHasARowAndNoEventIsBegunLikeOneThatHasNone(t *testing.T) {
	for _, mode := range []marten.AppendMode{marten.Quick, marten.Rich} {
		for name, expected := range map[string]eventstore.ExpectedVersion{"no stream": eventstore.NoStream(), "exactly 0": eventstore.Exactly(0), "any": eventstore.Any()} {
			for _, n := range []int{1, 2} {
				t.Run(fmt.Sprintf("%s, %s, %d events", mode, name, n), func(t *testing.T) {
					pool := newTables(t, marten.Creation{})
					store := openStore(t, pool, &marten.Options{Append: mode, Grace: map[marten.AppendMode]time.Duration{marten.Rich: 50 * time.Millisecond}[mode]})
					var working sync.WaitGroup
					for i := range 8 { // some of which travel together
						stream := fmt.Sprintf("order-%d", i)
						_, err := pool.Exec(t.Context(), callEmpty, stream)
						require.NoError(t, err)
						events := []eventstore.Event{event("happened", `{}`), event("happened", `{}`)}[:n]
						working.Go(func() {
							for _, duplicate := range []bool{false, true} {
								result, err := store.Append(t.Context(), stream, expected, events...)
								if err != nil || result.Duplicate != duplicate || result.Version != uint64(n) {
									t.Errorf("%s: %+v, %v", stream, result, err)
								}
							}
						})
					}
					working.Wait()
					require.NoError(t, sound(t.Context(), pool))
				})
			}
		}
	}
}

// Marten's function appends to a stream that is archived while it works, and then its last
// event alone is shown to who leaves archived ones out.
func TestNoAppendOfOursLandsInAStreamThatWeArchiveMeanwhile(t *testing.T) {
	pool := newTables(t, marten.Creation{})
	backend, err := marten.Open(t.Context(), pool, &marten.Options{Append: marten.Quick})
	require.NoError(t, err)
	store, err := eventstore.New(backend, nil)
	require.NoError(t, err)
	defer store.Close()
	for i := range 150 {
		stream := fmt.Sprintf("order-%d", i)
		_, err := store.Append(t.Context(), stream, eventstore.Any(), event("happened", `{}`))
		require.NoError(t, err)
		var working sync.WaitGroup
		working.Go(func() {
			for range 6 {
				if _, err := store.Append(context.Background(), stream, eventstore.Any(), event("happened", `{}`)); err != nil {
					return // it is archived
				}
			}
		})
		working.Go(func() {
			if err := backend.ArchiveStream(t.Context(), stream); err != nil {
				t.Error(err)
			}
		})
		working.Wait()
	}
	var shown int
	require.NoError(t, pool.QueryRow(t.Context(), `select count(*) from mt_events e join mt_streams s on s.id = e.stream_id where s.is_archived and not e.is_archived`).Scan(&shown))
	require.Zero(t, shown)
}
