// Package githistory turns the history of a git repository into events, as real
// data to try a store with: one stream for each file, one event for each change.
package githistory

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed" // the sample
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// EventType is the type of the events, and Category that of their streams.
const (
	EventType = "FileChanged"
	Category  = "file"
)

// Change is the data of an event.
type Change struct {
	Insertions int       `json:"insertions"`
	Deletions  int       `json:"deletions"`
	Author     string    `json:"author"`
	Subject    string    `json:"subject"`
	Date       time.Time `json:"date"`
	Path       string    `json:"path"`
	Commit     string    `json:"commit"`
	// Binary files have no lines to count.
	Binary bool `json:"binary,omitempty"`
}

// Summary counts what was written.
type Summary struct {
	Commits, Events int
}

// ErrNoHistory means that there is no git repository, no commit in it, or no git.
var ErrNoHistory = errors.New("no git history")

// sample is the beginning of this project's own history, under its licence,
// Apache-2.0. It is written by the test of this package with -update.
//
//go:embed sample.ndjson
var sample string

// Sample returns a small history for where there is none: the beginning of the
// Switchyard project's own, Apache-2.0.
func Sample() io.Reader { return strings.NewReader(sample) }

// namespace makes event IDs from commits and paths (RFC 9562, version 5), so the
// same change has the same ID each time.
func namespace() uuid.UUID { return uuid.NewSHA1(uuid.NameSpaceURL, []byte("switchyard:githistory")) }

// Write writes the changes of the last commits of the repository that dir is in,
// oldest first, as one CloudEvents JSON object a line. commits bounds how many
// commits; 0 is all. It returns ErrNoHistory where there is nothing to read.
func Write(ctx context.Context, w io.Writer, dir string, commits int) (Summary, error) {
	args := []string{
		"-C", dir, "-c", "core.quotePath=false", "log", "--reverse", "--no-renames", "--numstat", "-z",
		"--format=%x01%H%x1f%an%x1f%aI%x1f%at%x1f%s",
	}
	if commits > 0 {
		args = append(args, "-n", strconv.Itoa(commits))
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	git := exec.CommandContext(ctx, "git", args...) //nolint:gosec // the arguments are ours, and dir follows -C
	var complaint bytes.Buffer
	git.Stderr = &complaint
	output, err := git.StdoutPipe()
	if err != nil {
		return Summary{}, fmt.Errorf("read git history: %w", err)
	}
	if err := git.Start(); err != nil {
		return Summary{}, fmt.Errorf("%w: %w", ErrNoHistory, err)
	}
	summary, writeErr := convert(output, w)
	if writeErr != nil {
		cancel()
	}
	err = git.Wait()
	switch {
	case writeErr != nil:
		return summary, writeErr
	case err != nil && summary.Events == 0:
		return summary, fmt.Errorf("%w: %s", ErrNoHistory, strings.TrimSpace(complaint.String()))
	case err != nil:
		return summary, fmt.Errorf("read git history: %w: %s", err, strings.TrimSpace(complaint.String()))
	case summary.Events == 0:
		return summary, fmt.Errorf("%w: no commit changes a file", ErrNoHistory)
	}
	return summary, nil
}

// convert reads git's output: items that end in NUL. An item that starts with
// \x01 is a commit; the others are its files, with the lines added and removed.
func convert(git io.Reader, w io.Writer) (Summary, error) {
	var summary Summary
	var commit Change
	out := bufio.NewWriter(w)
	lines := json.NewEncoder(out)
	lines.SetEscapeHTML(false)
	items := bufio.NewReader(git)
	for {
		item, err := items.ReadString(0)
		if errors.Is(err, io.EOF) {
			if err := out.Flush(); err != nil {
				return summary, fmt.Errorf("write git history: %w", err)
			}
			return summary, nil
		}
		if err != nil {
			return summary, fmt.Errorf("read git history: %w", err)
		}
		item = strings.TrimPrefix(strings.TrimSuffix(item, "\x00"), "\n")
		if header, ok := strings.CutPrefix(item, "\x01"); ok {
			if commit, err = parseCommit(header); err != nil {
				return summary, err
			}
			summary.Commits++
			continue
		}
		change, ok := parseFile(commit, item)
		if !ok {
			continue
		}
		if err := lines.Encode(toLine(change, item)); err != nil {
			return summary, fmt.Errorf("write git history: %w", err)
		}
		summary.Events++
	}
}

func parseCommit(header string) (Change, error) {
	fields := strings.SplitN(header, "\x1f", 5)
	if len(fields) != 5 {
		return Change{}, fmt.Errorf("read git history: %q is not a commit", header)
	}
	date, err := authorDate(fields[2], fields[3])
	if err != nil {
		return Change{}, fmt.Errorf("read git history: the date of commit %s: %w", fields[0], err)
	}
	return Change{Commit: fields[0], Author: text(fields[1]), Date: date, Subject: text(fields[4])}, nil
}

// authorDate reads when a change was made, as git prints it and in seconds since
// 1970. Old histories have time zones that no clock shows (-10039, +5146, +2400)
// and years that no text holds: such a date is in UTC, and one out of range is
// 1970, as in git itself.
func authorDate(printed, seconds string) (time.Time, error) {
	writable := func(date time.Time) bool {
		_, err := date.MarshalJSON()
		return err == nil && date.UTC().Year() >= 1 && date.UTC().Year() <= 9999
	}
	if date, err := time.Parse(time.RFC3339, printed); err == nil && writable(date) {
		return date, nil
	}
	unix, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return time.Time{}, err
	}
	date := time.Unix(unix, 0).UTC()
	if !writable(date) {
		date = time.Unix(0, 0).UTC()
	}
	return date, nil
}

// parseFile reads "insertions TAB deletions TAB path"; a binary file has "-" for
// both numbers.
func parseFile(commit Change, item string) (Change, bool) {
	fields := strings.SplitN(item, "\t", 3)
	if len(fields) != 3 {
		return Change{}, false
	}
	change := commit
	change.Path, change.Binary = text(fields[2]), fields[0] == "-"
	change.Insertions, _ = strconv.Atoi(fields[0])
	change.Deletions, _ = strconv.Atoi(fields[1])
	return change, true
}

// text makes what git prints, which may be any bytes, into valid UTF-8.
func text(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// cloudEvent is a line; see https://github.com/cloudevents/spec.
type cloudEvent struct {
	SpecVersion string    `json:"specversion"`
	ID          uuid.UUID `json:"id"`
	Source      string    `json:"source"`
	Type        string    `json:"type"`
	Subject     string    `json:"subject"`
	Time        time.Time `json:"time"`
	ContentType string    `json:"datacontenttype"`
	Metadata    string    `json:"metadata"`
	Data        Change    `json:"data"`
}

func toLine(change Change, item string) cloudEvent {
	_, rest, _ := strings.Cut(item, "\t")
	_, path, _ := strings.Cut(rest, "\t") // as git has it, perhaps not UTF-8
	return cloudEvent{
		SpecVersion: "1.0",
		ID:          uuid.NewSHA1(namespace(), []byte(change.Commit+"\x00"+path)),
		Source:      "git",
		Type:        EventType,
		Subject:     Stream(path),
		Time:        change.Date.UTC(),
		ContentType: eventstore.JSONContentType,
		Metadata:    fmt.Sprintf("{%q:%q}", eventstore.MetaCorrelationID, change.Commit),
		Data:        change,
	}
}

const maxStreamBytes = 255

// Stream returns the stream of a path: "file-" and the path. Bytes that a stream
// ID cannot hold are written as %XX, and a path that is too long ends in the
// beginning of its SHA-256, so that two paths never share a stream.
func Stream(path string) string {
	var b strings.Builder
	b.WriteString(Category + "-")
	for i := 0; i < len(path); {
		r, size := utf8.DecodeRuneInString(path[i:])
		if (r == utf8.RuneError && size == 1) || unicode.IsControl(r) || r == '%' {
			for _, c := range []byte(path[i : i+size]) {
				fmt.Fprintf(&b, "%%%02X", c)
			}
		} else {
			b.WriteString(path[i : i+size])
		}
		i += size
	}
	stream := b.String()
	if len(stream) <= maxStreamBytes {
		return stream
	}
	sum := sha256.Sum256([]byte(path))
	end := "~" + hex.EncodeToString(sum[:8])
	return strings.ToValidUTF8(stream[:maxStreamBytes-len(end)], "") + end
}
