package memorytest_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/backends/memory/memorytest"
	"github.com/switchyard-dev/switchyard/eventstore"
)

func TestAPollingHandleHearsOfNothingBetweenItsPolls(t *testing.T) {
	for name, writer := range map[string]func(*memory.Log, eventstore.Backend) eventstore.Backend{
		"what another handle appends": func(log *memory.Log, _ eventstore.Backend) eventstore.Backend { return log.Open(nil) },
		"what it appends itself":      func(_ *memory.Log, polling eventstore.Backend) eventstore.Backend { return polling },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := memory.NewLog()
				polling := memorytest.Polling(log, time.Hour)
				reader, err := eventstore.New(polling, nil)
				require.NoError(t, err)
				store, err := eventstore.New(writer(log, polling), nil)
				require.NoError(t, err)
				started := time.Now()
				time.AfterFunc(time.Minute, func() {
					_, err := store.Append(t.Context(), "order-1", eventstore.NoStream(), eventstore.Event{Type: "Placed", Data: []byte("{}")})
					if err != nil {
						t.Error(err)
					}
				})
				for message, err := range reader.Subscribe(t.Context(), eventstore.SubscribeOptions{}) {
					require.NoError(t, err)
					if message.Kind == eventstore.MessageEvent {
						break
					}
				}
				require.Equal(t, time.Hour, time.Since(started))
			})
		})
	}
}
