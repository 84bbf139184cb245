package fold

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/eventstore/adapter"
)

func TestALogThatDoesNotBeginWithAGenesisIsNoStore(t *testing.T) {
	for name, c := range map[string]struct {
		first []byte
		want  string
	}{
		"another program's record": {[]byte("hello"), "not a Switchyard store"},
		"no value":                 {nil, "not a Switchyard store"},
		"another kind of record":   {Unseal(idOf("r"), now, 0), "not a Switchyard store"},
		"rules of tomorrow": {
			withChecksum(append(startFrame(nil, KindGenesis, idOf("r")), append(make([]byte, 16), 2)...)...), "rules 2, and this program knows up to 1",
		},
		"a format of tomorrow": {withChecksum(append([]byte{magic, 2, 1}, make([]byte, 16)...)...), "newer version (format 2"},
	} {
		t.Run(name, func(t *testing.T) {
			s := New()
			_, err := s.Fold(0, c.first)
			requireHalted(t, s, err, c.want)
		})
	}
}

// requireHalted holds a state to its end: the error stays, and is no sentinel's.
func requireHalted(t *testing.T, s *State, err error, want string) {
	t.Helper()
	halt := new(HaltError)
	require.ErrorAs(t, err, &halt)
	require.ErrorContains(t, err, want)
	for _, sentinel := range []error{
		eventstore.ErrInvalid, eventstore.ErrConflict, eventstore.ErrEventIDReused, eventstore.ErrUnknownOutcome, eventstore.ErrSealed,
		eventstore.ErrUnsupported, eventstore.ErrClosed, eventstore.ErrUnavailable, eventstore.ErrForeignCheckpoint, eventstore.ErrCheckpointAhead,
	} {
		require.NotErrorIs(t, err, sentinel)
	}
	hash, next := s.Hash(), s.Next()
	require.Equal(t, next, halt.Offset)
	_, again := s.Fold(next, Unseal(idOf("r"), now, 0))
	require.Equal(t, err, again)
	require.Equal(t, hash, s.Hash())
	require.Equal(t, next, s.Next())
}

func TestARecordOfANewerProgramEndsTheFold(t *testing.T) {
	for name, c := range map[string]struct {
		frame []byte
		want  string
	}{
		"a higher format": {withChecksum(append([]byte{magic, 2, 2}, make([]byte, 16)...)...), "newer version (format 2, kind 2)"},
		"an unknown kind": {withChecksum(append([]byte{magic, 1, 6}, make([]byte, 16)...)...), "newer version (format 1, kind 6)"},
	} {
		t.Run(name, func(t *testing.T) {
			log := newLog(t)
			log.store("s", "a")
			_, err := log.Fold(log.Next(), c.frame)
			requireHalted(t, log.State, err, c.want)
			require.ErrorContains(t, err, "upgrade this program")
			require.Equal(t, uint64(1), log.Version("s"), "what was folded stays readable")
		})
	}
}

func TestRecordsAreTakenInTheirOrderOnly(t *testing.T) {
	log := newLog(t)
	for _, offset := range []int64{-1, 0, 2} {
		_, err := log.Fold(offset, Unseal(idOf("r"), now, 0))
		require.ErrorContains(t, err, "the one at 1 is next")
	}
	log.store("s", "it goes on")
}

func TestALogBeyondTheReachOfPositionsEndsTheFold(t *testing.T) {
	s := newLog(t).State
	s.next = maxOffset + 1
	_, err := s.Fold(maxOffset+1, nil)
	requireHalted(t, s, err, "longer than positions reach")
}

func TestALateGenesisIsIgnored(t *testing.T) {
	log := newLog(t)
	before := log.Hash()
	require.Equal(t, Ignored, log.fold(Genesis(idOf("loser"), idOf("another store"))).Outcome)
	require.Equal(t, idOf("store"), log.Store())
	require.Equal(t, before, log.Hash())
	require.Equal(t, uint64(1), log.Counts().Ignored)
}

// The verdict on a record is that of the state it meets, which is not the one
// that its writer saw: before goes into the log after the writer's look, and
// before the record.
func TestVerdictOnAnAppendThatOthersOvertook(t *testing.T) {
	const stream = "s"
	for _, c := range []struct {
		name    string
		seen    func(*appendLog) // by the writer
		between func(*appendLog)
		parts   []eventstore.StreamAppend
		want    Outcome
		err     error
	}{
		{
			name:  "nothing came between",
			parts: []eventstore.StreamAppend{part(stream, eventstore.NoStream(), "a", "b")},
			want:  Accepted,
		},
		{
			name:    "any version will do",
			between: func(l *appendLog) { l.store(stream, "x") },
			parts:   []eventstore.StreamAppend{part(stream, eventstore.Any(), "a")},
			want:    Accepted,
		},
		{
			name:    "another append took the version",
			between: func(l *appendLog) { l.store(stream, "x") },
			parts:   []eventstore.StreamAppend{part(stream, eventstore.NoStream(), "a")},
			want:    Refused, err: eventstore.ErrConflict,
		},
		{
			name:    "the same event came first",
			between: func(l *appendLog) { l.store(stream, "a") },
			parts:   []eventstore.StreamAppend{part(stream, eventstore.NoStream(), "a")},
			want:    Repeated,
		},
		{
			name:    "one of its events came first",
			between: func(l *appendLog) { l.store(stream, "b") },
			parts:   []eventstore.StreamAppend{part(stream, eventstore.Any(), "a", "b")},
			want:    Refused, err: eventstore.ErrEventIDReused,
		},
		{
			name:    "its ID came first with other content",
			between: func(l *appendLog) { l.propose("other", other(stream, "a")) },
			parts:   []eventstore.StreamAppend{part(stream, eventstore.Any(), "a")},
			want:    Refused, err: eventstore.ErrEventIDReused,
		},
		{
			name:    "its ID came first in another stream",
			between: func(l *appendLog) { l.store("t", "a") },
			parts:   []eventstore.StreamAppend{part(stream, eventstore.Any(), "a")},
			want:    Accepted,
		},
		{
			name:    "one part in error refuses all",
			between: func(l *appendLog) { l.store("t", "x") },
			parts:   []eventstore.StreamAppend{part(stream, eventstore.Any(), "a"), part("t", eventstore.NoStream(), "b")},
			want:    Refused, err: eventstore.ErrConflict,
		},
		{
			name:    "one part became a repetition while another would write",
			between: func(l *appendLog) { l.store("t", "b") },
			parts:   []eventstore.StreamAppend{part(stream, eventstore.Any(), "a"), part("t", eventstore.Any(), "b")},
			want:    Overtaken,
		},
		{
			name:    "all parts became repetitions, one by one",
			between: func(l *appendLog) { l.store("t", "b"); l.store(stream, "a") },
			parts:   []eventstore.StreamAppend{part(stream, eventstore.Any(), "a"), part("t", eventstore.Any(), "b")},
			want:    Repeated,
		},
		{
			name:  "a part that was a repetition when it was sent",
			seen:  func(l *appendLog) { l.store("t", "b") },
			parts: []eventstore.StreamAppend{part(stream, eventstore.Any(), "a"), part("t", eventstore.Any(), "b")},
			want:  Accepted,
		},
		{
			name:    "a check that does not hold any more",
			between: func(l *appendLog) { l.store("t", "x") },
			parts:   []eventstore.StreamAppend{part(stream, eventstore.Any(), "a"), part("t", eventstore.NoStream())},
			want:    Refused, err: eventstore.ErrConflict,
		},
		{
			name:    "a check that still holds is no side of the mixed rule",
			between: func(l *appendLog) { l.store("t", "x") },
			parts:   []eventstore.StreamAppend{part(stream, eventstore.Any(), "a"), part("t", eventstore.Any())},
			want:    Accepted,
		},
		{
			name:    "the check of a repetition is not judged",
			between: func(l *appendLog) { l.store(stream, "a"); l.store("t", "x") },
			parts:   []eventstore.StreamAppend{part(stream, eventstore.Any(), "a"), part("t", eventstore.NoStream())},
			want:    Repeated,
		},
		{
			name:    "a seal",
			between: func(l *appendLog) { l.seal() },
			parts:   []eventstore.StreamAppend{part(stream, eventstore.Any(), "a")},
			want:    Refused, err: eventstore.ErrSealed,
		},
		{
			name:    "a seal comes before a conflict",
			between: func(l *appendLog) { l.store(stream, "x"); l.seal() },
			parts:   []eventstore.StreamAppend{part(stream, eventstore.NoStream(), "a")},
			want:    Refused, err: eventstore.ErrSealed,
		},
		{
			name:    "a reused ID comes before a seal",
			between: func(l *appendLog) { l.propose("other", other(stream, "a")); l.seal() },
			parts:   []eventstore.StreamAppend{part(stream, eventstore.Any(), "a")},
			want:    Refused, err: eventstore.ErrEventIDReused,
		},
		{
			name:    "a repetition comes before a seal",
			between: func(l *appendLog) { l.store(stream, "a"); l.seal() },
			parts:   []eventstore.StreamAppend{part(stream, eventstore.NoStream(), "a")},
			want:    Repeated,
		},
		{
			name:    "a seal that was lifted again",
			between: func(l *appendLog) { l.seal(); l.unseal() },
			parts:   []eventstore.StreamAppend{part(stream, eventstore.Any(), "a")},
			want:    Overtaken,
		},
		{
			name:    "a repetition after a seal that was lifted again",
			between: func(l *appendLog) { l.store(stream, "a"); l.seal(); l.unseal() },
			parts:   []eventstore.StreamAppend{part(stream, eventstore.NoStream(), "a")},
			want:    Repeated,
		},
		{
			name:  "a seal that was lifted before the writer looked",
			seen:  func(l *appendLog) { l.seal(); l.unseal() },
			parts: []eventstore.StreamAppend{part(stream, eventstore.Any(), "a")},
			want:  Accepted,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			log := newLog(t)
			if c.seen != nil {
				c.seen(log)
			}
			r := request(t, "r", c.parts...)
			frame := frameOf(t, log.State, r)
			if c.between != nil {
				c.between(log)
			}
			events := log.Counts().Events
			verdict := log.fold(frame)
			require.Equal(t, c.want, verdict.Outcome)
			require.Equal(t, r.ID(), verdict.ID)
			if c.err != nil {
				require.ErrorIs(t, verdict.Err, c.err)
			} else {
				require.NoError(t, verdict.Err)
			}
			if c.want != Accepted {
				require.Equal(t, events, log.Counts().Events, "nothing is added")
			}

			// The copy of a record adds nothing, whatever became of it.
			events = log.Counts().Events
			copied := log.fold(frame).Outcome
			require.NotEqual(t, Accepted, copied)
			require.Equal(t, c.want == Accepted || c.want == Repeated, copied == Repeated)
			require.Equal(t, events, log.Counts().Events)
		})
	}
}

func other(stream, name string) eventstore.StreamAppend {
	p := part(stream, eventstore.Any(), name)
	p.Events[0].Data = []byte("other content")
	return p
}

func (l *appendLog) seal() {
	l.t.Helper()
	require.Equal(l.t, Accepted, l.fold(Seal(idOf("seal"), now, l.SealEpoch(), "moved")).Outcome)
}

func (l *appendLog) unseal() {
	l.t.Helper()
	require.Equal(l.t, Accepted, l.fold(Unseal(idOf("unseal"), now, l.SealEpoch())).Outcome)
}

func TestAnAcceptedAppendSaysWhereItsEventsAre(t *testing.T) {
	log := newLog(t)
	log.store("a", "a1")
	imported := part("b", eventstore.NoStream(), "b1", "b2")
	imported.RecordedAt = new(time.Date(2001, 2, 3, 4, 5, 6, 7, time.FixedZone("", 3600)))
	r := request(t, "r", part("a", eventstore.Exactly(1), "a2"), part("a", eventstore.Any(), "a1"), imported, part("a", eventstore.Exactly(2), "a3"))
	verdict := log.fold(frameOf(t, log.State, r))
	require.Equal(t, Accepted, verdict.Outcome)
	at := eventstore.NewPosition
	require.Equal(t, [][]eventstore.Recorded{
		{{Version: 2, Position: at(2, 0), RecordedAt: now}},
		{{Version: 1, Position: at(1, 0)}}, // a repetition: the index has no times
		{{Version: 1, Position: at(2, 2), RecordedAt: imported.RecordedAt.UTC()}, {Version: 2, Position: at(2, 3), RecordedAt: imported.RecordedAt.UTC()}},
		{{Version: 3, Position: at(2, 4), RecordedAt: now}},
	}, r.Recorded(verdict))

	place, ok := log.Place("b", 2)
	require.True(t, ok)
	require.Equal(t, Place{Offset: 2, Index: 3, ID: idOf("b2")}, place)
	require.Equal(t, at(2, 3), place.Position())
	head, stream, version, ok := log.Head()
	require.True(t, ok)
	require.Equal(t, Place{Offset: 2, Index: 4, ID: idOf("a3")}, head)
	require.Equal(t, "a", stream)
	require.Equal(t, uint64(3), version)
	require.Equal(t, Counts{Streams: 2, Events: 5, Accepted: 3}, log.Counts())

	again := log.Check(r)
	require.Equal(t, Answer, again.Step)
	require.NoError(t, again.Err)
	require.Equal(t, at(2, 3), again.Decisions[2].Recorded[1].Position)
}

func TestAReaderLearnsWhichEventsOfARecordWereStored(t *testing.T) {
	log := newLog(t)
	log.store("a", "a1", "a2")                                                                         // offsets 1 and 2
	log.fold(frameOf(t, log.upTo(1), request(t, "late", part("a", eventstore.NoStream(), "refused")))) // 3
	log.propose("mixed", part("a", eventstore.Any(), "a2"), part("b", eventstore.Any(), "b1"))         // 4
	for _, c := range []struct {
		stream string
		offset int64
		index  int
		want   uint64
	}{
		{"a", 0, 0, 0},
		{"a", 1, 0, 1},
		{"a", 1, 1, 0},
		{"a", 2, 0, 2},
		{"a", 3, 0, 0},
		{"a", 4, 0, 0},
		{"b", 4, 1, 1},
		{"b", 4, 0, 0},
		{"b", 5, 0, 0},
		{"absent", 1, 0, 0},
	} {
		require.Equal(t, c.want, log.VersionAt([]byte(c.stream), c.offset, c.index), "%v", c)
	}
	for _, version := range []uint64{0, 3} {
		_, ok := log.Place("a", version)
		require.False(t, ok)
	}
	_, ok := log.Place("absent", 1)
	require.False(t, ok)
	_, _, _, ok = newLog(t).Head()
	require.False(t, ok)
}

func TestAWholeStoreIsSealedOnceUntilItIsUnsealed(t *testing.T) {
	log := newLog(t)
	log.store("s", "a")
	first, second := Seal(idOf("1"), now, 0, "first"), Seal(idOf("2"), now, 0, "second")
	require.Equal(t, Refused, log.fold(Unseal(idOf("3"), now, 0)).Outcome, "not sealed")
	require.Equal(t, Accepted, log.fold(first).Outcome)
	sealed, ok := log.Seal()
	require.True(t, ok)
	require.Equal(t, Sealed{Offset: 3, At: now, Reason: "first"}, sealed)
	require.Equal(t, Refused, log.fold(second).Outcome, "of two who seal one wins")
	sealed, _ = log.Seal()
	require.Equal(t, "first", sealed.Reason)

	proposal := log.Check(request(t, "r", part("s", eventstore.Any(), "b")))
	require.Equal(t, LookAgain, proposal.Step)
	refused := new(eventstore.SealedError)
	require.ErrorAs(t, proposal.Err, &refused)
	require.Equal(t, "first", refused.Reason)

	require.Equal(t, Accepted, log.fold(Unseal(idOf("4"), now, 1)).Outcome)
	_, ok = log.Seal()
	require.False(t, ok)
	log.store("s", "b")
	// Copies of either seal, and of the unseal after the next seal, change nothing.
	require.Equal(t, Refused, log.fold(first).Outcome)
	require.Equal(t, Refused, log.fold(second).Outcome)
	require.Equal(t, Accepted, log.fold(Seal(idOf("5"), now, 1, "third")).Outcome)
	require.Equal(t, Refused, log.fold(Unseal(idOf("4"), now, 1)).Outcome)
	sealed, ok = log.Seal()
	require.True(t, ok)
	require.Equal(t, "third", sealed.Reason)
	require.Equal(t, uint64(2), log.SealEpoch())
}

func TestALeaseIsTakenByEpochsWithoutAGap(t *testing.T) {
	log := newLog(t)
	take := func(name string, epoch uint64, owner string) Outcome {
		return log.fold(TakeLease(idOf(name+owner), now, name, epoch, owner, time.Second)).Outcome
	}
	require.Zero(t, log.Lease("billing"))
	require.Equal(t, Refused, take("billing", 0, "a"))
	require.Equal(t, Refused, take("billing", 2, "a"), "epochs are not skipped")
	require.Equal(t, Accepted, take("billing", 1, "a"))
	require.Equal(t, Refused, take("billing", 1, "b"), "of two who take it one wins")
	require.Equal(t, Lease{Epoch: 1, Owner: "a", TTL: time.Second, At: now}, log.Lease("billing"))
	require.Equal(t, Accepted, take("shipping", 1, "b"), "names have leases of their own")
	require.Equal(t, Accepted, take("billing", 2, "b"))
	require.Equal(t, Refused, take("billing", 1, "a"), "a late copy")
	require.Equal(t, Lease{Epoch: 2, Owner: "b", TTL: time.Second, At: now}, log.Lease("billing"))
	require.Equal(t, Accepted, take("billing", 3, ""), "a reset")
	require.Equal(t, Lease{Epoch: 3, TTL: time.Second, At: now, ResetEpoch: 3, ResetID: idOf("billing")}, log.Lease("billing"))
	log.seal()
	require.Equal(t, Accepted, take("billing", 4, "a"), "a sealed store still has owners")
	require.Equal(t, uint64(3), log.Lease("billing").ResetEpoch, "which is not forgotten")
}

func TestTheHashTellsDifferentFoldsApart(t *testing.T) {
	a, b, c := newLog(t), newLog(t), newLog(t)
	require.Equal(t, a.Hash(), b.Hash())
	a.store("s", "x")
	b.store("s", "x")
	require.Equal(t, a.Hash(), b.Hash())
	c.store("t", "x")
	require.NotEqual(t, a.Hash(), c.Hash(), "another request")

	// The same record, accepted here and refused there.
	frame := frameOf(t, newLog(t).State, request(t, "r", part("new", eventstore.NoStream(), "y")))
	a.store("s", "z")
	b.store("s", "z")
	require.Equal(t, a.Hash(), b.Hash())
	b.streams["new"] = &stream{name: "new", entries: make([]entry, 1)}
	require.Equal(t, Accepted, a.fold(frame).Outcome)
	require.Equal(t, Refused, b.fold(frame).Outcome)
	require.NotEqual(t, a.Hash(), b.Hash())
}

func TestARecordMarkedAsARepetitionThatIsNoneIsNotStored(t *testing.T) {
	log := newLog(t)
	r := request(t, "r", part("a", eventstore.Any(), "a1"), part("b", eventstore.Any(), "b1"))
	marked := r.frame(now, 0, []adapter.Decision{{Write: true}, {Recorded: []eventstore.Recorded{{}}}})
	require.Equal(t, Overtaken, log.fold(marked).Outcome)
	require.Zero(t, log.Counts().Events)
}
