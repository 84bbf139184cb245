package kafkaclient

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
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

// The environment variables with the user of a URL that has sasl and none, and with the
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
//	sasl=scram-sha-512       or scram-sha-256, plain: how to show the user and password
//	password_file=FILE       a file with the password, in place of one in the URL
//	tls=on                   or off; by default on unless all brokers are this machine
//	ca=FILE                  the brokers' authorities, in PEM, in place of the system's
//	cert=FILE&key=FILE       the client's certificate and key, in PEM
//
// A user or a password that a URL with sasl does not name comes from the environment. A
// URL that can be read in two ways is refused, with what to change: credentials without
// sasl, sasl without credentials, a password and password_file, certificates without TLS.
//
// own has the parameters of the caller. Anything else is ErrInvalid. No error shows a
// credential.
func ParseURL(u *url.URL, own map[string]func(value string) error) (Location, error) {
	switch {
	case u.Opaque != "" || u.Host == "":
		return Location{}, Invalid("it names no broker; write kafka://localhost:9092/NAME")
	case u.Fragment != "" || u.RawFragment != "":
		return Location{}, Invalid("it has a fragment (#); percent-encode special characters, above all in passwords")
	}
	brokers, err := brokersOf(u.Host)
	if err != nil {
		return Location{}, err
	}
	values, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return Location{}, Invalid("its parameters cannot be read; percent-encode special characters")
	}
	s := security{user: u.User, tls: slices.ContainsFunc(brokers, isRemote)}
	known := map[string]func(string) error{
		"sasl":          s.setMechanism,
		"password_file": fileInto(&s.passwordFile),
		"tls":           urlparam.Word(&s.tls, "off", "on"),
		"ca":            fileInto(&s.ca),
		"cert":          fileInto(&s.cert),
		"key":           fileInto(&s.key),
	}
	maps.Copy(known, own)
	if err := urlparam.Read(values, known, Invalid); err != nil {
		return Location{}, err
	}
	transport, err := s.transport()
	if err != nil {
		return Location{}, err
	}
	return Location{Brokers: brokers, Name: strings.TrimPrefix(u.Path, "/"), Transport: transport}, nil
}

// Invalid is the error of a URL, for this reason.
func Invalid(format string, args ...any) error {
	return &eventstore.InvalidError{Field: "kafka URL", Reason: fmt.Sprintf(format, args...)}
}

// brokersOf adds Kafka's port where there is none.
func brokersOf(hosts string) ([]string, error) {
	var brokers []string
	for broker := range strings.SplitSeq(hosts, ",") {
		host, port, err := net.SplitHostPort(broker)
		if err != nil { // there is no port
			host, port = strings.Trim(broker, "[]"), defaultPort
		}
		if host == "" || port == "" || strings.Contains(host, ":") && net.ParseIP(host) == nil {
			return nil, Invalid("number %d of its brokers is not an address; give host:port,host:port after kafka://", len(brokers)+1)
		}
		brokers = append(brokers, net.JoinHostPort(host, port))
	}
	return brokers, nil
}

func isRemote(broker string) bool {
	host, _, err := net.SplitHostPort(broker)
	ip := net.ParseIP(host)
	return err != nil || host != "localhost" && (ip == nil || !ip.IsLoopback())
}

// security is how to prove who one is, and that the brokers are who they are.
type security struct {
	user          *url.Userinfo
	mechanism     string
	passwordFile  string
	tls           bool
	ca, cert, key string
}

func fileInto(field *string) func(value string) error {
	return func(value string) error {
		if value == "" {
			return errors.New("it names no file")
		}
		*field = value
		return nil
	}
}

func (s *security) transport() (*kafka.Transport, error) {
	t := &kafka.Transport{}
	var err error
	if t.SASL, err = s.sasl(); err != nil {
		return nil, err
	}
	if t.TLS, err = s.tlsConfig(); err != nil {
		return nil, err
	}
	return t, nil
}

func (s *security) sasl() (sasl.Mechanism, error) {
	if s.mechanism == "" {
		if s.user != nil || s.passwordFile != "" {
			return nil, Invalid("it has a user or a password and does not say how to show them; add sasl=scram-sha-512, sasl=scram-sha-256 or sasl=plain")
		}
		return nil, nil //nolint:nilnil // no mechanism is no authentication
	}
	user, password, err := s.credentials()
	if err != nil {
		return nil, err
	}
	if user == "" || password == "" {
		return nil, Invalid("sasl=%s needs a user and a password: in the URL, in %s and %s, or the password in password_file", s.mechanism, UserVariable, PasswordVariable)
	}
	mechanism, ok := mechanismOf(s.mechanism, user, password)
	if !ok {
		return nil, Invalid("the user or the password has characters that sasl=%s does not take", s.mechanism)
	}
	return mechanism, nil
}

func (s *security) credentials() (user, password string, err error) {
	user = cmp.Or(s.user.Username(), os.Getenv(UserVariable))
	password, given := s.user.Password()
	switch {
	case given && s.passwordFile != "":
		return "", "", Invalid("it has a password and password_file; leave one of them out")
	case s.passwordFile != "":
		text, err := readFile("password_file", s.passwordFile)
		return user, strings.TrimRight(string(text), "\r\n"), err
	case !given:
		password = os.Getenv(PasswordVariable)
	}
	return user, password, nil
}

// tlsConfig is nil without TLS. Certificates are always verified.
func (s *security) tlsConfig() (*tls.Config, error) {
	if !s.tls {
		if s.ca != "" || s.cert != "" || s.key != "" {
			return nil, Invalid("ca, cert and key are for TLS, which is off; add tls=on, or leave them out")
		}
		return nil, nil //nolint:nilnil // no configuration is no TLS
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if s.ca != "" {
		text, err := readFile("ca", s.ca)
		if err != nil {
			return nil, err
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(text) {
			return nil, Invalid("parameter ca: file %q has no PEM certificate", s.ca)
		}
	}
	switch {
	case s.cert == "" && s.key == "":
		return config, nil
	case s.cert == "" || s.key == "":
		return nil, Invalid("it has one of cert and key; give both")
	}
	certificate, err := tls.LoadX509KeyPair(s.cert, s.key)
	if err != nil {
		return nil, Invalid("parameters cert and key: the certificate %q and its key %q cannot be read: %s", s.cert, s.key, withoutPath(err))
	}
	config.Certificates = []tls.Certificate{certificate}
	return config, nil
}

func readFile(parameter, file string) ([]byte, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, Invalid("parameter %s: file %q cannot be read: %s", parameter, file, withoutPath(err))
	}
	return text, nil
}

// withoutPath leaves out which file cannot be read, where that is said already.
func withoutPath(err error) error {
	if path := (*fs.PathError)(nil); errors.As(err, &path) {
		return path.Err
	}
	return err
}
