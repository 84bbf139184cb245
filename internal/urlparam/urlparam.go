// Package urlparam reads the values of a store URL's parameters into the fields
// of a backend's options. Errors quote the value and say what would be right;
// [Read], or the caller, names the parameter.
package urlparam

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// Duration sets field to a positive duration.
func Duration(field *time.Duration) func(value string) error {
	return func(value string) error {
		d, err := time.ParseDuration(value)
		if err != nil || d <= 0 {
			return fmt.Errorf("%q is not a positive duration, such as 100ms", value)
		}
		*field = d
		return nil
	}
}

// Word sets field to whether the value is yes rather than no; it is one of both.
func Word(field *bool, no, yes string) func(value string) error {
	return func(value string) error {
		if value != no && value != yes {
			return fmt.Errorf("%q is neither %s nor %s", value, no, yes)
		}
		*field = value == yes
		return nil
	}
}

// Count sets field to a number above zero.
func Count(field *int) func(value string) error {
	return func(value string) error {
		n, err := strconv.Atoi(value)
		if err != nil || n < 1 {
			return fmt.Errorf("%.40q is not a number above zero", value)
		}
		*field = n
		return nil
	}
}

// Durability sets field to what an acknowledgement survives.
func Durability(field *eventstore.Durability) func(value string) error {
	return func(value string) error {
		switch value {
		case "none":
			*field = eventstore.SurvivesNothing
		case "process-crash":
			*field = eventstore.SurvivesProcessCrash
		case "power-loss":
			*field = eventstore.SurvivesPowerLoss
		default:
			return fmt.Errorf("%.40q is not none, process-crash or power-loss", value)
		}
		return nil
	}
}

// Read hands each parameter to its setter, in the order of the names. One that is not
// known, one that occurs twice and one that its setter refuses end it, with the error
// that invalid makes of the reason.
func Read(values url.Values, known map[string]func(value string) error, invalid func(format string, args ...any) error) error {
	for _, name := range slices.Sorted(maps.Keys(values)) {
		set, ok := known[name]
		switch {
		case !ok:
			return invalid("unknown parameter %.40q; known are %s", name, strings.Join(slices.Sorted(maps.Keys(known)), ", "))
		case len(values[name]) > 1:
			return invalid("parameter %s occurs %d times", name, len(values[name]))
		}
		if err := set(values[name][0]); err != nil {
			return invalid("parameter %s: %s", name, err)
		}
	}
	return nil
}

// With returns a URL with other values of these parameters.
func With(u *url.URL, parameters map[string]string) url.URL {
	values := u.Query()
	for name, value := range parameters {
		values.Set(name, value)
	}
	other := *u
	other.RawQuery = values.Encode()
	return other
}
