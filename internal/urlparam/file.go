package urlparam

import (
	"net/url"
	"path/filepath"
	"strings"
)

// File returns the URL that names a file: its path percent-encoded, as a scheme's
// opaque part where it is relative, so that no character of it is taken for a
// parameter, a fragment, a host or an escape.
func File(scheme, path string) *url.URL {
	path = filepath.ToSlash(filepath.Clean(path))
	u := &url.URL{Scheme: scheme}
	if strings.HasPrefix(path, "/") && !strings.HasPrefix(path, "//") {
		u.OmitHost, u.Path = true, path
	} else {
		u.Opaque = (&url.URL{Path: path}).EscapedPath()
	}
	return u
}
