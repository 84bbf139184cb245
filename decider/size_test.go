package decider_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// A program with a store, and the same one with decisions on it.
const (
	programWithAStore = `package main

import (
	"context"
	"fmt"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/eventstore"
)

func main() {
	store, err := eventstore.New(memory.New(), nil)
	if err != nil {
		panic(err)
	}
	event, err := eventstore.JSONEvent("Paid", struct{ Cents int }{1})
	fmt.Println(err)
	fmt.Println(store.Append(context.Background(), "account-1", eventstore.Any(), event))
	for event, err := range store.ReadStream(context.Background(), "account-1", eventstore.ReadOptions{}) {
		fmt.Println(event, err)
	}
	fmt.Println(store.Run(context.Background(), eventstore.Subscription{UntilCaughtUp: true}))
}
`
	programWithDecisions = `package main

import (
	"context"
	"fmt"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/codec"
	"github.com/switchyard-dev/switchyard/decider"
	"github.com/switchyard-dev/switchyard/eventstore"
)

type paid struct{ Cents int }

func main() {
	store, err := eventstore.New(memory.New(), nil)
	if err != nil {
		panic(err)
	}
	events := codec.Must(codec.New[paid](nil, codec.Of[paid]("Paid")))
	accounts, err := decider.New(store, events, func(cents int, e paid) int { return cents + e.Cents },
		&decider.Options{CacheSize: 10, Snapshots: &decider.Snapshots{Type: "Account", Every: 10}})
	fmt.Println(err)
	fmt.Println(accounts.Transact(context.Background(), "account-1", func(int) ([]paid, error) { return []paid{{1}}, nil }))
	fmt.Println(decider.Atomically(context.Background(), store, nil, func(tx *decider.Tx) error {
		_, err := accounts.In(tx, "account-1")
		return err
	}))
	for event, err := range accounts.Read(context.Background(), "account-1", 0) {
		fmt.Println(event, err)
	}
	fmt.Println(store.Run(context.Background(), decider.React("reaction", events, func(_ context.Context, cause *decider.Cause, e paid) error {
		fmt.Println(cause.Command("x", "y"), e)
		return nil
	})))
}
`
)

func TestCodecAndDeciderAddLittleToABinary(t *testing.T) {
	const most = 400_000 // bytes, stripped
	size := func(name, program string) int64 {
		folder, err := os.MkdirTemp(".", "_size-") //nolint:usetesting // within the module, and in no list of its packages
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, os.RemoveAll(folder)) })
		source, binary := filepath.Join(folder, "main.go"), filepath.Join(t.TempDir(), name)
		require.NoError(t, os.WriteFile(source, []byte(program), 0o600))
		out, err := exec.CommandContext(t.Context(), "go", "build", "-ldflags=-s -w", "-o", binary, source).CombinedOutput()
		require.NoError(t, err, "%s", out)
		info, err := os.Stat(binary)
		require.NoError(t, err)
		return info.Size()
	}
	without, with := size("store", programWithAStore), size("decider", programWithDecisions)
	t.Logf("%d bytes without, %d with: %d more", without, with, with-without)
	require.LessOrEqual(t, with-without, int64(most))
}
