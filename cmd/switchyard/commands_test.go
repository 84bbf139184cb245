package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
)

const testID = "01890a5d-ac96-774b-bcce-b302099a8057"

func TestExitCodes(t *testing.T) {
	url := sqliteURL(t)
	ok(t, `{"total":1}`, "append", url, "order-1", "--type", "OrderPlaced", "--id", testID)
	for name, test := range map[string]struct {
		args []string
		code int
		err  string
	}{
		"help":                        {[]string{"--help"}, exitOK, ""},
		"an unknown command":          {[]string{"frob"}, exitUsage, "unknown command"},
		"an unknown flag":             {[]string{"read", "--frob"}, exitUsage, "unknown flag"},
		"a missing argument":          {[]string{"stats"}, exitUsage, `the usage is "switchyard stats URL [flags]", and it was given 0 arguments`},
		"an argument too many":        {[]string{"esdbtest", "x"}, exitUsage, `"switchyard esdbtest [flags]", and it was given 1 argument` + "\nRun 'switchyard esdbtest --help' for usage.\n"},
		"a command misspelled":        {[]string{"appned"}, exitUsage, "Did you mean this?\n\tappend\n"},
		"a flag of no number":         {[]string{"read", url, "order-1", "--limit", "x"}, exitUsage, `--limit "x" is not a whole number` + "\nRun 'switchyard read --help'"},
		"a flag of no duration":       {[]string{"bench", url, "--duration", "x"}, exitUsage, `--duration "x" is not a duration such as 500ms`},
		"an empty ID":                 {[]string{"append", url, "s", "--type", "T", "--data", "{}", "--id", ""}, exitUsage, "--id is empty"},
		"an empty name":               {[]string{"follow", url, "--name", ""}, exitUsage, "--name is empty"},
		"a URL as command":            {[]string{"postgres://app:s3cr3t@db/x"}, exitUsage, "unknown command"},
		"an unknown scheme":           {[]string{"stats", "mysql://app:s3cr3t@db/x"}, exitUsage, "unknown scheme"},
		"a store's name without @":    {[]string{"stats", "orders"}, exitUsage, `"orders" is no URL; write @orders for the store of that name in switchyard.yaml, sqlite:orders for a file, or one of memory:`},
		"a file without its scheme":   {[]string{"copy", url, "./orders.db"}, exitUsage, `write @./orders.db for the store of that name in switchyard.yaml, sqlite:./orders.db for a file`},
		"a libpq string":              {[]string{"stats", "host=db password=s3cr3t"}, exitUsage, "does not start with a scheme"},
		"an unreadable URL":           {[]string{"stats", "sqlite://app:s3cr3t/x@db/x"}, exitUsage, "cannot be read"},
		"json and text":               {[]string{"stats", url, "--json", "--text"}, exitUsage, "exclude each other"},
		"append without type":         {[]string{"append", url, "s", "--data", "{}"}, exitUsage, "--type"},
		"append with bad expectation": {[]string{"append", url, "s", "--type", "T", "--data", "{}", "--expect", "-1"}, exitUsage, "--expect"},
		"append with bad ID":          {[]string{"append", url, "s", "--type", "T", "--data", "{}", "--id", "7"}, exitUsage, "not a UUID"},
		"append with bad metadata":    {[]string{"append", url, "s", "--type", "T", "--data", "{}", "--meta", "x"}, exitUsage, "key=value"},
		"append of bad JSON":          {[]string{"append", url, "s", "--type", "T", "--data", "{"}, exitUsage, "not valid JSON"},
		"append to a bad stream":      {[]string{"append", url, "$s", "--type", "T", "--data", "{}"}, exitUsage, `stream "$s" starts with '$', which is reserved; choose another name (import`},
		"append of a bad type":        {[]string{"append", url, "s", "--type", "$T", "--data", "{}"}, exitUsage, `--type "$T" starts with '$'`},
		"append at a wrong version":   {[]string{"append", url, "order-1", "--type", "T", "--data", "{}", "--expect", "7"}, exitConflict, "expected 7, but it is at 1"},
		"append with a used ID":       {[]string{"append", url, "order-1", "--type", "T", "--data", "{}", "--id", testID}, exitFailed, "event ID"},
		"read of a bad version":       {[]string{"read", url, "order-1", "--after", "x"}, exitUsage, "not a version"},
		"read of a bad position":      {[]string{"read", url, "--all", "--after", "x"}, exitUsage, "not a position"},
		"read of a bad range":         {[]string{"read", url, "order-1", "--after", "3", "--before", "2"}, exitUsage, "not below"},
		"read of nothing":             {[]string{"read", url}, exitUsage, "either a stream or --all"},
		"read of a stream by type":    {[]string{"read", url, "order-1", "--type", "T"}, exitUsage, "need --all"},
		"import of nonsense":          {[]string{"import", url}, exitFailed, "line 1: "},
		"import of an absent file":    {[]string{"import", url, "/absent"}, exitFailed, "no such file"},
		"copy into itself":            {[]string{"copy", url, url}, exitUsage, "same store"},
		"conformance, unknown form":   {[]string{"conformance", url, "--format", "x"}, exitUsage, "text, json, junit or markdown"},
		"conformance, unknown scale":  {[]string{"conformance", url, "--scale", "x"}, exitUsage, "not full or small"},
		"conformance, no check":       {[]string{"conformance", url, "--match", "no such check"}, exitUsage, "--match \"no such check\" selects no check; docs/guarantees.md"},
		"conformance, no expression":  {[]string{"conformance", url, "--match", "("}, exitUsage, "--match: error parsing"},
		"conformance into a folder":   {[]string{"conformance", url, "-o", t.TempDir()}, exitFailed, "the report's file: "},
		"compare, no check":           {[]string{"compare", url, "--checks", "no such check"}, exitUsage, "--checks \"no such check\" selects"},
		"compare, no round":           {[]string{"compare", url, "--rounds", "0"}, exitUsage, "--rounds 0"},
		"bench, no round":             {[]string{"bench", url, "--rounds", "0"}, exitUsage, "--rounds 0"},
		"bench, no time":              {[]string{"bench", url, "--duration", "-1s"}, exitUsage, "--duration -1s"},
		"bench, no expression":        {[]string{"bench", url, "--match", "("}, exitUsage, "--match: error parsing"},
		"bench, no such picture":      {[]string{"bench", url, "--plot", "x.gif"}, exitUsage, ".png or .svg"},
		"bench into no folder":        {[]string{"bench", url, "--plot", "/absent/x.svg"}, exitFailed, "the report's file: "},
		"quickstart, no commits":      {[]string{"quickstart", "--commits", "-1"}, exitUsage, "--commits -1"},
		"quickstart, no repository":   {[]string{"quickstart", "--repository", "/absent"}, exitUsage, "--repository: "},
		"quickstart, no check":        {[]string{"quickstart", "--match", "no such check"}, exitUsage, "selects no check"},
		"move to memory":              {[]string{"move", url, "memory:"}, exitUsage, "memory: ends with this command"},
		"a store without a config":    {[]string{"stats", "@x", "--config", "/absent.yaml"}, exitFailed, "absent.yaml: no such file or directory; name the config file with --config"},
	} {
		t.Run(name, func(t *testing.T) {
			got := call(t, "nonsense", test.args...)
			require.Equal(t, test.code, got.code, "%s", got.err)
			require.Contains(t, got.err, test.err)
			require.NotContains(t, got.out+got.err, "s3cr3t")
			require.NotContains(t, got.err, "Options", "of a Go program, which nobody here writes")
			if test.code != exitOK {
				require.Empty(t, strings.TrimPrefix(got.out, `{"duplicates":0,"read":0,"stored":0}`+"\n"), "errors go to standard error")
			}
		})
	}
}

func TestEveryCommandShowsExamplesThatItTakes(t *testing.T) {
	words := regexp.MustCompile(`'[^']*'|[^\s']+`)
	commands := []*cobra.Command{(&app{}).rootCommand()}
	for len(commands) > 0 {
		cmd := commands[0]
		commands = append(commands[1:], cmd.Commands()...)
		if cmd.HasSubCommands() || cmd.Hidden {
			continue
		}
		require.NotEmpty(t, cmd.Example, cmd.CommandPath())
		seen := false
		for part := range strings.FieldsFuncSeq(cmd.Example, func(r rune) bool { return r == '\n' }) {
			_, line, found := strings.Cut(part, "switchyard ")
			if line, _, _ = strings.Cut(line, " | "); !found {
				continue
			}
			args := words.FindAllString(strings.TrimSuffix(line, " &"), -1)
			for i := range args {
				args[i] = strings.Trim(args[i], "'")
			}
			named, rest, err := (&app{}).rootCommand().Find(args)
			require.NoError(t, err, line)
			require.NoError(t, named.ParseFlags(rest), line)
			require.NoError(t, named.ValidateArgs(named.Flags().Args()), line)
			seen = seen || named.CommandPath() == cmd.CommandPath()
		}
		require.True(t, seen, cmd.CommandPath())
	}
}

func TestTheVersionIsThatOfTheBuild(t *testing.T) {
	require.Regexp(t, `^switchyard version \S+\n$`, ok(t, "", "--version"))
}

func TestCtrlCIsNotToldInTheWordsOfGo(t *testing.T) {
	url := sqliteURL(t)
	ok(t, "{}", "append", url, "order-1", "--type", "OrderPlaced")
	ctx, stop := context.WithCancel(t.Context())
	stop()
	for _, args := range [][]string{{"stats", url}, {"verify", url, url}, {"read", url, "--all"}, {"caps", url}} {
		var errs strings.Builder
		require.Equal(t, exitFailed, run(ctx, args, streams{in: strings.NewReader(""), out: io.Discard, err: &errs}), args)
		require.Contains(t, errs.String(), "interrupted", args)
		require.NotContains(t, errs.String(), "context", args)
	}
}

func TestAReportsFileIsLeftAloneUntilThereIsAReport(t *testing.T) {
	url, dir := sqliteURL(t), t.TempDir()
	for _, args := range [][]string{
		{"compare", "sqlite:/absent/x", "--out"},
		{"conformance", "sqlite:/absent/x", "--output"},
		{"move", "sqlite:/absent/x", url, "--output"},
		{"bench", "sqlite:/absent/x", "--plot"},
	} {
		file := filepath.Join(dir, args[0]+".svg")
		require.Equal(t, exitUsage, call(t, "", append(args, file)...).code, args)
		require.NoFileExists(t, file, "nothing is made for a report that there is not")

		require.NoError(t, os.WriteFile(file, []byte("yesterday's"), 0o600))
		call(t, "", append(args, file)...)
		kept, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Equal(t, "yesterday's", string(kept), args)
	}
}

func TestAppendTellsWhereTheEventIs(t *testing.T) {
	url := sqliteURL(t)
	args := []string{"append", url, "order-1", "--type", "OrderPlaced", "--expect", "none", "--id", testID, "--data", `{"total": 1}`, "--meta", "user=x=y"}
	require.JSONEq(t, `{"stream":"order-1","version":1,"position":"1","id":"`+testID+`","duplicate":false}`, ok(t, "", args...))
	require.JSONEq(t, `{"stream":"order-1","version":1,"position":"1","id":"`+testID+`","duplicate":true}`, ok(t, "", args...))
	require.Contains(t, ok(t, "", append(args, "--text")...), "stored before: event "+testID+" at version 1 of stream order-1")
	require.Contains(t, ok(t, "hello", "append", url, "order-1", "--type", "Note", "--content-type", "text/plain", "--text"), "at version 2 of stream order-1")

	lines := strings.Split(strings.TrimSpace(ok(t, "", "read", url, "order-1")), "\n")
	require.Len(t, lines, 2)
	require.Contains(t, lines[0], `"data":{"total": 1}`)
	require.Contains(t, lines[0], `"metadata":"{\"user\":\"x=y\"}"`)
	require.Contains(t, lines[1], `"data":"hello"`)
}

func TestReadShowsWhatIsAskedFor(t *testing.T) {
	url := sqliteURL(t)
	for i := range 6 {
		ok(t, fmt.Sprint(i), "append", url, fmt.Sprintf("%s-1", []string{"order", "cart"}[i%2]), "--type", fmt.Sprintf("T%d", i%3))
	}
	data := func(args ...string) string {
		var found []string
		for _, line := range strings.Split(strings.TrimSpace(ok(t, "", append([]string{"read", url}, args...)...)), "\n") {
			_, value, _ := strings.Cut(line, `"data":`)
			found = append(found, strings.TrimSuffix(value, "}"))
		}
		return strings.Join(found, " ")
	}
	require.Equal(t, "0 2 4", data("order-1"))
	require.Equal(t, "2", data("order-1", "--after", "1", "--before", "3"))
	require.Equal(t, "4 2", data("order-1", "--backward", "--limit", "2"))
	require.Equal(t, "0 1 2 3 4 5", data("--all"))
	require.Equal(t, "2 3", data("--all", "--after", "2", "--before", "5"))
	require.Equal(t, "5 3 1", data("--all", "--category", "cart", "--backward"))
	require.Equal(t, "0 1 3 4", data("--all", "--type", "T0", "--type", "T1"))
	require.Equal(t, "1 3 5", data("--all", "--prefix", "car"))
	require.Equal(t, "0 1 2 3 4 5", data("--all", "--prefix", "car", "--prefix", "ord"))
	require.Equal(t, "0 1 2 3 4 5", data("--all", "--category", "cart", "--category", "order", "--category", "absent"))
	require.Equal(t, "1 4", data("--all", "--category", "cart", "--category", "order", "--type", "T1"))
	require.Empty(t, ok(t, "", "read", url, "absent"))
}

// line is an event as NDJSON.
func line(stream string, version int) string {
	id := uuid.NewSHA1(uuid.NameSpaceOID, fmt.Append(nil, stream, version))
	return fmt.Sprintf(`{"specversion":"1.0","id":"%s","source":"/test","type":"Counted","subject":"%s","version":"%d","time":"2026-01-02T03:04:05Z","data":{"n":%d}}`+"\n", id, stream, version, version)
}

func TestImportTwiceChangesNothing(t *testing.T) {
	url, text := sqliteURL(t), ""
	for i := range 1200 {
		text += line(fmt.Sprintf("counter-%d", i%10), i/10+1)
	}
	require.JSONEq(t, `{"read":1200,"stored":1200,"duplicates":0}`, ok(t, text, "import", url))
	before := ok(t, "", "export", url)
	require.JSONEq(t, `{"read":1200,"stored":0,"duplicates":1200}`, ok(t, text, "import", url))
	require.Equal(t, before, ok(t, "", "export", url))
	require.Contains(t, ok(t, text, "import", url, "--text"), "imported 0 events, 1,200 were there already")
}

func TestImportOfATruncatedFileSaysWhereItEnds(t *testing.T) {
	url := sqliteURL(t)
	text := line("a", 1) + line("a", 2) + line("a", 3)[:100]
	got := call(t, text, "import", url)
	require.Equal(t, exitFailed, got.code)
	require.Contains(t, got.err, "line 3: it is cut off")
	require.JSONEq(t, `{"read":2,"stored":2,"duplicates":0}`, got.out)
	require.JSONEq(t, `{"read":3,"stored":1,"duplicates":2}`, ok(t, line("a", 1)+line("a", 2)+line("a", 3), "import", url))

	got = call(t, line("b", 2), "import", url)
	require.Equal(t, exitConflict, got.code)
	require.Contains(t, got.err, "line 1: version 2 of stream \"b\" is to be stored, but the target has 0 events")
}

func TestAnExportIntoAFileIsContinued(t *testing.T) {
	url, file := sqliteURL(t), filepath.Join(t.TempDir(), "events.ndjson")
	ok(t, line("a", 1)+line("a", 2), "import", url)
	require.JSONEq(t, `{"exported":2}`, ok(t, "", "export", url, file))
	require.JSONEq(t, `{"exported":0}`, ok(t, "", "export", url, file), "the second time changes nothing")

	handle, err := os.OpenFile(file, os.O_RDWR, 0)
	require.NoError(t, err)
	size, err := handle.Seek(0, io.SeekEnd)
	require.NoError(t, err)
	require.NoError(t, handle.Truncate(size-20))
	require.NoError(t, handle.Close())
	ok(t, line("a", 3), "import", url)
	require.JSONEq(t, `{"exported":2}`, ok(t, "", "export", url, file), "the line that was cut off, and the new one")
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, ok(t, "", "export", url), string(content))

	require.NoError(t, os.WriteFile(file, content[:10], 0o600))
	require.JSONEq(t, `{"exported":3}`, ok(t, "", "export", url, file))

	for _, foreign := range []string{"my diary", "my diary\n", line("a", 1), string(content) + "\n", "\n"} {
		require.NoError(t, os.WriteFile(file, []byte(foreign), 0o600))
		got := call(t, "", "export", url, file)
		require.Equal(t, exitFailed, got.code)
		require.Contains(t, got.err, "not an export of this store")
		left, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Equal(t, foreign, string(left), "it is left alone")
	}
}

func TestCopyAndVerify(t *testing.T) {
	from, to := sqliteURL(t), sqliteURL(t)
	ok(t, line("a", 1)+line("b", 1)+line("a", 2), "import", from)
	require.JSONEq(t, `{"read":3,"stored":3,"duplicates":0}`, ok(t, "", "copy", from, to))
	require.Contains(t, ok(t, "", "verify", from, to), `"equal":true`)
	require.Contains(t, ok(t, "", "verify", from, to, "--text"), "\nequal\n")

	ok(t, line("a", 3), "import", to)
	got := call(t, "", "copy", from, to)
	require.Equal(t, exitFailed, got.code)
	require.Contains(t, got.err, `at version 3 of stream "a", and the source has no such event`)
	got = call(t, "", "verify", from, to, "--text")
	require.Equal(t, exitFailed, got.code)
	require.Contains(t, got.out, "the first difference is the event at version 3 of stream a")
	got = call(t, "", "verify", from, to)
	require.Contains(t, got.out, `"first":{"a":"none","b":"event `)

	other := sqliteURL(t)
	ok(t, line("b", 1)+line("a", 1)+line("a", 2), "import", other)
	got = call(t, "", "verify", from, other, "--text")
	require.Equal(t, exitFailed, got.code)
	require.Contains(t, got.out, "the streams are equal, and the order of their events is another one\n  A: version 1 of stream \"a\" comes next\n  B: version 1 of stream \"b\" comes next\n")
	require.Contains(t, call(t, "", "verify", from, other).out, `"differingStreams":0,"equal":false,"first":{"a":"version 1 of stream \"a\" comes next"`)
}

func TestCommandsThatReadMakeNoStore(t *testing.T) {
	full, mistyped := sqliteURL(t), sqliteURL(t)
	ok(t, "", "init", full)
	for _, args := range [][]string{
		{"read", mistyped, "--all"},
		{"follow", mistyped},
		{"export", mistyped},
		{"stats", mistyped},
		{"checkpoint", "list", mistyped},
		{"checkpoint", "show", mistyped, "billing"},
		{"checkpoint", "reset", mistyped, "billing", "--to", "start", "--create"},
		{"checkpoint", "delete", mistyped, "billing"},
		{"parked", "list", mistyped, "parked"},
		{"parked", "retry", mistyped, "parked", "--all"},
		{"parked", "drop", mistyped, "parked", "--all"},
		{"caps", mistyped},
		{"copy", mistyped, full},
		{"verify", full, mistyped},
		{"verify", mistyped, full},
	} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			got := call(t, "", args...)
			require.Equal(t, exitUsage, got.code, "%s", got.err)
			require.Contains(t, got.err, "holds no store")
			require.NoFileExists(t, strings.TrimPrefix(mistyped, "sqlite:"))
		})
	}
}

func TestStatsAndCaps(t *testing.T) {
	url := sqliteURL(t)
	ok(t, "", "init", url)
	require.Contains(t, ok(t, "", "stats", url, "--text"), "events   0")
	require.NotContains(t, ok(t, "", "stats", url), "0001-01-01", "there is no event to have a time")
	ok(t, line("a-1", 1)+line("a-2", 1)+line("b", 1), "import", url)
	require.Contains(t, ok(t, "", "stats", url), `"categories":[{"category":"a","streams":2,"events":2,"highestVersion":1}`)
	require.Contains(t, ok(t, "", "stats", url, "--text"), "longest stream")
	caps := ok(t, "", "caps", "memory:", url, "--text")
	require.Regexp(t, `(?m)^survives +nothing \(in memory\) +power loss$`, caps)
	require.Len(t, strings.Split(strings.TrimSpace(ok(t, "", "caps", "memory:", url)), "\n"), 2)
}

func TestInitTwiceIsTheSameStore(t *testing.T) {
	url := sqliteURL(t)
	first := ok(t, "", "init", url)
	require.Equal(t, first, ok(t, "", "init", url))
	require.Contains(t, ok(t, "", "init", url, "--text"), "is ready: store")
}

func TestANameOfTheConfigFileStandsForAURL(t *testing.T) {
	config := filepath.Join(t.TempDir(), "stores.yaml")
	url := sqliteURL(t)
	require.NoError(t, os.WriteFile(config, []byte("stores: {orders: {url: '"+url+"'}, other: {url: 'pg://s3cr3t:${SWITCHYARD_TEST_UNSET}@db'}}"), 0o600))
	ok(t, "1", "append", "@orders", "s", "--type", "T", "--config", config)
	require.Contains(t, ok(t, "", "read", url, "s"), `"subject":"s"`)
	for name, want := range map[string]string{"@nobody": "it names orders, other", "@other": "SWITCHYARD_TEST_UNSET is not set"} {
		got := call(t, "", "stats", name, "--config", config)
		require.Equal(t, exitUsage, got.code)
		require.Contains(t, got.err, want)
		require.NotContains(t, got.err, "s3cr3t")
	}
}

func TestStoredTextDoesNothingToATerminal(t *testing.T) {
	url := sqliteURL(t)
	const hostile = "a\u202eb\u2066\u200f\u061c\u2028"
	ok(t, "\"\u009b31m\x7f\"", "append", url, hostile, "--type", "T\u200e", "--meta", "k\u202e=v\x1b[31m\u009b")
	ok(t, "\x1b]0;title\x07\u202e", "append", url, "order-1", "--type", "T", "--content-type", "text/plain")
	other := sqliteURL(t)
	ok(t, "", "init", other)
	for _, args := range [][]string{
		{"read", url, "--all"},
		{"read", url, hostile},
		{"export", url},
		{"stats", url},
		{"checkpoint", "list", url},
		{"checkpoint", "show", url, hostile},
		{"checkpoint", "reset", url, hostile, "--to", "end", "--create"},
		{"checkpoint", "delete", url, hostile},
		{"parked", "list", url, hostile},
		{"parked", "drop", url, hostile, testID},
		{"verify", url, other},
		{"append", url, hostile, "--type", "T", "--data", "1"},
		{"append", url, hostile, "--type", "T", "--data", "1", "--expect", "9"},
		{"read", url, "\x1b[31m\u009b"},
		{"read", url, "--all", "--type", "\u009b"},
		{"stats", "sqlite:\u202e/\u009b/x"},
		{"\u009b"},
	} {
		for _, form := range []string{"--json", "--text"} {
			got := call(t, "", append(args, form)...)
			for _, r := range got.out + got.err {
				if r != '\n' && (r < ' ' || r >= 0x7f && r < 0xa0 || strings.ContainsRune(hostile, r) && r != 'a' && r != 'b') {
					t.Errorf("%q %s prints %U", args, form, r)
				}
			}
		}
	}
}

func TestConformanceReportsInEveryForm(t *testing.T) {
	url := sqliteURL(t)
	for form, want := range map[string]string{"text": "passed", "json": `"status": "passed"`, "junit": "<testsuite", "markdown": "|"} {
		got := ok(t, "", "conformance", url, "--match", "^append/returns", "--format", form)
		require.Contains(t, got, want)
	}
	file := filepath.Join(t.TempDir(), "report.xml")
	small := ok(t, "", "conformance", "memory:", "--match", "^append/returns", "--text", "--scale", "small")
	require.Contains(t, small, "at a smaller scale: long logs of 34000 events")
	require.NotContains(t, ok(t, "", "conformance", "memory:", "--match", "^append/returns", "--text"), "scale")
	require.Empty(t, ok(t, "", "conformance", "memory:", "--match", "^append/returns", "--format", "junit", "-o", file))
	require.FileExists(t, file)
	left, err := filepath.Glob(filepath.Dir(strings.TrimPrefix(url, "sqlite:")) + "/{.,}*")
	require.NoError(t, err)
	require.Empty(t, left, "the store of the URL is not touched, and nothing is left")
}
