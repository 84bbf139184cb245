package main

import (
	"net/url"

	"github.com/spf13/cobra"

	"github.com/switchyard-dev/switchyard/backends"
	"github.com/switchyard-dev/switchyard/backends/all"
	"github.com/switchyard-dev/switchyard/backends/dynamodb"
)

func (a *app) initCommand() *cobra.Command {
	var show bool
	cmd := &cobra.Command{
		Use:   "init URL",
		Short: "Create a store, or say that it exists",
		Long: `Create what a store needs (a file, tables, an identity) where it does not exist yet,
and print the store's identity. Doing it again changes nothing.

  --print   print what an operator needs to make it, and do nothing: for DynamoDB the
            commands and the template of the table, and the least rights.`,
		Example: `  switchyard init sqlite:orders.db
  switchyard init --print dynamodb://eu-central-1/orders`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if show {
				return a.printInit(args[0])
			}
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
	cmd.Flags().BoolVar(&show, "print", false, "print what an operator needs, and do nothing")
	return cmd
}

func (a *app) printInit(arg string) error {
	rawURL, _, err := a.url(arg)
	if err != nil {
		return err
	}
	return all.Set().Resolve(rawURL, func(scheme backends.Scheme, u *url.URL) error {
		if scheme.Names[0] != "dynamodb" {
			return usagef("there is nothing to print for %s: init makes what it needs", scheme.Names[0])
		}
		text, err := dynamodb.Setup(u)
		if err != nil {
			return err
		}
		return a.printf("%s", text)
	})
}
