package main

import (
	"bytes"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
)

func testApp(asJSON bool) (*app, *bytes.Buffer) {
	var out bytes.Buffer
	return &app{streams: streams{out: &out, err: &out}, asJSON: asJSON, asText: !asJSON}, &out
}

// What is added to the declaration is to be shown.
func TestCapsShowsEveryThingThatABackendDeclares(t *testing.T) {
	var c eventstore.Capabilities
	shown := map[string]bool{"backend": true}
	for _, g := range guarantees(c) {
		shown[strings.ToLower(g.name)] = true
	}
	for _, f := range facts(c) {
		shown[strings.ToLower(f.name)] = true
	}
	named := strings.NewReplacer("durability", "survives")
	fields := append(reflect.VisibleFields(reflect.TypeFor[eventstore.Capabilities]()), reflect.VisibleFields(reflect.TypeFor[eventstore.Limits]())...)
	for _, field := range fields {
		if field.Name != "Limits" {
			require.True(t, shown[named.Replace(strings.ToLower(field.Name))], field.Name)
		}
	}
	require.Len(t, shown, len(fields)-1)
}

func TestCapsTellsWhatABackendCannotDoAndWhy(t *testing.T) {
	caps := eventstore.Capabilities{Backend: "lesser", Seal: eventstore.No("others write too"), LivePush: eventstore.Yes(), WriterGrace: 3e9, IdempotencyTime: 600e9}
	caps.Limits.StreamPattern = "[a-z]+"
	a, out := testApp(false)
	require.NoError(t, a.printCaps([]column{{name: "x", caps: caps}}))
	text := regexp.MustCompile(` +`).ReplaceAllString(out.String(), " ")
	for _, want := range []string{"seal no [", "lesser, seal: others write too", "livePush yes", "writerGrace 3s", "idempotencyTime 10m0s", "streamPattern [a-z]+", "earliest unlimited"} {
		require.Contains(t, text, want)
	}
	a, out = testApp(true)
	require.NoError(t, a.printCaps([]column{{name: "x", caps: caps}}))
	require.NoError(t, a.printCapsJSON([]column{{name: "x", caps: caps}}))
	require.Contains(t, out.String(), `"seal":{"reason":"others write too","supported":false}`)
	require.Contains(t, out.String(), `"writerGrace":"3s"`)
	require.Contains(t, out.String(), `"earliest":null`)
}
