package kafka

import (
	"cmp"

	"github.com/segmentio/kafka-go"

	"github.com/switchyard-dev/switchyard/relay"
)

// The names of the CloudEvents binding for Kafka.
const (
	contentTypeHeader = "content-type"
	attributePrefix   = "ce_"
)

// record is an event as it goes into the topic. Its bytes are not touched any more:
// a request that was cut short may still read them.
type record struct {
	key, value []byte
	headers    []kafka.Header
	size       int // what it takes in a request, at most
}

// What a record and a header take beside their texts, at most.
const recordOverhead, headerOverhead = 64, 10

func newRecord(event relay.CloudEvent, structured bool) record {
	r := record{key: []byte(cmp.Or(event.Extensions[relay.PartitionKey], event.Source))}
	if structured {
		r.value = event.AppendJSON(nil)
		r.headers = []kafka.Header{{Key: contentTypeHeader, Value: []byte(relay.JSONContentType)}}
	} else {
		r.value = event.Data
		for name, value := range event.Attributes() {
			header := attributePrefix + name
			if name == "datacontenttype" {
				header = contentTypeHeader
			}
			r.headers = append(r.headers, kafka.Header{Key: header, Value: []byte(value)})
		}
	}
	r.size = recordOverhead + len(r.key) + len(r.value)
	for _, header := range r.headers {
		r.size += headerOverhead + len(header.Key) + len(header.Value)
	}
	return r
}
