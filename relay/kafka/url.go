package kafka

import (
	"context"
	"fmt"
	"net/url"
	"slices"

	"github.com/segmentio/kafka-go"

	"github.com/switchyard-dev/switchyard/internal/kafkaclient"
	"github.com/switchyard-dev/switchyard/internal/urlparam"
)

// OpenURL opens the topic that a URL names:
//
//	kafka://localhost:9092/orders
//	kafka://relay@b1.example.com:9092,b2.example.com:9092/orders?sasl=scram-sha-512&password_file=/run/secrets/kafka
//
// Parameters:
//
//	mode=binary           or structured: [Options].Structured
//	compression=none      or gzip, snappy, lz4, zstd
//	sasl=scram-sha-512    or scram-sha-256, plain: how to show the user and password
//	password_file=FILE    a file with the password, in place of one in the URL
//	tls=on                or off; by default on unless all brokers are on this machine
//	ca=FILE               the brokers' authorities, in PEM, in place of the system's
//	cert=FILE&key=FILE    the client's certificate and key, in PEM
//
// What the URL does not have of the user and password may stand in SWITCHYARD_KAFKA_USER
// and SWITCHYARD_KAFKA_PASSWORD. Anything else is ErrInvalid, and so is a user without
// sasl, and a password beside password_file. Errors as [Open]'s; none shows a credential.
func OpenURL(ctx context.Context, u *url.URL) (*Publisher, error) {
	var opts Options
	location, err := kafkaclient.ParseURL(u, map[string]func(string) error{
		"mode":        urlparam.Word(&opts.Structured, "binary", "structured"),
		"compression": func(value string) error { return setCompression(&opts.Compression, value) },
	})
	if err != nil {
		return nil, err
	}
	opts.Transport = location.Transport
	return Open(ctx, location.Brokers, location.Name, &opts)
}

func setCompression(field *kafka.Compression, value string) error {
	known := []string{"none", "gzip", "snappy", "lz4", "zstd"} // in the order of Kafka's numbers
	i := slices.Index(known, value)
	if i < 0 {
		return fmt.Errorf("%.40q is none of none, gzip, snappy, lz4 and zstd", value)
	}
	*field = kafka.Compression(i)
	return nil
}
