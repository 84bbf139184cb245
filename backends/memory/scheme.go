package memory

import (
	"context"
	"fmt"
	"net/url"

	"github.com/switchyard-dev/switchyard/backends"
	"github.com/switchyard-dev/switchyard/eventstore"
)

// Scheme is "memory:", for a [backends.Set]: each opening gives a new store.
func Scheme() backends.Scheme {
	return backends.Scheme{
		Names: []string{"memory"},
		Form:  "memory:",
		Local: true,
		Open: func(_ context.Context, u *url.URL) (eventstore.Backend, error) {
			if u.Opaque != "" || u.User != nil || u.Host != "" || u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
				return nil, &eventstore.InvalidError{
					Field:  "memory URL",
					Reason: fmt.Sprintf("%s takes no name and no parameters; write %s:", u.Scheme, u.Scheme),
				}
			}
			return New(), nil
		},
	}
}
