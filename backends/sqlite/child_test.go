package sqlite_test

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/sqlite"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// childVariable names the part that this test binary plays when a test starts it
// as another process.
const childVariable = "SWITCHYARD_SQLITE_CHILD"

func TestMain(m *testing.M) {
	onStore := map[string]func(context.Context, *eventstore.Store, string) error{
		"append": childAppends,
		"race":   childRaces,
		"commit": childCommits,
		"fill":   childFillsUntilSealed,
	}
	onFiles := map[string]func(path, name string) error{
		"copy":  childCopies,
		"full":  childFillsDisk,
		"own":   childOwns,
		"visit": childVisits,
	}
	part := os.Getenv(childVariable)
	if part == "" {
		os.Exit(m.Run())
	}
	var err error
	if work, ok := onFiles[part]; ok {
		err = work(os.Args[1], os.Args[2])
	} else {
		err = play(onStore[part], os.Args[1], os.Args[2])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func play(part func(context.Context, *eventstore.Store, string) error, path, name string) error {
	return onBackend(path, nil, func(ctx context.Context, _ *sqlite.Backend, store *eventstore.Store) error {
		return part(ctx, store, name)
	})
}

// onBackend opens the store in a child and works on it once the parent says so.
func onBackend(path string, opts *sqlite.Options, work func(context.Context, *sqlite.Backend, *eventstore.Store) error) error {
	ctx := context.Background()
	backend, err := sqlite.Open(ctx, path, opts)
	if err != nil {
		return err
	}
	store, err := eventstore.New(backend, nil)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	if err := awaitParent(); err != nil {
		return err
	}
	return errors.Join(work(ctx, backend, store), store.Close())
}

// awaitParent waits for child.begin. It reads no further than the parent wrote.
func awaitParent() error {
	_, err := fmt.Scanln(new(string))
	return err
}

// child is another process on the file at path.
type child struct {
	*exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

// startChild starts a child and waits until it has the store open.
func startChild(t *testing.T, part, path, name string) *child {
	t.Helper()
	binary, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), binary, path, name)
	cmd.Env = append(os.Environ(), childVariable+"="+part)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	c := &child{cmd, in, bufio.NewScanner(out)}
	require.True(t, c.out.Scan(), "the child says that it is ready")
	require.Equal(t, "ready", c.out.Text())
	return c
}

func (c *child) begin(t *testing.T) {
	t.Helper()
	_, err := io.WriteString(c.in, "go\n")
	require.NoError(t, err)
}

// runChild lets another process do work on files, and waits for its end. It is
// for whatever opens a file that this process may have open: closing it here
// would end the locks that SQLite holds on it.
func runChild(ctx context.Context, part, path, name string) error {
	binary, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, binary, path, name)
	cmd.Env = append(os.Environ(), childVariable+"="+part)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", part, path, err, out)
	}
	return nil
}

// childVisits looks into the file as any program with SQLite does.
func childVisits(path, _ string) error {
	db, err := sql.Open("sqlite", path)
	if err != nil {
		return err
	}
	var events int
	err = db.QueryRowContext(context.Background(), "SELECT count(*) FROM events").Scan(&events)
	return errors.Join(err, db.Close())
}

// childCopies copies a file, and its log if it has one.
func childCopies(from, to string) error {
	for _, suffix := range []string{"", "-wal"} {
		content, err := os.ReadFile(from + suffix)
		if errors.Is(err, os.ErrNotExist) {
			continue
		} else if err != nil {
			return err
		}
		if err := os.WriteFile(to+suffix, content, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// numbered is the event that a child appends as a stream's n-th: the same in
// every process, so that whoever comes later can repeat it.
func numbered(stream string, n uint64) eventstore.Event {
	return eventstore.Event{
		ID:   uuid.NewSHA1(uuid.NameSpaceOID, fmt.Appendf(nil, "%s/%d", stream, n)),
		Type: "Counted", Data: strconv.AppendUint(nil, n, 10),
	}
}

// childAppends goes on with four streams, each event of which it prints as soon
// as it is acknowledged. It begins each stream with the event that an earlier
// child may or may not have got through.
func childAppends(ctx context.Context, store *eventstore.Store, _ string) error {
	var writers sync.WaitGroup
	failures := make(chan error, 4)
	for w := range 4 {
		stream := fmt.Sprintf("counter-%d", w)
		version, err := store.StreamVersion(ctx, stream)
		if err != nil {
			return err
		}
		writers.Go(func() {
			for n := max(version, 1); ; n++ {
				result, err := store.Append(ctx, stream, eventstore.Exactly(n-1), numbered(stream, n))
				if err != nil || result.Version != n {
					failures <- fmt.Errorf("append %d to %s: version %d, %w", n, stream, result.Version, err)
					return
				}
				fmt.Printf("%s %d\n", stream, n)
			}
		})
	}
	writers.Wait()
	return <-failures
}

const (
	raceRounds     = 60
	raceIncrements = 40
)

// childRaces takes part in races with other processes: in each round one of them
// may open the stream, and all of them count in one stream.
func childRaces(ctx context.Context, store *eventstore.Store, name string) error {
	for round := range raceRounds {
		stream := fmt.Sprintf("round-%d", round)
		_, err := store.Append(ctx, stream, eventstore.NoStream(), eventstore.Event{Type: "Won", Data: []byte(strconv.Quote(name))})
		var conflict *eventstore.ConflictError
		switch {
		case err == nil:
			fmt.Printf("won %d\n", round)
		case !errors.As(err, &conflict):
			return err
		case conflict.Actual != 1:
			return fmt.Errorf("round %d: a loser hears of version %d", round, conflict.Actual)
		}
	}
	for range raceIncrements {
		for {
			version, err := store.StreamVersion(ctx, "counter")
			if err != nil {
				return err
			}
			_, err = store.Append(ctx, "counter", eventstore.Exactly(version), eventstore.Event{Type: "Counted", Data: []byte("1")})
			if err == nil {
				break
			}
			if !errors.Is(err, eventstore.ErrConflict) {
				return err
			}
		}
	}
	return nil
}
