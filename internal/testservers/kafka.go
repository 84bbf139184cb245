//go:build unix

package testservers

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/switchyard-dev/switchyard/internal/testservers/tcpproxy"
)

// brokersVariable names brokers that somebody else runs.
const brokersVariable = "SWITCHYARD_TEST_KAFKA_BROKERS"

var errNotOurBrokers = errors.New("testservers: these brokers were not started by the tests, and they leave them alone: use PrivateKafka")

// KafkaOptions say how to start brokers. The zero value is one broker.
type KafkaOptions struct {
	// Private insists on brokers of our own, which can be killed and paused.
	Private bool
	// Brokers is how many brokers form the cluster: 1 or 3, 0 means 1. In a
	// cluster of three topics have three replicas, of which two must be in sync
	// to acknowledge. Three make the cluster private.
	Brokers int
	// Settings are broker settings beyond or instead of the usual ones, such as
	// broker.session.timeout.ms. They make the cluster private.
	Settings map[string]string
	// Listeners are ways in beside the plain one, by their names in capitals, which
	// Settings configure further (listener.name.NAME.…). They make the cluster private.
	Listeners map[string]KafkaListener
	// Separable lets brokers be cut off from each other: see CutOff. It takes several
	// loopback addresses, which Linux has, and makes the cluster private.
	Separable bool
	// Dir is the folder in which each broker gets a folder for its data and its
	// log. Default: the temporary folder. It makes the cluster private.
	Dir string
}

// KafkaListener is a way in to brokers.
type KafkaListener struct {
	// Protocol is Kafka's name of it: SSL, SASL_PLAINTEXT, SASL_SSL or PLAINTEXT.
	Protocol string
	// Host is what clients are told to connect to. Default: 127.0.0.1.
	Host string
}

// Kafka is a running cluster of one or three brokers.
type Kafka struct {
	addresses []string
	cluster   *kafkaCluster // nil for brokers that somebody else runs
}

// StartKafka finds or starts brokers. The context bounds the start only. Where
// there are no programs to start them with, the error is an [AbsentError].
func StartKafka(ctx context.Context, opts KafkaOptions) (*Kafka, error) {
	private := opts.Private || opts.Settings != nil || opts.Dir != "" || opts.Brokers > 1 || opts.Listeners != nil || opts.Separable
	if list := os.Getenv(brokersVariable); list != "" && !private {
		return externalKafka(ctx, list)
	}
	c, err := newKafkaCluster(ctx, opts)
	if err != nil {
		return nil, err
	}
	return &Kafka{addresses: c.addresses(), cluster: c}, nil
}

func externalKafka(ctx context.Context, list string) (*Kafka, error) {
	addresses := strings.Split(list, ",")
	for _, address := range addresses {
		if _, _, err := net.SplitHostPort(address); err != nil {
			return nil, fmt.Errorf("testservers: %s must be host:port,host:port,…: %w", brokersVariable, err)
		}
	}
	if err := pingKafka(ctx, addresses); err != nil {
		return nil, fmt.Errorf("testservers: the brokers of %s do not answer: %w", brokersVariable, err)
	}
	return &Kafka{addresses: addresses}, nil
}

// Addresses are the brokers, each as host:port; they speak plaintext. Broker n
// of a cluster that the tests started is at index n-1.
func (k *Kafka) Addresses() []string { return append([]string(nil), k.addresses...) }

// Listener are the addresses of a listener of [KafkaOptions], each as host:port, in the
// order of the brokers; nil where there is none of the name.
func (k *Kafka) Listener(name string) []string {
	if k.cluster == nil {
		return nil
	}
	return k.cluster.listener(name)
}

// Name returns a new name for a topic, or for the prefix of several.
func (k *Kafka) Name() string { return "test-" + strings.ToLower(rand.Text()) }

// Kill ends broker n, from 1, as a crash does (SIGKILL), and returns when it is
// gone. The others notice after broker.session.timeout.ms, 3 s here.
func (k *Kafka) Kill(n int) error { return k.broker(n, (*kafkaBroker).kill) }

// Stop ends broker n in order: it hands its partitions over first.
func (k *Kafka) Stop(n int) error { return k.broker(n, (*kafkaBroker).stop) }

// Pause stops broker n (SIGSTOP) until Resume. A paused broker can be killed.
func (k *Kafka) Pause(n int) error { return k.broker(n, (*kafkaBroker).pause) }

// Resume lets a paused broker go on (SIGCONT).
func (k *Kafka) Resume(n int) error { return k.broker(n, (*kafkaBroker).resume) }

// CutOff cuts broker n off from the others until Rejoin, as a switch that fails does:
// clients still reach all of them. The others elect another leader for what it leads
// after broker.session.timeout.ms, and it does not hear of that. The brokers must have
// been started as Separable.
func (k *Kafka) CutOff(n int) error { return k.separate(n, (*tcpproxy.Proxy).Down) }

// Rejoin ends CutOff.
func (k *Kafka) Rejoin(n int) error { return k.separate(n, (*tcpproxy.Proxy).Up) }

func (k *Kafka) separate(n int, do func(*tcpproxy.Proxy)) error {
	if k.cluster == nil {
		return errNotOurBrokers
	}
	return k.cluster.separate(n, do)
}

// Start starts the brokers of these numbers again after Kill or Stop, together,
// each on its port and data. It returns when each of them takes new topics and is
// in sync in every partition that it holds and that has a leader. That needs a
// majority of all brokers: where fewer run, start the missing ones in one call.
func (k *Kafka) Start(ctx context.Context, brokers ...int) error {
	if k.cluster == nil {
		return errNotOurBrokers
	}
	return k.cluster.start(ctx, brokers...)
}

// Running tells whether broker n is running or paused.
func (k *Kafka) Running(n int) bool {
	running := false
	err := k.broker(n, func(b *kafkaBroker) error {
		running = b.running()
		return nil
	})
	return err == nil && running
}

// Close ends brokers that the tests started and removes their folders. A second
// Close does nothing.
func (k *Kafka) Close() error {
	if k.cluster == nil {
		return nil
	}
	return k.cluster.close()
}

// LogTail returns the last 4 KiB of the log of each broker that the tests started.
func (k *Kafka) LogTail() string {
	if k.cluster == nil {
		return ""
	}
	return k.cluster.logTail()
}

func (k *Kafka) broker(n int, do func(*kafkaBroker) error) error {
	if k.cluster == nil {
		return errNotOurBrokers
	}
	b, err := k.cluster.broker(n)
	if err != nil {
		return err
	}
	return do(b)
}
