package decider_test

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/codec"
	"github.com/switchyard-dev/switchyard/decider"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// Noted is an event that JSON does not give back as it was.
type Noted struct {
	Lines  []string
	Number any // an int is read back as a float64
	secret int // which is not encoded
}

// Notes keeps the lines of the last event, which evolve changes nothing of.
type Notes struct {
	Lines  []string
	Floats int
	Secret int
}

func (n Notes) evolve(e Noted) Notes {
	n.Lines, n.Secret = e.Lines, n.Secret+e.secret
	if _, ok := e.Number.(float64); ok {
		n.Floats++
	}
	return n
}

func TestWhatIsKeptIsFoldedFromTheEventsAsTheyAreStored(t *testing.T) {
	note := func(lines []string) decisionOnNotes {
		return func(Notes) ([]Noted, error) { return []Noted{{lines, 1, 7}}, nil }
	}
	for name, opts := range map[string]decider.Options{
		"cache":    {CacheSize: 1},
		"snapshot": {Snapshots: &decider.Snapshots{Type: "Notes", Every: 1}},
	} {
		for way, write := range map[string]func(store *eventstore.Store, d *decider.Decider[Notes, Noted], lines []string) error{
			"Transact": func(_ *eventstore.Store, d *decider.Decider[Notes, Noted], lines []string) error {
				_, err := d.Transact(t.Context(), "notes-1", note(lines))
				return err
			},
			"Atomically": func(store *eventstore.Store, d *decider.Decider[Notes, Noted], lines []string) error {
				_, err := decider.Atomically(t.Context(), store, nil, func(tx *decider.Tx) error {
					s, err := d.In(tx, "notes-1")
					if err == nil {
						s.Add(Noted{lines, 1, 7})
					}
					return err
				})
				return err
			},
		} {
			t.Run(name+"/"+way, func(t *testing.T) {
				store := newStore(t, memory.New(), nil)
				c := codec.Must(codec.New[Noted](nil, codec.Of[Noted]("Noted")))
				d, err := decider.New(store, c, Notes.evolve, &opts)
				require.NoError(t, err)
				request := []string{"book"} // of a pool
				require.NoError(t, write(store, d, request))
				request[0] = "the next request's"
				state, version, err := d.Load(t.Context(), "notes-1")
				require.NoError(t, err)
				require.Equal(t, uint64(1), version)
				require.Equal(t, Notes{Lines: []string{"book"}, Floats: 1}, state, "as anybody folds it")
			})
		}
	}
}

type decisionOnNotes = func(Notes) ([]Noted, error)

// hidden is an account that JSON sees nothing of.
type hidden struct{ balance int64 }

func TestASnapshotThatIsNotTheStateIsNotKept(t *testing.T) {
	w := newWorld(t, decider.Options{}, nil)
	d, err := decider.New(w.store, accountEvents(), func(h hidden, e Event) hidden {
		h.balance += e.(Paid).Cents
		return h
	}, &decider.Options{Snapshots: &decider.Snapshots{Type: "Hidden", Every: 1}, Logger: logTo(&w.log)})
	require.NoError(t, err)
	for want := range int64(3) {
		res, err := d.Transact(t.Context(), stream, func(h hidden) ([]Event, error) {
			require.Equal(t, want, h.balance)
			return []Event{Paid{1}}, nil
		})
		require.NoError(t, err)
		require.Equal(t, want+1, res.State.balance)
	}
	require.Contains(t, w.log.String(), "fields that are not exported")
	_, found, err := w.store.LoadSnapshot(t.Context(), stream, "Hidden")
	require.NoError(t, err)
	require.False(t, found)
}

// journal has a slice and a map, and evolve copies both.
type journal struct {
	cents []int64
	by    map[int64]int
}

func (j journal) evolve(e Event) journal {
	cents := e.(Paid).Cents
	j.cents = append(slices.Clip(j.cents), cents)
	if j.by = maps.Clone(j.by); j.by == nil {
		j.by = make(map[int64]int)
	}
	j.by[cents]++
	return j
}

func TestWhatIsTriedOnASharedStateChangesNothing(t *testing.T) {
	store := newStore(t, memory.New(), nil)
	d, err := decider.New(store, accountEvents(), journal.evolve, &decider.Options{CacheSize: 10})
	require.NoError(t, err)
	write := func(cents int64) {
		_, err := d.Transact(t.Context(), stream, func(journal) ([]Event, error) { return []Event{Paid{cents}}, nil })
		require.NoError(t, err)
	}
	for cents := range int64(5) {
		write(cents)
	}
	loaded, _, err := d.Load(t.Context(), stream)
	require.NoError(t, err)
	write(5)
	require.Equal(t, int64(666), d.Fold(loaded, Paid{666}).cents[5])
	_, err = decider.Atomically(t.Context(), store, nil, func(tx *decider.Tx) error {
		s, err := d.In(tx, stream)
		require.NoError(t, err)
		s.Add(Paid{777})
		return errPoor
	})
	require.Equal(t, errPoor, err)
	state, _, err := d.Load(t.Context(), stream)
	require.NoError(t, err)
	require.Equal(t, journal{[]int64{0, 1, 2, 3, 4, 5}, map[int64]int{0: 1, 1: 1, 2: 1, 3: 1, 4: 1, 5: 1}}, state)
}

// oneWay is an event that can be encoded and not decoded.
type oneWay struct{ Cents int64 }

var errOneWay = errors.New("not the other way")

func (*oneWay) UnmarshalJSON([]byte) error { return errOneWay }

func TestAStateOfEventsThatCannotBeDecodedIsNotKept(t *testing.T) {
	var log strings.Builder
	store := newStore(t, memory.New(), nil)
	d, err := decider.New(store, codec.Must(codec.New[oneWay](nil, codec.Of[oneWay]("OneWay"))),
		func(sum int64, e oneWay) int64 { return sum + e.Cents },
		&decider.Options{CacheSize: 10, Snapshots: &decider.Snapshots{Type: "Sum", Every: 1}, Logger: logTo(&log)})
	require.NoError(t, err)
	decide := func(int64) ([]oneWay, error) { return []oneWay{{1}, {2}}, nil }
	res, err := d.Transact(t.Context(), stream, decide)
	require.NoError(t, err, "they are stored")
	require.Len(t, res.Events, 2)
	require.Equal(t, int64(3), res.State)
	require.Contains(t, log.String(), "cannot be decoded")
	_, found, err := store.LoadSnapshot(t.Context(), stream, "Sum")
	require.NoError(t, err)
	require.False(t, found)
	_, err = d.Transact(t.Context(), stream, decide)
	require.ErrorIs(t, err, errOneWay, "nothing is decided on what nobody can fold")
}
