package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/internal/comparison"
)

func compared(t *testing.T) (page string, report comparison.Report) {
	t.Helper()
	url, file := sqliteURL(t), filepath.Join(t.TempDir(), "report.html")
	ok(t, line("a", 1), "import", url)
	before := ok(t, "", "stats", url)
	out := ok(t, "", "compare", url, "memory:", "--out", file, "--checks", "^append/returns", "--match", "^append 8", "--duration", "20ms", "--rounds", "1")
	require.NoError(t, json.Unmarshal([]byte(out), &report))
	require.Equal(t, before, ok(t, "", "stats", url), "the store itself is not touched")
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	return string(text), report
}

func TestAComparisonIsOneFileAndTheSameAsJSON(t *testing.T) {
	page, report := compared(t)
	require.Len(t, report.Stores, 2)
	for _, store := range report.Stores {
		require.Contains(t, page, store.Name)
		require.Positive(t, store.Suite.Passed)
		require.Zero(t, store.Suite.Failed)
		require.NotEmpty(t, store.Results)
		require.NotEmpty(t, store.Guarantees)
		for _, result := range store.Results {
			require.Equal(t, store.Name, result.Store)
			require.Contains(t, page, result.Case)
		}
		for _, declared := range store.Facts {
			require.Contains(t, page, "<th>"+declared.Name+"</th>")
		}
	}
	require.Equal(t, exitUsage, call(t, "", "compare", "memory:", "--scale", "x").code)
}

func TestAComparisonThatCannotBeMadeIsRefusedBeforeItsFirstSuite(t *testing.T) {
	for name, args := range map[string][]string{
		"a second store that is none": {"memory:", "nosql:", "--out", filepath.Join(t.TempDir(), "x.html")},
		"a file that is a folder":     {"memory:", "--out", t.TempDir()},
	} {
		t.Run(name, func(t *testing.T) {
			got := call(t, "", append([]string{"compare", "--checks", "^append/returns", "--match", "^$"}, args...)...)
			require.NotZero(t, got.code)
			require.NotContains(t, got.err, "the suite")
		})
	}
}

// chromiumProgram names the browser of the test below: see CONTRIBUTING.md.
const chromiumProgram = "SWITCHYARD_TEST_CHROMIUM"

// The page is drawn by a browser as wide as a phone: nothing of it is wider, but for
// tables that scroll by themselves, and it asks for nothing. What was seen the page tells
// a server of the test: not every build of Chromium can print a page.
func TestAComparisonIsReadableOnAPhone(t *testing.T) {
	browser := os.Getenv(chromiumProgram)
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"} {
		if path, err := exec.LookPath(name); err == nil && browser == "" {
			browser = path
		}
	}
	if browser == "" {
		t.Skip("there is no Chromium here, and " + chromiumProgram + " names none: whether the page can be read on a phone was NOT looked at")
	}
	page, report := compared(t)
	// The measuring script is the test's: the page itself forbids scripts.
	page = regexp.MustCompile(`<meta http-equiv="Content-Security-Policy"[^>]*>`).ReplaceAllString(page, "")
	page = strings.Replace(page, "</body>", `<script>
onload = () => {
const asked = performance.getEntriesByType("resource").filter(r => !r.name.endsWith("/favicon.ico")).length;
const bars = [...document.querySelectorAll(".bar")].filter(b => b.getBoundingClientRect().width > 0).length;
fetch("/seen?" + new URLSearchParams({ wide: document.documentElement.scrollWidth, window: innerWidth, asked, bars }));
};
</script></body>`, 1)
	seen := make(chan url.Values, 1)
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/":
			_, _ = io.WriteString(w, page)
		case "/seen":
			seen <- r.URL.Query()
		default:
			http.NotFound(w, r)
		}
	}))
	defer site.Close()
	cmd := exec.CommandContext(t.Context(), browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-proxy-server",
		"--disable-background-networking", "--remote-debugging-port=0", "--user-data-dir="+t.TempDir(), "--window-size=390,844", site.URL)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // it has children, which write to its folder
	require.NoError(t, cmd.Start())
	defer func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
	}()
	select {
	case got := <-seen:
		number := func(name string) int {
			n, err := strconv.Atoi(got.Get(name))
			require.NoError(t, err)
			return n
		}
		require.LessOrEqual(t, number("window"), 500, "a window is not smaller in every build")
		require.LessOrEqual(t, number("wide"), number("window"), "nothing is wider than the window")
		require.Zero(t, number("asked"), "it asks for nothing")
		t.Log(got)
		require.Positive(t, number("bars"), "the bars of %d stores are drawn", len(report.Stores))
	case <-time.After(time.Minute):
		require.Fail(t, browser+" has drawn nothing within a minute")
	}
}
