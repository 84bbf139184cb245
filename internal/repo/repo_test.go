package repo

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const maxLines = 600

// longFiles are the Go files allowed to pass maxLines, each with its reason.
var longFiles = map[string]string{}

// root returns the top of the checkout.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	require.NoError(t, err)
	require.FileExists(t, filepath.Join(dir, "go.mod"))
	return dir
}

// textFiles returns the repository's text files by slash-separated path.
func textFiles(t *testing.T) map[string]string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	cmd.Dir = root(t)
	// The checkout may belong to another user, as it does in some CI containers.
	cmd.Env = append(os.Environ(), "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*")
	list, err := cmd.Output()
	require.NoError(t, err)
	files := map[string]string{}
	for name := range strings.SplitSeq(strings.TrimRight(string(list), "\x00"), "\x00") {
		text, err := os.ReadFile(filepath.Join(cmd.Dir, name))
		if os.IsNotExist(err) {
			continue // deleted and not yet committed
		}
		require.NoError(t, err)
		if !bytes.ContainsRune(text, 0) {
			files[name] = string(text)
		}
	}
	require.NotEmpty(t, files)
	return files
}

func TestGoFilesStayReadable(t *testing.T) {
	for name, text := range textFiles(t) {
		if !strings.HasSuffix(name, ".go") || longFiles[name] != "" {
			continue
		}
		lines := strings.Count(text, "\n")
		require.LessOrEqualf(t, lines, maxLines, "%s: split it, or give a reason in longFiles", name)
	}
}

func TestNoFileNamesThisMachine(t *testing.T) {
	home, err := os.UserHomeDir()
	require.NoError(t, err)
	folders := []string{regexp.QuoteMeta(home)}
	// Folders every machine has say nothing about this one.
	everywhere := []string{"/", "/home", "/Users", "/tmp", "/private", "/var", "/usr", "/opt", "/srv", "/mnt", "/src", "/build"}
	for dir := root(t); !slices.Contains(everywhere, dir) && dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		folders = append(folders, regexp.QuoteMeta(dir))
	}
	machinePath := regexp.MustCompile(`(^|[\s"'` + "`" + `(=:])(` + strings.Join(folders, "|") + `)(/|\b)`)
	for name, text := range textFiles(t) {
		require.NotRegexp(t, machinePath, text, "%s names a folder of this machine", name)
	}
}

func TestLockFilesRecordNoDownloadAddresses(t *testing.T) {
	for name, text := range textFiles(t) {
		if filepath.Base(name) == "package-lock.json" {
			require.NotContains(t, text, `"resolved": "http`, "%s: set omit-lockfile-registry-resolved=true in .npmrc", name)
		}
	}
}

var (
	markdownLink = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	markdownCode = regexp.MustCompile("(?ms)^```.*?^```$") // in which Of[T](x) is no link
)

func TestRelativeLinksInMarkdownLeadSomewhere(t *testing.T) {
	for name, text := range textFiles(t) {
		if !strings.HasSuffix(name, ".md") {
			continue
		}
		for _, link := range markdownLink.FindAllStringSubmatch(markdownCode.ReplaceAllString(text, ""), -1) {
			target, _, _ := strings.Cut(link[1], "#")
			if target == "" || strings.Contains(target, ":") {
				continue // within the page, or on the web
			}
			path := filepath.Join(root(t), filepath.Dir(name), target)
			_, err := os.Stat(path)
			require.NoErrorf(t, err, "%s links to %s", name, link[1])
		}
	}
}
