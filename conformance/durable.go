package conformance

func durableChecks() []Check { return nil }
