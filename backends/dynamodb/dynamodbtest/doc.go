// Package dynamodbtest is a double of DynamoDB: an in-process server that speaks
// its protocol (JSON 1.0 over HTTP), so that code which talks to DynamoDB can be
// tested without AWS, with the faults that neither AWS nor an emulator produces
// on request.
//
//	srv, err := dynamodbtest.Start(nil)
//	if err != nil { … }
//	defer srv.Stop()
//	client := dynamodb.New(dynamodb.Options{
//		Region:       "us-east-1",
//		BaseEndpoint: aws.String(srv.URL()),
//		Credentials:  …, // any will do
//	})
//
// A server this fast brings out a race in version 2 of the SDK for Go: an answer
// is lost with "use of closed network connection" now and then
// (aws/aws-sdk-go-v2#2737). The SDK repeats such requests unless retries are off.
//
// It is a double, not the service: its rules are written from the documentation
// and from what others have measured, and no test result against it says more
// than that. Its own tests are run against another emulator, dynoxide, too; where
// the two differ the tests list it. Run your tests against the service before you
// rely on them.
//
// # What it models
//
// Operations: CreateTable, DescribeTable, UpdateTable (deletion protection),
// DeleteTable, ListTables, time to live and continuous backups (kept and told,
// without effect), tags, GetItem, PutItem, UpdateItem, DeleteItem, Query, Scan,
// BatchGetItem, BatchWriteItem, TransactGetItems, TransactWriteItems.
//
// Expressions: conditions, filters, projections, key conditions and updates,
// whole, with reserved words, unused placeholders and the service's messages.
//
// Values: numbers of 38 digits, written plain; keys ordered by bytes or by value;
// empty strings and binaries anywhere but in keys; sizes of items to the byte.
//
// Limits: items of 400 KB, keys of 2,048 and 1,024 bytes, 100 items and 4 MB in a
// transaction, pages of 1 MB, 16 MB in a batch, 31 levels of nesting, expressions
// of 4 KB.
//
// Capacity: ConsumedCapacity as the service counts it, and [Server.Usage] for
// what clients are not told: requests whose answers were lost, and refused ones.
//
// Transactions: cancellation reasons in order with the items that were there;
// client tokens that are answered for ten minutes, refused for another request
// and while in progress; conflicts between requests that overlap; items that
// appear one by one to Query, Scan and BatchGetItem while GetItem sees all of
// them.
//
// Eventual consistency: reads that do not ask for consistency are stale while
// [Server.HoldReplicas] holds them back.
//
// The protocol: CRC-32 of every answer, request IDs, error types with their
// namespaces. A signature must be there; it is not verified.
//
// # Faults
//
// [Hooks] stand before and after each request, while a transaction holds its
// items and between its items as they are stored. They answer with any error
// ([Throttled], [Conflict], [InternalError], [Canceled] …), cut the connection,
// send half an answer or garbage, or block: a request that was received is
// carried out when its hook returns, whether or not the client still waits for
// it. [Server.SetLatency], [Server.Stop], [Server.Restart],
// [Server.DropConnections], [Server.SetTableState] and the clock of [Options] do
// the rest.
//
// # What it does not model
//
//   - Secondary indexes, streams, backups, PartiQL, global tables, auto scaling.
//     [Server.SetTableState] makes DescribeTable speak of some of them.
//   - The parameters that expressions have replaced (Expected, AttributeUpdates,
//     KeyConditions, AttributesToGet and the like). A request with a member that
//     the double does not know is refused, never misunderstood.
//   - Throttling by itself: throughput is unlimited, and told by hooks.
//   - Access rights and signatures.
//   - Expiry: items with a time to live stay.
//   - The service's durability: everything is in memory.
//   - Timing: it answers at once, or after the latency that you set.
package dynamodbtest
