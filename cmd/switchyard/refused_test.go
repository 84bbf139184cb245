package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	client "github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// otherClient is a program that writes to the server without Switchyard.
func otherClient(t *testing.T, url string) func(stream string, events ...client.EventData) {
	t.Helper()
	config, err := client.ParseConnectionString(url)
	require.NoError(t, err)
	config.Logger = client.NoopLogging()
	c, err := client.NewClient(config)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return func(stream string, events ...client.EventData) {
		for i := range events {
			events[i].EventID, events[i].EventType, events[i].ContentType = uuid.New(), "Happened", client.ContentTypeJson
		}
		_, err := c.AppendToStream(t.Context(), stream, client.AppendToStreamOptions{ExpectedRevision: client.Any{}}, events...)
		require.NoError(t, err)
	}
}

func TestAStoreThatOtherClientsFilledIsCopiedByEveryRemedy(t *testing.T) {
	double, end := serveDouble(t, "esdbtest")
	write := otherClient(t, double)
	plain := client.EventData{Data: []byte(`{"a":1}`)}
	write("cart-1", plain, client.EventData{}, client.EventData{Data: []byte("\xef\xbb\xbf{}")}, plain)
	write("cart-2", client.EventData{Data: []byte(`{}`), Metadata: []byte(`{"":1}`)}, client.EventData{Data: []byte(`{}`), Metadata: []byte(`{"a\tb":1}`)})
	write("cart-1\t2", plain, plain)

	to := sqliteURL(t)
	got := call(t, "", "copy", double, to)
	require.Equal(t, exitFailed, got.code)
	require.Contains(t, got.err, `event at version 2 of stream "cart-1"`)
	require.Contains(t, got.err, "it is not valid JSON (0 bytes)")
	require.Contains(t, got.err, "run it again with --on-refused keep-bytes, park or skip")
	got = call(t, "", "copy", double, to, "--on-refused", "keep-bytes")
	require.Equal(t, exitFailed, got.code)
	require.Contains(t, got.err, "run it again with --on-refused rename, park or skip")
	out := ok(t, "", "copy", double, to, "--on-refused", "keep-bytes,rename", "--text")
	require.Contains(t, out, "refused by the target: 0 kept as bytes, 4 renamed, 0 renumbered, 0 parked, 0 skipped\n")
	require.Contains(t, out, "  version 1 of stream cart-2: rename, to version 1 of stream cart-2: ")
	require.Contains(t, ok(t, "", "copy", double, to), `{"duplicates":0,"read":0,"stored":0}`, "it goes on where it ended")
	require.Equal(t, 8, strings.Count(ok(t, "", "export", to), "\n"))

	for _, remedy := range []string{"park", "skip"} {
		out := ok(t, "", "copy", double, sqliteURL(t), "--on-refused", remedy)
		require.Contains(t, out, `"duplicates":0,"read":8,`)
		require.Contains(t, out, `"stored":2}`)
		require.Contains(t, out, `"reason":"append to several streams: invalid events[0].data: it is not valid JSON (0 bytes)`)
	}
	require.Contains(t, ok(t, "", "read", double, "cart-1\t2", "--text"), "cart-1\\t2", "readers do not apply the rules of writers")
	require.Contains(t, ok(t, "", "verify", double, to), `"equal":true`, "what was changed is compared as it was")
	require.Equal(t, exitUsage, call(t, "", "copy", double, to, "--on-refused", "drop").code)
	require.NoError(t, end())
}

func TestAStreamThatBeginsAboveVersion1IsNumberedAnew(t *testing.T) {
	to, back := sqliteURL(t), "memory:"
	late := line("late", 3) + line("late", 4)
	got := call(t, late, "import", to, "--on-refused", "keep-bytes")
	require.Equal(t, exitConflict, got.code)
	require.Contains(t, got.err, `line 1: version 3 of stream "late" is to be stored, but the target has 0 events of it`)
	require.Contains(t, got.err, "run it again with --on-refused rename, park or skip")
	require.Contains(t, ok(t, late, "import", to, "--on-refused", "rename", "--text"), "2 renumbered")
	require.Contains(t, ok(t, late+line("late", 5), "import", to, "--on-refused", "rename"), `"renumbered":1`, "it goes on, in another process too")
	require.Contains(t, ok(t, "", "read", to, "late"), `\\\"version\\\":5`, "the event says what it was")
	require.Contains(t, ok(t, "", "copy", to, back), `"stored":3`, "and travels on as it is")
}

func TestAnImportBeyondTheWindowOfItsTargetStoresNothingTwice(t *testing.T) {
	double, end := serveDouble(t, "esdbtest")
	var text strings.Builder
	for i := range 600 {
		fmt.Fprintf(&text, `{"specversion":"1.0","id":"%s","source":"/x","type":"T","subject":"long","data":%d}`+"\n", uuid.NewSHA1(uuid.NameSpaceOID, fmt.Append(nil, i)), i)
	}
	half := strings.Join(strings.SplitAfter(text.String(), "\n")[:300], "")
	ok(t, half, "import", double)
	ok(t, `{}`, "append", double, "long", "--type", "Other")
	require.JSONEq(t, `{"read":600,"stored":300,"duplicates":300}`, ok(t, text.String(), "import", double))
	require.JSONEq(t, `{"read":600,"stored":0,"duplicates":600}`, ok(t, text.String(), "import", double))
	require.JSONEq(t, `{"read":1200,"stored":0,"duplicates":1200}`, ok(t, text.String()+text.String(), "import", double))
	other := strings.Replace(text.String(), `"data":0`, `"data":7`, 1)
	got := call(t, other, "import", double)
	require.Equal(t, exitFailed, got.code)
	require.Contains(t, got.err, "line 1: event ID")
	require.Contains(t, ok(t, "", "stats", double), `"events":601`)
	require.NoError(t, end())
}

func TestAnExportIntoWhatIsNoFileIsWritten(t *testing.T) {
	url := sqliteURL(t)
	ok(t, line("a", 1)+line("a", 2), "import", url)
	want := ok(t, "", "export", url)
	require.JSONEq(t, `{"exported":2}`, ok(t, "", "export", url, "/dev/null"))
	require.JSONEq(t, `{"exported":2}`, ok(t, "", "export", url, "/dev/null"))

	pipe := filepath.Join(t.TempDir(), "pipe")
	require.NoError(t, exec.CommandContext(t.Context(), "mkfifo", pipe).Run())
	read := make(chan string, 1)
	go func() {
		text, err := os.ReadFile(pipe)
		if err != nil {
			text = []byte(err.Error())
		}
		read <- string(text)
	}()
	require.JSONEq(t, `{"exported":2}`, ok(t, "", "export", url, pipe))
	require.Equal(t, want, <-read)

	// Standard output that is a file with something in it already.
	file, err := os.Create(filepath.Join(t.TempDir(), "out"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, file.Close()) })
	_, err = file.WriteString("before\n")
	require.NoError(t, err)
	cmd := program(t, "export", url, "/dev/stdout")
	cmd.Stdout = file
	require.NoError(t, cmd.Run())
	text, err := os.ReadFile(file.Name())
	require.NoError(t, err)
	require.Equal(t, "before\n"+want, string(text))
}

func TestAnExportOfAnotherCategoryIntoOneFileIsRefused(t *testing.T) {
	url, file := sqliteURL(t), filepath.Join(t.TempDir(), "f.ndjson")
	ok(t, line("order-1", 1)+line("cart-1", 1)+line("order-2", 1), "import", url)
	ok(t, "", "export", url, file, "--category", "cart")
	ok(t, "", "export", url, file, "--category", "cart")
	got := call(t, "", "export", url, file, "--category", "order")
	require.Equal(t, exitFailed, got.code)
	require.Contains(t, got.err, `holds the events of "category=cart", and the events of "category=order" were asked for`)
}

func TestFollowFromTheHeadLeavesOutWhatIsThere(t *testing.T) {
	url := sqliteURL(t)
	ok(t, line("a", 1)+line("a", 2), "import", url)
	for name, args := range map[string][]string{"without a name": nil, "with a name": {"--name", "me"}} {
		t.Run(name, func(t *testing.T) {
			follow := startFollow(t, url, append(args, "--from-head"))
			first := make(chan string, 1)
			go func() {
				text, _ := follow.lines.ReadString('\n')
				first <- text
			}()
			require.Eventually(t, func() bool { // it may not have looked at the head yet
				ok(t, `{}`, "append", url, "b", "--type", "T")
				return len(first) > 0
			}, time.Minute, 20*time.Millisecond)
			require.Contains(t, <-first, `"subject":"b"`)
		})
	}
	require.Equal(t, exitUsage, call(t, "", "follow", url, "--from-head", "--after", "1").code)
}
