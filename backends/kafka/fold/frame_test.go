package fold

import (
	"encoding/binary"
	"encoding/hex"
	"flag"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
)

var update = flag.Bool("update", false, "write the golden frames anew")

// goldenFrames are records of each kind, with all that a frame can hold.
func goldenFrames(t testing.TB) map[string][]byte {
	t.Helper()
	log := newLog(t)
	log.store("orders-2", "stored before")
	imported := part("orders-2", eventstore.StreamExists(), "imported")
	imported.RecordedAt = new(time.Date(1999, 12, 31, 23, 59, 59, 999999999, time.UTC))
	rich := eventstore.Event{
		ID: idOf("rich"), Type: "Placed", ContentType: "application/json", Data: []byte(`{"total":42}`),
		Metadata: map[string]string{"$correlationId": "c", "user": "Zoë", "empty": ""},
	}
	bare := eventstore.Event{ID: idOf("bare"), Type: "T"}
	long := eventstore.Event{ID: idOf("long"), Type: "T", Data: []byte(strings.Repeat("x", 200))}
	return map[string][]byte{
		"genesis": Genesis(idOf("request"), idOf("store")),
		"one event": frameOf(t, log.State, request(t, "one",
			eventstore.StreamAppend{Stream: "orders-1", Expected: eventstore.NoStream(), Events: []eventstore.Event{rich}})),
		"several parts": frameOf(t, log.State, request(t, "several",
			eventstore.StreamAppend{Stream: "orders-1", Expected: eventstore.Any(), Events: []eventstore.Event{rich, bare, long}},
			imported,
			part("orders-2", eventstore.NoStream(), "stored before"), // a repetition
			part("orders-2", eventstore.Exactly(2)),                  // a check
		)),
		"seal":   Seal(idOf("request"), now, 300, "moved to another store"),
		"unseal": Unseal(idOf("request"), now, 301),
		"lease":  TakeLease(idOf("request"), now, "billing", 7, "host-1/4711", 15*time.Second),
	}
}

func TestTheBytesOfFramesStayWhatTheyAre(t *testing.T) {
	for name, frame := range goldenFrames(t) {
		file := filepath.Join("testdata", "frames", strings.ReplaceAll(name, " ", "-")+".hex")
		if *update {
			require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
			require.NoError(t, os.WriteFile(file, []byte(hex.Dump(frame)), 0o644))
		}
		golden, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Equal(t, string(golden), hex.Dump(frame), "%s: stored logs have the other bytes; a new encoding is a new format", name)
	}
}

func TestAFrameGivesBackWhatWasAppended(t *testing.T) {
	log := newLog(t)
	log.store("s", "stored before")
	at := time.Date(2001, 2, 3, 4, 5, 6, 7, time.UTC)
	events := []eventstore.Event{
		{ID: idOf("a"), Type: "T", ContentType: "application/json", Data: []byte("{}"), Metadata: map[string]string{"": "", "z": "1", "a": "2"}},
		{ID: uuid.Nil, Type: "", Data: []byte{}},
		{ID: idOf("b"), Type: "ü", ContentType: "x", Data: []byte{0, 255, 128}},
	}
	parts := []eventstore.StreamAppend{
		{Stream: "s", Expected: eventstore.Exactly(1), Events: events[:2], RecordedAt: &at},
		{Stream: "", Expected: eventstore.NoStream(), Events: events[2:]},
		part("s", eventstore.Any(), "stored before"),
		part("t", eventstore.NoStream()),
		part("s", eventstore.StreamExists()),
	}
	r := request(t, "all", parts...)
	frame := frameOf(t, log.State, r)
	require.LessOrEqual(t, len(frame), r.MaxSize())

	var record Record
	require.NoError(t, record.Decode(frame))
	require.Equal(t, KindAppend, record.Kind)
	require.Equal(t, r.ID(), record.ID)
	require.Equal(t, now, At(record.Time))
	require.Len(t, record.Parts, len(parts))
	for i, want := range parts {
		got := record.Parts[i]
		require.Equal(t, want.Stream, string(got.Stream))
		require.Equal(t, want.Expected, got.Expected)
		require.Equal(t, i == 2, got.Repetition)
		if i == 0 {
			require.Equal(t, at, At(got.Time))
		} else {
			require.Equal(t, now, At(got.Time))
		}
		require.Len(t, got.Events, len(want.Events))
		for j := range want.Events {
			require.Equal(t, want.Events[j], got.Events[j].Decode())
		}
	}
}

func TestRecordTimesReachFrom1678To2262(t *testing.T) {
	earliest, latest := TimeRange()
	require.Equal(t, 1678, earliest.Year())
	require.Equal(t, 2262, latest.Year())
	for name, c := range map[string]struct {
		at      time.Time
		refused bool
	}{
		"the earliest":        {earliest, false},
		"before the earliest": {earliest.Add(-1), true},
		"the latest":          {latest, false},
		"after the latest":    {latest.Add(1), true},
		"in the year 9999":    {time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), true},
		"in the year 2":       {time.Date(2, 1, 1, 0, 0, 0, 0, time.UTC), true},
		"in another zone":     {now.In(time.FixedZone("", 3600)), false},
	} {
		t.Run(name, func(t *testing.T) {
			p := part("s", eventstore.Any(), "e")
			p.RecordedAt = &c.at
			r, err := NewRequest(idOf("r"), []eventstore.StreamAppend{p})
			if c.refused {
				require.ErrorIs(t, err, eventstore.ErrInvalid)
				require.ErrorContains(t, err, "parts[0].recordedAt")
				return
			}
			require.NoError(t, err)
			log := newLog(t)
			verdict := log.fold(frameOf(t, log.State, r))
			require.Equal(t, c.at.UTC(), r.Recorded(verdict)[0][0].RecordedAt)
			var record Record
			require.NoError(t, record.Decode(log.frames[1]))
			require.Equal(t, c.at.UTC(), At(record.Parts[0].Time))
		})
	}
}

func TestWhatAFrameCannotHoldIsRefusedBeforeItIsSent(t *testing.T) {
	many := func(n int) []eventstore.Event {
		events := make([]eventstore.Event, n)
		for i := range events {
			binary.BigEndian.PutUint64(events[i].ID[:], uint64(i)+1)
		}
		return events
	}
	_, err := NewRequest(idOf("r"), []eventstore.StreamAppend{{Stream: "a", Events: many(maxEvents)}, {Stream: "b", Events: many(1)}})
	require.ErrorIs(t, err, eventstore.ErrInvalid)
	for _, events := range []int{2, compareIDs + 1} { // compared, and by a map
		twice := append(many(events), many(1)...)
		_, err = NewRequest(idOf("r"), []eventstore.StreamAppend{{Stream: "a", Events: twice}})
		require.ErrorIs(t, err, eventstore.ErrEventIDReused)
		_, err = NewRequest(idOf("r"), []eventstore.StreamAppend{{Stream: "a", Events: many(events)}, {Stream: "a", Events: many(1)}})
		require.ErrorIs(t, err, eventstore.ErrEventIDReused)
		_, err = NewRequest(idOf("r"), []eventstore.StreamAppend{{Stream: "a", Events: many(events)}, {Stream: "b", Events: many(1)}})
		require.NoError(t, err, "in another stream it is another event")
	}
	r, err := NewRequest(idOf("r"), []eventstore.StreamAppend{{Stream: "a", Expected: eventstore.Any(), Events: many(maxEvents)}})
	require.NoError(t, err)
	log := newLog(t)
	require.Equal(t, Accepted, log.fold(frameOf(t, log.State, r)).Outcome)
	last, ok := log.Place("a", maxEvents)
	require.True(t, ok)
	require.Equal(t, maxEvents-1, last.Index)
}

// sealed puts the checksum on what a test wrote by hand.
func withChecksum(b ...byte) []byte { return endFrame(b) }

func TestWhatIsNoFrameIsMalformed(t *testing.T) {
	good := goldenFrames(t)["several parts"]
	changed := func(change func([]byte) []byte) []byte {
		b := append([]byte(nil), good[:len(good)-trailerSize]...)
		return withChecksum(change(b)...)
	}
	head := func(kind Kind) []byte { return startFrame(nil, kind, idOf("r")) }
	appendOf := func(b ...byte) []byte { // the head, a time and a seal epoch before it
		return withChecksum(append(append(head(KindAppend), make([]byte, 9)...), b...)...)
	}
	// One part: stream "s", any, no flags, one event with an ID of zeroes, then a body.
	eventOf := func(body ...byte) []byte {
		return appendOf(append(append([]byte{1, 1, 's', codeAny, 0, 1}, make([]byte, 16)...), body...)...)
	}
	require.NoError(t, new(Record).Decode(eventOf(0, 0, 2, 1, 'a', 0, 1, 'b', 0, 0)))
	for name, frame := range map[string][]byte{
		"nothing":                  nil,
		"text":                     []byte("] this is a line of somebody's log"),
		"other magic":              changed(func(b []byte) []byte { b[0]++; return b }),
		"a changed byte":           append(append([]byte(nil), good[:40]...), append([]byte{good[40] ^ 1}, good[41:]...)...),
		"a byte too few":           good[:len(good)-1],
		"a byte too many":          append(append([]byte(nil), good...), 0),
		"a byte after the end":     changed(func(b []byte) []byte { return append(b, 0) }),
		"cut short and summed":     changed(func(b []byte) []byte { return b[:len(b)-3] }),
		"format 0":                 changed(func(b []byte) []byte { b[1] = 0; return b }),
		"kind 0":                   changed(func(b []byte) []byte { b[2] = 0; return b }),
		"a newer format, damaged":  append([]byte{magic, 2}, good[2:]...),
		"an append without parts":  appendOf(0),
		"too many parts":           appendOf(0xff, 0xff, 0xff, 0xff, 0x0f),
		"an append without events": appendOf(1, 1, 's', codeAny, 0, 0),
		"too many events":          appendOf(1, 1, 's', codeAny, 0, 0xff, 0xff, 0xff, 0xff, 0x0f),
		"no such expectation":      appendOf(append([]byte{1, 1, 's', 4, 0, 1}, make([]byte, 20)...)...),
		"a flag of tomorrow":       appendOf(append([]byte{1, 1, 's', codeAny, 4, 1}, make([]byte, 20)...)...),
		"a repetition of nothing":  appendOf(append([]byte{2, 1, 's', codeAny, 2, 0, 1, 's', codeAny, 0, 1}, make([]byte, 20)...)...),
		"an ID twice for a stream": appendOf(append([]byte{1, 1, 's', codeAny, 0, 2}, make([]byte, 40)...)...),
		"a number written longer":  eventOf(0, 0, 0, 0x80, 0),
		"a number without an end":  eventOf(0, 0, 0, 0x80),
		"a number above 64 bits":   eventOf(0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f),
		"metadata out of order":    eventOf(0, 0, 2, 1, 'b', 0, 1, 'a', 0, 0),
		"a metadata key twice":     eventOf(0, 0, 2, 1, 'a', 0, 1, 'a', 0, 0),
		"more metadata than bytes": eventOf(0, 0, 0xff, 0xff, 0x7f, 0),
		"a genesis without rules":  withChecksum(append(head(KindGenesis), make([]byte, 16)...)...),
		"a lease without an owner": withChecksum(append(head(KindLease), make([]byte, 11)...)...),
		"a seal without a reason":  withChecksum(append(head(KindSeal), make([]byte, 9)...)...),
	} {
		t.Run(name, func(t *testing.T) {
			require.ErrorIs(t, new(Record).Decode(frame), ErrMalformed)
			log := newLog(t)
			before := log.Hash()
			require.Equal(t, Verdict{Offset: 1}, log.fold(frame), "it is ignored")
			require.Equal(t, uint64(1), log.Counts().Ignored)
			require.Equal(t, before, log.Hash())
			log.store("s", "goes on")
		})
	}
}

func TestASoundFrameOfANewerProgramIsNotPassedOver(t *testing.T) {
	for name, frame := range map[string][]byte{
		"format 2":        withChecksum(append([]byte{magic, 2, 2}, make([]byte, 40)...)...),
		"format 255":      withChecksum(append([]byte{magic, 255, 2}, make([]byte, 16)...)...),
		"an unknown kind": withChecksum(append([]byte{magic, 1, byte(KindLease) + 1}, make([]byte, 16)...)...),
	} {
		t.Run(name, func(t *testing.T) {
			newer := new(NewerError)
			require.ErrorAs(t, new(Record).Decode(frame), &newer)
			require.Equal(t, frame[1], newer.Format)
			require.Equal(t, frame[2], newer.Kind)
		})
	}
}

func TestTimesOfFramesAreExact(t *testing.T) {
	for _, nanoseconds := range []int64{math.MinInt64, -1, 0, 1, math.MaxInt64} {
		var record Record
		require.NoError(t, record.Decode(Unseal(idOf("r"), At(nanoseconds), 0)))
		require.Equal(t, nanoseconds, record.Time)
		require.Equal(t, nanoseconds, At(record.Time).UnixNano())
	}
}
