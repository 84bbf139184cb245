package transfer

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// Stats is what a store holds, in numbers.
type Stats struct {
	Store      uuid.UUID           `json:"store"`
	Sealed     bool                `json:"sealed"`
	SealReason string              `json:"sealReason,omitempty"`
	Events     int                 `json:"events"`
	Streams    int                 `json:"streams"`
	Bytes      int64               `json:"bytes"` // of all events, as limits count them
	First      eventstore.Position `json:"firstPosition"`
	Head       eventstore.Position `json:"headPosition"`
	FirstTime  time.Time           `json:"firstRecordedAt,omitzero"`
	LastTime   time.Time           `json:"lastRecordedAt,omitzero"`
	Longest    string              `json:"longestStream"`
	Version    uint64              `json:"longestStreamVersion"`
	Categories []CategoryStats     `json:"categories"`
	Apart
}

// Apart counts what a store keeps of its streams beside the events that it delivers, as
// its backend tells; [Measure] leaves it out.
type Apart struct {
	// ArchivedStreams are delivered as any others, and refuse appends.
	ArchivedStreams int `json:"archivedStreams,omitempty"`
	// LeftOutEvents are stored and delivered by no read.
	LeftOutEvents int `json:"leftOutEvents,omitempty"`
}

// CategoryStats is a category's share.
type CategoryStats struct {
	Category string `json:"category"`
	Streams  int    `json:"streams"`
	Events   int    `json:"events"`
	// Version is the highest in any of its streams.
	Version uint64 `json:"highestVersion"`
}

// Measure reads a whole store once. The categories come with the most events
// first. It holds one number for each category and nothing for a stream, which is
// counted by its first event; only where streams may begin later than at version 1
// it holds their names.
func Measure(ctx context.Context, store *eventstore.Store, progress func(Progress)) (Stats, error) {
	info, err := store.Info(ctx)
	if err != nil {
		return Stats{}, err
	}
	stats := Stats{Store: info.ID, Sealed: info.Sealed, SealReason: info.SealReason}
	first := firstEvents(store.Capabilities())
	categories := make(map[string]*CategoryStats)
	for event, err := range store.ReadAll(ctx, eventstore.ReadAllOptions{}) {
		if err != nil {
			return Stats{}, err
		}
		name := eventstore.Category(event.Stream)
		category := categories[name]
		if category == nil {
			category = &CategoryStats{Category: name}
			categories[name] = category
		}
		stats.add(event)
		category.Events++
		category.Version = max(category.Version, event.Version)
		if first(event) {
			stats.Streams++
			category.Streams++
		}
		if stats.Events%batchEvents == 0 && progress != nil {
			progress(Progress{Result: Result{Read: stats.Events}})
		}
	}
	stats.Categories = make([]CategoryStats, 0, len(categories))
	for _, category := range categories {
		stats.Categories = append(stats.Categories, *category)
	}
	slices.SortFunc(stats.Categories, func(a, b CategoryStats) int {
		if a.Events != b.Events {
			return b.Events - a.Events
		}
		return strings.Compare(a.Category, b.Category)
	})
	return stats, nil
}

func (s *Stats) add(event eventstore.RecordedEvent) {
	if s.Events == 0 {
		s.First, s.FirstTime = event.Position, event.RecordedAt
	}
	s.Events++
	s.Bytes += int64(event.Size())
	s.Head, s.LastTime = event.Position, event.RecordedAt
	if event.Version > s.Version {
		s.Longest, s.Version = event.Stream, event.Version
	}
}

// firstEvents returns what tells whether an event is the first of its stream, of
// events that come in their order.
func firstEvents(caps eventstore.Capabilities) func(eventstore.RecordedEvent) bool {
	if caps.WholeStreams.Supported() {
		return func(event eventstore.RecordedEvent) bool { return event.Version == 1 }
	}
	seen := make(map[string]struct{})
	return func(event eventstore.RecordedEvent) bool {
		_, met := seen[event.Stream]
		seen[event.Stream] = struct{}{}
		return !met
	}
}
