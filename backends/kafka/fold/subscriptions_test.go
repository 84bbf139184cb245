package fold

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// topic is a compacted topic that a test writes to.
type topic struct {
	t       *testing.T
	records [][2][]byte
	folded  *Subscriptions
}

func newTopic(t *testing.T) *topic {
	t.Helper()
	return &topic{t: t, folded: NewSubscriptions(idOf("store"))}
}

func (p *topic) put(key, value []byte) Kept {
	p.t.Helper()
	p.records = append(p.records, [2][]byte{key, value})
	kept, err := p.folded.Fold(key, value)
	require.NoError(p.t, err)
	return kept
}

// compacted is what somebody folds who comes after a compaction.
func (p *topic) compacted() *Subscriptions {
	p.t.Helper()
	last := map[string]int{}
	for i, record := range p.records {
		last[string(record[0])] = i
	}
	s := NewSubscriptions(idOf("store"))
	for i, record := range p.records {
		if last[string(record[0])] == i {
			_, err := s.Fold(record[0], record[1])
			require.NoError(p.t, err)
		}
	}
	return s
}

func at(n int) eventstore.Checkpoint {
	return eventstore.Checkpoint{Store: idOf("store"), Place: eventstore.Place{Position: eventstore.NewPosition(uint64(n), 0), Stream: "s", Version: uint64(n), ID: idOf("event")}}
}

func progressAt(n int) Progress {
	return Progress{Log: idOf("store"), Found: true, Checkpoint: at(n)}
}

func TestTheHighestPositionOfAnEpochCountsAndTheLastRecordIsPutRight(t *testing.T) {
	p := newTopic(t)
	key := ProgressKey("billing", 1, uuid.Nil)
	lease := Lease{Epoch: 1, Owner: "a", TTL: time.Second}
	require.Nil(t, p.put(key, progressAt(5).Encode()).Repair)
	require.Nil(t, p.put(key, progressAt(7).Encode()).Repair)
	late := p.put(key, progressAt(6).Encode()) // a save that overtook nobody
	require.EqualValues(t, 7, p.folded.Current("billing", lease).Checkpoint.Place.Version)
	require.EqualValues(t, 6, p.compacted().Current("billing", lease).Checkpoint.Place.Version, "what the last record alone would say")
	require.NotNil(t, late.Repair)
	repairs := func() (all [][2][]byte) {
		require.NoError(t, p.folded.Repairs(func(key, value []byte) error {
			all = append(all, [2][]byte{key, value})
			return nil
		}))
		return all
	}
	require.Equal(t, [][2][]byte{{key, late.Repair}}, repairs(), "for whoever folds it later")
	require.Nil(t, p.put(key, late.Repair).Repair, "once is enough")
	require.Empty(t, repairs())
	require.EqualValues(t, 7, p.compacted().Current("billing", lease).Checkpoint.Place.Version)
}

func TestOfTwoRenewalsOfTheSameLeaseTheFirstCounts(t *testing.T) {
	p := newTopic(t)
	key, lease := ProgressKey("billing", 2, uuid.Nil), Lease{Epoch: 2, Owner: "a", TTL: time.Second}
	base := p.folded.Current("billing", lease)
	require.Equal(t, eventstore.Lease{Name: "billing", Epoch: 2, Owner: "a", TTL: time.Second}, base.AsLease())
	renewed, released := base, base
	renewed.Renewals, released.Renewals, released.Owner = 1, 1, ""
	require.True(t, p.put(key, renewed.Encode()).Renewed)
	kept := p.put(key, released.Encode())
	require.False(t, kept.Renewed)
	require.Equal(t, "a", p.folded.Current("billing", lease).Owner)
	p.put(key, kept.Repair)
	require.Equal(t, p.folded.Current("billing", lease), p.compacted().Current("billing", lease))

	// A checkpoint and a renewal that cross: neither is lost.
	saved, again := p.folded.Current("billing", lease), p.folded.Current("billing", lease)
	saved.Found, saved.Checkpoint = true, at(9)
	again.Renewals = 2
	require.True(t, p.put(key, again.Encode()).Renewed)
	kept = p.put(key, saved.Encode())
	require.NotNil(t, kept.Repair)
	p.put(key, kept.Repair)
	for _, s := range []*Subscriptions{p.folded, p.compacted()} {
		current := s.Current("billing", lease)
		require.EqualValues(t, 2, current.Renewals)
		require.EqualValues(t, 9, current.Checkpoint.Place.Version)
	}
}

func TestAResetCountsFromTheMomentAtWhichTheLogTakesItsEpoch(t *testing.T) {
	p := newTopic(t)
	before := Lease{Epoch: 1, Owner: "a"}
	p.put(ProgressKey("billing", 1, uuid.Nil), progressAt(7).Encode())
	p.put(ProgressKey("billing", 2, idOf("reset")), progressAt(3).Encode())
	p.put(ProgressKey("billing", 2, idOf("slower")), progressAt(1).Encode())
	require.EqualValues(t, 7, p.folded.Current("billing", before).Checkpoint.Place.Version)
	reset := Lease{Epoch: 2, ResetEpoch: 2, ResetID: idOf("reset")}
	require.EqualValues(t, 3, p.folded.Current("billing", reset).Checkpoint.Place.Version)
	taken := Lease{Epoch: 3, Owner: "b", ResetEpoch: 2, ResetID: idOf("reset")}
	require.EqualValues(t, 3, p.folded.Current("billing", taken).Checkpoint.Place.Version)
	p.put(ProgressKey("billing", 1, uuid.Nil), progressAt(8).Encode()) // by the owner that it fenced
	require.EqualValues(t, 3, p.folded.Current("billing", taken).Checkpoint.Place.Version)
	p.put(ProgressKey("billing", 3, uuid.Nil), progressAt(4).Encode())
	require.EqualValues(t, 4, p.folded.Current("billing", taken).Checkpoint.Place.Version)
	for _, key := range p.folded.Stale("billing", taken) {
		p.put(key, nil)
	}
	require.EqualValues(t, 4, p.compacted().Current("billing", taken).Checkpoint.Place.Version)
	require.Len(t, p.compacted().names["billing"].epochs, 1)
	require.Empty(t, p.compacted().names["billing"].resets)
}

func TestOfTwoResetsWithoutALeaseOneIsAskedToTryAgain(t *testing.T) {
	p := newTopic(t)
	key := ProgressKey("billing", 0, uuid.Nil)
	p.put(key, progressAt(7).Encode())
	first, second := progressAt(3), Progress{Log: idOf("store"), Generation: 1, Opener: idOf("second")}
	first.Generation, first.Opener = 1, idOf("first")
	require.False(t, p.put(key, first.Encode()).Overtaken)
	kept := p.put(key, second.Encode())
	require.True(t, kept.Overtaken)
	p.put(key, kept.Repair)
	late := progressAt(9) // a save by somebody who had not seen the reset
	kept = p.put(key, late.Encode())
	require.True(t, kept.Overtaken)
	p.put(key, kept.Repair)
	for _, s := range []*Subscriptions{p.folded, p.compacted()} {
		require.EqualValues(t, 3, s.Current("billing", Lease{}).Checkpoint.Place.Version)
	}
}

func TestWhatAnotherStoreLeftIsShownAsForeignAndGoesWithAReset(t *testing.T) {
	p := newTopic(t)
	foreign := progressAt(7)
	foreign.Log, foreign.Checkpoint.Store = idOf("another store"), idOf("another store")
	p.put(ProgressKey("billing", 4, uuid.Nil), foreign.Encode())
	require.Equal(t, idOf("another store"), p.folded.Current("billing", Lease{}).Checkpoint.Store)
	p.put(ProgressKey("billing", 0, uuid.Nil), Progress{Log: idOf("store"), Generation: 1, Opener: idOf("reset")}.Encode())
	require.False(t, p.folded.Current("billing", Lease{}).Found)
	for _, key := range p.folded.Stale("billing", Lease{}) {
		p.put(key, nil)
	}
	require.False(t, p.compacted().Current("billing", Lease{}).Found)
	require.False(t, p.compacted().names["billing"].foreign.Found)
}

func TestForeignBytesInACompactedTopicAreIgnoredAndANewerFormatIsNot(t *testing.T) {
	s, snaps := NewSubscriptions(idOf("store")), NewSnapshots(idOf("store"))
	good := progressAt(1).Encode()
	key := ProgressKey("billing", 0, uuid.Nil)
	for _, record := range [][2][]byte{{nil, good}, {[]byte("billing"), good}, {key, {}}, {key, good[:9]}, {key, append([]byte{0}, good[1:]...)}} {
		_, err := s.Fold(record[0], record[1])
		require.NoError(t, err)
		_, err = snaps.Fold(1, record[0], append([]byte{0}, record[1]...))
		require.NoError(t, err)
	}
	require.Empty(t, s.Names())
	newer := withChecksum(append([]byte{magic, format + 1, byte(kindProgress)}, make([]byte, 16)...)...)
	_, err := s.Fold(key, newer)
	require.ErrorAs(t, err, new(*NewerError))
	_, err = snaps.Fold(1, key, newer)
	require.ErrorAs(t, err, new(*NewerError))
	for cut := range good {
		_, err := decodeProgress(good[:cut])
		require.ErrorIs(t, err, ErrMalformed)
	}
}

func TestProgressComesBackAsItWasWritten(t *testing.T) {
	whole := Progress{
		Log: idOf("store"), Generation: 3, Opener: idOf("opener"), Renewals: 1 << 40, Previous: 7, Owner: "host «1»", TTL: 15 * time.Second,
		Found: true, Checkpoint: at(1 << 30), Repaired: true,
	}
	for _, p := range []Progress{whole, {}, progressAt(1)} {
		back, err := decodeProgress(p.Encode())
		require.NoError(t, err)
		require.Equal(t, p, back)
	}
}

// In whatever order the records of one epoch come, and whatever compaction leaves of
// them once what must be repaired was repaired: the same.
func TestCompactionChangesNothingOnceTheLastRecordIsRepaired(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		p := newTopic(t)
		key, lease := ProgressKey("n", 1, uuid.Nil), Lease{Epoch: 1, Owner: "a"}
		seen := []Progress{p.folded.Current("n", lease)} // what writers may have seen when they wrote
		for range 12 {
			next := seen[random.IntN(len(seen))]
			next.Previous = next.Renewals
			if random.IntN(2) == 0 {
				next.Renewals++
				next.Owner = []string{"a", ""}[random.IntN(2)]
			} else {
				next.Found, next.Checkpoint = true, at(random.IntN(20)+1)
			}
			kept := p.put(key, next.Encode())
			for kept.Repair != nil {
				kept = p.put(key, kept.Repair)
			}
			seen = append(seen, p.folded.Current("n", lease))
		}
		require.Equal(t, p.folded.Current("n", lease), p.compacted().Current("n", lease))
	}
}

func TestTheHighestVersionOfASnapshotCounts(t *testing.T) {
	s := NewSnapshots(idOf("store"))
	key := SnapshotKey("order-1", "State")
	save := func(offset int64, version uint64) bool {
		lower, err := s.Fold(offset, key, EncodeSnapshot(idOf("store"), eventstore.Snapshot{Version: version, SchemaVersion: 2, Data: []byte("{}")}))
		require.NoError(t, err)
		return lower
	}
	require.False(t, save(0, 5))
	require.True(t, save(1, 3), "compaction would keep it")
	require.Equal(t, [][]byte{key}, s.Lower())
	kept, ok := s.Find(key)
	require.True(t, ok)
	require.Equal(t, KeptSnapshot{Offset: 0, Version: 5}, kept)
	require.False(t, save(2, 5))
	require.Empty(t, s.Lower())
	_, err := s.Fold(3, key, EncodeSnapshot(idOf("another"), eventstore.Snapshot{Version: 9}))
	require.NoError(t, err)
	kept, _ = s.Find(key)
	require.EqualValues(t, 2, kept.Offset, "another store's is none")
	_, err = s.Fold(4, key, nil)
	require.NoError(t, err)
	_, ok = s.Find(key)
	require.False(t, ok)
}

func TestASavedStateIsTheState(t *testing.T) {
	log := newLog(t)
	for i := range 100 {
		log.store("long", string(rune('a'+i%26))+string(rune('a'+i/26)))
	}
	log.store("short", "x")
	require.Equal(t, Accepted, log.fold(TakeLease(idOf("1"), now, "billing", 1, "a", time.Second)).Outcome)
	require.Equal(t, Accepted, log.fold(TakeLease(idOf("2"), now, "billing", 2, "", 0)).Outcome)
	for _, sealed := range []bool{false, true} {
		if sealed {
			log.seal()
		}
		saved := log.Image().Append([]byte("before"))[len("before"):]
		back, err := Restore(saved)
		require.NoError(t, err)
		require.Equal(t, log.Hash(), back.Hash())
		require.Equal(t, log.Counts(), back.Counts())
		require.Equal(t, log.Lease("billing"), back.Lease("billing"))
		seal, ok := log.Seal()
		backSeal, backOK := back.Seal()
		require.Equal(t, ok, backOK)
		require.Equal(t, seal, backSeal)
		place, stream, version, _ := log.Head()
		backPlace, backStream, backVersion, _ := back.Head()
		require.Equal(t, []any{place, stream, version}, []any{backPlace, backStream, backVersion})
		// Both go on alike: a repetition in a long stream is one, and so on.
		for _, name := range []string{"aa", "new"} {
			frame := frameOf(t, newLog(t).State, request(t, "again "+name, part("long", eventstore.Any(), name)))
			one, err := log.Fold(log.Next(), frame)
			require.NoError(t, err)
			other, err := back.Fold(back.Next(), frame)
			require.NoError(t, err)
			require.Equal(t, one, other)
		}
		for cut := range saved {
			_, err := Restore(saved[:cut])
			require.ErrorIs(t, err, ErrState)
		}
		saved[len(saved)/2] ^= 1
		_, err = Restore(saved)
		require.ErrorIs(t, err, ErrState)
	}
}

func TestAnImageIsOfItsMomentWhileTheLogGoesOn(t *testing.T) {
	log := newLog(t)
	log.store("s", "1", "2")
	require.Equal(t, Accepted, log.fold(TakeLease(idOf("1"), now, "billing", 1, "a", time.Second)).Outcome)
	records := len(log.frames)
	image := log.Image()
	saved := make(chan []byte)
	go func() { saved <- image.Append(nil) }()
	for i := range 100 {
		log.store("s", fmt.Sprint("later ", i))
	}
	log.store("later", "x")
	require.Equal(t, Accepted, log.fold(TakeLease(idOf("2"), now, "billing", 2, "b", time.Second)).Outcome)
	log.seal()
	want := log.upTo(records)
	for _, bytes := range [][]byte{<-saved, image.Append(nil)} {
		back, err := Restore(bytes)
		require.NoError(t, err)
		require.Equal(t, want.Next(), back.Next())
		require.Equal(t, want.Hash(), back.Hash())
		require.Equal(t, want.Counts(), back.Counts())
		require.Equal(t, want.Lease("billing"), back.Lease("billing"))
		require.Equal(t, want.Version("s"), back.Version("s"))
		require.Zero(t, back.Version("later"))
		place, stream, version, _ := want.Head()
		backPlace, backStream, backVersion, _ := back.Head()
		require.Equal(t, []any{place, stream, version}, []any{backPlace, backStream, backVersion})
		_, sealed := back.Seal()
		require.False(t, sealed)
	}
}
