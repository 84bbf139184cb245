package main

import "github.com/spf13/cobra"

func (a *app) initCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "init URL",
		Short: "Create a store, or say that it exists",
		Long: `Create what a store needs (a file, tables, an identity) where it does not exist yet,
and print the store's identity. Doing it again changes nothing.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), args[0], func(store *handle) error {
				info, err := store.Info(cmd.Context())
				if err != nil {
					return err
				}
				if a.json() {
					return a.printJSON(map[string]any{"store": info.ID, "backend": store.Capabilities().Backend, "headPosition": info.Head.Position})
				}
				return a.printf("%s is ready: store %s (%s), last event at position %s\n", store.name, info.ID, store.Capabilities().Backend, info.Head.Position)
			})
		},
	}
}
