package conformance

import (
	"fmt"
	"io"
	"strings"
)

// WriteMarkdown writes the report for a README or a build's summary: the table
// of promises, then everything that is not simply passed.
func (r Report) WriteMarkdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "## Conformance of %s\n\n%s. Seed %d.\n\n", cell(r.Backend), cell(r.Summary()), r.Seed)
	promiseTable(&b, []Report{r})
	for _, status := range []Status{Failed, Waived, Skipped, Unsupported} {
		if r.Count(status) == 0 {
			continue
		}
		title := string(status)
		fmt.Fprintf(&b, "\n### %s%s\n\n", strings.ToUpper(title[:1]), title[1:])
		for _, result := range r.Results {
			if result.Status != status {
				continue
			}
			fmt.Fprintf(&b, "- `%s` (promise %d)", result.Check, result.Promise)
			if result.Reason != "" {
				fmt.Fprintf(&b, ": %s", cell(result.Reason))
			}
			b.WriteByte('\n')
			if result.Failure != "" {
				fmt.Fprintf(&b, "\n      %s\n\n", strings.ReplaceAll(result.explain(), "\n", "\n      "))
			}
		}
	}
	return writeString(w, b.String())
}

// WritePromiseTable writes a Markdown table of the promises, with one column for
// each report.
func WritePromiseTable(w io.Writer, reports ...Report) error {
	var b strings.Builder
	promiseTable(&b, reports)
	return writeString(w, b.String())
}

func promiseTable(b *strings.Builder, reports []Report) {
	b.WriteString("| | promise |")
	for _, report := range reports {
		fmt.Fprintf(b, " %s |", cell(report.Backend))
	}
	b.WriteString("\n|---|---|" + strings.Repeat("---|", len(reports)) + "\n")
	columns := make([][]PromiseResult, len(reports))
	for i, report := range reports {
		columns[i] = report.Promises()
	}
	for i, promise := range Promises() {
		fmt.Fprintf(b, "| %d | %s |", promise.Number, promise.Title)
		for _, column := range columns {
			fmt.Fprintf(b, " %s |", column[i])
		}
		b.WriteByte('\n')
	}
}

// cell keeps text inside one cell of a Markdown table, and text.
func cell(s string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ", "<", "&lt;").Replace(printable(s))
}
