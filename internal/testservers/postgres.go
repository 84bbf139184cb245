//go:build unix

package testservers

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Environment variables that choose the server.
const (
	urlVariable      = "SWITCHYARD_TEST_POSTGRES_URL"
	downloadVariable = "SWITCHYARD_TEST_POSTGRES_DOWNLOAD"
)

var errNotOurs = errors.New("testservers: this server was not started by the tests, and they leave it alone: use PrivatePostgres")

// PostgresOptions say how to start a server. The zero value is a default server
// with fsync on.
type PostgresOptions struct {
	// Private insists on a server of our own, which can be killed and paused.
	Private bool
	// Settings are server settings such as synchronous_commit or
	// max_connections. They make the server private.
	Settings map[string]string
	// Dir is the folder in which the server gets a folder for its data and its
	// log. Default: the temporary folder. Under root it must be reachable by
	// other users. It makes the server private.
	Dir string
}

// Postgres is a running PostgreSQL server.
type Postgres struct {
	url     string
	cluster *cluster // nil for a server that somebody else runs
}

// StartPostgres finds or starts a server. The context bounds the start only.
func StartPostgres(ctx context.Context, opts PostgresOptions) (*Postgres, error) {
	private := opts.Private || opts.Settings != nil || opts.Dir != ""
	download := os.Getenv(downloadVariable) != ""
	if rawURL := os.Getenv(urlVariable); rawURL != "" && !private && !download {
		return external(ctx, rawURL)
	}
	c, err := newCluster(ctx, opts, download)
	if err != nil {
		return nil, err
	}
	return &Postgres{url: c.url(), cluster: c}, nil
}

func external(ctx context.Context, rawURL string) (*Postgres, error) {
	if _, err := url.Parse(rawURL); err != nil {
		return nil, fmt.Errorf("testservers: %s is not a URL", urlVariable) // the error would show the password
	}
	if err := ping(ctx, rawURL); err != nil {
		return nil, fmt.Errorf("testservers: the server of %s does not answer: %w", urlVariable, err)
	}
	return &Postgres{url: rawURL}, nil
}

func ping(ctx context.Context, rawURL string) error {
	conn, err := pgx.Connect(ctx, rawURL)
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}

// URL is the URL of a superuser, on the database the server came with.
func (p *Postgres) URL() string { return p.url }

// Database creates an empty database and returns its URL. The database is dropped
// when the test ends.
func (p *Postgres) Database(t testing.TB) string {
	t.Helper()
	name := "test_" + strings.ToLower(rand.Text())
	if err := p.exec("CREATE DATABASE " + name + " TEMPLATE template0"); err != nil {
		t.Fatalf("testservers: %v", err)
	}
	t.Cleanup(func() {
		if p.cluster != nil && !p.cluster.running() {
			return // gone with its server
		}
		if err := p.exec("DROP DATABASE " + name + " WITH (FORCE)"); err != nil {
			t.Errorf("testservers: %v", err)
		}
	})
	u, err := url.Parse(p.url)
	if err != nil {
		t.Fatalf("testservers: %s is not a URL", urlVariable)
	}
	u.Path = "/" + name
	return u.String()
}

func (p *Postgres) exec(statement string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, p.url)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, statement)
	return err
}

// Kill ends the server as a crash does: SIGKILL to the postmaster and to every
// process it has started. It returns when all are gone.
func (p *Postgres) Kill() error { return p.ours((*cluster).kill) }

// Stop ends the server in order; what clients had open is rolled back.
func (p *Postgres) Stop() error { return p.ours((*cluster).stop) }

// Start starts the server again after Kill or Stop, on the same port and data,
// and returns when it answers.
func (p *Postgres) Start(ctx context.Context) error {
	return p.ours(func(c *cluster) error { return c.start(ctx) })
}

// Pause stops one process of the server (SIGSTOP), found for example by
// pg_backend_pid(), until Resume. A Stop waits for it; Kill and Close do not.
func (p *Postgres) Pause(pid int) error {
	return p.ours(func(c *cluster) error { return c.pause(pid) })
}

// Resume lets a paused process go on (SIGCONT).
func (p *Postgres) Resume(pid int) error {
	return p.ours(func(c *cluster) error { return c.resume(pid) })
}

// Close ends a server that the tests started and removes its folder. A second
// Close does nothing.
func (p *Postgres) Close() error {
	if p.cluster == nil {
		return nil
	}
	return p.cluster.close()
}

// Port is the server's port on 127.0.0.1, 0 for a server that was not started
// by the tests.
func (p *Postgres) Port() int {
	if p.cluster == nil {
		return 0
	}
	return p.cluster.port
}

// DataDir is the server's data folder, "" for a server that was not started by
// the tests.
func (p *Postgres) DataDir() string {
	if p.cluster == nil {
		return ""
	}
	return p.cluster.dataDir()
}

// LogTail returns the last 4 KiB of the server's log.
func (p *Postgres) LogTail() string {
	if p.cluster == nil {
		return ""
	}
	return p.cluster.logTail()
}

func (p *Postgres) ours(do func(*cluster) error) error {
	if p.cluster == nil {
		return errNotOurs
	}
	return do(p.cluster)
}
