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
	parameters := u.Query()
	if err := likeStored(ctx, config, parameters); err != nil {
		return nil, tables{}, err
	}
	change := map[string]string{"schema": schema, "own": own, "create": "true", "migrate": "on"}
	made := tables{
		schema: schema, uuidKeys: parameters.Get("identity") == "uuid", conjoined: parameters.Get("tenancy") == "conjoined",
		metadata: parameters.Get("metadata") != "off", serverTimes: parameters.Get("timestamps") == "server",
	}
	if made.conjoined {
		change["tenant"] = Tenant
	}
	for _, name := range []string{"identity", "tenancy", "metadata", "timestamps"} {
		if parameters.Has(name) {
			change[name] = parameters.Get(name)
		}
	}
	if !parameters.Has("poll") {
		change["poll"] = pollInterval.String()
	}
	fresh := pgdriver.With(u, change)
	// The first handle makes the store.
	first, err := marten.OpenURL(ctx, &fresh)
	if err != nil {
		return nil, made, err
	}
	if err := first.Close(); err != nil {
		return nil, made, err
	}
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
					return fmt.Errorf("drop schema %q: %w", name, err)
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
func likeStored(ctx context.Context, config *pgxpool.Config, parameters url.Values) error {
	pool, err := pgxpool.NewWithConfig(ctx, config.Copy())
	if err != nil {
		return err
	}
	defer pool.Close()
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

// StreamID names the streams of a store with UUIDs: category-UUID, always the same one.
func StreamID(category string, number int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d", category, number))
	id := uuid.UUID(sum[:16])
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	return category + "-" + id.String()
}
