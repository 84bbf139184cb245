package connection

import (
	"context"
	"sync"

	"github.com/segmentio/kafka-go"

	"github.com/switchyard-dev/switchyard/internal/kafkaclient"
)

const requestTimeout = kafkaclient.RequestTimeout

// Connection is a client of one cluster for the topics of one store.
type Connection struct {
	Client *kafkaclient.Client

	mu    sync.Mutex
	asked map[int32]int // how many requests of views each broker has not answered
}

// New makes a client, as [kafkaclient.New] does.
func New(brokers, topics []string, template *kafka.Transport) *Connection {
	return &Connection{Client: kafkaclient.New(brokers, topics, template), asked: make(map[int32]int)}
}

// Close ends all connections; see [kafkaclient.Client.Close].
func (c *Connection) Close() { c.Client.Close() }

// Renew makes the next calls ask for the cluster anew; see [kafkaclient.Client.Renew].
func (c *Connection) Renew() { c.Client.Renew() }

// Ping returns the true reason why the cluster cannot be used; see
// [kafkaclient.Client.Ping].
func (c *Connection) Ping(ctx context.Context) error { return c.Client.Ping(ctx) }
