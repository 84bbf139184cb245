package dynamodbtest

import "time"

// DefaultAddress is a free port of the loopback interface.
const DefaultAddress = "127.0.0.1:0"

// Options changes how the double is started. The zero value, like a nil pointer,
// is a server without tables on a free local port that answers at once.
type Options struct {
	// Address to listen on, host:port. Empty means DefaultAddress.
	Address string

	// Now is the clock that tokens are forgotten by and that stamps tables. Nil
	// means time.Now.
	Now func() time.Time

	// Latency is how long each request takes. [Server.SetLatency] changes it.
	Latency time.Duration

	// TableDelay is how long a new table stays CREATING.
	TableDelay time.Duration
}

func (o *Options) withDefaults() Options {
	var out Options
	if o != nil {
		out = *o
	}
	if out.Address == "" {
		out.Address = DefaultAddress
	}
	if out.Now == nil {
		out.Now = time.Now
	}
	return out
}
