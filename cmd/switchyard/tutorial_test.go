package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The commands of docs/tutorial.md are run one after another, as its reader does, and
// what they print is held against the block that follows them.
func TestTheTutorialsCommandsPrintWhatItShows(t *testing.T) {
	page, err := os.ReadFile("../../docs/tutorial.md")
	require.NoError(t, err)
	config, err := os.ReadFile("../../examples/shop/sqlite.yaml")
	require.NoError(t, err)
	golden, err := os.ReadFile("../../examples/shop/order/testdata/events.json")
	require.NoError(t, err)
	require.Contains(t, string(page), "```yaml\n"+string(config)+"```")
	require.Contains(t, string(page), "```json\n"+string(golden)+"```")

	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	r := &tutorialReader{T: t, root: root, programs: t.TempDir()}
	t.Chdir(t.TempDir())
	require.NoError(t, os.MkdirAll("examples/shop", 0o700))
	require.NoError(t, os.WriteFile("examples/shop/sqlite.yaml", config, 0o600))
	defer r.endShop()
	steps := regexp.MustCompile("(?s)```sh\n(.*?)```\n\n```text\n(.*?)```").FindAllStringSubmatch(string(page), -1)
	for _, step := range steps {
		r.follow(strings.Split(strings.TrimSpace(step[1]), "\n"), step[2])
	}
	require.Len(t, steps, strings.Count(string(page), "```sh\n"), "each shows what it prints")
	require.Greater(t, len(steps), 10)
}

func TestTheTutorialBeginsWithAWholeProgram(t *testing.T) {
	page, err := os.ReadFile("../../docs/tutorial.md")
	require.NoError(t, err)
	program, err := os.ReadFile("../../examples/start/main.go")
	require.NoError(t, err)
	_, body, ok := strings.Cut(string(program), "\nfunc main() {")
	require.True(t, ok)
	_, first, ok := strings.Cut(string(page), "```go\n")
	require.True(t, ok)
	require.True(t, strings.HasPrefix(first, "func main() {"+body+"```\n"))
}

// tutorialReader does what the tutorial says, in an empty folder.
type tutorialReader struct {
	*testing.T

	root, programs string // of the checkout; of what was built
	shop           *exec.Cmd
	address        string // where it listens, in place of the tutorial's
}

// follow runs a step's commands. What only reads is run again until it prints what is
// shown: a person is slower than the shop.
func (r *tutorialReader) follow(commands []string, shown string) {
	r.Helper()
	pattern := regexp.MustCompile("(?s)^" + strings.NewReplacer("\n…\n", `\n(?:.*\n)?`, "…", `[^\n]*`).Replace("\n"+regexp.QuoteMeta(shown)) + "$")
	printed := make([]string, len(commands))
	deadline := time.Now().Add(20 * time.Second)
	for again := false; ; again = true {
		for i, command := range commands {
			if !again || reads(command) {
				printed[i] = r.run(command)
			}
		}
		all := "\n" + strings.Join(printed, "")
		if pattern.MatchString(all) {
			return
		}
		if time.Now().After(deadline) || !slices.ContainsFunc(commands, reads) {
			require.Regexp(r, pattern, all, "%q", commands)
		}
	}
}

// reads tells whether a command changes nothing.
func reads(command string) bool {
	return strings.Contains(command, "switchyard read") || strings.HasPrefix(command, "cat ") || strings.HasPrefix(command, "curl") && !strings.Contains(command, " -X ")
}

func (r *tutorialReader) run(command string) string {
	r.Helper()
	words := regexp.MustCompile(`'[^']*'|[^\s']+`).FindAllString(command, -1)
	for i := range words {
		words[i] = strings.Trim(words[i], "'")
	}
	switch program := strings.Join(words[:min(3, len(words))], " "); {
	case words[0] == "curl":
		return r.curl(words[1:])
	case words[0] == "rm":
		r.endShop() // SQLite's file is not taken away from a program
		require.NoError(r, os.Remove(words[1]))
		return ""
	case words[0] == "cat":
		text, err := os.ReadFile(words[1])
		require.NoError(r, err)
		return string(text)
	case program == "go run ./examples/shop":
		return r.startShop(words[3:])
	case program == "go run ./cmd/switchyard" && words[len(words)-1] == "--json":
		return ok(r.T, "", words[3:]...)
	case program == "go run ./cmd/switchyard":
		return ok(r.T, "", append(words[3:], "--text")...) // as on a terminal
	}
	require.Equal(r, "go", words[0], command)
	cmd := exec.CommandContext(r.Context(), "go", words[1:]...)
	cmd.Dir = r.root
	out, err := cmd.CombinedOutput()
	require.NoError(r, err, "%s: %s", command, out)
	return string(out)
}

// startShop runs the shop on a free port, and returns its first line as it is on the
// port of the tutorial.
func (r *tutorialReader) startShop(args []string) string {
	r.Helper()
	r.endShop()
	program := filepath.Join(r.programs, "shop")
	if _, err := os.Stat(program); errors.Is(err, os.ErrNotExist) {
		build := exec.CommandContext(r.Context(), "go", "build", "-o", program, "./examples/shop")
		build.Dir = r.root
		out, err := build.CombinedOutput()
		require.NoError(r, err, "%s", out)
	}
	r.shop = exec.CommandContext(context.WithoutCancel(r.Context()), program, append(args, "-address", "127.0.0.1:0")...)
	r.shop.Stderr = r.Output()
	out, err := r.shop.StdoutPipe()
	require.NoError(r, err)
	require.NoError(r, r.shop.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(r, err)
	r.address = regexp.MustCompile(`127\.0\.0\.1:\d+`).FindString(line)
	return strings.Replace(line, r.address, "127.0.0.1:8080", 1)
}

// endShop ends the shop as Ctrl-C does.
func (r *tutorialReader) endShop() {
	if r.shop == nil {
		return
	}
	require.NoError(r, r.shop.Process.Signal(os.Interrupt))
	require.NoError(r, r.shop.Wait(), "exit code 0")
	r.shop = nil
}

// curl knows of curl what the tutorial uses.
func (r *tutorialReader) curl(words []string) string {
	r.Helper()
	method, address, body, show := http.MethodGet, "", "", false
	headers := make(http.Header)
	for i := 0; i < len(words); i++ {
		if strings.HasPrefix(words[i], "http://") {
			address = strings.Replace(words[i], "127.0.0.1:8080", r.address, 1)
			continue
		}
		if words[i] == "-i" {
			show = true
			continue
		}
		value := words[i+1]
		switch words[i] {
		case "-X":
			method = value
		case "-d":
			body = value
		case "-H":
			name, text, _ := strings.Cut(value, ": ")
			headers.Set(name, text)
		default:
			require.Fail(r, "an option of curl's that is not known here", words[i])
		}
		i++
	}
	request, err := http.NewRequestWithContext(r.Context(), method, address, strings.NewReader(body))
	require.NoError(r, err)
	request.Header = headers
	response, err := http.DefaultClient.Do(request)
	require.NoError(r, err)
	defer response.Body.Close()
	var out strings.Builder
	if show {
		fmt.Fprintf(&out, "%s %s\n", response.Proto, response.Status)
		require.NoError(r, response.Header.Write(&out))
		out.WriteString("\n")
	}
	_, err = io.Copy(&out, response.Body)
	require.NoError(r, err)
	return strings.ReplaceAll(out.String(), "\r\n", "\n")
}
