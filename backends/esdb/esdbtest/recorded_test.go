package esdbtest_test

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/backends/esdb/esdbtest"
)

// recordedAnswers holds requests and what a real server answered to them. Each
// line is a step of a case; see testdata/README.md.
const recordedAnswers = "eventstoredb-24.6.0.jsonl.gz"

// The server that answered.
const recordedVersion = "24.6.0"

// The requests that the double has no answer to, by the beginning of their names:
// it has no persistent subscriptions. There is no other exception.
const (
	notPlayed      = "ps"
	notPlayedSteps = 58
)

// leftOut are steps that were recorded twice with different answers, and so have no
// answer to compare. They are played, for their answers name a position: backward
// from half a position the server steps over one event more than it should, to what
// was written before the case.
var leftOut = map[string]request{
	"M3 position of the middle event, prepare one less": {Do: "read", All: true, Count: json.RawMessage("1"), Backward: true, From: json.RawMessage(`{"at":"A/1","addP":-1}`)},
	"M3 position of the middle event, prepare 0":        {Do: "read", All: true, Count: json.RawMessage("1"), Backward: true, From: json.RawMessage(`{"at":"A/1","p":"0"}`)},
}

// recordedSteps is the number of recorded steps that the double must answer as the
// server did. It is told in the documentation.
const recordedSteps = 1824

// recordedCase is the steps of one case, in their order.
type recordedCase struct {
	name  string
	steps []recordedStep
}

type recordedStep struct {
	Case     string
	Step     int
	Request  request
	Response json.RawMessage
}

func TestTheDoubleAnswersAsTheServerDid(t *testing.T) {
	cases := readRecorded(t)
	features := featuresOf(t, cases)

	skipped, steps := 0, 0
	for i := range cases {
		all := cases[i].steps
		cases[i].steps = slices.DeleteFunc(slices.Clone(all), func(s recordedStep) bool {
			return strings.HasPrefix(s.Request.Do, notPlayed)
		})
		steps += len(cases[i].steps)
		skipped += len(all) - len(cases[i].steps)
	}
	require.Equal(t, recordedSteps, steps, "steps to play")
	require.Equal(t, notPlayedSteps, skipped, "steps of persistent subscriptions")

	const before, after = "M1 before a restart", "M1 after a restart"
	afterRestart := take(t, &cases, after)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			srv := start(t, optionsFor(c.name))
			play(t, srv, c, features)
			if c.name == before {
				require.NoError(t, srv.Restart())
				play(t, srv, afterRestart, features)
			}
		})
	}
}

// A player that compares nothing would find the double right in everything.
func TestAWrongAnswerIsNoticed(t *testing.T) {
	for _, c := range readRecorded(t) {
		if c.name != "M8 matches in between" {
			continue
		}
		srv := start(t, &esdbtest.Options{Version: "24.10.5"}) // its checkpoints are others
		p := newPlayer(srv, c)
		got := p.play(t.Context())
		require.JSONEq(t, string(c.steps[0].Response), string(got[0]))
		require.NotEqual(t, compact(t, c.steps[4].Response), compact(t, got[4]))
		return
	}
	t.Fatal("the case is gone")
}

func optionsFor(name string) *esdbtest.Options {
	o := &esdbtest.Options{Version: recordedVersion}
	if strings.HasPrefix(name, "M10 ") {
		o.Secure = true
		o.Users = []esdbtest.User{{Name: "bob", Password: "secret"}}
	}
	return o
}

func play(t *testing.T, srv *esdbtest.Server, c recordedCase, features string) {
	t.Helper()
	if missing, ok := leftOut[c.name]; ok {
		c.steps = append(slices.Clone(c.steps), recordedStep{Case: c.name, Request: missing})
	}
	for i, got := range newPlayer(srv, c).play(t.Context()) {
		step := c.steps[i]
		if step.Response == nil {
			continue
		}
		want, have := string(compact(t, step.Response)), string(compact(t, got))
		want = strings.Replace(want, `"methods":"as in M11"`, `"methods":`+features, 1)
		if strings.HasPrefix(c.name, "PS ") {
			// What is not played names positions, too, which count in the others' ranks.
			want, have = anyRank.ReplaceAllString(want, `"p"`), anyRank.ReplaceAllString(have, `"p"`)
		}
		require.JSONEq(t, want, have, "step %d of %q: %s", step.Step, c.name, step.Request.raw)
	}
}

var anyRank = regexp.MustCompile(`"p\d+"`)

func readRecorded(t *testing.T) []recordedCase {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", recordedAnswers))
	require.NoError(t, err)
	defer f.Close()
	unzipped, err := gzip.NewReader(f)
	require.NoError(t, err)

	var cases []recordedCase
	lines := bufio.NewScanner(unzipped)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var step recordedStep
		require.NoError(t, json.Unmarshal(lines.Bytes(), &step), "line: %s", lines.Text())
		if step.Case == "" {
			require.Contains(t, lines.Text(), recordedVersion, "the first line says which server it was")
			continue
		}
		if len(cases) == 0 || cases[len(cases)-1].name != step.Case {
			cases = append(cases, recordedCase{name: step.Case})
		}
		last := &cases[len(cases)-1]
		last.steps = append(last.steps, step)
	}
	require.NoError(t, lines.Err())
	return cases
}

// take removes a case from the list.
func take(t *testing.T, cases *[]recordedCase, name string) recordedCase {
	t.Helper()
	for i, c := range *cases {
		if c.name == name {
			*cases = append((*cases)[:i:i], (*cases)[i+1:]...)
			return c
		}
	}
	t.Fatalf("no case %q", name)
	return recordedCase{}
}

// featuresOf is the list of methods in the case that others refer to.
func featuresOf(t *testing.T, cases []recordedCase) string {
	t.Helper()
	for _, c := range cases {
		if c.name == "M11 server features" {
			var response struct{ Methods json.RawMessage }
			require.NoError(t, json.Unmarshal(c.steps[0].Response, &response))
			return string(response.Methods)
		}
	}
	t.Fatal("no case with the list of methods")
	return ""
}

func compact(t *testing.T, data json.RawMessage) []byte {
	t.Helper()
	var v any
	require.NoError(t, json.Unmarshal(data, &v))
	out, err := json.Marshal(v)
	require.NoError(t, err)
	return out
}
