package fold

import (
	"bytes"
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzDecode holds the frame to three promises: no bytes break it, nothing in a
// record lies outside of the bytes, and there is one encoding of each record.
func FuzzDecode(f *testing.F) {
	for _, frame := range goldenFrames(f) {
		f.Add(frame[:len(frame)-trailerSize])
	}
	f.Add([]byte(nil))
	f.Add([]byte("] text of somebody else"))
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, value := range [][]byte{body, endFrame(bytes.Clone(body))} { // few bytes have the right sum by chance
			var record Record
			err := record.Decode(value)
			if err != nil {
				newer := new(NewerError)
				require.True(t, errors.Is(err, ErrMalformed) || errors.As(err, &newer), "%v", err)
				continue
			}
			require.Equal(t, value, encode(t, &record))
		}
	})
}

// encode makes the frame of a decoded record, by the same code as writers.
func encode(t *testing.T, record *Record) []byte {
	t.Helper()
	switch record.Kind {
	case KindGenesis:
		frame := startFrame(nil, KindGenesis, record.ID)
		return endFrame(binary.AppendUvarint(append(frame, record.Store[:]...), record.Rules))
	case KindSeal:
		return Seal(record.ID, At(record.Time), record.SealEpoch, string(record.Reason))
	case KindUnseal:
		return Unseal(record.ID, At(record.Time), record.SealEpoch)
	case KindLease:
		return TakeLease(record.ID, At(record.Time), string(record.Name), record.Epoch, string(record.Owner), record.TTL)
	case KindAppend:
	}
	frame := startFrame(nil, KindAppend, record.ID)
	frame = appendTime(frame, At(record.Time))
	frame = binary.AppendUvarint(frame, record.SealEpoch)
	frame = binary.AppendUvarint(frame, uint64(len(record.Parts)))
	for _, part := range record.Parts {
		frame = appendText(frame, part.Stream)
		frame = appendExpected(frame, part.Expected)
		var flags byte
		if part.Repetition {
			flags |= flagRepetition
		}
		if part.Imported {
			frame = appendTime(append(frame, flags|flagRecordedAt), At(part.Time))
		} else {
			frame = append(frame, flags)
		}
		frame = binary.AppendUvarint(frame, uint64(len(part.Events)))
		for _, e := range part.Events {
			frame = append(frame, e.ID[:]...)
			frame = appendBody(frame, e.Decode())
		}
	}
	return endFrame(frame)
}

// FuzzFold lets records land in any order and number, damaged ones among them,
// and holds two folds together: one of the log, and one that was given copies of
// the bytes, which are overwritten afterwards. What was accepted is not accepted
// once more.
func FuzzFold(f *testing.F) {
	pool := recordPool(f)
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11})
	f.Add([]byte{1, 1, 1, 6, 6, 2, 2, 7, 8, 6, 7, 0})
	f.Add([]byte{5, 4, 3, 2, 1, 0, 0xff, 7, 1, 0xff, 40, 9, 9, 9})
	f.Fuzz(func(t *testing.T, choices []byte) {
		a, b := newLog(t), newLog(t)
		accepted := map[int]bool{}
		for len(choices) > 0 {
			choice := int(choices[0]) % (len(pool) + 1)
			choices = choices[1:]
			var value []byte
			if choice < len(pool) {
				value = bytes.Clone(pool[choice])
			} else if len(choices) > 1 { // a damaged one
				value = bytes.Clone(pool[int(choices[0])%len(pool)])
				value[int(choices[1])%len(value)] ^= 1 + choices[0]
				choices = choices[2:]
			}
			events := a.Counts().Events
			first := a.fold(value)
			copied := bytes.Clone(value)
			second, err := b.Fold(b.Next(), copied)
			require.NoError(t, err)
			clear(copied)
			require.Equal(t, first, second)
			require.Equal(t, a.Hash(), b.Hash())
			require.Equal(t, a.Counts(), b.Counts())
			if first.Outcome != Accepted {
				require.Equal(t, events, a.Counts().Events)
			}
			if choice < len(pool) {
				require.False(t, accepted[choice] && first.Outcome == Accepted, "a copy took effect")
				accepted[choice] = accepted[choice] || first.Outcome == Accepted
			}
		}
		h := history{t: t, log: a.State}
		h.checkStreams()
		for _, name := range slices.Collect(maps.Keys(b.streams)) {
			require.Equal(t, a.streams[name].entries, b.streams[name].entries, "the bytes of a record were kept")
		}
	})
}

// recordPool are records that writers of one store may have sent, each by what
// its writer had seen.
func recordPool(t testing.TB) [][]byte {
	t.Helper()
	h := newHistory(t, 7, broken{})
	h.run(modelSteps)
	var pool [][]byte
	for _, a := range h.sent {
		pool = append(pool, a.frame)
	}
	require.Greater(t, len(pool), 20)
	return pool
}
