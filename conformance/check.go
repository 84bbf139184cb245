package conformance

import (
	"context"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// Check is one executable sentence of the contract.
type Check struct {
	// Name is stable, such as "append/one-winner".
	Name string
	// Promise is the number of the contract's promise, 1 to 24.
	Promise int
	// Sentence is what the contract says; a failing check prints it.
	Sentence string
	// Core checks have no switch: they cannot be waived, and one that has to be
	// skipped fails.
	Core bool
	// Alone checks measure the process, so that nothing else may run in it.
	Alone bool
	// Long checks take seconds. Where several checks may run at once they begin
	// first.
	Long bool
	// Rests is set where a long check mostly waits: where several checks may run at
	// once, all of those run beside the others.
	Rests bool
	// Needs names the hook without which the check skips; empty needs none.
	Needs Hook
	// Disk checks hold what is acknowledged against a disk. A double that has none
	// passes them for nothing: see [Harness].Double.
	Disk bool
	// plain checks see the backend as it is; all others are given what it declares
	// that it cannot hold. See supplement.
	plain bool
	// Requires picks the capability that Run relies on; nil relies on none.
	// Where it is declared absent Refused runs instead.
	Requires func(eventstore.Capabilities) eventstore.Capability
	// Refused proves that what is declared absent is refused with ErrUnsupported.
	// It is nil where there is no call that could be refused.
	Refused func(ctx context.Context, env *Env) error
	// Run returns an error that says what was expected and what came instead.
	Run func(ctx context.Context, env *Env) error
}

// Hook names an optional function of a Fixture.
type Hook string

// The hooks that checks may need.
const (
	NeedsOpenAgain   Hook = "OpenAgain"
	NeedsOpenPolling Hook = "OpenPolling"
	NeedsRestart     Hook = "Restart"
	NeedsHoldWriter  Hook = "HoldWriter"
)

// Checks returns the suite's checks in their fixed order.
func Checks() []Check {
	var all []Check
	for _, group := range [][]Check{
		appendChecks(),
		acknowledgedChecks(),
		bytesChecks(),
		expectationChecks(),
		idempotencyChecks(),
		concurrencyChecks(),
		readChecks(),
		orderChecks(),
		placeChecks(),
		subscriptionChecks(),
		durableChecks(),
		progressChecks(),
		leaseChecks(),
		sealChecks(),
		callChecks(),
		inputChecks(),
		capabilityChecks(),
		longChecks(),
		longLogChecks(),
		batchChecks(),
		behindChecks(),
		filterAfterChecks(),
		refusedChecks(),
		repeatChecks(),
		crashChecks(),
		heldChecks(),
		namesChecks(),
		contentsChecks(),
		boundsChecks(),
		declaredChecks(),
	} {
		all = append(all, group...)
	}
	return all
}

// globalOrder and its like are values for Check.Requires.
func globalOrder(c eventstore.Capabilities) eventstore.Capability { return c.GlobalOrder }

func multiStreamAppend(c eventstore.Capabilities) eventstore.Capability { return c.MultiStreamAppend }

func preservedRecordTime(c eventstore.Capabilities) eventstore.Capability {
	return c.PreservedRecordTime
}

// durable requires that an acknowledgement survives anything at all.
func durable(c eventstore.Capabilities) eventstore.Capability {
	if c.Durability == eventstore.SurvivesNothing {
		return eventstore.No("an acknowledged append survives " + c.Durability.String())
	}
	return eventstore.Yes()
}
