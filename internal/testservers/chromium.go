//go:build unix

package testservers

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
)

const (
	// chromiumVariable names a browser of yours.
	chromiumVariable = "SWITCHYARD_TEST_CHROMIUM"
	// npm's package has a browser for Linux that needs no library of a desktop.
	chromiumPackage = "@sparticuz/chromium@153.0.0"
	chromiumSHA256  = "20e5656fcdcf4118ede85edfb9d6bb9cc1bbb7ffb8b75622fffbcf36a835c3c0"
	chromiumInside  = "package/bin/chromium.br"
)

// FindChromium returns a browser for tests that look at a page: yours, one on the PATH,
// the one in the cache folder, or one that npm brings there now, once per machine (70 MB).
func FindChromium(ctx context.Context) (string, error) {
	if program := os.Getenv(chromiumVariable); program != "" {
		if !isProgram(program) {
			return "", fmt.Errorf("testservers: %s is not a program: %s", chromiumVariable, program)
		}
		return program, nil
	}
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"} {
		if program, err := exec.LookPath(name); err == nil {
			return program, nil
		}
	}
	program, err := broughtChromium(ctx)
	if err != nil {
		return "", fmt.Errorf("testservers: no Chromium for the tests. Any of these helps: put one on the PATH; set %s to one; "+
			"or, on Linux on amd64, install Node.js 20 with npm, which brings one: %w", chromiumVariable, err)
	}
	return program, nil
}

func broughtChromium(ctx context.Context) (string, error) {
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		return "", fmt.Errorf("npm's is not for %s on %s", runtime.GOOS, runtime.GOARCH)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	cache = filepath.Join(cache, "switchyard", "chromium")
	program := filepath.Join(cache, chromiumSHA256[:16], "chromium")
	there := func() bool { return isProgram(program) }
	if there() {
		return program, nil
	}
	return program, once(ctx, filepath.Join(cache, "lock"), there, func(*os.File) error {
		scratch, err := os.MkdirTemp(cache, "bring-")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(scratch) }()
		if err := bringChromium(ctx, scratch); err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(program), 0o755); err != nil {
			return err
		}
		// In one step, so that nobody sees half a program.
		return os.Rename(filepath.Join(scratch, "chromium"), program)
	})
}

// bringChromium puts the program into a folder. Node.js unpacks it, for Go's library
// knows no Brotli.
func bringChromium(ctx context.Context, dir string) error {
	run := func(program string, args ...string) error {
		cmd := exec.CommandContext(ctx, program, args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", program, err, lastLines(out, 5))
		}
		return nil
	}
	if err := run("npm", "pack", "--silent", chromiumPackage); err != nil {
		return err
	}
	packed, err := filepath.Glob(filepath.Join(dir, "*.tgz"))
	if err != nil || len(packed) != 1 {
		return fmt.Errorf("npm pack left %d files: %w", len(packed), err)
	}
	if err := unpackChromium(packed[0], filepath.Join(dir, "chromium.br")); err != nil {
		return err
	}
	return run("node", "-e", `const fs = require("fs"), zlib = require("zlib");
require("stream").pipeline(fs.createReadStream("chromium.br"), zlib.createBrotliDecompress(),
fs.createWriteStream("chromium", { mode: 0o755 }), err => { if (err) throw err; });`)
}

// unpackChromium takes the compressed program out of npm's archive, if that is the one
// that is meant.
func unpackChromium(archive, into string) error {
	file, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	sum := sha256.New()
	if _, err := io.Copy(sum, file); err != nil {
		return err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != chromiumSHA256 {
		return fmt.Errorf("%s has SHA-256 %s, and not %s", chromiumPackage, got, chromiumSHA256)
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	unzipped, err := gzip.NewReader(file)
	if err != nil {
		return err
	}
	for entries := tar.NewReader(unzipped); ; {
		entry, err := entries.Next()
		if err != nil {
			return fmt.Errorf("find %s: %w", chromiumInside, err)
		}
		if entry.Name != chromiumInside {
			continue
		}
		out, err := os.Create(into)
		if err != nil {
			return err
		}
		_, err = io.Copy(out, entries)
		return errors.Join(err, out.Close())
	}
}
