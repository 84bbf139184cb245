package kafkaclient

import (
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/segmentio/kafka-go/sasl"
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
	withFile := "kafka://me@localhost/orders?sasl=scram-sha-512&password_file=" + url.QueryEscape(secret)
	for raw, want := range map[string]struct {
		brokers []string
		sasl    string
		tls     bool
	}{
		"kafka://localhost/orders":                               {[]string{"localhost:9092"}, "", false},
		"kafka://[::1]:9093/orders":                              {[]string{"[::1]:9093"}, "", false},
		"kafka://10.0.0.1/orders":                                {[]string{"10.0.0.1:9092"}, "", true},
		"kafka://localhost.example.com/orders":                   {[]string{"localhost.example.com:9092"}, "", true},
		"kafka://127.0.0.1,localhost:2/orders?own=x":             {[]string{"127.0.0.1:9092", "localhost:2"}, "", false},
		"kafka://[::1]/orders":                                   {[]string{"[::1]:9092"}, "", false},
		"kafka://b1.example.com:9093,localhost:2/orders":         {[]string{"b1.example.com:9093", "localhost:2"}, "", true},
		"kafka://b1.example.com/orders?tls=off":                  {[]string{"b1.example.com:9092"}, "", false},
		"kafka://localhost/orders?tls=on":                        {[]string{"localhost:9092"}, "", true},
		"kafka://me:pa%3Ass@localhost/orders?sasl=scram-sha-512": {[]string{"localhost:9092"}, "SCRAM-SHA-512", false},
		"kafka://me:pass@localhost/orders?sasl=scram-sha-256":    {[]string{"localhost:9092"}, "SCRAM-SHA-256", false},
		"kafka://me@localhost/orders?sasl=plain":                 {[]string{"localhost:9092"}, "PLAIN", false},
		withFile:                                                 {[]string{"localhost:9092"}, "SCRAM-SHA-512", false},
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

func TestCredentialsComeFromTheURLAFileOrTheEnvironment(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(file, []byte("of a file\n"), 0o600))
	t.Setenv(UserVariable, "me")
	t.Setenv(PasswordVariable, "of the environment")
	for raw, want := range map[string]sasl.Mechanism{
		"kafka://you:p%40ss@localhost/t?sasl=plain":                plain.Mechanism{Username: "you", Password: "p@ss"},
		"kafka://you@localhost/t?sasl=plain":                       plain.Mechanism{Username: "you", Password: "of the environment"},
		"kafka://localhost/t?sasl=plain":                           plain.Mechanism{Username: "me", Password: "of the environment"},
		"kafka://localhost/t?sasl=plain&password_file=" + file:     plain.Mechanism{Username: "me", Password: "of a file"},
		"kafka://you@localhost/t?sasl=plain&password_file=" + file: plain.Mechanism{Username: "you", Password: "of a file"},
		"kafka://localhost/t":                                      nil, // no URL asks to show what is in the environment
	} {
		got, err := parse(t, raw)
		require.NoError(t, err, raw)
		require.Equal(t, want, got.Transport.SASL, raw)
	}
}

func TestAWrongURLIsRefusedWithItsRemedyAndWithoutItsSecret(t *testing.T) {
	t.Setenv(UserVariable, "")
	t.Setenv(PasswordVariable, "")
	for raw, want := range map[string]string{
		"kafka://me:s3cr3t@localhost/t":                                    "does not say how to show them; add sasl=scram-sha-512",
		"kafka://me@localhost/t":                                           "does not say how to show them; add sasl=scram-sha-512",
		"kafka://localhost/t?password_file=/absent/s":                      "does not say how to show them; add sasl=scram-sha-512",
		"kafka://me:s3cr3t@localhost/t?sasl=plain&password_file=/absent/s": "a password and password_file; leave one of them out",
		"kafka://me@localhost/t?sasl=plain&password_file=/absent/s":        `parameter password_file: file "/absent/s" cannot be read`,
		"kafka://me@localhost/t?sasl=plain&password_file=":                 "parameter password_file: it names no file",
		"kafka://me@localhost/t?sasl=plain":                                "needs a user and a password: in the URL, in SWITCHYARD_KAFKA_USER and SWITCHYARD_KAFKA_PASSWORD",
		"kafka://me:@localhost/t?sasl=plain":                               "needs a user and a password",
		"kafka://localhost/t?sasl=plain":                                   "needs a user and a password",
		"kafka://me:s3cr3t@localhost/t?sasl=gssapi":                        "none of plain, scram-sha-256",
		"kafka://me:s3cr3t%00%E2%80%8B@localhost/t?sasl=scram-sha-512":     "characters that sasl=scram-sha-512 does not take",
		"kafka://me:s3cr3t@localhost/t?acks=1":                             `unknown parameter "acks"; known are ca, cert, key, own, password_file, sasl, tls`,
		"kafka://me:s3cr3t@localhost/t?own=1&own=2":                        "occurs 2 times",
		"kafka://me:s3cr3t@localhost/t?tls=yes":                            "neither off nor on",
		"kafka://me:s3cr3t@localhost/t#x":                                  "percent-encode",
		"kafka://me:s3cr3t@localhost/t?own=%zz":                            "percent-encode",
		"kafka://localhost/t?ca=/absent":                                   "TLS, which is off; add tls=on",
		"kafka://localhost/t?tls=off&cert=/absent":                         "TLS, which is off; add tls=on",
		"kafka://localhost/t?tls=on&ca=/absent/ca.pem":                     `parameter ca: file "/absent/ca.pem" cannot be read`,
		"kafka://localhost/t?tls=on&ca=/dev/null":                          "no PEM certificate",
		"kafka://localhost/t?tls=on&cert=/absent":                          "one of cert and key; give both",
		"kafka://localhost/t?tls=on&cert=/absent&key=/abs":                 "parameters cert and key",
		"kafka:///t":     "names no broker",
		"kafka:t":        "names no broker",
		"kafka://,h:1/t": "number 1 of its brokers is not an address",
		"kafka://h,/t":   "number 2 of its brokers is not an address",
	} {
		t.Run(raw, func(t *testing.T) {
			_, err := parse(t, raw)
			require.ErrorIs(t, err, eventstore.ErrInvalid)
			require.ErrorContains(t, err, "kafka URL")
			require.ErrorContains(t, err, want)
			require.NotContains(t, err.Error(), "s3cr3t")
		})
	}
}
