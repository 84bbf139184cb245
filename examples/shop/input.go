package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"regexp"
	"unicode/utf8"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// errInput is matched by what is wrong with a request. The text names the field
// and what would be right.
var errInput = errors.New("bad input")

type inputError struct{ field, remedy string }

func (e *inputError) Error() string { return e.field + ": " + e.remedy }
func (e *inputError) Unwrap() error { return errInput }

// placing is the body of a PUT of an order.
type placing struct {
	Customer string `json:"customer"`
	Cents    int64  `json:"cents"`
}

func (p placing) check() error {
	return cmp.Or(checkID("customer", p.Customer), checkCents(p.Cents))
}

// paying is the body of a payment.
type paying struct {
	Cents   int64  `json:"cents"`
	Payment string `json:"payment"`
}

func (p paying) check() error {
	return cmp.Or(checkCents(p.Cents), checkID("payment", p.Payment))
}

// read reads and checks a request's body.
func read[Body interface{ check() error }](r *http.Request) (body Body, err error) {
	text, err := io.ReadAll(r.Body)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return body, err
	case err != nil:
		return body, &inputError{"body", "it ends early; send all of it"}
	}
	err = json.Unmarshal(text, &body)
	var wrong *json.UnmarshalTypeError
	switch {
	case errors.As(err, &wrong) && wrong.Field != "":
		return body, &inputError{wrong.Field, fmt.Sprintf("it is a %s; give a %s", wrong.Value, jsonName(wrong))}
	case err != nil:
		return body, &inputError{"body", `it is no JSON object; send one such as {"cents": 500}`}
	}
	return body, body.check()
}

// jsonName is what JSON calls the type that a field has.
func jsonName(wrong *json.UnmarshalTypeError) string {
	if wrong.Type.Kind() == reflect.String {
		return "text"
	}
	return "whole number"
}

// ids are what a stream, a row and an address can all hold.
var ids = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}$`)

func checkID(field, id string) error {
	if ids.MatchString(id) {
		return nil
	}
	return &inputError{field, "give 1 to 64 letters, digits and any of _ . @ - that begin with a letter or a digit"}
}

func checkCents(cents int64) error {
	if cents > 0 {
		return nil
	}
	return &inputError{"cents", "give an amount in cents, 1 or more"}
}

func checkText(field, text string) error {
	if len(text) <= 200 && utf8.ValidString(text) {
		return nil
	}
	return &inputError{field, "give up to 200 bytes of UTF-8"}
}

// headers are what a request says beside its body.
type headers struct {
	key, correlation string
	position         eventstore.Position
}

// marks are what a client may call its commands and conversations.
var marks = regexp.MustCompile(`^[!-~]{0,128}$`)

func checkMark(name, value string) error {
	if marks.MatchString(value) {
		return nil
	}
	return &inputError{name, "give up to 128 printable ASCII characters without spaces"}
}

func readHeaders(r *http.Request) (h headers, err error) {
	h.key, h.correlation = r.Header.Get("Idempotency-Key"), r.Header.Get("X-Correlation-ID")
	if at := r.Header.Get("X-Position"); at != "" {
		if h.position, err = eventstore.ParsePosition(at); err != nil {
			return h, &inputError{"X-Position", "send what the answer to a command had"}
		}
	}
	return h, cmp.Or(checkID("id", r.PathValue("id")), checkMark("Idempotency-Key", h.key), checkMark("X-Correlation-ID", h.correlation))
}
