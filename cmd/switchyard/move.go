package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/switchyard-dev/switchyard/backends/all"
	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/internal/move"
)

type moveFlags struct {
	dryRun, writersStopped   bool
	maxLag                   time.Duration
	stateDir, format, output string
	refused                  refusedFlag
}

func (a *app) moveCommand() *cobra.Command {
	var f moveFlags
	cmd := &cobra.Command{
		Use:   "move FROM TO",
		Short: "Move a live store to another backend, lose nothing, and show it",
		Long: `Move a store to another backend while applications use it. Seven phases, each told:

  fits       does TO hold what FROM has; says what would not fit, before anything is written
  copy       every event, at its version, with its ID; both stores are read back for digests
  follow     what comes meanwhile, until TO is nearly level; both are compared so far
  seal       FROM refuses every append from here on, with the reason and where to go
  drain      the last events
  verify     every stream's digest and the order of all events, of both stores
  translate  every checkpoint that FROM keeps, to the same event's place in TO

End it in any way, at any point, and run it again: it goes on where it was. --dry-run ends
before the seal. To give up, 'switchyard unseal FROM'. The way back is a move the other
way, into a fresh store or into the sealed one, which is opened behind FROM's seal: nobody
can append while what came since is copied.

A FROM that cannot be sealed (see caps) is closed by hand: stop every program that writes
to it and say so with --writers-stopped; the report says what is then not proved.

` + refusedHelp,
		Example: `  switchyard move sqlite:orders.db postgres://db.example.com/orders --dry-run
  switchyard move sqlite:orders.db postgres://db.example.com/orders --format markdown -o moved.md`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error { return a.move(cmd.Context(), args[0], args[1], f) },
	}
	f.refused.add(cmd)
	flags := cmd.Flags()
	flags.BoolVar(&f.dryRun, "dry-run", false, "end before the seal: applications stay on FROM")
	flags.BoolVar(&f.writersStopped, "writers-stopped", false, "nobody writes to a FROM that cannot be sealed: you have seen to it")
	flags.DurationVar(&f.maxLag, "max-lag", 500*time.Millisecond, "how far TO may be behind when FROM is sealed")
	flags.StringVar(&f.stateDir, "state", "", "`folder` for the digests that a next start goes on with; default is switchyard in the user's cache")
	flags.StringVar(&f.format, "format", "", "form of the report: text, json or markdown")
	flags.StringVarP(&f.output, "output", "o", "", "`file` for the report; default is standard output")
	return cmd
}

func (a *app) move(ctx context.Context, fromArg, toArg string, f moveFlags) error {
	render, ok := a.moveReport(f.format)
	if !ok {
		return usagef("--format %q is not text, json or markdown", f.format)
	}
	if f.maxLag < 10*time.Millisecond { // to read what was just written takes some
		return usagef("--max-lag %s is below 10ms, which no store may ever reach", f.maxLag)
	}
	if err := writable(f.output); err != nil {
		return err
	}
	return a.reading(ctx, fromArg, func(from *handle) error {
		return a.with(ctx, toArg, func(to *handle) error {
			if _, ends := to.backend.(*memory.Backend); ends && !f.dryRun {
				return usagef("%s ends with this command, and FROM would stay sealed; move to a store that stays, or use --dry-run", to.name)
			}
			report, err := a.moveStore(ctx, from, to, fromArg, toArg, f)
			if report == nil {
				return err
			}
			text, failed := render(report)
			return errors.Join(err, failed, a.writeReport(f.output, text))
		})
	})
}

func (a *app) moveStore(ctx context.Context, from, to *handle, fromArg, toArg string, f moveFlags) (*move.Report, error) {
	sides := [2]move.Side{}
	for i, side := range []struct {
		arg string
		*handle
	}{{fromArg, from}, {toArg, to}} {
		rawURL, _, err := a.url(side.arg)
		if err != nil {
			return nil, err
		}
		sides[i] = move.Side{Store: side.Store, Checkpoints: side.backend.Records().Checkpoints, Name: all.Set().Redact(rawURL)}
		sides[i].LeftOut = leftOut(side.arg, rawURL, sides[i].Name)
	}
	progress := a.report("read back")
	defer func() { progress.end() }()
	report, err := move.Move(ctx, sides[0], sides[1], &move.Options{
		OnRefused: f.refused.remedies, DryRun: f.dryRun, WritersStopped: f.writersStopped, MaxLag: f.maxLag, StateDir: f.stateFolder(),
		Phase: func(phase move.Phase) {
			progress.end()
			a.tell("%s", phase.Describe())
			progress = a.report(string(phase))
		},
		Progress: func(done, total int) {
			progress.total(total)
			progress.at(done)
		},
		Tell: func(line string) { a.tell("%s", line) },
	})
	if err != nil && ctx.Err() != nil && !report.OtherRun {
		err = fmt.Errorf("interrupted; run it again to go on: %w", err)
	}
	return report, err
}

// leftOut says what a redacted URL does not show, and where that stands. Without its
// parameters a URL may name another store: another schema, another namespace.
func leftOut(arg, rawURL, redacted string) string {
	switch {
	case rawURL == redacted:
		return ""
	case strings.HasPrefix(arg, "@"):
		return "with the user, the password and the parameters of " + arg
	}
	return "with the user, the password and the parameters that move was given"
}

// tell writes a line about what goes on, unless nobody wants to hear of it.
func (a *app) tell(format string, args ...any) {
	if !a.quiet {
		fmt.Fprintln(a.err, safeText(fmt.Sprintf(format, args...)))
	}
}

// stateFolder is where digests are kept for a next start; "", which keeps none,
// where the system has no place for that.
func (f moveFlags) stateFolder() string {
	if f.stateDir != "" {
		return f.stateDir
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(cache, "switchyard")
}

// moveReport returns how a report is written in a form.
func (a *app) moveReport(format string) (func(*move.Report) (string, error), bool) {
	if format == "" {
		format = "text"
		if a.json() {
			format = "json"
		}
	}
	switch format {
	case "text":
		return asText((*move.Report).WriteText), true
	case "markdown":
		return asText((*move.Report).WriteMarkdown), true
	case "json":
		return func(r *move.Report) (string, error) { return jsonLine(r) }, true
	}
	return nil, false
}

func asText(render func(*move.Report, io.Writer) error) func(*move.Report) (string, error) {
	return func(r *move.Report) (string, error) {
		var b strings.Builder
		err := render(r, &b)
		return safeText(b.String()), err
	}
}

// writable refuses a file for a report before the work whose only proof that is. A file
// that is there is left as it is, and none is made; "" is standard output.
func writable(file string) error {
	if file == "" {
		return nil
	}
	_, absent := os.Lstat(file)
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("the report's file: %w", err)
	}
	err = f.Close()
	if errors.Is(absent, fs.ErrNotExist) {
		err = errors.Join(err, os.Remove(file))
	}
	return err
}

func (a *app) writeReport(file, text string) error {
	if file == "" {
		return write(a.out, text)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return errors.Join(fmt.Errorf("write the report, which is printed instead: %w", err), write(a.out, text))
	}
	return nil
}
