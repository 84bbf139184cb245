package marten

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/switchyard-dev/switchyard/backends/marten/internal/catalog"
	"github.com/switchyard-dev/switchyard/internal/pgdriver"
)

// Creation says how [Create] makes the tables: as the options of the .NET application
// that is to adopt them will want them. The zero value is a store whose streams have
// texts as IDs, without tenants, with all the columns of metadata.
type Creation struct {
	// UUIDKeys is StreamIdentity.AsGuid; otherwise it is AsString.
	UUIDKeys bool
	// Conjoined is TenancyStyle.Conjoined.
	Conjoined bool
	// NoMetadata leaves out what Events.MetadataConfig enables: the columns of headers,
	// correlation, causation and user name.
	NoMetadata bool
	// ServerTimestamps is EventAppendMode.QuickWithServerTimestamps.
	ServerTimestamps bool
}

// Create makes a new, empty event store in a schema that holds nothing of Marten's, as
// Marten 9.58 does: a .NET application whose options agree adopts it without a change to
// any table. The schema is made where there is none. It is for tests and for new systems:
// beside a live application let Marten make its own tables.
//
// It fails with ErrInvalid where the schema holds tables, functions or sequences of
// Marten's already.
func Create(ctx context.Context, pool *pgxpool.Pool, schema string, c Creation) error {
	if schema == "" {
		schema = defaultSchema
	}
	err := create(ctx, pool, schema, c, func(bool) (leave bool, err error) { return false, nil })
	if err != nil {
		return fmt.Errorf("create marten store in schema %q: %w", schema, err)
	}
	return nil
}

// createIfEmpty is Create that leaves a store that exists as it is, and makes none that a
// handle for the tenant could not open.
func createIfEmpty(ctx context.Context, pool *pgxpool.Pool, schema, tenant string, c Creation) error {
	if schema == "" {
		schema = defaultSchema
	}
	err := create(ctx, pool, schema, c, func(exists bool) (leave bool, err error) {
		if exists {
			return true, nil
		}
		wanted := shape{conjoined: c.Conjoined}
		return false, wanted.checkTenant(tenant)
	})
	if err != nil {
		return fmt.Errorf("create marten store in schema %q: %w", schema, err)
	}
	return nil
}

// create makes a store unless decide, which is told whether there is one, leaves it at that.
func create(ctx context.Context, pool *pgxpool.Pool, schema string, c Creation, decide func(exists bool) (leave bool, err error)) error {
	if err := pgdriver.CheckSchema(schema); err != nil {
		return err
	}
	err := pgx.BeginTxFunc(ctx, pool, pgdriver.AfterLock(), func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `select set_config('lock_timeout', '30s', true), pg_advisory_xact_lock(hashtextextended('switchyard creates marten in ' || $1, 0))`, schema); err != nil {
			return err
		}
		found, err := catalog.Read(ctx, tx, schema)
		if err != nil {
			return err
		}
		if leave, err := decide(found.Table("mt_events") != nil); leave || err != nil {
			return err
		}
		if len(found.Tables)+len(found.Functions)+len(found.Sequences) > 0 {
			return invalid("schema", "%q holds objects of Marten's already, and none of them is ever altered; choose an empty schema", schema)
		}
		var exists bool
		if err := tx.QueryRow(ctx, `select exists (select from pg_namespace where nspname = $1)`, schema).Scan(&exists); err != nil {
			return err
		}
		if !exists {
			if _, err := tx.Exec(ctx, `create schema `+ident(schema)); err != nil {
				return err
			}
		}
		for _, statement := range catalog.New(catalog.Mode(c)).Statements(schema) {
			if _, err := tx.Exec(ctx, statement); err != nil {
				return err
			}
		}
		return nil
	})
	return readError(ctx, err)
}

// creationParameters are those of a URL.
type creationParameters struct {
	Creation
	create bool
	named  []named // parameters that say how, given
}

type named struct{ name, value string }

func (p *creationParameters) add(own map[string]pgdriver.Parameter) {
	word := func(name string, words map[string]func()) {
		own[name] = pgdriver.Parameter{Set: func(value string) error {
			set, ok := words[value]
			if !ok {
				return fmt.Errorf("%.40q is not one of its values", value)
			}
			if p.named = append(p.named, named{name, value}); set != nil {
				set()
			}
			return nil
		}}
	}
	own["create"] = pgdriver.Parameter{Set: func(value string) error {
		if value != "true" {
			return fmt.Errorf("%.40q is not true", value)
		}
		p.create = true
		return nil
	}}
	word("identity", map[string]func(){"string": nil, "uuid": func() { p.UUIDKeys = true }})
	word("tenancy", map[string]func(){"single": nil, "conjoined": func() { p.Conjoined = true }})
	word("metadata", map[string]func(){"on": nil, "off": func() { p.NoMetadata = true }})
	word("timestamps", map[string]func(){"client": nil, "server": func() { p.ServerTimestamps = true }})
}

func (p *creationParameters) check() error {
	if len(p.named) > 0 && !p.create {
		return invalid("marten URL", "parameter %s says how a store is made, which create=true asks for", p.named[0].name)
	}
	return nil
}

// holds refuses a store that exists and is made otherwise than the parameters say.
func (p *creationParameters) holds(s *shape) error {
	is := map[string]string{"identity": "string", "tenancy": "single", "metadata": "on", "timestamps": "client"}
	for name, other := range map[string]struct {
		so    bool
		value string
	}{"identity": {s.uuidKeys, "uuid"}, "tenancy": {s.conjoined, "conjoined"}, "metadata": {!s.headers, "off"}, "timestamps": {s.times, "server"}} {
		if other.so {
			is[name] = other.value
		}
	}
	for _, n := range p.named {
		if is[n.name] != n.value {
			return invalid("marten URL", "the store exists, and its %s is %s, not %s; leave the parameter out, or give another schema", n.name, is[n.name], n.value)
		}
	}
	return nil
}
