package adapter_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventstore/adapter"
)

func TestAPageIsGivenRoomTwiceAtMost(t *testing.T) {
	for _, test := range []struct {
		name          string
		limit, events int
		grown, most   int // how often, and for how many events at most, without the allocator's rounding
	}{
		{"an empty page", 100, 0, 0, 0},
		{"the page of one event", 1, 1, 1, 1},
		{"a few events of many", 1000, 1, 1, 16},
		{"as many as there is room for first", 1000, 16, 1, 16},
		{"one more than that", 1000, 17, 2, 1000},
		{"a full page", 1000, 1000, 2, 1000},
		{"a page whose limit is no bound", 1_000_000, 8208, 2, 8208},
		{"more events than the limit, for which append makes room", 16, 18, 2, 36},
	} {
		t.Run(test.name, func(t *testing.T) {
			var events []eventstore.RecordedEvent
			grown := 0
			for version := range test.events {
				had := cap(events)
				events = append(adapter.GrowPage(events, test.limit), eventstore.RecordedEvent{Version: uint64(version)})
				if cap(events) != had {
					grown++
				}
			}
			require.LessOrEqual(t, grown, test.grown)
			require.LessOrEqual(t, cap(events), test.most+test.most/4)
			for version, event := range events {
				require.Equal(t, uint64(version), event.Version)
			}
		})
	}
}

// What filling a page costs, with GrowPage and without it.
func BenchmarkPage(b *testing.B) {
	for _, n := range []int{1, 16, 512, 8192} {
		for name, grow := range map[string]func([]eventstore.RecordedEvent, int) []eventstore.RecordedEvent{
			"grown":    adapter.GrowPage,
			"appended": func(events []eventstore.RecordedEvent, _ int) []eventstore.RecordedEvent { return events },
		} {
			b.Run(fmt.Sprintf("%d/%s", n, name), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					var events []eventstore.RecordedEvent
					for range n {
						events = append(grow(events, n), eventstore.RecordedEvent{})
					}
				}
			})
		}
	}
}
