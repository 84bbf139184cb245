package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/switchyard-dev/switchyard/internal/transfer"
)

// refusedHelp is what the help of commands with the flag says about it.
const refusedHelp = `An event that the target refuses ends it, and the error says what helps. With --on-refused
the first of these that helps is done instead, and reported:
  keep-bytes  data that is no JSON is kept as bytes; a time out of range as the nearest
  rename      a stream, type or metadata key gets another name, a repeated ID another ID
  park        the whole event goes, as JSON, into the stream switchyard-refused-SOURCE
  skip        its name and its SHA-256 go there
What a stored event was before is in its metadata, under $original. A stream that begins
above version 1, or lost an event to park or skip, is numbered anew, except by keep-bytes.`

// refusedFlag is the flag --on-refused.
type refusedFlag struct{ remedies []transfer.Remedy }

func (f *refusedFlag) add(cmd *cobra.Command) {
	cmd.Flags().Var(f, "on-refused", "what to do with an event that the target refuses: stop, or keep-bytes, rename, park and skip, as a list")
}

// Set implements the interface of a flag's value.
func (f *refusedFlag) Set(text string) (err error) {
	f.remedies, err = transfer.ParseRemedies(text)
	return err
}

// String implements the interface of a flag's value.
func (f *refusedFlag) String() string {
	if len(f.remedies) == 0 {
		return "stop"
	}
	names := make([]string, len(f.remedies))
	for i, remedy := range f.remedies {
		names[i] = string(remedy)
	}
	return strings.Join(names, ",")
}

// Type implements the interface of a flag's value.
func (f *refusedFlag) Type() string { return "list" }

// printResult prints what a transfer did, also when it failed.
func (a *app) printResult(verb string, result transfer.Result, beside transfer.Apart, progress *reporter) error {
	if a.json() {
		out := map[string]any{"read": result.Read, "stored": result.Stored, "duplicates": result.Duplicates}
		if !result.Refused.None() {
			out["refused"] = result.Refused
		}
		for name, n := range map[string]int{"archivedStreams": beside.ArchivedStreams, "leftOutEvents": beside.LeftOutEvents} {
			if n > 0 {
				out[name] = n
			}
		}
		return a.printJSON(out)
	}
	if err := a.printf("%s %s, %s were there already, %s\n", verb, count(result.Stored, "event"), grouped(result.Duplicates), progress.took(result.Read)); err != nil {
		return err
	}
	return a.printRefused(result.Refused)
}

// shownDecisions is how many decisions are printed for people.
const shownDecisions = 20

func (a *app) printRefused(r transfer.Refusals) error {
	if r.None() {
		return nil
	}
	quoted := ""
	if r.Quoted > 0 {
		quoted = fmt.Sprintf("; %s quoted, for they looked changed", grouped(r.Quoted))
	}
	if err := a.printf("refused by the target: %s kept as bytes, %s renamed, %s renumbered, %s parked, %s skipped%s\n",
		grouped(r.KeptBytes), grouped(r.Renamed), grouped(r.Renumbered), grouped(r.Parked), grouped(r.Skipped), quoted); err != nil {
		return err
	}
	for i, d := range r.Decisions {
		if i == shownDecisions {
			break
		}
		where := fmt.Sprintf("version %d of stream %s", d.Version, safe(d.Stream))
		if d.Line > 0 {
			where = fmt.Sprintf("line %d", d.Line)
		}
		remedies := refusedFlag{d.Remedies}
		if err := a.printf("  %s: %s, to version %d of stream %s: %s\n", where, remedies.String(), d.ToVersion, safe(d.ToStream), safeText(d.Reason)); err != nil {
			return err
		}
	}
	if more := len(r.Decisions) + r.Unlisted - shownDecisions; more > 0 {
		return a.printf("  and %s more; --json lists 1,000\n", grouped(more))
	}
	return nil
}
