package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/term"

	"github.com/switchyard-dev/switchyard/internal/cloudevents"
)

// isTerminal tells whether a stream is a terminal.
func isTerminal(stream any) bool {
	file, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// json tells whether a command prints JSON: when it is told to, and into a pipe.
func (a *app) json() bool {
	return a.asJSON || !a.asText && !isTerminal(a.out)
}

// printJSON prints a value as one line.
func (a *app) printJSON(v any) error {
	text, err := jsonLine(v)
	if err != nil {
		return err
	}
	return write(a.out, text)
}

// jsonLine returns a value as one line of JSON, with what acts on a terminal escaped.
func jsonLine(v any) (string, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("print JSON: %w", err)
	}
	return cloudevents.EscapeJSON(string(text)) + "\n", nil
}

func (a *app) printf(format string, args ...any) error {
	return write(a.out, fmt.Sprintf(format, args...))
}

func write(w io.Writer, text string) error {
	if _, err := io.WriteString(w, text); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}

// safe returns a stored text as it may be shown on a terminal: as it is where
// every character of it is visible, otherwise quoted as Go does, so that no ID
// can move the cursor, change colours or the direction of writing, or pass for
// another one.
func safe(s string) string {
	if s == "" || strings.HasPrefix(s, `"`) || strings.TrimSpace(s) != s || !visible(s) {
		return strconv.Quote(s)
	}
	return s
}

func visible(s string) bool {
	for _, r := range s {
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			return false
		}
	}
	return true
}

// safeText is safe for a text of several lines, maybe indented, that is not all a stored one.
func safeText(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r == '\n' || r == '\t' || unicode.IsPrint(r) {
			b.WriteRune(r)
			continue
		}
		b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
	}
	return b.String()
}

// clip shortens a text for one line.
func clip(s string, runes int) string {
	if short := []rune(s); len(short) > runes {
		return string(short[:runes-1]) + "…"
	}
	return s
}

// count writes a number of things, whose name takes an s for all numbers but 1.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return grouped(n) + " " + thing + "s"
}

// grouped writes a number with thin groups of three: 1,234,567.
func grouped(n int) string {
	digits := strconv.Itoa(n)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
