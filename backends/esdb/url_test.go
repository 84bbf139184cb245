package esdb

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
)

func TestAURLGivesTheOptionsAndTheClientsConfiguration(t *testing.T) {
	u, err := url.Parse("esdb+discover://ops:pa%3Ass@db.example:2114?namespace=shop&idempotency_window=1000&poll=2s&push=off&links=resolve&create=off&durability=power-loss&tlsVerifyCert=false")
	require.NoError(t, err)
	config, opts, err := parseURL(u)
	require.NoError(t, err)
	require.Equal(t, Options{Namespace: "shop", IdempotencyWindow: 1000, Poll: 2 * time.Second, NoPush: true, NoCreate: true, ResolveLinks: true, Durability: eventstore.SurvivesPowerLoss}, *opts)
	require.True(t, config.DnsDiscover)
	require.True(t, config.SkipCertificateVerification)
	require.Equal(t, "db.example:2114", config.Address)
	require.Equal(t, []string{"ops", "pa:ss"}, []string{config.Username, config.Password})
}

func TestAnIPv6AddressNamesAHost(t *testing.T) {
	for text, want := range map[string]string{
		"esdb://[::1]:2113?tls=false":            "[::1]:2113",
		"esdb://[::1]?tls=false":                 "[::1]:2113",
		"esdb+discover://[fe80::7]:9?tls=false":  "[fe80::7]:9",
		"esdb://ops:pa%3Ass@[2001:db8::1]:2114/": "[2001:db8::1]:2114",
	} {
		t.Run(text, func(t *testing.T) {
			u, err := url.Parse(text)
			require.NoError(t, err)
			config, _, err := parseURL(u)
			require.NoError(t, err)
			s, err := newSettings(config)
			require.NoError(t, err)
			require.Equal(t, want, strings.Join(s.seeds, " "))
		})
	}
}

func TestABadURLIsRefusedWithoutShowingItsPassword(t *testing.T) {
	for name, text := range map[string]string{
		"a user without TLS":      "esdb://ops:s3cret@localhost?tls=false",
		"an unknown parameter":    "esdb://ops:s3cret@localhost?nonsense=1",
		"a stale node":            "esdb://ops:s3cret@localhost?nodePreference=follower",
		"a path":                  "esdb://ops:s3cret@localhost/db",
		"no host":                 "esdb://ops:s3cret@/?tls=true",
		"a small window":          "esdb://ops:s3cret@localhost?idempotency_window=1",
		"a namespace with colon":  "esdb://ops:s3cret@localhost?namespace=a:b",
		"this package's own name": "esdb://ops:s3cret@localhost?namespace=switchyard",
		"a parameter twice":       "esdb://ops:s3cret@localhost?poll=1s&poll=2s",
		"a wrong boolean":         "esdb://ops:s3cret@localhost?tls=maybe",
		"an unknown durability":   "esdb://ops:s3cret@localhost?durability=forever",
		"another scheme":          "http://ops:s3cret@localhost",
	} {
		t.Run(name, func(t *testing.T) {
			u, err := url.Parse(text)
			require.NoError(t, err)
			_, _, err = parseURL(u)
			require.ErrorIs(t, err, eventstore.ErrInvalid)
			require.NotContains(t, err.Error(), "s3cret")
		})
	}
}
