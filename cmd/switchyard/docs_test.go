package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The code of a page is cut from sources that are compiled and run.
func TestTheCodeOfThePagesIsCutFromSources(t *testing.T) {
	for page, sources := range map[string][]string{
		"subscriptions.md":     {"eventstore/example_test.go"},
		"relay.md":             {"relay/example_test.go", "relay/kafka/example_test.go"},
		"writing-a-backend.md": {"examples/custom-backend/linelog.go", "examples/custom-backend/store.go", "examples/custom-backend/linelog_test.go", "backends/memory/memory.go", "backends/memory/read.go"},
	} {
		t.Run(page, func(t *testing.T) {
			var known strings.Builder
			for _, source := range sources {
				text, err := os.ReadFile("../../" + source)
				require.NoError(t, err)
				known.Write(text)
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
