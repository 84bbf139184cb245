package postgres_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/postgres"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// childVariable names the part that this test binary plays when a test starts it as
// another process.
const childVariable = "SWITCHYARD_POSTGRES_CHILD"

func playChild(part string) int {
	work := map[string]func(ctx context.Context, store *eventstore.Store) error{"own": childOwns, "write": childWrites}[part]
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	err := func() error {
		u, err := url.Parse(os.Args[1])
		if err != nil {
			return err
		}
		backend, err := postgres.OpenURL(ctx, u)
		if err != nil {
			return err
		}
		store, err := eventstore.New(backend, &eventstore.Options{Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))})
		if err != nil {
			return err
		}
		fmt.Println("ready")
		return errors.Join(work(ctx, store), store.Close())
	}()
	if err != nil {
		fmt.Println("error", err)
		return 1
	}
	return 0
}

const (
	childLease      = 900 * time.Millisecond
	childCheckpoint = 10 // events
	childPace       = time.Millisecond
)

// childOwns runs a subscription and says what it handles.
func childOwns(ctx context.Context, store *eventstore.Store) error {
	return store.Run(ctx, eventstore.Subscription{
		Name: "billing", LeaseTTL: childLease, CheckpointEvery: childCheckpoint,
		Handler: func(ctx context.Context, event eventstore.RecordedEvent) error {
			high, _ := event.Position.Words()
			pause(ctx, childPace)
			_, err := fmt.Println("handled", high)
			return err
		},
	})
}

// childWrites appends until the store is sealed, and says what is acknowledged.
func childWrites(ctx context.Context, store *eventstore.Store) error {
	for {
		result, err := store.Append(ctx, fmt.Sprintf("order-%d", os.Getpid()), eventstore.Any(), event("Placed", "{}"))
		var sealed *eventstore.SealedError
		if errors.As(err, &sealed) {
			fmt.Println("sealed", sealed.Reason)
			return nil
		}
		if err != nil {
			return err
		}
		high, _ := result.Position.Words()
		fmt.Println("stored", high)
	}
}

// child is another process with the store open.
type child struct {
	*exec.Cmd
	done chan struct{} // its output has ended
}

// said is a line that a child wrote: a word and what follows it.
type said struct {
	by         *child
	word, text string
}

// startChild starts a child that has the store open. What it says goes to said.
func startChild(t *testing.T, part, rawURL string, says chan<- said) *child {
	t.Helper()
	binary, err := os.Executable()
	require.NoError(t, err)
	c := &child{Cmd: exec.CommandContext(context.WithoutCancel(t.Context()), binary, rawURL), done: make(chan struct{})}
	c.Env = append(os.Environ(), childVariable+"="+part)
	out, err := c.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, c.Start())
	var once sync.Once
	ready := make(chan struct{})
	go func() {
		defer close(c.done)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			word, text, _ := strings.Cut(lines.Text(), " ")
			if word == "ready" {
				once.Do(func() { close(ready) })
				continue
			}
			says <- said{c, word, text}
		}
	}()
	t.Cleanup(func() {
		_ = c.Process.Signal(syscall.SIGKILL)
		<-c.done
		_ = c.Wait()
	})
	select {
	case <-ready:
	case <-c.done:
		t.Fatal("the child ended before it was ready")
	case <-time.After(soon):
		t.Fatal("the child is not ready")
	}
	return c
}

func (c *child) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	require.NoError(t, c.Process.Signal(s))
}
