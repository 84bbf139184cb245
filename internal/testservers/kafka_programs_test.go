//go:build unix

package testservers

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func writeProgram(t *testing.T, dir, name, script string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(dir, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script), 0o755))
}

// fakeMachine has the programs of the scripts and nothing else. It returns the
// cache folder.
func fakeMachine(t *testing.T, java, mvn string) string {
	t.Helper()
	dir := t.TempDir()
	bin, cache := filepath.Join(dir, "bin"), filepath.Join(dir, "cache")
	if java != "" {
		writeProgram(t, bin, "java", java)
	}
	if mvn != "" {
		writeProgram(t, bin, "mvn", mvn)
	}
	t.Setenv("PATH", bin)
	t.Setenv("HOME", dir)
	t.Setenv("XDG_CACHE_HOME", cache)
	for _, name := range []string{"JAVA_HOME", "KAFKA_HOME", kafkaLibrary} {
		t.Setenv(name, "")
	}
	cacheDir, err := os.UserCacheDir()
	require.NoError(t, err)
	return cacheDir
}

const (
	java17 = `echo 'openjdk version "17.0.15" 2025-04-15' >&2`
	java11 = `echo 'openjdk version "11.0.2" 2019-01-15' >&2`
	java8  = `echo 'java version "1.8.0_402"' >&2`
	javaEA = `echo 'openjdk version "27-ea" 2026-09-15' >&2`
	// goodMaven makes the jars that are looked for, where it is told to.
	goodMaven = `for a in "$@"; do case $a in -DoutputDirectory=*) d=${a#*=};; esac; done
/bin/mkdir -p "$d" && : > "$d/kafka_2.13-4.4.0.jar" && : > "$d/kafka-raft-4.4.0.jar"; echo ran >> "$HOME/runs"`
)

func TestWhereKafkaCannotBeHadTheErrorNamesTheRemedy(t *testing.T) {
	for name, c := range map[string]struct {
		java, mvn string
		want      []string
	}{
		"no java":       {"", goodMaven, []string{"there is no java", "install a JRE 17 or later"}},
		"a broken java": {"exit 3", goodMaven, []string{"-version fails", "install a JRE 17 or later", "exit status 3"}},
		"java 11":       {java11, goodMaven, []string{"is version 11", "install a JRE 17 or later"}},
		"java 8":        {java8, goodMaven, []string{"is version 8", "install a JRE 17 or later"}},
		"no mvn":        {java17, "", []string{"no mvn", "install Maven", "KAFKA_HOME", kafkaLibrary}},
		"mvn fails": {
			java17, "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do echo line $i.; done; exit 1",
			[]string{"mvn cannot fetch it", "mirror in your Maven settings", "exit status 1", "line 3.", "line 12."},
		},
		"mvn does nothing": {java17, "exit 0", []string{"mvn cannot fetch it", "it fetched no broker"}},
	} {
		t.Run(name, func(t *testing.T) {
			cache := fakeMachine(t, c.java, c.mvn)
			_, err := findKafka(t.Context())
			for _, want := range append(c.want, brokersVariable) {
				require.ErrorContains(t, err, want)
			}
			require.NotContains(t, err.Error(), "line 2.", "the last lines are enough")
			absent := new(AbsentError)
			require.ErrorAs(t, err, &absent)
			left, err := filepath.Glob(filepath.Join(cache, "switchyard", "kafka-"+kafkaVersion+"*"))
			require.NoError(t, err)
			for _, name := range left {
				require.Equal(t, ".lock", filepath.Ext(name), "a half-made folder stays")
			}
		})
	}
}

func TestTheJarsAreFetchedOnceAndServeAllProcesses(t *testing.T) {
	cache := fakeMachine(t, java17, goodMaven)
	want := filepath.Join(cache, "switchyard", "kafka-"+kafkaVersion, "lib")
	results := make(chan error, 8)
	for range cap(results) {
		go func() {
			programs, err := findKafka(context.WithoutCancel(t.Context()))
			if err == nil && programs.lib != want {
				err = errors.New("found in " + programs.lib)
			}
			results <- err
		}()
	}
	for range cap(results) {
		require.NoError(t, <-results)
	}
	runs, err := os.ReadFile(filepath.Join(os.Getenv("HOME"), "runs"))
	require.NoError(t, err)
	require.Equal(t, "ran\n", string(runs))
}

func TestAHalfMadeFolderIsReplaced(t *testing.T) {
	cache := fakeMachine(t, javaEA, goodMaven)
	lib := filepath.Join(cache, "switchyard", "kafka-"+kafkaVersion, "lib")
	writeProgram(t, lib, "kafka-clients-4.4.0.jar", "")
	programs, err := findKafka(t.Context())
	require.NoError(t, err)
	require.Equal(t, lib, programs.lib)
	require.NoFileExists(t, filepath.Join(lib, "kafka-clients-4.4.0.jar"))
}

func TestAMavenThatHangsIsGivenUp(t *testing.T) {
	fakeMachine(t, java17, `: > "$HOME/hangs"; /bin/sleep 600`)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := findKafka(ctx)
		ended <- err
	}()
	require.Eventually(t, func() bool { _, err := os.Stat(filepath.Join(os.Getenv("HOME"), "hangs")); return err == nil }, 20*time.Second, 5*time.Millisecond)
	cancel()
	require.ErrorContains(t, <-ended, "mvn cannot fetch it")
}

func TestAnInstalledKafkaComesBeforeTheDownload(t *testing.T) {
	fakeMachine(t, java17, "exit 1")
	home, lib := t.TempDir(), t.TempDir()
	t.Setenv("KAFKA_HOME", home)
	writeProgram(t, filepath.Join(home, "libs"), "kafka_2.13-4.1.1.jar", "")
	_, err := findKafka(t.Context())
	require.Error(t, err, "a Kafka that needs ZooKeeper is none")
	writeProgram(t, filepath.Join(home, "libs"), "kafka-raft-4.1.1.jar", "")
	programs, err := findKafka(t.Context())
	require.NoError(t, err)
	require.Equal(t, filepath.Join(home, "libs"), programs.lib)

	t.Setenv(kafkaLibrary, lib)
	_, err = findKafka(t.Context())
	require.ErrorContains(t, err, kafkaLibrary, "the folder that was named, or none")
	writeProgram(t, lib, "kafka_2.13-4.1.1.jar", "")
	writeProgram(t, lib, "kafka-raft-4.1.1.jar", "")
	programs, err = findKafka(t.Context())
	require.NoError(t, err)
	require.Equal(t, lib, programs.lib)
}

// verdict notes how a test was ended.
type verdict struct {
	testing.TB
	skipped, failed bool
}

func (v *verdict) Helper()              {}
func (v *verdict) Skipf(string, ...any) { v.skipped = true }
func (v *verdict) Fatal(...any)         { v.failed = true }

func TestOnlyAnAbsentKafkaIsSkippedAndNeverInCI(t *testing.T) {
	absent, broken := noKafka(nil, "there is no java"), errors.New("it does not start")
	for name, c := range map[string]struct {
		ci   string
		err  error
		want verdict
	}{
		"there, at home":   {"", nil, verdict{}},
		"absent, at home":  {"", absent, verdict{skipped: true}},
		"absent, in CI":    {"true", absent, verdict{failed: true}},
		"broken, at home":  {"", broken, verdict{failed: true}},
		"broken, in CI":    {"true", broken, verdict{failed: true}},
		"there, in the CI": {"true", nil, verdict{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("CI", c.ci)
			var got verdict
			skipOrFail(&got, c.err)
			require.Equal(t, c.want, got)
		})
	}
}
