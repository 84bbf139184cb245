// Command incompatible links KurrentDB's own client and the esdb adapter.
package main

import (
	"fmt"
	"os"

	"github.com/kurrent-io/KurrentDB-Client-Go/kurrentdb"

	"github.com/switchyard-dev/switchyard/backends/esdb"
)

func main() {
	config, err := kurrentdb.ParseConnectionString("kurrentdb://localhost:2113?tls=false")
	fmt.Fprintln(os.Stdout, "both are here:", esdb.Scheme().Names[0], config.Address, err)
}
