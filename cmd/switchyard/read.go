package main

import (
	"bufio"
	"fmt"
	"iter"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/cloudevents"
	"github.com/switchyard-dev/switchyard/internal/transfer"
)

// filterFlags are the flags that choose events of the global order.
type filterFlags struct {
	categories, prefixes, types []string
}

func (f *filterFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&f.categories, "category", nil, "only streams of this `category` (the part before the first '-'); may be repeated")
	cmd.Flags().StringArrayVar(&f.prefixes, "prefix", nil, "only streams whose ID starts with this `text`; may be repeated")
	cmd.Flags().StringArrayVar(&f.types, "type", nil, "only events of this `type`; may be repeated")
}

// filter selects what matches any value of a flag, and does so for each flag given.
func (f *filterFlags) filter() eventstore.Filter {
	return eventstore.Filter{Categories: f.categories, StreamPrefixes: f.prefixes, Types: f.types}
}

type readFlags struct {
	filterFlags
	all, backward bool
	after, before string
	limit         int
}

func (a *app) readCommand() *cobra.Command {
	var f readFlags
	cmd := &cobra.Command{
		Use:   "read URL STREAM | read URL --all",
		Short: "Print the events of a stream, or of the whole store",
		Long: `Print the events of a stream in the order of their versions, or with --all those of
the whole store in its global order. --after and --before are exclusive: versions
of a stream, positions with --all.

As JSON each event is a line in the form of 'switchyard export'.`,
		Example: `  switchyard read sqlite:orders.db order-42 --after 3
  switchyard read sqlite:orders.db --all --category order --type OrderPlaced --backward --limit 10`,
		Args: func(_ *cobra.Command, args []string) error {
			if want := 2; len(args) == want && !f.all || len(args) == want-1 && f.all {
				return nil
			}
			return usagef("give a store's URL and either a stream or --all")
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.reading(cmd.Context(), args[0], func(store *handle) error {
				events, err := f.events(cmd, store, args[1:])
				if err != nil {
					return err
				}
				return a.printEvents(cmd, store, events)
			})
		},
	}
	f.add(cmd)
	flags := cmd.Flags()
	flags.BoolVar(&f.all, "all", false, "read the whole store")
	flags.StringVar(&f.after, "after", "", "start after this version, or `position` with --all")
	flags.StringVar(&f.before, "before", "", "end before this version, or `position` with --all")
	flags.BoolVar(&f.backward, "backward", false, "the last event first")
	flags.IntVar(&f.limit, "limit", 0, "the most `events` to print; 0 is no limit")
	return cmd
}

func (f *readFlags) events(cmd *cobra.Command, store *handle, stream []string) (iter.Seq2[eventstore.RecordedEvent, error], error) {
	if f.all {
		opts := eventstore.ReadAllOptions{Backward: f.backward, Limit: f.limit, Filter: f.filter()}
		if err := parsePosition("--after", f.after, &opts.After); err != nil {
			return nil, err
		}
		if err := parsePosition("--before", f.before, &opts.Before); err != nil {
			return nil, err
		}
		return store.ReadAll(cmd.Context(), opts), nil
	}
	if !f.filter().IsZero() {
		return nil, usagef("--category, --prefix and --type need --all")
	}
	opts := eventstore.ReadOptions{Backward: f.backward, Limit: f.limit}
	if err := parseVersion("--after", f.after, &opts.After); err != nil {
		return nil, err
	}
	if err := parseVersion("--before", f.before, &opts.Before); err != nil {
		return nil, err
	}
	return store.ReadStream(cmd.Context(), stream[0], opts), nil
}

func parsePosition(flag, text string, into *eventstore.Position) (err error) {
	if text == "" {
		return nil
	}
	if *into, err = eventstore.ParsePosition(text); err != nil {
		return usagef("%s: %s", flag, err)
	}
	return nil
}

func parseVersion(flag, text string, into *uint64) (err error) {
	if text == "" {
		return nil
	}
	if *into, err = strconv.ParseUint(text, 10, 63); err != nil {
		return usagef("%s: %q is not a version; give a number from 0", flag, text)
	}
	return nil
}

// printEvents prints events until they end.
func (a *app) printEvents(cmd *cobra.Command, store *handle, events iter.Seq2[eventstore.RecordedEvent, error]) error {
	printer, err := a.eventPrinter(cmd, store)
	if err != nil {
		return err
	}
	for event, err := range events {
		if err == nil {
			err = printer.print(event)
		}
		if err != nil {
			_ = printer.flush()
			return err
		}
	}
	return printer.flush()
}

// eventPrinter prints events, as text for people or as NDJSON.
type eventPrinter struct {
	out    *bufio.Writer
	source string // of NDJSON; empty for text
	line   []byte
}

func (a *app) eventPrinter(cmd *cobra.Command, store *handle) (*eventPrinter, error) {
	p := &eventPrinter{out: bufio.NewWriterSize(a.out, 64<<10)}
	if !a.json() {
		return p, nil
	}
	info, err := store.Info(cmd.Context())
	p.source = cloudevents.Source(info.ID)
	return p, err
}

func (p *eventPrinter) print(event eventstore.RecordedEvent) error {
	if p.source != "" {
		p.line = transfer.AppendLine(p.line[:0], p.source, event)
	} else {
		p.line = appendText(p.line[:0], event)
	}
	if _, err := p.out.Write(p.line); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}

func (p *eventPrinter) flush() error {
	if err := p.out.Flush(); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}

// dataWidth is how much of an event's data text output shows.
const dataWidth = 100

// appendText appends an event as one line for people.
func appendText(b []byte, event eventstore.RecordedEvent) []byte {
	b = fmt.Appendf(b, "%-8s %s %s@%d %s ", event.Position, event.RecordedAt.Format(time.RFC3339), safe(event.Stream), event.Version, safe(event.Type))
	b = append(b, clip(safe(beginning(event.Data, utf8.UTFMax*(dataWidth+1))), dataWidth)...)
	return append(b, '\n')
}

// beginning returns the first bytes of data, at most so many, without the half of
// a character that they end in: it would make the whole text look like no text.
func beginning(data []byte, most int) string {
	if len(data) <= most {
		return string(data)
	}
	cut := most
	for cut > most-utf8.UTFMax && !utf8.RuneStart(data[cut]) {
		cut--
	}
	if !utf8.RuneStart(data[cut]) {
		cut = most // it is no text
	}
	return string(data[:cut])
}
