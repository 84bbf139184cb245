package decider

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"reflect"
	"time"

	"github.com/switchyard-dev/switchyard/codec"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// snapshotPatience bounds how long a decision waits for a snapshot to be loaded or saved.
const snapshotPatience = 500 * time.Millisecond

// Snapshots says how states are kept in the store. A snapshot is a cache: where one
// cannot be used the stream is folded from its start. It is saved after an append, in
// the caller's time; a failure is logged and never returned. Loading and saving take at
// most 500 ms each, so a table of snapshots that is away costs that.
//
// A snapshot holds no event's ID. After a store was restored from a backup that lies
// before its snapshots, delete them or raise Version: one that is ahead of its stream is
// not used, but a stream that has grown past it again is another than the one it is of.
type Snapshots struct {
	// Type names the state, such as "Order": 1–255 bytes, by the rules for the type of
	// an event. Two Deciders with different states need two names.
	Type string
	// Version is that of the state's schema; 0 means 1. Raise it when S or evolve
	// change: snapshots of other versions are not used.
	Version int
	// Every is how many events lie between one snapshot and the next; at least 1.
	Every int
	// Encoding turns states into bytes and back; nil means [codec.JSON]. A state that it
	// does not give back as it was, as [reflect.DeepEqual] has it, is not kept, and the
	// Logger hears of it: decisions on what is left of it would be wrong. So it is with
	// fields that are not exported, in JSON.
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
	if err := checkType(store, filled.Type); err != nil {
		return nil, err
	}
	filled.Version = cmp.Or(filled.Version, 1)
	if filled.Encoding == nil {
		filled.Encoding = codec.JSON()
	}
	return &filled, nil
}

// checkType holds the name of a state to the store's rules for names of types: its length,
// its characters and what is reserved. They are those for an event's type, except for what
// a backend's pattern says of events alone: there the store says it, when it is asked.
func checkType(store *eventstore.Store, name string) error {
	if limits := store.Limits(); limits.StreamPattern != "" || limits.TypePattern != "" {
		return nil
	}
	err := store.CheckAppend(eventstore.StreamAppend{
		Stream: "snapshot", Expected: eventstore.Any(), Events: []eventstore.Event{{Type: name, Data: []byte("{}")}},
	})
	var reason *eventstore.InvalidError
	if !errors.As(err, &reason) {
		return nil
	}
	return invalid("option Snapshots.Type", "%s", reason.Reason)
}

// loadSnapshot returns the state to begin with and its version; zeros where no snapshot
// is of use.
func (d *Decider[S, E]) loadSnapshot(ctx context.Context, stream string) (S, uint64) {
	ctx, cancel := context.WithTimeout(ctx, snapshotPatience)
	defer cancel()
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

// snapshotDue tells whether an append reached or passed a multiple of Every: so of all
// processes one saves it.
func (d *Decider[S, E]) snapshotDue(before, version uint64) bool {
	return d.snapshots != nil && before/uint64(d.snapshots.Every) != version/uint64(d.snapshots.Every)
}

// saveSnapshot keeps a state.
func (d *Decider[S, E]) saveSnapshot(ctx context.Context, stream string, state S, version uint64) {
	ctx, cancel := context.WithTimeout(ctx, snapshotPatience)
	defer cancel()
	data, err := d.snapshotOf(state)
	if err == nil {
		err = d.store.SaveSnapshot(ctx, eventstore.Snapshot{
			Stream: stream, Type: d.snapshots.Type, Version: version, SchemaVersion: d.snapshots.Version, Data: data,
		})
	}
	if err != nil {
		d.logger.WarnContext(ctx, "snapshot is not kept", "stream", stream, "type", d.snapshots.Type, "version", version, "error", err)
	}
}

var errOtherState = errors.New("its encoding gives back another state: it leaves something out, such as fields that are not exported, or does not keep its form")

// snapshotOf encodes a state, and makes sure that it can be read as it was.
func (d *Decider[S, E]) snapshotOf(state S) ([]byte, error) {
	data, err := d.snapshots.Encoding.Marshal(state)
	if err != nil {
		return nil, err
	}
	var back S
	if err := d.snapshots.Encoding.Unmarshal(data, &back); err != nil {
		return nil, err
	}
	if !reflect.DeepEqual(state, back) {
		return nil, errOtherState
	}
	return data, nil
}
