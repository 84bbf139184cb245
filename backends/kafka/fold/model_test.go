package fold

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventstore/adapter"
)

// broken is what a fold or a writer leaves out: what the rules are for shows in
// what happens without them.
type broken struct {
	mixedRule  bool // an append is stored although only some of its parts became repetitions
	ruleW      bool // what is not reached yet is sent all the same
	sealEpochs bool // what was judged before a seal is taken after it
	ids        bool // event IDs are not looked for
	staleSeal  bool // a seal is the answer although it may have been lifted meanwhile
}

// fold is State.Fold with the broken rules left out. It is a copy, so that the
// rules of the real one have no switch.
func (b broken) fold(t testing.TB, s *State, frame []byte) Verdict {
	t.Helper()
	if b == (broken{ruleW: b.ruleW, staleSeal: b.staleSeal}) { // the writers' rules
		verdict, err := s.Fold(s.next, frame)
		require.NoError(t, err)
		return verdict
	}
	require.NoError(t, s.record.Decode(frame))
	if s.next == 0 {
		_, err := s.genesis(nil)
		require.NoError(t, err)
		s.next++
		return Verdict{}
	}
	if b.sealEpochs {
		s.record.SealEpoch = s.sealEpoch
	}
	verdict := s.judge()
	if s.record.Kind == KindAppend && (b.mixedRule && verdict.Outcome == Overtaken || b.ids) {
		known := s.known(s.record.SealEpoch)
		if b.ids {
			known.Find = func(string, eventstore.Event) (adapter.Met, error) { return adapter.Met{}, nil }
		}
		if decisions, err := adapter.Judge(s.judged(), known); err == nil {
			verdict.Outcome, verdict.Decisions = Accepted, decisions
			s.keep(decisions)
		}
	}
	s.next++
	return verdict
}

// history is a random one: writers that know the log up to somewhere, requests
// that are tried again while an attempt is on its way, and records that land
// late, more than once, or never.
type history struct {
	t       testing.TB
	rnd     *rand.Rand
	broken  broken
	log     *State
	frames  [][]byte // of the log
	writers []*State
	sent    []*attempt
	open    []*asked
	asked   int
	events  int
	said    []eventstore.StreamAppend // parts of earlier requests

	// What must be 0.
	lateWrites, lies int
	// What shows that the history had something to say.
	refused, overtaken, repeated, answered int
}

// attempt is a record that was sent.
type attempt struct {
	request *asked
	frame   []byte
	landed  bool // at least once
	stored  bool
}

// asked is a request and what its caller was told.
type asked struct {
	request  *Request // nil for a seal, an unseal or a lease
	stored   int      // records of it that were accepted
	definite bool     // the caller was told that nothing was written, or will be
}

func newHistory(t testing.TB, seed uint64, b broken) *history {
	h := &history{t: t, rnd: rand.New(rand.NewPCG(seed, 0)), broken: b, log: New()}
	for range 3 {
		h.writers = append(h.writers, New())
	}
	h.land(Genesis(idOf("genesis"), idOf("store")))
	return h
}

func (h *history) land(frame []byte) Verdict {
	h.frames = append(h.frames, frame)
	return h.broken.fold(h.t, h.log, frame)
}

// deliver lets a record land, for the first time or once more.
func (h *history) deliver(a *attempt) {
	verdict := h.land(a.frame)
	switch verdict.Outcome {
	case Accepted:
		if a.landed {
			h.lateWrites++ // it was refused, or stored, already
		}
		a.stored = true
		a.request.stored++
		if a.request.stored > 1 || a.request.definite {
			h.lies++
		}
	case Refused:
		h.refused++
	case Overtaken:
		h.overtaken++
	case Repeated:
		h.repeated++
	case Ignored:
		h.t.Fatal("a record of ours was ignored")
	}
	a.landed = true
}

func (h *history) catchUp(s *State, to int) {
	for int(s.next) < to {
		h.broken.fold(h.t, s, h.frames[s.next])
	}
}

func (h *history) step() {
	writer := h.writers[h.rnd.IntN(len(h.writers))]
	switch n := h.rnd.IntN(20); {
	case n < 5:
		h.catchUp(writer, int(writer.next)+h.rnd.IntN(len(h.frames)-int(writer.next)+1))
	case n < 15:
		h.attempt(writer)
	case n < 18 && len(h.sent) > 0:
		h.deliver(h.sent[h.rnd.IntN(len(h.sent))])
	case n == 18 && h.rnd.IntN(3) == 0:
		h.control(writer)
	}
}

// attempt tries a request, a new one or one that is open: its caller does not
// know what became of it.
func (h *history) attempt(writer *State) {
	if len(h.open) == 0 || h.rnd.IntN(3) > 0 {
		h.asked++
		request, err := NewRequest(idOf(fmt.Sprint("request", h.asked)), h.parts(writer))
		if err != nil {
			return // an ID twice for one stream
		}
		h.open = append(h.open, &asked{request: request})
	}
	of := h.open[h.rnd.IntN(len(h.open))]
	proposal := writer.Check(of.request)
	if proposal.Step == LookAgain && (!h.broken.staleSeal || !errors.Is(proposal.Err, eventstore.ErrSealed)) {
		h.catchUp(writer, len(h.frames))
		proposal = writer.Check(of.request)
	}
	if proposal.Step == LookAgain && h.broken.ruleW && !errors.Is(proposal.Err, eventstore.ErrSealed) {
		proposal.Step, proposal.Decisions = Send, make([]adapter.Decision, len(of.request.parts))
	}
	if proposal.Step == Send {
		h.send(of, proposal.Frame(now))
		return
	}
	h.answered++
	if proposal.Err != nil {
		of.definite = true
		if of.stored > 0 {
			h.lies++
		}
	}
	h.open = slices.DeleteFunc(h.open, func(o *asked) bool { return o == of })
}

// send lets a record land at once, later, or never.
func (h *history) send(of *asked, frame []byte) {
	a := &attempt{request: of, frame: frame}
	h.sent = append(h.sent, a)
	if h.rnd.IntN(3) > 0 {
		h.deliver(a)
	}
}

// control seals or unseals the store, or takes a lease.
func (h *history) control(writer *State) {
	h.asked++
	id := idOf(fmt.Sprint("request", h.asked))
	_, sealed := writer.Seal()
	switch {
	case h.rnd.IntN(3) == 0:
		h.send(&asked{}, TakeLease(id, now, "name", writer.Lease("name").Epoch+1, "owner", time.Second))
	case sealed:
		h.send(&asked{}, Unseal(id, now, writer.SealEpoch()))
	default:
		h.send(&asked{}, Seal(id, now, writer.SealEpoch(), "moved"))
	}
}

// parts are those of an append to few streams with few IDs, so that everything
// meets everything.
func (h *history) parts(writer *State) []eventstore.StreamAppend {
	var parts []eventstore.StreamAppend
	events := 0
	for range 1 + h.rnd.IntN(3) {
		if len(h.said) > 0 && h.rnd.IntN(3) == 0 {
			// A part of an earlier request, alone or in other company.
			p := h.said[h.rnd.IntN(len(h.said))]
			p.Expected = h.expected(writer.Version(p.Stream))
			events += len(p.Events)
			parts = append(parts, p)
			continue
		}
		stream := string(rune('a' + h.rnd.IntN(3)))
		p := eventstore.StreamAppend{Stream: stream, Expected: h.expected(writer.Version(stream))}
		for range h.rnd.IntN(3) {
			e := h.event()
			if h.rnd.IntN(10) == 0 {
				e.Data = []byte("other content")
			}
			p.Events = append(p.Events, e)
		}
		h.said = append(h.said, p)
		events += len(p.Events)
		parts = append(parts, p)
	}
	if events == 0 {
		parts[0].Events = []eventstore.Event{h.event()}
	}
	return parts
}

// event is a new one, or one that may be anywhere already.
func (h *history) event() eventstore.Event {
	h.events++
	if h.rnd.IntN(3) > 0 {
		return event(fmt.Sprint("new", h.events))
	}
	return event(fmt.Sprint("new", 1+h.rnd.IntN(h.events)))
}

func (h *history) expected(version uint64) eventstore.ExpectedVersion {
	switch h.rnd.IntN(8) {
	case 0, 1:
		return eventstore.Any()
	case 2:
		return eventstore.StreamExists()
	case 3:
		return eventstore.Exactly(version + 1)
	case 4:
		return eventstore.Exactly(version + 2)
	case 5:
		return eventstore.NoStream()
	}
	return eventstore.Exactly(version)
}

// run lets a history go on for some steps, and then holds its ends together.
func (h *history) run(steps int) {
	for range steps {
		h.step()
	}
	for _, of := range h.sent { // the latest of copies
		h.deliver(of)
	}
	for _, s := range h.writers {
		h.catchUp(s, len(h.frames))
		require.Equal(h.t, h.log.Hash(), s.Hash(), "equal logs, equal folds")
		require.Equal(h.t, h.log.Counts(), s.Counts())
	}
	if h.broken == (broken{}) {
		h.checkStreams()
	}
}

// checkStreams holds the index against what a store promises.
func (h *history) checkStreams() {
	for _, name := range slices.Sorted(maps.Keys(h.log.streams)) {
		seen := map[uuid.UUID]bool{}
		last := place(0)
		for _, e := range h.log.streams[name].entries {
			require.False(h.t, seen[e.id], "an ID twice in a stream")
			require.Greater(h.t, e.place, last, "versions and positions agree")
			seen[e.id], last = true, e.place
		}
	}
}

const (
	modelSteps     = 150
	modelHistories = 400
)

// total runs histories and adds up what went wrong in them. It stops early when
// enough has.
func total(t testing.TB, b broken, enough func(*history) bool) *history {
	t.Helper()
	sum := &history{}
	for seed := uint64(0); seed < modelHistories && !enough(sum); seed++ {
		h := newHistory(t, seed, b)
		h.run(modelSteps)
		sum.frames = append(sum.frames, h.frames...)
		sum.lateWrites += h.lateWrites
		sum.lies += h.lies
		sum.refused += h.refused
		sum.overtaken += h.overtaken
		sum.repeated += h.repeated
		sum.answered += h.answered
	}
	t.Logf("%d records: %d refused, %d overtaken, %d repeated; %d requests answered without a record; %d late copies wrote, %d answers were wrong",
		len(sum.frames), sum.refused, sum.overtaken, sum.repeated, sum.answered, sum.lateWrites, sum.lies)
	return sum
}

func TestNoCopyOfARecordEverWritesAndNoDefiniteAnswerIsWrong(t *testing.T) {
	sum := total(t, broken{}, func(*history) bool { return false })
	require.Zero(t, sum.lateWrites)
	require.Zero(t, sum.lies)
	for name, n := range map[string]int{"refused": sum.refused, "overtaken": sum.overtaken, "repeated": sum.repeated, "answered": sum.answered} {
		require.Greater(t, n, 500, "the histories have too few %s records to prove anything", name)
	}
}

// What the histories prove they prove by what they find without a rule.
func TestWithoutOneOfTheRulesALateCopyWritesOrAnAnswerIsWrong(t *testing.T) {
	lateWrites := func(h *history) bool { return h.lateWrites > 0 }
	lies := func(h *history) bool { return h.lies > 0 }
	for name, c := range map[string]struct {
		broken broken
		found  func(*history) bool
	}{
		"the mixed rule":                  {broken{mixedRule: true}, lateWrites},
		"rule W":                          {broken{ruleW: true}, lateWrites},
		"the seal epochs":                 {broken{sealEpochs: true}, lateWrites},
		"the search for stored event IDs": {broken{ids: true}, lateWrites},
		"the second look for a seal":      {broken{staleSeal: true}, lies},
	} {
		t.Run(name, func(t *testing.T) {
			require.True(t, c.found(total(t, c.broken, c.found)), "the histories do not find it")
		})
	}
}

// The one case that the mixed rule is for.
func TestARefusedAppendStaysRefusedWhenAnotherStoresThePartItWasRefusedFor(t *testing.T) {
	run := func(b broken) Outcome {
		log := newLog(t)
		late := frameOf(t, log.State, request(t, "r", part("a", eventstore.Any(), "a1"), part("b", eventstore.NoStream(), "b1")))
		log.store("b", "x")
		require.Equal(t, Refused, log.fold(late).Outcome)
		log.store("b", "b1")
		return b.fold(t, log.State, late).Outcome
	}
	require.Equal(t, Overtaken, run(broken{}))
	require.Equal(t, Accepted, run(broken{mixedRule: true}), "the caller was told of a conflict, and a1 is stored")
}
