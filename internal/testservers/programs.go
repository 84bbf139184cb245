//go:build unix

package testservers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"

	embeddedpostgres "github.com/fergusstrange/embedded-postgres"
)

// installedPrograms finds the folder of the PostgreSQL server programs: in path
// (a PATH), else the highest version among the folders that globs match.
func installedPrograms(path string, globs ...string) (string, bool) {
	for _, dir := range filepath.SplitList(path) {
		if hasServer(dir) {
			return dir, true
		}
	}
	best, bestVersion := "", 0.0
	for _, glob := range globs {
		dirs, err := filepath.Glob(glob)
		if err != nil {
			continue // a glob of ours is well-formed
		}
		for _, dir := range dirs {
			if v := versionIn(dir); hasServer(dir) && v > bestVersion {
				best, bestVersion = dir, v
			}
		}
	}
	return best, best != ""
}

// usualFolders are where packages put PostgreSQL without adding it to PATH.
func usualFolders() []string {
	return []string{
		"/usr/lib/postgresql/*/bin",                 // Debian and Ubuntu
		"/usr/pgsql-*/bin",                          // Red Hat
		"/opt/homebrew/opt/postgresql@*/bin",        // macOS
		"/usr/local/opt/postgresql@*/bin",           // macOS on Intel
		"/Applications/Postgres.app/*/*/[0-9]*/bin", // Postgres.app
	}
}

// hasServer asks for both programs: clients alone, or a PATH of wrappers, won't do.
func hasServer(dir string) bool {
	for _, program := range []string{"postgres", "initdb"} {
		if info, err := os.Stat(filepath.Join(dir, program)); err != nil || info.IsDir() || info.Mode()&0o111 == 0 {
			return false
		}
	}
	return true
}

var versionNumber = regexp.MustCompile(`\d+(\.\d+)?`)

func versionIn(dir string) float64 {
	numbers := versionNumber.FindAllString(dir, -1)
	if len(numbers) == 0 {
		return 0.1 // below every version, above none
	}
	v, err := strconv.ParseFloat(numbers[len(numbers)-1], 64)
	if err != nil {
		return 0.1
	}
	return v
}

// downloadedPrograms returns the folder of the programs that were downloaded, once
// per machine, checked, and unpacked in the user's cache folder.
func downloadedPrograms(ctx context.Context) (string, error) {
	const version = embeddedpostgres.V18
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	cache = filepath.Join(cache, "switchyard", "postgres")
	unpacked := filepath.Join(cache, string(version))
	bin := filepath.Join(unpacked, "bin")
	there := func() bool { return hasServer(bin) }
	if there() {
		return bin, nil
	}
	return bin, once(ctx, filepath.Join(cache, "lock"), there, func(*os.File) error { return downloadPrograms(cache, unpacked, version) })
}

func downloadPrograms(cache, unpacked string, version embeddedpostgres.PostgresVersion) error {
	scratch, err := os.MkdirTemp(cache, "unpack-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	// The library has no call for the download alone. A locale that does not
	// exist ends its Start right after that: initdb refuses it, and refuses root
	// before. We run the programs ourselves.
	fresh := filepath.Join(scratch, "programs")
	startErr := embeddedpostgres.NewDatabase(embeddedpostgres.DefaultConfig().
		Version(version).
		CachePath(cache).
		BinariesPath(fresh).
		RuntimePath(filepath.Join(scratch, "run")).
		Locale("download only").
		Port(0).
		Logger(io.Discard)).Start()
	if !hasServer(filepath.Join(fresh, "bin")) {
		return fmt.Errorf("download of PostgreSQL: %w", startErr)
	}
	return os.Rename(fresh, unpacked) // in one step, so that another test process sees all of them or none
}

// findPrograms returns the folder of the server programs and whether they had to
// be downloaded. Its error names what can be done.
func findPrograms(ctx context.Context, download bool) (bin string, downloaded bool, err error) {
	if !download {
		if bin, ok := installedPrograms(os.Getenv("PATH"), usualFolders()...); ok {
			return bin, false, nil
		}
	}
	bin, err = downloadedPrograms(ctx)
	if err != nil {
		return "", false, fmt.Errorf("testservers: no PostgreSQL for the tests. Any of these helps: "+
			"set %s to a superuser's URL; install the PostgreSQL server (as Debian's package postgresql); "+
			"or allow this download: %w", urlVariable, err)
	}
	return bin, true, nil
}

// copyForOthers copies the programs out of root's home, which the server's user
// may not enter, into a temporary folder. That is not the server's own, which may
// be on a small disk that a test fills.
func copyForOthers(bin string) (string, error) {
	dir, err := os.MkdirTemp("", "switchyard-postgres-programs-")
	if err != nil {
		return "", err
	}
	err = os.Chmod(dir, 0o755)
	if err == nil {
		err = os.CopyFS(dir, os.DirFS(filepath.Dir(bin)))
	}
	if err != nil {
		return "", errors.Join(err, os.RemoveAll(dir))
	}
	return filepath.Join(dir, "bin"), nil
}
