package kafkaclient

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/urlparam"
)

// The environment variables with the user of a URL that has none, and with the
// password of one that has none.
const (
	UserVariable     = "SWITCHYARD_KAFKA_USER"
	PasswordVariable = "SWITCHYARD_KAFKA_PASSWORD"
)

const defaultPort = "9092"

// Location is what a URL says: where something is, and how to get there.
type Location struct {
	// Brokers are host:port each.
	Brokers []string
	// Name is the path: a topic or a store.
	Name string
	// Transport is a template for [New].
	Transport *kafka.Transport
}

// ParseURL reads a URL of this form:
//
//	kafka://USER:PASSWORD@HOST:PORT,HOST:PORT/NAME?…
//
// Of several brokers the last one needs its port, or url.Parse refuses the URL; it
// knows one address of IPv6 alone.
//
//	sasl=scram-sha-512       or scram-sha-256, plain; the default with a user
//	password_file=FILE       in place of the password; or the variable PasswordVariable
//	tls=on                   or off; by default on unless all brokers are this machine
//	ca=FILE                  the brokers' authorities, in PEM, in place of the system's
//	cert=FILE&key=FILE       the client's certificate and key, in PEM
//
// own has the parameters of the caller. Anything else is ErrInvalid. No error shows a
// credential.
func ParseURL(u *url.URL, own map[string]func(value string) error) (Location, error) {
	var s security
	known := map[string]func(string) error{
		"sasl":          MechanismName(&s.mechanism),
		"password_file": s.setPasswordFile,
		"tls":           func(value string) error { s.chosen = true; return urlparam.Word(&s.tls, "off", "on")(value) },
		"ca":            func(value string) error { s.ca = value; return nil },
		"cert":          func(value string) error { s.cert = value; return nil },
		"key":           func(value string) error { s.key = value; return nil },
	}
	maps.Copy(known, own)
	if err := readParameters(u, known); err != nil {
		return Location{}, err
	}
	brokers, err := brokersOf(u)
	if err != nil {
		return Location{}, err
	}
	if !s.chosen {
		s.tls = AnyRemote(brokers)
	}
	transport, err := s.transport(u.User)
	if err != nil {
		return Location{}, err
	}
	return Location{Brokers: brokers, Name: strings.TrimPrefix(u.Path, "/"), Transport: transport}, nil
}

func invalid(format string, args ...any) error {
	return &eventstore.InvalidError{Field: "Kafka URL", Reason: fmt.Sprintf(format, args...)}
}

func readParameters(u *url.URL, known map[string]func(string) error) error {
	if u.Fragment != "" {
		return invalid("it has a '#'; percent-encode special characters, above all in passwords")
	}
	values, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return invalid("its parameters cannot be read; percent-encode special characters")
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		set, ok := known[name]
		switch {
		case !ok:
			return invalid("unknown parameter %.40q; known are %s", name, strings.Join(slices.Sorted(maps.Keys(known)), ", "))
		case len(values[name]) > 1:
			return invalid("parameter %s is given %d times", name, len(values[name]))
		}
		if err := set(values[name][0]); err != nil {
			return invalid("parameter %s: %s", name, err)
		}
	}
	return nil
}

func brokersOf(u *url.URL) ([]string, error) {
	var brokers []string
	for _, broker := range strings.Split(u.Host, ",") {
		host, port, err := net.SplitHostPort(broker)
		if err != nil { // there is no port
			host, port = strings.Trim(broker, "[]"), defaultPort
		}
		if host == "" || port == "" || u.Opaque != "" {
			return nil, invalid("give the brokers as host:port,host:port after kafka://")
		}
		brokers = append(brokers, net.JoinHostPort(host, port))
	}
	return brokers, nil
}

// AnyRemote tells whether a broker, each a host:port, is on another machine.
func AnyRemote(brokers []string) bool { return slices.ContainsFunc(brokers, isRemote) }

func isRemote(broker string) bool {
	host, _, err := net.SplitHostPort(broker)
	ip := net.ParseIP(host)
	return err != nil || host != "localhost" && (ip == nil || !ip.IsLoopback())
}

// security is how to prove who one is, and that the brokers are who they are.
type security struct {
	mechanism     string
	passwordFile  string
	tls, chosen   bool
	ca, cert, key string
}

func (s *security) setPasswordFile(value string) error {
	s.passwordFile = value
	return nil
}

func (s *security) transport(user *url.Userinfo) (*kafka.Transport, error) {
	t := &kafka.Transport{}
	var err error
	if t.SASL, err = s.sasl(user); err != nil {
		return nil, err
	}
	if t.TLS, err = s.tlsConfig(); err != nil {
		return nil, err
	}
	return t, nil
}

func (s *security) sasl(user *url.Userinfo) (sasl.Mechanism, error) {
	name := cmp.Or(user.Username(), os.Getenv(UserVariable))
	if name == "" {
		if s.mechanism != "" || s.passwordFile != "" {
			return nil, invalid("sasl and password_file need a user: kafka://USER@HOST, or %s", UserVariable)
		}
		return nil, nil
	}
	password, given := user.Password()
	if s.passwordFile != "" {
		if given {
			return nil, invalid("it has a password and password_file; give one")
		}
		text, err := os.ReadFile(s.passwordFile)
		if err != nil {
			return nil, invalid("parameter password_file: %s", err)
		}
		password, given = strings.TrimRight(string(text), "\r\n"), true
	}
	if !given {
		password = os.Getenv(PasswordVariable)
	}
	if password == "" {
		return nil, invalid("there is a user and no password; give it in the URL, with password_file=, or in %s", PasswordVariable)
	}
	mechanism, ok := Mechanism(s.mechanism, name, password)
	if !ok {
		return nil, invalid("SCRAM does not take the user or the password")
	}
	return mechanism, nil
}

func (s *security) tlsConfig() (*tls.Config, error) {
	if !s.tls {
		if s.ca != "" || s.cert != "" || s.key != "" {
			return nil, invalid("ca, cert and key are for tls=on")
		}
		return nil, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if s.ca != "" {
		text, err := os.ReadFile(s.ca)
		if err != nil {
			return nil, invalid("parameter ca: %s", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(text) {
			return nil, invalid("parameter ca: %s holds no certificate in PEM", s.ca)
		}
	}
	if s.cert != "" || s.key != "" {
		pair, err := tls.LoadX509KeyPair(s.cert, s.key)
		if err != nil {
			return nil, invalid("parameters cert and key: %s", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}
