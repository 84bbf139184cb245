package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/relay"
	"github.com/switchyard-dev/switchyard/relay/kafka"
)

type relayFlags struct {
	filterFlags
	to, name, source, after, park string
	untilCaughtUp                 bool
}

func (a *app) relayCommand() *cobra.Command {
	var f relayFlags
	cmd := &cobra.Command{
		Use:   "relay URL --to kafka://HOST/TOPIC|https://… --name NAME",
		Short: "Publish events to Kafka or a web address as they come, until Ctrl-C",
		Long: `Publish every event of the store, and then those that come, as CloudEvents 1.0: to a
Kafka topic for ordinary consumers, one record an event, keyed by its stream,
acknowledged by all replicas in sync; the topic must exist. Or to a web address, which
is sent batches (application/cloudevents-batch+json) and confirms each with 2xx.

It notes in the store, under the name, which events are published, and goes on after
them when it is started again. An event may come twice after a crash, as it was, and
is never left out; consumers pass over what they have seen, by source and id together.
One process at a time relays under a name: others wait, and take over when it ends.

While the target is away the relay waits. An event that it refuses, such as one that is
too large, is tried five times; then the relay ends and names it or, with --park,
appends a link to it to that stream and goes on.

Parameters of a topic's URL: mode=binary|structured, compression=none|gzip|snappy|
lz4|zstd, sasl=plain|scram-sha-256|scram-sha-512, password_file=FILE, tls=on|off,
ca=FILE, cert=FILE and key=FILE. A user needs sasl=; what the URL does not have of the
user and password may stand in SWITCHYARD_KAFKA_USER and SWITCHYARD_KAFKA_PASSWORD. Away
from this machine TLS is on unless the URL says otherwise.`,
		Example: `  switchyard relay sqlite:orders.db --to kafka://localhost:9092/orders --name 'orders to kafka' --category order
  switchyard relay @orders --to 'kafka://relay@b1.example.com:9093/orders?sasl=scram-sha-512&password_file=/run/secrets/kafka' --name kafka --park relay-parked`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case f.to == "":
				return usagef("say where to with --to kafka://HOST/TOPIC or --to https://…")
			case f.name == "":
				return usagef("give --name, under which the relay goes on where it was: a name for each target")
			}
			return a.reading(cmd.Context(), args[0], func(store *handle) error {
				return a.relay(cmd.Context(), store, f)
			})
		},
	}
	f.add(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.to, "to", "", "`URL` of the target: kafka://HOST:PORT,HOST:PORT/TOPIC or https://…")
	flags.StringVar(&f.name, "name", "", "`name` of the relay, which goes on where it was")
	flags.StringVar(&f.source, "source", "", "`URI` that stands for the store in the events' sources (default switchyard:ID of the store)")
	flags.StringVar(&f.after, "after", "", "start after this `position` where the name is new")
	flags.StringVar(&f.park, "park", "", "`stream` that takes a link to each event that the target refuses")
	flags.BoolVar(&f.untilCaughtUp, "until-caught-up", false, "end when everything that is stored is published")
	return cmd
}

func (a *app) relay(ctx context.Context, store *handle, f relayFlags) (err error) {
	var after eventstore.Position
	if err := parsePosition("--after", f.after, &after); err != nil {
		return err
	}
	source, err := f.sourceOf(ctx, store)
	if err != nil {
		return err
	}
	target, err := openTarget(ctx, f.to)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, target.Close()) }()

	told := a.tellRelay(store, target, f, after)
	sub := relay.New(f.name, told, func(_ context.Context, event eventstore.RecordedEvent) ([]relay.CloudEvent, error) {
		return []relay.CloudEvent{relay.FromEvent(source, event)}, nil
	})
	sub.Filter, sub.After, sub.ParkStream, sub.UntilCaughtUp = f.filter(), after, f.park, f.untilCaughtUp
	sub.Checkpoints = told.keep(a.tellWaiting(store, f.name))
	stop := told.start(ctx)
	err = store.Run(ctx, sub)
	stop()
	return errors.Join(err, a.printRelayed(told))
}

// sourceOf is what stands for the store in the events' sources.
func (f relayFlags) sourceOf(ctx context.Context, store *handle) (string, error) {
	if f.source == "" {
		info, err := store.Info(ctx)
		return relay.Source(info), err
	}
	if u, err := url.Parse(f.source); err != nil || !u.IsAbs() || u.RawQuery != "" || u.Fragment != "" {
		return "", usagef("--source: %q is no absolute URI without query and fragment, such as https://shop.example/events", f.source)
	}
	return f.source, nil
}

// target is a Publisher that is closed after use.
type target interface {
	relay.Publisher
	Close() error
}

func openTarget(ctx context.Context, rawURL string) (target, error) {
	u, err := url.Parse(rawURL)
	if err != nil { // its text may show a password
		return nil, usagef("--to cannot be read; percent-encode special characters, above all in passwords, and give the last broker its port")
	}
	switch {
	case u.Scheme == "kafka":
		publisher, err := kafka.OpenURL(ctx, u)
		if err != nil {
			return nil, fmt.Errorf("--to: %w", err)
		}
		return publisher, nil
	case (u.Scheme == "http" || u.Scheme == "https") && u.Host != "":
		return webAddress{relay.HTTP(nil, rawURL)}, nil
	}
	return nil, usagef("--to: a target is kafka://HOST:PORT/TOPIC or https://HOST/…")
}

// webAddress is a target that needs no closing.
type webAddress struct{ relay.Publisher }

// Close implements [target].
func (webAddress) Close() error { return nil }

// toldRelay publishes, and tells how it goes.
type toldRelay struct {
	relay.Publisher
	app   *app
	store *handle
	flags relayFlags

	mu        sync.Mutex
	published int
	waiting   string // why nothing can be published; empty while something can
	reached   eventstore.Position
	begun     time.Time
}

func (a *app) tellRelay(store *handle, to relay.Publisher, f relayFlags, after eventstore.Position) *toldRelay {
	return &toldRelay{Publisher: to, app: a, store: store, flags: f, reached: after, begun: time.Now()}
}

// Publish implements [relay.Publisher].
func (t *toldRelay) Publish(ctx context.Context, events []relay.CloudEvent) error {
	err := t.Publisher.Publish(ctx, events)
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case err == nil:
		t.published += len(events)
		if t.waiting != "" {
			t.waiting = ""
			fmt.Fprintln(t.app.err, "publishing again")
		}
	case ctx.Err() == nil && errors.Is(err, eventstore.ErrUnavailable) && t.waiting == "":
		t.waiting = err.Error()
		fmt.Fprintf(t.app.err, "waiting: %s\n", safeText(t.waiting))
	}
	return err
}

// keep follows what is noted as published, which passes over what is filtered out.
func (t *toldRelay) keep(checkpoints eventstore.Checkpoints) eventstore.Checkpoints {
	if checkpoints == nil {
		return nil
	}
	return &followed{Checkpoints: checkpoints, name: t.flags.name, saved: func(at eventstore.Position) {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.reached = at
	}}
}

// followed tells which place was loaded or saved last under a name.
type followed struct {
	eventstore.Checkpoints
	name  string
	saved func(eventstore.Position)
}

// Load implements [eventstore.Checkpoints].
func (f *followed) Load(ctx context.Context, req eventstore.LoadCheckpointRequest) (eventstore.LoadCheckpointResult, error) {
	result, err := f.Checkpoints.Load(ctx, req)
	if err == nil && result.Found && req.Name == f.name {
		f.saved(result.Checkpoint.Place.Position)
	}
	return result, err
}

// Save implements [eventstore.Checkpoints].
func (f *followed) Save(ctx context.Context, req eventstore.SaveCheckpointRequest) error {
	err := f.Checkpoints.Save(ctx, req)
	if err == nil && req.Checkpoint.Name == f.name {
		f.saved(req.Checkpoint.Place.Position)
	}
	return err
}

const (
	// lagEvery is how often a lag is told. What waits for less is no lag.
	lagEvery = 5 * time.Second
	// lagEvents is how many events that wait are counted at most.
	lagEvents = 1000
)

// start tells the lag now and then, until the returned function is called.
func (t *toldRelay) start(ctx context.Context) (stop func()) {
	if t.app.quiet {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(lagEvery / 10)
		defer ticker.Stop()
		last, behind := time.Now(), true // so that it is told when there is nothing to do
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			lag, err := t.lag(ctx, time.Since(last) >= lagEvery)
			switch {
			case err != nil: // the store is away, of which Run's log tells
			case lag.events == 0 && behind, lag.age >= lagEvery:
				last, behind = time.Now(), lag.events > 0
				fmt.Fprintln(t.app.err, t.line(lag))
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// relayLag is what is stored and not noted as published.
type relayLag struct {
	events int // up to lagEvents
	age    time.Duration
}

// lag looks whether anything waits and, where it is to count, how much. It goes by
// the checkpoint: what is published and not noted yet would come again.
func (t *toldRelay) lag(ctx context.Context, count bool) (relayLag, error) {
	info, err := t.store.Info(ctx)
	t.mu.Lock()
	reached := t.reached
	t.mu.Unlock()
	if err != nil || !reached.Before(info.Head.Position) {
		return relayLag{}, err
	}
	if !count {
		return relayLag{events: 1}, nil
	}
	var lag relayLag
	for event, err := range t.store.ReadAll(ctx, eventstore.ReadAllOptions{After: reached, Limit: lagEvents, Filter: t.flags.filter()}) {
		if err != nil {
			return lag, err
		}
		if lag.events == 0 {
			lag.age = time.Since(event.RecordedAt)
		}
		lag.events++
	}
	return lag, nil
}

func (t *toldRelay) line(lag relayLag) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	done := "published " + count(t.published, "event")
	switch {
	case lag.events == 0:
		return done + "; caught up, Ctrl-C ends it"
	case lag.events >= lagEvents:
		return fmt.Sprintf("%s; behind by %s events or more, the oldest recorded %s ago", done, grouped(lagEvents), lag.age.Round(time.Second))
	}
	return fmt.Sprintf("%s; behind by %s, the oldest recorded %s ago", done, count(lag.events, "event"), lag.age.Round(time.Second))
}

func (a *app) printRelayed(t *toldRelay) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if a.json() {
		return a.printJSON(map[string]any{"published": t.published, "checkpoint": t.reached})
	}
	return a.printf("published %s in %s, up to position %s\n", count(t.published, "event"), time.Since(t.begun).Round(time.Millisecond), t.reached)
}
