// Package backends opens stores by URL, or by name from a config file. It knows
// no backend itself: a program names those that it wants, and links no other.
//
//	set := backends.Set{memory.Scheme(), postgres.Scheme()}
//	store, err := set.Open(ctx, "postgres://app@db.example.com/shop", nil)
//	store, err := set.OpenConfig(ctx, "switchyard.yaml", "orders", nil)
//
// Package backends/all has the set of all that Switchyard ships. A program with a
// database connection of its own passes that to the backend's own Open instead.
package backends
