package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/switchyard-dev/switchyard/backends/dynamodb/dynamodbtest"
)

func (a *app) dynamodbtestCommand() *cobra.Command {
	var listen string
	var latency time.Duration
	cmd := &cobra.Command{
		Use:   "dynamodbtest",
		Short: "Serve a double of DynamoDB until interrupted",
		Long: `Serve a double of DynamoDB: an in-memory server that speaks its protocol, for
trying things out and for tests where the real one is not at hand. Nothing is
kept when it ends. Its endpoint is printed when it is ready; clients need a
region and credentials, any will do.`,
		Example: `  switchyard dynamodbtest &
  switchyard init 'dynamodb://eu-central-1/orders?endpoint=http://127.0.0.1:8000&create=1'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if latency < 0 {
				return usagef("--latency must not be negative")
			}
			srv, err := dynamodbtest.Start(&dynamodbtest.Options{Address: listen, Latency: latency})
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
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:8000", "the address to listen on, host:port")
	cmd.Flags().DurationVar(&latency, "latency", 0, "how long each request takes, such as 5ms")
	return cmd
}
