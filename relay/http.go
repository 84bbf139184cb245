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

	// errorBytes is how much of a receiver's answer is shown.
	errorBytes = 200
)

// HTTP returns a Publisher that posts events to a URL, in batches in the JSON format
// of CloudEvents (application/cloudevents-batch+json). nil is a client with a timeout
// of 30 s; http.DefaultClient has none. A user and a password in the URL are sent as
// basic authentication; other headers are for the client's Transport to add.
//
// A status of 2xx confirms the batch. One that any event would meet is waited out, as
// ErrUnavailable: 429 and 5xx, for which Retry-After is obeyed up to 30 s, and a missing
// right or address (3xx, 401, 403, 404, 405, 406, 407, 408, 410, 415, 421, 425, 426).
// A redirect is not followed, for it would turn the POST into a GET. After a 413 the
// batch goes in halves. Any other status is the fault of an event.
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
	status, err := p.post(ctx, events)
	if status != http.StatusRequestEntityTooLarge || len(events) == 1 {
		return err
	}
	// The second half waits for the first one: nothing overtakes.
	half := len(events) / 2
	if err := p.Publish(ctx, events[:half]); err != nil {
		return err
	}
	return p.Publish(ctx, events[half:])
}

// post sends events in one request. The status is 0 where there is no answer.
func (p *httpPublisher) post(ctx context.Context, events []CloudEvent) (status int, err error) {
	var body []byte
	separator := byte('[')
	for _, event := range events {
		body = event.AppendJSON(append(body, separator))
		separator = ','
	}
	body = append(body, ']')
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, p.target, bytes.NewReader(body))
	if err != nil { // its text may show a password
		return 0, &eventstore.InvalidError{Field: "URL of the receiver", Reason: "it cannot be read"}
	}
	request.Header.Set("Content-Type", batchContentType)
	where := request.URL.Scheme + "://" + request.URL.Host
	response, err := p.client.Do(request)
	if err != nil {
		if ctx.Err() != nil {
			return 0, fmt.Errorf("publish to %s: %w", where, ctx.Err())
		}
		if failure := (*url.Error)(nil); errors.As(err, &failure) {
			err = failure.Err // without the URL
		}
		return 0, fmt.Errorf("publish to %s: %w: %w", where, eventstore.ErrUnavailable, err)
	}
	defer response.Body.Close()
	said, _ := io.ReadAll(io.LimitReader(response.Body, errorBytes))
	if response.StatusCode/100 == 2 {
		return response.StatusCode, nil
	}
	err = fmt.Errorf("it answered %s: %.*q", cmp.Or(response.Status, "nothing"), errorBytes, said)
	if !meetsAll(response.StatusCode) {
		return response.StatusCode, fmt.Errorf("publish to %s: %w", where, err)
	}
	if failed := obey(ctx, response.Header.Get("Retry-After")); failed != nil {
		return 0, fmt.Errorf("publish to %s: %w", where, failed)
	}
	return response.StatusCode, fmt.Errorf("publish to %s: %w: %w", where, eventstore.ErrUnavailable, err)
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
