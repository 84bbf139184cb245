package dynamodbtest

import (
	"context"
	"errors"

	"github.com/go-json-experiment/json"
)

// request is a decoded request.
type request interface {
	// keys names the items the request is about, for hooks. It is called with
	// the store locked.
	keys(*store) []Key
	// run carries the request out and returns the answer.
	run(*execution) (any, *Error)
}

// execution is one request under way.
type execution struct {
	ctx   context.Context //nolint:containedctx // lives as long as the request it is of
	store *store
	hooks Hooks
	call  Call
	bill  bill
	hold  func() error // lets the request's time pass while a transaction holds its items
}

// newRequest makes the request of an operation.
func newRequest(operation string) (request, bool) {
	switch operation {
	case "CreateTable":
		return &createTable{}, true
	case "DescribeTable":
		return &describeTable{}, true
	case "DeleteTable":
		return &deleteTable{}, true
	case "UpdateTable":
		return &updateTable{}, true
	case "ListTables":
		return &listTables{}, true
	case "DescribeTimeToLive":
		return &describeTimeToLive{}, true
	case "UpdateTimeToLive":
		return &updateTimeToLive{}, true
	case "DescribeContinuousBackups":
		return &describeContinuousBackups{}, true
	case "UpdateContinuousBackups":
		return &updateContinuousBackups{}, true
	case "TagResource":
		return &tagResource{}, true
	case "UntagResource":
		return &untagResource{}, true
	case "ListTagsOfResource":
		return &listTagsOfResource{}, true
	case "GetItem":
		return &getItem{}, true
	case "PutItem":
		return &putItem{}, true
	case "UpdateItem":
		return &updateItem{}, true
	case "DeleteItem":
		return &deleteItem{}, true
	case "Query":
		return &query{}, true
	case "Scan":
		return &scan{}, true
	case "BatchGetItem":
		return &batchGetItem{}, true
	case "BatchWriteItem":
		return &batchWriteItem{}, true
	case "TransactGetItems":
		return &transactGetItems{}, true
	case "TransactWriteItems":
		return &transactWriteItems{}, true
	}
	return nil, false
}

// decode reads a request. A member that the double does not know is refused:
// ignoring it would mean another request.
func decode(operation string, body []byte) (request, *Error) {
	req, ok := newRequest(operation)
	if !ok {
		return nil, badRequest("UnknownOperationException", "dynamodbtest: the double does not know the operation "+operation)
	}
	err := json.Unmarshal(body, req, json.RejectUnknownMembers(true))
	if err == nil {
		return req, nil
	}
	var refused *Error
	switch {
	case errors.As(err, &refused):
		return nil, refused
	case errors.Is(err, json.ErrUnknownName):
		return nil, invalid("dynamodbtest: the double does not know this part of the request: " + err.Error())
	}
	return nil, badRequest("SerializationException", err.Error())
}

// checkTableName is the rule for names of tables.
func checkTableName(name string) *Error {
	const about = "1 validation error detected: Value at 'tableName' failed to satisfy constraint: Member must "
	switch {
	case len(name) < 3:
		return invalid(about + "have length greater than or equal to 3")
	case len(name) > 255:
		return invalid(about + "have length less than or equal to 255")
	}
	for i := range len(name) {
		if c := name[i]; !wordByte(c) && c != '.' && c != '-' {
			return invalid(about + "satisfy regular expression pattern: [a-zA-Z0-9_.-]+")
		}
	}
	return nil
}

// oneOf refuses a value outside an enumeration; "" stands for the first.
func oneOf(member, value string, allowed ...string) *Error {
	if value == "" {
		return nil
	}
	list := ""
	for i, a := range allowed {
		if a == value {
			return nil
		}
		if i > 0 {
			list += ", "
		}
		list += a
	}
	return invalid("1 validation error detected: Value '" + value + "' at '" + member + "' failed to satisfy constraint: Member must satisfy enum value set: [" + list + "]")
}

func checkCapacityMode(mode string) *Error {
	return oneOf("returnConsumedCapacity", mode, "INDEXES", "TOTAL", "NONE")
}

// firstError is the first that is not nil.
func firstError(errs ...*Error) *Error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
