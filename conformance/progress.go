package conformance

func progressChecks() []Check { return nil }
