//go:build unix

package testservers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// kafkaBroker is a broker: a folder with data, settings and log, and the one
// process that serves it.
type kafkaBroker struct {
	node                 int // its number and its node ID
	dir                  string
	programs             kafkaPrograms
	port, controllerPort int
	betweenPort          int               // for the other brokers, where they are separable
	listeners            map[string]string // addresses of KafkaOptions.Listeners
	separable            bool
	guard                *guard

	mu      sync.Mutex
	process *process // the last one started
	closed  bool
}

func newKafkaBroker(ctx context.Context, programs kafkaPrograms, opts KafkaOptions, node int) (*kafkaBroker, error) {
	b := &kafkaBroker{node: node, programs: programs, listeners: map[string]string{}, separable: opts.Separable}
	var err error
	if b.port, err = freePort(ctx); err != nil {
		return nil, err
	}
	if b.controllerPort, err = freePort(ctx); err != nil {
		return nil, err
	}
	if b.betweenPort, err = freePort(ctx); err != nil {
		return nil, err
	}
	for name, listener := range opts.Listeners {
		port, err := freePort(ctx)
		if err != nil {
			return nil, err
		}
		b.listeners[name] = net.JoinHostPort(cmp.Or(listener.Host, "127.0.0.1"), strconv.Itoa(port))
	}
	if b.dir, err = os.MkdirTemp(opts.Dir, "switchyard-kafka-"); err != nil {
		return nil, err
	}
	// By SIGKILL: the data goes with the broker, and a paused one hears nothing else.
	if b.guard, err = startGuard("KILL", []string{b.dir}); err != nil {
		return nil, errors.Join(err, os.RemoveAll(b.dir))
	}
	return b, nil
}

func (b *kafkaBroker) address() string { return fmt.Sprintf("127.0.0.1:%d", b.port) }

// name is where the other brokers find it.
func (b *kafkaBroker) name() string {
	if b.separable {
		return fmt.Sprintf("broker-%d", b.node)
	}
	return "127.0.0.1"
}

func (b *kafkaBroker) dataDir() string      { return filepath.Join(b.dir, "data") }
func (b *kafkaBroker) logFile() string      { return filepath.Join(b.dir, "server.log") }
func (b *kafkaBroker) hostsFile() string    { return filepath.Join(b.dir, "hosts") }
func (b *kafkaBroker) settingsFile() string { return filepath.Join(b.dir, "server.properties") }

// format writes the settings and makes the data folder of a cluster.
func (b *kafkaBroker) format(ctx context.Context, clusterID string, properties map[string]string) error {
	var text strings.Builder
	for name, value := range properties {
		fmt.Fprintf(&text, "%s=%s\n", name, value)
	}
	if err := os.WriteFile(b.settingsFile(), []byte(text.String()), 0o600); err != nil {
		return err
	}
	cmd := b.command(ctx, "kafka.tools.StorageTool", "format", "-t", clusterID, "-c", b.settingsFile())
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("testservers: format the folder of a Kafka broker: %w\n%s", err, lastLines(out, 15))
	}
	return nil
}

// command prepares one of Kafka's programs, in a process group of its own so that
// a Ctrl-C reaches the tests and not the broker.
func (b *kafkaBroker) command(ctx context.Context, class string, args ...string) *exec.Cmd {
	const logging = "-Dorg.slf4j.simpleLogger."
	var hosts []string
	if b.separable {
		hosts = []string{"-Djdk.net.hosts.file=" + b.hostsFile()}
	}
	cmd := exec.CommandContext(ctx, b.programs.java, slices.Concat(hosts, []string{
		"-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", // small, and quick to start
		logging + "showDateTime=true", logging + "dateTimeFormat=HH:mm:ss.SSS",
		logging + "defaultLogLevel=warn", logging + "log.kafka.server.KafkaRaftServer=info",
		"-cp", filepath.Join(b.programs.lib, "*"), class,
	}, args)...)
	cmd.Dir = b.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

func (b *kafkaBroker) launch(ctx context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return errors.New("testservers: the broker is closed")
	}
	if b.process.alive() {
		return fmt.Errorf("testservers: broker %d runs already", b.node)
	}
	log, err := os.OpenFile(b.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	// The context bounds the start, and must not end the broker.
	cmd := b.command(context.WithoutCancel(ctx), "kafka.Kafka", b.settingsFile())
	cmd.Stdout, cmd.Stderr = log, log
	if b.process, err = startProcess(cmd); err != nil {
		return err
	}
	b.guard.watch(b.process.pid)
	return nil
}

func (b *kafkaBroker) waitUntilReady(ctx context.Context) error {
	b.mu.Lock()
	running := b.process
	b.mu.Unlock()
	err := running.ready(ctx, 10*pollEvery, b.probe, b.logTail)
	switch {
	case err == nil:
		return nil
	case !running.alive() && strings.Contains(b.logTail(), "Address already in use"):
		return fmt.Errorf("%w: %w", errPortTaken, err)
	}
	return fmt.Errorf("broker %d: %w", b.node, err)
}

func (b *kafkaBroker) running() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.process.alive()
}

func (b *kafkaBroker) kill() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.process.alive() {
		return fmt.Errorf("testservers: broker %d does not run", b.node)
	}
	return b.end(syscall.SIGKILL)
}

func (b *kafkaBroker) stop() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.end(syscall.SIGTERM)
}

// end sends a signal that ends the broker, and waits until it is gone.
func (b *kafkaBroker) end(by syscall.Signal) error {
	if !b.process.alive() {
		return nil
	}
	if err := b.process.signal(by); err != nil {
		return err
	}
	select {
	case <-b.process.ended:
		b.guard.watch(0)
		return nil
	case <-time.After(stopTimeout):
		return fmt.Errorf("testservers: broker %d has not ended within %v:\n%s", b.node, stopTimeout, b.logTail())
	}
}

func (b *kafkaBroker) pause() error { return b.pauseBy(syscall.SIGSTOP, 'T') }

func (b *kafkaBroker) resume() error { return b.pauseBy(syscall.SIGCONT, 0) }

// pauseBy sends a signal; where it stops the broker, it waits until that shows.
func (b *kafkaBroker) pauseBy(sig syscall.Signal, state byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.process.alive() {
		return fmt.Errorf("testservers: broker %d does not run", b.node)
	}
	if err := b.process.signal(sig); err != nil || state == 0 {
		return err
	}
	return waitUntil(func() bool { return stateOf(b.process.pid) == state })
}

// close ends the broker at once and removes its folder.
func (b *kafkaBroker) close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil
	}
	b.closed = true
	return errors.Join(b.end(syscall.SIGKILL), b.guard.end())
}

func (b *kafkaBroker) logTail() string {
	text, err := os.ReadFile(b.logFile())
	if err != nil {
		return err.Error()
	}
	const tail = 4 << 10
	return string(text[max(0, len(text)-tail):])
}
