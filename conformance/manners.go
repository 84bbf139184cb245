package conformance

func mannersChecks() []Check { return nil }
