package conformance

import (
	"context"
)

func capabilityChecks() []Check {
	return []Check{
		{
			Name: "capability/declared", Promise: 21,
			Sentence: "Every optional guarantee is declared, Yes() or No(why), and every limit is a number.",
			Run: func(_ context.Context, env *Env) error {
				return env.Fixture.Backend.Capabilities().Validate()
			},
		},
		{
			Name: "capability/constant", Promise: 21,
			Sentence: "Capabilities are constant: the same after use and on every handle.",
			Needs:    NeedsOpenAgain,
			Run:      capabilitiesAreConstant,
		},
	}
}

func capabilitiesAreConstant(ctx context.Context, env *Env) error {
	if _, err := env.Fill(ctx, env.Stream("order"), 3, 1); err != nil {
		return err
	}
	if got := env.Fixture.Backend.Capabilities(); got != env.Caps {
		return unexpected("the capabilities after an append", env.Caps, got)
	}
	again, err := env.Again(ctx)
	if err != nil {
		return err
	}
	if got := again.Capabilities(); got != env.Caps {
		return unexpected("the capabilities of a second handle", env.Caps, got)
	}
	if err := env.Store.Close(); err != nil {
		return err
	}
	if got := env.Fixture.Backend.Capabilities(); got != env.Caps {
		return unexpected("the capabilities after Close", env.Caps, got)
	}
	return nil
}
