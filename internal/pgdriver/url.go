package pgdriver

import (
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// Switch returns a parameter that is on or off; off calls set.
func Switch(set func()) Parameter {
	return Parameter{Set: func(value string) error {
		switch value {
		case "on":
			return nil
		case "off":
			set()
			return nil
		}
		return fmt.Errorf("%.40q is neither on nor off", value)
	}}
}

// Duration returns a parameter that is a duration above zero.
func Duration(into *time.Duration) Parameter {
	return Parameter{Set: func(value string) error {
		d, err := time.ParseDuration(value)
		if err != nil || d <= 0 {
			return fmt.Errorf("%.40q is no positive duration such as 200ms", value)
		}
		*into = d
		return nil
	}}
}

// Schema returns a parameter that is the name of a schema.
func Schema(into *string) Parameter {
	return Parameter{Set: func(value string) error {
		*into = value
		return CheckSchema(value)
	}}
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

func (f URL) invalid(format string, args ...any) error {
	return &eventstore.InvalidError{Field: f.Schemes[0] + " URL", Reason: fmt.Sprintf(format, args...)}
}

// parseParameters reads parameters as libpq and the driver do: a plus is a plus.
func parseParameters(query string) (url.Values, error) {
	return url.ParseQuery(strings.ReplaceAll(query, "+", "%2B"))
}

// encodeParameters writes parameters for libpq and the driver: a space is %20.
func encodeParameters(values url.Values) string {
	return strings.ReplaceAll(values.Encode(), "+", "%20")
}

// With returns a URL with other values of these parameters. What of its parameters
// cannot be read is left out.
func With(u *url.URL, parameters map[string]string) url.URL {
	values, _ := parseParameters(u.RawQuery)
	for name, value := range parameters {
		values.Set(name, value)
	}
	other := *u
	other.RawQuery = encodeParameters(values)
	return other
}

// Parameter is one of a backend's own parameters.
type Parameter struct {
	// Set takes the parameter's value, and says what is wrong with it.
	Set func(value string) error
	// Repeats says that the parameter may be given several times.
	Repeats bool
}

// URL says how the URLs of a backend are written.
type URL struct {
	// Schemes are the spellings of the scheme; the first one is the backend's name.
	Schemes []string
	// Own are the backend's own parameters.
	Own map[string]Parameter
}

// Parse takes a backend's own parameters out of a URL and lets the driver read the
// rest, with safe defaults. Every error is ErrInvalid.
func (f URL) Parse(u *url.URL) (*pgxpool.Config, error) {
	name := f.Schemes[0]
	if !slices.Contains(f.Schemes, u.Scheme) {
		return nil, f.invalid("its scheme is %.40q; write %s://host/database", u.Scheme, name)
	}
	if u.Opaque != "" || u.Fragment != "" {
		return nil, f.invalid("write %s://host/database?parameters; percent-encode '#' in a password", name)
	}
	values, err := parseParameters(u.RawQuery)
	if err != nil {
		return nil, f.invalid("its parameters cannot be read; percent-encode special characters")
	}
	if err := f.takeOwn(values); err != nil {
		return nil, err
	}
	driver := *u
	driver.Scheme = "postgres"
	return f.driverConfig(&driver, values)
}

// takeOwn sets and removes the parameters that are not the driver's.
func (f URL) takeOwn(values url.Values) error {
	driver := driverParameters()
	for _, name := range slices.Sorted(maps.Keys(values)) {
		own, is := f.Own[name]
		if len(values[name]) > 1 && !own.Repeats {
			return f.invalid("parameter %.40q is there twice", name)
		}
		if ok, err := libpqOnly(name, values.Get(name)); ok || err != nil {
			if err != nil {
				return f.invalid("parameter %s: %v", name, err)
			}
			values.Del(name)
		} else if is {
			for _, value := range values[name] {
				if err := own.Set(value); err != nil {
					return f.invalid("parameter %s: %v", name, err)
				}
			}
			values.Del(name)
		} else if !slices.Contains(driver, name) {
			return f.invalid("unknown parameter %.40q; known are %s, and of the driver %s",
				name, strings.Join(slices.Sorted(maps.Keys(f.Own)), ", "), strings.Join(driver, ", "))
		}
	}
	return nil
}

// driverConfig lets the driver read what is left of the URL, with safe defaults.
func (f URL) driverConfig(u *url.URL, values url.Values) (*pgxpool.Config, error) {
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
			return nil, f.invalid("%s", refusal(err))
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
