package kafka

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strings"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/switchyard-dev/switchyard/backends"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/kafkaclient"
	"github.com/switchyard-dev/switchyard/internal/urlparam"
)

const defaultPort = "9092"

// OpenURL opens the store that a URL names:
//
//	kafka://localhost:9092/orders
//	kafka://user:password@broker1:9092,broker2:9092/orders?sasl=scram-sha-512
//
// The path is the store's name: its topics begin with it. Brokers on other machines
// are reached by TLS, and their certificates verified, unless tls=off. The
// parameters are
//
//	sasl=plain|scram-sha-256|scram-sha-512   how to show the user and password; they
//	                    may stand in SWITCHYARD_KAFKA_USER and
//	                    SWITCHYARD_KAFKA_PASSWORD instead of the URL
//	password_file=FILE  a file with the password
//	tls=on|off          default: on, but off where all brokers are on this machine
//	ca=FILE             PEM certificates of the authorities to trust, and no others
//	cert=FILE key=FILE  a PEM client certificate and its key
//
// and the fields of [Options]:
//
//	replication=3       Replication
//	fsync=on|off        Fsync; true and false are taken too
//	index=DIR           Index
//	poll=1s             Poll
//	push=on|off         off is NoPush
//	create=on|off       off is NoCreate
//
// Anything else is ErrInvalid.
func OpenURL(ctx context.Context, u *url.URL) (*Backend, error) {
	target, err := parseURL(u)
	if err != nil {
		return nil, err
	}
	return Open(ctx, target.brokers, target.store, &target.opts)
}

// Scheme is "kafka://HOST:PORT,…/STORE", for a [backends.Set].
func Scheme() backends.Scheme {
	return backends.Scheme{
		Names:    []string{"kafka"},
		Form:     "kafka://HOST:PORT,HOST:PORT/STORE",
		Existing: "create=off",
		Open:     func(ctx context.Context, u *url.URL) (eventstore.Backend, error) { return OpenURL(ctx, u) },
	}
}

// ParseURL returns the brokers, the store's name and the options that [OpenURL] takes
// from a URL: for programs that work on the same cluster beside the store. Files that
// it names are read.
func ParseURL(u *url.URL) (brokers []string, store string, opts *Options, err error) {
	target, err := parseURL(u)
	if err != nil {
		return nil, "", nil, err
	}
	return target.brokers, target.store, &target.opts, nil
}

func invalidURL(format string, args ...any) error {
	return &eventstore.InvalidError{Field: "kafka URL", Reason: fmt.Sprintf(format, args...)}
}

// target is what a URL names.
type target struct {
	brokers []string
	store   string
	opts    Options
}

// parseURL never quotes the URL's credentials in an error.
func parseURL(u *url.URL) (target, error) {
	var t target
	switch {
	case u.Opaque != "" || u.Host == "":
		return t, invalidURL("it names no broker; write kafka://localhost:9092/orders")
	case u.Fragment != "" || u.RawFragment != "":
		return t, invalidURL("it has a fragment (#); percent-encode special characters")
	}
	t.store = strings.TrimPrefix(u.Path, "/")
	if t.store == "" || strings.Contains(t.store, "/") {
		return t, invalidURL("its path is not the name of a store; write kafka://localhost:9092/orders")
	}
	for host := range strings.SplitSeq(u.Host, ",") {
		broker, err := withPort(host)
		if err != nil {
			return t, err
		}
		t.brokers = append(t.brokers, broker)
	}
	values, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return t, invalidURL("the parameters are not percent-encoded")
	}
	access := access{user: u.User, tls: kafkaclient.AnyRemote(t.brokers)}
	known := map[string]func(value string) error{
		"sasl":          kafkaclient.MechanismName(&access.mechanism),
		"password_file": access.setPasswordFile,
		"tls":           urlparam.Word(&access.tls, "off", "on"),
		"ca":            access.setAuthorities,
		"cert":          func(file string) error { access.certFile = file; return nil },
		"key":           func(file string) error { access.keyFile = file; return nil },
		"replication":   urlparam.Count(&t.opts.Replication),
		"fsync":         fsyncInto(&t.opts.Fsync),
		"index":         func(dir string) error { t.opts.Index = dir; return nil },
		"poll":          urlparam.Duration(&t.opts.Poll),
		"push":          urlparam.Word(&t.opts.NoPush, "on", "off"),
		"create":        urlparam.Word(&t.opts.NoCreate, "on", "off"),
	}
	if err := urlparam.Read(values, known, invalidURL); err != nil {
		return t, err
	}
	transport := &kafkago.Transport{}
	if transport.SASL, err = access.sasl(); err != nil {
		return t, err
	}
	if transport.TLS, err = access.tlsConfig(); err != nil {
		return t, err
	}
	t.opts.Transport = transport
	return t, nil
}

// withPort adds Kafka's port to a host that has none.
func withPort(host string) (string, error) {
	if host == "" {
		return "", invalidURL("a broker has no name; write kafka://localhost:9092/orders")
	}
	if _, _, err := net.SplitHostPort(host); err == nil {
		return host, nil
	}
	broker := net.JoinHostPort(strings.Trim(host, "[]"), defaultPort)
	if _, _, err := net.SplitHostPort(broker); err != nil {
		return "", invalidURL("%q is not the address of a broker", host)
	}
	return broker, nil
}

func fsyncInto(field *bool) func(string) error {
	return func(value string) error {
		switch value {
		case "on", "true":
			*field = true
		case "off", "false":
			*field = false
		default:
			return fmt.Errorf("%q is neither on nor off", value)
		}
		return nil
	}
}
