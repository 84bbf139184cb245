package main

import (
	"context"
	"fmt"
	"net/url"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/examples/shop/fulfilment"
	"github.com/switchyard-dev/switchyard/relay"
)

// warehouse relays shipments to a web address, as CloudEvents.
func warehouse(ctx context.Context, store *eventstore.Store, address string) (eventstore.Subscription, error) {
	if u, err := url.Parse(address); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return eventstore.Subscription{}, fmt.Errorf("-warehouse %q is no web address; give one such as https://warehouse.example/shipments", address)
	}
	info, err := store.Info(ctx)
	if err != nil {
		return eventstore.Subscription{}, err
	}
	sub := relay.New("warehouse", relay.HTTP(nil, address), func(_ context.Context, e eventstore.RecordedEvent) ([]relay.CloudEvent, error) {
		c := relay.FromEvent(relay.Source(info), e)
		delete(c.Extensions, relay.Metadata) // the warehouse's business is the shipment
		return []relay.CloudEvent{c}, nil
	})
	sub.Filter.Categories = []string{fulfilment.Category}
	sub.ParkStream = "warehouse-parked"
	return sub, nil
}
