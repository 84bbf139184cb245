package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// skip names one skipped test.
type skip struct{ pkg, test string }

// tally counts tests and subtests. A package that fails without a failing test,
// because it does not build or its TestMain gives up, counts as one failure.
type tally struct {
	passed, failed int
	skips          []skip
}

func (t *tally) addFile(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := t.add(f); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

func (t *tally) add(r io.Reader) error {
	dec := json.NewDecoder(bufio.NewReader(r))
	failedTests := map[string]int{} // by package
	for {
		var ev struct{ Action, Package, Test string }
		err := dec.Decode(&ev)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		switch {
		case ev.Test == "" && ev.Action == "fail" && failedTests[ev.Package] == 0:
			t.failed++
		case ev.Test == "":
		case ev.Action == "pass":
			t.passed++
		case ev.Action == "fail":
			t.failed++
			failedTests[ev.Package]++
		case ev.Action == "skip":
			t.skips = append(t.skips, skip{ev.Package, ev.Test})
		}
	}
}
