package urlparam_test

import (
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/internal/urlparam"
)

func TestAPathComesBackOutOfItsURL(t *testing.T) {
	for path, text := range map[string]string{
		"orders.db":            "sqlite:orders.db",
		"a/b c.db":             "sqlite:a/b%20c.db",
		"/var/lib/orders.db":   "sqlite:/var/lib/orders.db",
		"/tmp/a#b?c=d%41/x.db": "sqlite:/tmp/a%23b%3Fc=d%2541/x.db",
		"a#b?c%41.db":          "sqlite:a%23b%3Fc%2541.db",
		"/tmp//x.db":           "sqlite:/tmp/x.db",
		"../ü&;+\n.db":         "sqlite:../%C3%BC&;+%0A.db",
		"c:x.db":               "sqlite:c:x.db",
	} {
		t.Run(path, func(t *testing.T) {
			made := urlparam.File("sqlite", path).String()
			require.Equal(t, text, made)
			u, err := url.Parse(made)
			require.NoError(t, err)
			require.Empty(t, u.Fragment+u.RawQuery+u.Host)
			got := u.Path
			if u.Opaque != "" {
				got, err = url.PathUnescape(u.Opaque)
				require.NoError(t, err)
			}
			if path == "/tmp//x.db" {
				path = "/tmp/x.db"
			}
			require.Equal(t, path, got)
		})
	}
}
