package esdbtest

import (
	"regexp"
	"strings"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// filter keeps some of the records of $all. The zero filter keeps all.
type filter struct {
	set      bool // the client sent a filter
	byType   bool // match the event type, else the stream name
	prefixes []string
	pattern  *regexp.Regexp
	window   int // how many records a page may consider
	interval int // how many considered records there are between checkpoints
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
		return f.pattern.MatchString(text)
	}
	for _, prefix := range f.prefixes {
		if strings.HasPrefix(text, prefix) {
			return true
		}
	}
	return false
}

func parseFilter(options *streams.ReadReq_Options) (filter, error) {
	wanted, ok := options.FilterOption.(*streams.ReadReq_Options_Filter)
	if !ok {
		return filter{window: pageSize}, nil
	}
	f := filter{set: true, window: pageSize}
	var expression *streams.ReadReq_Options_FilterOptions_Expression
	switch kind := wanted.Filter.GetFilter().(type) {
	case *streams.ReadReq_Options_FilterOptions_EventType:
		f.byType, expression = true, kind.EventType
	case *streams.ReadReq_Options_FilterOptions_StreamIdentifier:
		expression = kind.StreamIdentifier
	default:
		return filter{}, invalidArgument("a filter needs an event type or a stream identifier")
	}
	if text := expression.GetRegex(); text != "" {
		pattern, err := regexp.Compile(text)
		if err != nil {
			return filter{}, status.Errorf(codes.InvalidArgument,
				"esdbtest: filter is no RE2 expression (the real server takes .NET ones): %v", err)
		}
		f.pattern = pattern
	} else {
		f.prefixes = expression.GetPrefix()
	}
	if w, ok := wanted.Filter.GetWindow().(*streams.ReadReq_Options_FilterOptions_Max); ok {
		f.window = int(w.Max)
	}
	if f.window == 0 {
		return filter{}, handlerError()
	}
	f.interval = f.window * int(wanted.Filter.GetCheckpointIntervalMultiplier())
	return f, nil
}
