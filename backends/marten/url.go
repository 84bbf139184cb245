package marten

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/switchyard-dev/switchyard/backends"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/pgdriver"
)

// OpenURL opens the store that a URL names, with a pool of its own:
//
//	marten://user@db.example.com/shop
//	marten://user@db.example.com/shop?schema=events&tenant=acme&append=quick
//
// Parameters of this package are the fields of [Options]:
//
//	schema=events                      Schema
//	tenant=acme                        Tenant
//	append=quick|rich                  Append
//	grace=10s                          Grace, a duration
//	own=switchyard_marten              Own
//	migrate=off                        NoMigration
//	archived=hide                      HideArchived
//	untagged=accept                    AcceptUntagged
//	type=OrderPlaced=order_placed=Shop.OrderPlaced, Shop
//	                                   one of Types; the alias may be empty, and what
//	                                   follows it left out; may be given several times
//	streamType=order=order_view        one of StreamTypes; likewise
//	poll=200ms                         Poll, a duration
//
// and those of [Creation], which make a new store in an empty schema; one that exists must
// be what they say. The parameters of
// libpq and of pgx, TLS and passwords are as for package postgres.
func OpenURL(ctx context.Context, u *url.URL) (*Backend, error) {
	var opts Options
	var creation creationParameters
	config, err := urlForm(&opts, &creation).Parse(u)
	if err != nil {
		return nil, fmt.Errorf("open marten store: %w", err)
	}
	if err := creation.check(); err != nil {
		return nil, fmt.Errorf("open marten store: %w", err)
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("open marten store: %w", readError(ctx, err))
	}
	if creation.create && !opts.NoMigration {
		if err := createIfEmpty(ctx, pool, opts.Schema, opts.Tenant, creation.Creation); err != nil {
			pool.Close()
			return nil, err
		}
	}
	b, err := Open(ctx, pool, &opts)
	if err != nil {
		pool.Close()
		return nil, err
	}
	b.ownsPool = true
	if err := creation.holds(b.shape()); err != nil {
		_ = b.Close()
		return nil, fmt.Errorf("open marten store: %w", err)
	}
	return b, nil
}

// Scheme is "marten://", for a [backends.Set].
func Scheme() backends.Scheme {
	return backends.Scheme{
		Names:    []string{"marten"},
		Form:     "marten://USER@HOST/DATABASE",
		Existing: "migrate=off",
		Open:     func(ctx context.Context, u *url.URL) (eventstore.Backend, error) { return OpenURL(ctx, u) },
	}
}

// urlForm reads this package's own parameters.
func urlForm(opts *Options, creation *creationParameters) pgdriver.URL {
	only := func(word string, set func()) pgdriver.Parameter {
		return pgdriver.Parameter{Set: func(value string) error {
			if value != word {
				return fmt.Errorf("%.40q is not %s", value, word)
			}
			set()
			return nil
		}}
	}
	own := map[string]pgdriver.Parameter{
		"schema":   pgdriver.Schema(&opts.Schema),
		"own":      pgdriver.Schema(&opts.Own),
		"migrate":  pgdriver.Switch(func() { opts.NoMigration = true }),
		"poll":     pgdriver.Duration(&opts.Poll),
		"grace":    pgdriver.Duration(&opts.Grace),
		"archived": only("hide", func() { opts.HideArchived = true }),
		"untagged": only("accept", func() { opts.AcceptUntagged = true }),
		"tenant": {Set: func(value string) error {
			if opts.Tenant = value; value == "" {
				return fmt.Errorf("it is empty")
			}
			return nil
		}},
		"append": {Set: func(value string) error {
			if opts.Append = AppendMode(value); opts.Append != Rich && opts.Append != Quick {
				return fmt.Errorf("%.40q is neither %s nor %s", value, Quick, Rich)
			}
			return nil
		}},
		"type": {Repeats: true, Set: func(value string) error {
			name, rest, _ := strings.Cut(value, "=")
			alias, dotnet, _ := strings.Cut(rest, "=")
			opts.Types = append(opts.Types, EventType{Name: name, Alias: alias, DotNet: dotnet})
			return nil
		}},
		"streamType": {Repeats: true, Set: func(value string) error {
			category, alias, ok := strings.Cut(value, "=")
			if !ok {
				return fmt.Errorf("%.40q is not CATEGORY=ALIAS", value)
			}
			opts.StreamTypes = append(opts.StreamTypes, StreamType{Category: category, Alias: alias})
			return nil
		}},
	}
	creation.add(own)
	return pgdriver.URL{Schemes: []string{"marten"}, Own: own}
}

// PoolConfig returns the configuration of a pool on the database that a URL names, with
// everything that [OpenURL] takes from it but this package's own parameters.
func PoolConfig(u *url.URL) (*pgxpool.Config, error) {
	return urlForm(&Options{}, &creationParameters{}).Parse(u)
}
