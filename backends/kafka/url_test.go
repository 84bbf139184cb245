package kafka

import (
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/kafkaclient"
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

func TestTLSIsOnAwayFromThisMachineAndVerified(t *testing.T) {
	for raw, on := range map[string]bool{
		"kafka://localhost/s":                     false,
		"kafka://127.0.0.1:1,localhost:2/s":       false,
		"kafka://[::1]:9092/s":                    false,
		"kafka://127.0.0.1,db.example.com/s":      true,
		"kafka://10.0.0.1/s":                      true,
		"kafka://localhost.example.com/s":         true,
		"kafka://localhost/s?tls=on":              true,
		"kafka://db.example.com/s?tls=off":        false,
		"kafka://u:p@db.example.com/s?sasl=plain": true,
	} {
		got, err := parsed(t, raw)
		require.NoError(t, err, raw)
		require.Equal(t, on, got.opts.Transport.TLS != nil, raw)
		if on {
			require.False(t, got.opts.Transport.TLS.InsecureSkipVerify)
		}
	}
}

func TestCredentialsComeFromTheURLAFileOrTheEnvironment(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(file, []byte("of a file\n"), 0o600))
	t.Setenv(kafkaclient.UserVariable, "me")
	t.Setenv(kafkaclient.PasswordVariable, "of the environment")
	for raw, want := range map[string]plain.Mechanism{
		"kafka://you:p%40ss@localhost/s?sasl=plain":                  {Username: "you", Password: "p@ss"},
		"kafka://you@localhost/s?sasl=plain":                         {Username: "you", Password: "of the environment"},
		"kafka://localhost/s?sasl=plain":                             {Username: "me", Password: "of the environment"},
		"kafka://localhost/s?sasl=plain&password_file=" + file:       {Username: "me", Password: "of a file"},
		"kafka://you:p@localhost/s?sasl=plain&password_file=" + file: {Username: "you", Password: "of a file"},
	} {
		got, err := parsed(t, raw)
		require.NoError(t, err, raw)
		require.Equal(t, want, got.opts.Transport.SASL, raw)
	}
	for _, mechanism := range []string{"scram-sha-256", "scram-sha-512"} {
		got, err := parsed(t, "kafka://you:p@localhost/s?sasl="+mechanism)
		require.NoError(t, err)
		require.Equal(t, map[string]string{"scram-sha-256": "SCRAM-SHA-256", "scram-sha-512": "SCRAM-SHA-512"}[mechanism], got.opts.Transport.SASL.Name())
	}
}

func TestABadURLIsRefusedWithoutItsSecrets(t *testing.T) {
	t.Setenv(kafkaclient.UserVariable, "")
	t.Setenv(kafkaclient.PasswordVariable, "")
	for raw, want := range map[string]string{
		"kafka:orders":                                    "names no broker",
		"kafka:///orders":                                 "names no broker",
		"kafka://b1":                                      "not the name of a store",
		"kafka://b1/":                                     "not the name of a store",
		"kafka://b1/a/b":                                  "not the name of a store",
		"kafka://b1,/a":                                   "a broker has no name",
		"kafka://b1/a#x":                                  "fragment",
		"kafka://b1/a?acks=1":                             `unknown parameter "acks"; known are ca, cert`,
		"kafka://b1/a?poll=1s&poll=2s":                    "occurs 2 times",
		"kafka://b1/a?poll=x":                             "not a positive duration",
		"kafka://b1/a?replication=0":                      "not a number above zero",
		"kafka://b1/a?fsync=maybe":                        "neither on nor off",
		"kafka://b1/a?sasl=md5":                           "none of plain",
		"kafka://u:s3cr3t@b1/a":                           "does not say how to show them",
		"kafka://u:@b1/a?sasl=plain":                      "needs a user and a password",
		"kafka://b1/a?sasl=plain":                         "needs a user and a password",
		"kafka://u:s3cr3t%00@b1/a?sasl=scram-sha-512":     "characters",
		"kafka://b1/a?tls=off&ca=/dev/null":               "no PEM certificate",
		"kafka://b1/a?ca=/nowhere/ca.pem":                 "cannot be read",
		"kafka://b1/a?cert=/nowhere/c.pem&key=/nowhere/k": "cannot be read",
		"kafka://b1/a?tls=off&cert=x":                     "TLS is off",
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
