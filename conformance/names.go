package conformance

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"strings"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// Checks of what checkpoints and snapshots are kept under, and of every value
// that they can hold.
func namesChecks() []Check {
	return []Check{
		{
			Name: "checkpoint/names-nearly-alike", Promise: 18, Requires: checkpointing, Refused: refusesCheckpoints, Needs: NeedsOpenAgain,
			Sentence: "Checkpoints whose names differ in case, spaces, normal form, width, one byte or by a prefix are different ones: saved, moved and deleted each by itself.",
			Run:      namesNearlyAlike,
		},
		{
			Name: "checkpoint/every-position", Promise: 18, Requires: checkpointing, Refused: refusesCheckpoints, Needs: NeedsOpenAgain,
			Sentence: "A checkpoint holds every position, two full 64-bit words, and moves forward by its order and no other: at its own position it keeps its event.",
			Run:      everyPosition,
		},
		{
			Name: "snapshot/keys-nearly-alike", Promise: 14, Requires: snapshotting, Refused: refusesSnapshots, Needs: NeedsOpenAgain,
			Sentence: "Snapshots whose streams or types differ in case, spaces, normal form, width, one byte or by a prefix are different ones: saved and deleted each by itself.",
			Run:      keysNearlyAlike,
		},
		{
			Name: "snapshot/keys-of-two-names", Promise: 14, Requires: snapshotting, Refused: refusesSnapshots, Needs: NeedsOpenAgain,
			Sentence: "A snapshot's stream and type are two names: pairs that read alike when they are joined are different keys.",
			Run:      keysOfTwoNames,
		},
		{
			Name: "snapshot/every-version", Promise: 14, Requires: snapshotting, Refused: refusesSnapshots, Needs: NeedsOpenAgain,
			Sentence: "A snapshot holds every version and schema version that a 64-bit integer has, and the highest version remains.",
			Run:      everyVersion,
		},
	}
}

// nearlyAlike are names that collations, trimming, normal forms, paths and short
// columns take for each other.
func nearlyAlike() []string {
	long := strings.Repeat("n", 254)
	return append(hardText(),
		long, long+"n", long+"m", long[:253]+"N", long[:128], long[:127], long[:64], long[:63], long[:32],
		"billing", "Billing", "BILLING", "billing ", " billing", "billing  ", "billing\u00a0", "billin", "billingg", "billing-1", "billing-10", "billing_1",
		"B\u00fccher", "Bu\u0308cher", "BU\u0308CHER", "\u1e9b\u0323", "\u1e69", "s\u0323\u0307", "\u2126", "\u03a9", "\u03c9", "K", "\u212a", "k", "i", "I", "\u0131",
		"a%2Fb", "a%2fb", "a\\b", "a/./b", "a/b/", "/a/b", "checkpoint-billing", "billing.checkpoint", "snapshot-billing",
	)
}

func namesNearlyAlike(ctx context.Context, env *Env) error {
	log, err := logToSave(ctx, env, 10)
	if err != nil {
		return err
	}
	names, at := distinct(nearlyAlike()), make(map[string]int)
	for i, name := range names {
		at[name] = i % 5
		if err := log.stores[i%2].SaveCheckpoint(ctx, log.at(name, at[name])); err != nil {
			return fmt.Errorf("checkpoint %q: %w", name, err)
		}
	}
	expectAll := func(when string) error {
		for i, name := range names {
			what := fmt.Sprintf("checkpoint %q beside names nearly alike, %s", name, when)
			if at[name] >= 0 {
				if err := expectCheckpoint(ctx, what, log.stores[i%2], log.at(name, at[name])); err != nil {
					return err
				}
				continue
			}
			if got, found, err := log.stores[i%2].LoadCheckpoint(ctx, name); err != nil || found {
				return unexpected(what, "not found, no error", fmt.Sprintf("%+v, found %t, error %v", got, found, err))
			}
		}
		return nil
	}
	if err := expectAll("when all were saved"); err != nil {
		return err
	}
	for i, name := range names {
		var err error
		switch i % 3 {
		case 0:
			at[name] = len(log.all) - 1 - i%3
			err = log.stores[1-i%2].SaveCheckpoint(ctx, log.at(name, at[name]))
		case 1:
			at[name] = -1
			err = log.stores[1-i%2].DeleteCheckpoint(ctx, name)
		}
		if err != nil {
			return fmt.Errorf("checkpoint %q: %w", name, err)
		}
	}
	return expectAll("when some were moved and some deleted")
}

// distinct drops what occurs twice.
func distinct(all []string) []string {
	var kept []string
	seen := make(map[string]bool)
	for _, text := range all {
		if !seen[text] {
			seen[text] = true
			kept = append(kept, text)
		}
	}
	return kept
}

// words are the 64-bit numbers at which signs, floats and halves go wrong.
func words() []uint64 {
	return []uint64{0, 1, 9, 10, 1<<31 - 1, 1 << 31, 1<<32 - 1, 1 << 32, 1<<32 + 1, 1<<53 - 1, 1<<53 + 1, 1e18, 1e19, 1<<63 - 1, 1 << 63, 1<<63 + 1, math.MaxUint64 - 1, math.MaxUint64}
}

// everyPosition goes to the backend, for the Store lets no checkpoint pass that
// lies ahead of its head.
func everyPosition(ctx context.Context, env *Env) error {
	if _, err := env.Fill(ctx, env.Stream("Order"), 2, 2); err != nil {
		return err
	}
	info, err := env.Store.Info(ctx)
	if err != nil {
		return err
	}
	second, err := env.Fixture.OpenAgain(ctx)
	if err != nil {
		return fmt.Errorf("the fixture's %s: %w", NeedsOpenAgain, err)
	}
	env.OnClose(second.Close)
	backends := []eventstore.Backend{env.Fixture.Backend, second}
	name, saves := "every", 0
	var farthest eventstore.Checkpoint
	save := func(position eventstore.Position) error {
		saves++
		checkpoint := eventstore.Checkpoint{Name: name, Store: info.ID, Place: eventstore.Place{Position: position, Stream: "Order-1", Version: uint64(saves), ID: env.ID()}}
		if err := saveRaw(ctx, backends[saves%2], checkpoint); err != nil {
			return fmt.Errorf("save a checkpoint at %s: %w", position, err)
		}
		if saves == 1 || farthest.Place.Position.Before(position) {
			farthest = checkpoint
		}
		got, found, err := loadRaw(ctx, backends[saves/2%2], name)
		if err != nil || !found || got != farthest {
			return unexpected(fmt.Sprintf("checkpoint after a save at %s", position), fmt.Sprintf("the farthest, %+v", farthest), fmt.Sprintf("%+v, found %t, error %v", got, found, err))
		}
		return nil
	}
	for _, hi := range words() {
		for _, lo := range words() {
			if err := save(eventstore.NewPosition(hi, lo)); err != nil {
				return err
			}
		}
		for _, behind := range []eventstore.Position{{}, farthest.Place.Position, eventstore.NewPosition(0, math.MaxUint64), eventstore.NewPosition(hi, 10), eventstore.NewPosition(hi/2, 1<<63)} {
			if farthest.Place.Position.Before(behind) {
				continue
			}
			if err := save(behind); err != nil {
				return err
			}
		}
	}
	return otherStores(ctx, env)
}

// otherStores keeps every identity of a store, for it is what tells that a
// checkpoint is foreign.
func otherStores(ctx context.Context, env *Env) error {
	for i, id := range []uuid.UUID{{15: 1}, {0: 1}, {0: 0xff, 15: 0xff}, uuid.Max, env.ID()} {
		checkpoint := eventstore.Checkpoint{Name: fmt.Sprintf("of-store-%d", i), Store: id, Place: eventstore.Place{Position: eventstore.NewPosition(1, uint64(i)), Stream: "Order-1", Version: 1, ID: id}}
		if err := saveRaw(ctx, env.Fixture.Backend, checkpoint); err != nil {
			return err
		}
		got, found, err := loadRaw(ctx, env.Fixture.Backend, checkpoint.Name)
		if err != nil || !found || got != checkpoint {
			return unexpected("checkpoint of a store", fmt.Sprintf("%+v", checkpoint), fmt.Sprintf("%+v, found %t, error %v", got, found, err))
		}
	}
	return nil
}

// keptSnapshots are what a check has saved.
type keptSnapshots struct {
	stores [2]*eventstore.Store
	all    []eventstore.Snapshot
}

// save saves a snapshot whose data nobody else has.
func (k *keptSnapshots) save(ctx context.Context, stream, kind string) error {
	n := len(k.all)
	snapshot := eventstore.Snapshot{Stream: stream, Type: kind, Version: 1, SchemaVersion: 1 + n, Data: fmt.Appendf(nil, "%d: %q %q", n, stream, kind)}
	k.all = append(k.all, snapshot)
	return k.stores[n%2].SaveSnapshot(ctx, snapshot)
}

// expect compares all, deletes every other one, and compares again.
func (k *keptSnapshots) expect(ctx context.Context) error {
	for i, snapshot := range k.all {
		if err := expectSnapshot(ctx, "snapshot beside keys nearly alike", k.stores[1-i%2], snapshot); err != nil {
			return err
		}
	}
	for i, snapshot := range k.all {
		if i%2 == 0 {
			if err := k.stores[i/2%2].DeleteSnapshot(ctx, snapshot.Stream, snapshot.Type); err != nil {
				return err
			}
		}
	}
	for i, snapshot := range k.all {
		store := k.stores[i/2%2]
		if i%2 == 1 {
			if err := expectSnapshot(ctx, "snapshot beside deleted ones with keys nearly alike", store, snapshot); err != nil {
				return err
			}
			continue
		}
		if got, found, err := store.LoadSnapshot(ctx, snapshot.Stream, snapshot.Type); err != nil || found {
			return unexpected(fmt.Sprintf("snapshot %q of %q, which was deleted", snapshot.Type, snapshot.Stream), "not found, no error", fmt.Sprintf("%s, found %t, error %v", describeSnapshot(got), found, err))
		}
	}
	return nil
}

func keysNearlyAlike(ctx context.Context, env *Env) error {
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	kept := &keptSnapshots{stores: stores}
	stream := env.Stream("Order")
	if _, err := env.Fill(ctx, stream, 1, 1); err != nil {
		return err
	}
	for _, kind := range distinct(nearlyAlike()) {
		if err := kept.save(ctx, stream, kind); err != nil {
			return fmt.Errorf("snapshot %q: %w", kind, err)
		}
	}
	for _, name := range env.odd(distinct(nearlyAlike())...) {
		if _, err := env.Store.Append(ctx, name, eventstore.NoStream(), env.Event("Happened")); err != nil {
			return err
		}
		if err := kept.save(ctx, name, "State"); err != nil {
			return fmt.Errorf("snapshot of stream %q: %w", name, err)
		}
	}
	return kept.expect(ctx)
}

func keysOfTwoNames(ctx context.Context, env *Env) error {
	stores, err := twoHandles(ctx, env)
	if err != nil {
		return err
	}
	kept := &keptSnapshots{stores: stores}
	seen := make(map[string]bool)
	save := func(stream, kind string) error {
		stream = env.odd(stream)[0]
		if !seen[stream] {
			seen[stream] = true
			if _, err := env.Store.Append(ctx, stream, eventstore.NoStream(), env.Event("Happened")); err != nil {
				return err
			}
		}
		return kept.save(ctx, stream, kind)
	}
	for _, joint := range []string{"", "-", "--", "/", "//", ":", "::", "|", ".", "_", " ", "#", ",", ";", "@", "+", "%", "\\", "=", "~", "$", "?", "&", "'", "\"", "snapshot", "-snapshot-", "$snapshot-", "\u00b7", "\u2044"} {
		for _, pair := range [][2]string{{"a" + joint + "b", "c"}, {"a", "b" + joint + "c"}, {"a" + joint, "b" + joint + "c"}, {"a" + joint + "b" + joint, "c"}} {
			if pair[1][0] == '$' {
				continue // reserved
			}
			if joint == "" && pair[0] == "a" {
				pair[1] = "bc"
			}
			duplicate := false
			for _, other := range kept.all {
				duplicate = duplicate || other.Stream == env.odd(pair[0])[0] && other.Type == pair[1]
			}
			if duplicate {
				continue
			}
			if err := save(pair[0], pair[1]); err != nil {
				return fmt.Errorf("snapshot %q of stream %q: %w", pair[1], pair[0], err)
			}
		}
	}
	return kept.expect(ctx)
}

// everyVersion goes to the backend, for the Store lets no snapshot pass that is
// ahead of its stream.
func everyVersion(ctx context.Context, env *Env) error {
	stream := env.Stream("Order")
	if _, err := env.Fill(ctx, stream, 1, 1); err != nil {
		return err
	}
	second, err := env.Fixture.OpenAgain(ctx)
	if err != nil {
		return fmt.Errorf("the fixture's %s: %w", NeedsOpenAgain, err)
	}
	env.OnClose(second.Close)
	backends := []eventstore.Backend{env.Fixture.Backend, second}
	var highest eventstore.Snapshot
	for i, version := range words() {
		if version == 0 || version > math.MaxInt64 {
			continue // no stream is there
		}
		for _, v := range []uint64{version, version - 1} {
			snapshot := eventstore.Snapshot{Stream: stream, Type: "State", Version: max(v, 1), SchemaVersion: int(min(version, math.MaxInt)), Data: fmt.Appendf(nil, "version %d", v)}
			if err := backends[i%2].Records().Snapshots.Save(ctx, eventstore.SaveSnapshotRequest{Snapshot: snapshot}); err != nil {
				return fmt.Errorf("save a snapshot at version %d: %w", v, err)
			}
			if snapshot.Version >= highest.Version {
				highest = snapshot
			}
			// Past the Store, which uses no snapshot that is ahead of its stream.
			got, err := backends[i/2%2].Records().Snapshots.Load(ctx, eventstore.LoadSnapshotRequest{Stream: stream, Type: "State"})
			if err != nil || !got.Found || got.Snapshot.Version != highest.Version || got.Snapshot.SchemaVersion != highest.SchemaVersion || !bytes.Equal(got.Snapshot.Data, highest.Data) {
				return unexpected(fmt.Sprintf("snapshot after a save at version %d", v), fmt.Sprintf("%+v", highest), fmt.Sprintf("%+v, error %v", got, err))
			}
		}
	}
	return nil
}
