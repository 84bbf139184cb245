package decider_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/decider"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// snapshotted are the options of most tests here.
func snapshotted(version, every int) decider.Options {
	return decider.Options{Snapshots: &decider.Snapshots{Type: "Account", Version: version, Every: every}}
}

func (w *world) snapshot(t *testing.T) eventstore.Snapshot {
	t.Helper()
	snapshot, _, err := w.store.LoadSnapshot(t.Context(), stream, "Account")
	require.NoError(t, err)
	return snapshot
}

func TestASnapshotIsKeptEverySoManyEventsAndReadFrom(t *testing.T) {
	w := newWorld(t, snapshotted(0, 3), nil)
	transact(t, w.here, pay(1, 1))
	require.Zero(t, w.snapshot(t))
	transact(t, w.here, pay(1, 1)) // passes 3
	require.Equal(t, eventstore.Snapshot{Stream: stream, Type: "Account", Version: 4, SchemaVersion: 1, Data: []byte(`{"Balance":4,"Events":4}`)}, w.snapshot(t))
	transact(t, w.here, pay(1))
	require.Equal(t, uint64(4), w.snapshot(t).Version)
	transact(t, w.here, pay(1)) // reaches 6
	require.Equal(t, uint64(6), w.snapshot(t).Version)
	w.spy.since()
	state, _, err := w.here.Load(t.Context(), stream)
	require.NoError(t, err)
	require.Equal(t, Account{6, 6}, state)
	reads, _ := w.spy.counted()
	require.Equal(t, uint64(6), reads[len(reads)-1].After)
	require.Empty(t, w.log.String())
}

func TestASnapshotOfAnotherVersionIsNotUsed(t *testing.T) {
	w := newWorld(t, snapshotted(2, 100), nil)
	transact(t, w.here, pay(1, 2))
	for _, version := range []int{1, 3} {
		require.NoError(t, w.store.SaveSnapshot(t.Context(), eventstore.Snapshot{Stream: stream, Type: "Account", Version: 1, SchemaVersion: version, Data: []byte(`{"Balance":1000}`)}))
		state, _, err := w.here.Load(t.Context(), stream)
		require.NoError(t, err)
		require.Equal(t, Account{3, 2}, state)
		require.Contains(t, w.log.String(), "it has another version")
	}
}

func TestASnapshotThatIsOfNoUseIsFoldedWithout(t *testing.T) {
	for name, test := range map[string]struct {
		snapshots eventstore.Snapshots
		log       string
	}{
		"unreadable":        {stubSnapshots{snapshot: eventstore.Snapshot{Version: 1, SchemaVersion: 1, Data: []byte(`{"Balance":1000,"Events":"many"}`)}}, "it cannot be read"},
		"ahead":             {stubSnapshots{snapshot: eventstore.Snapshot{Version: 9, SchemaVersion: 1, Data: []byte(`{"Balance":1000}`)}}, ""}, // the Store says so
		"not to be had":     {stubSnapshots{err: errors.New("broken")}, "it cannot be had"},
		"not to be written": {stubSnapshots{err: errors.New("broken")}, "snapshot is not kept"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, decider.Options{}, nil)
			transact(t, w.here, pay(1, 2))
			w.spy.records = &eventstore.Records{Snapshots: test.snapshots, Checkpoints: w.spy.Backend.Records().Checkpoints}
			store := newStore(t, w.spy, nil)
			opts := snapshotted(1, 3)
			opts.Logger = logTo(&w.log)
			d := accounts(t, store, &opts)
			res := transact(t, d, pay(4))
			require.Equal(t, Account{7, 3}, res.State)
			require.Contains(t, w.log.String(), test.log)
		})
	}
}

// stubSnapshots holds one snapshot, or fails.
type stubSnapshots struct {
	snapshot eventstore.Snapshot
	err      error
}

func (s stubSnapshots) Load(context.Context, eventstore.LoadSnapshotRequest) (eventstore.LoadSnapshotResult, error) {
	return eventstore.LoadSnapshotResult{Snapshot: s.snapshot, Found: true}, s.err
}
func (s stubSnapshots) Save(context.Context, eventstore.SaveSnapshotRequest) error { return s.err }
func (s stubSnapshots) Delete(context.Context, eventstore.DeleteSnapshotRequest) error {
	return s.err
}

// hexadecimal writes states as other bytes than JSON.
type hexadecimal struct{}

func (hexadecimal) ContentType() string { return "text/plain" }
func (hexadecimal) Marshal(v any) ([]byte, error) {
	a := v.(Account)
	return fmt.Appendf(nil, "%x %x", a.Balance, a.Events), nil
}

func (hexadecimal) Unmarshal(data []byte, v any) error {
	a := v.(*Account)
	_, err := fmt.Sscanf(string(data), "%x %x", &a.Balance, &a.Events)
	return err
}

func TestASnapshotHasItsEncoding(t *testing.T) {
	w := newWorld(t, decider.Options{Snapshots: &decider.Snapshots{Type: "Account", Every: 1, Encoding: hexadecimal{}}}, nil)
	transact(t, w.here, pay(255))
	require.Equal(t, "ff 1", string(w.snapshot(t).Data))
	require.Equal(t, Account{256, 2}, transact(t, w.here, pay(1)).State)
}

func TestARefusedRepetitionIsFoundBeforeTheSnapshot(t *testing.T) {
	w := newWorld(t, snapshotted(0, 2), nil)
	cmd := decider.Command{Stream: stream, ID: uuid.New()}
	transact(t, w.here, pay(5))
	first := do(t, w.here, cmd, withdraw(5))
	transact(t, w.here, pay(1, 1))
	require.Equal(t, uint64(4), w.snapshot(t).Version, "the command lies before it")
	again := do(t, w.here, cmd, withdraw(5))
	require.True(t, again.Duplicate)
	require.Equal(t, first.Events, again.Events)
	_, err := w.here.Do(t.Context(), decider.Command{Stream: stream, ID: uuid.New()}, withdraw(5))
	require.Equal(t, errPoor, err, "another one is refused")
}

func TestASnapshotWithinAnAppendHidesNoRepetition(t *testing.T) {
	w := newWorld(t, snapshotted(0, 100), nil)
	cmd := decider.Command{Stream: stream, ID: uuid.New()}
	first := do(t, w.here, cmd, pay(1, 2, 3))
	require.NoError(t, w.store.SaveSnapshot(t.Context(), eventstore.Snapshot{Stream: stream, Type: "Account", Version: 2, SchemaVersion: 1, Data: []byte(`{"Balance":3,"Events":2}`)}))
	for _, decide := range []decision{pay(1, 2, 3), pay(9), payUpTo(1)} {
		again := do(t, w.here, cmd, decide)
		require.True(t, again.Duplicate)
		require.Equal(t, first.Events, again.Events)
		require.Equal(t, Account{6, 3}, again.State)
	}
}

func logTo(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

func TestSnapshotsThatAreAwayCostABoundedTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend := memory.New()
		away := &spy{Backend: backend, records: &eventstore.Records{Snapshots: stubSnapshots{err: eventstore.ErrUnavailable}, Checkpoints: backend.Records().Checkpoints}}
		var log strings.Builder
		opts := snapshotted(1, 1)
		opts.Logger = logTo(&log)
		d := accounts(t, newStore(t, away, nil), &opts)
		began := time.Now()
		require.Equal(t, Account{1, 1}, transact(t, d, pay(1)).State)
		require.LessOrEqual(t, time.Since(began), time.Second, "half of it for each of loading and saving")
		require.Contains(t, log.String(), "snapshot is not used")
		require.Contains(t, log.String(), "snapshot is not kept")
	})
}

func TestANameThatNoStoreTakesForASnapshotIsRefusedAtOnce(t *testing.T) {
	store := newStore(t, memory.New(), nil)
	for _, name := range []string{"", strings.Repeat("x", 300), "$Account", "a\x00b"} {
		_, err := decider.New(store, accountEvents(), Account.evolve, &decider.Options{Snapshots: &decider.Snapshots{Type: name, Every: 1}})
		require.ErrorIs(t, err, eventstore.ErrInvalid, "%q", name)
		require.ErrorContains(t, err, "Snapshots.Type")
	}
	reserved := newStore(t, memory.New(), &eventstore.Options{AllowReserved: true})
	_, err := decider.New(reserved, accountEvents(), Account.evolve, &decider.Options{Snapshots: &decider.Snapshots{Type: "$Account", Every: 1}})
	require.NoError(t, err, "as the store has it")
}
