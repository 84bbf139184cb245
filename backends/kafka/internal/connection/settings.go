package connection

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/segmentio/kafka-go"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// Topic is what there is of a topic.
type Topic struct {
	Name       string
	Partitions int
	// Replicas are those of the first partition, without the ones that a reassignment
	// is about to add where that makes a difference.
	Replicas int
	// LogStart is the offset of the oldest record that is left.
	LogStart int64
	// Settings are the effective ones, whoever has made them.
	Settings map[string]string
}

const (
	// never is what Kafka calls forever.
	never = "-1"

	// leastMessageBytes is Kafka's own default of max.message.bytes: what the
	// portable limits let through fits.
	leastMessageBytes = 1_048_588

	maxMessageBytes = 4 << 20
)

var topicName = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)

// CheckName refuses a store name that cannot be part of a topic's name.
func CheckName(store string) error {
	const longest = 200 // of 249, with room for what the topics add
	if len(store) > longest || !topicName.MatchString(store) || strings.Trim(store, ".") == "" {
		return &eventstore.InvalidError{
			Field:  "store",
			Reason: fmt.Sprintf("%q must be 1–%d of the characters A-Z, a-z, 0-9, '.', '_' and '-', and not dots alone", clip(store, longest), longest),
		}
	}
	return nil
}

func clip(s string, n int) string {
	if len(s) > n {
		return s[:n] + "…"
	}
	return s
}

// topicSettings are those that a store's topic is created with.
func topicSettings(replicas int, opts CreateOptions) []kafka.ConfigEntry {
	settings := []kafka.ConfigEntry{
		{ConfigName: "min.insync.replicas", ConfigValue: strconv.Itoa(majority(replicas))},
		{ConfigName: "unclean.leader.election.enable", ConfigValue: "false"},
		{ConfigName: "max.message.bytes", ConfigValue: strconv.Itoa(maxMessageBytes)},
		// With CreateTime a writer whose clock is an hour ahead would be refused.
		{ConfigName: "message.timestamp.type", ConfigValue: "LogAppendTime"},
		{ConfigName: "compression.type", ConfigValue: "producer"},
	}
	if opts.Compacted {
		settings = append(settings,
			kafka.ConfigEntry{ConfigName: "cleanup.policy", ConfigValue: "compact"},
			// Whoever wrote what must be written once more has a day for it.
			kafka.ConfigEntry{ConfigName: "min.compaction.lag.ms", ConfigValue: "86400000"},
		)
	} else {
		settings = append(settings,
			kafka.ConfigEntry{ConfigName: "cleanup.policy", ConfigValue: "delete"},
			kafka.ConfigEntry{ConfigName: "retention.ms", ConfigValue: never},
			kafka.ConfigEntry{ConfigName: "retention.bytes", ConfigValue: never},
		)
	}
	if opts.Fsync {
		settings = append(settings, kafka.ConfigEntry{ConfigName: "flush.messages", ConfigValue: "1"})
	}
	return settings
}

func majority(replicas int) int { return replicas/2 + 1 }

// CheckLog refuses a topic that would lose events, or their order, sooner or
// later. The [eventstore.InvalidError] names the setting and what to do.
func CheckLog(t Topic) error {
	if policy := t.Settings["cleanup.policy"]; strings.Contains(policy, "compact") {
		return t.refuse("cleanup.policy", "%q deletes all but the last record of a key: set it to delete", policy)
	}
	for _, setting := range []string{"retention.ms", "retention.bytes"} {
		if value := t.Settings[setting]; value != never {
			return t.refuse(setting, "%q deletes events: set it to -1", value)
		}
	}
	if t.LogStart > 0 {
		return t.refuse("log", "the first %d records were deleted: restore them from a backup, or begin a new store", t.LogStart)
	}
	return checkAny(t)
}

// CheckCompacted refuses a topic that would not keep the last record of each key.
func CheckCompacted(t Topic) error {
	if policy := t.Settings["cleanup.policy"]; policy != "compact" {
		return t.refuse("cleanup.policy", "%q does not keep the last record of each key: set it to compact", policy)
	}
	return checkAny(t)
}

func (t Topic) refuse(setting, format string, args ...any) error {
	return &eventstore.InvalidError{Field: fmt.Sprintf("%s of topic %s", setting, t.Name), Reason: fmt.Sprintf(format, args...)}
}

// checkAny refuses what is wrong in every topic of a store.
func checkAny(t Topic) error {
	if t.Partitions != 1 {
		return t.refuse("partitions", "there are %d, and a store is one log: use a topic with one", t.Partitions)
	}
	if t.Settings["unclean.leader.election.enable"] != "false" {
		return t.refuse("unclean.leader.election.enable", "a leader without all events could be elected: set it to false")
	}
	least := majority(t.Replicas)
	if inSync, err := strconv.Atoi(t.Settings["min.insync.replicas"]); err != nil || inSync < least || inSync > t.Replicas {
		return t.refuse("min.insync.replicas", "%q is no majority of %d replicas: set it to %d", t.Settings["min.insync.replicas"], t.Replicas, least)
	}
	if bytes, err := strconv.Atoi(t.Settings["max.message.bytes"]); err != nil || bytes < leastMessageBytes {
		return t.refuse("max.message.bytes", "%q is too small for an append: set it to %d", t.Settings["max.message.bytes"], maxMessageBytes)
	}
	return nil
}

// Fsync tells whether brokers write a record to disk before they acknowledge it.
func Fsync(t Topic) bool { return t.Settings["flush.messages"] == "1" }

// MaxMessageBytes returns the largest batch of records that the topic takes.
func MaxMessageBytes(t Topic) int {
	bytes, err := strconv.Atoi(t.Settings["max.message.bytes"])
	if err != nil {
		return 0 // CheckLog has refused it
	}
	return bytes
}

// InSync returns how many replicas an acknowledged record is on, at least.
func InSync(t Topic) int {
	replicas, err := strconv.Atoi(t.Settings["min.insync.replicas"])
	if err != nil {
		return 0 // CheckLog has refused it
	}
	return replicas
}
