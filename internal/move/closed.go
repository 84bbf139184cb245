package move

import (
	"os"
	"path/filepath"
	"strings"
	"time"
)

// sealedAtPath is the file beside the state that says when FROM was sealed; "" where none
// is kept. It is one of its own, for the state takes long to write and writers wait.
func (m *mover) sealedAtPath() string {
	if m.statePath == "" {
		return ""
	}
	return m.statePath + "-sealed"
}

// noteSealed keeps when FROM was sealed, for a run that goes on behind the seal.
func (m *mover) noteSealed() {
	path := m.sealedAtPath()
	if path == "" {
		return
	}
	if os.MkdirAll(filepath.Dir(path), 0o700) == nil { // where it cannot, the next run says that it does not know
		_ = os.WriteFile(path, []byte(m.closed.Format(time.RFC3339Nano)+m.sealedAtEnd()), 0o600)
	}
}

// sealedAtEnd tells a seal from a later one, behind other events.
func (m *mover) sealedAtEnd() string { return " " + m.seal.Position.String() }

// wasSealed takes up since when FROM is sealed where an earlier run did it; where that is not
// known the report says that it was closed for longer.
func (m *mover) wasSealed() {
	text, _ := os.ReadFile(m.sealedAtPath())
	written := strings.TrimSuffix(string(text), m.sealedAtEnd())
	if at, err := time.Parse(time.RFC3339Nano, written); err == nil && at.Before(m.closed) {
		m.closed = at
		return
	}
	m.report.ClosedAtLeast = true
}
