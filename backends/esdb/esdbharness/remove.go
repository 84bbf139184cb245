package esdbharness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"

	client "github.com/EventStore/EventStore-Client-Go/v4/esdb"
)

// tombstoneType is the type of the event that ends a stream for good.
const tombstoneType = "$streamDeleted"

// head returns where the server's log ends now.
func head(ctx context.Context, config *client.Configuration) (from client.AllPosition, err error) {
	from = client.Start{}
	err = reading(ctx, config, client.ReadAllOptions{Direction: client.Backwards, From: client.End{}}, 1, func(event *client.RecordedEvent) {
		from = event.Position
	})
	return from, err
}

// remove deletes the streams of a namespace for good: the events' and those that
// package esdb keeps, with checkpoints and snapshots. EventStoreDB frees their
// space when it scavenges. The namespace began after the place in the log.
func remove(ctx context.Context, config *client.Configuration, namespace string, after client.AllPosition) error {
	exists := make(map[string]bool)
	err := reading(ctx, config, client.ReadAllOptions{From: after}, math.MaxInt64, func(event *client.RecordedEvent) {
		if strings.HasPrefix(event.StreamID, namespace+":") || strings.HasPrefix(event.StreamID, "switchyard:"+namespace+":") {
			exists[event.StreamID] = event.EventType != tombstoneType
		}
	})
	if err != nil {
		return fmt.Errorf("find the streams of namespace %q: %w", namespace, err)
	}
	connection, err := client.NewClient(config)
	if err != nil {
		return err
	}
	defer func() { _ = connection.Close() }()
	for _, name := range slices.Sorted(maps.Keys(exists)) {
		if !exists[name] {
			continue
		}
		if _, err := connection.TombstoneStream(ctx, name, client.TombstoneStreamOptions{}); err != nil {
			return fmt.Errorf("remove stream %q: %w", name, err)
		}
	}
	return nil
}

// reading calls visit for each event of the server's log.
func reading(ctx context.Context, config *client.Configuration, opts client.ReadAllOptions, count uint64, visit func(*client.RecordedEvent)) (err error) {
	connection, err := client.NewClient(config)
	if err != nil {
		return err
	}
	defer func() { _ = connection.Close() }()
	stream, err := connection.ReadAll(ctx, opts, count)
	if err != nil {
		return err
	}
	defer stream.Close()
	for {
		resolved, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if event := resolved.OriginalEvent(); event != nil {
			visit(event)
		}
	}
}
