package dynamodbtest

import (
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
)

// tokenLife is how long a client token is remembered after its transaction was
// carried out.
const tokenLife = 10 * time.Minute

// maxToken is the length of a client token.
const maxToken = 36

// clientToken is what is remembered of a transaction that came with one.
type clientToken struct {
	request    [sha256.Size]byte
	inProgress bool
	until      time.Time
	replay     bill // what a repetition costs: reading the items
}

// claim says what a transaction's token means: it is new and now in progress, or
// it was carried out, or the request is refused.
func (s *store) claim(name string, items []transactWrite) (replay *bill, err *Error) {
	if len(name) > maxToken {
		return nil, invalid(fmt.Sprintf("1 validation error detected: Value '%s' at 'clientRequestToken' failed to satisfy constraint: Member must have length less than or equal to %d", name, maxToken))
	}
	body, marshalErr := json.Marshal(items, json.Deterministic(true))
	if marshalErr != nil {
		return nil, InternalError()
	}
	s.forgetTokens()
	request := sha256.Sum256(body)
	t := s.tokens[name]
	if t != nil && !t.inProgress && !s.now().Before(t.until) {
		t = nil
	}
	switch {
	case t == nil:
		s.tokens[name] = &clientToken{request: request, inProgress: true}
		return nil, nil
	case t.request != request:
		return nil, badRequest("IdempotentParameterMismatchException", "The request uses the same client token as a previous, but non-identical request. Do not reuse a client token with different requests, unless the requests are identical.")
	case t.inProgress:
		return nil, badRequest("TransactionInProgressException", "The transaction with the given request token is already in progress.")
	default:
		return &t.replay, nil
	}
}

// forgetTokens forgets those whose time is over, now and then: there are many.
func (s *store) forgetTokens() {
	now := s.now()
	if since := now.Sub(s.tokensSwept); since >= 0 && since < tokenLife/10 {
		return
	}
	s.tokensSwept = now
	for name, t := range s.tokens {
		if !t.inProgress && !now.Before(t.until) {
			delete(s.tokens, name)
		}
	}
}

// settle remembers that the transaction was carried out.
func (s *store) settle(name string, replay bill) {
	if t := s.tokens[name]; t != nil {
		t.inProgress, t.until, t.replay = false, s.now().Add(tokenLife), replay
	}
}

// forget leaves no trace of a transaction that was cancelled.
func (s *store) forget(name string) { delete(s.tokens, name) }
