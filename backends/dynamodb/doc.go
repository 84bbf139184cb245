// Package dynamodb keeps a store in one DynamoDB table: every append is one
// transaction that writes an item of a log, whose sort key counts from 1, and the
// items of the streams. So all events have one total order that every reader can
// read with strong consistency, without an index and without a job that repairs.
//
// The README in this folder says what that order costs and how the promises are
// kept. Package dynamodbtest is a double of the service.
package dynamodb
