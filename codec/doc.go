// Package codec turns an application's Go types into stored events and back.
//
// The application's types know nothing of the store. A [Codec] lists them once, each
// with its name there:
//
//	events := codec.Must(codec.New[Event](nil,
//		codec.Of[Placed]("OrderPlaced", codec.Up(func(v placedV1) (Placed, error) { … })),
//		codec.Of[Paid]("OrderPaid"),
//		codec.Of[Cancelled]("OrderCancelled", codec.Was("OrderDropped")),
//	))
//
// Names are never made from Go's: renaming a Go type changes nothing that is stored.
// An event that the codec does not know is an error, in decisions above all: code that
// does not know OrderCancelled must not ship. Deploy readers before writers.
package codec
