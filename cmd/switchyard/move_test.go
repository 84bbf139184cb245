package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The commands of docs/moving.md are run one after another, with its config file.
func TestTheCommandsOfTheOperatorsPageWork(t *testing.T) {
	page, err := os.ReadFile("../../docs/moving.md")
	require.NoError(t, err)
	block := func(language string) [][]string {
		return regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllStringSubmatch(string(page), -1)
	}
	t.Chdir(t.TempDir())
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("ORDERS_DATABASE", server.Database(t))
	require.NoError(t, os.WriteFile("switchyard.yaml", []byte(block("yaml")[0][1]), 0o600))
	ran, lines := make(map[string]int), make(map[string]bool)
	for _, commands := range block("sh") {
		for line := range strings.Lines(commands[1]) {
			command, _, _ := strings.Cut(line, "  #")
			words := regexp.MustCompile(`'[^']*'|[^\s']+`).FindAllString(strings.TrimSpace(command), -1)
			lines[strings.Join(words, " ")] = true
			require.Equal(t, "switchyard", words[0], line)
			for i := range words {
				words[i] = strings.Trim(words[i], "'")
			}
			if words[1] == "unseal" { // which the page says of a move that has not ended, and here it has
				words = append(words, "--although-moved")
			}
			ok(t, "", words[1:]...)
			ran[words[1]]++
		}
	}
	prose := regexp.MustCompile("(?s)```.*?```").ReplaceAllString(string(page), "")
	for _, span := range regexp.MustCompile("`(switchyard [^`]*)`").FindAllStringSubmatch(prose, -1) {
		if command := strings.Join(strings.Fields(span[1]), " "); !lines[command] {
			ok(t, "", strings.Fields(command)[1:]...)
		}
	}
	require.Equal(t, 4, ran["move"])
	require.Equal(t, 2, ran["verify"])
	require.Equal(t, 1, ran["seal"])
	report, err := os.ReadFile("moved.md")
	require.NoError(t, err)
	require.Contains(t, string(report), "# moved sqlite:orders.db to postgres://")
	require.Contains(t, string(report), "# with the user, the password and the parameters of @next", "without them the URL may name another store")
	require.Contains(t, ok(t, "", "stats", "@next"), `"sealed":true`, "it was moved back")
	require.Contains(t, ok(t, "", "stats", "@orders"), `"sealed":false`)
}

func TestMoveTellsItsPhasesAndReportsInThreeForms(t *testing.T) {
	from, state := sqliteURL(t), t.TempDir()
	ok(t, line("a", 1)+line("a", 2)+line("b", 1), "import", from)
	first := startFollow(t, from, []string{"--name", "billing"})
	require.Contains(t, first.line(t), `"version":"1"`)
	first.interrupt(t)

	dry := call(t, "", "move", from, sqliteURL(t), "--dry-run", "--state", state, "--text")
	require.Zero(t, dry.code, dry.err)
	require.Contains(t, dry.out, "fits into")
	require.NotContains(t, dry.err, "seal:")
	for _, format := range []string{"text", "markdown", "json"} {
		to, file := sqliteURL(t), filepath.Join(t.TempDir(), "report")
		ok(t, "", "unseal", from, "--although-moved")
		got := call(t, "", "move", from, to, "--state", state, "--format", format, "--output", file)
		require.Zero(t, got.code, got.err)
		require.Empty(t, got.out)
		for _, phase := range []string{"fits:", "copy:", "follow:", "seal:", "drain:", "verify:", "translate:"} {
			require.Contains(t, got.err, phase)
		}
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, want := range []string{"billing", "snapshots", "SHA-256", "moved to " + to, "url: "} {
			if format == "json" && want == "SHA-256" {
				want = `"digest":"`
			}
			require.Contains(t, string(text), want, format)
		}
		require.NotContains(t, string(text), "the parameters", "nothing is left out")
		if format == "json" {
			var report struct {
				Done, Equal   bool
				ClosedSeconds float64
				Checkpoints   []struct{ OldPosition, NewPosition string }
			}
			require.NoError(t, json.Unmarshal(text, &report))
			require.True(t, report.Done && report.Equal)
			require.Positive(t, report.ClosedSeconds)
			require.Len(t, report.Checkpoints, 1)
		}
	}
	refused := call(t, "", "append", from, "a", "--type", "T", "--data", "1")
	require.Equal(t, exitSealed, refused.code)
	require.Contains(t, refused.err, "moved to sqlite:")
}

func TestMoveRefusesWithTheReason(t *testing.T) {
	from, to, state := sqliteURL(t), sqliteURL(t), t.TempDir()
	ok(t, line("a", 1), "import", from)
	ok(t, line("other", 1), "import", to)
	for name, test := range map[string]struct {
		args []string
		code int
		want string
	}{
		"a target that is not empty":      {[]string{from, to}, exitFailed, "TO is not empty"},
		"a store into itself":             {[]string{from, from}, exitUsage, "same store"},
		"a source that is not there":      {[]string{sqliteURL(t), to}, exitUsage, "holds no store"},
		"an unknown form":                 {[]string{from, to, "--format", "xml"}, exitUsage, "--format"},
		"no lag at all":                   {[]string{from, to, "--max-lag", "0s"}, exitUsage, "--max-lag"},
		"a report that cannot be written": {[]string{from, sqliteURL(t), "--output", t.TempDir()}, exitFailed, "is a directory"},
		"a target without a known scheme": {[]string{from, "nosql:x"}, exitUsage, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := call(t, "", append([]string{"move", "--state", state}, test.args...)...)
			require.Equal(t, test.code, got.code, got.err)
			require.Contains(t, got.err, test.want)
			require.Contains(t, ok(t, "", "stats", from), `"sealed":false`)
		})
	}
}

func TestTheLineOfConfigurationSaysWhatItLeavesOut(t *testing.T) {
	from, state := sqliteURL(t), t.TempDir()
	ok(t, line("a", 1), "import", from)
	to := sqliteURL(t) + "?readers=2"
	got := call(t, "", "move", from, to, "--state", state, "--text")
	require.Zero(t, got.code, got.err)
	require.Contains(t, got.out, "# with the user, the password and the parameters that move was given\n")
}
