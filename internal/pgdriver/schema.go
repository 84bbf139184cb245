package pgdriver

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// CheckSchema refuses, with ErrInvalid, a schema's name that is not 1 to 63 ASCII letters,
// digits and underscores, begins with a digit or with "pg_".
func CheckSchema(name string) error {
	if valid, _ := regexp.MatchString(`^[A-Za-z_][A-Za-z0-9_]{0,62}$`, name); !valid {
		return &eventstore.InvalidError{Field: "schema", Reason: fmt.Sprintf("%.80q is no name of 1 to 63 ASCII letters, digits and underscores that begins with a letter or underscore", name)}
	}
	if strings.HasPrefix(name, "pg_") {
		return &eventstore.InvalidError{Field: "schema", Reason: fmt.Sprintf("%q begins with pg_, which PostgreSQL keeps for itself", name)}
	}
	return nil
}
