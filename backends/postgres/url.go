package postgres

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/switchyard-dev/switchyard/backends"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// OpenURL opens the store that a URL names, with a pool of its own:
//
//	postgres://user@db.example.com/shop                  schema "switchyard"
//	postgres://user@db.example.com/shop?schema=orders
//	postgres:///shop?host=/run/postgresql                a Unix socket
//
// Parameters of this package are the fields of [Options]:
//
//	schema=orders     Schema
//	poll=200ms        Poll, a duration
//	listen=off        NoListen, for transaction poolers
//	migrate=off       NoMigration
//
// Those of libpq and of pgx keep their meaning (sslmode, sslrootcert,
// connect_timeout, application_name, pool_max_conns, default_query_exec_mode, …);
// client_encoding, gssencmode, keepalives and sslcompression are accepted where they ask
// for what happens anyway. Anything else is ErrInvalid, among it search_path, for which
// there is schema, and the times of keepalives. As in libpq a space is %20 and a plus a
// plus; a socket's folder is given with host=, and not as an encoded host. Behind a transaction pooler that does not follow
// prepared statements, use listen=off and default_query_exec_mode=exec. A password is better kept in PGPASSWORD or a
// passfile than in a URL.
//
// TLS: unless the URL or PGSSLMODE says otherwise, the server's certificate is
// verified (sslmode=verify-full) wherever one of the hosts is not this machine.
// Connections go to a primary (target_session_attrs=primary) unless the URL says
// otherwise: a replica can show another order.
func OpenURL(ctx context.Context, u *url.URL) (*Backend, error) {
	opts, config, err := parseURL(u)
	if err != nil {
		return nil, fmt.Errorf("open postgres store: %w", err)
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("open postgres store: %w", readError(ctx, err))
	}
	b, err := Open(ctx, pool, opts)
	if err != nil {
		pool.Close()
		return nil, err
	}
	b.ownsPool = true
	return b, nil
}

// Scheme is "postgres://" and "postgresql://", for a [backends.Set].
func Scheme() backends.Scheme {
	return backends.Scheme{
		Names:    []string{"postgres", "postgresql"},
		Form:     "postgres://USER@HOST/DATABASE",
		Existing: "migrate=off",
		Open:     func(ctx context.Context, u *url.URL) (eventstore.Backend, error) { return OpenURL(ctx, u) },
	}
}

// ownParameters set this package's options.
func ownParameters() map[string]func(*Options, string) error {
	off := func(set func(*Options)) func(*Options, string) error {
		return func(o *Options, value string) error {
			switch value {
			case "on":
				return nil
			case "off":
				set(o)
				return nil
			}
			return fmt.Errorf("%.40q is neither on nor off", value)
		}
	}
	return map[string]func(*Options, string) error{
		"schema":  func(o *Options, value string) error { o.Schema = value; return checkSchema(value) },
		"listen":  off(func(o *Options) { o.NoListen = true }),
		"migrate": off(func(o *Options) { o.NoMigration = true }),
		"poll": func(o *Options, value string) error {
			poll, err := time.ParseDuration(value)
			if err != nil || poll <= 0 {
				return fmt.Errorf("%.40q is no positive duration such as 200ms", value)
			}
			o.Poll = poll
			return nil
		},
	}
}

// driverParameters are what libpq and pgx understand, and the server's settings
// that make sense for an event store's connections.
func driverParameters() []string {
	return []string{
		"host", "port", "user", "password", "dbname", "database", "passfile", "service", "servicefile",
		"connect_timeout", "target_session_attrs", "require_auth", "channel_binding", "krbspn", "krbsrvname",
		"min_protocol_version", "max_protocol_version",
		"sslmode", "sslkey", "sslcert", "sslcertmode", "sslrootcert", "sslnegotiation", "sslpassword", "sslsni",
		"pool_max_conns", "pool_min_conns", "pool_min_idle_conns", "pool_max_conn_lifetime", "pool_max_conn_lifetime_jitter",
		"pool_max_conn_idle_time", "pool_health_check_period", "pool_ping_timeout",
		"default_query_exec_mode", "statement_cache_capacity", "description_cache_capacity",
		"application_name", "options", "statement_timeout", "idle_in_transaction_session_timeout",
		"synchronous_commit", "tcp_user_timeout",
	}
}

// libpqOnly takes the parameters of libpq that the driver does not know, where what
// they ask for is what happens anyway. ok says that it is one of them.
func libpqOnly(name, value string) (ok bool, err error) {
	happens := map[string][]string{
		"client_encoding": {"UTF8", "utf8", "UTF-8", "utf-8", "auto"},
		"gssencmode":      {"disable", "prefer"},
		"sslcompression":  {"0"},
		"keepalives":      {"1"},
	}
	values, ok := happens[name]
	switch {
	case name == "search_path":
		return false, fmt.Errorf("the store is in one schema, whatever the search path is; name it with schema=")
	case ok && !slices.Contains(values, value):
		return true, fmt.Errorf("it can only be %s", strings.Join(values, " or "))
	}
	return ok, nil
}

func invalidURL(format string, args ...any) error {
	return &eventstore.InvalidError{Field: "postgres URL", Reason: fmt.Sprintf(format, args...)}
}

// parseParameters reads a URL's parameters as libpq and the driver do: a plus is a plus.
func parseParameters(u *url.URL) (url.Values, error) {
	values, err := url.ParseQuery(strings.ReplaceAll(u.RawQuery, "+", "%2B"))
	if err != nil {
		return nil, invalidURL("its parameters cannot be read; percent-encode special characters")
	}
	return values, nil
}

// encodeParameters writes parameters for libpq and the driver: a space is %20.
func encodeParameters(values url.Values) string {
	return strings.ReplaceAll(values.Encode(), "+", "%20")
}

func parseURL(u *url.URL) (*Options, *pgxpool.Config, error) {
	if u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return nil, nil, invalidURL("its scheme is %.40q; write postgres://host/database", u.Scheme)
	}
	if u.Opaque != "" || u.Fragment != "" {
		return nil, nil, invalidURL("write postgres://host/database?parameters; percent-encode '#' in a password")
	}
	values, err := parseParameters(u)
	if err != nil {
		return nil, nil, err
	}
	opts, own, driver := &Options{}, ownParameters(), driverParameters()
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if len(values[name]) > 1 {
			return nil, nil, invalidURL("parameter %.40q is there twice", name)
		}
		if ok, err := libpqOnly(name, values.Get(name)); ok || err != nil {
			if err != nil {
				return nil, nil, invalidURL("parameter %s: %v", name, err)
			}
			values.Del(name)
		} else if set, ok := own[name]; ok {
			if err := set(opts, values.Get(name)); err != nil {
				return nil, nil, invalidURL("parameter %s: %v", name, err)
			}
			values.Del(name)
		} else if !slices.Contains(driver, name) {
			return nil, nil, invalidURL("unknown parameter %.40q; known are %s, and of the driver %s",
				name, strings.Join(slices.Sorted(maps.Keys(own)), ", "), strings.Join(driver, ", "))
		}
	}
	config, err := driverConfig(u, values)
	return opts, config, err
}

// driverConfig lets the driver read what is left of the URL, with safe defaults.
func driverConfig(u *url.URL, values url.Values) (*pgxpool.Config, error) {
	for name, value := range map[string]string{"application_name": "switchyard", "target_session_attrs": "primary"} {
		if !values.Has(name) {
			values.Set(name, value)
		}
	}
	parse := func() (*pgxpool.Config, error) {
		driver := *u
		driver.RawQuery = encodeParameters(values)
		config, err := pgxpool.ParseConfig(driver.String())
		if err != nil {
			return nil, invalidURL("%s", refusal(err))
		}
		return config, nil
	}
	config, err := parse()
	if err != nil || values.Has("sslmode") || os.Getenv("PGSSLMODE") != "" || isLocal(config) {
		return config, err
	}
	values.Set("sslmode", "verify-full")
	return parse()
}

// refusal is why the driver cannot use a URL. The driver's text begins with the
// URL, whose password it hides as well as it can; we leave all of that out.
func refusal(err error) string {
	if _, reason, ok := strings.Cut(err.Error(), "`: "); ok {
		return reason
	}
	return "the driver cannot read it"
}

// isLocal tells whether every host is this machine.
func isLocal(config *pgxpool.Config) bool {
	local := isLocalHost(config.ConnConfig.Host)
	for _, fallback := range config.ConnConfig.Fallbacks {
		local = local && isLocalHost(fallback.Host)
	}
	return local
}

func isLocalHost(host string) bool {
	if strings.HasPrefix(host, "/") || strings.HasPrefix(host, "@") { // a Unix socket
		return true
	}
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}

// PoolConfig returns the configuration of a pool on the database that a URL
// names, with everything that [OpenURL] takes from it but this package's own
// parameters. Applications use it to share one pool, or to work on the same
// database beside the store.
func PoolConfig(u *url.URL) (*pgxpool.Config, error) {
	_, config, err := parseURL(u)
	return config, err
}
