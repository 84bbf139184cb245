package relay

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/switchyard-dev/switchyard/eventstore"
)

const (
	batchContentType = "application/cloudevents-batch+json; charset=UTF-8"

	// requestTimeout is for callers who give no client of their own.
	requestTimeout = 30 * time.Second

	// longestRetryAfter bounds what a receiver can ask for.
	longestRetryAfter = 30 * time.Second

	// errorBytes is how much of a receiver's answer is shown, and answerBytes how much is
	// read: a connection is used again only where the answer was read to its end.
	errorBytes, answerBytes = 200, 64 << 10
)

// HTTP returns a Publisher that posts events to a URL, in batches in the JSON format
// of CloudEvents (application/cloudevents-batch+json). nil is a client with a timeout
// of 30 s; http.DefaultClient has none. A user and a password in the URL are sent as
// basic authentication; other headers are for the client's Transport to add.
//
// A status of 2xx confirms the batch. One that any event would meet is waited out, as
// ErrUnavailable: 429 and 5xx, for which Retry-After is obeyed up to 30 s, and a missing
// right or address (3xx, 401, 403, 404, 405, 406, 407, 408, 410, 415, 421, 425, 426).
// A redirect is not followed, for it would turn the POST into a GET. What is too much for
// one request goes in halves: after a 413, a 504 or the client's timeout. Any other status
// is the fault of an event.
func HTTP(client *http.Client, target string) Publisher {
	own := http.Client{Timeout: requestTimeout}
	if client != nil {
		own = *client
	}
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &httpPublisher{client: &own, target: target}
}

type httpPublisher struct {
	client *http.Client
	target string
}

// Publish implements [Publisher].
func (p *httpPublisher) Publish(ctx context.Context, events []CloudEvent) error {
	if len(events) == 0 {
		return nil
	}
	tooMuch, err := p.post(ctx, events)
	if !tooMuch || len(events) == 1 {
		return err
	}
	// The second half waits for the first one: nothing overtakes.
	half := len(events) / 2
	if err := p.Publish(ctx, events[:half]); err != nil {
		return err
	}
	return p.Publish(ctx, events[half:])
}

// post sends events in one request. tooMuch tells whether fewer may do where they failed.
func (p *httpPublisher) post(ctx context.Context, events []CloudEvent) (tooMuch bool, err error) {
	var body []byte
	separator := byte('[')
	for _, event := range events {
		body = event.AppendJSON(append(body, separator))
		separator = ','
	}
	body = append(body, ']')
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, p.target, bytes.NewReader(body))
	if err != nil { // its text may show a password
		return false, &eventstore.InvalidError{Field: "URL of the receiver", Reason: "it cannot be read"}
	}
	request.Header.Set("Content-Type", batchContentType)
	where := request.URL.Scheme + "://" + request.URL.Host
	response, err := p.client.Do(request)
	if err != nil {
		if ctx.Err() != nil {
			return false, fmt.Errorf("publish to %s: %w", where, ctx.Err())
		}
		if failure := (*url.Error)(nil); errors.As(err, &failure) {
			tooMuch, err = failure.Timeout(), failure.Err // without the URL
		}
		return tooMuch, fmt.Errorf("publish to %s: %w: %w", where, eventstore.ErrUnavailable, err)
	}
	defer response.Body.Close()
	said, _ := io.ReadAll(io.LimitReader(response.Body, answerBytes))
	status := response.StatusCode
	if status/100 == 2 {
		return false, nil
	}
	tooMuch = status == http.StatusRequestEntityTooLarge || status == http.StatusGatewayTimeout
	err = fmt.Errorf("it answered %s: %.*q", cmp.Or(response.Status, "nothing"), errorBytes, said)
	if !meetsAll(status) {
		return tooMuch, fmt.Errorf("publish to %s: %w", where, err)
	}
	if failed := obey(ctx, response.Header.Get("Retry-After")); failed != nil {
		return false, fmt.Errorf("publish to %s: %w", where, failed)
	}
	return tooMuch, fmt.Errorf("publish to %s: %w: %w", where, eventstore.ErrUnavailable, err)
}

// meetsAll tells whether any event would meet a status.
func meetsAll(status int) bool {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotAcceptable,
		http.StatusProxyAuthRequired, http.StatusRequestTimeout, http.StatusGone, http.StatusUnsupportedMediaType,
		http.StatusMisdirectedRequest, http.StatusTooEarly, http.StatusUpgradeRequired, http.StatusTooManyRequests:
		return true
	}
	return status/100 != 4
}

// obey waits for as many seconds as a receiver asks for.
func obey(ctx context.Context, retryAfter string) error {
	seconds, err := strconv.Atoi(retryAfter)
	if err != nil || seconds <= 0 {
		return nil // there is none, or it is a date: then the relay's own pauses do
	}
	timer := time.NewTimer(min(time.Duration(min(seconds, 3600))*time.Second, longestRetryAfter))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
