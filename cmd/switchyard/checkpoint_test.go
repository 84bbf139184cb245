package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/all"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// runSubscription runs a subscription on a store until it has caught up.
func runSubscription(t *testing.T, url string, sub eventstore.Subscription) {
	t.Helper()
	store, err := all.Open(t.Context(), url, nil)
	require.NoError(t, err)
	sub.UntilCaughtUp, sub.Retry.Attempts = true, 1
	if sub.Handler == nil {
		sub.Handler = func(context.Context, eventstore.RecordedEvent) error { return nil }
	}
	require.NoError(t, store.Run(t.Context(), sub))
	require.NoError(t, store.Close())
}

func TestCheckpointsAreListedWithTheirLags(t *testing.T) {
	for name, makeURL := range map[string]func(*testing.T) string{
		"sqlite":   sqliteURL,
		"postgres": func(t *testing.T) string { return server.Database(t) },
	} {
		t.Run(name, func(t *testing.T) {
			url := makeURL(t)
			ok(t, lines(2, 0, 3), "import", url)
			require.Empty(t, ok(t, "", "checkpoint", "list", url))
			require.Equal(t, "no checkpoints\n", ok(t, "", "checkpoint", "list", url, "--text"))
			runSubscription(t, url, eventstore.Subscription{Name: "billing"})
			runSubscription(t, url, eventstore.Subscription{Name: "mail"})
			ok(t, lines(2, 3, 8), "import", url)
			runSubscription(t, url, eventstore.Subscription{Name: "report"})

			type printed struct {
				Name       string
				LagEvents  int
				LagSeconds float64
			}
			var reports []printed
			for line := range strings.Lines(ok(t, "", "checkpoint", "list", url)) {
				var report printed
				require.NoError(t, json.Unmarshal([]byte(line), &report))
				reports = append(reports, report)
			}
			require.Len(t, reports, 3)
			require.Equal(t, "billing", reports[0].Name)
			require.Equal(t, 5, reports[0].LagEvents)
			require.Positive(t, reports[0].LagSeconds)
			require.Equal(t, "report", reports[2].Name)
			require.Zero(t, reports[2].LagEvents)
			require.Zero(t, reports[2].LagSeconds)
			text := ok(t, "", "checkpoint", "list", url, "--text")
			require.Regexp(t, `(?m)^billing +\d+ +5 events, the oldest recorded \d+\S* ago$`, text)
			require.Regexp(t, `(?m)^report +\d+ +none$`, text)
			require.Regexp(t, `(?m)^report +\d+ +none$`, ok(t, "", "stats", url, "--text"))
			require.Contains(t, ok(t, "", "stats", url), `"lagEvents":5,"lagSeconds":`)

			// The log is read back from its end, to the most that is counted.
			shown := ok(t, "", "checkpoint", "show", url, "billing")
			require.Contains(t, shown, `"type":"Counted"`)
			require.Contains(t, shown, `"lagEvents":5,`)
			require.Contains(t, shown, `"lease":{"epoch":1,"renewals":1,"ttlSeconds":15}`)
			require.Regexp(t, `(?m)^lease +epoch 1 +free$`, ok(t, "", "checkpoint", "show", url, "billing", "--text"))
		})
	}
}

func TestALagBeyondWhatIsCountedIsSaidToBeMore(t *testing.T) {
	url := sqliteURL(t)
	ok(t, lines(7, 0, lagCounted+3), "import", url)
	runSubscription(t, url, eventstore.Subscription{Name: "first"})
	ok(t, "", "checkpoint", "reset", url, "first", "--to", "2")
	require.Contains(t, ok(t, "", "checkpoint", "list", url), fmt.Sprintf(`"lagEvents":%d,"lagIsMore":true,"lagSeconds":`, lagCounted))
	require.Regexp(t, `more than 10,000 events, the oldest recorded \d+h`, ok(t, "", "checkpoint", "list", url, "--text"), "as old as the first of all that wait")
	ok(t, "", "checkpoint", "reset", url, "first", "--to", "3")
	require.NotContains(t, ok(t, "", "checkpoint", "list", url), "lagIsMore")
}

func TestACheckpointIsReset(t *testing.T) {
	url := sqliteURL(t)
	ok(t, lines(2, 0, 6), "import", url)
	runSubscription(t, url, eventstore.Subscription{Name: "billing"})
	for _, test := range []struct{ to, says string }{
		{"start", "goes on from the first event"},
		{"4", "goes on after position 4, version 2 of stream counter-1"},
		{"end", "goes on after position 6"},
	} {
		require.Contains(t, ok(t, "", "checkpoint", "reset", url, "billing", "--to", test.to, "--text"), test.says)
		shown := ok(t, "", "checkpoint", "show", url, "billing")
		want := map[string]string{"start": `"lagEvents":6`, "4": `"lagEvents":2`, "end": `"lagEvents":0`}[test.to]
		require.Contains(t, shown, want)
	}
}

func TestWhoOwnsALeaseIsToldAndFenced(t *testing.T) {
	url := sqliteURL(t)
	ok(t, line("a", 1), "import", url)
	first := startFollow(t, url, []string{"--name", "me"})
	require.Contains(t, first.line(t), `"version":"1"`)
	owner := fmt.Sprintf("process %d", first.cmd.Process.Pid)
	require.Contains(t, ok(t, "", "checkpoint", "show", url, "me"), owner)
	require.Regexp(t, `lease +epoch 1 +held by .*`+owner+`.*, renewed \d+ times`, ok(t, "", "checkpoint", "show", url, "me", "--text"))
	require.Eventually(t, func() bool { // its checkpoint is saved within a second
		return call(t, "", "checkpoint", "delete", url, "absent").code == exitUsage &&
			strings.Contains(ok(t, "", "checkpoint", "list", url), `"position":"1"`)
	}, 20*time.Second, 20*time.Millisecond)

	got := call(t, "", "checkpoint", "reset", url, "me", "--to", "start")
	require.Zero(t, got.code, got.err)
	require.Contains(t, got.err, "warning: the lease of me is held by")
	require.Contains(t, got.err, owner)
	require.Contains(t, got.out, owner)
	require.Contains(t, first.line(t), `"version":"1"`, "it begins again")
	got = call(t, "", "checkpoint", "delete", url, "me", "--quiet")
	require.Zero(t, got.code, got.err)
	require.Empty(t, got.err)
	require.NoError(t, first.cmd.Process.Kill())
}

func TestACheckpointOfAnotherStoreIsNotReset(t *testing.T) {
	url := sqliteURL(t)
	ok(t, line("a", 1), "import", url)
	store, err := all.Set().OpenBackend(t.Context(), url)
	require.NoError(t, err)
	require.NoError(t, store.Records().Checkpoints.Save(t.Context(), eventstore.SaveCheckpointRequest{
		Checkpoint: eventstore.Checkpoint{Name: "moved\u202e", Store: uuid.New(), Place: eventstore.Place{Position: eventstore.NewPosition(1, 0), Stream: "a", Version: 1, ID: uuid.New()}},
	}))
	require.NoError(t, store.Close())
	got := call(t, "", "checkpoint", "reset", url, "moved\u202e", "--to", "start")
	require.Equal(t, exitFailed, got.code)
	require.Contains(t, got.err, "delete the checkpoint to start anew here")
	require.Contains(t, ok(t, "", "checkpoint", "list", url), `"fault":"it is of store `)
	text := ok(t, "", "checkpoint", "list", url, "--text")
	require.Contains(t, text, `"moved\u202e"`)
	require.NotContains(t, text, "\u202e")
	require.Contains(t, ok(t, "", "checkpoint", "show", url, "moved\u202e"), "belongs to store")
	ok(t, "", "checkpoint", "delete", url, "moved\u202e")
}

func TestCheckpointCommandsSayWhatIsWrong(t *testing.T) {
	url := sqliteURL(t)
	ok(t, lines(1, 0, 3), "import", url)
	runSubscription(t, url, eventstore.Subscription{Name: "billing"})
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"an unknown command":           {[]string{"frob", url}, `checkpoint has no command "frob"`},
		"show without a name":          {[]string{"show", url}, "accepts 2 arg"},
		"show of an unknown name":      {[]string{"show", url, "biling"}, "keeps no checkpoint biling; it keeps: billing"},
		"reset without a place":        {[]string{"reset", url, "billing"}, "--to POSITION"},
		"reset of an unknown name":     {[]string{"reset", url, "biling", "--to", "end"}, "--create makes it"},
		"reset to nonsense":            {[]string{"reset", url, "billing", "--to", "x"}, "--to"},
		"reset beyond the end":         {[]string{"reset", url, "billing", "--to", "9"}, "ahead of the store's last event, at 3"},
		"reset of one of Switchyard's": {[]string{"reset", url, eventstore.RetriedName(uuid.New()), "--to", "end"}, "no subscription's"},
		"delete of an unknown name":    {[]string{"delete", url, "biling"}, "it keeps: billing"},
		"a name with a control":        {[]string{"delete", url, "a\x1b"}, "control character"},
	} {
		t.Run(name, func(t *testing.T) {
			got := call(t, "", append([]string{"checkpoint"}, test.args...)...)
			require.Equal(t, exitUsage, got.code, got.err)
			require.Contains(t, got.err, test.want)
			require.Empty(t, got.out)
		})
	}
	ok(t, "", "checkpoint", "reset", url, "new", "--to", "end", "--create")
	require.Contains(t, ok(t, "", "checkpoint", "list", url), `"name":"new","position":"3"`)
}
