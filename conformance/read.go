package conformance

func readChecks() []Check { return nil }
