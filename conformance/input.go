package conformance

func inputChecks() []Check { return nil }
