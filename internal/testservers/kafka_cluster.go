//go:build unix

package testservers

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"strings"

	"golang.org/x/sync/errgroup"
)

// portTries bounds how often a cluster is made anew because another program took
// one of its ports between the search for a free one and the start.
const portTries = 5

var errPortTaken = errors.New("testservers: another program took a port of the broker")

// kafkaCluster is one or three private brokers. Each is a controller too.
type kafkaCluster struct {
	brokers []*kafkaBroker
	links   []kafkaLink // where the brokers are separable
}

func newKafkaCluster(ctx context.Context, opts KafkaOptions) (*kafkaCluster, error) {
	if opts.Brokers == 0 {
		opts.Brokers = 1
	}
	if opts.Brokers != 1 && opts.Brokers != 3 {
		return nil, fmt.Errorf("testservers: a cluster has 1 or 3 brokers, not %d", opts.Brokers)
	}
	if opts.Dir == "" {
		opts.Dir = os.TempDir()
	}
	programs, err := findKafka(ctx)
	if err != nil {
		return nil, err
	}
	for range portTries {
		var c *kafkaCluster
		if c, err = tryKafkaCluster(ctx, programs, opts); !errors.Is(err, errPortTaken) {
			return c, err
		}
	}
	return nil, err
}

func tryKafkaCluster(ctx context.Context, programs kafkaPrograms, opts KafkaOptions) (_ *kafkaCluster, err error) {
	c := &kafkaCluster{}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.close())
		}
	}()
	for n := range opts.Brokers {
		b, err := newKafkaBroker(ctx, programs, opts, n+1)
		if err != nil {
			return nil, err
		}
		c.brokers = append(c.brokers, b)
	}
	if opts.Separable {
		if err := c.link(); err != nil {
			return nil, err
		}
	}
	id := kafkaUUID()
	err = c.each(ctx, c.brokers, func(ctx context.Context, b *kafkaBroker) error {
		return b.format(ctx, id, c.properties(b, opts))
	})
	if err != nil {
		return nil, err
	}
	return c, c.launch(ctx, c.brokers)
}

// kafkaUUID makes a random ID in the form that Kafka's tools take.
func kafkaUUID() string {
	id := make([]byte, 16)
	_, _ = rand.Read(id)         // it never fails
	id[0] = id[0]&0x7f | 1<<6    // no leading '-', which a program would take for an option
	id[6] = id[6]&0x0f | 4<<4    // version 4
	id[8] = id[8]&0x3f | 0b10<<6 // of RFC 9562
	return base64.RawURLEncoding.EncodeToString(id)
}

// properties are a broker's settings.
func (c *kafkaCluster) properties(b *kafkaBroker, opts KafkaOptions) map[string]string {
	var voters []string
	for _, voter := range c.brokers {
		voters = append(voters, fmt.Sprintf("%d@%s:%d", voter.node, voter.name(), voter.controllerPort))
	}
	replicas := len(c.brokers)
	listeners := []string{"PLAINTEXT://" + b.address(), fmt.Sprintf("CONTROLLER://127.0.0.1:%d", b.controllerPort)}
	advertised := []string{"PLAINTEXT://" + b.address()}
	protocols := []string{"PLAINTEXT:PLAINTEXT", "CONTROLLER:PLAINTEXT"}
	for name, address := range b.listeners {
		_, port, _ := net.SplitHostPort(address) // it was joined
		listeners = append(listeners, name+"://127.0.0.1:"+port)
		advertised = append(advertised, name+"://"+address)
		protocols = append(protocols, name+":"+opts.Listeners[name].Protocol)
	}
	between := "PLAINTEXT"
	if b.separable {
		between = betweenBrokers
		listeners = append(listeners, fmt.Sprintf("%s://127.0.0.1:%d", between, b.betweenPort))
		advertised = append(advertised, fmt.Sprintf("%s://%s:%d", between, b.name(), b.betweenPort),
			fmt.Sprintf("CONTROLLER://%s:%d", b.name(), b.controllerPort))
		protocols = append(protocols, between+":PLAINTEXT")
	}
	set := map[string]string{
		"process.roles":                  "broker,controller",
		"node.id":                        fmt.Sprint(b.node),
		"log.dirs":                       b.dataDir(),
		"controller.quorum.voters":       strings.Join(voters, ","),
		"listeners":                      strings.Join(listeners, ","),
		"advertised.listeners":           strings.Join(advertised, ","),
		"controller.listener.names":      "CONTROLLER",
		"inter.broker.listener.name":     between,
		"listener.security.protocol.map": strings.Join(protocols, ","),
		"auto.create.topics.enable":      "false",
		"default.replication.factor":     fmt.Sprint(replicas),
		"min.insync.replicas":            fmt.Sprint(replicas/2 + 1),
		// The topics that Kafka makes for itself.
		"offsets.topic.replication.factor":         fmt.Sprint(replicas),
		"offsets.topic.num.partitions":             "1",
		"transaction.state.log.replication.factor": fmt.Sprint(replicas),
		"transaction.state.log.min.isr":            fmt.Sprint(replicas/2 + 1),
		"transaction.state.log.num.partitions":     "1",
		// A third of the defaults. A killed broker is missed, and may come back,
		// only when its session has run out.
		"broker.session.timeout.ms":    "3000",
		"broker.heartbeat.interval.ms": "600",
		// What fits a test: the cleaner alone would ask for 128 MB.
		"log.cleaner.dedupe.buffer.size":   "4194304",
		"num.network.threads":              "2",
		"num.io.threads":                   "4",
		"group.initial.rebalance.delay.ms": "0",
	}
	maps.Copy(set, opts.Settings)
	return set
}

func (c *kafkaCluster) addresses() []string {
	var list []string
	for _, b := range c.brokers {
		list = append(list, b.address())
	}
	return list
}

func (c *kafkaCluster) listener(name string) []string {
	var list []string
	for _, b := range c.brokers {
		if address, ok := b.listeners[name]; ok {
			list = append(list, address)
		}
	}
	return list
}

func (c *kafkaCluster) broker(n int) (*kafkaBroker, error) {
	if n < 1 || n > len(c.brokers) {
		return nil, fmt.Errorf("testservers: there is no broker %d: they are numbered from 1 to %d", n, len(c.brokers))
	}
	return c.brokers[n-1], nil
}

func (c *kafkaCluster) start(ctx context.Context, numbers ...int) error {
	var brokers []*kafkaBroker
	for _, n := range numbers {
		b, err := c.broker(n)
		if err != nil {
			return err
		}
		brokers = append(brokers, b)
	}
	return c.launch(ctx, brokers)
}

// launch starts brokers together, for the first of them cannot serve before a
// majority of all runs, and returns when each of them serves.
func (c *kafkaCluster) launch(ctx context.Context, brokers []*kafkaBroker) error {
	for _, b := range brokers {
		if err := b.launch(ctx); err != nil {
			return err
		}
	}
	return c.each(ctx, brokers, func(ctx context.Context, b *kafkaBroker) error { return b.waitUntilReady(ctx) })
}

// each does something to several brokers at the same time; a failure ends the others.
func (*kafkaCluster) each(ctx context.Context, brokers []*kafkaBroker, do func(context.Context, *kafkaBroker) error) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, b := range brokers {
		group.Go(func() error { return do(ctx, b) })
	}
	return group.Wait()
}

func (c *kafkaCluster) close() error {
	var err error
	for _, b := range c.brokers {
		err = errors.Join(err, b.close())
	}
	c.unlink()
	return err
}

func (c *kafkaCluster) logTail() string {
	var text strings.Builder
	for _, b := range c.brokers {
		fmt.Fprintf(&text, "broker %d:\n%s\n", b.node, b.logTail())
	}
	return text.String()
}
