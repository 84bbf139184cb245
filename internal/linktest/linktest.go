// Package linktest tells what a package links, for the tests that hold it to that.
package linktest

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strings"
)

// Module is how the paths of this module's packages begin.
const Module = "github.com/switchyard-dev/switchyard/"

// Others returns the packages that a package links, itself included, which are neither the
// standard library's nor allowed. What is allowed is a package's path, or with a slash
// at its end what such paths begin with.
func Others(ctx context.Context, pkg string, allowed ...string) ([]string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-deps", pkg).Output() //nolint:gosec // a package's path, given by its test
	if err != nil {
		return nil, fmt.Errorf("list what %s links: %w", pkg, err)
	}
	var others []string
	for linked := range strings.FieldsSeq(string(out)) {
		host, _, _ := strings.Cut(linked, "/")
		known := slices.ContainsFunc(allowed, func(path string) bool {
			return linked == path || strings.HasSuffix(path, "/") && strings.HasPrefix(linked, path)
		})
		if strings.Contains(host, ".") && !known {
			others = append(others, linked)
		}
	}
	return others, nil
}
