//go:build unix

package testservers

import (
	"context"
	_ "embed" // the list of what a broker needs
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"time"
)

const (
	kafkaVersion     = "4.4.0" // the one that kafka.pom names
	kafkaLibrary     = "SWITCHYARD_TEST_KAFKA_LIB"
	oldestJava       = 17
	fetchKafkaAtMost = 3 * time.Minute
)

//go:embed kafka.pom
var kafkaPOM []byte

// AbsentError says that this machine has not what it takes to start a server, and
// what would help.
type AbsentError struct {
	Server string
	Reason string
	Err    error // nil where there is nothing more to say
}

func (e *AbsentError) Error() string {
	text := fmt.Sprintf("testservers: no %s for the tests: %s", e.Server, e.Reason)
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns the cause.
func (e *AbsentError) Unwrap() error { return e.Err }

func noKafka(err error, format string, args ...any) error {
	return &AbsentError{Server: "Kafka", Reason: fmt.Sprintf(format, args...) +
		", or set " + brokersVariable + " to host:port of a broker of yours", Err: err}
}

// kafkaPrograms are a Java and the folder of the jars of a Kafka broker.
type kafkaPrograms struct{ java, lib string }

// findKafka finds the programs, or fetches the jars. Its error names what can be done.
func findKafka(ctx context.Context) (kafkaPrograms, error) {
	java, err := findJava(ctx)
	if err != nil {
		return kafkaPrograms{}, err
	}
	if lib := os.Getenv(kafkaLibrary); lib != "" {
		if !hasBroker(lib) {
			return kafkaPrograms{}, noKafka(nil, "%s is not a folder with the jars of a Kafka 3.3 or later; correct it", kafkaLibrary)
		}
		return kafkaPrograms{java, lib}, nil
	}
	if home := os.Getenv("KAFKA_HOME"); home != "" && hasBroker(filepath.Join(home, "libs")) {
		return kafkaPrograms{java, filepath.Join(home, "libs")}, nil
	}
	lib, err := fetchedKafka(ctx)
	return kafkaPrograms{java, lib}, err
}

// hasBroker asks for two jars: the clients' alone won't do, and a Kafka without
// the raft jar cannot run without ZooKeeper.
func hasBroker(lib string) bool {
	for _, jar := range []string{"kafka_2.*.jar", "kafka-raft-*.jar"} {
		if found, err := filepath.Glob(filepath.Join(lib, jar)); err != nil || len(found) == 0 {
			return false
		}
	}
	return true
}

var javaVersion = regexp.MustCompile(`version "(?:1\.)?(\d+)`)

func findJava(ctx context.Context) (string, error) {
	java := filepath.Join(os.Getenv("JAVA_HOME"), "bin", "java")
	if info, err := os.Stat(java); os.Getenv("JAVA_HOME") == "" || err != nil || info.IsDir() {
		if java, err = exec.LookPath("java"); err != nil {
			return "", noKafka(nil, "there is no java; install a JRE %d or later (such as Debian's openjdk-17-jre-headless)", oldestJava)
		}
	}
	out, err := exec.CommandContext(ctx, java, "-version").CombinedOutput()
	if err != nil {
		return "", noKafka(err, "%s -version fails; install a JRE %d or later", java, oldestJava)
	}
	// A version in a form that we do not know may serve: Java itself would say
	// UnsupportedClassVersionError.
	if found := javaVersion.FindSubmatch(out); found != nil {
		if version, err := strconv.Atoi(string(found[1])); err == nil && version < oldestJava {
			return "", noKafka(nil, "%s is version %d; install a JRE %d or later, or point JAVA_HOME at one", java, version, oldestJava)
		}
	}
	return java, nil
}

// fetchedKafka returns the folder of the jars that Maven has fetched, once per
// machine, into the user's cache folder. Maven resolves what a broker needs, and
// asks whatever mirror the user's own settings name.
func fetchedKafka(ctx context.Context) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	fetched := filepath.Join(cache, "switchyard", "kafka-"+kafkaVersion)
	lib := filepath.Join(fetched, "lib")
	there := func() bool { return hasBroker(lib) }
	if there() {
		return lib, nil
	}
	maven, err := exec.LookPath("mvn")
	if err != nil {
		return "", noKafka(nil, "there are no jars and no mvn to fetch them; install Maven (such as Debian's maven), set KAFKA_HOME to an installed Kafka, or %s to a folder of its jars", kafkaLibrary)
	}
	ctx, cancel := context.WithTimeout(ctx, fetchKafkaAtMost)
	defer cancel()
	return lib, once(ctx, fetched+".lock", there, func(*os.File) error { return fetchKafka(ctx, maven, fetched) })
}

// fetchKafka makes the folder in one step, so that other test processes see all
// of it or nothing.
func fetchKafka(ctx context.Context, maven, fetched string) error {
	scratch, err := os.MkdirTemp(filepath.Dir(fetched), fmt.Sprintf("%s.tmp-%d-", filepath.Base(fetched), os.Getpid()))
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	if err := os.Chmod(scratch, 0o755); err != nil {
		return err
	}
	pom := filepath.Join(scratch, "pom.xml")
	if err := os.WriteFile(pom, kafkaPOM, 0o600); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, maven, "-B", "-ntp", "-q", "-f", pom, "dependency:copy-dependencies",
		"-DincludeScope=runtime", "-DoutputDirectory="+filepath.Join(scratch, "lib"))
	cmd.Dir = scratch
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // mvn is a script around java
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	if err == nil && !hasBroker(filepath.Join(scratch, "lib")) {
		err = errors.New("it fetched no broker")
	}
	if err != nil {
		return noKafka(fmt.Errorf("%w; its last lines:\n%s", err, lastLines(out, 10)),
			"mvn cannot fetch it; allow the download, name a mirror in your Maven settings, or set %s to a folder of a Kafka's jars", kafkaLibrary)
	}
	// What is there without a broker in it is no use to anybody.
	if err := os.RemoveAll(fetched); err != nil {
		return err
	}
	return os.Rename(scratch, fetched)
}
