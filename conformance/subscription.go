package conformance

func subscriptionChecks() []Check { return nil }
