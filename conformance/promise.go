package conformance

// Promise is one of the contract's promises.
type Promise struct {
	// Number is the contract's, 1 to 24.
	Number int
	// Title is short enough for a table.
	Title string
}

// Promises returns the contract's promises in their order.
func Promises() []Promise {
	titles := [...]string{
		"An append is atomic and contiguous",
		"Expected versions are checked atomically with the write",
		"Of concurrent appends with one expectation, one wins",
		"No spurious conflicts",
		"Appending again is idempotent by event ID",
		"A reused event ID is refused",
		"What is acknowledged is durable",
		"A definite error means that nothing was written",
		"Bytes out are bytes in",
		"Several streams in one atomic append",
		"Versions run 1, 2, 3 … and never change",
		"One global order that agrees with versions",
		"No event arrives late",
		"Read your writes, from every handle",
		"ReadAll is the union of all streams, filtered exactly",
		"Subscriptions deliver every event once, in order",
		"Wake-ups are only hints",
		"Checkpoints never pass an unhandled event",
		"A bad handler harms nobody else",
		"Cancellation and closing are prompt and leave nothing behind",
		"What is missing is declared and refused",
		"Bad input is refused alike, before any I/O",
		"A sealed store takes no more appends, exactly",
		"One owner at a time handles a subscription's events",
	}
	promises := make([]Promise, len(titles))
	for i, title := range titles {
		promises[i] = Promise{Number: i + 1, Title: title}
	}
	return promises
}
