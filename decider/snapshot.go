package decider

import (
	"cmp"
	"context"
	"log/slog"

	"github.com/switchyard-dev/switchyard/codec"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// Snapshots says how states are kept in the store. A snapshot is a cache: where one
// cannot be used the stream is folded from its start. It is saved after an append, in
// the caller's time; a failure is logged and never returned.
type Snapshots struct {
	// Type names the state, such as "Order": 1–255 bytes.
	Type string
	// Version is that of the state's schema; 0 means 1. Raise it when S or evolve
	// change: snapshots of other versions are not used.
	Version int
	// Every is how many events lie between one snapshot and the next; at least 1.
	Every int
	// Encoding turns states into bytes and back; nil means [codec.JSON]. What it leaves
	// out, such as fields that are not exported, the state has lost.
	Encoding codec.Encoding
}

// checked returns a copy with the defaults.
func (s *Snapshots) checked(store *eventstore.Store) (*Snapshots, error) {
	if s == nil {
		return nil, nil //nolint:nilnil // no snapshots, and no error
	}
	filled := *s
	capability := store.Capabilities().Snapshots
	switch {
	case filled.Type == "":
		return nil, invalid("option Snapshots.Type", "it is empty; name the state, such as \"Order\"")
	case filled.Every < 1:
		return nil, invalid("option Snapshots.Every", "%d; say after how many events, from 1", filled.Every)
	case filled.Version < 0:
		return nil, invalid("option Snapshots.Version", "%d is negative; count from 1", filled.Version)
	case !capability.Supported():
		return nil, &eventstore.UnsupportedError{Feature: "keeping snapshots", Reason: capability.Reason()}
	}
	filled.Version = cmp.Or(filled.Version, 1)
	if filled.Encoding == nil {
		filled.Encoding = codec.JSON()
	}
	return &filled, nil
}

// loadSnapshot returns the state to begin with and its version; zeros where no snapshot
// is of use.
func (d *Decider[S, E]) loadSnapshot(ctx context.Context, stream string) (S, uint64) {
	var none S
	unused := func(level slog.Level, why string, err error) (S, uint64) {
		d.logger.Log(ctx, level, "snapshot is not used", "stream", stream, "type", d.snapshots.Type, "reason", why, "error", err)
		return none, 0
	}
	snapshot, found, err := d.store.LoadSnapshot(ctx, stream, d.snapshots.Type)
	switch {
	case err != nil:
		return unused(slog.LevelWarn, "it cannot be had", err)
	case !found:
		return none, 0
	case snapshot.SchemaVersion != d.snapshots.Version:
		return unused(slog.LevelInfo, "it has another version", nil)
	}
	var state S
	if err := d.snapshots.Encoding.Unmarshal(snapshot.Data, &state); err != nil {
		return unused(slog.LevelWarn, "it cannot be read", err)
	}
	return state, snapshot.Version
}

// snapshotWhenDue keeps a state if the last append reached or passed a multiple of
// Every: so of all processes one does.
func (d *Decider[S, E]) snapshotWhenDue(ctx context.Context, stream string, state S, before, version uint64) {
	if d.snapshots == nil || before/uint64(d.snapshots.Every) == version/uint64(d.snapshots.Every) {
		return
	}
	data, err := d.snapshots.Encoding.Marshal(state)
	if err == nil {
		err = d.store.SaveSnapshot(ctx, eventstore.Snapshot{
			Stream: stream, Type: d.snapshots.Type, Version: version, SchemaVersion: d.snapshots.Version, Data: data,
		})
	}
	if err != nil {
		d.logger.WarnContext(ctx, "snapshot is not kept", "stream", stream, "type", d.snapshots.Type, "version", version, "error", err)
	}
}
