package esdbtest

import (
	"strconv"
	"strings"
	"time"
)

// Defaults of [Options].
const (
	// DefaultAddress is a free port of the loopback interface.
	DefaultAddress = "127.0.0.1:0"
	// DefaultVersion is the server version reported by ServerFeatures.
	DefaultVersion = "24.10.4"
	// DefaultMaxAppendSize is the most bytes one append may carry: 1 MiB.
	DefaultMaxAppendSize = 1 << 20
)

// Options changes how the double is started. The zero value, like a nil
// pointer, is an insecure single node of version 24.10 on a free local port.
type Options struct {
	// Address to listen on, host:port. Empty means DefaultAddress.
	Address string

	// Version reported by ServerFeatures. Empty means DefaultVersion. Below
	// 23.10 no subscription is told that it caught up; below 24.2 one to a
	// missing stream is not. A version that is not dotted integers is reported
	// as it is, which clients refuse.
	Version string

	// NoServerFeatures answers ServerFeatures with Unimplemented, as servers
	// before 21.10 do.
	NoServerFeatures bool

	// MaxAppendSize is the limit of one append in bytes: data, metadata and
	// twice the length of the type in UTF-16. Zero means DefaultMaxAppendSize.
	MaxAppendSize int

	// Secure serves TLS with a self-signed certificate and checks credentials
	// and access control lists. There are always the users admin (a member of
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
	if out.Now == nil {
		out.Now = time.Now
	}
	return out
}

// atLeast reports whether the server plays version major.minor or later. An
// unreadable version counts as the newest.
func (o *Options) atLeast(major, minor int) bool {
	head, rest, _ := strings.Cut(o.Version, ".")
	gotMajor, err := strconv.Atoi(head)
	if err != nil {
		return true
	}
	next, _, _ := strings.Cut(rest, ".")
	gotMinor, err := strconv.Atoi(next)
	if err != nil {
		return true
	}
	return gotMajor > major || (gotMajor == major && gotMinor >= minor)
}
