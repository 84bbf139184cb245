package eventstore

// Limits bounds what one append may carry. Sizes are in bytes; see [Event.Size].
type Limits struct {
	// MaxAppendEvents is the most events in one append.
	MaxAppendEvents int
	// MaxAppendBytes is the largest sum of the sizes of an append's events.
	MaxAppendBytes int
	// MaxEventBytes is the largest size of one event, and of a snapshot's data.
	MaxEventBytes int
	// MaxStreamBytes is the longest stream ID.
	MaxStreamBytes int
	// MaxTypeBytes is the longest event type.
	MaxTypeBytes int
}

// PortableLimits are every Store's defaults. They hold on all backends that
// Switchyard knows, so what works on the embedded one works after a swap: an
// append fits EventStoreDB's 1 MiB with its overhead, an event fits DynamoDB's
// 400 KB item. [Options].BackendLimits lifts them.
func PortableLimits() Limits {
	return Limits{
		MaxAppendEvents: 64,
		MaxAppendBytes:  896 << 10,
		MaxEventBytes:   256 << 10,
		MaxStreamBytes:  255,
		MaxTypeBytes:    255,
	}
}
