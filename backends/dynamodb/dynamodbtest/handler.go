package dynamodbtest

import (
	"context"
	"crypto/rand"
	"errors"
	"hash/crc32"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
)

const (
	contentType  = "application/x-amz-json-1.0"
	targetPrefix = "DynamoDB_20120810."
	maxRequest   = 16 << 20 // bytes
)

// handler speaks the protocol: JSON 1.0 over HTTP.
type handler struct {
	server    *Server
	listening *listening
	ctx       context.Context //nolint:containedctx // ends with the server; a request outlives its client
}

// ServeHTTP implements http.Handler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !h.listening.begin() {
		return // the connection is being cut
	}
	defer h.listening.requests.Done()
	if r.Method == http.MethodGet { // what load balancers ask
		w.Header().Set("Content-Type", contentType)
		_, _ = io.WriteString(w, "healthy: "+h.server.address+" ")
		return
	}
	// Read whole before anything is done: once it is here, it is carried out
	// whether or not the client waits for it.
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
	if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
		send(w, http.StatusRequestEntityTooLarge, nil)
		return
	}
	if err != nil {
		return // the client is gone
	}
	operation, refused := operationOf(r)
	if refused != nil {
		sendError(w, refused)
		return
	}
	answer, refused := h.server.carryOut(h.ctx, operation, body)
	if refused != nil {
		sendError(w, refused)
		return
	}
	text, err := marshalAnswer(answer)
	if err != nil {
		sendError(w, InternalError())
		return
	}
	send(w, http.StatusOK, text)
}

func marshalAnswer(answer any) ([]byte, error) {
	if answer == nil {
		return []byte{}, nil
	}
	return json.Marshal(answer)
}

// operationOf reads the head of a request. Signatures are not checked, but they
// must be there.
func operationOf(r *http.Request) (string, *Error) {
	operation, ok := strings.CutPrefix(r.Header.Get("X-Amz-Target"), targetPrefix)
	switch {
	case r.Method != http.MethodPost || !ok:
		return "", badRequest("UnknownOperationException", "")
	case r.Header.Get("Content-Type") != contentType:
		return "", badRequest("SerializationException", "Content-Type must be "+contentType)
	}
	signature := r.Header.Get("Authorization")
	switch {
	case signature == "":
		return "", badRequest("MissingAuthenticationTokenException", "Request is missing Authentication Token")
	case !strings.HasPrefix(signature, "AWS4-") || !strings.Contains(signature, "Credential=") ||
		!strings.Contains(signature, "SignedHeaders=") || !strings.Contains(signature, "Signature=") ||
		r.Header.Get("X-Amz-Date") == "" && r.Header.Get("Date") == "":
		return "", badRequest("IncompleteSignatureException", "Authorization header requires 'Credential', 'Signature' and 'SignedHeaders', and a date.")
	}
	return operation, nil
}

// carryOut takes a request through its hooks.
func (s *Server) carryOut(ctx context.Context, operation string, body []byte) (any, *Error) {
	req, refused := decode(operation, body)
	call := Call{Operation: operation, Body: body}
	s.store.mu.Lock()
	s.store.usage.Requests[operation]++
	if refused == nil {
		call.Keys = req.keys(s.store)
	}
	s.store.mu.Unlock()

	latency := time.Duration(s.latency.Load())
	held := time.Duration(0)
	if operation == "TransactWriteItems" {
		held = latency / 2
	}
	hooks := *s.hooks.Load()
	if err := wait(ctx, latency-held); err != nil {
		return nil, refusal(err)
	}
	if err := hooks.before(ctx, call); err != nil {
		return nil, refusal(err)
	}
	var answer any
	if refused == nil {
		x := &execution{ctx: ctx, store: s.store, hooks: hooks, call: call}
		x.hold = func() error { return wait(ctx, held) }
		answer, refused = x.run(req)
	}
	if refused != nil && refused.hook != nil {
		return nil, refused
	}
	err := hooks.after(ctx, call, refused)
	if errors.Is(err, ErrHalfAnswer) {
		return nil, half(answer, refused)
	}
	if err != nil {
		return nil, refusal(err)
	}
	return answer, refused
}

// run carries the request out under the store's lock.
func (x *execution) run(req request) (any, *Error) {
	x.store.mu.Lock()
	defer x.store.mu.Unlock()
	answer, err := req.run(x)
	for _, u := range x.bill.tables {
		x.store.usage.ReadUnits += u.read
		x.store.usage.WriteUnits += u.write
	}
	return answer, err
}

// wait lets a request's time pass. A server that ends answers nobody.
func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ErrDrop
	}
}

// half is the answer cut in two.
func half(answer any, refused *Error) *Error {
	var text []byte
	if refused != nil {
		text = refused.body()
	} else {
		text, _ = marshalAnswer(answer) // an answer that cannot be written is short anyway
	}
	return &Error{Status: http.StatusOK, Message: string(text), hook: ErrHalfAnswer}
}

// body is the error as the protocol has it.
func (e *Error) body() []byte {
	out := struct {
		Type                string       `json:"__type"`
		Message             string       `json:"message,omitzero"`
		CapitalMessage      string       `json:"Message,omitzero"`
		Item                item         `json:"Item,omitzero"`
		CancellationReasons []wireReason `json:"CancellationReasons,omitzero"`
	}{Type: e.namespace() + e.Type, Message: e.Message, Item: e.item}
	if e.Reasons != nil {
		out.Message, out.CapitalMessage = "", e.Message // as the service spells it here
	}
	for _, r := range e.Reasons {
		out.CancellationReasons = append(out.CancellationReasons, wireReason{r.Code, r.Message, r.item})
	}
	text, err := json.Marshal(out)
	if err != nil {
		return []byte(`{"__type":"com.amazonaws.dynamodb.v20120810#InternalServerError"}`)
	}
	return text
}

type wireReason struct {
	Code    string `json:"Code"`
	Message string `json:"Message,omitzero"`
	Item    item   `json:"Item,omitzero"`
}

func sendError(w http.ResponseWriter, e *Error) {
	switch {
	case e.hook == nil:
		send(w, e.Status, e.body())
	case errors.Is(e.hook, ErrGarbage):
		send(w, http.StatusOK, []byte("<html>not what you asked for</html>"))
	case errors.Is(e.hook, ErrHalfAnswer):
		takeOver(w, func(conn net.Conn) {
			head := "HTTP/1.1 200 OK\r\nContent-Type: " + contentType + "\r\nContent-Length: " + strconv.Itoa(len(e.Message)+1) + "\r\n\r\n"
			_, _ = io.WriteString(conn, head+e.Message[:len(e.Message)/2]) // the client need not be there any more
		})
	default:
		takeOver(w, func(net.Conn) {})
	}
}

// takeOver does the rest of the talking itself, then closes the connection.
func takeOver(w http.ResponseWriter, talk func(net.Conn)) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return // closed already
	}
	defer conn.Close()
	talk(conn)
}

func send(w http.ResponseWriter, status int, body []byte) {
	header := w.Header()
	header.Set("Content-Type", contentType)
	header.Set("Content-Length", strconv.Itoa(len(body)))
	header.Set("X-Amz-Crc32", strconv.FormatUint(uint64(crc32.ChecksumIEEE(body)), 10))
	header.Set("X-Amzn-Requestid", rand.Text())
	w.WriteHeader(status)
	_, _ = w.Write(body) //nolint:gosec // no HTML; the client need not be there any more
}
