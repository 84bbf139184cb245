package conformance

func idempotencyChecks() []Check { return nil }
