package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/switchyard-dev/switchyard/backends/esdb/esdbtest"
)

func (a *app) esdbtestCommand() *cobra.Command {
	var listen string
	cmd := &cobra.Command{
		Use:   "esdbtest",
		Short: "Serve a double of EventStoreDB until interrupted",
		Long: `Serve a double of EventStoreDB: an in-memory server that speaks its protocol,
for trying things out and for tests where the real one is not at hand. Nothing
is kept when it ends. Its URL is printed when it is ready.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			srv, err := esdbtest.Start(&esdbtest.Options{Address: listen})
			if err != nil {
				return fmt.Errorf("serve the double: %w", err)
			}
			defer srv.Stop()
			if err := a.printf("%s\n", srv.URL()); err != nil {
				return err
			}
			<-cmd.Context().Done()
			return nil
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:2113", "the address to listen on, host:port")
	return cmd
}
