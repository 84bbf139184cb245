package connection

import (
	"maps"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
)

func TestALogThatWouldLoseEventsIsRefusedWithTheSettingAndTheRemedy(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Topic)
		want   []string // nothing: it is fit
	}{
		"as it is created":             {func(*Topic) {}, nil},
		"three in sync":                {func(t *Topic) { t.Settings["min.insync.replicas"] = "3" }, nil},
		"Kafka's own message size":     {func(t *Topic) { t.Settings["max.message.bytes"] = "1048588" }, nil},
		"no partition":                 {func(t *Topic) { t.Partitions = 0 }, []string{"partitions", "there are 0"}},
		"two partitions":               {func(t *Topic) { t.Partitions = 2 }, []string{"partitions", "there are 2"}},
		"compaction":                   {func(t *Topic) { t.Settings["cleanup.policy"] = "compact" }, []string{"cleanup.policy", "set it to delete"}},
		"compaction and deletion":      {func(t *Topic) { t.Settings["cleanup.policy"] = "compact,delete" }, []string{"cleanup.policy", "set it to delete"}},
		"a week":                       {func(t *Topic) { t.Settings["retention.ms"] = "604800000" }, []string{"retention.ms", "set it to -1"}},
		"retention that is not told":   {func(t *Topic) { delete(t.Settings, "retention.ms") }, []string{"retention.ms", "set it to -1"}},
		"a gigabyte":                   {func(t *Topic) { t.Settings["retention.bytes"] = "1073741824" }, []string{"retention.bytes", "set it to -1"}},
		"unclean elections":            {func(t *Topic) { t.Settings["unclean.leader.election.enable"] = "true" }, []string{"unclean.leader.election.enable", "set it to false"}},
		"elections that are not told":  {func(t *Topic) { delete(t.Settings, "unclean.leader.election.enable") }, []string{"unclean.leader.election.enable"}},
		"one of three in sync":         {func(t *Topic) { t.Settings["min.insync.replicas"] = "1" }, []string{"min.insync.replicas", "set it to 2"}},
		"one of two in sync":           {func(t *Topic) { t.Replicas = 2; t.Settings["min.insync.replicas"] = "1" }, []string{"min.insync.replicas", "set it to 2"}},
		"more in sync than there are":  {func(t *Topic) { t.Replicas = 1 }, []string{"min.insync.replicas", "set it to 1"}},
		"small messages":               {func(t *Topic) { t.Settings["max.message.bytes"] = "1048587" }, []string{"max.message.bytes", "set it to 4194304"}},
		"a beginning that was deleted": {func(t *Topic) { t.LogStart = 7 }, []string{"log", "first 7 records were deleted"}},
	} {
		t.Run(name, func(t *testing.T) {
			topic := Topic{Name: "shop.events", Partitions: 1, Replicas: 3, Settings: map[string]string{}}
			for _, entry := range topicSettings(3, CreateOptions{Fsync: false}) {
				topic.Settings[entry.ConfigName] = entry.ConfigValue
			}
			before := maps.Clone(topic.Settings)
			c.change(&topic)
			err := CheckLog(topic)
			if c.want == nil {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, eventstore.ErrInvalid)
			require.ErrorContains(t, err, "of topic shop.events")
			for _, want := range c.want {
				require.ErrorContains(t, err, want)
			}
			require.NotEqual(t, Topic{Name: "shop.events", Partitions: 1, Replicas: 3, Settings: before}, topic)
		})
	}
}

func TestATopicThatWouldNotKeepTheLastRecordOfEachKeyIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		setting, value string
		want           string // nothing: it is fit
	}{
		"as it is created":        {"cleanup.policy", "compact", ""},
		"Kafka's own policy":      {"cleanup.policy", "delete", "set it to compact"},
		"compaction and deletion": {"cleanup.policy", "compact,delete", "set it to compact"},
		"unclean elections":       {"unclean.leader.election.enable", "true", "set it to false"},
		"one of three in sync":    {"min.insync.replicas", "1", "set it to 2"},
	} {
		topic := Topic{Name: "shop.checkpoints", Partitions: 1, Replicas: 3, LogStart: 7, Settings: map[string]string{}}
		for _, entry := range topicSettings(3, CreateOptions{Compacted: true}) {
			topic.Settings[entry.ConfigName] = entry.ConfigValue
		}
		topic.Settings[c.setting] = c.value
		err := CheckCompacted(topic)
		if c.want == "" {
			require.NoError(t, err, name)
			continue
		}
		require.ErrorIs(t, err, eventstore.ErrInvalid, name)
		require.ErrorContains(t, err, c.setting+" of topic shop.checkpoints", name)
		require.ErrorContains(t, err, c.want, name)
	}
}

func TestWhatATopicSaysOfItsDurability(t *testing.T) {
	require.True(t, Fsync(Topic{Settings: map[string]string{"flush.messages": "1"}}))
	require.False(t, Fsync(Topic{Settings: map[string]string{"flush.messages": "9223372036854775807"}}))
	require.False(t, Fsync(Topic{}))
	require.Zero(t, MaxMessageBytes(Topic{}))
	require.Zero(t, InSync(Topic{}))
}

func TestAStoreNameMustFitIntoATopicName(t *testing.T) {
	for _, good := range []string{"shop", "Shop_2-eu.west", "a", strings.Repeat("x", 200)} {
		require.NoError(t, CheckName(good))
	}
	for _, bad := range []string{"", " ", "bad name", "a/b", "ü", ".", "..", "a\n", strings.Repeat("x", 201)} {
		require.ErrorIs(t, CheckName(bad), eventstore.ErrInvalid, "%q", bad)
	}
}
