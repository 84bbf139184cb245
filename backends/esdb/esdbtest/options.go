package esdbtest

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
)

// Defaults of [Options].
const (
	// DefaultAddress is a free port of the loopback interface.
	DefaultAddress = "127.0.0.1:0"
	// DefaultVersion is the server version reported by ServerFeatures.
	DefaultVersion = "24.10.4"
	// DefaultMaxAppendSize is the most bytes one append may carry: 1 MiB.
	DefaultMaxAppendSize = 1 << 20
	// DefaultMaxMessageSize is the most bytes one message of a client may have: 16 MiB.
	DefaultMaxMessageSize = 16 << 20
)

// maxCalls is how many calls a connection may have at once. One more waits, be it
// an append: the client's side of the connection holds it back.
const maxCalls = 100

// Options changes how the double is started. The zero value, like a nil
// pointer, is an insecure single node of version 24.10 on a free local port.
type Options struct {
	// Address to listen on, host:port. Empty means DefaultAddress.
	Address string

	// Version reported by ServerFeatures. Empty means DefaultVersion. The double
	// behaves as that version does where they differ:
	//
	//   - Below 23.10 no subscription is told that it caught up; below 24.2 one
	//     to a missing stream is not.
	//   - Below 24.10 only data counts towards MaxAppendSize.
	//   - From 24.10.5 and 25.0.1 on, a filtered subscription that found nothing
	//     is sent the checkpoint 0/0 and not 2^64-1 (which means the end), its
	//     checkpoint before "caught up" is not before the last page, and "caught
	//     up" says when and where.
	//
	// A version that is not dotted integers is reported as it is, which clients
	// refuse, and counts as the newest.
	Version string

	// NoServerFeatures answers ServerFeatures with Unimplemented, as servers
	// before 21.10 do.
	NoServerFeatures bool

	// MaxAppendSize is the limit of one append in bytes: data, metadata and
	// twice the length of the type in UTF-16. Zero means DefaultMaxAppendSize.
	MaxAppendSize int

	// MaxMessageSize is the limit of one message in bytes, above which a call is
	// refused as ResourceExhausted. Zero means DefaultMaxMessageSize.
	MaxMessageSize int

	// OrdinalPrefixes compares the prefixes of filters byte for byte, as servers
	// without ICU do (the images of Alpine Linux, and those that run with
	// DOTNET_SYSTEM_GLOBALIZATION_INVARIANT). All others compare by culture: the
	// prefix "Cafe" does not match "Cafe" with a combining accent behind it,
	// and characters that are not seen, such as the soft hyphen, do not count.
	// Regular expressions are the same on both.
	OrdinalPrefixes bool

	// History is how many events of others are in the log when it starts. A server
	// that is used has one, and what a filter passes over there takes pages and
	// checkpoints that a new server never sends.
	History int

	// Secure serves TLS with a certificate that an authority of its own signed,
	// see [Server.CertificatePEM], and checks credentials and access control lists. There are always the users admin (a member of
	// $admins) and ops (of $ops), both with the password "changeit".
	Secure bool

	// Users beside admin and ops; used only when Secure is set.
	Users []User

	// AllowAnonymous lets calls without credentials read and write streams
	// open to everybody. Used only when Secure is set; servers refuse them by
	// default since 23.10.
	AllowAnonymous bool

	// Now is the clock that stamps events and that $maxAge is measured with.
	// Nil means time.Now.
	Now func() time.Time
}

// User may call a secure server.
type User struct {
	Name     string
	Password string
	Groups   []string // such as "$admins"; every user is also in "$all" and in a group of its own name
}

func (o *Options) withDefaults() Options {
	var out Options
	if o != nil {
		out = *o
	}
	if out.Address == "" {
		out.Address = DefaultAddress
	}
	if out.Version == "" {
		out.Version = DefaultVersion
	}
	if out.MaxAppendSize == 0 {
		out.MaxAppendSize = DefaultMaxAppendSize
	}
	if out.MaxMessageSize == 0 {
		out.MaxMessageSize = DefaultMaxMessageSize
	}
	if out.Now == nil {
		out.Now = time.Now
	}
	return out
}

// atLeast reports whether the server plays that version or a later one. An
// unreadable version counts as the newest.
func (o *Options) atLeast(version ...int) bool {
	rest := o.Version
	for _, want := range version {
		var part string
		part, rest, _ = strings.Cut(rest, ".")
		got, err := strconv.Atoi(part)
		switch {
		case err != nil && part == "" && want == 0: // 25.0 is 25.0.0
		case err != nil && part == "":
			return false
		case err != nil:
			return true
		case got != want:
			return got > want
		}
	}
	return true
}

// newCheckpoints reports whether the version has the checkpoints of 24.10.5,
// which 25.0.0 had not yet, and the contents of "caught up" that came with them.
func (o *Options) newCheckpoints() bool {
	return o.atLeast(25, 0, 1) || (o.atLeast(24, 10, 5) && !o.atLeast(25))
}

// size is what an event counts towards the append limit.
func (o *Options) size(p *proposed) int {
	if !o.atLeast(24, 10) {
		return len(p.data)
	}
	return len(p.data) + len(p.metadata) + 2*len(utf16.Encode([]rune(p.eventType)))
}
