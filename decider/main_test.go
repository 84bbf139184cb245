package decider_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/esdb"
	"github.com/switchyard-dev/switchyard/backends/postgres"
	"github.com/switchyard-dev/switchyard/backends/sqlite"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/ownertest"
	"github.com/switchyard-dev/switchyard/internal/testservers"
)

var server testservers.SharedPostgres

func TestMain(m *testing.M) {
	parts := map[string]func(context.Context, eventstore.Backend, job) error{
		"":        nil,
		partDo:    childDoes,
		partReact: childReacts,
	}
	part := ownertest.Part()
	if part == "" {
		os.Exit(server.Main(m))
	}
	if err := playPart(parts[part]); err != nil {
		fmt.Println("violation", err)
		os.Exit(1)
	}
}

// job is what a process is to do: its argument, as JSON.
type job struct {
	URL    string
	Name   string // begins the streams' names
	Kind   string // of the Decider; see kinds
	Fault  string
	Seed   uint64
	Worker int
	// BlockAt is the event at which a reaction blocks for ever, once it has appended.
	BlockAt int64
}

// playPart does what another process is to do.
func playPart(part func(context.Context, eventstore.Backend, job) error) error {
	var j job
	if err := json.Unmarshal([]byte(os.Args[1]), &j); err != nil {
		return err
	}
	ctx := context.Background()
	backend, err := openURL(ctx, j.URL)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	return part(ctx, backend, j)
}

func (j job) argument(t *testing.T) string {
	t.Helper()
	text, err := json.Marshal(j)
	require.NoError(t, err)
	return string(text)
}

func openURL(ctx context.Context, rawURL string) (eventstore.Backend, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, err
	}
	switch u.Scheme {
	case "sqlite":
		return sqlite.OpenURL(ctx, u)
	case "esdb":
		return esdb.OpenURL(ctx, u)
	}
	return postgres.OpenURL(ctx, u)
}

func openPostgres(t testing.TB, rawURL string) eventstore.Backend {
	t.Helper()
	backend, err := openURL(t.Context(), rawURL)
	require.NoError(t, err)
	return backend
}
