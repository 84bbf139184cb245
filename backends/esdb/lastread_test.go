package esdb

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// A read that a caller makes for himself serves those who wait as well. Its failure does
// not: that may be his context's, and they have contexts of their own.
func TestAReaderWhoLeavesFailsNobodyWhoWaitsWithHim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reads := 0
		s := &cachedStream{stream: "s", timeout: time.Minute, readLast: func(ctx context.Context) (eventstore.Page, error) {
			if reads++; reads == 1 {
				<-ctx.Done()
				return eventstore.Page{}, ctx.Err()
			}
			return eventstore.Page{Events: []eventstore.RecordedEvent{{Stream: "s", Version: 7}}}, nil
		}}
		s.readers.usual = time.Second
		s.readers.awaited = time.Now().Add(10 * time.Millisecond) // until then an append may come
		waiting := make(chan lastRead, 1)
		go func() {
			page, err := s.lastEvent(t.Context())
			waiting <- lastRead{page: page, err: err}
		}()
		<-time.After(20 * time.Millisecond) // none came, so the next reader does not wait for it
		leaving, leave := context.WithTimeout(t.Context(), time.Second)
		defer leave()
		_, err := s.lastEvent(leaving)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		answer := <-waiting
		require.NoError(t, answer.err)
		require.Equal(t, uint64(7), answer.page.Events[0].Version)
		require.Equal(t, 2, reads)
	})
}
