package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The code of a page is cut from sources that are compiled and run.
func TestTheCodeOfThePagesIsCutFromSources(t *testing.T) {
	for page, sources := range map[string][]string{
		"subscriptions.md":     {"eventstore/example_test.go", "eventstore/example_parked_test.go"},
		"moving.md":            {"examples/moving/main.go"},
		"relay.md":             {"relay/example_test.go", "relay/kafka/example_test.go"},
		"tutorial.md":          {"examples/start/main.go", "examples/shop/*.go", "examples/shop/*/*.go"},
		"writing-a-backend.md": {"examples/custom-backend/linelog.go", "examples/custom-backend/store.go", "examples/custom-backend/linelog_test.go", "backends/memory/memory.go", "backends/memory/read.go"},
	} {
		t.Run(page, func(t *testing.T) {
			var known strings.Builder
			for _, source := range sources {
				files, err := filepath.Glob("../../" + source)
				require.NoError(t, err)
				require.NotEmpty(t, files, source)
				for _, file := range files {
					text, err := os.ReadFile(file)
					require.NoError(t, err)
					known.Write(text)
				}
			}
			text, err := os.ReadFile("../../docs/" + page)
			require.NoError(t, err)
			found := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(string(text), -1)
			require.NotEmpty(t, found)
			for _, block := range found {
				require.Contains(t, known.String(), block[1], "not in %v", sources)
			}
		})
	}
}

// The commands of a page are run one after the other in an empty folder, with the file
// that it shows.
func TestTheCommandsOfThePageOnRefusedEventsAreRun(t *testing.T) {
	page, err := os.ReadFile("../../docs/refused-events.md")
	require.NoError(t, err)
	t.Chdir(t.TempDir())
	block := func(language string) string {
		found := regexp.MustCompile("(?s)```" + language + "\n(.*?)```").FindSubmatch(page)
		require.NotNil(t, found, language)
		return string(found[1])
	}
	require.NoError(t, os.WriteFile("old.ndjson", []byte(block("json")), 0o600))
	said := regexp.MustCompile(`exit ([0-9]): (.*) … (.*)`)
	for line := range strings.Lines(block("sh")) {
		command, comment, _ := strings.Cut(strings.TrimSpace(line), "#")
		got := call(t, "", strings.Fields(strings.TrimPrefix(command, "switchyard "))...)
		if fails := said.FindStringSubmatch(comment); fails != nil {
			require.Equal(t, fails[1], strconv.Itoa(got.code), line)
			require.Contains(t, got.err, fails[2], line)
			require.Contains(t, got.err, fails[3], line)
			continue
		}
		require.Zero(t, got.code, "%s: %s", line, got.err)
		require.NotEmpty(t, got.out)
	}
}
