package sqlite_test

import (
	"bytes"
	"database/sql"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/sqlite"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// raw opens the file without our help, as another program would.
func raw(t testing.TB, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func execute(t testing.TB, db *sql.DB, statements ...string) {
	t.Helper()
	for _, statement := range statements {
		_, err := db.ExecContext(t.Context(), statement)
		require.NoError(t, err, statement)
	}
}

func TestOpenRefusesWhatIsNotAStore(t *testing.T) {
	tests := []struct {
		name    string
		prepare func(t *testing.T) (path string)
		says    string
	}{
		{"an empty path", func(*testing.T) string { return "" }, "is empty"},
		{"a database in memory", func(*testing.T) string { return ":memory:" }, "use the memory backend"},
		{"SQLite's own URI", func(*testing.T) string { return "file:a.db?mode=memory" }, "is not the path of a file"},
		{"a path with a NUL byte", func(*testing.T) string { return "a\x00.db" }, "NUL"},
		{"a directory", func(t *testing.T) string { return t.TempDir() }, "is a directory"},
		{"a device", func(*testing.T) string { return os.DevNull }, "not a regular file"},
		{"a directory that does not exist", func(t *testing.T) string { return filepath.Join(t.TempDir(), "no", "a.db") }, "does not exist"},
		{"a text file", func(t *testing.T) string {
			path := file(t)
			require.NoError(t, os.WriteFile(path, []byte("this is not a database, but it is long enough to hold a header of one hundred bytes, is it not?"), 0o600))
			return path
		}, "choose another file: file is not a database"},
		{"another application's database", func(t *testing.T) string {
			path := file(t)
			execute(t, raw(t, path), "CREATE TABLE customers (name TEXT)")
			return path
		}, "another application"},
		{"a database with another application's mark", func(t *testing.T) string {
			path := file(t)
			execute(t, raw(t, path), "PRAGMA application_id = 0x47504B47")
			return path
		}, "0x47504b47"},
		{"a newer schema", func(t *testing.T) string {
			path := file(t)
			require.NoError(t, open(t, path, nil).Close())
			execute(t, raw(t, path), "PRAGMA user_version = 99")
			return path
		}, "has schema 99, and this program knows up to 2; use a newer program"},
		{"a store without an identity", func(t *testing.T) string {
			path := file(t)
			require.NoError(t, open(t, path, nil).Close())
			execute(t, raw(t, path), "DELETE FROM store")
			return path
		}, "has no identity"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := sqlite.Open(t.Context(), test.prepare(t), nil)
			require.ErrorContains(t, err, test.says)
		})
	}
}

func TestOpenLeavesAnotherApplicationsDatabaseAsItWas(t *testing.T) {
	path := file(t)
	db := raw(t, path)
	execute(t, db, "CREATE TABLE customers (name TEXT)", "INSERT INTO customers VALUES ('a')")
	require.NoError(t, db.Close())
	before, err := os.ReadFile(path)
	require.NoError(t, err)
	_, err = sqlite.Open(t.Context(), path, nil)
	require.Error(t, err)
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	require.True(t, bytes.Equal(before, after))
}

func TestAStoreKeepsItsIdentityAndItsSettings(t *testing.T) {
	path := file(t)
	first, err := open(t, path, nil).Info(t.Context())
	require.NoError(t, err)
	second, err := open(t, path, nil).Info(t.Context())
	require.NoError(t, err)
	require.NotZero(t, first.ID)
	require.Equal(t, first.ID, second.ID)

	var journal string
	var application, schema int
	db := raw(t, path)
	require.NoError(t, db.QueryRowContext(t.Context(), "PRAGMA journal_mode").Scan(&journal))
	require.NoError(t, db.QueryRowContext(t.Context(), "PRAGMA application_id").Scan(&application))
	require.NoError(t, db.QueryRowContext(t.Context(), "PRAGMA user_version").Scan(&schema))
	require.Equal(t, "wal", journal)
	require.Equal(t, 0x53575944, application)
	require.Equal(t, 2, schema)
}

func TestManyMayOpenANewFileAtOnce(t *testing.T) {
	path := file(t)
	type opened struct {
		backend *sqlite.Backend
		err     error
	}
	const racers = 8
	results := make(chan opened, racers)
	for range racers {
		go func() {
			backend, err := sqlite.Open(t.Context(), path, nil)
			results <- opened{backend, err}
		}()
	}
	identities := make(map[string]int)
	for range racers {
		result := <-results
		require.NoError(t, result.err)
		info, err := result.backend.Info(t.Context())
		require.NoError(t, err)
		identities[info.ID.String()]++
		t.Cleanup(func() { require.NoError(t, result.backend.Close()) })
	}
	require.Len(t, identities, 1)
}

func TestAStoreStaysWhereItWasOpened(t *testing.T) {
	t.Chdir(t.TempDir())
	backend, err := sqlite.Open(t.Context(), "events.db", nil)
	require.NoError(t, err)
	defer backend.Close()
	t.Chdir(t.TempDir())
	// The first read opens a connection.
	_, err = backend.ReadAll(t.Context(), eventstore.ReadAllRequest{PageSize: eventstore.PageSize{MaxEvents: 1, MaxBytes: 1}})
	require.NoError(t, err)
}

func TestOptionsBelowZeroAreInvalid(t *testing.T) {
	for _, opts := range []sqlite.Options{{Poll: -1}, {BusyTimeout: -1}, {Readers: -1}} {
		_, err := sqlite.Open(t.Context(), file(t), &opts)
		require.ErrorIs(t, err, eventstore.ErrInvalid)
	}
}

func TestURLs(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	require.NoError(t, os.Mkdir("data", 0o700))
	require.NoError(t, os.WriteFile("empty.db", nil, 0o600))
	tests := []struct{ url, file, says string }{
		{url: "sqlite:orders.db", file: "orders.db"},
		{url: "sqlite:data/orders.db", file: "data/orders.db"},
		{url: "sqlite:./dotted.db", file: "dotted.db"},
		{url: "sqlite:" + dir + "/absolute.db", file: "absolute.db"},
		{url: "sqlite://" + dir + "/slashes.db", file: "slashes.db"},
		{url: "sqlite:with%20space%3F%23%25.db", file: "with space?#%.db"},
		{url: "sqlite:" + dir + "/absolute%20%3F%23%25.db", file: "absolute ?#%.db"},
		{url: "sqlite:a+b%2Bc&d=e.db", file: "a+b+c&d=e.db"},
		{url: "sqlite:parameters.db?poll=250ms&busy_timeout=1s&readers=2", file: "parameters.db"},
		{url: "sqlite:", says: "names no file"},
		{url: "sqlite:%3Amemory%3A", says: "use the memory backend"},
		{url: "sqlite://orders.db", says: `"orders.db" is taken for a host`},
		{url: "sqlite://user:secret@/orders.db", says: "no user or password"},
		{url: "sqlite:orders.db#1", says: "%23"},
		{url: "sqlite:orders.db?cache=shared", says: `unknown parameter "cache"; known are busy_timeout, create, poll, readers`},
		{url: "sqlite:orders.db?poll=1s&poll=2s", says: "poll occurs 2 times"},
		{url: "sqlite:orders.db?poll=fast", says: "not a positive duration"},
		{url: "sqlite:orders.db?poll=-1s", says: "not a positive duration"},
		{url: "sqlite:orders.db?create=off", file: "orders.db"},
		{url: "sqlite:absent.db?create=off", says: "holds no store"},
		{url: "sqlite:empty.db?create=off", says: "holds no store"},
		{url: "sqlite:orders.db?create=no", says: "neither on nor off"},
		{url: "sqlite:orders.db?readers=0", says: "not a number from 1 to 1000"},
	}
	for _, test := range tests {
		t.Run(test.url, func(t *testing.T) {
			u, err := url.Parse(test.url)
			require.NoError(t, err)
			backend, err := sqlite.OpenURL(t.Context(), u)
			if test.says != "" {
				require.ErrorIs(t, err, eventstore.ErrInvalid)
				require.ErrorContains(t, err, test.says)
				require.NotContains(t, err.Error(), "secret")
				return
			}
			require.NoError(t, err)
			require.NoError(t, backend.Close())
			require.FileExists(t, filepath.Join(dir, test.file))
		})
	}
}
