package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"
	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
)

func api(code string) error {
	return &smithy.OperationError{ServiceID: "DynamoDB", OperationName: opTransact, Err: &smithy.GenericAPIError{Code: code, Message: "no"}}
}

func TestWhatAFailureMeans(t *testing.T) {
	for name, test := range map[string]struct {
		err     error
		meaning meaning
	}{
		"no connection":                 {fmt.Errorf("send: %w", &net.OpError{Op: "dial", Err: errors.New("refused")}), notSent},
		"no address":                    {&net.DNSError{Err: "no such host"}, notSent},
		"never sent":                    {&unsentError{context.DeadlineExceeded}, notSent},
		"a reset":                       {&net.OpError{Op: "read", Err: errors.New("reset")}, unknown},
		"an end":                        {io.ErrUnexpectedEOF, unknown},
		"a deadline while it waited":    {context.DeadlineExceeded, unknown},
		"a body that cannot be read":    {&smithy.DeserializationError{Err: errors.New("invalid")}, unknown},
		"500":                           {api("InternalServerError"), unknown},
		"503":                           {api("ServiceUnavailable"), unknown},
		"in progress":                   {api("TransactionInProgressException"), unknown},
		"a code that is not known":      {api("UnknownError"), unknown},
		"a transaction with reasons":    {&types.TransactionCanceledException{CancellationReasons: []types.CancellationReason{{Code: aws.String("None")}}}, canceled},
		"a transaction without any":     {&types.TransactionCanceledException{}, unknown},
		"throttled":                     {api("ThrottlingException"), throttled},
		"over its throughput":           {&types.ProvisionedThroughputExceededException{}, throttled},
		"expired credentials":           {api("ExpiredTokenException"), expired},
		"no right":                      {api("AccessDeniedException"), refused},
		"no such key":                   {api("UnrecognizedClientException"), refused},
		"no table":                      {&types.ResourceNotFoundException{}, refused},
		"a wrong request":               {api("ValidationException"), refused},
		"another request's token":       {&types.IdempotentParameterMismatchException{}, refused},
		"what the SDK cannot serialise": {&smithy.SerializationError{Err: errors.New("nil")}, refused},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, test.meaning, classify(test.err))
			mapped := mapped(t.Context(), opQuery, "events", test.err)
			require.Equal(t, test.meaning != refused, errors.Is(mapped, eventstore.ErrUnavailable))
			require.NotErrorIs(t, mapped, eventstore.ErrUnknownOutcome)
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, mapped(ctx, opQuery, "events", api("InternalServerError")), context.Canceled)
}

func TestARefusedCallerIsToldWhatWouldHelp(t *testing.T) {
	for name, test := range map[string]struct {
		err  error
		want string
	}{
		"no right":                 {api("AccessDeniedException"), `the credentials need the right dynamodb:Query on table "events"`},
		"no such key":              {api("UnrecognizedClientException"), "the credentials, which come from profile=NAME in the URL, AWS_PROFILE, AWS_ACCESS_KEY_ID"},
		"a wrong secret":           {api("InvalidSignatureException"), "correct this machine's clock, or the credentials"},
		"no credentials sent":      {api("MissingAuthenticationTokenException"), "correct this machine's clock, or the credentials"},
		"expired credentials":      {api("ExpiredTokenException"), "renew the credentials"},
		"no credentials at all":    {&unsentError{errors.New("get identity: get credentials: none")}, "give credentials by profile=NAME in the URL"},
		"no table":                 {&types.ResourceNotFoundException{}, "check the region and the table's name"},
		"a refusal with no remedy": {api("ValidationException"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			text := mapped(t.Context(), opQuery, "events", test.err).Error()
			require.Contains(t, text, test.want)
			require.Equal(t, test.want != "", strings.Contains(text, "; "), text)
		})
	}
}

func TestItemsAreCountedAsLargeAsTheyAre(t *testing.T) {
	it := keyOf("abc", 1234)                                              // 2+3, 2+3
	it["e"] = &types.AttributeValueMemberL{Value: []types.AttributeValue{ // 1+3
		&types.AttributeValueMemberM{Value: item{"i": binary([]byte{1, 2}), "n": signed(-5)}}, // 1+3, 2+1+2, 1+1+3
	}}
	require.Equal(t, 10+1+3+1+3+2+3+4, itemSize(it))
}

func TestWhatInflatesToTooMuchIsDamage(t *testing.T) {
	d := &deflater{}
	it := (&logItem{seq: 1}).encode(keys{}, d)
	it[attrBody] = binary(d.seal(make([]byte, mostDecoded+100)))
	require.Less(t, itemSize(it), 100<<10)
	_, err := decodeLogItem(d, it)
	require.ErrorContains(t, err, "inflates to more than")
}

func FuzzLogItemsAndChunksDecodeOrAreDamage(f *testing.F) {
	d := &deflater{}
	event := &eventstore.Event{Type: "T", Data: []byte(`{}`), ContentType: "text/plain", Metadata: map[string]string{"a": "b"}}
	l := &logItem{seq: 3, at: 5, runs: []run{{stream: "s-1", first: 2, at: 7, events: []logEvent{{Event: event}, {Event: event, chunk: 2, size: 9}}}}}
	c := &chunk{stream: "s-1", first: 2, seq: 3, at: 5, events: []chunkEvent{{Event: event, at: 9}, {Event: event, at: 5}}}
	f.Add(d.seal(l.body()), d.seal(c.packed()))
	f.Fuzz(func(t *testing.T, body, packed []byte) {
		var damage *damageError
		it := l.encode(keys{}, d)
		it[attrBody] = binary(body)
		if decoded, err := decodeLogItem(d, it); err != nil {
			require.ErrorAs(t, err, &damage)
		} else {
			again, err := decodeLogItem(d, decoded.encode(keys{}, d))
			require.NoError(t, err)
			require.Equal(t, decoded.lastPlace(), again.lastPlace())
		}
		it = c.encode(keys{}, d)
		delete(it, attrPlain)
		it[attrPacked] = binary(packed)
		if _, err := decodeChunk(keys{}, d, it); err != nil {
			require.ErrorAs(t, err, &damage)
		}
	})
}
