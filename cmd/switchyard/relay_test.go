package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/all"
	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/relaytest"
)

// target makes a topic and its URL.
func newTarget(t *testing.T, partitions int, settings map[string]string) (*relaytest.Topic, string) {
	t.Helper()
	k := broker.Server(t)
	topic := relaytest.CreateTopic(t, k.Addresses(), k.Name(), partitions, settings)
	return topic, "kafka://" + strings.Join(k.Addresses(), ",") + "/" + topic.Name
}

// stored reads a whole store.
func stored(t *testing.T, url string) []eventstore.RecordedEvent {
	t.Helper()
	store, err := all.Open(t.Context(), url, nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, store.Close()) }()
	var log []eventstore.RecordedEvent
	for event, err := range store.ReadAll(t.Context(), eventstore.ReadAllOptions{}) {
		require.NoError(t, err)
		log = append(log, event)
	}
	return log
}

// lines makes the import of so many events in turns over streams.
func lines(streams, from, to int) string {
	var text strings.Builder
	for i := from; i < to; i++ {
		text.WriteString(line(fmt.Sprintf("counter-%d", i%streams), i/streams+1))
	}
	return text.String()
}

func published(t *testing.T, out string) int {
	t.Helper()
	var result struct{ Published int }
	require.NoError(t, json.Unmarshal([]byte(out), &result), out)
	return result.Published
}

// A relay that is killed leaves its lease to expire, so each kill costs 15 seconds.
func TestARelayThatIsKilledGoesOn(t *testing.T) {
	for name, makeURL := range map[string]func(*testing.T) string{
		"sqlite":   sqliteURL,
		"postgres": func(t *testing.T) string { return server.Database(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			topic, to := newTarget(t, 3, nil)
			url := makeURL(t)
			const streams, first, all = 40, 8000, 12000
			ok(t, lines(streams, 0, first), "import", url)
			halfway := 0
			for _, atLeast := range []int64{1, 3000} {
				cmd := program(t, "relay", url, "--to", to, "--name", "r", "--quiet")
				require.NoError(t, cmd.Start())
				require.Eventually(t, func() bool {
					n, err := topic.Count(t.Context())
					return err == nil && n >= atLeast
				}, time.Minute, 2*time.Millisecond)
				require.NoError(t, cmd.Process.Kill())
				require.Error(t, cmd.Wait())
				if n, err := topic.Count(t.Context()); err == nil && n < first {
					halfway++
				}
			}
			require.Positive(t, halfway, "one was killed in the middle")
			ok(t, lines(streams, first, all), "import", url)
			last := published(t, ok(t, "", "relay", url, "--to", to, "--name", "r", "--until-caught-up"))
			require.Less(t, last, all, "it did not begin anew")

			got, err := topic.Records(t.Context())
			require.NoError(t, err)
			t.Logf("%d records of %d events", len(got), all)
			require.NoError(t, relaytest.Check(got, stored(t, url)))
		})
	}
}

func TestARelayTellsItsLagAndEndsCleanlyWithCtrlC(t *testing.T) {
	topic, to := newTarget(t, 2, nil)
	url := sqliteURL(t)
	ok(t, lines(3, 0, 30)+line("other", 1), "import", url)
	args := []string{"relay", url, "--to", to + "?mode=structured", "--name", "r", "--category", "counter", "--source", "https://shop.example/events"}
	cmd := program(t, args...)
	var out bytes.Buffer
	cmd.Stdout = &out
	told, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	said := bufio.NewReader(told)
	text, err := said.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "published 30 events; caught up, Ctrl-C ends it\n", text)

	ok(t, lines(3, 30, 33), "import", url)
	got := topic.Await(t, 33)
	require.Equal(t, "https://shop.example/events/"+got[0].Key, got[0].Attributes["source"])
	// What is in the topic need not be confirmed to the relay yet: its checkpoint is after that.
	require.Eventually(t, func() bool {
		return strings.Contains(ok(t, "", "checkpoint", "show", url, "r"), `"lagEvents":0,`)
	}, time.Minute, 20*time.Millisecond)
	require.NoError(t, cmd.Process.Signal(os.Interrupt))
	rest, err := io.ReadAll(said)
	require.NoError(t, err)
	require.NoError(t, cmd.Wait(), "exit code 0; it said %q", rest)
	require.Equal(t, 33, published(t, out.String()))

	require.Zero(t, published(t, ok(t, "", append(args, "--until-caught-up")...)), "it goes on where it was")
	ok(t, lines(3, 33, 36), "import", url)
	require.Equal(t, 3, published(t, ok(t, "", append(args, "--until-caught-up")...)))
	n, err := topic.Count(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 36, n)
	require.Equal(t, 36, published(t, ok(t, "", "relay", url, "--to", to, "--name", "another", "--prefix", "counter-", "--until-caught-up")), "another name begins anew")
}

func TestARelayParksWhatTheTopicRefuses(t *testing.T) {
	topic, to := newTarget(t, 1, map[string]string{"max.message.bytes": "3000"})
	url := sqliteURL(t)
	ok(t, lines(2, 0, 4), "import", url)
	ok(t, `"`+strings.Repeat("x", 4000)+`"`, "append", url, "counter-0", "--type", "Large")
	ok(t, line("counter-1", 3), "import", url)
	args := []string{"relay", url, "--to", to, "--name", "r", "--until-caught-up"}
	got := call(t, "", args...)
	require.Equal(t, exitFailed, got.code)
	require.Contains(t, got.err, `(version 3 of stream "counter-0") failed 5 times`)
	require.Contains(t, got.err, "raise max.message.bytes")

	ok(t, "", append(args, "--park", "relay-parked")...)
	require.Len(t, relaytest.Distinct(topic.Await(t, 5)), 5)
	require.Contains(t, ok(t, "", "read", url, "relay-parked"), "EventParked")
}

func TestARelayPostsToAWebAddress(t *testing.T) {
	url := sqliteURL(t)
	ok(t, lines(3, 0, 30), "import", url)
	var got []relaytest.Delivery
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var batch []json.RawMessage
		if json.NewDecoder(r.Body).Decode(&batch) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		for _, text := range batch {
			if d, err := relaytest.ReadJSON(text); err == nil {
				got = append(got, d)
			}
		}
	}))
	out := ok(t, "", "relay", url, "--to", receiver.URL+"/hook", "--name", "web", "--until-caught-up")
	receiver.Close() // and its handlers are done
	require.Equal(t, 30, published(t, out))
	require.NoError(t, relaytest.Check(got, stored(t, url)))
}

func TestARelayThatCannotBeginSaysWhy(t *testing.T) {
	url := sqliteURL(t)
	ok(t, line("a", 1), "import", url)
	_, to := newTarget(t, 1, nil)
	for name, c := range map[string]struct {
		args []string
		want string
		code int
	}{
		"no target":          {[]string{"--name", "r"}, "--to kafka://HOST/TOPIC", exitUsage},
		"no name":            {[]string{"--to", to}, "give --name", exitUsage},
		"another scheme":     {[]string{"--name", "r", "--to", "amqp://me:s3cr3t@h/t"}, "a target is kafka://", exitUsage},
		"no URL":             {[]string{"--name", "r", "--to", "kafka://me:s3cr3t/x@h:1,h2/t"}, "percent-encode", exitUsage},
		"a wrong parameter":  {[]string{"--name", "r", "--to", "kafka://me:s3cr3t@h/t?acks=0"}, `unknown parameter "acks"`, exitUsage},
		"no such topic":      {[]string{"--name", "r", "--to", to + "-absent"}, "does not exist; create it", exitUsage},
		"a relative source":  {[]string{"--name", "r", "--to", to, "--source", "/shop"}, "no absolute URI", exitUsage},
		"a wrong position":   {[]string{"--name", "r", "--to", to, "--after", "x"}, "--after", exitUsage},
		"a park stream as $": {[]string{"--name", "r", "--to", to, "--park", "\x01"}, "control character", exitUsage},
		"nobody there":       {[]string{"--name", "r", "--to", "kafka://me:s3cr3t@127.0.0.1:1/t?sasl=plain"}, "unavailable", exitFailed},
	} {
		t.Run(name, func(t *testing.T) {
			got := call(t, "", append([]string{"relay", url, "--until-caught-up"}, c.args...)...)
			require.Equal(t, c.code, got.code, got.err)
			require.Contains(t, got.err, c.want)
			require.NotContains(t, got.err, "s3cr3t")
		})
	}
}

// Run keeps checkpoints of other names beside the subscription's.
func TestARelayTakesNoOtherCheckpointForItsOwn(t *testing.T) {
	var told []eventstore.Position
	kept := &followed{Checkpoints: memory.New().Records().Checkpoints, name: "web", saved: func(at eventstore.Position) { told = append(told, at) }}
	for i, name := range []string{eventstore.ParkedReadName("web", "parked"), "web"} {
		at := eventstore.Place{Position: eventstore.NewPosition(uint64(i+1), 0)}
		require.NoError(t, kept.Save(t.Context(), eventstore.SaveCheckpointRequest{Checkpoint: eventstore.Checkpoint{Name: name, Place: at}}))
		_, err := kept.Load(t.Context(), eventstore.LoadCheckpointRequest{Name: name})
		require.NoError(t, err)
	}
	require.Equal(t, []eventstore.Position{eventstore.NewPosition(2, 0), eventstore.NewPosition(2, 0)}, told)
}
