package move

import (
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/transfer"
)

// Phase is a part of a move.
type Phase string

// The phases, in their order.
const (
	PhaseFits      Phase = "fits"
	PhaseCopy      Phase = "copy"
	PhaseFollow    Phase = "follow"
	PhaseSeal      Phase = "seal"
	PhaseDrain     Phase = "drain"
	PhaseVerify    Phase = "verify"
	PhaseTranslate Phase = "translate"
)

// Describe says in words what is done in a phase.
func (p Phase) Describe() string {
	switch p {
	case PhaseFits:
		return "fits: does TO hold what FROM has"
	case PhaseCopy:
		return "copy: FROM's events to TO, and read back"
	case PhaseFollow:
		return "follow: until TO is nearly level"
	case PhaseSeal:
		return "seal: close FROM to every append"
	case PhaseDrain:
		return "drain: the last events to TO"
	case PhaseVerify:
		return "verify: every stream's digest, and the order"
	case PhaseTranslate:
		return "translate: checkpoints to TO's places"
	}
	return string(p)
}

// PhaseTime is how long a phase took.
type PhaseTime struct {
	Phase Phase
	Took  time.Duration
}

// Report is the outcome of a [Move].
type Report struct {
	From, To ReportSide
	// Done is true where TO is the store now; Already where an earlier move made
	// it so, and nothing was done.
	Done, Already bool
	// OtherRun is true where another run ended the move while this one was under way: TO is
	// the store now, but not by what this report says.
	OtherRun bool
	// Failure is why the move is not done; empty where it is, and in a dry run.
	Failure string
	// NoSeal is why FROM cannot be sealed; empty where it can.
	NoSeal string
	// DryRun is true where the move was to end before the seal.
	DryRun bool
	// Problems are what TO cannot hold of FROM; NotKept is what it never keeps.
	Problems []Problem
	NotKept  []NotKept
	// Remedied are what TO cannot hold of FROM's events as they are, where the options
	// say what is done with those. What was done is in Refused, and in TO.
	Remedied []Problem
	// Refused counts the events that TO holds otherwise than FROM, of all runs of the
	// move, by what TO says of them, and so do its decisions.
	Refused transfer.Refusals
	// Copied counts what this run copied. Lag is how far TO was behind, in time,
	// when FROM was sealed or the dry run ended.
	Copied transfer.Result
	Lag    time.Duration
	// ToCopy is how many events were to be copied into a sealed TO on the way back when FROM was
	// last read before its seal: so many, and what came until then, while nobody can append.
	ToCopy int
	// Refused of earlier runs are RefusedBefore of those counts.
	RefusedBefore int
	// Seal is the position of FROM's last event, after which nothing is appended.
	Seal eventstore.Position
	// Sealed tells whether FROM is sealed, also where the move is refused.
	Sealed     bool
	SealReason string
	// Checkpoints are those that were translated, or carried as they are. RetryCheckpoints
	// counts Switchyard's own for retries of parked events, which are not among them.
	Checkpoints      []TranslatedCheckpoint
	RetryCheckpoints int
	// Differing counts the streams whose digests are not the same. AsJSON is true
	// where data was compared as JSON.
	Differing int
	AsJSON    bool
	// EqualSoFar is how many events, the first ones, were the same in both stores and in one order
	// when the move was about to seal FROM, or a dry run ended; 0 where nobody looked.
	EqualSoFar int
	// NotProved says what the move took on trust.
	NotProved []string
	Phases    []PhaseTime
	// Closed is the time from the seal to the end: so long nobody could append. Where an
	// earlier run set the seal, and when is not known, it is counted from this run's look at it
	// and ClosedAtLeast is true.
	Closed        time.Duration
	ClosedAtLeast bool
	// LeftOpen is why a TO that was opened for a way back could not be closed again where the
	// move is not done; empty where it was.
	LeftOpen string

	measured bool // the summaries say something
	inUse    bool // FROM is the store in use, also where it is sealed, and may be opened
	toHeld   bool // TO held events when the move was begun
}

// ReportSide is a store of a move.
type ReportSide struct {
	Name, LeftOut, Backend string
	Store                  uuid.UUID
	// Summary is what was read back from it, and without digests so far where the move
	// is not done; Order stands for the order of its events.
	Summary transfer.Summary
	Order   transfer.Digest
	// Before is how many of the events were read by an earlier run, whose digests come
	// from the state's file.
	Before int
}

// NotKept is what stays behind, and why.
type NotKept struct{ What, Why string }

// TranslatedCheckpoint is a checkpoint before and after the move.
type TranslatedCheckpoint struct {
	Name string
	// Of, where not zero, is the store that it is of where that is not FROM: it stays as it is.
	Of      uuid.UUID
	Stream  string
	Version uint64
	EventID uuid.UUID
	// Old is the event's position in FROM, New the one in TO.
	Old, New eventstore.Position
	// SetBackFrom, where not zero, is where TO had it: further on than FROM, so that its
	// subscription gets events again.
	SetBackFrom eventstore.Position
	// ReadOn is true where TO has it further on, at New, and it stays there: on the way back,
	// where an old process read on in TO.
	ReadOn bool
}

func newReport(from, to Side) *Report {
	side := func(s Side) ReportSide {
		return ReportSide{Name: s.Name, LeftOut: s.LeftOut, Backend: s.Store.Capabilities().Backend}
	}
	return &Report{
		NoSeal: from.Store.Capabilities().Seal.Reason(),
		From:   side(from), To: side(to), AsJSON: transfer.AsJSON(from.Store, to.Store),
		Problems: []Problem{}, NotProved: []string{}, // lists in JSON, also where nothing is in them
	}
}

func (r *Report) sealedBy(info eventstore.Info) {
	r.Sealed, r.SealReason = info.Sealed, info.SealReason
}

// wrote says what a move that is refused before the copy has done.
func (r *Report) wrote() string {
	switch {
	case r.Sealed:
		return "this run wrote nothing, and FROM is sealed"
	case r.toHeld:
		return "this run wrote nothing"
	}
	return "nothing was written"
}

// remedied counts what was done with events that a target refused.
func remedied(r transfer.Refusals) int {
	return r.KeptBytes + r.Renamed + r.Renumbered + r.Parked + r.Skipped + r.Quoted
}

// summarize says what was read back from both stores. Digests that are not of all of a
// store are nobody's business.
func (r *Report) summarize(from, to *transfer.Digests, refused *decisions) {
	r.measured, r.Refused = true, to.Refused
	r.Refused.Decisions, r.Refused.Unlisted = refused.listed(r.Copied.Refused)
	r.RefusedBefore = max(0, remedied(to.Refused)-remedied(r.Copied.Refused))
	if !r.Done {
		r.From.Summary = transfer.Summary{Events: from.Events, Streams: len(from.Streams)}
		r.To.Summary = transfer.Summary{Events: to.Events, Streams: len(to.Streams)}
		return
	}
	r.From.Summary, r.From.Order = from.Summary(), from.Order
	r.To.Summary, r.To.Order = to.Summary(), to.Order
}

// ConfigurationLine is the line of an application's config file that names TO.
func (r *Report) ConfigurationLine() string {
	line := "url: " + strconv.Quote(r.To.Name)
	if r.To.LeftOut != "" {
		line += "  # " + r.To.LeftOut
	}
	return line
}
