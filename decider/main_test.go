package decider_test

import (
	"net/url"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/postgres"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/testservers"
)

var server testservers.SharedPostgres

func TestMain(m *testing.M) { os.Exit(server.Main(m)) }

func openPostgres(t testing.TB, rawURL string) eventstore.Backend {
	t.Helper()
	u, err := url.Parse(rawURL)
	require.NoError(t, err)
	backend, err := postgres.OpenURL(t.Context(), u)
	require.NoError(t, err)
	return backend
}
