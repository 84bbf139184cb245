package kafka_test

import (
	"bytes"
	"context"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	kafkago "github.com/segmentio/kafka-go"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/kafka"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/certificates"
	"github.com/switchyard-dev/switchyard/internal/relaytest"
	"github.com/switchyard-dev/switchyard/internal/testservers"
	"github.com/switchyard-dev/switchyard/relay"
	relaykafka "github.com/switchyard-dev/switchyard/relay/kafka"
)

// What must be in no error and in no line of a log.
const (
	rightPassword = "s3cr3t-right"
	wrongPassword = "s3cr3t-wrong"
	secret        = "s3cr3t"
)

// guarded is a broker with a listener for each way to prove who one is.
type guarded struct {
	*testservers.Kafka
	ca, otherCA, cert, key string // files
}

// The listeners, by what they ask for.
const (
	users  = "USERS"  // a user, by any mechanism
	secure = "SECURE" // a user by SCRAM-SHA-512, through TLS
	sealed = "SEALED" // nothing, through TLS
	mutual = "MUTUAL" // a client's certificate
	astray = "ASTRAY" // nothing, through TLS; clients are sent to an address that the certificate is not for
)

func newGuarded(t *testing.T) *guarded {
	t.Helper()
	g := &guarded{}
	dir := t.TempDir()
	file := func(name string, text ...[]byte) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, bytes.Join(text, nil), 0o600))
		return path
	}
	keyOf := func(certificate tls.Certificate) []byte {
		key, err := certificates.KeyPEM(certificate)
		require.NoError(t, err)
		return key
	}
	authority, err := certificates.NewAuthority("test authority")
	require.NoError(t, err)
	other, err := certificates.NewAuthority("another authority")
	require.NoError(t, err)
	server, err := certificates.Issue(authority, "broker", "localhost")
	require.NoError(t, err)
	client, err := certificates.Issue(authority, "client")
	require.NoError(t, err)
	g.ca, g.otherCA = file("ca.pem", certificates.PEM(authority)), file("other.pem", certificates.PEM(other))
	g.cert, g.key = file("client.pem", certificates.PEM(client)), file("client.key", keyOf(client))
	keystore := file("server.pem", keyOf(server), certificates.PEM(server))

	const scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
	settings := map[string]string{
		"ssl.keystore.type": "PEM", "ssl.keystore.location": keystore,
		"ssl.truststore.type": "PEM", "ssl.truststore.location": g.ca,
		"listener.name.users.sasl.enabled.mechanisms":         "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
		"listener.name.users.plain.sasl.jaas.config":          `org.apache.kafka.common.security.plain.PlainLoginModule required user_plain="` + rightPassword + `";`,
		"listener.name.users.scram-sha-256.sasl.jaas.config":  scram,
		"listener.name.users.scram-sha-512.sasl.jaas.config":  scram,
		"listener.name.secure.sasl.enabled.mechanisms":        "SCRAM-SHA-512",
		"listener.name.secure.scram-sha-512.sasl.jaas.config": scram,
		"listener.name.mutual.ssl.client.auth":                "required",
	}
	g.Kafka = testservers.PrivateKafka(t, testservers.KafkaOptions{Settings: settings, Listeners: map[string]testservers.KafkaListener{
		users:  {Protocol: "SASL_PLAINTEXT"},
		secure: {Protocol: "SASL_SSL", Host: "localhost"},
		sealed: {Protocol: "SSL", Host: "localhost"},
		mutual: {Protocol: "SSL", Host: "localhost"},
		astray: {Protocol: "SSL"},
	}})
	return g
}

// credentials makes users who show themselves by SCRAM, or deletes them.
func (g *guarded) credentials(t *testing.T, req *kafkago.AlterUserScramCredentialsRequest) {
	t.Helper()
	transport := &kafkago.Transport{}
	defer transport.CloseIdleConnections()
	client := &kafkago.Client{Addr: kafkago.TCP(g.Addresses()...), Transport: transport, Timeout: 10 * time.Second}
	altered, err := client.AlterUserScramCredentials(t.Context(), req)
	require.NoError(t, err)
	for _, user := range altered.Results {
		require.NoError(t, user.Error)
	}
}

func scramUser(t *testing.T, name string, mechanism kafkago.ScramMechanism) kafkago.UserScramCredentialsUpsertion {
	t.Helper()
	const iterations = 4096 // the least that Kafka takes
	salt := []byte(rand.Text())
	salted, err := pbkdf2.Key(sha256.New, rightPassword, salt, iterations, sha256.Size)
	if mechanism == kafkago.ScramMechanismSha512 {
		salted, err = pbkdf2.Key(sha512.New, rightPassword, salt, iterations, sha512.Size)
	}
	require.NoError(t, err)
	return kafkago.UserScramCredentialsUpsertion{Name: name, Mechanism: mechanism, Iterations: iterations, Salt: salt, SaltedPassword: salted}
}

// url is that of a store at a listener: HOST instead of the one that it is at, if given.
func (g *guarded) url(listener, user, host string, parameters url.Values) *url.URL {
	address := g.Addresses()[0]
	if listener != "" {
		address = g.Listener(listener)[0]
	}
	if host != "" {
		_, port, _ := net.SplitHostPort(address)
		address = net.JoinHostPort(host, port)
	}
	u := &url.URL{Scheme: "kafka", Host: address, Path: "/orders", RawQuery: parameters.Encode()}
	if user != "" {
		u.User = url.UserPassword(user, rightPassword)
	}
	return u
}

// logged is a logger for everything, and what it was told.
func logged() (*slog.Logger, *lockedWriter) {
	w := &lockedWriter{}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug})), w
}

func openLogged(ctx context.Context, u *url.URL, logger *slog.Logger) (*kafka.Backend, error) {
	brokers, store, opts, err := kafka.ParseURL(u)
	if err != nil {
		return nil, err
	}
	opts.Logger = logger
	return kafka.Open(ctx, brokers, store, opts)
}

// One broker for all of it, because a start takes seconds.
func TestBrokersAreReachedByEveryKindOfProofAndByNoOther(t *testing.T) {
	g := newGuarded(t)
	g.credentials(t, &kafkago.AlterUserScramCredentialsRequest{Upsertions: []kafkago.UserScramCredentialsUpsertion{
		scramUser(t, "scram256", kafkago.ScramMechanismSha256),
		scramUser(t, "scram512", kafkago.ScramMechanismSha512),
		scramUser(t, "leaver", kafkago.ScramMechanismSha512),
	}})
	ca := func(more ...string) url.Values {
		parameters := url.Values{"tls": {"on"}, "ca": {g.ca}}
		for i := 0; i < len(more); i += 2 {
			parameters.Set(more[i], more[i+1])
		}
		return parameters
	}
	sasl := func(mechanism string) url.Values { return url.Values{"sasl": {mechanism}} }

	version := uint64(0)
	for name, right := range map[string]*url.URL{
		"PLAIN":                     g.url(users, "plain", "", sasl("plain")),
		"SCRAM-SHA-256":             g.url(users, "scram256", "", sasl("scram-sha-256")),
		"SCRAM-SHA-512":             g.url(users, "scram512", "", sasl("scram-sha-512")),
		"SCRAM-SHA-512 through TLS": g.url(secure, "scram512", "", ca("sasl", "scram-sha-512")),
		"TLS":                       g.url(sealed, "", "", ca()),
		"a client's certificate":    g.url(mutual, "", "", ca("cert", g.cert, "key", g.key)),
	} {
		t.Run("right: "+name, func(t *testing.T) {
			logger, told := logged()
			backend, err := openLogged(t.Context(), right, logger)
			require.NoError(t, err)
			store, err := eventstore.New(backend, &eventstore.Options{Logger: logger})
			require.NoError(t, err)
			result, err := store.Append(t.Context(), "s", eventstore.Exactly(version), happened())
			require.NoError(t, err)
			version++
			require.Equal(t, version, result.Version)
			for message, err := range store.Subscribe(t.Context(), eventstore.SubscribeOptions{}) {
				require.NoError(t, err)
				if message.Kind == eventstore.MessageEvent && message.Event.Version == version {
					break
				}
			}
			info, err := store.Info(t.Context())
			require.NoError(t, err)
			checkpoint := eventstore.Checkpoint{Name: "n", Place: info.Head, Store: info.ID}
			require.NoError(t, backend.Records().Checkpoints.Save(t.Context(), eventstore.SaveCheckpointRequest{Checkpoint: checkpoint}))
			require.NoError(t, store.Close())
			require.NotContains(t, told.String(), secret)
		})
	}

	withPassword := func(u *url.URL, password string) *url.URL {
		u.User = url.UserPassword(u.User.Username(), password)
		return u
	}
	for name, wrong := range map[string]struct {
		url   *url.URL
		want  []string
		waits bool // for a broker that ends looks the same
	}{
		"a wrong password, PLAIN":             {withPassword(g.url(users, "plain", "", sasl("plain")), wrongPassword), []string{"correct the user or the password"}, false},
		"a wrong password, SCRAM-SHA-256":     {withPassword(g.url(users, "scram256", "", sasl("scram-sha-256")), wrongPassword), []string{"correct the user or the password"}, false},
		"a wrong password, SCRAM-SHA-512":     {withPassword(g.url(users, "scram512", "", sasl("scram-sha-512")), wrongPassword), []string{"correct the user or the password"}, false},
		"a wrong password through TLS":        {withPassword(g.url(secure, "scram512", "", ca("sasl", "scram-sha-512")), wrongPassword), []string{"correct the user or the password"}, false},
		"a user who does not exist":           {g.url(users, "nobody", "", sasl("scram-sha-512")), []string{"correct the user or the password"}, false},
		"a mechanism that is another's":       {g.url(users, "scram512", "", sasl("scram-sha-256")), []string{"choose the mechanism (sasl=)"}, false},
		"a mechanism that is not taken":       {g.url(secure, "plain", "", ca("sasl", "plain")), []string{"choose a SASL mechanism that the listener has (sasl=)"}, false},
		"a user where none is asked for":      {g.url("", "plain", "", sasl("plain")), []string{"or none"}, false},
		"no user where one is asked for":      {g.url(users, "", "", nil), []string{"sasl="}, true},
		"an authority that nobody knows":      {g.url(sealed, "", "", url.Values{"tls": {"on"}}), []string{"name the certificate authority of the brokers (ca=FILE)"}, false},
		"another authority":                   {g.url(sealed, "", "", url.Values{"tls": {"on"}, "ca": {g.otherCA}}), []string{"ca=FILE"}, false},
		"another host":                        {g.url(sealed, "", "127.0.0.1", ca()), []string{"127.0.0.1", "use the host names that the brokers' certificates are for"}, false},
		"another host where clients are sent": {g.url(astray, "", "localhost", ca()), []string{"127.0.0.1", "advertised.listeners"}, false},
		"no certificate":                      {g.url(mutual, "", "", ca()), []string{"cert=FILE, key=FILE"}, false},
		"plaintext where TLS is spoken":       {g.url(sealed, "", "", url.Values{"tls": {"off"}}), []string{"turn TLS on (tls=on)"}, false},
		"a password to where TLS is spoken":   {g.url(secure, "scram512", "", sasl("scram-sha-512")), []string{"turn TLS on (tls=on)"}, false},
		"TLS where plaintext is spoken":       {g.url("", "", "localhost", ca()), []string{"turn TLS off (tls=off)"}, true},
	} {
		t.Run("wrong: "+name, func(t *testing.T) {
			t.Parallel()
			logger, told := logged()
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			_, err := openLogged(ctx, wrong.url, logger)
			require.Error(t, err)
			t.Log(err)
			for _, want := range wrong.want {
				require.ErrorContains(t, err, want)
			}
			if wrong.waits {
				require.ErrorIs(t, err, eventstore.ErrUnavailable)
			} else {
				requireNoSentinel(t, err)
			}
			require.NotContains(t, fmt.Sprintf("%+v %#v", err, err), secret)
			require.NotContains(t, told.String(), secret)
		})
	}

	t.Run("a relay shows itself as a store does", func(t *testing.T) {
		topic := relaytest.CreateTopic(t, g.Addresses(), "published", 1, nil)
		target := g.url(secure, "scram512", "", ca("sasl", "scram-sha-512"))
		target.Path = "/" + topic.Name
		publisher, err := relaykafka.OpenURL(t.Context(), target)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, publisher.Close()) })
		event := eventstore.RecordedEvent{Event: happened(), Stream: "s", Version: 1, Position: eventstore.NewPosition(1, 0), RecordedAt: time.Now()}
		event.ID = uuid.New()
		require.NoError(t, publisher.Publish(t.Context(), []relay.CloudEvent{relay.FromEvent("switchyard:test", event)}))
		require.Len(t, topic.Await(t, 1), 1)
		_, err = relaykafka.OpenURL(t.Context(), withPassword(target, wrongPassword))
		require.ErrorIs(t, err, eventstore.ErrInvalid)
		require.ErrorContains(t, err, "correct the user or the password")
		require.NotContains(t, err.Error(), secret)
	})

	t.Run("a user who is deleted is told so by what is open", func(t *testing.T) {
		logger, told := logged()
		backend, err := openLogged(t.Context(), g.url(users, "leaver", "", sasl("scram-sha-512")), logger)
		require.NoError(t, err)
		store, err := eventstore.New(backend, &eventstore.Options{Logger: logger, RetryFor: -1})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, store.Close()) })
		appendTo(t, store, "s", 1)
		g.credentials(t, &kafkago.AlterUserScramCredentialsRequest{Deletions: []kafkago.UserScramCredentialsDeletion{{Name: "leaver", Mechanism: kafkago.ScramMechanismSha512}}})
		for what, do := range map[string]func() error{
			"append": func() error {
				_, err := store.Append(t.Context(), "s", eventstore.Any(), happened())
				return err
			},
			"read": func() error {
				_, err := store.StreamVersion(t.Context(), "s")
				return err
			},
			"checkpoint": func() error {
				_, _, err := store.LoadCheckpoint(t.Context(), "n")
				return err
			},
		} {
			var err error
			require.Eventually(t, func() bool { // the broker may not have heard yet
				backend.Disconnect()
				err = do()
				return err != nil && strings.Contains(err.Error(), "correct the user or the password")
			}, 20*time.Second, 50*time.Millisecond, what)
			t.Logf("%s: %v", what, err)
			requireNoSentinel(t, err)
			require.NotContains(t, fmt.Sprintf("%+v", err), secret)
		}
		require.NotContains(t, told.String(), secret)
	})
}
