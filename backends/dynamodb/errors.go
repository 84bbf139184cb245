package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// meaning is what the failure of a request says about it.
type meaning int

const (
	// unknown: it may have been carried out, or may still be.
	unknown meaning = iota
	// notSent: it did not leave this machine.
	notSent
	// canceled: a transaction was refused, with reasons.
	canceled
	// throttled: it was refused for now.
	throttled
	// expired: it was refused because the credentials have expired.
	expired
	// refused: it was refused, and would be again.
	refused
)

// classify is the one place that says what a failure of a request means. It does
// not trust what it does not know: only an answer with a known code is definite.
func classify(err error) meaning {
	var dial *net.OpError
	var dns *net.DNSError
	var transaction *types.TransactionCanceledException
	var api smithy.APIError
	var unread *smithy.DeserializationError
	var unsent *unsentError
	switch {
	case isLocal(err):
		return refused
	case errors.As(err, &unsent):
		return notSent
	case errors.As(err, &unread):
		return unknown
	case errors.As(err, &transaction) && len(transaction.CancellationReasons) > 0:
		return canceled
	case errors.As(err, &api):
		return codeMeaning(api.ErrorCode())
	case errors.As(err, &dial) && dial.Op == "dial", errors.As(err, &dns):
		return notSent
	}
	return unknown
}

func codeMeaning(code string) meaning {
	if refusesCredentials(code) {
		return refused
	}
	switch code {
	case "ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded", "LimitExceededException", "Throttling":
		return throttled
	case "ExpiredTokenException", "ExpiredToken", "RequestExpired":
		return expired
	case "AccessDeniedException", "ValidationException", "IdempotentParameterMismatchException",
		"ItemCollectionSizeLimitExceededException", "ResourceNotFoundException", "ResourceInUseException",
		"SerializationException", "UnknownOperationException", "ConditionalCheckFailedException", "DuplicateItemException":
		return refused
	}
	return unknown
}

// refusesCredentials tells whether AWS does not know the caller's credentials.
func refusesCredentials(code string) bool {
	switch code {
	case "UnrecognizedClientException", "InvalidSignatureException", "IncompleteSignature", "IncompleteSignatureException",
		"MissingAuthenticationTokenException", "InvalidClientTokenId", "SignatureDoesNotMatch":
		return true
	}
	return false
}

// isLocal tells whether the SDK cannot make a request of what it was given.
func isLocal(err error) bool {
	var parameters smithy.InvalidParamsError
	var serialising *smithy.SerializationError
	var noRegion *aws.MissingRegionError
	return errors.As(err, &parameters) || errors.As(err, &serialising) || errors.As(err, &noRegion)
}

// unsentError is the failure of a request that never got as far as the network,
// such as one for which there are no credentials.
type unsentError struct{ err error }

func (e *unsentError) Error() string { return e.err.Error() }

// Unwrap returns the SDK's error.
func (e *unsentError) Unwrap() error { return e.err }

// isDenied tells whether the caller lacks a right.
func isDenied(err error) bool {
	var api smithy.APIError
	return errors.As(err, &api) && api.ErrorCode() == "AccessDeniedException"
}

func isNoTable(err error) bool {
	var missing *types.ResourceNotFoundException
	return errors.As(err, &missing)
}

func refusedCondition(err error) *types.ConditionalCheckFailedException {
	var failed *types.ConditionalCheckFailedException
	if errors.As(err, &failed) {
		return failed
	}
	return nil
}

// mapped maps the error of a request that cannot have done harm, or whose
// repetition does none.
func mapped(ctx context.Context, operation, table string, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", ctx.Err(), err)
	}
	switch classify(err) {
	case refused:
		return &requestError{operation, table, err}
	case unknown, notSent, throttled, expired, canceled:
	}
	return fmt.Errorf("%w: %w", eventstore.ErrUnavailable, &requestError{operation, table, err})
}

// requestError says which operation on which table failed: what the operator needs
// to grant a right or to find a table.
type requestError struct {
	operation, table string
	err              error
}

func (e *requestError) Error() string {
	var api smithy.APIError
	text := e.err.Error()
	if errors.As(e.err, &api) {
		text = api.ErrorCode() + ": " + api.ErrorMessage()
	}
	switch {
	case isDenied(e.err):
		text += fmt.Sprintf("; the credentials need the right dynamodb:%s on table %q", e.right(), e.table)
	case isNoTable(e.err):
		text += "; check the region and the table's name"
	case api != nil && refusesCredentials(api.ErrorCode()):
		text += "; correct this machine's clock, or the credentials, which come from " + credentialSources
	case api != nil && codeMeaning(api.ErrorCode()) == expired:
		text += "; correct this machine's clock, or renew the credentials, which come from " + credentialSources
	case strings.Contains(text, "get credentials"): // which has no type
		text += "; give credentials by " + credentialSources
	}
	return fmt.Sprintf("dynamodb: %s on table %q: %s", e.operation, e.table, text)
}

const credentialSources = "profile=NAME in the URL, AWS_PROFILE, AWS_ACCESS_KEY_ID with AWS_SECRET_ACCESS_KEY, or the machine's role"

// right is the right that the operation needs.
func (e *requestError) right() string {
	if e.operation == opTransact {
		return opPut
	}
	return e.operation
}

// Unwrap returns the SDK's error.
func (e *requestError) Unwrap() error { return e.err }

// damageError says what in the table is not as this package left it.
type damageError struct{ err error }

func (e *damageError) Error() string {
	return "dynamodb: the table is damaged: " + e.err.Error() + "; run switchyard check on it"
}

// Unwrap returns the cause.
func (e *damageError) Unwrap() error { return e.err }

func damaged(format string, args ...any) error { return &damageError{fmt.Errorf(format, args...)} }

// Codes of a cancelled transaction's reasons.
const (
	reasonCondition = "ConditionalCheckFailed"
	reasonConflict  = "TransactionConflict"
)

// reasons are why a transaction was cancelled. Several may be given at once, and
// only the first that counts does: see commit.
type reasons []types.CancellationReason

func reasonsOf(err error) reasons {
	var transaction *types.TransactionCanceledException
	if errors.As(err, &transaction) {
		return transaction.CancellationReasons
	}
	return nil
}

func (r reasons) any(codes ...string) bool {
	return slices.ContainsFunc(r, func(reason types.CancellationReason) bool {
		return slices.Contains(codes, aws.ToString(reason.Code))
	})
}

// opaqueError lets errors.As find what is in an error, and errors.Is nothing: an
// outcome that is not known matches no error that says that nothing was written.
type opaqueError struct{ err error }

func (e opaqueError) Error() string { return e.err.Error() }

// As implements the interface of errors.As.
func (e opaqueError) As(target any) bool { return errors.As(e.err, target) }
