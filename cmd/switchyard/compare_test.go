package main

import (
	"bytes"
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
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/internal/comparison"
	"github.com/switchyard-dev/switchyard/internal/testservers"
)

func compared(t *testing.T, others ...string) (page string, report comparison.Report) {
	t.Helper()
	url, file := sqliteURL(t), filepath.Join(t.TempDir(), "report.html")
	ok(t, line("a", 1), "import", url)
	before := ok(t, "", "stats", url)
	out := ok(t, "", append([]string{"compare", url, "memory:", "--out", file, "--checks", "^append/returns", "--match", "^append 8", "--duration", "20ms", "--rounds", "1"}, others...)...)
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
		"checks by no expression":     {"memory:", "--checks", "("},
		"cases by no expression":      {"memory:", "--match", "("},
		"no case of that name":        {"memory:", "--match", "^apend"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "report.html")
			got := call(t, "", append([]string{"compare", "--out", file, "--checks", "^append/returns", "--match", "^$"}, args...)...)
			require.NotZero(t, got.code)
			require.NotContains(t, got.err, "the suite")
			require.NoFileExists(t, file, "no empty report is left")
		})
	}
}

// What two URLs differ in need not be shown: parameters are not.
func TestStoresOfOneNameAreComparedAsTwo(t *testing.T) {
	url, file := sqliteURL(t), filepath.Join(t.TempDir(), "report.html")
	var report comparison.Report
	out := ok(t, "", "compare", url, url, "memory:", url, "--out", file, "--no-suite", "--match", "^append 8×1 new", "--duration", "10ms", "--rounds", "1")
	require.NoError(t, json.Unmarshal([]byte(out), &report))
	var names []string
	for _, store := range report.Stores {
		names = append(names, store.Name)
		require.Len(t, store.Results, 1)
		require.Equal(t, store.Name, store.Results[0].Store)
	}
	require.Equal(t, []string{url, url + " (2)", "memory:", url + " (3)"}, names)
}

func TestAServerThatIsAwayIsToldOnceAndWithoutItsPassword(t *testing.T) {
	for _, url := range []string{"esdb://admin:s3cr3t@127.0.0.1:1?tls=true", "postgres://admin:s3cr3t@127.0.0.1:1/x", "marten://admin:s3cr3t@127.0.0.1:1/x"} {
		file := filepath.Join(t.TempDir(), "report.html")
		cmd := program(t, "compare", "memory:", url, "--out", file)
		said, err := cmd.CombinedOutput()
		require.Error(t, err)
		require.NotContains(t, string(said), "s3cr3t")
		require.Equal(t, 1, strings.Count(string(said), "switchyard: "), "%s", said)
		require.NotContains(t, string(said), "[info]", "a client's own log")
		require.NoFileExists(t, file)
	}
}

// The page is drawn by a browser as wide as a phone: nothing of it is wider, but for
// tables that scroll by themselves, and it asks for nothing. What was seen the page tells
// a server of the test: not every build of Chromium can print a page.
func TestAComparisonIsReadableOnAPhone(t *testing.T) {
	browser, err := testservers.FindChromium(t.Context())
	if err != nil {
		t.Skipf("whether the page can be read on a phone was NOT looked at: %s", err)
	}
	page, report := compared(t, sqliteURL(t), sqliteURL(t), sqliteURL(t), sqliteURL(t), sqliteURL(t))
	// The measuring script is the test's: the page itself forbids scripts.
	page = regexp.MustCompile(`<meta http-equiv="Content-Security-Policy"[^>]*>`).ReplaceAllString(page, "")
	page = strings.Replace(page, "</body>", `<script>
onload = () => {
const asked = performance.getEntriesByType("resource").filter(r => !r.name.endsWith("/favicon.ico")).length;
const bars = [...document.querySelectorAll(".bar")].filter(b => {
	const box = b.getBoundingClientRect(), colour = getComputedStyle(b).backgroundColor;
	return box.width > 0 && box.right <= innerWidth && colour != "rgba(0, 0, 0, 0)";
}).length;
const names = document.querySelectorAll("#guarantees tr > :first-child"), table = document.querySelector("#guarantees").parentElement;
table.scrollLeft = table.scrollWidth;
const left = [...names].filter(n => n.getBoundingClientRect().left < 0).length;
fetch("/seen?" + new URLSearchParams({ wide: document.documentElement.scrollWidth, window: innerWidth, asked, bars, scrolled: table.scrollLeft, left }));
};
</script></body>`, 1)
	seen, asked := make(chan url.Values, 1), make(chan struct{})
	ask := sync.OnceFunc(func() { close(asked) })
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/": // a window cannot be as small in every build
			ask()
			_, _ = io.WriteString(w, `<iframe src="/page" style="width: 360px; height: 640px; border: 0"></iframe>`)
		case "/page":
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
	var told bytes.Buffer
	cmd.Stderr = &told
	require.NoError(t, cmd.Start())
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	stop := sync.OnceFunc(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-ended
	})
	defer stop()
	select { // a browser that asks for nothing cannot run here, for want of a library or a right
	case <-asked:
	case <-ended:
	case <-time.After(time.Minute):
	}
	select {
	case <-asked:
	default:
		stop()
		t.Skipf("whether the page can be read on a phone was NOT looked at: %s does not run here; set SWITCHYARD_TEST_CHROMIUM to one that does: %.500s", browser, told.String())
	}
	select {
	case got := <-seen:
		number := func(name string) int {
			n, err := strconv.Atoi(got.Get(name))
			require.NoError(t, err)
			return n
		}
		require.Equal(t, 360, number("window"))
		require.LessOrEqual(t, number("wide"), number("window"), "nothing is wider than the window")
		require.Zero(t, number("asked"), "it asks for nothing")
		measured := 0
		for _, store := range report.Stores {
			measured += len(store.Results)
		}
		require.Equal(t, measured, number("bars"), "each result has a bar that can be seen")
		require.Positive(t, number("scrolled"))
		require.Zero(t, number("left"), "a row's name stays in view when its table is scrolled")
	case <-time.After(time.Minute):
		require.Fail(t, browser+" has drawn nothing within a minute")
	}
}
