package kafka

import (
	"net/url"
	"testing"
	"time"

	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
)

func parsed(t *testing.T, raw string) (target, error) {
	t.Helper()
	u, err := url.Parse(raw)
	require.NoError(t, err)
	return parseURL(u)
}

func TestAURLNamesBrokersAStoreAndOptions(t *testing.T) {
	dir := t.TempDir()
	got, err := parsed(t, "kafka://b1,b2:9093/shop?tls=off&replication=2&fsync=true&index="+dir+"&poll=2s&push=off&create=off")
	require.NoError(t, err)
	require.Equal(t, []string{"b1:9092", "b2:9093"}, got.brokers)
	require.Equal(t, "shop", got.store)
	require.Nil(t, got.opts.Transport.TLS)
	require.Nil(t, got.opts.Transport.SASL)
	got.opts.Transport = nil
	require.Equal(t, Options{Replication: 2, Fsync: true, Index: dir, Poll: 2 * time.Second, NoPush: true, NoCreate: true}, got.opts)
}

// How brokers are reached is internal/kafkaclient's, and tested there.
func TestAURLSaysHowBrokersAreReached(t *testing.T) {
	got, err := parsed(t, "kafka://me:p@b1.example.com/shop?sasl=plain")
	require.NoError(t, err)
	require.NotNil(t, got.opts.Transport.TLS)
	require.Equal(t, plain.Mechanism{Username: "me", Password: "p"}, got.opts.Transport.SASL)
}

func TestABadURLIsRefusedWithoutItsSecrets(t *testing.T) {
	for raw, want := range map[string]string{
		"kafka:orders":               "names no broker",
		"kafka://b1":                 "not the name of a store",
		"kafka://b1/":                "not the name of a store",
		"kafka://b1/a/b":             "not the name of a store",
		"kafka://b1/a?acks=1":        `unknown parameter "acks"; known are ca, cert`,
		"kafka://b1/a?poll=x":        "not a positive duration",
		"kafka://b1/a?replication=0": "not a number above zero",
		"kafka://b1/a?fsync=maybe":   "neither on nor off",
		"kafka://u:s3cr3t@b1/a":      "does not say how to show them",
	} {
		_, err := parsed(t, raw)
		require.ErrorIs(t, err, eventstore.ErrInvalid, raw)
		require.ErrorContains(t, err, want, raw)
		require.NotContains(t, err.Error(), "s3cr3t")
	}
}

func TestLimitsFitIntoARecord(t *testing.T) {
	for _, most := range []int{1_048_588, 2 << 20, 4 << 20} {
		l := limits(most)
		portable := eventstore.PortableLimits()
		require.GreaterOrEqual(t, l.MaxAppendBytes, portable.MaxAppendBytes)
		require.GreaterOrEqual(t, l.MaxAppendEvents, portable.MaxAppendEvents)
		require.GreaterOrEqual(t, l.MaxAppendParts, portable.MaxAppendParts)
		require.GreaterOrEqual(t, l.MaxStreamBytes, portable.MaxStreamBytes)
		require.LessOrEqual(t, l.MaxAppendBytes+32*l.MaxAppendEvents+l.MaxAppendParts*(l.MaxStreamBytes+48)+2*batchOverhead, most)
	}
}
