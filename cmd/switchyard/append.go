package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/switchyard-dev/switchyard/backends/all"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/transfer"
)

type appendFlags struct {
	eventType, expect, id, data, contentType string
	metadata                                 []string
}

func (a *app) appendCommand() *cobra.Command {
	var f appendFlags
	cmd := &cobra.Command{
		Use:   "append URL STREAM --type TYPE",
		Short: "Append one event to a stream",
		Long: `Append one event to the end of a stream, if the stream is where --expect says.
The data is that of --data, or standard input. Of JSON on standard input the line
break that ends it is left out; everything else keeps its bytes.

With --id the command may be run again after a failure: the store recognises the
event and stores it once. After exit code 4, where it may or may not be stored, the
event's ID is printed; run the command again with it.`,
		Example: `  switchyard append sqlite:orders.db order-42 --type OrderPlaced --expect none --data '{"total":9.5}'
  echo '{"reason":"late"}' | switchyard append @orders order-42 --type OrderCancelled --expect 1`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error { return a.appendEvent(cmd, args[0], args[1], f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.eventType, "type", "", "the event's `type`, such as OrderPlaced")
	flags.StringVar(&f.expect, "expect", "any", "where the stream must be: any, none, exists or a `version`")
	flags.StringVar(&f.id, "id", "", "the event's ID, a `UUID`; default is a new one")
	flags.StringVar(&f.data, "data", "", "the event's `data`; default is standard input")
	flags.StringVar(&f.contentType, "content-type", eventstore.JSONContentType, "the data's media `type`")
	flags.StringArrayVar(&f.metadata, "meta", nil, "metadata, as `key=value`; may be repeated")
	return cmd
}

func (a *app) appendEvent(cmd *cobra.Command, url, stream string, f appendFlags) error {
	if f.eventType == "" {
		return usagef("give the event's type with --type")
	}
	for _, given := range [][2]string{{"stream", stream}, {"--type", f.eventType}} {
		if strings.HasPrefix(given[1], "$") {
			return usagef("%s %q starts with '$', which is reserved; choose another name (import and copy take what other programs have named so)", given[0], clip(given[1], 64))
		}
	}
	expected, err := eventstore.ParseExpectedVersion(f.expect)
	if err != nil {
		return usagef("--expect: %s", err)
	}
	event, err := f.event()
	if err != nil {
		return err
	}
	if !cmd.Flags().Changed("data") {
		if isTerminal(a.in) {
			return usagef("give the data with --data, or on standard input")
		}
		if event.Data, err = io.ReadAll(a.in); err != nil {
			return fmt.Errorf("read standard input: %w", err)
		}
		if event.IsJSON() {
			event.Data = withoutLineBreak(event.Data)
		}
	}
	store, err := a.openWith(cmd.Context(), url, all.Set().OpenBackend, eventstore.Options{})
	if err != nil {
		return err
	}
	defer func() { _ = store.Close() }()
	result, err := store.Append(cmd.Context(), stream, expected, event)
	return a.printAppended(stream, result, err)
}

// printAppended prints where an event is or, where nobody knows, the ID that
// settles it.
func (a *app) printAppended(stream string, result eventstore.AppendResult, err error) error {
	var unknown *eventstore.UnknownOutcomeError
	switch {
	case errors.As(err, &unknown):
		return errors.Join(err, a.printUnknown(stream, unknown.Parts[0].Events[0].ID))
	case err != nil:
		return err
	}
	id := result.Events[0].ID
	if a.json() {
		return a.printJSON(map[string]any{
			"stream": stream, "version": result.Version, "position": result.Position, "id": id, "duplicate": result.Duplicate,
		})
	}
	verb := "appended"
	if result.Duplicate {
		verb = "stored before:"
	}
	return a.printf("%s event %s at version %d of stream %s, position %s\n", verb, id, result.Version, safe(stream), result.Position)
}

func (a *app) printUnknown(stream string, id uuid.UUID) error {
	if a.json() {
		return a.printJSON(map[string]any{"stream": stream, "id": id, "outcome": "unknown"})
	}
	return a.printf("unknown: event %s may be in stream %s; run the command again with --id %s\n", id, safe(stream), id)
}

// withoutLineBreak removes the one line break that programs end their output with.
// In JSON it means nothing, and with it the data could not stand in a line of JSON.
func withoutLineBreak(data []byte) []byte {
	text, found := bytes.CutSuffix(data, []byte("\n"))
	if found {
		text = bytes.TrimSuffix(text, []byte("\r"))
	}
	return text
}

// event makes the event of the flags, without data that comes from elsewhere.
func (f appendFlags) event() (eventstore.Event, error) {
	event := eventstore.Event{Type: f.eventType, ContentType: f.contentType, Data: []byte(f.data)}
	var err error
	if f.id != "" {
		if event.ID, err = transfer.ParseID(f.id); err != nil {
			return event, usagef("--id %s", err)
		}
	}
	for _, pair := range f.metadata {
		key, value, ok := strings.Cut(pair, "=")
		if !ok {
			return event, usagef("--meta %q is not of the form key=value", pair)
		}
		event = event.WithMetadata(key, value)
	}
	return event, nil
}
