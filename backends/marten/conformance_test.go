package marten_test

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/switchyard-dev/switchyard/backends/marten/martentest"
	"github.com/switchyard-dev/switchyard/conformance"
	"github.com/switchyard-dev/switchyard/internal/testservers"
)

var server testservers.SharedPostgres

func TestMain(m *testing.M) { os.Exit(server.Main(m)) }

// The README's table has the first of these: what Marten 9 makes by default, with its
// columns of metadata, but for text IDs.
func TestConformance(t *testing.T) {
	server := testservers.PrivatePostgres(t, testservers.PostgresOptions{}) // checks restart it
	conformance.Run(t, harness("marten", server, "append=quick"))
}

func TestConformanceOfUUIDStreams(t *testing.T) {
	server := testservers.PrivatePostgres(t, testservers.PostgresOptions{}) // checks restart it
	h := harness("marten, uuid", server, "append=quick&identity=uuid")
	h.StreamID = martentest.StreamID
	h.Scale = conformance.SmallScale()
	conformance.Run(t, h)
}

// Another tenant's application writes to streams of the same names all the while.
func TestConformanceOfATenantBesideAnother(t *testing.T) {
	server := testservers.PrivatePostgres(t, testservers.PostgresOptions{}) // checks restart it
	h := harness("marten, conjoined", server, "append=quick&tenancy=conjoined&timestamps=server")
	h.Scale = conformance.SmallScale()
	open := h.Open
	h.Open = func(ctx context.Context) (*conformance.Fixture, error) {
		fixture, err := open(ctx)
		if err != nil {
			return nil, err
		}
		leave := writeAsAnotherTenant(server.URL(), fixture.Backend.(interface{ Schema() string }).Schema())
		remove := fixture.Remove
		fixture.Remove = func(ctx context.Context) error {
			leave()
			return remove(ctx)
		}
		return fixture, nil
	}
	conformance.Run(t, h)
}

// writeAsAnotherTenant calls Marten's function for another tenant, until leave is called.
// Where the server is away it tries again.
func writeAsAnotherTenant(rawURL, schema string) (leave func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var writing sync.WaitGroup
	writing.Go(func() {
		ticker := time.NewTicker(25 * time.Millisecond)
		defer ticker.Stop()
		pool, err := pgxpool.New(ctx, rawURL)
		if err != nil {
			return
		}
		defer pool.Close()
		for n := 0; ; n++ {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			_, _ = pool.Exec(ctx, `select "`+schema+`".mt_quick_append_events(stream => $1, stream_type => null, tenantid => 'globex',
				event_ids => array[gen_random_uuid()], event_types => array['Happened'], dotnet_types => array[''], bodies => array['{"of": "globex"}'::jsonb], bdatas => null,
				causation_ids => null, correlation_ids => null, headers => null, user_names => null, timestamps => array[now()])`, fmt.Sprintf("Order-%d", n%3+1))
		}
	})
	return func() {
		cancel()
		writing.Wait()
	}
}

// harness gives each check a schema of its own on one server. Each handle has a pool of
// its own, as another process would.
func harness(name string, server *testservers.Postgres, parameters string) conformance.Harness {
	return conformance.Harness{Name: name, Open: func(ctx context.Context) (*conformance.Fixture, error) {
		u, err := martenURL(server.URL(), parameters)
		if err != nil {
			return nil, err
		}
		isolated, err := martentest.Isolate(ctx, u)
		if err != nil {
			return nil, err
		}
		fixture, err := isolated.Fixture(ctx)
		if err != nil {
			return nil, err
		}
		schema := fixture.Backend.(interface{ Schema() string }).Schema()
		fixture.CutStream = func(ctx context.Context, stream string, first uint64) error {
			return cut(ctx, server.URL(), schema, stream, first)
		}
		fixture.Restart = func(ctx context.Context) error {
			if err := server.Kill(); err != nil {
				return err
			}
			return server.Start(ctx)
		}
		return fixture, nil
	}}
}

// cut removes the events of a stream below a version, as Marten's compaction does.
func cut(ctx context.Context, rawURL, schema, stream string, first uint64) error {
	conn, err := pgx.Connect(ctx, rawURL)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	id := stream
	if n := len(stream) - 36; n > 0 && uuid.Validate(stream[n:]) == nil {
		id = stream[n:]
	}
	_, err = conn.Exec(ctx, `delete from `+pgx.Identifier{schema, "mt_events"}.Sanitize()+` where stream_id::text in ($1, $2) and version < $3`, id, stream, int64(first))
	return err
}

// martenURL is the URL of a Marten store at a PostgreSQL URL.
func martenURL(rawURL, parameters string) (*url.URL, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, err
	}
	u.Scheme = "marten"
	u.RawQuery += "&" + parameters
	return u, nil
}
