package backends

import (
	"fmt"
	"net/url"
	"strings"
	"unicode"
)

// Redact returns a store URL as it may be shown: scheme, host and database (or
// file), without user, password, parameters or fragment. Where the parts cannot
// be told apart for certain, as in a URL whose password was not
// percent-encoded, it shows less rather than more; of a URL whose scheme is not in
// the set, nothing.
func (s Set) Redact(rawURL string) string {
	const hidden = "…"
	name, _, ok := strings.Cut(rawURL, ":")
	scheme, known := s.lookup(strings.ToLower(name))
	if !ok || !known {
		return hidden
	}
	prefix := strings.ToLower(name) + ":"
	u, err := url.Parse(rawURL)
	switch {
	case err != nil:
		return prefix + hidden
	case scheme.Local:
		if u.User != nil || u.Host != "" {
			return prefix + hidden
		}
		return prefix + printable(u.Opaque+u.EscapedPath())
	case u.Opaque != "" || u.Host == "":
		return prefix + hidden
	}
	// An '@' anywhere but after a user says that a '/', '?' or '#' in a password
	// has been taken for the end of the host.
	ats := 0
	if u.User != nil {
		ats = 1
	}
	if strings.Count(rawURL, "@") != ats {
		return prefix + hidden
	}
	return prefix + "//" + printable(u.Host+u.EscapedPath())
}

// printable percent-encodes what a terminal might act upon.
func printable(s string) string {
	var b strings.Builder
	for i, r := range s {
		if unicode.IsPrint(r) && r != unicode.ReplacementChar {
			b.WriteRune(r)
			continue
		}
		end := i + 1
		for end < len(s) && s[end]&0xC0 == 0x80 {
			end++
		}
		for _, c := range []byte(s[i:end]) {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// openError says which store could not be opened, and why. A driver's text that
// repeats the URL's password is shown without it.
func (s Set) openError(rawURL string, u *url.URL, err error) error {
	text := err.Error()
	for _, secret := range secrets(u) {
		text = strings.ReplaceAll(text, secret, "***")
	}
	if text != err.Error() {
		err = &redactedError{err: err, text: text}
	}
	return fmt.Errorf("open %s: %w", s.Redact(rawURL), err)
}

// secrets returns the URL's password and the parameters that may hold one, each
// as written and as decoded.
func secrets(u *url.URL) []string {
	var found []string
	add := func(secret string) {
		if secret != "" {
			found = append(found, secret, url.QueryEscape(secret), url.PathEscape(secret))
		}
	}
	if u.User != nil {
		password, _ := u.User.Password()
		add(password)
		if _, written, ok := strings.Cut(u.User.String(), ":"); ok && written != "" {
			found = append(found, written)
		}
	}
	for name, values := range u.Query() {
		name = strings.ToLower(name)
		if strings.Contains(name, "pass") || strings.Contains(name, "secret") || strings.Contains(name, "token") {
			for _, value := range values {
				add(value)
			}
		}
	}
	return found
}

// redactedError shows another text than the error that it wraps.
type redactedError struct {
	err  error
	text string
}

func (e *redactedError) Error() string { return e.text }

// Unwrap returns the error as the driver made it.
func (e *redactedError) Unwrap() error { return e.err }
