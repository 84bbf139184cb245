package dynamodbtest

import (
	"net/http"
	"strings"
)

// Error is an answer that refuses a request, as the service words it. Hooks
// return one to have it sent instead of an answer; see [Throttled] and the
// functions beside it for the usual ones.
type Error struct {
	Status  int      // of HTTP, such as 400
	Type    string   // without its namespace, such as "ThrottlingException"
	Message string   // for people
	Reasons []Reason // of TransactionCanceledException, one for each of the transaction's items

	item   item  // of ConditionalCheckFailedException, if asked for
	ofItem bool  // in a transaction it is the reason of one item
	hook   error // what a hook wants instead of an answer
}

// Reason says why one item of a cancelled transaction was refused, or that it
// was not.
type Reason struct {
	Code    string // such as "ConditionalCheckFailed", or "None"
	Message string // empty for None

	item item
}

// Error implements error.
func (e *Error) Error() string { return e.Type + ": " + e.Message }

// Codes of a cancelled transaction's reasons.
const (
	CodeNone                   = "None"
	CodeConditionalCheckFailed = "ConditionalCheckFailed"
	CodeTransactionConflict    = "TransactionConflict"
	CodeThrottling             = "ThrottlingError"
	CodeThroughputExceeded     = "ProvisionedThroughputExceeded"
	CodeValidation             = "ValidationError"
)

const (
	conditionFailed  = "The conditional request failed"
	throttledMessage = "Throughput exceeds the current capacity of your table or index. Please try again later."
	conflictMessage  = "Transaction is ongoing for the item"
)

func badRequest(typ, message string) *Error {
	return &Error{Status: http.StatusBadRequest, Type: typ, Message: message}
}

func invalid(message string) *Error { return badRequest("ValidationException", message) }

// invalidItem is a refusal that a transaction gives as the reason of one item.
func invalidItem(message string) *Error {
	e := invalid(message)
	e.ofItem = true
	return e
}

func noTable(message string) *Error { return badRequest("ResourceNotFoundException", message) }

// malformed is what is answered to a body that is not the protocol's; nil stays
// nil.
func malformed(err error) error {
	if err == nil {
		return nil
	}
	return badRequest("SerializationException", err.Error())
}

// Throttled is the answer to a request over the account's or the table's limit.
// SDKs repeat the request by themselves.
func Throttled() *Error { return badRequest("ThrottlingException", throttledMessage) }

// ThroughputExceeded is the answer to a request over the provisioned throughput.
// SDKs repeat the request by themselves.
func ThroughputExceeded() *Error {
	return badRequest("ProvisionedThroughputExceededException",
		"The level of configured provisioned throughput for the table was exceeded. Consider increasing your provisioning level with the UpdateTable API.")
}

// Conflict is the answer to a write of one item that a transaction holds.
func Conflict() *Error { return badRequest("TransactionConflictException", conflictMessage) }

// AccessDenied is the answer to a caller without the right to call action, such
// as "dynamodb:PutItem".
func AccessDenied(action string) *Error {
	return badRequest("AccessDeniedException",
		"User: arn:aws:iam::000000000000:user/test is not authorized to perform: "+action+" because no identity-based policy allows it")
}

// InternalError is the answer 500. Whether the request was carried out is not
// known to the client, and SDKs repeat it by themselves.
func InternalError() *Error {
	return &Error{Status: http.StatusInternalServerError, Type: "InternalServerError", Message: "The request processing has failed because of an unknown error, exception or failure."}
}

// Unavailable is the answer 503; as with [InternalError] nothing is known.
func Unavailable() *Error {
	return &Error{Status: http.StatusServiceUnavailable, Type: "ServiceUnavailable", Message: "The service is currently unavailable. Please try again later."}
}

// Canceled is the answer to a transaction that was cancelled for these reasons,
// a code for each of its items.
func Canceled(codes ...string) *Error {
	reasons := make([]Reason, len(codes))
	for i, code := range codes {
		reasons[i] = Reason{Code: code, Message: usualMessage(code)}
	}
	return canceled(reasons)
}

func canceled(reasons []Reason) *Error {
	codes := make([]string, len(reasons))
	for i, r := range reasons {
		codes[i] = r.Code
	}
	e := badRequest("TransactionCanceledException",
		"Transaction cancelled, please refer cancellation reasons for specific reasons ["+strings.Join(codes, ", ")+"]")
	e.Reasons = reasons
	return e
}

func usualMessage(code string) string {
	switch code {
	case CodeConditionalCheckFailed:
		return conditionFailed
	case CodeTransactionConflict:
		return conflictMessage
	case CodeThrottling, CodeThroughputExceeded:
		return throttledMessage
	}
	return ""
}

// namespace is what stands before the type on the wire.
func (e *Error) namespace() string {
	switch e.Type {
	case "ValidationException":
		return "com.amazon.coral.validate#"
	case "SerializationException", "UnknownOperationException", "AccessDeniedException", "MissingAuthenticationTokenException",
		"IncompleteSignatureException", "ThrottlingException", "ServiceUnavailable":
		return "com.amazon.coral.service#"
	}
	return "com.amazonaws.dynamodb.v20120810#"
}
