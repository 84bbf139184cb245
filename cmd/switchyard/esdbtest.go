package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/switchyard-dev/switchyard/backends/esdb/esdbtest"
)

func (a *app) esdbtestCommand() *cobra.Command {
	var options esdbtest.Options
	var authority string
	var users []string
	cmd := &cobra.Command{
		Use:   "esdbtest",
		Short: "Serve a double of EventStoreDB until interrupted",
		Long: `Serve a double of EventStoreDB: an in-memory server that speaks its protocol,
for trying things out and for tests where the real one is not at hand. Nothing
is kept when it ends. Its URL is printed when it is ready.

With --tls-ca it serves TLS and checks passwords: those of admin and ops are
"changeit", --user adds others. The URL that it prints is the administrator's and
names the file.`,
		Example: `  switchyard esdbtest &
  switchyard append 'esdb://127.0.0.1:2113?tls=false' order-1 --type OrderPlaced --data '{}'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			options.Secure = authority != ""
			if len(users) > 0 && !options.Secure {
				return usagef("--user needs --tls-ca: without TLS nobody has a name")
			}
			var err error
			if options.Users, err = parseUsers(users); err != nil {
				return err
			}
			srv, err := esdbtest.Start(&options)
			if err != nil {
				return fmt.Errorf("serve the double: %w", err)
			}
			defer srv.Stop()
			url := srv.URL()
			if options.Secure {
				if err := os.WriteFile(authority, srv.CertificatePEM(), 0o644); err != nil { //nolint:gosec // a certificate is for everybody
					return fmt.Errorf("write the authority's certificate: %w", err)
				}
				url = srv.VerifiedURL(authority)
			}
			if err := a.printf("%s\n", url); err != nil {
				return err
			}
			<-cmd.Context().Done()
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&options.Address, "listen", "127.0.0.1:2113", "the address to listen on, host:port")
	flags.StringVar(&authority, "tls-ca", "", "serve TLS, and write the certificate of its authority to this file")
	flags.StringArrayVar(&users, "user", nil, "a user beside admin and ops, NAME:PASSWORD or NAME:PASSWORD:GROUP,GROUP; may be repeated")
	flags.StringVar(&options.Version, "server-version", esdbtest.DefaultVersion, "the version to be")
	flags.IntVar(&options.MaxAppendSize, "max-append-size", esdbtest.DefaultMaxAppendSize, "the most bytes that an append may carry")
	flags.IntVar(&options.MaxMessageSize, "max-message-size", esdbtest.DefaultMaxMessageSize, "the most bytes that a message may have")
	return cmd
}

// parseUsers reads NAME:PASSWORD and NAME:PASSWORD:GROUP,GROUP. A password cannot
// hold a colon here.
func parseUsers(texts []string) ([]esdbtest.User, error) {
	var users []esdbtest.User
	for _, text := range texts {
		parts := strings.Split(text, ":")
		if len(parts) < 2 || len(parts) > 3 || parts[0] == "" {
			// The text holds a password, and is not shown.
			return nil, usagef("invalid --user: write NAME:PASSWORD or NAME:PASSWORD:GROUP,GROUP")
		}
		user := esdbtest.User{Name: parts[0], Password: parts[1]}
		if len(parts) == 3 {
			user.Groups = strings.Split(parts[2], ",")
		}
		users = append(users, user)
	}
	return users, nil
}
