package esdb

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strings"

	client "github.com/EventStore/EventStore-Client-Go/v4/esdb"

	"github.com/switchyard-dev/switchyard/backends"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/urlparam"
)

// OpenURL opens the store that a URL names, in the form of EventStoreDB's own
// connection strings:
//
//	esdb://localhost:2113?tls=false
//	esdb+discover://user:password@cluster.example:2113
//
// These parameters are the fields of [Options]:
//
//	namespace=shop            Namespace
//	idempotency_window=1000   IdempotencyWindow, a number
//	max_append_size=4194304   MaxAppendSize, in bytes
//	poll=1s                   Poll, a duration
//	push=off                  NoPush
//	create=off                NoCreate
//	durability=power-loss     Durability: none, process-crash or power-loss
//	links=resolve             ResolveLinks
//
// and these are the official client's: tls, tlsVerifyCert, tlsCAFile,
// userCertFile, userKeyFile, gossipTimeout (seconds), maxDiscoverAttempts,
// discoveryInterval, keepAliveInterval, keepAliveTimeout and defaultDeadline
// (milliseconds). Anything else is ErrInvalid. A user with tls=false is too,
// because a password is not sent in the clear, and so is nodePreference, because
// reads from other nodes than the leader may be older than acknowledged appends.
func OpenURL(ctx context.Context, u *url.URL) (*Backend, error) {
	config, opts, err := parseURL(u)
	if err != nil {
		return nil, err
	}
	return Open(ctx, config, opts)
}

// Scheme is "esdb://" and "esdb+discover://", for a [backends.Set].
func Scheme() backends.Scheme {
	return backends.Scheme{
		Names:    []string{"esdb", "esdb+discover"},
		Form:     "esdb://HOST",
		Existing: "create=off",
		Open:     func(ctx context.Context, u *url.URL) (eventstore.Backend, error) { return OpenURL(ctx, u) },
	}
}

// ClientConfig returns the official client's configuration for the server that a
// URL names, with everything that [OpenURL] takes from it but this package's own
// parameters. Applications use it to work on the same server beside the store.
func ClientConfig(u *url.URL) (*client.Configuration, error) {
	config, _, err := parseURL(u)
	return config, err
}

func invalidURL(format string, args ...any) error {
	return &eventstore.InvalidError{Field: "esdb URL", Reason: fmt.Sprintf(format, args...)}
}

// parseURL splits a URL into the client's configuration and the options. Its
// errors never quote the URL's credentials.
func parseURL(u *url.URL) (*client.Configuration, *Options, error) {
	switch {
	case u.Scheme != "esdb" && u.Scheme != "esdb+discover":
		return nil, nil, invalidURL("its scheme is %q; write esdb:// or esdb+discover://", u.Scheme)
	case u.Opaque != "" || u.Host == "":
		return nil, nil, invalidURL("it names no host; write esdb://localhost:2113?tls=false")
	case u.Path != "" && u.Path != "/":
		return nil, nil, invalidURL("it has a path; a server has one log, so choose a store in it with namespace=NAME")
	case u.Fragment != "" || u.RawFragment != "":
		return nil, nil, invalidURL("it has a fragment (#); percent-encode special characters")
	}
	opts, theirs, err := parseParameters(u.RawQuery)
	if err != nil {
		return nil, nil, err
	}
	bare := *u
	bare.RawQuery = theirs.Encode()
	literals := withNames(&bare)
	config, err := client.ParseConnectionString(bare.String())
	if err != nil {
		return nil, nil, invalidURL("the client does not accept its host or parameters: %s", withoutSecrets(err, u))
	}
	literals.putBack(config)
	if _, err := newSettings(config); err != nil {
		return nil, nil, err
	}
	return config, opts, nil
}

// addresses are the IPv6 addresses of a URL, by the names that stand for them: the
// client's parser knows no brackets.
type addresses map[string]string

func withNames(u *url.URL) addresses {
	hosts, literals := strings.Split(u.Host, ","), addresses{}
	for i, host := range hosts {
		end := strings.IndexByte(host, ']')
		if end < 0 || host[0] != '[' {
			continue
		}
		name := fmt.Sprintf("literal%d.invalid", i)
		literals[name], hosts[i] = host[1:end], name+host[end+1:]
	}
	u.Host = strings.Join(hosts, ",")
	return literals
}

func (a addresses) putBack(config *client.Configuration) {
	if host, port, err := net.SplitHostPort(config.Address); err == nil && a[host] != "" {
		config.Address = net.JoinHostPort(a[host], port)
	}
	for _, seed := range config.GossipSeeds {
		if literal := a[seed.Host]; literal != "" {
			seed.Host = literal
		}
	}
}

// withoutSecrets returns an error's text unless it shows a piece of the URL's
// credentials.
func withoutSecrets(err error, u *url.URL) string {
	text := err.Error()
	password, _ := u.User.Password()
	if u.User != nil && (strings.Contains(text, "@") || (password != "" && strings.Contains(text, password))) {
		return "its text is withheld, because it shows the credentials"
	}
	return text
}

func parseParameters(query string) (*Options, url.Values, error) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return nil, nil, invalidURL("the parameters are not percent-encoded")
	}
	var opts Options
	ours := map[string]func(value string) error{
		"namespace":          func(value string) error { opts.Namespace = value; return nil },
		"idempotency_window": urlparam.Count(&opts.IdempotencyWindow),
		"max_append_size":    urlparam.Count(&opts.MaxAppendSize),
		"poll":               urlparam.Duration(&opts.Poll),
		"push":               urlparam.Word(&opts.NoPush, "on", "off"),
		"create":             urlparam.Word(&opts.NoCreate, "on", "off"),
		"durability":         urlparam.Durability(&opts.Durability),
		"links":              urlparam.Word(&opts.ResolveLinks, "raw", "resolve"),
	}
	theirs := []string{
		"tls", "tlsVerifyCert", "tlsCAFile", "userCertFile", "userKeyFile",
		"gossipTimeout", "maxDiscoverAttempts", "discoveryInterval", "keepAliveInterval", "keepAliveTimeout", "defaultDeadline",
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		set, own := ours[name]
		if !own && !slices.ContainsFunc(theirs, func(known string) bool { return strings.EqualFold(known, name) }) {
			known := slices.Concat(slices.Sorted(maps.Keys(ours)), theirs)
			return nil, nil, invalidURL("unknown parameter %q; known are %s", name, strings.Join(known, ", "))
		}
		if len(values[name]) > 1 {
			return nil, nil, invalidURL("parameter %s occurs %d times", name, len(values[name]))
		}
		if !own {
			continue
		}
		if err := set(values[name][0]); err != nil {
			return nil, nil, invalidURL("parameter %s: %s", name, err)
		}
		delete(values, name)
	}
	if _, err := newNames(opts.Namespace); err != nil {
		return nil, nil, err
	}
	if _, err := opts.withDefaults(); err != nil {
		return nil, nil, err
	}
	return &opts, values, nil
}
