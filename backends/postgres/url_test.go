package postgres

import (
	"crypto/tls"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
)

func parsed(t *testing.T, rawURL string) (*Options, *pgxpool.Config, error) {
	t.Helper()
	u, err := url.Parse(rawURL)
	require.NoError(t, err)
	return parseURL(u)
}

func TestParametersSetOptions(t *testing.T) {
	t.Setenv("PGSSLMODE", "")
	opts, config, err := parsed(t, "postgres://u:p@localhost/shop?schema=orders&poll=200ms&listen=off&migrate=off&pool_max_conns=7")
	require.NoError(t, err)
	require.Equal(t, &Options{Schema: "orders", Poll: 200 * time.Millisecond, NoListen: true, NoMigration: true}, opts)
	require.EqualValues(t, 7, config.MaxConns)
	require.Equal(t, "shop", config.ConnConfig.Database)
	require.Equal(t, "switchyard", config.ConnConfig.RuntimeParams["application_name"])
}

func TestTLSIsVerifiedAwayFromThisMachine(t *testing.T) {
	verified := func(c *tls.Config) bool { return c != nil && !c.InsecureSkipVerify && c.ServerName != "" }
	for _, test := range []struct {
		name, url, env string
		verified       bool
	}{
		{"a remote host is verified", "postgres://db.example.com/shop", "", true},
		{"a remote address is verified", "postgres://192.0.2.7/shop", "", true},
		{"a remote host in the parameters is verified", "postgres:///shop?host=db.example.com", "", true},
		{"one remote host among local ones is verified", "postgres:///shop?host=localhost,db.example.com", "", true},
		{"localhost may be plain", "postgres://localhost/shop", "", false},
		{"127.0.0.2 may be plain", "postgres://127.0.0.2/shop", "", false},
		{"::1 may be plain", "postgres://[::1]/shop", "", false},
		{"a socket has no TLS", "postgres:///shop?host=/run/postgresql", "", false},
		{"the URL may ask for less", "postgres://db.example.com/shop?sslmode=disable", "", false},
		{"the environment may ask for less", "postgres://db.example.com/shop", "disable", false},
		{"the URL may ask for more on this machine", "postgres://localhost/shop?sslmode=verify-full", "", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("PGSSLMODE", test.env)
			_, config, err := parsed(t, test.url)
			require.NoError(t, err)
			last := config.ConnConfig.TLSConfig
			require.Equal(t, test.verified, verified(last) || len(config.ConnConfig.Fallbacks) > 0 && verified(config.ConnConfig.Fallbacks[0].TLSConfig))
			if test.verified {
				for _, fallback := range config.ConnConfig.Fallbacks {
					require.True(t, verified(fallback.TLSConfig), "no way around it")
				}
			}
		})
	}
}

func TestWrongURLsAreRefusedBeforeAnyConnection(t *testing.T) {
	for _, test := range []struct{ name, url, says string }{
		{"an unknown parameter names the known ones", "postgres://h/d?shema=x", "listen, migrate, poll, schema"},
		{"an unknown parameter names the driver's", "postgres://h/d?shema=x", "sslmode"},
		{"a parameter given twice", "postgres://h/d?schema=a&schema=b", "twice"},
		{"a schema that is no name", "postgres://h/d?schema=a%22b", "schema"},
		{"a schema of the server's", "postgres://h/d?schema=pg_x", "pg_"},
		{"a schema that is too long", "postgres://h/d?schema=" + string(make64()), "schema"},
		{"a poll that is no duration", "postgres://h/d?poll=often", "poll"},
		{"a poll of zero", "postgres://h/d?poll=0s", "poll"},
		{"a switch that is neither on nor off", "postgres://h/d?listen=maybe", "listen"},
		{"a wrong sslmode", "postgres://h/d?sslmode=perhaps", "sslmode"},
		{"a wrong pool size", "postgres://h/d?pool_max_conns=many", "pool_max_conns"},
		{"another scheme", "mysql://h/d", "postgres://"},
		{"a fragment", "postgres://u:secret@h/d#x", "percent-encode"},
		{"semicolons", "postgres://h/d?a=1;b=2", "parameters"},
	} {
		t.Run(test.name, func(t *testing.T) {
			u, err := url.Parse(test.url)
			require.NoError(t, err)
			_, _, err = parseURL(u)
			require.ErrorIs(t, err, eventstore.ErrInvalid)
			require.ErrorContains(t, err, test.says)
			require.NotContains(t, err.Error(), "secret")
		})
	}
}

func make64() []byte {
	b := make([]byte, 64)
	for i := range b {
		b[i] = 'a'
	}
	return b
}

func TestNoErrorShowsAPassword(t *testing.T) {
	for _, rawURL := range []string{
		"postgres://u:hunter2@127.0.0.1:1/d",
		"postgres://u:hunter2@127.0.0.1:1/d?sslmode=perhaps",
		"postgres://u:hunter2@127.0.0.1:1/d?pool_max_conns=many",
		"postgres://u@127.0.0.1:1/d?password=hunter2&nonsense=1",
		"postgres://u@127.0.0.1:1/d?password=hunter2&connect_timeout=x",
		"postgres://127.0.0.1:1/d?sslrootcert=/nowhere&sslmode=verify-ca&password=hunter2",
		"postgres://127.0.0.1:99999/d?password=hunter2",
	} {
		u, err := url.Parse(rawURL)
		require.NoError(t, err)
		_, err = OpenURL(t.Context(), u)
		require.Error(t, err)
		require.NotContains(t, err.Error(), "hunter2")
	}
}

func TestParametersAreWrittenForTheDriverAsTheyWereRead(t *testing.T) {
	t.Setenv("PGSSLMODE", "")
	for _, test := range []struct {
		name, query string
		get         func(*pgxpool.Config) string
		want        string
	}{
		{"options with a space", "options=-c%20statement_timeout%3D5s", func(c *pgxpool.Config) string { return c.ConnConfig.RuntimeParams["options"] }, "-c statement_timeout=5s"},
		{"a name with a space", "application_name=my%20app", func(c *pgxpool.Config) string { return c.ConnConfig.RuntimeParams["application_name"] }, "my app"},
		{"a name with a plus", "application_name=my+app", func(c *pgxpool.Config) string { return c.ConnConfig.RuntimeParams["application_name"] }, "my+app"},
		{"a name with an encoded plus", "application_name=my%2Bapp", func(c *pgxpool.Config) string { return c.ConnConfig.RuntimeParams["application_name"] }, "my+app"},
		{"a password with a space", "password=two%20words", func(c *pgxpool.Config) string { return c.ConnConfig.Password }, "two words"},
		{"a password with everything", "password=%20%2B%25%26%3D%23%3F%2F%40", func(c *pgxpool.Config) string { return c.ConnConfig.Password }, " +%&=#?/@"},
		{"a socket's folder", "host=%2Frun%2Fmy%20postgres", func(c *pgxpool.Config) string { return c.ConnConfig.Host }, "/run/my postgres"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, config, err := parsed(t, "postgres://u@/shop?"+test.query)
			require.NoError(t, err)
			require.Equal(t, test.want, test.get(config))
		})
	}
}

func TestAPassfileMayHaveSpacesInItsPath(t *testing.T) {
	dir := t.TempDir() + "/pass dir"
	require.NoError(t, os.Mkdir(dir, 0o700))
	require.NoError(t, os.WriteFile(dir+"/pass file", []byte("localhost:5432:shop:u:two words\n"), 0o600))
	_, config, err := parsed(t, "postgres://u@localhost:5432/shop?passfile="+url.PathEscape(dir+"/pass file"))
	require.NoError(t, err)
	require.Equal(t, "two words", config.ConnConfig.Password)
}

func TestLibpqsParametersAreTakenWhereTheyAskForWhatHappensAnyway(t *testing.T) {
	for _, query := range []string{"client_encoding=UTF8", "client_encoding=auto", "gssencmode=disable", "gssencmode=prefer", "keepalives=1", "sslcompression=0"} {
		_, config, err := parsed(t, "postgres://localhost/shop?"+query)
		require.NoError(t, err, query)
		name, _, _ := strings.Cut(query, "=")
		require.NotContains(t, config.ConnConfig.RuntimeParams, name, query)
	}
	for query, says := range map[string]string{
		"client_encoding=LATIN1": "UTF8",
		"gssencmode=require":     "disable or prefer",
		"keepalives=0":           "only be 1",
		"search_path=orders":     "schema=",
		"keepalives_idle=30":     "unknown parameter",
	} {
		_, _, err := parsed(t, "postgres://localhost/shop?"+query)
		require.ErrorIs(t, err, eventstore.ErrInvalid, query)
		require.ErrorContains(t, err, says, query)
	}
}
