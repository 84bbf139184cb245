package kafka_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/switchyard-dev/switchyard/backends/kafka"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// Checks have no events, and names that fill a record all the same: appends within the
// portable limits must not be grouped into what the topic refuses.
func TestAppendsWithManyChecksAreNotRefusedForTheirCompany(t *testing.T) {
	p := newPlace(t, broker.Server(t))
	_, store := p.open(t, kafka.Options{})
	var appends errgroup.Group
	for i := range 400 {
		appends.Go(func() error {
			parts := []eventstore.StreamAppend{{Stream: fmt.Sprint("s-", i), Expected: eventstore.Any(), Events: []eventstore.Event{happened()}}}
			for j := range 63 {
				name := fmt.Sprintf("check-%d-%d-", i, j)
				parts = append(parts, eventstore.StreamAppend{Stream: name + strings.Repeat("x", 255-len(name)), Expected: eventstore.NoStream()})
			}
			_, err := store.AppendStreams(t.Context(), parts...)
			return err
		})
	}
	require.NoError(t, appends.Wait())
}

func TestAPasswordAmongTheBrokersIsRefusedAndNotShown(t *testing.T) {
	for _, address := range []string{"kafka://me:s3cret@b1:9092", "me:s3cret@b1:9092", "me:s3cret@b1"} {
		_, err := kafka.Open(t.Context(), []string{address}, "orders", nil)
		require.ErrorIs(t, err, eventstore.ErrInvalid)
		require.NotContains(t, err.Error(), "s3cret")
	}
}
