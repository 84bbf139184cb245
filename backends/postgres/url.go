package postgres

import (
	"context"
	"fmt"
	"net/url"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/switchyard-dev/switchyard/backends"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/pgdriver"
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

// urlForm reads this package's own parameters into opts.
func urlForm(opts *Options) pgdriver.URL {
	return pgdriver.URL{Schemes: []string{"postgres", "postgresql"}, Own: map[string]pgdriver.Parameter{
		"schema":  pgdriver.Schema(&opts.Schema),
		"listen":  pgdriver.Switch(func() { opts.NoListen = true }),
		"migrate": pgdriver.Switch(func() { opts.NoMigration = true }),
		"poll":    pgdriver.Duration(&opts.Poll),
	}}
}

func parseURL(u *url.URL) (*Options, *pgxpool.Config, error) {
	opts := &Options{}
	config, err := urlForm(opts).Parse(u)
	return opts, config, err
}

// PoolConfig returns the configuration of a pool on the database that a URL
// names, with everything that [OpenURL] takes from it but this package's own
// parameters. Applications use it to share one pool, or to work on the same
// database beside the store.
func PoolConfig(u *url.URL) (*pgxpool.Config, error) {
	_, config, err := parseURL(u)
	return config, err
}
