package kafkaclient

import (
	"context"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"
)

const (
	// metadataTTL is how long what the client knows of the cluster may be out of
	// date after a new leader was elected: nothing else makes it look. It is the
	// deadline of the look too, so it cannot be much smaller.
	metadataTTL = 500 * time.Millisecond

	// RequestTimeout bounds every call: a broker that hangs is found out by this
	// alone. The broker gets half of it to replicate what is produced.
	RequestTimeout = 10 * time.Second
)

// Client is a client of one cluster for a few topics.
type Client struct {
	*kafka.Client
	transport *kafka.Transport
	cancel    context.CancelFunc
}

// New makes a client. The template, which may be nil, says how to reach the
// brokers: Dial, TLS, SASL, Resolver, ClientID and DialTimeout are taken over; it
// is not used itself. Nothing is sent yet.
func New(brokers, topics []string, template *kafka.Transport) *Client {
	ctx, cancel := context.WithCancel(context.Background())
	transport := &kafka.Transport{
		MetadataTTL: metadataTTL,
		// Exactly these: the client waits for a topic that it has created to be
		// among them, until its deadline.
		MetadataTopics: topics,
		// Ended by Close: goroutines that wait for brokers end with it.
		Context: ctx,
	}
	if template != nil {
		transport.Dial = template.Dial
		transport.DialTimeout = template.DialTimeout
		transport.TLS = template.TLS
		transport.SASL = template.SASL
		transport.Resolver = template.Resolver
		transport.ClientID = template.ClientID
	}
	return &Client{
		Client:    &kafka.Client{Addr: kafka.TCP(brokers...), Transport: transport, Timeout: RequestTimeout},
		transport: transport,
		cancel:    cancel,
	}
}

// Close ends all connections. Calls that are under way end with an error.
func (c *Client) Close() {
	c.transport.CloseIdleConnections()
	c.cancel()
}

// Renew makes the next calls dial a broker and ask it for the cluster anew. The
// client keeps one connection for that, which may be to a broker that is cut off
// from the others and knows no better.
func (c *Client) Renew() { c.transport.CloseIdleConnections() }

// Ping returns the true reason why the cluster cannot be used. Other calls say
// "topic not found" where a password, a certificate or an address is wrong.
func (c *Client) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, RequestTimeout)
	defer cancel()
	if _, err := c.Metadata(ctx, &kafka.MetadataRequest{}); err != nil {
		return fmt.Errorf("ask the brokers for the cluster: %w", c.hinted(err))
	}
	return nil
}
