package esdbtest_test

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// normal writes answers as they were recorded: positions are ranked within the
// case, IDs have their aliases, and long lists are short.
func (p *player) normal(answers []any) []json.RawMessage {
	n := &normaliser{player: p, ranks: rank(answers), others: map[string]string{}}
	out := make([]json.RawMessage, len(answers))
	for i, answer := range answers {
		written, err := json.Marshal(n.short(n.value(answer), &p.steps[i].Request))
		if err != nil {
			written = quoted(err.Error())
		}
		out[i] = written
	}
	return out
}

type normaliser struct {
	*player
	ranks  map[uint64]string
	others map[string]string // IDs that nobody chose, in the order of their coming
}

// rank names all positions of the answers in their order.
func rank(answers []any) map[uint64]string {
	numbers := map[uint64]bool{}
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, one := range v {
				walk(one)
			}
		case object:
			for _, one := range v {
				walk(one)
			}
		case position:
			numbers[v.commit], numbers[v.prepare] = true, true
		case shownEvent:
			for _, r := range []*shownRecord{v.event, v.link} {
				if r != nil {
					walk(r.at)
				}
			}
			walk(v.at)
		}
	}
	walk(answers)
	delete(numbers, math.MaxUint64)
	var sorted []uint64
	for n := range numbers {
		sorted = append(sorted, n)
	}
	slices.Sort(sorted)
	ranks := map[uint64]string{math.MaxUint64: "max"}
	for i, n := range sorted {
		ranks[n] = "p" + strconv.Itoa(i+1)
		if n == 0 {
			ranks[n] = "p0"
		}
	}
	return ranks
}

func (n *normaliser) value(v any) any {
	switch v := v.(type) {
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = n.value(v[i])
		}
		return out
	case object:
		out := object{}
		for _, name := range inOrder(v) {
			out[name] = n.value(v[name])
		}
		return out
	case position:
		return n.point(v)
	case correlationID:
		return n.id(string(v))
	case shownEvent:
		out := object{"event": n.record(v.event)}
		if v.link != nil {
			out["link"] = n.record(v.link)
		}
		original := v.event
		if v.link != nil {
			original = v.link
		}
		if original == nil || original.at.commit != v.at.commit {
			out["position"] = n.point(v.at)
		}
		return out
	case string:
		return n.text(v)
	}
	return v
}

// inOrder is the names of the object's members, those of a subscription in the
// order of their coming, so that IDs are numbered in it.
func inOrder(v object) []string {
	coming := []string{"first", "steps", "after"}
	names := slices.Sorted(maps.Keys(v))
	slices.SortStableFunc(names, func(a, b string) int { return slices.Index(coming, a) - slices.Index(coming, b) })
	return names
}

func (n *normaliser) point(at position) string {
	if at.commit == at.prepare {
		return n.ranks[at.commit]
	}
	return n.ranks[at.commit] + "/" + n.ranks[at.prepare]
}

func (n *normaliser) id(id string) string {
	if alias, ok := n.ids[id]; ok {
		return alias
	}
	if _, ok := n.others[id]; !ok {
		n.others[id] = "u" + strconv.Itoa(len(n.others)+1)
	}
	return n.others[id]
}

var (
	longRuns = regexp.MustCompile(`x{200,}|T{200,}`)
	ticks    = regexp.MustCompile(`^\d{17,18}$`)
)

func (n *normaliser) text(s string) string {
	if alias, ok := n.names[s]; ok {
		return alias
	}
	return longRuns.ReplaceAllStringFunc(strings.ReplaceAll(s, streamPrefix, ""), func(run string) string { return fmt.Sprintf("%c*%d", run[0], len(run)) })
}

// record writes an event as "A/0 e1 T json @p1 {"data"} meta …".
func (n *normaliser) record(r *shownRecord) any {
	if r == nil {
		return nil
	}
	content := r.content
	switch content {
	case "application/json":
		content = "json"
	case "application/octet-stream":
		content = "octets"
	}
	out := fmt.Sprintf("%s/%s %s %s %s @%s", n.text(r.stream), r.revision, n.id(r.id), n.text(r.eventType), content, n.point(r.at))
	switch s, isText := n.data(r.data); {
	case !isText:
		out += " hex " + s
	case utf16Len(s) > 200:
		out += fmt.Sprintf(" %d bytes", utf16Len(s))
	case s != "{}":
		out += " " + s
	}
	if len(r.meta) > 0 {
		switch s, isText := n.data(r.meta); {
		case !isText:
			out += " meta hex " + s
		case utf16Len(s) > 200:
			out += fmt.Sprintf(" meta %d bytes", utf16Len(s))
		default:
			out += " meta " + s
		}
	}
	if !ticks.MatchString(r.created) {
		out += " created " + r.created
	}
	return out
}

func (n *normaliser) data(data []byte) (s string, isText bool) {
	if utf8.Valid(data) {
		return n.text(string(data)), true
	}
	digits := hex.EncodeToString(data)
	return digits[:min(len(digits), 200)], false
}

func utf16Len(s string) int { return len(utf16.Encode([]rune(s))) }

// short replaces long lists of events by their number.
func (n *normaliser) short(answer any, r *request) any {
	out, ok := answer.(object)
	if !ok {
		return answer
	}
	for _, name := range []string{"messages", "first", "after"} {
		if messages, ok := out[name].([]any); ok {
			out[name] = shortList(messages, r)
		}
	}
	if steps, ok := out["steps"].([]any); ok {
		for i := range steps {
			steps[i] = n.short(steps[i], &r.Then[i])
		}
	}
	return out
}

func shortList(messages []any, r *request) []any {
	out, events := []any{}, 0
	flush := func() {
		if events > 0 {
			out = append(out, fmt.Sprintf("%d events", events))
		}
		events = 0
	}
	for _, m := range messages {
		_, isEvent := m.(object)["event"]
		switch {
		case isEvent && r.Shape:
			out = append(out, "an event")
		case isEvent && (r.Summary || len(messages) > 120):
			events++
		default:
			flush()
			out = append(out, m)
		}
	}
	flush()
	return out
}

// scanEvents reads the number of events that a short list stands for.
func scanEvents(s string, events *int) bool {
	count, ok := strings.CutSuffix(s, " events")
	if !ok {
		return false
	}
	n, err := strconv.Atoi(count)
	*events = n
	return err == nil
}
