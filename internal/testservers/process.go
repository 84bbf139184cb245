//go:build unix

package testservers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a child of ours.
type process struct {
	pid   int
	ended chan struct{} // closed when it is gone and reaped
	cmd   *exec.Cmd
}

func startProcess(cmd *exec.Cmd) (*process, error) {
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("testservers: %w", err)
	}
	p := &process{pid: cmd.Process.Pid, ended: make(chan struct{}), cmd: cmd}
	go func() {
		_ = cmd.Wait() // how a killed server exits says nothing
		close(p.ended)
	}()
	return p, nil
}

// alive reports whether the process was started and is not gone.
func (p *process) alive() bool {
	if p == nil {
		return false
	}
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// ready probes a server until it answers, its process ends or the context does. log returns
// the end of its log, for the error.
func (p *process) ready(ctx context.Context, every time.Duration, probe func(context.Context) error, log func() string) error {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		err := probe(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.ended:
			return fmt.Errorf("testservers: the server ended while it started:\n%s", log())
		case <-ctx.Done():
			return fmt.Errorf("testservers: the server does not answer: %w\n%s", err, log())
		case <-ticker.C:
		}
	}
}

// signal never hits another process that got the same ID: os.Process knows what
// it has waited for.
func (p *process) signal(sig os.Signal) error {
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// killTree kills the process and its children as one crash. Each PostgreSQL
// backend leads a process group of its own, so a signal to the postmaster's group
// would miss them, and they would still acknowledge commits.
func (p *process) killTree() error {
	// A stopped parent starts no more children and reaps none, so that each ID in
	// the list is a child's until the parent is gone.
	if err := p.signal(syscall.SIGSTOP); err != nil {
		return err
	}
	err := waitUntil(func() bool { state := stateOf(p.pid); return state == 'T' || gone(state) })
	children, listErr := childrenOf(p.pid)
	for _, child := range children {
		_ = syscall.Kill(child, syscall.SIGKILL)
	}
	if err := errors.Join(err, listErr, p.signal(syscall.SIGKILL)); err != nil {
		return err
	}
	<-p.ended
	for _, child := range children {
		if err := waitUntil(func() bool { return gone(stateOf(child)) }); err != nil {
			return fmt.Errorf("testservers: process %d of the server survives SIGKILL", child)
		}
	}
	return nil
}

// waitUntil polls to a deadline.
func waitUntil(condition func() bool) error {
	deadline := time.After(stopTimeout)
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for !condition() {
		select {
		case <-ticker.C:
		case <-deadline:
			return errors.New("testservers: the server does not react to a signal")
		}
	}
	return nil
}

// childrenOf lists the processes whose parent is pid.
func childrenOf(pid int) ([]int, error) {
	list, err := processes()
	var children []int
	for _, p := range list {
		if p.parent == pid {
			children = append(children, p.pid)
		}
	}
	return children, err
}

// stateOf returns a process's state as ps shows it, 0 if there is no such process.
func stateOf(pid int) byte {
	list, err := processes()
	if err != nil {
		return 0
	}
	for _, p := range list {
		if p.pid == pid {
			return p.state
		}
	}
	return 0
}

// gone says so of a process that has ended, reaped or not.
func gone(state byte) bool { return state == 0 || state == 'Z' || state == 'X' }

type processInfo struct {
	pid, parent int
	state       byte
}

// processes lists the machine's processes: from /proc where there is one, which a
// machine without ps has too, else from ps.
func processes() ([]processInfo, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil || len(entries) == 0 {
		return processesByPS()
	}
	var list []processInfo
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile("/proc/" + entry.Name() + "/stat")
		if err != nil {
			continue // gone meanwhile
		}
		// PID (NAME) STATE PARENT …, where NAME may hold anything.
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if len(fields) < 2 {
			continue
		}
		parent, err := strconv.Atoi(fields[1])
		if err != nil {
			continue
		}
		list = append(list, processInfo{pid: pid, parent: parent, state: fields[0][0]})
	}
	return list, nil
}

func processesByPS() ([]processInfo, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "ps", "-A", "-o", "pid=,ppid=,state=").Output()
	if err != nil {
		return nil, fmt.Errorf("testservers: ps: %w", err)
	}
	var list []processInfo
	for line := range strings.Lines(string(out)) {
		var p processInfo
		var state string
		if _, err := fmt.Sscan(line, &p.pid, &p.parent, &state); err == nil {
			p.state = state[0]
			list = append(list, p)
		}
	}
	return list, nil
}

// unprivileged returns whom a server runs as when we are root, which PostgreSQL
// refuses: postgres, else nobody. It is nil when we are not root.
func unprivileged() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err := errors.Join(err1, err2); err != nil {
			return nil, err
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, errors.New("testservers: PostgreSQL refuses to run as root, and this machine has neither a user postgres nor nobody")
}
