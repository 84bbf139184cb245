package marten

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/pgdriver"
)

// AppendMode is how the .NET application of the store appends: its setting
// EventAppendMode. The tables do not show it.
type AppendMode string

const (
	// Rich is EventAppendMode.Rich: numbers are reserved before the work of a
	// transaction, where nothing in the database shows them. Readers wait for the grace
	// at a hole in the order. It is the default, for to miss an event is worse.
	Rich AppendMode = "rich"
	// Quick is EventAppendMode.Quick and QuickWithServerTimestamps: numbers are taken in
	// the transaction that writes, so readers wait for exactly those that are under way.
	// Where one application of the store is Rich it must not be said.
	Quick AppendMode = "quick"
)

// EventType maps the name of an event type in Go to that in .NET. A type without a
// mapping keeps its name.
type EventType struct {
	// Name is the Go name, such as "OrderPlaced".
	Name string
	// Alias is Marten's name; empty means what Marten makes of Name: "order_placed".
	Alias string
	// DotNet is the .NET type as Marten writes it: "Shop.OrderPlaced, Shop". Empty is
	// written as an empty text, and Marten finds the type by its alias.
	DotNet string
}

// StreamType maps a category of streams to the alias of the .NET aggregate that new
// streams of it are given. It is for stores whose streams have text IDs; with UUIDs the
// alias is the category.
type StreamType struct{ Category, Alias string }

// Options configures a handle. The zero value, like nil, means the defaults.
type Options struct {
	// Schema is the schema of Marten's tables, its Events.DatabaseSchemaName; empty means
	// "public".
	Schema string
	// Tenant is the tenant whose events these are. It is required where the store is
	// conjoined (Marten's own for none is "*DEFAULT*"), and refused elsewhere.
	Tenant string
	// Append is how the store's .NET application appends; empty means Rich.
	Append AppendMode
	// Grace is how long a reader waits at a hole that nothing explains, in a Rich
	// store: longer than the longest time between the reservation of a number and its
	// insert. 0 means 5 s. With Quick there is none.
	Grace time.Duration
	// Own is the schema of checkpoints, leases, snapshots and the store's identity; empty
	// means "switchyard_marten". It must not be Marten's.
	Own string
	// NoMigration makes no schema of our own where there is none: the handle then keeps
	// no checkpoints and no snapshots.
	NoMigration bool
	// HideArchived leaves out archived streams in every read, as Marten does.
	HideArchived bool
	// AcceptUntagged lets a store with tag types (DCB) be written. Go writes no tags.
	AcceptUntagged bool
	// Types and StreamTypes map names.
	Types       []EventType
	StreamTypes []StreamType
	// Poll is the longest time a live subscription waits before it looks for events on
	// its own; 0 means 250 ms.
	Poll time.Duration
	// Logger is told of writers that hold readers up; nil means slog.Default().
	Logger *slog.Logger
}

const (
	defaultSchema = "public"
	defaultOwn    = "switchyard_marten"
	defaultGrace  = 5 * time.Second
	defaultPoll   = 250 * time.Millisecond
)

// withDefaults returns the options with their defaults, or says what is wrong with them.
func (o *Options) withDefaults() (Options, error) {
	var all Options
	if o != nil {
		all = *o
	}
	def := func(value *string, otherwise string) {
		if *value == "" {
			*value = otherwise
		}
	}
	def(&all.Schema, defaultSchema)
	def(&all.Own, defaultOwn)
	if all.Append == "" {
		all.Append = Rich
	}
	for field, name := range map[string]string{"option Schema": all.Schema, "option Own": all.Own} {
		if err := pgdriver.CheckSchema(name); err != nil {
			return all, fmt.Errorf("%s: %w", field, err)
		}
	}
	switch {
	case all.Own == all.Schema:
		return all, invalid("option Own", "%q is Marten's own schema; choose another one", all.Own)
	case all.Append != Rich && all.Append != Quick:
		return all, invalid("option Append", "%.40q is neither %s nor %s", all.Append, Quick, Rich)
	case all.Poll < 0:
		return all, invalid("option Poll", "%s is negative", all.Poll)
	case all.Grace < 0:
		return all, invalid("option Grace", "%s is negative", all.Grace)
	case all.Grace > 0 && all.Append == Quick:
		return all, invalid("option Grace", "it is for Rich stores; in a Quick one readers know whom they wait for")
	case !isText(all.Tenant):
		return all, invalid("option Tenant", "it holds a NUL character or invalid UTF-8")
	}
	if all.Grace == 0 && all.Append == Rich {
		all.Grace = defaultGrace
	}
	if all.Poll == 0 {
		all.Poll = defaultPoll
	}
	if all.Logger == nil {
		all.Logger = slog.Default()
	}
	return all, nil
}

// againstLate says what keeps events from arriving late.
func (o *Options) againstLate() string {
	if o.Append == Quick {
		return "the store was opened with append=quick, and most likely an application of it appends as EventAppendMode.Rich does: then open it with append=rich"
	}
	return fmt.Sprintf("open the store with a grace longer than %s", o.Grace)
}

func invalid(field, format string, args ...any) error {
	return &eventstore.InvalidError{Field: field, Reason: fmt.Sprintf(format, args...)}
}
