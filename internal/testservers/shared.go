//go:build unix

package testservers

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"
)

// startTimeout bounds a start, including the one download of the programs.
const startTimeout = 3 * time.Minute

// SharedPostgres is one server for all tests of a package, started by the first
// test that asks for a database. The zero value is ready to use.
type SharedPostgres struct {
	once   sync.Once
	server *Postgres
	err    error
}

// Main runs the tests, ends the server if one was started, and returns the exit
// code for os.Exit.
func (s *SharedPostgres) Main(m *testing.M) int {
	code := m.Run()
	if s.server == nil {
		return code
	}
	if err := s.server.Close(); err != nil {
		fmt.Fprintln(os.Stderr, "testservers:", err)
		return max(code, 1)
	}
	return code
}

// Server returns the server, starting it at first use.
func (s *SharedPostgres) Server(t testing.TB) *Postgres {
	t.Helper()
	s.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
		defer cancel()
		s.server, s.err = StartPostgres(ctx, PostgresOptions{})
	})
	if s.err != nil {
		t.Fatal(s.err)
	}
	return s.server
}

// Database creates an empty database for one test and returns its URL.
func (s *SharedPostgres) Database(t testing.TB) string {
	t.Helper()
	return s.Server(t).Database(t)
}

// PrivatePostgres starts a server for one test alone. It ends with the test; if
// the test has failed, the end of the server's log is shown.
func PrivatePostgres(t testing.TB, opts PostgresOptions) *Postgres {
	t.Helper()
	opts.Private = true
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	server, err := StartPostgres(ctx, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the server's log ends:\n%s", server.LogTail())
		}
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	return server
}
