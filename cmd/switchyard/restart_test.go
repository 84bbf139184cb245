package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/conformance"
	"github.com/switchyard-dev/switchyard/eventstore"
)

func TestARestartRunsTheUsersCommandAndWaitsForTheStore(t *testing.T) {
	ran := filepath.Join(t.TempDir(), "ran")
	looks := 0
	fixture, err := restartable(func(context.Context) (*conformance.Fixture, error) {
		return &conformance.Fixture{OpenAgain: func(context.Context) (eventstore.Backend, error) {
			if looks++; looks < 3 {
				return nil, eventstore.ErrUnavailable // it is starting
			}
			return memory.New(), nil
		}}, nil
	}, "echo x >> '"+ran+"'")(t.Context())
	require.NoError(t, err)
	require.NoError(t, fixture.Restart(t.Context()))
	require.Equal(t, 3, looks)
	said, err := os.ReadFile(ran)
	require.NoError(t, err)
	require.Equal(t, "x\n", string(said))
}

func TestARestartThatFailsSaysWhatTheCommandSaid(t *testing.T) {
	open := func(context.Context) (*conformance.Fixture, error) { return &conformance.Fixture{}, nil }
	fixture, err := restartable(open, "echo no such server >&2; exit 3")(t.Context())
	require.NoError(t, err)
	err = fixture.Restart(t.Context())
	require.ErrorContains(t, err, "no such server")
	require.ErrorContains(t, err, "exit status 3")
}

func TestAStoreThatDoesNotComeBackEndsTheWait(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	gone := errors.New("gone")
	err := untilAnswered(ctx, func(context.Context) (eventstore.Backend, error) { cancel(); return nil, gone })
	require.ErrorIs(t, err, gone)
}

func TestAStoreWithoutAServerIsNotRestarted(t *testing.T) {
	got := call(t, "", "conformance", sqliteURL(t), "--restart-command", "true", "--match", "^append/acknowledged")
	require.Equal(t, exitUsage, got.code)
	require.Contains(t, got.err, "no server")
}

func TestWhatOnlyItsAuthorSaysOfAStoreIsSkippedAndNotProven(t *testing.T) {
	got := ok(t, "", "conformance", sqliteURL(t), "--match", "^order/no-late-arrival-forced$", "--text")
	require.Contains(t, got, "skipped     order/no-late-arrival-forced")
	require.Contains(t, got, "1 skipped")
}
