package esdbtest

import (
	"fmt"
	"strings"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/dlclark/regexp2"
)

// filter keeps some of the records of $all. The zero filter keeps all.
type filter struct {
	set      bool // the client sent a filter
	byType   bool // match the event type, else the stream name
	prefixes []string
	cultural []culturalPrefix // in their place, where they are compared by culture
	pattern  *regexp2.Regexp  // goes before prefixes
	window   int              // how many records a page may consider
	interval int              // how many considered records there are between checkpoints
}

func (f *filter) matches(r *record) bool {
	if !f.set {
		return true
	}
	text := r.stream
	if f.byType {
		text = r.eventType
	}
	if f.pattern != nil {
		found, err := f.pattern.MatchString(text)
		return err == nil && found // it fails by time-out only, and has none
	}
	for i := range f.cultural {
		if f.cultural[i].begins(text) {
			return true
		}
	}
	for _, prefix := range f.prefixes {
		if strings.HasPrefix(text, prefix) {
			return true
		}
	}
	return false
}

// parseFilter reads the filter of a request to $all.
func (s *Server) parseFilter(options *streams.ReadReq_Options) (filter, error) {
	wanted := options.GetFilter()
	if wanted == nil {
		return filter{window: pageSize}, nil
	}
	f := filter{set: true}
	var expression *streams.ReadReq_Options_FilterOptions_Expression
	switch kind := wanted.GetFilter().(type) {
	case *streams.ReadReq_Options_FilterOptions_EventType:
		f.byType, expression = true, kind.EventType
	case *streams.ReadReq_Options_FilterOptions_StreamIdentifier:
		expression = kind.StreamIdentifier
	default:
		return filter{}, invalidArgument(fmt.Sprintf(
			"'%s' is not a valid EventStore.Client.Streams.ReadReq+Types+Options+Types+FilterOptions", describe(wanted)))
	}
	switch window := wanted.GetWindow().(type) {
	case *streams.ReadReq_Options_FilterOptions_Max:
		f.window = int(window.Max)
	case *streams.ReadReq_Options_FilterOptions_Count:
		f.window = pageSize
	default:
		return filter{}, notOneOf("ReadReq+Types+Options+Types+FilterOptions+Window")
	}
	switch text := expression.GetRegex(); {
	case text != "":
		pattern, err := regexp2.Compile(text, regexp2.None) // .NET's syntax and meaning
		if err != nil {
			return filter{}, handlerError()
		}
		f.pattern = pattern
	case s.opts.OrdinalPrefixes:
		f.prefixes = expression.GetPrefix()
	default:
		for _, prefix := range expression.GetPrefix() {
			f.cultural = append(f.cultural, newCulturalPrefix(prefix))
		}
	}
	f.interval = f.window * int(wanted.GetCheckpointIntervalMultiplier())
	return f, nil
}

// describe writes filter options that name nothing to filter by, as the server's
// messages have them.
func describe(options *streams.ReadReq_Options_FilterOptions) string {
	var members []string
	switch window := options.GetWindow().(type) {
	case *streams.ReadReq_Options_FilterOptions_Max:
		members = append(members, fmt.Sprintf(`"max": %d`, window.Max))
	case *streams.ReadReq_Options_FilterOptions_Count:
		members = append(members, `"count": { }`)
	}
	if n := options.GetCheckpointIntervalMultiplier(); n != 0 {
		members = append(members, fmt.Sprintf(`"checkpointIntervalMultiplier": %d`, n))
	}
	return "{ " + strings.Join(members, ", ") + " }"
}
