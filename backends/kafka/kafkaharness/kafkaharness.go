// Package kafkaharness prepares Kafka stores for conformance runs, benchmarks and
// tests. It is linked by those alone.
package kafkaharness

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/switchyard-dev/switchyard/backends/kafka"
	"github.com/switchyard-dev/switchyard/conformance"
	"github.com/switchyard-dev/switchyard/internal/sleep"
	"github.com/switchyard-dev/switchyard/internal/urlparam"
)

// pollInterval is that of the handles without pushing: short, because checks wait
// for it.
const pollInterval = 20 * time.Millisecond

// Isolate prepares a store of a new name in the URL's cluster, with the URL's
// parameters.
func Isolate(_ context.Context, u *url.URL) (*conformance.Isolated, error) {
	brokers, _, opts, err := kafka.ParseURL(u)
	if err != nil {
		return nil, err
	}
	store := "switchyard-test-" + strings.ToLower(rand.Text())
	fresh := with(u, store, map[string]string{"create": "on"})
	return &conformance.Isolated{
		URL:              fresh.String(),
		Open:             conformance.Opener(kafka.Scheme().Open, fresh),
		OpenPolling:      conformance.Opener(kafka.Scheme().Open, with(&fresh, store, map[string]string{"push": "off", "poll": pollInterval.String()})),
		HoldWriterReason: "a record has its place in the log and is visible at once",
		Remove:           func(ctx context.Context) error { return Remove(ctx, brokers, store, opts.Transport) },
	}, nil
}

// with returns the URL with another store and other values of these parameters.
func with(u *url.URL, store string, parameters map[string]string) url.URL {
	other := urlparam.With(u, parameters)
	values := other.Query()
	values.Del("index") // of one process alone
	other.Path, other.RawPath, other.RawQuery = "/"+store, "", values.Encode()
	return other
}

// Remove deletes a store: its topics and everything in them. Every handle on it must
// be closed. A store that does not exist is no error.
func Remove(ctx context.Context, brokers []string, store string, template *kafkago.Transport) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	transport := &kafkago.Transport{Context: ctx, MetadataTTL: 500 * time.Millisecond}
	if template != nil {
		transport.TLS, transport.SASL, transport.Dial, transport.Resolver = template.TLS, template.SASL, template.Dial, template.Resolver
	}
	defer transport.CloseIdleConnections()
	client := &kafkago.Client{Addr: kafkago.TCP(brokers...), Transport: transport, Timeout: 10 * time.Second}
	for {
		left, err := deleteTopics(ctx, client, []string{store + ".events", store + ".checkpoints", store + ".snapshots"})
		if err == nil && !left {
			return nil
		}
		if ended := sleep.For(ctx, 100*time.Millisecond); ended != nil {
			return fmt.Errorf("remove store %q: %w", store, errors.Join(ended, err))
		}
	}
}

// deleteTopics tells whether a topic is left that has to be deleted again.
func deleteTopics(ctx context.Context, client *kafkago.Client, topics []string) (left bool, err error) {
	deleted, err := client.DeleteTopics(ctx, &kafkago.DeleteTopicsRequest{Topics: topics})
	if err != nil {
		return true, err
	}
	for _, topic := range topics {
		if err = deleted.Errors[topic]; err != nil && !errors.Is(err, kafkago.UnknownTopicOrPartition) {
			return true, err
		}
	}
	return false, nil
}
