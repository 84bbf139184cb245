// Package martentest prepares Marten stores for conformance runs, benchmarks and tests. It
// is linked by those alone. No .NET is in it: the tables are made by Switchyard, as Marten
// makes them.
package martentest

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/switchyard-dev/switchyard/backends/marten"
	"github.com/switchyard-dev/switchyard/backends/marten/internal/catalog"
	"github.com/switchyard-dev/switchyard/conformance"
	"github.com/switchyard-dev/switchyard/internal/pgdriver"
)

// pollInterval is that of handles in checks, which wait for it.
const pollInterval = 20 * time.Millisecond

// Tenant is the one whose events a check's store has, where stores have tenants.
const Tenant = "acme"

// Isolate prepares a store in a new schema of the URL's database, with the URL's
// parameters. Its tables are made by those of identity, tenancy, metadata and timestamps.
func Isolate(ctx context.Context, u *url.URL) (*conformance.Isolated, error) {
	isolated, _, err := isolate(ctx, u)
	return isolated, err
}

func isolate(ctx context.Context, u *url.URL) (*conformance.Isolated, tables, error) {
	config, err := marten.PoolConfig(u)
	if err != nil {
		return nil, tables{}, err
	}
	schema := "switchyard_" + strings.ToLower(rand.Text())
	own := schema + "_own"
	pool, err := pgxpool.NewWithConfig(ctx, config.Copy())
	if err != nil {
		return nil, tables{}, err
	}
	defer pool.Close()
	parameters := u.Query()
	if err := likeStored(ctx, pool, parameters); err != nil {
		return nil, tables{}, err
	}
	change := map[string]string{"schema": schema, "own": own, "migrate": "on"}
	made := tables{
		schema: schema, uuidKeys: parameters.Get("identity") == "uuid", conjoined: parameters.Get("tenancy") == "conjoined",
		metadata: parameters.Get("metadata") != "off", serverTimes: parameters.Get("timestamps") == "server",
	}
	if made.conjoined {
		change["tenant"] = Tenant
	}
	if !parameters.Has("poll") {
		change["poll"] = pollInterval.String()
	}
	creation := marten.Creation{UUIDKeys: made.uuidKeys, Conjoined: made.conjoined, NoMetadata: !made.metadata, ServerTimestamps: made.serverTimes}
	if err := marten.Create(ctx, pool, schema, creation); err != nil {
		return nil, made, err
	}
	fresh := withoutCreation(pgdriver.With(u, change))
	held := holding{tables: made, config: config}
	isolated := &conformance.Isolated{
		URL:         fresh.String(),
		Open:        conformance.Opener(marten.Scheme().Open, fresh),
		OpenPolling: conformance.Opener(marten.Scheme().Open, fresh), // nobody is told of anything
		HoldWriter:  held.hold,
		Remove: func(ctx context.Context) error {
			pool, err := pgxpool.NewWithConfig(ctx, config.Copy())
			if err != nil {
				return fmt.Errorf("drop schema %q: %w", schema, err)
			}
			defer pool.Close()
			for _, name := range []string{own, schema} {
				if _, err := pool.Exec(ctx, "drop schema if exists "+pgx.Identifier{name}.Sanitize()+" cascade"); err != nil {
					return fmt.Errorf("drop schema %q: %w", name, pgdriver.Mapped("marten", nil, err))
				}
			}
			return nil
		},
	}
	if held.uuidKeys {
		isolated.StreamID = StreamID
	}
	return isolated, made, nil
}

// likeStored adds to a URL's parameters those by which a new store is made like the one that
// the URL names, where there is one and they do not say it themselves.
func likeStored(ctx context.Context, pool *pgxpool.Pool, parameters url.Values) error {
	schema := parameters.Get("schema")
	if schema == "" {
		schema = "public"
	}
	facts, err := catalog.Read(ctx, pool, schema)
	if err != nil {
		return err
	}
	streams, events, appends := facts.Table("mt_streams"), facts.Table("mt_events"), facts.Function("mt_quick_append_events")
	if streams == nil || events == nil {
		return nil
	}
	for name, is := range map[string]struct {
		so    bool
		value string
	}{
		"identity":   {streams.Column("id") != nil && streams.Column("id").Type == "uuid", "uuid"},
		"tenancy":    {slices.Contains(streams.PrimaryKey(), "tenant_id"), "conjoined"},
		"metadata":   {events.Column("headers") == nil, "off"},
		"timestamps": {appends != nil && appends.Has("timestamps"), "server"},
	} {
		if is.so && !parameters.Has(name) {
			parameters.Set(name, is.value)
		}
	}
	return nil
}

// withoutCreation leaves out of a URL what says how a store is made: it is there, and to
// look for that at each opening costs.
func withoutCreation(u url.URL) url.URL {
	parameters := u.Query()
	for _, name := range []string{"create", "identity", "tenancy", "metadata", "timestamps"} {
		parameters.Del(name)
	}
	u.RawQuery = strings.ReplaceAll(parameters.Encode(), "+", "%20")
	return u
}

// StreamID names the streams of a store with UUIDs: category-UUID, always the same one.
func StreamID(category string, number int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d", category, number))
	id := uuid.UUID(sum[:16])
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	return category + "-" + id.String()
}
