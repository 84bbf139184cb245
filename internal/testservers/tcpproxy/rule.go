package tcpproxy

import "bytes"

// Side says who sent some bytes.
type Side int

// The two ends of a connection.
const (
	FromClient Side = iota
	FromServer
)

// Cut is a way to end a connection. Both ends see it.
type Cut int

// How connections end.
const (
	None  Cut = iota
	Reset     // RST: a failed machine or an impatient firewall
	Close     // FIN: an orderly end, as a pooler or a dying process sends it
)

// Verdict is what becomes of some bytes and of the connection that carries them.
// The zero Verdict swallows the bytes and keeps the connection.
type Verdict struct {
	Forward bool // pass the bytes on, before the cut if there is one
	Cut     Cut
}

// Pass is the verdict of a connection without a rule: forward, no cut.
func Pass() Verdict { return Verdict{Forward: true} }

// A Rule sees the bytes of one connection as they arrive, before they are passed
// on, and decides. Chunks are what one read returned: a message may be spread
// over several. A Rule is never called concurrently and must not keep chunk.
type Rule func(from Side, chunk []byte) Verdict

// On makes rules that give v to the chunk that completes a match in what one side
// has sent since the rule was set or last matched. Everything else passes.
func On(from Side, match func(sent []byte) bool, v Verdict) func() Rule {
	return func() Rule {
		var sent window
		return func(side Side, chunk []byte) Verdict {
			if side == from && sent.completes(match, chunk) {
				return v
			}
			return Pass()
		}
	}
}

// OnAnswer makes rules that give v to the first chunk the server sends after a
// request that matches. The request itself passes. Where several requests travel
// at once, the first chunk may answer an earlier one: match the answer with On.
func OnAnswer(request func(sent []byte) bool, v Verdict) func() Rule {
	return func() Rule {
		var sent window
		var asked bool
		return func(side Side, chunk []byte) Verdict {
			switch {
			case side == FromClient:
				asked = sent.completes(request, chunk) || asked
			case asked:
				asked = false
				return v
			}
			return Pass()
		}
	}
}

// Swallow makes rules that lose every byte and keep connections open.
func Swallow() Rule {
	return func(Side, []byte) Verdict { return Verdict{} }
}

// Contains returns a match for a text.
func Contains(text string) func(sent []byte) bool {
	return func(sent []byte) bool { return bytes.Contains(sent, []byte(text)) }
}

// window holds the end of what one side has sent: no match reaches further back.
type window struct{ tail []byte }

const windowSize = 64 << 10

func (w *window) completes(match func([]byte) bool, chunk []byte) bool {
	w.tail = append(w.tail, chunk...)
	if match(w.tail) {
		w.tail = nil
		return true
	}
	if extra := len(w.tail) - windowSize; extra > 0 {
		w.tail = append([]byte(nil), w.tail[extra:]...)
	}
	return false
}
