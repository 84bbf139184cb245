package conformance

func expectationChecks() []Check { return nil }
