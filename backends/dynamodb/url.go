package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	smithyendpoints "github.com/aws/smithy-go/endpoints"
	"github.com/aws/smithy-go/logging"

	"github.com/switchyard-dev/switchyard/backends"
	"github.com/switchyard-dev/switchyard/eventstore"
	"github.com/switchyard-dev/switchyard/internal/urlparam"
)

// OpenURL opens the store that a URL names:
//
//	dynamodb://eu-central-1/orders
//	dynamodb:///orders                     the region of the environment or the profile
//	dynamodb://local/orders?endpoint=http://127.0.0.1:8000&create=1
//
// Region, credentials and retries are the SDK's own (environment, shared files,
// single sign-on, container and instance roles). These parameters are the fields of
// [Options]:
//
//	namespace=shop           Namespace
//	create=1                 CreateTable; create=off is NoCreate
//	poll_interval=1s         Poll, a duration
//	idempotency_window=128   IdempotencyWindow, a number
//	durability=power-loss    Durability: none, process-crash or power-loss
//	global=one-region        OneRegion
//
// and these say where the service is:
//
//	endpoint=https://…       another endpoint: an emulator, a VPC endpoint. http only
//	                         on this machine, and then without looking for credentials
//	profile=NAME             a profile of the shared files
//
// With an endpoint of its own the durability is process-crash unless it is said.
// Anything else is ErrInvalid.
func OpenURL(ctx context.Context, u *url.URL) (*Backend, error) {
	target, err := parseURL(u)
	if err != nil {
		return nil, err
	}
	api, err := target.client(ctx)
	if err != nil {
		return nil, err
	}
	owned, _ := api.Options().HTTPClient.(*ownClient)
	b, err := Open(ctx, api, target.table, &target.options)
	if err != nil {
		if owned != nil {
			owned.close()
		}
		return nil, err
	}
	b.owned = owned
	return b, nil
}

// Scheme is "dynamodb://", for a [backends.Set].
func Scheme() backends.Scheme {
	return backends.Scheme{
		Names:    []string{"dynamodb"},
		Form:     "dynamodb://REGION/TABLE",
		Existing: "create=off",
		Open:     func(ctx context.Context, u *url.URL) (eventstore.Backend, error) { return OpenURL(ctx, u) },
	}
}

// Client makes the SDK's client for the service that a URL names, and returns the
// table with the options. Applications use it to work on the same table beside the
// store; so do [Check] and tests.
func Client(ctx context.Context, u *url.URL) (api *sdk.Client, table string, opts *Options, err error) {
	target, err := parseURL(u)
	if err != nil {
		return nil, "", nil, err
	}
	api, err = target.client(ctx)
	return api, target.table, &target.options, err
}

// target is what a URL says.
type target struct {
	region, table, endpoint, profile string
	options                          Options
}

func invalidURL(format string, args ...any) error {
	return &eventstore.InvalidError{Field: "dynamodb URL", Reason: fmt.Sprintf(format, args...)}
}

func parseURL(u *url.URL) (*target, error) {
	t := &target{table: strings.TrimPrefix(u.Path, "/"), region: u.Host}
	switch {
	case u.Scheme != "dynamodb":
		return nil, invalidURL("its scheme is %.40q; write dynamodb://REGION/TABLE", u.Scheme)
	case u.User != nil:
		return nil, invalidURL("it has a user or a password; credentials come from the environment or a profile")
	case u.Opaque != "" || u.Fragment != "" || u.RawFragment != "":
		return nil, invalidURL("write dynamodb://REGION/TABLE?parameters")
	case t.table == "":
		return nil, invalidURL("it names no table; write dynamodb://REGION/TABLE, or dynamodb:///TABLE for the environment's region")
	}
	if err := checkTableName(t.table); err != nil {
		return nil, err
	}
	for _, r := range t.region {
		if !strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789-", r) {
			return nil, invalidURL("%.40q is not a region, such as eu-central-1; an endpoint is given with endpoint=", t.region)
		}
	}
	if err := t.parameters(u.RawQuery); err != nil {
		return nil, err
	}
	options, err := t.options.withDefaults()
	if err != nil {
		return nil, err
	}
	t.options = options
	return t, nil
}

func (t *target) parameters(query string) error {
	values, err := url.ParseQuery(query)
	if err != nil {
		return invalidURL("the parameters are not percent-encoded")
	}
	o := &t.options
	known := map[string]func(value string) error{
		"namespace":          func(value string) error { o.Namespace = value; return nil },
		"endpoint":           t.setEndpoint,
		"profile":            func(value string) error { t.profile = value; return nil },
		"create":             o.setCreate,
		"poll_interval":      urlparam.Duration(&o.Poll),
		"idempotency_window": urlparam.Count(&o.IdempotencyWindow),
		"durability":         urlparam.Durability(&o.Durability),
		"global":             globalInto(&o.OneRegion),
	}
	if err := urlparam.Read(values, known, invalidURL); err != nil {
		return err
	}
	if t.endpoint != "" && o.Durability == 0 {
		o.Durability = eventstore.SurvivesProcessCrash
	}
	return nil
}

func (o *Options) setCreate(value string) error {
	switch value {
	case "1", "on":
		o.CreateTable = true
	case "off":
		o.NoCreate = true
	default:
		return fmt.Errorf("%.40q is neither 1 (make the table) nor off (make nothing)", value)
	}
	return nil
}

func (t *target) setEndpoint(value string) error {
	u, err := url.Parse(value)
	switch {
	case err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https"):
		return errors.New("it is not a URL such as http://127.0.0.1:8000 or https://host")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "":
		return errors.New("it has more than a host and a port")
	case u.Scheme == "http" && !isLocalHost(u.Hostname()):
		return errors.New("http sends events in the clear, and is only for this machine; use https")
	}
	t.endpoint = u.Scheme + "://" + u.Host
	return nil
}

func isLocalHost(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}

func globalInto(field *bool) func(string) error {
	return func(value string) error {
		if value != "one-region" {
			return fmt.Errorf("%.40q is not one-region", value)
		}
		*field = true
		return nil
	}
}

// ownClient is the connections of a backend that made its client itself.
type ownClient struct {
	http.Client
	closed atomic.Bool
}

// Do implements the SDK's HTTPClient.
func (c *ownClient) Do(req *http.Request) (*http.Response, error) {
	if c.closed.Load() {
		return nil, eventstore.ErrClosed
	}
	return c.Client.Do(req)
}

// close closes the connections; those in use are closed when they are not any more,
// because no request comes after it.
func (c *ownClient) close() {
	c.closed.Store(true)
	c.CloseIdleConnections()
}

// fixedEndpoint spares the SDK's rules of endpoints, which cost more than the rest of
// a request to this machine.
type fixedEndpoint string

// ResolveEndpoint implements the SDK's EndpointResolverV2.
func (e fixedEndpoint) ResolveEndpoint(context.Context, sdk.EndpointParameters) (smithyendpoints.Endpoint, error) {
	u, err := url.Parse(string(e))
	if err != nil {
		return smithyendpoints.Endpoint{}, err
	}
	return smithyendpoints.Endpoint{URI: *u}, nil
}

// client makes the SDK's client. On this machine no credentials are looked for: the
// SDK would ask the metadata service of a cloud that is not there, for seconds.
func (t *target) client(ctx context.Context) (*sdk.Client, error) {
	var load []func(*config.LoadOptions) error
	if t.region != "" {
		load = append(load, config.WithRegion(t.region))
	}
	if t.profile != "" {
		load = append(load, config.WithSharedConfigProfile(t.profile))
	}
	local := false
	if t.endpoint != "" {
		if u, err := url.Parse(t.endpoint); err == nil {
			local = isLocalHost(u.Hostname()) && t.profile == ""
		}
	}
	if local {
		load = append(load, config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider("local", "local", "")))
		if t.region == "" {
			load = append(load, config.WithRegion("local"))
		}
	}
	load = append(load, config.WithLogger(logging.Nop{})) // a library says nothing on standard error; errors are returned
	cfg, err := config.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return nil, fmt.Errorf("dynamodb: read the SDK's configuration: %w", err)
	}
	if cfg.Region == "" {
		return nil, invalidURL("it names no region, and neither does the environment; write dynamodb://eu-central-1/%s", t.table)
	}
	if cfg.HTTPClient == nil {
		cfg.HTTPClient = awshttp.NewBuildableClient()
	}
	if client, ok := cfg.HTTPClient.(*awshttp.BuildableClient); ok {
		// As the SDK would make it, but so that its connections can be closed.
		transport := client.GetTransport()
		transport.MaxIdleConnsPerHost = max(transport.MaxIdleConnsPerHost, 2*tailsAtOnce)
		cfg.HTTPClient = &ownClient{Client: http.Client{
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}}
	}
	return sdk.NewFromConfig(cfg, func(o *sdk.Options) {
		if t.endpoint != "" {
			o.BaseEndpoint = aws.String(t.endpoint)
			o.AccountIDEndpointMode = aws.AccountIDEndpointModeDisabled
			o.EndpointResolverV2 = fixedEndpoint(t.endpoint)
		}
	}), nil
}
