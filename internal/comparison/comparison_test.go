package comparison

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/switchyard-dev/switchyard/internal/bench"
)

func TestThePageSaysEverythingAndAsksNothingOfANetwork(t *testing.T) {
	store := func(name string, rate float64, failures ...string) Store {
		return Store{
			Name: name, Guarantees: []Guarantee{{Name: "seal", Reason: "others write <b>too</b>"}, {Name: "metadata", Supported: true}},
			Facts:   []Fact{{Name: "maxEventBytes", Text: "1,048,576"}},
			Suite:   Suite{Passed: 170, Failed: len(failures), Skipped: 3, Failures: failures},
			Results: []bench.Result{{Case: "append 8×1", Rate: rate, Unit: "events", P50: 1500 * time.Microsecond, P99: time.Second, Note: "2.5 write units, $1.56 a million"}},
		}
	}
	var page strings.Builder
	report := Report{Made: time.Now(), Machine: "linux/amd64", Stores: []Store{store("sqlite:<a>.db", 40123), store("dynamodb://x", 100, "append/x: it failed")}}
	require.NoError(t, report.WriteHTML(&page))
	for _, want := range []string{
		"sqlite:&lt;a&gt;.db", "others write &lt;b&gt;too&lt;/b&gt;", "1,048,576", "170", "append/x: it failed",
		"40.1k events/s", "100 events/s", "width: 100%", "width: 1%", "p50 1.5ms, p99 1s", "$1.56 a million", `name="viewport"`,
	} {
		require.Contains(t, page.String(), want)
	}
	for _, not := range []string{"http:", "https:", "<script", "src=", "url(", "@import", "<link", "ZgotmplZ"} {
		require.NotContains(t, page.String(), not)
	}
}

func TestRatesHaveThreeDigitsThatMeanSomething(t *testing.T) {
	for rate, want := range map[float64]string{0.126: "0.13", 1.234: "1.23", 12.34: "12.3", 123.4: "123", 1234: "1.23k", 12345: "12.3k", 123456: "123k", 1234567: "1235k"} {
		require.Equal(t, want, significant(rate))
	}
}

func TestEveryBarHasAColour(t *testing.T) {
	var report Report
	for i := range 20 {
		report.Stores = append(report.Stores, Store{Name: fmt.Sprint(i), Results: []bench.Result{{Case: "append", Rate: 1}}})
	}
	var page strings.Builder
	require.NoError(t, report.WriteHTML(&page))
	bars := regexp.MustCompile(`class="bar (c\d+)"`).FindAllStringSubmatch(page.String(), -1)
	require.Len(t, bars, len(report.Stores))
	for _, bar := range bars {
		require.Contains(t, page.String(), "."+bar[1]+" { background: var(--"+bar[1]+"); }")
		require.Contains(t, page.String(), "--"+bar[1]+": #")
	}
}
