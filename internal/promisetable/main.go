// Command promisetable keeps the table of promises and backends in a Markdown
// file in step with what the conformance suite found. It takes the reports that
// the suite's tests leave (see conformance.ReportsVariable), and either fails
// where the file says something else, or with -write puts it right.
//
//	promisetable [-write] README.md REPORT.json...
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/switchyard-dev/switchyard/conformance"
)

// The table stands between these lines.
const (
	begin = "<!-- promises: begin -->\n"
	end   = "<!-- promises: end -->\n"
)

// columns are the backends in the order of the table. All must have a report.
func columns() []string {
	return []string{"memory", "sqlite", "postgres", "esdb (double)", "marten", "dynamodb (double)", "kafka"}
}

// optional is the backend whose server not every machine can start. Its tests are
// skipped there, and counted; in CI they may not be.
const optional = "kafka"

var errNoKafka = errors.New("there is no report of kafka, whose server could not be started: see CONTRIBUTING.md")

func main() {
	write := flag.Bool("write", false, "put the file right")
	flag.Parse()
	if err := run(*write, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "promisetable:", err)
		os.Exit(1)
	}
}

func run(write bool, args []string) error {
	if len(args) < 2 {
		return errors.New("usage: promisetable [-write] README.md REPORT.json…")
	}
	reports, err := load(args[1:])
	if errors.Is(err, errNoKafka) && !write && os.Getenv("CI") != "true" {
		fmt.Fprintln(os.Stderr, "promisetable: NOT CHECKED:", err)
		return nil
	}
	if err != nil {
		return err
	}
	text, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	current, err := replace(text, reports)
	if err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	if bytes.Equal(text, current) {
		return nil
	}
	if !write {
		return fmt.Errorf("%s: the table of promises is not what the suite found; 'make promises' puts it right", args[0])
	}
	return os.WriteFile(args[0], current, 0o600)
}

// load reads the reports and puts them in the table's order.
func load(paths []string) ([]conformance.Report, error) {
	var reports []conformance.Report
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		var report conformance.Report
		if err := json.Unmarshal(content, &report); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if !slices.Contains(columns(), report.Backend) {
			continue
		}
		if report.Scale != "" {
			return nil, fmt.Errorf("%s: the suite was run %s: the table shows whole runs only", path, report.Scale)
		}
		reports = append(reports, report)
	}
	slices.SortFunc(reports, func(a, b conformance.Report) int {
		return slices.Index(columns(), a.Backend) - slices.Index(columns(), b.Backend)
	})
	if len(reports) == len(columns())-1 && !slices.ContainsFunc(reports, func(r conformance.Report) bool { return r.Backend == optional }) {
		return nil, errNoKafka
	}
	if len(reports) != len(columns()) {
		return nil, fmt.Errorf("there are reports of %d backends, and the table has %s", len(reports), strings.Join(columns(), ", "))
	}
	return reports, nil
}

// replace returns the text with the table made from the reports.
func replace(text []byte, reports []conformance.Report) ([]byte, error) {
	before, rest, ok := bytes.Cut(text, []byte(begin))
	_, after, closed := bytes.Cut(rest, []byte(end))
	if !ok || !closed {
		return nil, fmt.Errorf("there is no table between %q and %q", strings.TrimSpace(begin), strings.TrimSpace(end))
	}
	var b bytes.Buffer
	b.Write(before)
	b.WriteString(begin)
	if err := conformance.WritePromiseTable(&b, reports...); err != nil {
		return nil, err
	}
	b.WriteString(end)
	b.Write(after)
	return b.Bytes(), nil
}
