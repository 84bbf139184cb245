package esdbtest_test

import (
	"context"
	"fmt"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/switchyard-dev/switchyard/backends/esdb/esdbtest"
)

func Example() {
	srv, err := esdbtest.Start(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Stop()

	conf, err := esdb.ParseConnectionString(srv.URL())
	if err != nil {
		fmt.Println(err)
		return
	}
	conf.Logger = esdb.NoopLogging()
	client, err := esdb.NewClient(conf)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = client.Close() }()

	result, err := client.AppendToStream(context.Background(), "order-1",
		esdb.AppendToStreamOptions{ExpectedRevision: esdb.NoStream{}},
		esdb.EventData{EventType: "OrderPlaced", ContentType: esdb.ContentTypeJson, Data: []byte(`{}`)})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("revision", result.NextExpectedVersion)
	// Output: revision 0
}

// A write whose answer is lost: the client sees a failure, the event is there,
// and the retry with the same id and the same expected revision tells.
func ExampleServer_SetHooks() {
	srv, err := esdbtest.Start(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Stop()
	srv.SetHooks(esdbtest.Hooks{
		AfterCommit: esdbtest.FailTimes(1, status.Error(codes.Unavailable, "lost")),
	})

	conf, err := esdb.ParseConnectionString(srv.URL())
	if err != nil {
		fmt.Println(err)
		return
	}
	conf.Logger = esdb.NoopLogging()
	client, err := esdb.NewClient(conf)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = client.Close() }()

	placed := esdb.EventData{EventID: uuid.New(), EventType: "OrderPlaced", ContentType: esdb.ContentTypeJson, Data: []byte(`{}`)}
	for range 2 {
		_, err = client.AppendToStream(context.Background(), "order-1",
			esdb.AppendToStreamOptions{ExpectedRevision: esdb.NoStream{}}, placed)
		fmt.Println("failed:", err != nil)
	}
	// Output:
	// failed: true
	// failed: false
}
