package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/move"
)

func (a *app) sealCommand() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "seal URL --reason TEXT",
		Short: "Refuse every append to a store from now on",
		Long: `Refuse every append to a store from now on, of every process, until 'switchyard
unseal'. What was acknowledged lies before the seal, so a copy that has come to the
position that is printed has everything. Reading, following and copying go on.

Sealing a sealed store changes nothing; the first reason is kept.`,
		Example: `  switchyard seal sqlite:orders.db --reason 'moved to PostgreSQL on 1 December'`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if reason == "" {
				return usagef("say why with --reason; whoever appends is told")
			}
			return a.reading(cmd.Context(), args[0], func(store *handle) error {
				info, err := store.Seal(cmd.Context(), reason)
				if err != nil {
					return err
				}
				return a.printSeal(store, info)
			})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "`text` that whoever appends is told; no secrets")
	return cmd
}

func (a *app) unsealCommand() *cobra.Command {
	var althoughMoved bool
	cmd := &cobra.Command{
		Use:   "unseal URL",
		Short: "Let a sealed store take appends again",
		Long: `Let a sealed store take appends again. One that is not sealed stays as it is.

A store that was moved to another one is opened only with --although-moved, for what is
appended to both is brought together by nobody. One whose move has not ended is opened, and
the move is given up or run again later.`,
		Example: `  switchyard unseal sqlite:orders.db`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.reading(cmd.Context(), args[0], func(store *handle) error {
				side := move.Side{Store: store.Store, Checkpoints: store.backend.Records().Checkpoints, Name: store.name}
				info, err := move.Reopen(cmd.Context(), side, althoughMoved, func(warning string) {
					_, _ = fmt.Fprintln(a.err, "switchyard: "+safeText(warning))
				})
				if err != nil {
					return err
				}
				return a.printSeal(store, info)
			})
		},
	}
	cmd.Flags().BoolVar(&althoughMoved, "although-moved", false, "also a store that was moved: nobody writes to the other one, you have seen to it")
	return cmd
}

func (a *app) printSeal(store *handle, info eventstore.Info) error {
	switch {
	case a.json():
		return a.printJSON(map[string]any{"store": info.ID, "sealed": info.Sealed, "reason": info.SealReason, "headPosition": info.Head.Position})
	case info.Sealed:
		return a.printf("%s is sealed after position %s: %s\n", store.name, info.Head.Position, safe(info.SealReason))
	}
	return a.printf("%s takes appends; its last event is at position %s\n", store.name, info.Head.Position)
}
