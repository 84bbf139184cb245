package kafka

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"github.com/switchyard-dev/switchyard/backends"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/kafkaclient"
	"github.com/switchyard-dev/switchyard/internal/urlparam"
)

// OpenURL opens the store that a URL names:
//
//	kafka://localhost:9092/orders
//	kafka://user:password@broker1:9092,broker2:9092/orders?sasl=scram-sha-512
//
// The path is the store's name: its topics begin with it. Brokers on other machines
// are reached by TLS, and their certificates verified, unless tls=off. The
// parameters are
//
//	sasl=plain|scram-sha-256|scram-sha-512   how to show the user and password; what
//	                    the URL does not have of them may stand in
//	                    SWITCHYARD_KAFKA_USER and SWITCHYARD_KAFKA_PASSWORD
//	password_file=FILE  a file with the password, in place of one in the URL
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
// Anything else is ErrInvalid, and so is a user without sasl, and a password beside
// password_file.
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

// target is what a URL names.
type target struct {
	brokers []string
	store   string
	opts    Options
}

// parseURL never quotes the URL's credentials in an error.
func parseURL(u *url.URL) (target, error) {
	var t target
	location, err := kafkaclient.ParseURL(u, map[string]func(value string) error{
		"replication": urlparam.Count(&t.opts.Replication),
		"fsync":       fsyncInto(&t.opts.Fsync),
		"index":       func(dir string) error { t.opts.Index = dir; return nil },
		"poll":        urlparam.Duration(&t.opts.Poll),
		"push":        urlparam.Word(&t.opts.NoPush, "on", "off"),
		"create":      urlparam.Word(&t.opts.NoCreate, "on", "off"),
	})
	if err != nil {
		return target{}, err
	}
	if location.Name == "" || strings.Contains(location.Name, "/") {
		return target{}, kafkaclient.Invalid("its path is not the name of a store; write kafka://localhost:9092/orders")
	}
	t.brokers, t.store, t.opts.Transport = location.Brokers, location.Name, location.Transport
	return t, nil
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
