// Command testgate reads what `go test -json` wrote, counts the tests, and fails
// on a failure or, in CI, on a skip that nobody has given a reason for. Its last
// line is the count: "12 passed, 0 failed, 1 skipped".
//
//	testgate -allow .ci/allowed-skips run1.json run2.json
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
)

func main() {
	allow := flag.String("allow", "", "file that lists the skips allowed in CI: PACKAGE TEST REASON a line")
	flag.Parse()
	ok, err := gate(os.Stdout, *allow, flag.Args(), os.Getenv("CI") == "true")
	if err != nil {
		fmt.Fprintln(os.Stderr, "testgate:", err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

// gate prints the verdict on the given runs to out and reports whether they may
// pass: no test failed, some test ran, and, when strict, every skip is allowed.
func gate(out io.Writer, allowFile string, runs []string, strict bool) (bool, error) {
	allowed, err := readAllowed(allowFile)
	if err != nil {
		return false, err
	}
	var total tally
	for _, run := range runs {
		if err := total.addFile(run); err != nil {
			return false, err
		}
	}

	ok := total.failed == 0
	for _, s := range total.skips {
		if reason, listed := allowed.reason(s); listed {
			fmt.Fprintf(out, "skipped, allowed: %s %s: %s\n", s.pkg, s.test, reason)
			continue
		}
		fmt.Fprintf(out, "skipped, not listed in %s: %s %s\n", allowFile, s.pkg, s.test)
		ok = ok && !strict
	}
	if total.passed+total.failed == 0 {
		fmt.Fprintln(out, "no test ran")
		ok = false
	}
	fmt.Fprintf(out, "%d passed, %d failed, %d skipped\n", total.passed, total.failed, len(total.skips))
	return ok, nil
}
