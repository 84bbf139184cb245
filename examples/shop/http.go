package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/codec"
	"github.com/switchyard-dev/switchyard/decider"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/examples/shop/order"
	"github.com/switchyard-dev/switchyard/examples/shop/orderlist"
)

const (
	maxBody  = 64 << 10
	longWait = 2 * time.Second // for a list that is behind
)

// shop answers requests.
type shop struct {
	orders *order.Orders
	list   *orderlist.List
	log    *slog.Logger
}

func (s *shop) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /orders/{id}", s.place)
	mux.HandleFunc("POST /orders/{id}/payments", s.pay)
	mux.HandleFunc("DELETE /orders/{id}", s.cancel)
	mux.HandleFunc("GET /customers/{id}/due", s.due)
	return http.MaxBytesHandler(mux, maxBody)
}

func (s *shop) place(w http.ResponseWriter, r *http.Request) {
	body, err := read[placing](r)
	s.decide(w, r, err, order.Place(body.Customer, body.Cents))
}

func (s *shop) pay(w http.ResponseWriter, r *http.Request) {
	body, err := read[paying](r)
	s.decide(w, r, err, order.Pay(body.Cents, body.Payment))
}

func (s *shop) cancel(w http.ResponseWriter, r *http.Request) {
	reason := r.URL.Query().Get("reason")
	s.decide(w, r, checkText("reason", reason), order.Cancel(reason))
}

// decide carries out a command, unless its input is wrong. A command that comes
// again with its Idempotency-Key is answered as the first time.
func (s *shop) decide(w http.ResponseWriter, r *http.Request, wrong error, decide func(order.Order) ([]order.Event, error)) {
	h, err := readHeaders(r)
	if err := errors.Join(err, wrong); err != nil {
		s.fail(w, r, err)
		return
	}
	cmd := decider.Command{Stream: order.Stream(r.PathValue("id"))}
	if h.key != "" { // a key stands for one request: the same on another address is another command
		cmd.ID = uuid.NewSHA1(uuid.NameSpaceURL, []byte(r.Method+" "+r.URL.Path+" "+h.key))
	}
	res, err := s.orders.Do(codec.WithCorrelation(r.Context(), h.correlation), cmd, decide)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	if !res.Position.IsZero() { // something was decided
		w.Header().Set("X-Position", res.Position.String())
	}
	s.answer(w, res.State)
}

// due reads the list. A client that sends the X-Position of its last command reads
// its own write.
func (s *shop) due(w http.ResponseWriter, r *http.Request) {
	h, err := readHeaders(r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), longWait)
	defer cancel()
	due, err := s.list.Due(ctx, r.PathValue("id"), h.position)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	s.answer(w, due)
}

func (s *shop) answer(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(body) // who has gone needs no answer
}

// fail answers with an error. What the program or its databases have to say about
// themselves is logged and not sent.
func (s *shop) fail(w http.ResponseWriter, r *http.Request, err error) {
	status, text := http.StatusServiceUnavailable, "not now; send it again, with the same Idempotency-Key"
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		status, text = http.StatusRequestEntityTooLarge, "body: it is longer than 64 KiB"
	case errors.Is(err, errInput):
		status, text = http.StatusBadRequest, err.Error()
	case errors.Is(err, order.ErrNotFound):
		status, text = http.StatusNotFound, err.Error()
	case errors.Is(err, order.ErrExists), errors.Is(err, order.ErrPaid), errors.Is(err, order.ErrCancelled):
		status, text = http.StatusConflict, err.Error()
	case errors.Is(err, eventstore.ErrConflict):
		status, text = http.StatusConflict, "others are changing the order; look at it again"
	case errors.Is(err, eventstore.ErrInvalid), errors.Is(err, codec.ErrUnknownEvent):
		status, text = http.StatusInternalServerError, "the shop is at fault; sending it again does not help"
	}
	if status >= http.StatusInternalServerError {
		s.log.ErrorContext(r.Context(), "request failed", "method", r.Method, "path", r.URL.Path, "status", status, "err", err)
	}
	http.Error(w, text, status)
}
