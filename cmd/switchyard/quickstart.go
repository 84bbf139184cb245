package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/switchyard-dev/switchyard/backends/all"
	"github.com/switchyard-dev/switchyard/conformance"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/githistory"
	"github.com/switchyard-dev/switchyard/internal/transfer"
	"github.com/switchyard-dev/switchyard/internal/urlparam"
)

type quickstartFlags struct {
	dir, repository, match string
	commits                int
}

func (a *app) quickstartCommand() *cobra.Command {
	var f quickstartFlags
	cmd := &cobra.Command{
		Use:   "quickstart [URL]",
		Short: "See the main job done on real events, in seconds",
		Long: `Import the history of the git repository that it runs in (or a small one that it
brings along) into an embedded store, read a stream, follow the store while two
writers race, run the conformance suite (with its long checks at a smaller scale),
and copy everything to another backend.

It shows each command before it runs it. The store is in a temporary folder that is
removed at the end, unless --dir names another. With a URL it is a fresh store beside
the URL's own, which is not touched, and is always removed.`,
		Example: `  switchyard quickstart
  switchyard quickstart --dir /tmp/try
  switchyard quickstart postgres://me@localhost/test`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.quickstart(cmd.Context(), args, f) },
	}
	cmd.Flags().StringVar(&f.dir, "dir", "", "keep the store and the imported file in this `folder`")
	cmd.Flags().StringVar(&f.repository, "repository", ".", "import the history of the git repository in this `folder`")
	cmd.Flags().StringVar(&f.match, "match", "", "of the conformance suite, run only checks whose name matches this regular `expression`")
	cmd.Flags().IntVar(&f.commits, "commits", 2000, "import the changes of this `number` of commits, the last ones; 0 is all")
	return cmd
}

// tour is one run of the quickstart.
type tour struct {
	*app
	dir  string
	url  string
	name string     // of the store, as it may be shown
	mu   sync.Mutex // the output of commands that run at once
}

func (a *app) quickstart(ctx context.Context, args []string, f quickstartFlags) (err error) {
	if f.commits < 0 {
		return usagef("--commits %d: give 0, which is all, or more", f.commits)
	}
	if err := selectsCheck("--match", f.match); err != nil {
		return err
	}
	if _, err := os.Stat(f.repository); err != nil {
		return usagef("--repository: %s", err)
	}
	started := time.Now()
	text := *a
	text.asText = true // it is for reading
	t := &tour{app: &text, dir: f.dir}
	if f.dir == "" {
		if t.dir, err = os.MkdirTemp("", "switchyard-"); err != nil {
			return fmt.Errorf("make a temporary folder: %w; name a folder with --dir", err)
		}
		defer func() { err = errors.Join(err, os.RemoveAll(t.dir)) }()
	} else if err := os.MkdirAll(f.dir, 0o750); err != nil {
		return fmt.Errorf("make the folder of --dir: %w", err)
	}
	t.url = urlparam.File("sqlite", filepath.Join(t.dir, "quickstart.db")).String()
	t.name = t.url
	if len(args) > 0 {
		remove, err := t.beside(ctx, args[0])
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, remove(context.WithoutCancel(ctx))) }()
	}
	for _, step := range []func(context.Context, quickstartFlags) error{t.load, t.read, t.race, t.prove, t.swap} {
		if err := step(ctx, f); err != nil {
			return err
		}
	}
	if err := t.say("\nDone in %s. Every command has --help.", time.Since(started).Round(100*time.Millisecond)); err != nil {
		return err
	}
	if f.dir == "" || len(args) > 0 {
		return t.say("The temporary store is removed now; 'switchyard quickstart --dir FOLDER' keeps it.")
	}
	return nil
}

// beside makes the tour's store a fresh one where a URL's lives.
func (t *tour) beside(ctx context.Context, arg string) (remove func(context.Context) error, err error) {
	rawURL, name, err := t.app.url(arg)
	if err != nil {
		return nil, err
	}
	isolated, err := isolate(ctx, rawURL)
	if err != nil {
		return nil, err
	}
	if isolated.URL == "" {
		return nil, usagef("quickstart: each command would get a store of its own from %s", name)
	}
	t.url, t.name = isolated.URL, name
	return isolated.Remove, nil
}

func (t *tour) say(format string, args ...any) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.printf(format+"\n", args...)
}

// command shows a command line and runs it in this process, with its output
// behind a prefix. It returns the exit code.
func (t *tour) command(ctx context.Context, prefix string, args ...string) (int, error) {
	shown := make([]string, len(args))
	for i, arg := range args {
		if arg == t.url {
			arg = t.name
		}
		if shown[i] = arg; strings.ContainsAny(arg, ` "'{}$*|`) {
			shown[i] = "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
		}
	}
	if err := t.say("%s$ switchyard %s", prefix, safeText(strings.Join(shown, " "))); err != nil {
		return 0, err
	}
	out := &prefixed{tour: t, prefix: prefix}
	code := run(ctx, append([]string{"--text", "--quiet"}, args...), streams{in: strings.NewReader(""), out: out, err: out})
	return code, out.err
}

// must runs a command that has to succeed.
func (t *tour) must(ctx context.Context, args ...string) error {
	code, err := t.command(ctx, "", args...)
	if err == nil && code != exitOK {
		err = silent{fmt.Errorf("switchyard %s ended with code %d", args[0], code)}
	}
	return err
}

// prefixed writes whole lines behind a prefix.
type prefixed struct {
	tour   *tour
	prefix string
	rest   []byte
	err    error
}

func (p *prefixed) Write(text []byte) (int, error) {
	p.tour.mu.Lock()
	defer p.tour.mu.Unlock()
	p.rest = append(p.rest, text...)
	for {
		line, rest, ok := bytes.Cut(p.rest, []byte("\n"))
		if !ok {
			return len(text), p.err
		}
		p.rest = rest
		p.err = errors.Join(p.err, p.tour.printf("%s%s\n", p.prefix, line))
	}
}

// load imports a history.
func (t *tour) load(ctx context.Context, f quickstartFlags) error {
	path := filepath.Join(t.dir, "history.ndjson")
	file, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("write the history: %w", err)
	}
	summary, err := githistory.Write(ctx, file, f.repository, f.commits)
	if errors.Is(err, githistory.ErrNoHistory) && ctx.Err() == nil {
		if err := t.say("# There is no git history here, so this is the beginning of Switchyard's own (Apache-2.0)."); err != nil {
			return errors.Join(err, file.Close())
		}
		_, err = file.ReadFrom(githistory.Sample())
	} else if err == nil {
		err = t.say("# 1. Events: %s changes of files in %s commits of this git repository.", grouped(summary.Events), grouped(summary.Commits))
	}
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	return t.must(ctx, "import", t.url, path)
}

// read shows the end of the longest stream.
func (t *tour) read(ctx context.Context, _ quickstartFlags) error {
	var stats transfer.Stats
	err := t.with(ctx, t.url, func(store *handle) (err error) {
		stats, err = transfer.Measure(ctx, store.Store, nil)
		return err
	})
	if err != nil {
		return err
	}
	if err := t.say("\n# 2. One stream for each of %s files; the last changes of the one that changed most:", grouped(stats.Streams)); err != nil {
		return err
	}
	return t.must(ctx, "read", t.url, stats.Longest, "--backward", "--limit", "3")
}

// race follows the store while two writers append with the same expectation.
func (t *tour) race(ctx context.Context, _ quickstartFlags) error {
	if err := t.say("\n# 3. Follow the store live, while two writers both want the first seat."); err != nil {
		return err
	}
	var head eventstore.Position
	err := t.with(ctx, t.url, func(store *handle) error {
		info, err := store.Info(ctx)
		head = info.Head.Position
		return err
	})
	if err != nil {
		return err
	}
	stream := "seat-" + time.Now().UTC().Format("150405.000")
	following, stop := context.WithCancel(ctx)
	defer stop()
	var done sync.WaitGroup
	var failed [3]error
	done.Go(func() {
		_, failed[2] = t.command(following, "follow | ", "follow", t.url, "--after", head.String(), "--category", "seat")
	})
	var writers sync.WaitGroup
	var codes [2]int
	for i, name := range []string{"Ada", "Bob"} {
		writers.Go(func() {
			codes[i], failed[i] = t.command(ctx, name+"    | ", "append", t.url, stream, "--type", "SeatTaken", "--expect", "none", "--data", fmt.Sprintf(`{"by":%q}`, name))
		})
	}
	writers.Wait()
	err = t.waitFor(ctx, stream)
	stop()
	done.Wait()
	if err := errors.Join(append(failed[:], err)...); err != nil {
		return err
	}
	if codes[0]+codes[1] != exitConflict {
		return fmt.Errorf("one writer was to win and one to see a conflict, but they ended with the codes %d and %d", codes[0], codes[1])
	}
	return t.say("One was told that somebody was faster (exit code %d), and nothing was lost.", exitConflict)
}

// waitFor waits until a follower has had the time to see the last append: until
// another subscription of the same kind has seen it, and a little longer.
func (t *tour) waitFor(ctx context.Context, stream string) error {
	return t.with(ctx, t.url, func(store *handle) error {
		for message, err := range store.Subscribe(ctx, eventstore.SubscribeOptions{Filter: eventstore.Filter{StreamPrefixes: []string{stream}}}) {
			if err != nil {
				return err
			}
			if message.Kind == eventstore.MessageEvent {
				break
			}
		}
		pause := time.NewTimer(2 * store.Capabilities().PollInterval)
		defer pause.Stop()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-pause.C:
			return nil
		}
	})
}

// prove runs the conformance suite on a fresh store beside this one.
func (t *tour) prove(ctx context.Context, f quickstartFlags) error {
	command := t.name + " --scale " + smallScale
	if f.match != "" {
		command += " --match '" + f.match + "'"
	}
	if err := t.say("\n# 4. Prove that this backend keeps every promise, on a fresh store beside this one.\n$ switchyard conformance %s", safeText(command)); err != nil {
		return err
	}
	report, err := t.runSuite(ctx, suite{url: t.url, name: t.name, small: true}, conformance.Options{Match: f.match})
	if err != nil {
		return err
	}
	if !report.OK() {
		return errors.Join(errors.New("the conformance suite failed"), report.WriteText(t.out))
	}
	return t.say("%s", report.Summary())
}

// swap copies everything to a store of another backend. That one is in memory,
// so it is opened here and not by commands that would each get one of their own.
func (t *tour) swap(ctx context.Context, _ quickstartFlags) error {
	const target = "memory:"
	if err := t.say("\n# 5. Swap the storage: copy everything to another backend, and prove the copy equal.\n$ switchyard copy %s %s", t.name, target); err != nil {
		return err
	}
	return t.with(ctx, t.url, func(from *handle) error {
		backend, err := all.Set().OpenBackend(ctx, target)
		if err != nil {
			return err
		}
		to, err := eventstore.New(backend, &eventstore.Options{BackendLimits: true})
		if err != nil {
			return errors.Join(err, backend.Close())
		}
		defer func() { _ = to.Close() }()
		result, err := transfer.Copy(ctx, from.Store, to, nil)
		if err != nil {
			return err
		}
		if err := t.say("copied %s\n$ switchyard verify %s %s", count(result.Stored, "event"), t.name, target); err != nil {
			return err
		}
		report, err := transfer.Verify(ctx, from.Store, to, nil)
		if err != nil {
			return err
		}
		if err := t.printReport(t.name, target, report); err != nil {
			return err
		}
		if !report.Equal() {
			return errDiffer
		}
		return nil
	})
}
