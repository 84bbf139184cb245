package kafka_test

import (
	"cmp"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/internal/testservers"
)

// soakVariable makes the fault test long: make soak-kafka.
const soakVariable = "SWITCHYARD_KAFKA_SOAK"

// faultPlan says how many faults of each kind there are, and how much is written.
type faultPlan struct {
	leaderKills, controllerKills, freezes int
	between                               int64 // acknowledged parts between two faults
	stored                                int64 // in all, at least
	freeze                                time.Duration
	within                                time.Duration // for what is between two faults
}

func TestNothingIsLostRefusedOrDoubledWhileBrokersDieAndFreeze(t *testing.T) {
	plan := faultPlan{leaderKills: 4, controllerKills: 1, freezes: 2, between: 400, stored: 10_000, freeze: 6 * time.Second, within: time.Minute}
	if os.Getenv(soakVariable) != "" {
		plan = faultPlan{leaderKills: 50, controllerKills: 10, freezes: 20, between: 4000, stored: 500_000, freeze: 8 * time.Second, within: 5 * time.Minute}
	}
	server := testservers.PrivateKafka(t, testservers.KafkaOptions{Brokers: 3})
	c := newCluster(t, server)
	f := &fleet{t: t, url: clusterURL(server, c.store).String()}
	for range 3 {
		f.start()
	}
	f.waitForStored(t.Context(), 100, time.Minute)
	leaders, controllers, freezes, writers := 0, 0, 0, 0
	for plan.leaderKills+plan.controllerKills+plan.freezes > 0 {
		switch kind := max(plan.leaderKills, plan.controllerKills*2, plan.freezes*2); kind {
		case plan.leaderKills:
			plan.leaderKills--
			leaders++
			c.killAndStart(c.leader())
		case plan.freezes * 2:
			plan.freezes--
			freezes++
			c.freeze(c.leader(), plan.freeze)
		default:
			plan.controllerKills--
			controllers++
			c.killAndStart(c.controller())
		}
		f.waitForStored(t.Context(), plan.between, plan.within)
		t.Logf("%d faults, %d parts acknowledged", leaders+controllers+freezes, f.stored.Load())
		if writers == 0 { // a writer dies too
			writers++
			f.kill()
			f.start()
		}
	}
	if missing := plan.stored - f.stored.Load(); missing > 0 {
		f.waitForStored(t.Context(), missing, cmp.Or(time.Duration(missing)*20*time.Millisecond, time.Minute))
	}
	f.end()
	t.Logf("killed: %d leaders of the log, %d active controllers, %d writers; %d leaders frozen for %s", leaders, controllers, writers, freezes, plan.freeze)
	found := f.hold(t, server.Addresses(), c.topic)
	require.Empty(t, found.faults)
	require.GreaterOrEqual(t, int64(found.stored), plan.stored)
	require.NotZero(t, found.refused)
	require.NotZero(t, found.repeated, "some attempts whose outcome was unknown had landed")
}
