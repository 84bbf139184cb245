package githistory_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/githistory"
	"github.com/switchyard-dev/switchyard/internal/transfer"
)

var update = flag.Bool("update", false, "write sample.ndjson anew from the first commits of this repository")

// repository makes a small git repository.
func repository(t *testing.T) (dir string, git func(args ...string)) {
	t.Helper()
	dir = t.TempDir()
	git = func(args ...string) {
		t.Helper()
		command := exec.CommandContext(t.Context(), "git", append([]string{"-C", dir}, args...)...)
		command.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null",
			"GIT_AUTHOR_NAME=Ada \xff", "GIT_AUTHOR_EMAIL=ada@example.com", "GIT_AUTHOR_DATE=2026-01-02T03:04:05+02:00",
			"GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.com", "GIT_COMMITTER_DATE=2026-01-02T03:04:05+02:00")
		output, err := command.CombinedOutput()
		require.NoError(t, err, string(output))
	}
	git("init", "-q")
	return dir, git
}

func write(t *testing.T, dir, name, content string) {
	t.Helper()
	path := filepath.Join(dir, name)
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o750))
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
}

func load(t *testing.T, lines io.Reader) *eventstore.Store {
	t.Helper()
	store, err := eventstore.New(memory.New(), &eventstore.Options{BackendLimits: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	_, err = transfer.Import(t.Context(), store, lines, nil)
	require.NoError(t, err)
	return store
}

func changes(t *testing.T, store *eventstore.Store, stream string) []githistory.Change {
	t.Helper()
	var all []githistory.Change
	for event, err := range store.ReadStream(t.Context(), stream, eventstore.ReadOptions{}) {
		require.NoError(t, err)
		require.Equal(t, githistory.EventType, event.Type)
		var change githistory.Change
		require.NoError(t, json.Unmarshal(event.Data, &change))
		require.Equal(t, change.Commit, event.CorrelationID())
		require.True(t, change.Date.Equal(event.RecordedAt))
		all = append(all, change)
	}
	return all
}

func TestAHistoryBecomesOneStreamForEachFile(t *testing.T) {
	dir, git := repository(t)
	write(t, dir, "a.txt", "one\ntwo\n")
	write(t, dir, "sub dir/b\tc\n.txt", "x\n")
	write(t, dir, "image.png", "\x89PNG\x00\x00")
	git("add", "-A")
	git("commit", "-qm", "first; with \"quotes\"")
	write(t, dir, "a.txt", "one\nthree\nfour\n")
	git("add", "-A")
	git("commit", "-qm", "second")

	var lines bytes.Buffer
	summary, err := githistory.Write(t.Context(), &lines, dir, 0)
	require.NoError(t, err)
	require.Equal(t, githistory.Summary{Commits: 2, Events: 4}, summary)
	store := load(t, bytes.NewReader(lines.Bytes()))

	a := changes(t, store, "file-a.txt")
	require.Len(t, a, 2)
	require.Equal(t, []int{2, 0}, []int{a[0].Insertions, a[0].Deletions})
	require.Equal(t, []int{2, 1}, []int{a[1].Insertions, a[1].Deletions})
	require.Contains(t, a[0].Author, "Ada ") // git itself makes UTF-8 of what it can
	require.Equal(t, `first; with "quotes"`, a[0].Subject)
	require.True(t, changes(t, store, "file-image.png")[0].Binary)
	require.Len(t, changes(t, store, "file-sub dir/b%09c%0A.txt"), 1)

	again, err := transfer.Import(t.Context(), store, &lines, nil)
	require.NoError(t, err)
	require.Equal(t, transfer.Result{Read: 4, Duplicates: 4}, again, "the same history twice changes nothing")

	var last bytes.Buffer
	summary, err = githistory.Write(t.Context(), &last, dir, 1)
	require.NoError(t, err)
	require.Equal(t, githistory.Summary{Commits: 1, Events: 1}, summary)
}

func TestWhereThereIsNoHistoryTheErrorSaysSo(t *testing.T) {
	t.Setenv("GIT_CEILING_DIRECTORIES", os.TempDir())
	empty, _ := repository(t)
	for name, dir := range map[string]string{"no repository": t.TempDir(), "no commit": empty, "no folder": "/does/not/exist"} {
		_, err := githistory.Write(t.Context(), io.Discard, dir, 0)
		require.ErrorIs(t, err, githistory.ErrNoHistory, name)
	}
}

func TestStreamsOfPathsAreValidAndDistinct(t *testing.T) {
	long := strings.Repeat("ü/", 200)
	seen := make(map[string]string)
	for _, path := range []string{"a", "a%09", "a\t", "a\xff", "a\ufffd", long + "a", long + "b", "%41", "A"} {
		stream := githistory.Stream(path)
		require.LessOrEqual(t, len(stream), 255)
		require.Empty(t, seen[stream], "%q and %q", path, seen[stream])
		require.Equal(t, "file", eventstore.Category(stream))
		seen[stream] = path
	}
}

func TestTheSampleIsAHistory(t *testing.T) {
	if *update {
		var lines bytes.Buffer
		_, err := githistory.Write(t.Context(), &lines, ".", 0)
		require.NoError(t, err)
		const most = 300
		all := strings.SplitAfter(lines.String(), "\n")
		require.NoError(t, os.WriteFile("sample.ndjson", []byte(strings.Join(all[:min(most, len(all))], "")), 0o600))
		return
	}
	store := load(t, githistory.Sample())
	require.NotEmpty(t, changes(t, store, "file-LICENSE"))
}
