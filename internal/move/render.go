package move

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/internal/transfer"
)

// fact is one line of a report: a name and what it says.
type fact struct{ name, value string }

// headline says in one sentence how a move ended.
func (r *Report) headline() string {
	switch {
	case r.Already:
		return fmt.Sprintf("%s was moved to %s already, and has not changed since", r.From.Name, r.To.Name)
	case r.Done:
		return fmt.Sprintf("moved %s to %s", r.From.Name, r.To.Name)
	case r.OtherRun:
		return fmt.Sprintf("%s was moved to %s by another run, and this one changed nothing more", r.From.Name, r.To.Name)
	case len(r.Problems) > 0:
		return fmt.Sprintf("%s does not fit into %s; %s", r.From.Name, r.To.Name, r.wrote())
	case r.DryRun && r.Failure == "":
		return fmt.Sprintf("dry run: %s fits into %s; nothing is sealed, and applications stay where they are", r.From.Name, r.To.Name)
	case !r.Seal.IsZero():
		return fmt.Sprintf("%s was closed after position %s and is not yet moved to %s: run the move again, or unseal it", r.From.Name, r.Seal, r.To.Name)
	}
	return fmt.Sprintf("%s is not moved to %s yet", r.From.Name, r.To.Name)
}

// facts are what all forms of a report say.
func (r *Report) facts() []fact {
	facts := []fact{{"from", fmt.Sprintf("%s, %s, store %s", r.From.Name, r.From.Backend, r.From.Store)}, {"to", fmt.Sprintf("%s, %s, store %s", r.To.Name, r.To.Backend, r.To.Store)}}
	add := func(name, format string, args ...any) {
		facts = append(facts, fact{name, fmt.Sprintf(format, args...)})
	}
	if r.Failure != "" && len(r.Problems) == 0 {
		add("because", "%s", r.Failure)
	}
	for _, problem := range r.Problems {
		add("does not fit", "%s: %s", problem.title(), problem.First)
	}
	for _, problem := range r.Remedied {
		add("changed", "%s (%d): %s", problem.What, problem.Count, problem.First)
	}
	if r.Already {
		add("seal", "after position %s", r.Seal)
		add("digests", "in the report of the run that ended the move; switchyard verify compares both anew, as long as nothing is appended to the second")
		add("configuration", "%s", r.ConfigurationLine())
		return facts
	}
	add("copied", "%s in this run, %d found there", transfer.Count(r.Copied.Stored, "event"), r.Copied.Duplicates)
	if r.ToCopy > 0 {
		add("to copy", "%s, and what came until FROM's seal, while nobody can append: TO is opened behind it", transfer.Count(r.ToCopy, "event"))
	}
	if refused := r.Refused; !refused.None() {
		add("refused", "%d kept as bytes, %d renamed, %d renumbered, %d parked, %d skipped, %d quoted; each says so in TO", refused.KeptBytes, refused.Renamed, refused.Renumbered, refused.Parked, refused.Skipped, refused.Quoted)
		if r.RefusedBefore > 0 {
			add("refused", "by an earlier run: %d of these", r.RefusedBefore)
		}
	}
	if !r.Done && r.measured {
		add("read back", "%s of the first so far, and %d of the second", transfer.Count(r.From.Summary.Events, "event"), r.To.Summary.Events)
	}
	if !r.Done && r.EqualSoFar > 0 {
		add("equal so far", "the first %s of both, in one order%s", transfer.Count(r.EqualSoFar, "event"), r.compared())
	}
	switch {
	case r.Lag > 0 && r.DryRun:
		add("behind", "%s at the end", r.Lag.Round(time.Millisecond))
	case r.Lag > 0:
		add("behind", "%s before the seal", r.Lag.Round(time.Millisecond))
	}
	if r.Done {
		for _, side := range []struct {
			name string
			ReportSide
		}{{"from", r.From}, {"to", r.To}} {
			add(side.name+" holds", "%s in %s, SHA-256 %s, order %s", transfer.Count(side.Summary.Events, "event"), transfer.Count(side.Summary.Streams, "stream"), side.Summary.Digest, side.Order)
		}
		add("verified", "every stream's digest and the order are equal%s", r.compared())
	}
	switch {
	case r.Sealed && !r.inUse && !r.Done:
		add("sealed", "%s: %s", r.From.Name, r.SealReason)
	case r.Sealed && !r.Done && !r.OtherRun:
		add("sealed", "%s: %s. Nobody can append to it until the move is done. To give up: %sswitchyard unseal %s", r.From.Name, r.SealReason, r.sealFirst(), r.From.Name)
	case r.Sealed:
		add("seal", "after position %s: %s", r.Seal, r.SealReason)
	case r.NoSeal != "" && r.DryRun:
		add("seal", "none: FROM cannot be sealed (%s). %s", r.NoSeal, closedByHand)
	case r.Done:
		add("seal", "none; its last event is at position %s", r.Seal)
	}
	if r.LeftOpen != "" {
		add("open", "%s was opened for the way back and may take appends, which this move does not bring to %s; seal it: %s", r.To.Name, r.From.Name, r.LeftOpen)
	}
	for _, trust := range r.NotProved {
		add("not proved", "%s", trust)
	}
	for _, left := range r.NotKept {
		add("not moved", "%s: %s", left.What, left.Why)
	}
	if r.RetryCheckpoints > 0 {
		add("checkpoints", "also %d of Switchyard's own, for retries of parked events", r.RetryCheckpoints)
	}
	if r.Done {
		add("closed for", "%s", r.closedFor())
		add("configuration", "%s", r.ConfigurationLine())
	}
	return facts
}

// compared says how data was compared where that is not by its bytes.
func (r *Report) compared() string {
	if r.AsJSON {
		return ", JSON compared by what it says"
	}
	return ""
}

func (r *Report) closedFor() string {
	took := r.Closed.Round(time.Millisecond)
	switch {
	case !r.Sealed:
		return fmt.Sprintf("at least %s: FROM has no seal, and its writers were stopped before this run looked at its end", took)
	case r.ClosedAtLeast:
		return fmt.Sprintf("at least %s: an earlier run sealed FROM, and when is not known", took)
	}
	return fmt.Sprintf("%s, from the seal to the end", took)
}

// sealFirst is what comes before FROM is unsealed, so that no two stores are open.
func (r *Report) sealFirst() string {
	if r.LeftOpen == "" {
		return ""
	}
	return fmt.Sprintf("switchyard seal %s --reason TEXT, and then ", r.To.Name)
}

// shownDecisions is how many decisions the report for people has.
const shownDecisions = 20

// decided says what became of an event that TO refused.
func decided(d transfer.Decision) string {
	remedies := make([]string, len(d.Remedies))
	for i, remedy := range d.Remedies {
		remedies[i] = string(remedy)
	}
	return fmt.Sprintf("%s: version %d of stream %q (event %s) is version %d of stream %q (event %s): %s",
		strings.Join(remedies, ", "), d.Version, d.Stream, d.ID, d.ToVersion, d.ToStream, d.ToID, d.Reason)
}

// WriteText writes the report for people. Names in it are as they are stored, with
// whatever a terminal would act on.
func (r *Report) WriteText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintln(&b, r.headline())
	for _, f := range r.facts() {
		fmt.Fprintf(&b, "  %-13s %s\n", f.name, f.value)
	}
	shown := r.Refused.Decisions[:min(shownDecisions, len(r.Refused.Decisions))]
	for _, d := range shown {
		fmt.Fprintf(&b, "  %-13s %s\n", "decision", decided(d))
	}
	if more := len(r.Refused.Decisions) - len(shown) + r.Refused.Unlisted; more > 0 {
		fmt.Fprintf(&b, "  %-13s and %d more; as JSON and Markdown the report lists 1,000\n", "decision", more)
	}
	for _, c := range r.Checkpoints {
		fmt.Fprintf(&b, "  %-13s %s\n", "checkpoint", c)
	}
	for _, p := range r.Phases {
		fmt.Fprintf(&b, "  %-13s %s\n", string(p.Phase), p.Took.Round(time.Millisecond))
	}
	return write(w, b.String())
}

// String says what became of a checkpoint.
func (c TranslatedCheckpoint) String() string {
	if c.Of != uuid.Nil {
		return fmt.Sprintf("%s: %s of store %s, as it is; whoever keeps it in FROM is to keep it in TO%s", c.Name, c.Old, c.Of, c.setBack())
	}
	if c.Stream == "" {
		return c.Name + ": before the first event" + c.setBack()
	}
	return fmt.Sprintf("%s: %s → %s (event %s, version %d of stream %q)%s", c.Name, c.Old, c.New, c.EventID, c.Version, c.Stream, c.setBack())
}

func (c TranslatedCheckpoint) setBack() string {
	if c.ReadOn {
		return fmt.Sprintf(", further on in TO, where it was read on after TO was moved to FROM: it stays at %s", c.New)
	}
	if c.SetBackFrom.IsZero() {
		return ""
	}
	return fmt.Sprintf(", set back from %s in TO: events up to there come again", c.SetBackFrom)
}

// WriteMarkdown writes the report as a page.
func (r *Report) WriteMarkdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\n| | |\n|---|---|\n", cell(r.headline()))
	for _, f := range r.facts() {
		fmt.Fprintf(&b, "| %s | %s |\n", f.name, cell(f.value))
	}
	if len(r.Refused.Decisions) > 0 {
		b.WriteString("\n| decision |\n|---|\n")
		for _, d := range r.Refused.Decisions {
			fmt.Fprintf(&b, "| %s |\n", cell(decided(d)))
		}
		if r.Refused.Unlisted > 0 {
			fmt.Fprintf(&b, "| and %d more, which TO has |\n", r.Refused.Unlisted)
		}
	}
	if len(r.Checkpoints) > 0 {
		b.WriteString("\n| checkpoint | old position | new position | event |\n|---|---|---|---|\n")
		for _, c := range r.Checkpoints {
			event := "before the first event"
			if c.Of != uuid.Nil {
				event = "of store " + c.Of.String() + ", as it is"
			} else if c.Stream != "" {
				event = fmt.Sprintf("%s, version %d of %s", c.EventID, c.Version, c.Stream)
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", cell(c.Name), c.Old, c.New, cell(event+c.setBack()))
		}
	}
	b.WriteString("\n| phase | took |\n|---|---|\n")
	for _, p := range r.Phases {
		fmt.Fprintf(&b, "| %s | %s |\n", p.Phase, p.Took.Round(time.Millisecond))
	}
	return write(w, b.String())
}

// MarshalJSON gives the report's stable form for programs: durations in seconds.
func (r *Report) MarshalJSON() ([]byte, error) {
	type side struct {
		Name    string `json:"name"`
		Backend string `json:"backend"`
		Store   string `json:"store"`
		Events  *int   `json:"events,omitempty"` // absent where nothing was read
		Streams *int   `json:"streams,omitempty"`
		Before  int    `json:"eventsOfEarlierRuns,omitempty"`
		Digest  string `json:"digest,omitempty"`
		Order   string `json:"order,omitempty"`
	}
	sideOf := func(s ReportSide) side {
		out := side{Name: s.Name, Backend: s.Backend, Store: s.Store.String(), Before: s.Before}
		if r.measured {
			out.Events, out.Streams = &s.Summary.Events, &s.Summary.Streams
		}
		if r.Done && r.measured {
			out.Digest, out.Order = s.Summary.Digest.String(), s.Order.String()
		}
		return out
	}
	type checkpoint struct {
		Name    string `json:"name"`
		Old     string `json:"oldPosition"`
		New     string `json:"newPosition"`
		Stream  string `json:"stream,omitempty"`
		Version uint64 `json:"version,omitempty"`
		EventID string `json:"eventId,omitempty"`
		SetBack string `json:"setBackFrom,omitempty"`
		ReadOn  bool   `json:"readOn,omitempty"`
		Of      string `json:"ofStore,omitempty"`
	}
	checkpoints := make([]checkpoint, 0, len(r.Checkpoints))
	for _, c := range r.Checkpoints {
		out := checkpoint{Name: c.Name, Old: c.Old.String(), New: c.New.String(), Stream: c.Stream, Version: c.Version, ReadOn: c.ReadOn}
		if c.Stream != "" {
			out.EventID = c.EventID.String()
		}
		if c.Of != uuid.Nil {
			out.Of = c.Of.String()
		}
		if !c.SetBackFrom.IsZero() {
			out.SetBack = c.SetBackFrom.String()
		}
		checkpoints = append(checkpoints, out)
	}
	phases := make(map[Phase]float64, len(r.Phases))
	for _, p := range r.Phases {
		phases[p.Phase] = p.Took.Seconds()
	}
	notMoved := make(map[string]string, len(r.NotKept))
	for _, left := range r.NotKept {
		notMoved[left.What] = left.Why
	}
	out := map[string]any{
		"done": r.Done, "already": r.Already, "otherRun": r.OtherRun, "dryRun": r.DryRun, "failure": r.Failure, "from": sideOf(r.From), "to": sideOf(r.To),
		"stored": r.Copied.Stored, "duplicates": r.Copied.Duplicates,
		"sealed": r.Sealed, "sealReason": r.SealReason, "sealPosition": r.Seal,
		"equal": r.Done && !r.Already, "differingStreams": r.Differing, "comparedAsJSON": r.AsJSON,
		"checkpoints": checkpoints, "problems": r.Problems, "notMoved": notMoved, "notProved": r.NotProved,
		"phaseSeconds": phases, "lagSeconds": r.Lag.Seconds(), "closedSeconds": r.Closed.Seconds(),
		"retryCheckpoints": r.RetryCheckpoints,
		"closedAtLeast":    r.ClosedAtLeast || r.Done && !r.Already && !r.Sealed,
	}
	if r.ToCopy > 0 {
		out["copiedWhileClosed"] = r.ToCopy
	}
	if !r.Done && r.EqualSoFar > 0 {
		out["equalSoFar"] = r.EqualSoFar
	}
	if r.NoSeal != "" {
		out["cannotBeSealed"] = r.NoSeal
	}
	if r.LeftOpen != "" {
		out["toLeftOpen"] = r.LeftOpen
	}
	if len(r.Remedied) > 0 {
		out["remedied"] = r.Remedied
	}
	if !r.Refused.None() { // also of events that came after fits
		out["refused"] = struct {
			transfer.Refusals
			Before int `json:"ofEarlierRuns,omitempty"`
		}{r.Refused, r.RefusedBefore}
	}
	if r.Done {
		out["configuration"] = r.ConfigurationLine()
	}
	return json.Marshal(out)
}

// cell keeps text inside one cell of a table, and text: no tag, link or image.
func cell(s string) string {
	return strings.NewReplacer(`\`, `\\`, "|", `\|`, "[", `\[`, "\n", " ", "<", "&lt;").Replace(s)
}

func write(w io.Writer, text string) error {
	if _, err := io.WriteString(w, text); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}
