package transfer

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/memory"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// dirtyLines is a file with one line for each rule that a line or an event may break,
// and a clean one for each stream.
func dirtyLines() string {
	var text strings.Builder
	id := uuid.NewString()
	for _, line := range []string{
		`"id":"%s","type":"T","subject":"s","data":1`,
		`"id":"%s","type":"T","subject":"s","data_base64":""`,
		`"id":"%s","type":"T\n","subject":"s","data":2`,
		`"id":"%s","type":"T","subject":"s","data":3,"metadata":"{\"a\\tb\":\"c\"}"`,
		`"id":"%s","type":"T","subject":"s\t","data":4`,
		`"id":"` + id + `","type":"T","subject":"s","data":5`,
		`"id":"` + id + `","type":"T","subject":"s","data":6`,
		`"id":"A-%s","type":"T","subject":"s","data":7`,
		`"id":"B-%s","type":"T","subject":"s","data_base64":""`,
		`"id":"%s","type":"T","subject":"s\t","data_base64":""`,
		`"id":"%s","type":"T","subject":"s\t","data":8`,
		`"id":"%s","type":"T","subject":"s","data":9`,
	} {
		if strings.Contains(line, "%s") {
			line = fmt.Sprintf(line, uuid.NewString())
		}
		fmt.Fprintf(&text, `{"specversion":"1.0","source":"/shop",%s}`+"\n", line)
	}
	return text.String()
}

func TestAnImportThatIsRepeatedWithOtherRemediesStoresNothingTwice(t *testing.T) {
	window := func(caps *eventstore.Capabilities) { caps.IdempotencyWindow = 2 }
	lists := []string{"keep-bytes,rename", "park", "skip", "rename,park", "keep-bytes,rename,skip", "park,keep-bytes,rename"}
	for _, first := range lists {
		for _, second := range lists {
			for name, change := range map[string]func(*eventstore.Capabilities){"every ID is recognised": nil, "IDs are forgotten": window} {
				t.Run(first+" and then "+second+", "+name, func(t *testing.T) {
					text, target := dirtyLines(), openFilled(t, strict{memory.New(), change})
					for i, list := range []string{first, second, first} {
						remedies, err := ParseRemedies(list)
						require.NoError(t, err)
						result, err := Import(t.Context(), target, strings.NewReader(text), &ImportOptions{OnRefused: remedies})
						require.NoError(t, err)
						require.Equal(t, 12, result.Read)
						require.Len(t, all(t, target), 12)
						if i > 0 {
							require.Equal(t, 12, result.Duplicates)
							require.True(t, result.Refused.None())
						}
					}
				})
			}
		}
	}
}

func TestAnExportThatIsImportedAgainWithOtherRemediesStoresNothingTwice(t *testing.T) {
	for _, lists := range [][2][]Remedy{
		{{KeepBytes, Rename}, {Park}},
		{{Park}, {KeepBytes, Rename}},
		{{Skip}, {Rename, Park}},
		{{Rename, Skip}, {Park}},
	} {
		f := dirty()
		for i := range f.events {
			delete(f.events[i].Metadata, "latin") // which no line can hold
		}
		text, target := export(t, openFilled(t, f)), openFilled(t, strict{memory.New(), nil})
		for i, remedies := range lists {
			result, err := Import(t.Context(), target, strings.NewReader(text), &ImportOptions{OnRefused: remedies})
			require.NoError(t, err)
			require.Equal(t, len(f.events)*i, result.Duplicates, "%v", lists)
			requireRestored(t, f, target)
		}
	}
}

func TestWhatAnEarlierImportParkedIsPassedOverAlsoWithoutARemedy(t *testing.T) {
	text := dirtyLines()
	target := openFilled(t, strict{memory.New(), nil})
	_, err := Import(t.Context(), target, strings.NewReader(text), &ImportOptions{OnRefused: []Remedy{KeepBytes, Rename}})
	require.NoError(t, err)
	_, err = Import(t.Context(), target, strings.NewReader(text), nil)
	require.ErrorContains(t, err, "line 8: ", "a line without an ID is no event")
	require.Len(t, all(t, target), 12)
}

// What is known of a stream's name says nothing of the events that were parked before it was.
func TestAnImportThatGoesOnByRenameStoresNothingThatWasParkedBefore(t *testing.T) {
	for name, version := range map[string]string{"with versions": `,"version":"%d"`, "without": ""} {
		t.Run(name, func(t *testing.T) {
			var lines []string
			for i := range 6 {
				attribute := version
				if attribute != "" {
					attribute = fmt.Sprintf(attribute, i+1)
				}
				lines = append(lines, fmt.Sprintf(`{"specversion":"1.0","id":"%s","source":"/shop","type":"T","subject":"s\t","data":%d%s}`+"\n", uuid.New(), i, attribute))
			}
			target := openFilled(t, strict{memory.New(), nil})
			for _, step := range []struct {
				lines    int
				remedies []Remedy
			}{{1, []Remedy{Rename}}, {4, []Remedy{Park}}, {6, []Remedy{Rename}}, {6, []Remedy{Rename, Park}}, {6, []Remedy{Skip}}} {
				_, err := Import(t.Context(), target, strings.NewReader(strings.Join(lines[:step.lines], "")), &ImportOptions{OnRefused: step.remedies})
				require.NoError(t, err)
				require.Len(t, all(t, target), step.lines, "%v", step)
			}
		})
	}
}

func TestAnImportIntoAStoreThatForgetsGoesOnAfterANameThatCannotBeRead(t *testing.T) {
	var text strings.Builder
	for i, stream := range []string{"a", "", `n\u0000`, "a", ""} {
		fmt.Fprintf(&text, `{"specversion":"1.0","id":"%s","source":"/shop","type":"T","subject":"%s","data":%d}`+"\n", uuid.New(), stream, i)
	}
	for _, remedies := range [][]Remedy{{Rename}, {Park}, {Skip}} {
		target := openFilled(t, strict{memory.New(), func(caps *eventstore.Capabilities) { caps.IdempotencyWindow = 2 }})
		for range 2 {
			_, err := Import(t.Context(), target, strings.NewReader(text.String()), &ImportOptions{OnRefused: remedies})
			require.NoError(t, err)
			require.Len(t, all(t, target), 5)
		}
	}
}
