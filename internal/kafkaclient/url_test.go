package kafkaclient

import (
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
)

func parse(t *testing.T, raw string) (Location, error) {
	t.Helper()
	u, err := url.Parse(raw)
	require.NoError(t, err)
	return ParseURL(u, map[string]func(string) error{"own": func(string) error { return nil }})
}

func TestAURLSaysWhereAndHow(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(secret, []byte("from a file\n"), 0o600))
	t.Setenv(PasswordVariable, "from the environment")
	for raw, want := range map[string]struct {
		brokers []string
		sasl    string
		tls     bool
	}{
		"kafka://localhost/orders":                                             {[]string{"localhost:9092"}, "", false},
		"kafka://127.0.0.1,localhost:2/orders?own=x":                           {[]string{"127.0.0.1:9092", "localhost:2"}, "", false},
		"kafka://[::1]/orders":                                                 {[]string{"[::1]:9092"}, "", false},
		"kafka://b1.example.com:9093,localhost:2/orders":                       {[]string{"b1.example.com:9093", "localhost:2"}, "", true},
		"kafka://b1.example.com/orders?tls=off":                                {[]string{"b1.example.com:9092"}, "", false},
		"kafka://localhost/orders?tls=on":                                      {[]string{"localhost:9092"}, "", true},
		"kafka://me:pa%3Ass@localhost/orders":                                  {[]string{"localhost:9092"}, "SCRAM-SHA-512", false},
		"kafka://me:pass@localhost/orders?sasl=scram-sha-256":                  {[]string{"localhost:9092"}, "SCRAM-SHA-256", false},
		"kafka://me@localhost/orders?sasl=plain":                               {[]string{"localhost:9092"}, "PLAIN", false},
		"kafka://me@localhost/orders?password_file=" + url.QueryEscape(secret): {[]string{"localhost:9092"}, "SCRAM-SHA-512", false},
	} {
		t.Run(raw, func(t *testing.T) {
			got, err := parse(t, raw)
			require.NoError(t, err)
			require.Equal(t, want.brokers, got.Brokers)
			require.Equal(t, "orders", got.Name)
			require.Equal(t, want.tls, got.Transport.TLS != nil)
			if want.tls {
				require.False(t, got.Transport.TLS.InsecureSkipVerify)
			}
			if want.sasl == "" {
				require.Nil(t, got.Transport.SASL)
				return
			}
			require.Equal(t, want.sasl, got.Transport.SASL.Name())
		})
	}
}

func TestAUserMayStandInTheEnvironment(t *testing.T) {
	t.Setenv(UserVariable, "me")
	t.Setenv(PasswordVariable, "s3cr3t")
	got, err := parse(t, "kafka://localhost/orders?sasl=plain")
	require.NoError(t, err)
	require.Equal(t, plain.Mechanism{Username: "me", Password: "s3cr3t"}, got.Transport.SASL)
}

func TestAWrongURLIsRefusedWithoutItsSecret(t *testing.T) {
	t.Setenv(UserVariable, "")
	t.Setenv(PasswordVariable, "")
	for raw, want := range map[string]string{
		"kafka://me:s3cr3t@localhost/t?sasl=gssapi":                  "none of plain, scram-sha-256",
		"kafka://me:s3cr3t@localhost/t?acks=1":                       `unknown parameter "acks"; known are ca, cert, key, own, password_file, sasl, tls`,
		"kafka://me:s3cr3t@localhost/t?own=1&own=2":                  "given 2 times",
		"kafka://me:s3cr3t@localhost/t?tls=yes":                      "neither off nor on",
		"kafka://me:s3cr3t@localhost/t#x":                            "percent-encode",
		"kafka://me:s3cr3t@localhost/t?own=%zz":                      "percent-encode",
		"kafka://me:s3cr3t@localhost/t?password_file=/x":             "give one",
		"kafka://me:s3cr3t@localhost/t?ca=/absent":                   "are for tls=on",
		"kafka://me:s3cr3t@localhost/t?tls=on&ca=/absent/ca.pem":     "parameter ca",
		"kafka://me:s3cr3t@localhost/t?tls=on&cert=/absent&key=/abs": "parameters cert and key",
		"kafka://me:s3cr3t%00%E2%80%8B@localhost/t":                  "SCRAM does not take",
		"kafka://me@localhost/t":                                     "no password",
		"kafka://me@localhost/t?password_file=/absent/s":             "parameter password_file",
		"kafka://localhost/t?sasl=plain":                             "need a user",
		"kafka:///t":                                                 "give the brokers",
		"kafka:t":                                                    "give the brokers",
		"kafka://,h:1/t":                                             "give the brokers",
	} {
		t.Run(raw, func(t *testing.T) {
			_, err := parse(t, raw)
			require.ErrorIs(t, err, eventstore.ErrInvalid)
			require.ErrorContains(t, err, want)
			require.NotContains(t, err.Error(), "s3cr3t")
		})
	}
}
