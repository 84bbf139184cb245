package relaytest

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// Delivery is an event as a consumer got it.
type Delivery struct {
	// Attributes are all of them, by name, with the content type of the data.
	Attributes map[string]string
	Data       []byte
	// Key is the record's, and Lane what keeps an order: a topic's partition.
	Key  string
	Lane int
}

type identity struct{ source, id string }

func (d Delivery) identity() identity {
	return identity{d.Attributes["source"], d.Attributes["id"]}
}

// Distinct passes over what has been seen, by source and ID together, as consumers
// are told to.
func Distinct(deliveries []Delivery) []Delivery {
	seen := make(map[identity]struct{}, len(deliveries))
	var distinct []Delivery
	for _, d := range deliveries {
		if _, again := seen[d.identity()]; again {
			continue
		}
		seen[d.identity()] = struct{}{}
		distinct = append(distinct, d)
	}
	return distinct
}

// Check holds deliveries against the log that they are of, which was relayed event
// by event: a consumer that passes over what it has seen has every event exactly
// once, as it is stored, and those of each stream in their order; and what came
// again was the same.
func Check(deliveries []Delivery, log []eventstore.RecordedEvent) error {
	first := make(map[identity]Delivery, len(deliveries))
	for _, d := range deliveries {
		before, again := first[d.identity()]
		if again && (!sameAttributes(before, d) || !bytes.Equal(before.Data, d.Data)) {
			return fmt.Errorf("event %v came again as another one", d.identity())
		}
		if again && before.Lane != d.Lane {
			return fmt.Errorf("event %v came again in lane %d, at first in %d", d.identity(), d.Lane, before.Lane)
		}
		first[d.identity()] = d
	}
	got := make(map[string][]Delivery)
	for _, d := range Distinct(deliveries) {
		stream := d.Attributes["subject"]
		got[stream] = append(got[stream], d)
	}
	want := make(map[string][]eventstore.RecordedEvent)
	for _, event := range log {
		want[event.Stream] = append(want[event.Stream], event)
	}
	for stream, events := range want {
		if err := checkStream(stream, got[stream], events); err != nil {
			return err
		}
	}
	if len(got) != len(want) {
		return fmt.Errorf("%d streams were delivered, and %d are stored", len(got), len(want))
	}
	return nil
}

func sameAttributes(a, b Delivery) bool {
	if len(a.Attributes) != len(b.Attributes) {
		return false
	}
	for name, value := range a.Attributes {
		if other, ok := b.Attributes[name]; !ok || other != value {
			return false
		}
	}
	return a.Key == b.Key
}

func checkStream(stream string, got []Delivery, want []eventstore.RecordedEvent) error {
	for i, event := range want {
		version := strconv.FormatUint(event.Version, 10)
		if i >= len(got) {
			return fmt.Errorf("version %s of stream %q is missing", version, stream)
		}
		d := got[i]
		switch {
		case d.Attributes["version"] != version && slices.ContainsFunc(got, func(d Delivery) bool { return d.Attributes["version"] == version }):
			return fmt.Errorf("version %s of stream %q came before version %s", d.Attributes["version"], stream, version)
		case d.Attributes["version"] != version:
			return fmt.Errorf("version %s of stream %q is missing, and version %s is there", version, stream, d.Attributes["version"])
		case d.Attributes["type"] != event.Type, !bytes.Equal(d.Data, event.Data):
			return fmt.Errorf("version %s of stream %q is another event than the stored one", version, stream)
		case d.Lane != got[0].Lane:
			return fmt.Errorf("stream %q is in lanes %d and %d", stream, got[0].Lane, d.Lane)
		}
	}
	if len(got) > len(want) {
		return fmt.Errorf("stream %q was delivered as %d events, and has %d", stream, len(got), len(want))
	}
	return nil
}
