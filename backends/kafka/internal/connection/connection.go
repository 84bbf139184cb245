package connection

import (
	"sync"

	"github.com/segmentio/kafka-go"

	"github.com/switchyard-dev/switchyard/internal/kafkaclient"
)

const requestTimeout = kafkaclient.RequestTimeout

// Connection is a client of one cluster for the topics of one store.
type Connection struct {
	*kafkaclient.Client

	mu    sync.Mutex
	asked map[int32]int // how many requests of views each broker has not answered
}

// New makes a client, as [kafkaclient.New] does.
func New(brokers, topics []string, template *kafka.Transport) *Connection {
	return &Connection{Client: kafkaclient.New(brokers, topics, template), asked: make(map[int32]int)}
}
