package conformance_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/conformance"
)

var update = flag.Bool("update", false, "write docs/guarantees.md anew")

func TestTheGuaranteesPageListsEveryCheck(t *testing.T) {
	const path = "../docs/guarantees.md"
	var b strings.Builder
	b.WriteString("# Guarantees\n\n" +
		"What a Switchyard store promises on every backend, and the checks that hold it to that. This page is\n" +
		"written by `go test ./conformance -run GuaranteesPage -update`, and a test fails where it is not current.\n" +
		"Core checks can be neither waived nor skipped. What a backend cannot do it declares with its reason, and\n" +
		"refuses: `switchyard caps URL`.\n")
	for _, promise := range conformance.Promises() {
		fmt.Fprintf(&b, "\n## %d. %s\n\n", promise.Number, promise.Title)
		for _, check := range conformance.Checks() {
			if check.Promise != promise.Number {
				continue
			}
			core := ""
			if check.Core {
				core = " (core)"
			}
			fmt.Fprintf(&b, "- `%s`%s: %s\n", check.Name, core, check.Sentence)
		}
	}
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(b.String()), 0o600))
	}
	page, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, b.String(), string(page), "run go test ./conformance -run GuaranteesPage -update")
}
