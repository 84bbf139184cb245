package main

import (
	"context"
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/eventstore"
)

// The commands of docs/operating.md are run one after another, on a store whose
// subscription "billing" has parked the two events that the page names.
func TestTheCommandsOfTheOperatingPageWork(t *testing.T) {
	page, err := os.ReadFile("../../docs/operating.md")
	require.NoError(t, err)
	block := func(language string) [][]string {
		return regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllStringSubmatch(string(page), -1)
	}
	t.Chdir(t.TempDir())
	require.NoError(t, os.WriteFile("switchyard.yaml", []byte(block("yaml")[0][1]), 0o600))
	ids := regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f-]{27}`).FindAllString(string(page), -1)
	require.Len(t, ids, 2)
	ok(t, "", "init", "@orders")
	for _, id := range append(ids, testID[:35]+"9") {
		ok(t, "{}", "append", "@orders", "order-1", "--type", "OrderPlaced", "--id", id)
	}
	failing := true
	var handled []string
	billing := eventstore.Subscription{Name: "billing", ParkStream: "parked-billing", Handler: func(_ context.Context, e eventstore.RecordedEvent) error {
		if failing {
			return errors.New("no price list")
		}
		handled = append(handled, e.ID.String())
		return nil
	}}
	runSubscription(t, "sqlite:orders.db", billing)
	runSubscription(t, "sqlite:orders.db", eventstore.Subscription{Name: "report"})
	failing = false
	ran := make(map[string]int)
	for _, commands := range block("sh") {
		for line := range strings.Lines(commands[1]) {
			command, _, _ := strings.Cut(line, "  #")
			words := strings.Fields(command)
			require.Equal(t, "switchyard", words[0], line)
			out := ok(t, "", words[1:]...)
			switch name := words[1] + " " + words[2]; name {
			case "parked drop":
				runSubscription(t, "sqlite:orders.db", billing) // restarted, as the page says
			case "parked list":
				require.Contains(t, out, `"error":"no price list"`)
			default:
				ran[name]++
			}
		}
	}
	require.Equal(t, map[string]int{
		"checkpoint list": 2, "checkpoint show": 1, "checkpoint reset": 1, "checkpoint delete": 1, "stats @orders": 1,
		"parked retry": 2, "export @orders": 1, "import sqlite:restored.db": 1, "verify @orders": 1, "caps @orders": 1,
	}, ran)
	require.Equal(t, ids[:1], handled, "what was retried, and neither what was dropped nor what nobody asked for")
	runSubscription(t, "sqlite:orders.db", billing)
	require.Len(t, handled, 2)
	require.Empty(t, listed(t, "@orders", "parked-billing"))
}
