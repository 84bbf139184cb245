package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/switchyard-dev/switchyard/backends"
	"github.com/switchyard-dev/switchyard/backends/all"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/transfer"
)

// The exit codes.
const (
	exitOK = iota
	exitFailed
	exitUsage
	exitConflict
	exitUnknownOutcome
	exitSealed
)

// errUsage marks an error in how the command was called.
var errUsage = errors.New("usage")

func usagef(format string, args ...any) error {
	return &usageError{fmt.Sprintf(format, args...)}
}

type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

// Unwrap makes errors.Is(err, errUsage) true.
func (e *usageError) Unwrap() error { return errUsage }

// silent ends the program with a code after the command has said why.
type silent struct{ error }

// streams are a program's input and outputs.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// app is what all commands share: the streams and the persistent flags.
type app struct {
	streams
	config      string
	asJSON      bool
	asText      bool
	quiet       bool
	verbose     bool
	interactive bool // stderr is a terminal
}

// run executes one command line and returns the exit code.
func run(ctx context.Context, args []string, s streams) int {
	a := &app{streams: s, interactive: isTerminal(s.err)}
	started := false
	root := a.rootCommand()
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		if a.asJSON && a.asText {
			return usagef("--json and --text exclude each other")
		}
		if err := noEmptyFlag(cmd); err != nil {
			return err
		}
		started = true
		return nil
	}
	root.SetArgs(args)
	root.SetIn(s.in)
	root.SetOut(s.out)
	root.SetErr(s.err)
	cmd, err := root.ExecuteContextC(ctx)
	var said silent
	if err != nil && !errors.As(err, &said) {
		text := err.Error()
		if ctx.Err() != nil { // Go's words for Ctrl-C
			text = strings.ReplaceAll(text, context.Canceled.Error(), "interrupted")
		}
		fmt.Fprintf(s.err, "switchyard: %s\n", safeText(withoutURLs(text, args)))
		if !started {
			fmt.Fprintf(s.err, "Run '%s --help' for usage.\n", cmd.CommandPath())
		}
	}
	if err != nil && !started {
		return exitUsage
	}
	return exitCode(err)
}

// nameArguments has an error about a command's arguments say which it takes: the flag
// library only counts them.
func nameArguments(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			err := check(cmd, args)
			if err == nil || errors.Is(err, errUsage) {
				return err
			}
			return usagef("the usage is %q, and it was given %s", cmd.UseLine(), count(len(args), "argument"))
		}
	}
	for _, child := range cmd.Commands() {
		nameArguments(child)
	}
}

// noEmptyFlag refuses a flag that was given an empty text, as by a shell variable that is
// not set: the command would go on as if it had not been given, and append an event anew,
// for one, that --id should have recognised.
func noEmptyFlag(cmd *cobra.Command) (err error) {
	cmd.Flags().Visit(func(flag *pflag.Flag) {
		if flag.Value.Type() == "string" && flag.Value.String() == "" && flag.Name != "data" && err == nil {
			err = usagef("--%s is empty; give it a value, or leave it out", flag.Name)
		}
	})
	return err
}

// flagError says of a value that a flag cannot take what it would take.
func flagError(_ *cobra.Command, err error) error {
	var invalid *pflag.InvalidValueError
	if !errors.As(err, &invalid) {
		return err
	}
	var takes string
	switch kind := invalid.GetFlag().Value.Type(); {
	case strings.HasPrefix(kind, "int"):
		takes = "a whole number"
	case strings.HasPrefix(kind, "uint"):
		takes = "a whole number from 0"
	case kind == "duration":
		takes = "a duration such as 500ms or 2s"
	default:
		return err
	}
	return usagef("--%s %q is not %s", invalid.GetFlag().Name, invalid.GetValue(), takes)
}

// withoutURLs hides what stands in the wrong place of a command line: the flag
// library repeats it, and it may be a URL with a password.
func withoutURLs(text string, args []string) string {
	for _, arg := range args {
		if strings.Contains(arg, "://") {
			quoted := strconv.Quote(arg)
			text = strings.ReplaceAll(text, arg, all.Set().Redact(arg))
			text = strings.ReplaceAll(text, quoted[1:len(quoted)-1], all.Set().Redact(arg))
		}
	}
	return text
}

func exitCode(err error) int {
	var line *transfer.LineError
	var refused *transfer.RefusedError
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, eventstore.ErrUnknownOutcome):
		return exitUnknownOutcome
	case errors.Is(err, eventstore.ErrSealed):
		return exitSealed
	case errors.Is(err, eventstore.ErrConflict):
		return exitConflict
	case errors.As(err, &line), errors.As(err, &refused):
		return exitFailed // an invalid line, or an event that is stored elsewhere, is no wrong usage
	case errors.Is(err, errUsage), errors.Is(err, eventstore.ErrInvalid), errors.Is(err, transfer.ErrSameStore):
		return exitUsage
	}
	return exitFailed
}

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "switchyard",
		Short: "Work with event stores, whatever database holds them",
		Long: `switchyard works with event stores, whatever database holds them.

A store is named by a URL:

    ` + strings.Join(all.Set().Forms(), "\n    ") + `

or, as @NAME, by its name in a config file:

    stores:
      orders:
        url: postgres://app:${ORDERS_PASSWORD}@db.example.com/orders

On a terminal a command prints text; into a pipe, or with --json, it prints JSON,
one object a line (conformance and bench: one document). What goes on is told on
standard error.

Exit codes: 0 done, 1 failed or interrupted, 2 wrong usage, 3 version conflict,
4 unknown outcome, 5 sealed.`,
		Version:       version(),
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	flags := root.PersistentFlags()
	flags.StringVar(&a.config, "config", "switchyard.yaml", "`file` that @NAME refers to")
	flags.BoolVar(&a.asJSON, "json", false, "print JSON, one object a line, also on a terminal")
	flags.BoolVar(&a.asText, "text", false, "print text, also into a pipe")
	flags.BoolVarP(&a.quiet, "quiet", "q", false, "show no progress")
	flags.BoolVarP(&a.verbose, "verbose", "v", false, "log retries and lost connections to standard error")
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(
		a.quickstartCommand(), a.initCommand(), a.appendCommand(), a.readCommand(), a.followCommand(),
		a.importCommand(), a.exportCommand(), a.copyCommand(), a.verifyCommand(), a.moveCommand(), a.relayCommand(),
		a.sealCommand(), a.unsealCommand(), a.checkpointCommand(), a.parkedCommand(), a.statsCommand(), a.capsCommand(), a.conformanceCommand(), a.benchCommand(), a.compareCommand(), a.benchWorkerCommand(),
		a.checkCommand(), a.esdbtestCommand(), a.dynamodbtestCommand(),
	)
	nameArguments(root)
	root.SetFlagErrorFunc(flagError)
	return root
}

// version is that of the module that the program was built from; a build in a checkout has
// the commit's.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "unknown"
	}
	return info.Main.Version
}

// handle is a store that a command has open.
type handle struct {
	*eventstore.Store
	backend eventstore.Backend
	name    string // as it may be shown
}

// url returns the URL that an argument stands for, which may hold a credential,
// and how it may be shown.
func (a *app) url(arg string) (rawURL, name string, err error) {
	stored, isName := strings.CutPrefix(arg, "@")
	switch {
	case isName:
	case isBareName(arg):
		return "", "", &eventstore.InvalidError{Field: "store", Reason: fmt.Sprintf(
			"%q is no URL; write @%[1]s for the store of that name in %[2]s, sqlite:%[1]s for a file, or one of %[3]s",
			arg, a.config, strings.Join(all.Set().Forms(), ", "))}
	default:
		return arg, all.Set().Redact(arg), nil
	}
	config, err := backends.ReadConfig(a.config)
	if errors.Is(err, fs.ErrNotExist) {
		return "", "", fmt.Errorf("look up %s: %w; name the config file with --config", arg, err)
	}
	if err != nil {
		return "", "", err
	}
	rawURL, err = config.URL(stored)
	return rawURL, arg, err
}

// isBareName tells whether an argument can only be the name of a store or a file, which may
// be shown: no URL, and nothing that could hold a password.
func isBareName(arg string) bool {
	return arg != "" && !strings.ContainsFunc(arg, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("._-/", r)
	})
}

// located is one of several stores that a command was given.
type located struct {
	url   string // which may hold a credential
	shown string // how it may be shown
	name  string // the same, and no other store's: two URLs may differ in what is not shown
}

func (a *app) locate(args []string) ([]located, error) {
	stores := make([]located, len(args))
	for i, arg := range args {
		rawURL, shown, err := a.url(arg)
		if err != nil {
			return nil, err
		}
		name := shown
		for n := 2; slices.ContainsFunc(stores[:i], func(other located) bool { return other.name == name }); n++ {
			name = fmt.Sprintf("%s (%d)", shown, n)
		}
		stores[i] = located{rawURL, shown, name}
	}
	return stores, nil
}

// open opens a store for moving events: with the backend's own limits, and with
// reserved names, for what is stored must be readable and movable.
func (a *app) open(ctx context.Context, arg string) (*handle, error) {
	return a.openWith(ctx, arg, all.Set().OpenBackend, forMoving())
}

// openExisting is open for commands that only read, which make no store where a
// name is mistyped.
func (a *app) openExisting(ctx context.Context, arg string) (*handle, error) {
	return a.openWith(ctx, arg, all.Set().OpenExistingBackend, forMoving())
}

func forMoving() eventstore.Options {
	return eventstore.Options{BackendLimits: true, AllowReserved: true, ReadAnyName: true}
}

type openFunc = func(ctx context.Context, rawURL string) (eventstore.Backend, error)

func (a *app) openWith(ctx context.Context, arg string, open openFunc, opts eventstore.Options) (*handle, error) {
	rawURL, name, err := a.url(arg)
	if err != nil {
		return nil, err
	}
	backend, err := open(ctx, rawURL)
	if err != nil {
		return nil, err
	}
	if a.verbose {
		opts.Logger = slog.New(slog.NewTextHandler(a.err, nil))
	}
	store, err := eventstore.New(backend, &opts)
	if err != nil {
		return nil, errors.Join(err, backend.Close())
	}
	return &handle{Store: store, backend: backend, name: name}, nil
}

// with opens a store, which it makes where there is none, works with it and
// closes it.
func (a *app) with(ctx context.Context, arg string, work func(*handle) error) error {
	store, err := a.open(ctx, arg)
	return closeAfter(store, err, work)
}

// reading is with for work that only reads.
func (a *app) reading(ctx context.Context, arg string, work func(*handle) error) error {
	store, err := a.openExisting(ctx, arg)
	return closeAfter(store, err, work)
}

func closeAfter(store *handle, err error, work func(*handle) error) error {
	if err != nil {
		return err
	}
	return errors.Join(work(store), store.Close())
}
