package kafka_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/internal/testservers"
)

// cluster is brokers that a test harms, and the topic that it watches.
type cluster struct {
	t            *testing.T
	server       *testservers.Kafka
	store, topic string
}

func newCluster(t *testing.T, server *testservers.Kafka) *cluster {
	t.Helper()
	store := server.Name()
	return &cluster{t: t, server: server, store: store, topic: store + ".events"}
}

// leader returns the number of the broker that leads the log, by what the running
// ones say.
func (c *cluster) leader() int {
	c.t.Helper()
	var leader int
	c.eventually("find the leader", func(ctx context.Context) error {
		transport := &kafkago.Transport{MetadataTTL: 200 * time.Millisecond, Context: ctx, MetadataTopics: []string{c.topic}}
		defer transport.CloseIdleConnections()
		client := &kafkago.Client{Addr: kafkago.TCP(c.server.Addresses()...), Transport: transport}
		metadata, err := client.Metadata(ctx, &kafkago.MetadataRequest{Topics: []string{c.topic}})
		if err != nil {
			return err
		}
		if len(metadata.Topics) != 1 || len(metadata.Topics[0].Partitions) != 1 {
			return errors.New("no such topic")
		}
		partition := metadata.Topics[0].Partitions[0]
		leader = partition.Leader.ID
		if leader < 1 || !c.server.Running(leader) {
			return errors.New("there is none")
		}
		return nil
	})
	return leader
}

// controller returns the number of the broker that leads the metadata log.
func (c *cluster) controller() int {
	c.t.Helper()
	var found int
	c.eventually("find the active controller", func(ctx context.Context) (err error) {
		for _, address := range c.server.Addresses() {
			if found, err = quorumLeader(ctx, address); err == nil {
				return nil
			}
		}
		return err
	})
	return found
}

func (c *cluster) eventually(what string, try func(ctx context.Context) error) {
	c.t.Helper()
	var err error
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); wait(c.t.Context(), 100*time.Millisecond) {
		ctx, cancel := context.WithTimeout(c.t.Context(), 5*time.Second)
		err = try(ctx)
		cancel()
		if err == nil {
			return
		}
	}
	require.NoError(c.t, err, what)
}

// killAndStart kills a broker, waits until the others have noticed and start it again.
func (c *cluster) killAndStart(n int) {
	c.t.Helper()
	require.NoError(c.t, c.server.Kill(n))
	c.t.Logf("broker %d was killed", n)
	c.leaderIsNot(n)
	ctx, cancel := context.WithTimeout(c.t.Context(), 2*time.Minute)
	defer cancel()
	require.NoError(c.t, c.server.Start(ctx, n))
}

func (c *cluster) leaderIsNot(n int) {
	c.t.Helper()
	c.eventually("elect another leader", func(context.Context) error {
		if c.leader() == n {
			return errors.New("it leads still")
		}
		return nil
	})
}

// freeze stops a broker for a while, past the election of another leader.
func (c *cluster) freeze(n int, d time.Duration) {
	c.t.Helper()
	require.NoError(c.t, c.server.Pause(n))
	c.t.Logf("broker %d was frozen", n)
	wait(c.t.Context(), d)
	require.NoError(c.t, c.server.Resume(n))
}

// quorumLeader asks a broker who leads the metadata log (DescribeQuorum, which the
// client does not have).
func quorumLeader(ctx context.Context, address string) (int, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	compact := func(text string) []byte { return append([]byte{byte(len(text) + 1)}, text...) }
	request := []byte{0, 55, 0, 0, 0, 0, 0, 1, 0xff, 0xff, 0} // key, version, correlation, no client ID, no tags
	request = append(request, 2)                              // one topic
	request = append(request, compact("__cluster_metadata")...)
	request = append(request, 2, 0, 0, 0, 0, 0, 0, 0) // one partition, 0, and tags
	if _, err := conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(request))), request...)); err != nil {
		return 0, err
	}
	var size [4]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return 0, err
	}
	answer := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(conn, answer); err != nil {
		return 0, err
	}
	// correlation, tags, error, topics, name, partitions, partition, error, leader
	at := 4 + 1 + 2 + 1 + len(compact("__cluster_metadata")) + 1 + 4 + 2
	if len(answer) < at+4 {
		return 0, fmt.Errorf("the answer is %d bytes long", len(answer))
	}
	leader := int32(binary.BigEndian.Uint32(answer[at:]))
	if leader < 1 {
		return 0, errors.New("there is no active controller")
	}
	return int(leader), nil
}
