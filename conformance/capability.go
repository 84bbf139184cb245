package conformance

func capabilityChecks() []Check { return nil }
