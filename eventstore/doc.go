// Package eventstore is Switchyard's contract: what an application may rely on
// whatever database holds its events, and what an adapter owes in return.
//
// # For applications
//
// A [Store] appends, reads and subscribes. Events live in streams; a stream's
// events are numbered 1, 2, 3 … (the version), and all events of a store have
// one total order (the [Position]).
//
//	store, err := eventstore.New(backend, nil)
//	res, err := store.Append(ctx, "order-42", eventstore.Exactly(3), event)
//	for ev, err := range store.ReadStream(ctx, "order-42", eventstore.ReadOptions{After: 3}) { … }
//	for ev, err := range store.ReadAll(ctx, eventstore.ReadAllOptions{After: position}) { … }
//	for msg, err := range store.Subscribe(ctx, eventstore.SubscribeOptions{After: position}) { … }
//	err = store.Run(ctx, eventstore.Subscription{Name: "billing", Handler: bill})
//
// Reads and subscriptions are lazy iterators for one use. An error is the last
// pair they yield, leaving the loop early frees everything, and no transaction
// or cursor is held open while the loop's body works. Resume points are
// exclusive everywhere, so a saved version or position is passed back as it is.
//
// A durable subscription ([Store.Run]) has a checkpoint and a lease: one process at
// a time handles its events, at least once each, in order. A [Store.Seal] ends a
// store's growth for good or for a while, so that it can be moved without losing
// what is written meanwhile.
//
// # For adapters
//
// A [Backend] is the small interface that an adapter implements. The Store does
// once what every backend needs (validation, limits, identifiers, defensive
// copies, retries, durable subscriptions); the package eventstore/adapter holds
// the logic that adapters share, and the package conformance holds a backend to
// the contract.
package eventstore
