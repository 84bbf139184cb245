// Package urlparam reads the values of a store URL's parameters into the fields
// of a backend's options. Errors quote the value and say what would be right;
// the caller names the parameter.
package urlparam

import (
	"fmt"
	"time"
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
