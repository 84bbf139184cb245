package backends

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
)

func writeConfig(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "switchyard.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func TestAConfigFileNamesStores(t *testing.T) {
	path := writeConfig(t, "# where events live\nstores:\n  orders:\n    url: 'memory:'\n  other: {url: \"memory:\"}\n")
	_, err := testSet().OpenConfig(t.Context(), path, "orders", nil)
	require.ErrorIs(t, err, errNotOpened, "its scheme was found")
	config, err := ReadConfig(path)
	require.NoError(t, err)
	require.Equal(t, []string{"orders", "other"}, config.Names())
}

func TestVariablesAreReplaced(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(secret, []byte("from file\n"), 0o600))
	t.Setenv("SWITCHYARD_TEST_PASSWORD", "p@ss/w?rd #1+2%")
	t.Setenv("SWITCHYARD_TEST_URL", "sqlite:a b.db")
	t.Setenv("SWITCHYARD_TEST_NESTED", "${SWITCHYARD_TEST_URL}")
	for text, want := range map[string]string{
		"pg://app:${SWITCHYARD_TEST_PASSWORD}@db/x": "pg://app:p%40ss%2Fw%3Frd%20%231%2B2%25@db/x",
		"${SWITCHYARD_TEST_URL}":                    "sqlite:a b.db",
		"${SWITCHYARD_TEST_NESTED}":                 "${SWITCHYARD_TEST_URL}",
		"${file:" + secret + "}":                    "from file",
		"pg://app:${file:" + secret + "}@db":        "pg://app:from%20file@db",
		"sqlite:$HOME.db":                           "sqlite:$HOME.db",
	} {
		config, err := ReadConfig(writeConfig(t, "stores: {s: {url: '"+text+"'}}"))
		require.NoError(t, err)
		got, err := config.URL("s")
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}

func TestABadConfigIsAnErrorWithItsLine(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"empty":                   {"", "it is empty"},
		"a comment only":          {"# nothing\n", "it is empty"},
		"no stores":               {"stores: {}\n", "it names no store"},
		"a URL that needs quotes": {"stores:\n  a:\n    url: memory:\n", `needs quotes: url: "memory:"`},
		"a list":                  {"- s3cr3t\n", "line 1: the file is not a mapping"},
		"an unknown field":        {"stores:\n  a:\n    url: 'memory:'\n    ulr: s3cr3t\n", `line 4: unknown field "ulr" in a store; known is url`},
		"an unknown top field":    {"store:\n  a: s3cr3t\n", `line 1: unknown field "store" in the file; known is stores`},
		"a store that is text":    {"stores:\n  a: s3cr3t\n", "line 2: a store is not a mapping"},
		"a url that is a list":    {"stores:\n  a:\n    url: [s3cr3t]\n", "line 3: url is not a text"},
		"a store without url":     {"stores:\n  a: {}\n", `line 2: store "a" has no url`},
		"a name twice":            {"stores:\n  a: {url: s3cr3t}\n  a: {url: s3cr3t}\n", `line 3: "a" occurs twice`},
		"two documents":           {"stores: {a: {url: s3cr3t}}\n---\nx: 1\n", "more than one document"},
		"broken YAML":             {"stores:\n  a: {url: s3cr3t\n", "line "},
		"a missing variable":      {"stores:\n  a:\n    url: pg://s3cr3t:${SWITCHYARD_TEST_UNSET}@db\n", `line 3: store "a": environment variable SWITCHYARD_TEST_UNSET is not set`},
		"a wrong reference":       {"stores:\n  a:\n    url: pg://s3cr3t:${1}@db\n", `neither ${NAME} nor ${file:PATH}`},
		"an open reference":       {"stores:\n  a:\n    url: pg://s3cr3t:${X\n", `neither ${NAME} nor ${file:PATH}`},
		"another name":            {"stores:\n  b:\n    url: pg://s3cr3t@db\n", `there is no store "a"; it names b`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := testSet().OpenConfig(t.Context(), writeConfig(t, test.text), "a", nil)
			require.ErrorIs(t, err, eventstore.ErrInvalid)
			require.ErrorContains(t, err, test.want)
			require.NotContains(t, err.Error(), "s3cr3t")
		})
	}
	_, err := ReadConfig(filepath.Join(t.TempDir(), "absent.yaml"))
	require.ErrorIs(t, err, os.ErrNotExist)
}
