package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/all"
	"github.com/switchyard-dev/switchyard/backends/memory"
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

// Each event is ten minutes older than the next one.
func TestALagBeyondWhatIsCountedIsSaidToBeMore(t *testing.T) {
	const events, step = lagCounted + 3, 10 * time.Minute
	var text strings.Builder
	began := time.Now().UTC().Add(-events * step)
	for i := range events {
		text.WriteString(strings.Replace(line(fmt.Sprintf("counter-%d", i%7), i/7+1), "2026-01-02T03:04:05Z", began.Add(time.Duration(i)*step).Format(time.RFC3339), 1))
	}
	url := sqliteURL(t)
	ok(t, text.String(), "import", url)
	runSubscription(t, url, eventstore.Subscription{Name: "first"})
	runSubscription(t, url, eventstore.Subscription{Name: "second"})
	ok(t, "", "checkpoint", "reset", url, "second", "--to", fmt.Sprint(events-2))
	for to, more := range map[int]bool{2: true, 3: false, events - 5: false} {
		ok(t, "", "checkpoint", "reset", url, "first", "--to", fmt.Sprint(to))
		first, second, _ := strings.Cut(ok(t, "", "checkpoint", "list", url), "\n")
		var got struct {
			LagEvents  int
			LagIsMore  bool
			LagSeconds float64
		}
		require.NoError(t, json.Unmarshal([]byte(first), &got))
		require.Equal(t, min(lagCounted, events-to), got.LagEvents)
		require.Equal(t, more, got.LagIsMore)
		oldest := time.Since(began.Add(time.Duration(to) * step)).Seconds() // the event at position to+1
		require.InDelta(t, oldest, got.LagSeconds, 120)
		require.Contains(t, second, `"lagEvents":2,`)
	}
	ok(t, "", "checkpoint", "reset", url, "first", "--to", "2")
	require.Contains(t, ok(t, "", "checkpoint", "list", url, "--text"), "more than 10,000 events, the oldest recorded ")
}

func TestACheckpointIsReset(t *testing.T) {
	for name, makeURL := range map[string]func(*testing.T) string{
		"sqlite":   sqliteURL,
		"postgres": func(t *testing.T) string { return server.Database(t) },
		"kafka":    func(t *testing.T) string { return kafkaURL(broker.Server(t)) },
		"esdb": func(t *testing.T) string {
			url, _ := serveDouble(t, "esdbtest")
			return url
		},
	} {
		t.Run(name, func(t *testing.T) {
			url := makeURL(t)
			ok(t, "", "init", url)
			ok(t, lines(2, 0, 6), "import", url)
			runSubscription(t, url, eventstore.Subscription{Name: "billing"})
			at := make([]string, 6)
			for i, event := range stored(t, url) {
				at[i] = event.Position.String()
			}
			for _, test := range []struct {
				to, says string
				lag      int
			}{
				{"start", "goes on from the first event", 6},
				{at[0], "goes on after position " + at[0] + ", version 1 of stream counter-0", 5},
				{at[3], "goes on after position " + at[3] + ", version 2 of stream counter-1", 2},
				{at[5], "goes on after position " + at[5] + ", version 3 of stream counter-1", 0},
				{"end", "goes on after position " + at[5], 0},
			} {
				require.Contains(t, ok(t, "", "checkpoint", "reset", url, "billing", "--to", test.to, "--text"), test.says)
				shown := ok(t, "", "checkpoint", "show", url, "billing")
				require.Contains(t, shown, fmt.Sprintf(`"lagEvents":%d,`, test.lag))
				require.NotContains(t, shown, "fault")
				if test.to != "end" && test.lag > 0 {
					var handled int
					runSubscription(t, url, eventstore.Subscription{Name: "billing", Handler: func(context.Context, eventstore.RecordedEvent) error {
						handled++
						return nil
					}})
					require.Equal(t, test.lag, handled)
				}
			}
		})
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
	own := eventstore.ParkedReadName("billing", "parked")
	require.NoError(t, store.Records().Checkpoints.Save(t.Context(), eventstore.SaveCheckpointRequest{Checkpoint: eventstore.Checkpoint{Name: own, Store: uuid.New()}}))
	require.NoError(t, store.Close())
	require.NotContains(t, ok(t, "", "checkpoint", "list", url), own)
	require.Contains(t, ok(t, "", "checkpoint", "list", url, "--all"), own)
	require.NotContains(t, call(t, "", "checkpoint", "show", url, "absent").err, own)
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

func TestWhatASubscriptionCannotGoOnFromIsListedWithoutALag(t *testing.T) {
	url := sqliteURL(t)
	ok(t, lines(1, 0, 3), "import", url)
	store, err := all.Set().OpenBackend(t.Context(), url)
	require.NoError(t, err)
	info, err := store.Info(t.Context())
	require.NoError(t, err)
	at := func(name string, id uuid.UUID, position uint64) {
		require.NoError(t, store.Records().Checkpoints.Save(t.Context(), eventstore.SaveCheckpointRequest{Checkpoint: eventstore.Checkpoint{
			Name: name, Store: id, Place: eventstore.Place{Position: eventstore.NewPosition(position, 0), Stream: "counter-0", Version: position, ID: uuid.New()},
		}}))
	}
	at("a, of another store", uuid.New(), 1)
	at("b, of events that are lost", info.ID, 99)
	at("c, behind", info.ID, 1)
	require.NoError(t, store.Close())
	listed := strings.Split(strings.TrimSpace(ok(t, "", "checkpoint", "list", url)), "\n")
	require.Len(t, listed, 3)
	for i, fault := range []string{"it is of store ", "it is ahead of the last event, at 3"} {
		require.Contains(t, listed[i], `"fault":"`+fault)
		require.NotContains(t, listed[i], "lag")
	}
	require.Contains(t, listed[2], `"lagEvents":2,`)
	require.NotContains(t, listed[2], "fault")
}

func TestHowLongALeaseIsHeldIsReckonedFromItsRenewals(t *testing.T) {
	require.Equal(t, "held by me, renewed 6 times, for about 30s; it ends 15s after the last renewal", leaseState{Owner: "me", Epoch: 1, Renewals: 6, TTL: 15}.String())
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
		"show without a name":          {[]string{"show", url}, "checkpoint show URL NAME [flags]"},
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

// busy is a store whose subscription goes on behind each look at its head.
type busy struct {
	*memory.Backend
	goOn func(ctx context.Context) error
}

func (b *busy) Info(ctx context.Context) (eventstore.Info, error) {
	info, err := b.Backend.Info(ctx)
	return info, errors.Join(err, b.goOn(ctx))
}

func TestASubscriptionThatGoesOnIsNotSaidToBeAhead(t *testing.T) {
	log := memory.NewLog()
	other, err := eventstore.New(log.Open(nil), nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, other.Close()) })
	goOn := func(ctx context.Context) error {
		result, err := other.Append(ctx, "order-1", eventstore.Any(), eventstore.Event{Type: "A", Data: []byte(`{}`)})
		if err != nil {
			return err
		}
		return other.SaveCheckpoint(ctx, eventstore.Checkpoint{Name: "billing", Place: result.Events[0].Place()})
	}
	require.NoError(t, goOn(t.Context()))
	backend := &busy{Backend: log.Open(nil), goOn: goOn}
	store, err := eventstore.New(backend, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	reports, err := checkpoints(t.Context(), &handle{Store: store, backend: backend}, false)
	require.NoError(t, err)
	require.Len(t, reports, 1)
	require.Empty(t, reports[0].Fault)
	require.NotNil(t, reports[0].lag)
}
