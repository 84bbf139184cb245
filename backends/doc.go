// Package backends opens stores by URL or by name from a config file. It is the
// one place that lists the backends which Switchyard ships.
//
//	store, err := backends.Open(ctx, "sqlite:orders.db")
//	store, err := backends.OpenConfig(ctx, "switchyard.yaml", "orders")
//
// A program that needs one backend only imports that backend's package and
// calls its Open; it then links nothing else.
package backends
