package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/switchyard-dev/switchyard/eventstore"
)

func snapshotChecks() []Check {
	checks := []Check{
		{
			Name: "snapshot/round-trip", Promise: 9, Core: true, Needs: NeedsOpenAgain,
			Sentence: "A snapshot's bytes, version, type and schema version come back as they were saved, up to the largest size.",
			Run:      snapshotRoundTrip,
		},
		{
			Name: "snapshot/absent", Promise: 14,
			Sentence: "A snapshot that was never saved is not found, without an error, and deleting it is no error.",
			Run:      snapshotAbsent,
		},
		{
			Name: "snapshot/latest-wins", Promise: 14, Core: true, Needs: NeedsOpenAgain,
			Sentence: "The snapshot with the highest version remains; a lower one is ignored, one of the same version replaces it, through any handle.",
			Run:      snapshotLatestWins,
		},
		{
			Name: "snapshot/concurrent-saves", Promise: 14, Needs: NeedsOpenAgain,
			Sentence: "Of 2, 8 and 32 concurrent saves through two handles the highest version remains, whole.",
			Run:      snapshotConcurrent,
		},
		{
			Name: "snapshot/keys-apart", Promise: 14,
			Sentence: "A snapshot belongs to exactly its stream and type.",
			Run:      snapshotKeys,
		},
		{
			Name: "snapshot/delete", Promise: 14, Needs: NeedsOpenAgain,
			Sentence: "A deleted snapshot is gone for every handle, its stream stays, and a lower version can be saved afterwards.",
			Run:      snapshotDelete,
		},
		{
			Name: "snapshot/survives-reopening", Promise: 14, Needs: NeedsOpenAgain,
			Sentence: "Snapshots are there after every handle was closed and the store opened again.",
			Run:      snapshotReopen,
		},
		{
			Name: "snapshot/refused", Promise: 22,
			Sentence: "A snapshot at version zero, beyond its stream's last event, or too large is refused with ErrInvalid.",
			Run:      snapshotRefused,
		},
		{
			Name: "snapshot/aliasing", Core: true, Promise: 9,
			Sentence: "The caller's buffers are its own: changing a saved or a loaded snapshot's data changes nothing that is stored.",
			Run:      snapshotAliasing,
		},
	}
	for i := range checks {
		checks[i].Requires, checks[i].Refused = snapshotting, refusesSnapshots
	}
	return checks
}

// expectSnapshot loads a snapshot through a store and compares it.
func expectSnapshot(ctx context.Context, what string, store *eventstore.Store, want eventstore.Snapshot) error {
	got, found, err := store.LoadSnapshot(ctx, want.Stream, want.Type)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	same := bytes.Equal(got.Data, want.Data) && got.Stream == want.Stream && got.Type == want.Type &&
		got.Version == want.Version && got.SchemaVersion == want.SchemaVersion
	if !found || !same {
		return unexpected(what, describeSnapshot(want), fmt.Sprintf("%s, found %t", describeSnapshot(got), found))
	}
	return nil
}

func describeSnapshot(s eventstore.Snapshot) string {
	const most = 64
	return fmt.Sprintf("snapshot %q of %q at version %d, schema %d, data (%d bytes) %q", s.Type, s.Stream, s.Version, s.SchemaVersion, len(s.Data), s.Data[:min(len(s.Data), most)])
}

func snapshotRoundTrip(ctx context.Context, env *Env) error {
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	stream := env.Stream("Order")
	if _, err := env.Fill(ctx, stream, 9, 9); err != nil {
		return err
	}
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	large := make([]byte, env.Store.Limits().MaxEventBytes)
	for i := range large {
		large[i] = byte(env.Rand.Uint32())
	}
	for i, data := range [][]byte{every, {}, []byte(`{"b":1, "a":1.0e400}`), {0}, []byte("\xff\xfe"), large} {
		snapshot := eventstore.Snapshot{Stream: stream, Type: "State", Version: uint64(i) + 1, SchemaVersion: 1 + 3*i, Data: data}
		if err := stores[i%2].SaveSnapshot(ctx, snapshot); err != nil {
			return err
		}
		for j, store := range stores {
			what := fmt.Sprintf("snapshot saved through handle %d, loaded through handle %d", i%2+1, j+1)
			if err := expectSnapshot(ctx, what, store, snapshot); err != nil {
				return err
			}
		}
	}
	return nil
}

func snapshotAbsent(ctx context.Context, env *Env) error {
	if _, err := env.Fill(ctx, env.StreamID("Order", 1), 2, 2); err != nil {
		return err
	}
	present := eventstore.Snapshot{Stream: env.StreamID("Order", 1), Type: "State", Version: 1, SchemaVersion: 1, Data: []byte("x")}
	if err := env.Store.SaveSnapshot(ctx, present); err != nil {
		return err
	}
	for _, key := range [][2]string{{present.Stream, "Other"}, {present.Stream, "state"}, {env.StreamID("Order", 2), "State"}, {env.odd("order-1")[0], "State"}, {present.Stream, "%"}, {env.odd("", "Order-_")[1], "State"}} {
		if err := env.Store.DeleteSnapshot(ctx, key[0], key[1]); err != nil {
			return fmt.Errorf("delete a snapshot that does not exist: %w", err)
		}
		got, found, err := env.Store.LoadSnapshot(ctx, key[0], key[1])
		if err != nil || found {
			return unexpected(fmt.Sprintf("snapshot %q of stream %q, which was never saved", key[1], key[0]), "not found, no error", fmt.Sprintf("%s, found %t, error %v", describeSnapshot(got), found, err))
		}
	}
	return expectSnapshot(ctx, "the snapshot beside them", env.Store, present)
}

func snapshotLatestWins(ctx context.Context, env *Env) error {
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	stream := env.Stream("Order")
	if _, err := env.Fill(ctx, stream, 12, 12); err != nil {
		return err
	}
	var latest eventstore.Snapshot
	for i, version := range []uint64{3, 5, 4, 5, 1, 9, 10, 9, 12, 2} { // 9 before 10: as numbers, not as text
		snapshot := eventstore.Snapshot{Stream: stream, Type: "State", Version: version, SchemaVersion: 1 + i, Data: fmt.Appendf(nil, "save %d", i)}
		if err := stores[i%2].SaveSnapshot(ctx, snapshot); err != nil {
			return fmt.Errorf("save a snapshot of version %d over one of version %d: %w", version, latest.Version, err)
		}
		before := latest.Version
		if version >= latest.Version {
			latest = snapshot
		}
		for _, store := range stores {
			what := fmt.Sprintf("snapshot after version %d was saved over version %d", version, before)
			if err := expectSnapshot(ctx, what, store, latest); err != nil {
				return err
			}
		}
	}
	return nil
}

func snapshotConcurrent(ctx context.Context, env *Env) error {
	const versions = 48
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	return eachRacers(ctx, func(ctx context.Context, racers int) error {
		stream := env.Stream("Order")
		if _, err := env.Fill(ctx, stream, versions, versions); err != nil {
			return err
		}
		of := func(version uint64) eventstore.Snapshot {
			return eventstore.Snapshot{Stream: stream, Type: "State", Version: version, SchemaVersion: int(version), Data: bytes.Repeat([]byte{byte(version)}, 100)}
		}
		err := race(racers, func(i int) error {
			for version := uint64(i%4) + 1; version <= versions; version += 4 {
				if err := stores[i%2].SaveSnapshot(ctx, of(version)); err != nil {
					return err
				}
			}
			return stores[i%2].SaveSnapshot(ctx, of(1))
		})
		if err != nil {
			return err
		}
		highest := uint64(versions - 4 + min(racers, 4))
		for _, store := range stores {
			if err := expectSnapshot(ctx, "snapshot after concurrent saves", store, of(highest)); err != nil {
				return err
			}
		}
		return nil
	})
}

func snapshotKeys(ctx context.Context, env *Env) error {
	var saved []eventstore.Snapshot
	for _, stream := range env.odd(hostileStreams()...) {
		if _, err := env.Store.Append(ctx, stream, eventstore.NoStream(), env.Events(3)...); err != nil {
			return err
		}
	}
	for i, stream := range env.odd(hostileStreams()...) {
		for _, kind := range []string{"State", "state", "St_te", "%", "Totals"}[:2+i%4] {
			snapshot := eventstore.Snapshot{Stream: stream, Type: kind, Version: 1 + uint64(len(saved)%3), SchemaVersion: 1, Data: fmt.Appendf(nil, "%d", len(saved))}
			if err := env.Store.SaveSnapshot(ctx, snapshot); err != nil {
				return err
			}
			saved = append(saved, snapshot)
		}
	}
	for _, snapshot := range saved {
		if err := expectSnapshot(ctx, "snapshot beside similar keys", env.Store, snapshot); err != nil {
			return err
		}
	}
	return nil
}

func snapshotDelete(ctx context.Context, env *Env) error {
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	events := env.Events(5)
	if _, err := env.Store.Append(ctx, env.StreamID("Order", 1), eventstore.NoStream(), events...); err != nil {
		return err
	}
	other := eventstore.Snapshot{Stream: env.StreamID("Order", 1), Type: "Other", Version: 2, SchemaVersion: 1, Data: []byte("other")}
	if err := env.Store.SaveSnapshot(ctx, other); err != nil {
		return err
	}
	for i, version := range []uint64{5, 2, 3} {
		snapshot := eventstore.Snapshot{Stream: env.StreamID("Order", 1), Type: "State", Version: version, SchemaVersion: 1, Data: []byte("state")}
		if err := stores[i%2].SaveSnapshot(ctx, snapshot); err != nil {
			return err
		}
		if err := expectSnapshot(ctx, "snapshot saved after an earlier one was deleted", stores[1], snapshot); err != nil {
			return err
		}
		if err := stores[(i+1)%2].DeleteSnapshot(ctx, env.StreamID("Order", 1), "State"); err != nil {
			return err
		}
		for _, store := range stores {
			got, found, err := store.LoadSnapshot(ctx, env.StreamID("Order", 1), "State")
			if err != nil || found {
				return unexpected("snapshot after it was deleted", "not found, no error", fmt.Sprintf("%s, found %t, error %v", describeSnapshot(got), found, err))
			}
		}
	}
	return errors.Join(
		expectSnapshot(ctx, "the stream's other snapshot", env.Store, other),
		expectEvents(ctx, env.Store, env.StreamID("Order", 1), events...))
}

func snapshotReopen(ctx context.Context, env *Env) error {
	stream := env.Stream("Order")
	if _, err := env.Fill(ctx, stream, 5, 5); err != nil {
		return err
	}
	snapshot := eventstore.Snapshot{Stream: stream, Type: "State", Version: 4, SchemaVersion: 7, Data: []byte("kept\x00")}
	if err := env.Store.SaveSnapshot(ctx, snapshot); err != nil {
		return err
	}
	if err := env.Reopen(ctx); err != nil {
		return err
	}
	lower := snapshot
	lower.Version, lower.Data = 3, []byte("older")
	if err := env.Store.SaveSnapshot(ctx, lower); err != nil {
		return err
	}
	return expectSnapshot(ctx, "snapshot after reopening and a save of a lower version", env.Store, snapshot)
}

func snapshotRefused(ctx context.Context, env *Env) error {
	stream := env.Stream("Order")
	if _, err := env.Fill(ctx, stream, 3, 3); err != nil {
		return err
	}
	large := make([]byte, env.Store.Limits().MaxEventBytes+1)
	for _, refused := range []struct {
		what     string
		snapshot eventstore.Snapshot
	}{
		{"at version zero", eventstore.Snapshot{Stream: stream, Type: "State"}},
		{"beyond the stream's last event", eventstore.Snapshot{Stream: stream, Type: "State", Version: 4}},
		{"of an absent stream", eventstore.Snapshot{Stream: env.StreamID("Absent", 1), Type: "State", Version: 1}},
		{"with a negative schema version", eventstore.Snapshot{Stream: stream, Type: "State", Version: 1, SchemaVersion: -1}},
		{"that is too large", eventstore.Snapshot{Stream: stream, Type: "State", Version: 1, Data: large}},
		{"without a type", eventstore.Snapshot{Stream: stream, Version: 1}},
	} {
		if err := expectError("a snapshot "+refused.what, env.Store.SaveSnapshot(ctx, refused.snapshot), eventstore.ErrInvalid); err != nil {
			return err
		}
	}
	got, found, err := env.Store.LoadSnapshot(ctx, stream, "State")
	if err != nil || found {
		return unexpected("snapshot after only refused saves", "not found, no error", fmt.Sprintf("%s, found %t, error %v", describeSnapshot(got), found, err))
	}
	return nil
}

func snapshotAliasing(ctx context.Context, env *Env) error {
	stream := env.Stream("Order")
	if _, err := env.Fill(ctx, stream, 1, 1); err != nil {
		return err
	}
	buffer := []byte("as saved")
	want := eventstore.Snapshot{Stream: stream, Type: "State", Version: 1, SchemaVersion: 1, Data: bytes.Clone(buffer)}
	saved := want
	saved.Data = buffer
	if err := env.Store.SaveSnapshot(ctx, saved); err != nil {
		return err
	}
	clear(buffer)
	for range 2 {
		got, _, err := env.Store.LoadSnapshot(ctx, stream, "State")
		if err != nil {
			return err
		}
		if !bytes.Equal(got.Data, want.Data) {
			return unexpected("snapshot after the caller changed its buffers", fmt.Sprintf("%q", want.Data), fmt.Sprintf("%q", got.Data))
		}
		clear(got.Data)
	}
	return nil
}
