package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/move"
)

// commandGroup is a command that only has others under it.
func commandGroup(use, short, long string, commands ...*cobra.Command) *cobra.Command {
	group := &cobra.Command{
		Use: use, Short: short, Long: long,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("%s has no command %q; see switchyard %s --help", use, args[0], use)
			}
			return cmd.Help()
		},
	}
	group.AddCommand(commands...)
	return group
}

func (a *app) checkpointCommand() *cobra.Command {
	return commandGroup("checkpoint", "Look at subscriptions' checkpoints and leases, reset and delete them",
		`Look at the checkpoints of durable subscriptions that a store keeps, with who owns
them and how far they are behind; reset and delete them. One that an application keeps in a
database of its own is not here.

A lag counts all events after the checkpoint, up to 10,000, also those that the
subscription's filter passes over. It is had by reading them.`,
		a.checkpointListCommand(), a.checkpointShowCommand(), a.checkpointResetCommand(), a.checkpointDeleteCommand())
}

// checkpointReport is a checkpoint as it is printed.
type checkpointReport struct {
	Name     string              `json:"name"`
	Position eventstore.Position `json:"position"`
	Stream   string              `json:"stream,omitempty"`
	Version  uint64              `json:"version,omitempty"`
	EventID  uuid.UUID           `json:"eventId,omitzero"`
	Epoch    uint64              `json:"epoch"`
	// Fault is why the subscription would not go on from here.
	Fault string `json:"fault,omitempty"`
	*lag
}

func reportOf(c eventstore.Checkpoint) checkpointReport {
	return checkpointReport{
		Name: c.Name, Position: c.Place.Position, Stream: c.Place.Stream, Version: c.Place.Version, EventID: c.Place.ID, Epoch: c.Epoch,
	}
}

func (r checkpointReport) behind() string {
	if r.lag == nil {
		return r.Fault
	}
	return r.String()
}

// ownCheckpoint tells whether a checkpoint is no subscription's, but kept by Switchyard
// for itself: by copy, by move, and for the retries of parked events.
func ownCheckpoint(name string) bool {
	return move.OwnCheckpoint(name) || move.ForRetries(name)
}

// checkpoints lists checkpoints with their lags.
func checkpoints(ctx context.Context, store *handle, all bool) ([]checkpointReport, error) {
	var stored []eventstore.Checkpoint
	for checkpoint, err := range store.ListCheckpoints(ctx) {
		if err != nil {
			return nil, err
		}
		if all || !ownCheckpoint(checkpoint.Name) {
			stored = append(stored, checkpoint)
		}
	}
	// After them: a subscription that goes on meanwhile is not ahead of the last event.
	info, err := store.Info(ctx)
	if err != nil {
		return nil, err
	}
	reports := []checkpointReport{}
	var measured []int
	var after []eventstore.Position
	for _, checkpoint := range stored {
		report := reportOf(checkpoint)
		switch {
		case checkpoint.Store != info.ID:
			report.Fault = "it is of store " + checkpoint.Store.String()
		case info.Head.Position.Before(checkpoint.Place.Position):
			report.Fault = "it is ahead of the last event, at " + info.Head.Position.String()
		default:
			measured, after = append(measured, len(reports)), append(after, checkpoint.Place.Position)
		}
		reports = append(reports, report)
	}
	found, err := lags(ctx, store.Store, after)
	for i := range found {
		reports[measured[i]].lag = &found[i]
	}
	return reports, err
}

func (a *app) checkpointListCommand() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:     "list URL",
		Short:   "List the checkpoints that a store keeps, with their lags",
		Long:    `List the checkpoints that a store keeps, in the order of their names, with their lags.`,
		Example: `  switchyard checkpoint list @orders`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.reading(cmd.Context(), args[0], func(store *handle) error {
				reports, err := checkpoints(cmd.Context(), store, all)
				if err != nil {
					return err
				}
				return a.printCheckpoints(reports)
			})
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "also those that copy, move and retries of parked events keep for themselves")
	return cmd
}

func (a *app) printCheckpoints(reports []checkpointReport) error {
	if a.json() {
		for _, report := range reports {
			if err := a.printJSON(report); err != nil {
				return err
			}
		}
		return nil
	}
	if len(reports) == 0 {
		return a.printf("no checkpoints\n")
	}
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "checkpoint\tposition\tbehind\n")
	for _, report := range reports {
		fmt.Fprintf(w, "%s\t%s\t%s\n", safe(report.Name), report.Position, report.behind())
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}

// shownCheckpoint is one checkpoint with the event at its place and its lease.
type shownCheckpoint struct {
	checkpointReport
	Type       string     `json:"type,omitempty"`
	RecordedAt *time.Time `json:"recordedAt,omitempty"`
	Lease      leaseState `json:"lease"`
}

// leaseState is a lease as it is printed.
type leaseState struct {
	Owner    string  `json:"owner,omitempty"`
	Epoch    uint64  `json:"epoch"`
	Renewals uint64  `json:"renewals"`
	TTL      float64 `json:"ttlSeconds"`
}

func (l leaseState) String() string {
	if l.Owner == "" {
		return "free"
	}
	ttl := time.Duration(l.TTL * float64(time.Second))
	age := (time.Duration(l.Renewals) * ttl / 3).Round(time.Second) // it is renewed every third of it
	return fmt.Sprintf("held by %s, renewed %s times, for about %s; it ends %s after the last renewal", safe(l.Owner), grouped(int(l.Renewals)), age, ttl)
}

// leaseOf looks at a lease, by a swap that cannot succeed: nobody's renewal count
// is as high.
func leaseOf(ctx context.Context, store *handle, name string) (leaseState, error) {
	checkpoints := store.backend.Records().Checkpoints
	if checkpoints == nil {
		return leaseState{}, nil // whoever calls has met ErrUnsupported
	}
	nobodys := eventstore.Lease{Name: name, Epoch: 1, Owner: "looked at by switchyard checkpoint", Renewals: math.MaxInt64}
	result, err := checkpoints.SwapLease(ctx, eventstore.SwapLeaseRequest{Name: name, Old: nobodys, New: nobodys})
	if err != nil {
		return leaseState{}, fmt.Errorf("look at the lease: %w", err)
	}
	lease := result.Lease
	return leaseState{Owner: lease.Owner, Epoch: lease.Epoch, Renewals: lease.Renewals, TTL: lease.TTL.Seconds()}, nil
}

// find returns a checkpoint and its lease. A name that the store knows nothing of is
// an error that names those it knows. unfit is why the checkpoint cannot be gone on from.
func find(ctx context.Context, store *handle, name string) (checkpoint eventstore.Checkpoint, lease leaseState, found bool, unfit, err error) {
	checkpoint, found, err = store.LoadCheckpoint(ctx, name)
	if errors.Is(err, eventstore.ErrForeignCheckpoint) || errors.Is(err, eventstore.ErrCheckpointAhead) {
		unfit, err = err, nil
	}
	if err != nil {
		return checkpoint, lease, found, nil, err
	}
	lease, err = leaseOf(ctx, store, name)
	return checkpoint, lease, found, unfit, err
}

func unknownCheckpoint(ctx context.Context, store *handle, name, remedy string) error {
	var known []string
	for checkpoint, err := range store.ListCheckpoints(ctx) {
		if err != nil {
			return err
		}
		if !ownCheckpoint(checkpoint.Name) {
			known = append(known, safe(checkpoint.Name))
		}
	}
	names := "none"
	if len(known) > 0 {
		names = strings.Join(known, ", ")
	}
	return usagef("%s keeps no checkpoint %s%s; it keeps: %s", store.name, safe(name), remedy, names)
}

func (a *app) checkpointShowCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "show URL NAME",
		Short: "Show a checkpoint, its event, its lease and its lag",
		Long: `Show where a checkpoint is, the event there, who holds the lease, and how far it is
behind. How long a lease has been held is reckoned from its renewals. Whether its owner
lives shows when it is looked at again: the renewals go on.`,
		Example: `  switchyard checkpoint show @orders billing`,
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.reading(cmd.Context(), args[0], func(store *handle) error {
				shown, err := show(cmd.Context(), store, args[1])
				if err != nil {
					return err
				}
				if a.json() {
					return a.printJSON(shown)
				}
				return a.printShown(shown)
			})
		},
	}
}

func show(ctx context.Context, store *handle, name string) (shownCheckpoint, error) {
	checkpoint, lease, found, unfit, err := find(ctx, store, name)
	switch {
	case err != nil:
		return shownCheckpoint{}, err
	case !found && lease.Epoch == 0:
		return shownCheckpoint{}, unknownCheckpoint(ctx, store, name, "")
	}
	shown := shownCheckpoint{checkpointReport: reportOf(checkpoint), Lease: lease}
	if unfit != nil {
		shown.Fault = unfit.Error()
		return shown, nil
	}
	behind, err := lags(ctx, store.Store, []eventstore.Position{checkpoint.Place.Position})
	if err != nil {
		return shown, err
	}
	shown.lag = &behind[0]
	if place := checkpoint.Place; place.Named() {
		for event, err := range store.ReadStream(ctx, place.Stream, eventstore.ReadOptions{After: place.Version - 1, Limit: 1}) {
			if err != nil {
				return shown, err
			}
			if event.Place() == place { // a stream's owner may have cut it off
				shown.Type, shown.RecordedAt = event.Type, &event.RecordedAt
			}
		}
	}
	return shown, nil
}

func (a *app) printShown(s shownCheckpoint) error {
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "checkpoint\t%s\n", safe(s.Name))
	fmt.Fprintf(w, "position\t%s\n", s.Position)
	if s.Stream != "" {
		fmt.Fprintf(w, "event\t%s\tversion %d of stream %s\n", s.EventID, s.Version, safe(s.Stream))
	}
	if s.RecordedAt != nil {
		fmt.Fprintf(w, "recorded\t%s\ttype %s\n", s.RecordedAt.Format(time.RFC3339), safe(s.Type))
	}
	fmt.Fprintf(w, "lease\tepoch %d\t%s\n", s.Lease.Epoch, s.Lease)
	fmt.Fprintf(w, "behind\t%s\n", safeText(s.behind()))
	if err := w.Flush(); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}
