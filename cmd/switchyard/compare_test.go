package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

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

// The page is drawn by a browser as wide as a phone: nothing of it is wider, but for
// tables that scroll by themselves, and it asks for nothing.
func TestAComparisonIsReadableOnAPhone(t *testing.T) {
	browser := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			browser = path
		}
	}
	if browser == "" {
		t.Skip("there is no Chromium here: whether the page can be read on a phone was NOT looked at")
	}
	page, report := compared(t)
	// The measuring script is the test's: the page itself forbids scripts.
	page = regexp.MustCompile(`<meta http-equiv="Content-Security-Policy"[^>]*>`).ReplaceAllString(page, "")
	page = strings.Replace(page, "</body>", `<script>
const asked = performance.getEntriesByType("resource").length;
const bars = [...document.querySelectorAll(".bar")].filter(b => b.getBoundingClientRect().width > 0).length;
document.body.setAttribute("data-seen", [document.documentElement.scrollWidth <= innerWidth, asked, bars].join(" "));
</script></body>`, 1)
	file := filepath.Join(t.TempDir(), "page.html")
	require.NoError(t, os.WriteFile(file, []byte(page), 0o600))
	cmd := exec.CommandContext(t.Context(), browser, "--headless", "--no-sandbox", "--disable-gpu", "--user-data-dir="+t.TempDir(), "--window-size=500,900", "--dump-dom", "file://"+file)
	dom, err := cmd.Output()
	require.NoError(t, err)
	seen := regexp.MustCompile(`data-seen="(\S+) (\d+) (\d+)"`).FindStringSubmatch(string(dom))
	require.NotNil(t, seen)
	require.Equal(t, "true", seen[1], "nothing is wider than the window")
	require.Equal(t, "0", seen[2], "it asks for nothing")
	require.NotEqual(t, "0", seen[3], "the bars of %d stores are drawn", len(report.Stores))
}
