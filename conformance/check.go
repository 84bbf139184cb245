package conformance

import (
	"context"
	"math/rand/v2"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// Check is one executable sentence of the contract.
type Check struct {
	// Name is stable, such as "append/one-winner".
	Name string
	// Promise is the number of the contract's promise, 1 to 22.
	Promise int
	// Sentence is what the contract says; a failing check prints it.
	Sentence string
	// Core checks have no switch: they cannot be waived or skipped.
	Core bool
	// Needs names the hook without which the check skips; empty needs none.
	Needs Hook
	// Run returns an error that says what was expected and what came instead.
	Run func(ctx context.Context, env *Env) error
}

// Hook names an optional function of a Fixture.
type Hook string

// The hooks that checks may need.
const (
	NeedsOpenAgain  Hook = "OpenAgain"
	NeedsOpenDeaf   Hook = "OpenDeaf"
	NeedsRestart    Hook = "Restart"
	NeedsHoldWriter Hook = "HoldWriter"
)

// Checks returns the suite's checks in their fixed order.
func Checks() []Check {
	var all []Check
	for _, group := range [][]Check{
		appendChecks(),
		expectationChecks(),
		idempotencyChecks(),
		concurrencyChecks(),
		readChecks(),
		orderChecks(),
		subscriptionChecks(),
		durableChecks(),
		progressChecks(),
		mannersChecks(),
		inputChecks(),
		capabilityChecks(),
	} {
		all = append(all, group...)
	}
	return all
}

// Env is what a check works with: a fresh store and everything opened from it,
// all of which is closed after the check.
type Env struct {
	// Store is the first handle on the fresh store, with retries off, so that
	// a backend's own errors are seen.
	Store *eventstore.Store
	// Fixture is the store's, for the hooks.
	Fixture *Fixture
	// Caps is what the backend declares.
	Caps eventstore.Capabilities
	// Seed makes Rand, and is printed with a failure.
	Seed uint64
	// Rand is the check's only source of chance.
	Rand *rand.Rand

	closers []func() error
}
