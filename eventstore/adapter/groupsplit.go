package adapter

import "github.com/google/uuid"

// SplitRepeats takes out of a group the appends that have an event for the same stream in
// common with one before them. They go one after the other, so that each meets the one
// before as what is stored already.
func SplitRepeats(calls []*GroupedAppend) (together, alone []*GroupedAppend) {
	if len(calls) == 1 {
		return calls, nil
	}
	type key struct {
		stream string
		id     uuid.UUID
	}
	seen := make(map[key]struct{}, len(calls))
	for _, call := range calls {
		repeats := false
		for _, part := range call.Parts {
			for _, event := range part.Events {
				k := key{part.Stream, event.ID}
				_, again := seen[k]
				repeats = repeats || again
				seen[k] = struct{}{}
			}
		}
		if repeats {
			alone = append(alone, call)
		} else {
			together = append(together, call)
		}
	}
	return together, alone
}
