package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/all"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// parkEvents has a subscription fail on the versions 2 of all streams.
func parkEvents(t *testing.T, url, name, stream string) {
	t.Helper()
	runSubscription(t, url, eventstore.Subscription{
		Name: name, ParkStream: stream, Filter: eventstore.Filter{Categories: []string{"counter"}},
		Handler: func(_ context.Context, e eventstore.RecordedEvent) error {
			if e.Version == 2 {
				return errors.New("no such customer\u202e")
			}
			return nil
		},
	})
}

func listed(t *testing.T, args ...string) (reports []parkedReport) {
	t.Helper()
	for line := range strings.Lines(ok(t, "", append([]string{"parked", "list"}, args...)...)) {
		var report parkedReport
		require.NoError(t, json.Unmarshal([]byte(line), &report))
		reports = append(reports, report)
	}
	return reports
}

func TestParkedEventsAreListedRetriedAndDropped(t *testing.T) {
	url := sqliteURL(t)
	ok(t, lines(3, 0, 9), "import", url)
	require.Equal(t, "nothing is parked in parked\n", ok(t, "", "parked", "list", url, "parked", "--text"))
	parkEvents(t, url, "billing", "parked")
	parkEvents(t, url, "mail", "parked")
	all := listed(t, url, "parked")
	require.Len(t, all, 6)
	require.Len(t, listed(t, url, "parked", "--subscription", "mail"), 3)
	require.Equal(t, eventstore.ParkedWaiting, all[0].State)
	require.Equal(t, "counter-0", all[0].Stream)
	require.WithinDuration(t, time.Now(), all[0].ParkedAt, time.Minute)
	text := ok(t, "", "parked", "list", url, "parked", "--text")
	require.Regexp(t, `billing +counter-0 +2 +parked +0 +\S+ +"no such customer\\u202e"`, text)

	id := all[0].EventID.String()
	got := call(t, "", "parked", "retry", url, "parked", id)
	require.Equal(t, exitUsage, got.code)
	require.Contains(t, got.err, "was parked in stream parked by several subscriptions; say which one with --subscription: billing, mail")
	for range 2 {
		require.JSONEq(t, `{"stream":"parked","events":1}`, ok(t, "", "parked", "retry", url, "parked", id, strings.ToUpper(id), "--subscription", "billing"))
	}
	require.Equal(t, "dropped 3 events of parked\n", ok(t, "", "parked", "drop", url, "parked", "--all", "--subscription", "mail", "--text"))
	require.Len(t, listed(t, url, "parked"), 3)
	require.Equal(t, eventstore.ParkedRetryRequested, listed(t, url, "parked")[0].State)
	got = call(t, "", "parked", "retry", url, "parked", id, "--subscription", "mail")
	require.Equal(t, exitUsage, got.code)
	require.Contains(t, got.err, id+` is dropped for subscription "mail"`)

	var handled []string
	billing := eventstore.Subscription{Name: "billing", ParkStream: "parked", Filter: eventstore.Filter{Categories: []string{"counter"}}, Handler: func(_ context.Context, e eventstore.RecordedEvent) error {
		handled = append(handled, e.ID.String())
		return nil
	}}
	runSubscription(t, url, billing)
	require.Equal(t, []string{id}, handled)
	require.JSONEq(t, `{"stream":"parked","events":2}`, ok(t, "", "parked", "retry", url, "parked", "--all"))
	runSubscription(t, url, billing)
	require.Len(t, handled, 3)
	require.Empty(t, listed(t, url, "parked"))
	states := make(map[eventstore.ParkedState]int)
	for _, report := range listed(t, url, "parked", "--all") {
		states[report.State]++
	}
	require.Equal(t, map[eventstore.ParkedState]int{eventstore.ParkedHandled: 3, eventstore.ParkedDropped: 3}, states)

	require.JSONEq(t, `{"stream":"parked","events":0}`, ok(t, "", "parked", "drop", url, "parked", "--all"))
}

// Each looks, and then answers; what one of them answers to is not there any more.
func TestOfTwoOperatorsAtOnceTheSecondIsTold(t *testing.T) {
	nobody := func(*testing.T, string, *handle, []eventstore.ParkedEvent) {}
	gives := func(a answer) func(*testing.T, string, *handle, []eventstore.ParkedEvent) {
		return func(t *testing.T, _ string, store *handle, events []eventstore.ParkedEvent) {
			require.NoError(t, a.give(t.Context(), store, "parked", events[:1]))
		}
	}
	fails := func(t *testing.T, url string, store *handle, events []eventstore.ParkedEvent) {
		gives(retried())(t, url, store, events)
		parkEvents(t, url, "billing", "parked")
	}
	for name, test := range map[string]struct {
		before, meanwhile func(*testing.T, string, *handle, []eventstore.ParkedEvent)
		late              answer
		told              string
	}{
		"both retry":                               {nobody, gives(retried()), retried(), ""},
		"both drop":                                {nobody, gives(dropped()), dropped(), ""},
		"one retries and one drops":                {nobody, gives(retried()), dropped(), "is retry requested"},
		"one drops and one retries":                {nobody, gives(dropped()), retried(), "is dropped"},
		"one drops what was retried, one retries":  {gives(retried()), gives(dropped()), retried(), "is dropped"},
		"one drops while Run fails with its retry": {gives(retried()), fails, dropped(), "is parked"},
	} {
		t.Run(name, func(t *testing.T) {
			url := sqliteURL(t)
			ok(t, lines(2, 0, 4), "import", url)
			parkEvents(t, url, "billing", "parked")
			opened, err := all.Open(t.Context(), url, nil)
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, opened.Close()) })
			store := &handle{Store: opened}
			look := func() []eventstore.ParkedEvent {
				events, err := parkedFor(t.Context(), store, "parked", "")
				require.NoError(t, err)
				require.Len(t, events, 2)
				return events
			}
			test.before(t, url, store, look())
			seen := look()
			test.meanwhile(t, url, store, look())
			err = test.late.give(t.Context(), store, "parked", seen)
			if test.told == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, eventstore.ErrConflict)
			require.ErrorContains(t, err, "1 of 2 events of parked at the same time")
			require.ErrorContains(t, err, "event "+seen[0].EventID.String()+" of subscription billing "+test.told)
		})
	}
}

// A move takes a retry along that nobody could handle in the sealed store.
func TestARetryIsHandledInTheStoreThatItsOwnWasMovedTo(t *testing.T) {
	from, to := sqliteURL(t), server.Database(t)
	ok(t, lines(2, 0, 6), "import", from)
	parkEvents(t, from, "billing", "parked")
	ok(t, "", "parked", "retry", from, "parked", "--all")
	ok(t, "", "move", from, to, "--state", t.TempDir())
	var handled []string
	billing := eventstore.Subscription{Name: "billing", ParkStream: "parked", Handler: func(_ context.Context, e eventstore.RecordedEvent) error {
		handled = append(handled, e.Stream)
		return nil
	}}
	runSubscription(t, from, billing)
	require.Empty(t, handled, "the old store is sealed")
	runSubscription(t, to, billing)
	require.Equal(t, []string{"counter-0", "counter-1"}, handled)
	require.Empty(t, listed(t, to, "parked"))
	require.Len(t, listed(t, from, "parked"), 2, "it stays as it was")
}

func TestASealedStoreTakesNoRetries(t *testing.T) {
	url := sqliteURL(t)
	ok(t, lines(1, 0, 2), "import", url)
	parkEvents(t, url, "billing", "parked")
	ok(t, "", "seal", url, "--reason", "moved")
	for _, command := range []string{"retry", "drop"} {
		got := call(t, "", "parked", command, url, "parked", "--all")
		require.Equal(t, exitSealed, got.code)
		require.Contains(t, got.err, "moved")
	}
}

func TestParkedCommandsSayWhatIsWrong(t *testing.T) {
	url := sqliteURL(t)
	ok(t, lines(1, 0, 2), "import", url)
	parkEvents(t, url, "billing", "parked")
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"an unknown command":      {[]string{"frob"}, `parked has no command "frob"`},
		"no stream":               {[]string{"list", url}, "parked list URL STREAM [flags]"},
		"a stream that cannot be": {[]string{"list", url, ""}, "invalid stream"},
		"no event":                {[]string{"retry", url, "parked"}, "or all that are open with --all"},
		"events and all":          {[]string{"drop", url, "parked", testID, "--all"}, "or all that are open with --all"},
		"no UUID":                 {[]string{"drop", url, "parked", "7"}, `event ID "7" is not a UUID`},
		"an unknown event":        {[]string{"drop", url, "parked", testID}, "was not parked in stream parked"},
		"a stream without any":    {[]string{"retry", url, "praked", "--all"}, "nothing was ever parked in stream praked;"},
		"none of a subscription":  {[]string{"drop", url, "parked", "--all", "--subscription", "mial"}, "nothing was ever parked in stream parked by subscription mial"},
		"another subscription":    {[]string{"retry", url, "parked", testID, "--subscription", "mail"}, "by subscription mail"},
	} {
		t.Run(name, func(t *testing.T) {
			got := call(t, "", append([]string{"parked"}, test.args...)...)
			require.Equal(t, exitUsage, got.code, got.err)
			require.Contains(t, got.err, test.want)
			require.Empty(t, got.out)
		})
	}
}

// The receiver has the event, and the relay is killed before it can record that.
func TestARelayThatIsKilledBeforeTheResultIsRecordedRetriesAgain(t *testing.T) {
	url := sqliteURL(t)
	ok(t, lines(1, 0, 3), "import", url)
	var received, refuse atomic.Int64
	refuse.Store(1)
	arrived, hold := make(chan struct{}, 1), make(chan struct{})
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if !strings.Contains(string(body), `"version":"2"`) {
			return
		}
		if refuse.Load() == 1 {
			w.WriteHeader(http.StatusUnprocessableEntity)
			return
		}
		if received.Add(1) == 1 {
			arrived <- struct{}{}
			<-hold
		}
	}))
	defer receiver.Close()
	args := []string{"relay", url, "--to", receiver.URL + "/hook", "--name", "web", "--park", "parked", "--until-caught-up", "--category", "counter"}
	ok(t, "", args...)
	require.Len(t, listed(t, url, "parked"), 1)
	refuse.Store(0)
	ok(t, "", "parked", "retry", url, "parked", "--all")

	cmd := program(t, args...)
	require.NoError(t, cmd.Start())
	<-arrived
	require.NoError(t, cmd.Process.Kill()) // kill -9
	require.Error(t, cmd.Wait())
	close(hold)
	require.Equal(t, eventstore.ParkedRetryRequested, listed(t, url, "parked")[0].State)
	ok(t, "", args...) // it waits for the lease of the one that was killed
	require.EqualValues(t, 2, received.Load(), "at least once, as always")
	require.Empty(t, listed(t, url, "parked"))
	require.Equal(t, eventstore.ParkedHandled, listed(t, url, "parked", "--all")[0].State)
	ok(t, "", args...)
	require.EqualValues(t, 2, received.Load())
}
