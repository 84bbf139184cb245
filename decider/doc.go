// Package decider makes decisions: it loads a stream, folds its events to a state, lets
// the application decide, and appends what was decided, again where somebody was faster.
//
// State and events are the application's own types, which know nothing of this package:
//
//	orders, err := decider.New(store, events, Order.evolve, nil)
//	res, err := orders.Transact(ctx, "order-42", func(o Order) ([]Event, error) { return o.pay(500) })
//
// A command with an ID counts once, however often it is sent and whoever crashes: its
// events get IDs that are made from it, and are found again in the stream itself. There
// is no table of handled commands, and nothing that expires:
//
//	res, err := orders.Do(ctx, decider.Command{Stream: "order-42", ID: key}, pay)
//
// [React] makes the same hold for what follows the log: the commands of a reaction have
// IDs made from what caused them, so a process manager is a Decider over a stream of its
// own that a reaction feeds. [Atomically] decides on several streams at once.
//
// States are shared: by the cache, by results, by decisions under way. Neither evolve nor
// decide nor a caller changes what a state points to.
//
// One weakness: on a state from a snapshot or the cache, a repetition that decides events
// again more than [eventstore.Capabilities].IdempotencyWindow events later is a new
// command, on a store that has such a window.
package decider
