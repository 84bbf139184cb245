package main

import (
	"context"
	"fmt"
	"time"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// lagCounted is how many events behind a checkpoint are counted at most: positions
// have gaps, so a lag is had by reading alone.
const lagCounted = 10_000

// lag is what is stored after a place. It counts every event, also those that the
// subscription's filter passes over, for nobody but the subscription knows that.
type lag struct {
	Events int  `json:"lagEvents"`
	More   bool `json:"lagIsMore,omitempty"` // there are more than that
	// Seconds is how long ago the first of them was recorded, by this machine's clock.
	Seconds float64 `json:"lagSeconds"`
}

func (l lag) String() string {
	if l.Events == 0 {
		return "none"
	}
	age := time.Duration(l.Seconds * float64(time.Second)).Round(time.Second)
	if l.More {
		return fmt.Sprintf("more than %s events, the oldest recorded %s ago", grouped(l.Events), age)
	}
	return fmt.Sprintf("%s, the oldest recorded %s ago", count(l.Events, "event"), age)
}

func since(at time.Time) float64 { return max(0, time.Since(at).Seconds()) }

// lags measures how far each of several positions is behind the last event, by one
// read of the log's end.
func lags(ctx context.Context, store *eventstore.Store, after []eventstore.Position) ([]lag, error) {
	if len(after) == 0 {
		return nil, nil
	}
	lowest := after[0]
	for _, position := range after {
		if position.Before(lowest) {
			lowest = position
		}
	}
	found, oldest := make([]lag, len(after)), make([]time.Time, len(after))
	for event, err := range store.ReadAll(ctx, eventstore.ReadAllOptions{After: lowest, Backward: true, Limit: lagCounted + 1}) {
		if err != nil {
			return nil, err
		}
		for i, position := range after {
			switch {
			case !position.Before(event.Position):
			case found[i].Events == lagCounted:
				found[i].More = true
			default:
				found[i].Events++
				oldest[i] = event.RecordedAt
			}
		}
	}
	for i := range found {
		if found[i].More {
			for event, err := range store.ReadAll(ctx, eventstore.ReadAllOptions{After: after[i], Limit: 1}) {
				if err != nil {
					return nil, err
				}
				oldest[i] = event.RecordedAt
			}
		}
		if found[i].Events > 0 {
			found[i].Seconds = since(oldest[i])
		}
	}
	return found, nil
}
