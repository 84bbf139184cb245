// Package eventtest helps to test applications.
//
// A decision is tested with the events before it and those that it decides:
//
//	eventtest.For(t, orders).Given(Placed{Cents: 500}).When(Pay(500)).Then(Paid{Cents: 500})
//
// which also stores and reads them, and so finds a codec that loses something and code
// that changes a state which others share. [Golden] holds the names of stored events and
// of their fields, and the JSON kinds of these, against a file. [NewStore] is an empty store,
// and [Load] fills one with events that `switchyard export` wrote.
//
// Importing the package adds the flag -update-events to the test.
package eventtest
