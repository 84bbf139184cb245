package conformance

func concurrencyChecks() []Check { return nil }
