//go:build unix

package testservers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
)

// SharedKafka is one broker for all tests of a package, started by the first test
// that asks for it. The zero value is ready to use.
type SharedKafka struct {
	once   sync.Once
	server *Kafka
	err    error
}

// Main runs the tests, ends the broker if one was started, and returns the exit
// code for os.Exit.
func (s *SharedKafka) Main(m *testing.M) int { return s.After(m.Run()) }

// After ends the broker if one was started, and returns the exit code for os.Exit of
// tests that ended with this one. It is for packages that share several servers:
//
//	os.Exit(broker.After(server.Main(m)))
func (s *SharedKafka) After(code int) int {
	if s.server == nil {
		return code
	}
	if err := s.server.Close(); err != nil {
		fmt.Fprintln(os.Stderr, "testservers:", err)
		return max(code, 1)
	}
	return code
}

// Server returns the broker, starting it at first use. Where it cannot be had the
// test is skipped, loudly; with CI=true it fails.
func (s *SharedKafka) Server(t testing.TB) *Kafka {
	t.Helper()
	s.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
		defer cancel()
		s.server, s.err = StartKafka(ctx, KafkaOptions{})
	})
	skipOrFail(t, s.err)
	return s.server
}

// PrivateKafka starts brokers for one test alone. They end with the test; if the
// test has failed, the ends of their logs are shown. Where they cannot be had the
// test is skipped, loudly; with CI=true it fails.
func PrivateKafka(t testing.TB, opts KafkaOptions) *Kafka {
	t.Helper()
	opts.Private = true
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	server, err := StartKafka(ctx, opts)
	skipOrFail(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the brokers' logs end:\n%s", server.LogTail())
		}
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	return server
}

// skipOrFail ends the test where there is an error. A machine without the
// programs of a server may test everything else; CI may not leave it out, nor
// does a server that is there and fails count as absent.
func skipOrFail(t testing.TB, err error) {
	t.Helper()
	var absent *AbsentError
	switch {
	case err == nil:
	case errors.As(err, &absent) && os.Getenv("CI") != "true":
		t.Skipf("NOT TESTED: %v", err)
	default:
		t.Fatal(err)
	}
}
