// Package comparison writes what was found out about several stores as one page: what
// they can do, what the suite says of them, and how fast they are. The page is one file,
// asks nothing of a network, and can be read on a phone.
package comparison

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/switchyard-dev/switchyard/internal/bench"
)

// Report is a comparison of stores.
type Report struct {
	Made time.Time `json:"made"`
	// Machine says on what it was measured; rates of two reports do not compare.
	Machine string  `json:"machine"`
	Stores  []Store `json:"stores"`
}

// Store is what was found out about one.
type Store struct {
	// Name is its URL as it may be shown.
	Name    string `json:"store"`
	Backend string `json:"backend"`
	// Guarantees and Facts are in the same order for every store.
	Guarantees []Guarantee    `json:"guarantees"`
	Facts      []Fact         `json:"facts"`
	Suite      Suite          `json:"suite"`
	Results    []bench.Result `json:"measured"`
}

// Guarantee is one that a backend may decline, with its reason.
type Guarantee struct {
	Name      string `json:"name"`
	Supported bool   `json:"supported"`
	Reason    string `json:"reason,omitempty"`
}

// Fact is what a backend declares beside its guarantees.
type Fact struct {
	Name  string `json:"name"`
	Text  string `json:"text"`
	Value any    `json:"value"`
}

// Suite is what the conformance suite says of a store.
type Suite struct {
	// Left says why it was not run; the rest is then zero.
	Left        string   `json:"left,omitempty"`
	Scale       string   `json:"scale,omitempty"` // of the long checks, where it was smaller
	Passed      int      `json:"passed"`
	Failed      int      `json:"failed"`
	Unsupported int      `json:"unsupported"`
	Skipped     int      `json:"skipped"`
	Waived      int      `json:"waived"`
	Failures    []string `json:"failures,omitempty"`
}

// page is the template of the report.
//
//go:embed page.html
var page string

// WriteHTML writes the page.
func (r Report) WriteHTML(w io.Writer) error {
	t, err := template.New("page").Parse(page)
	if err == nil {
		err = t.Execute(w, r)
	}
	if err != nil {
		return fmt.Errorf("write the comparison: %w", err)
	}
	return nil
}

// Row is a line of a table with a cell for each store.
type Row struct {
	Name  string
	Cells []Cell
}

// Cell is a store's part of a row.
type Cell struct {
	Text   string
	Reason string
	No     bool
}

// GuaranteeRows are the guarantees, a row for each.
func (r Report) GuaranteeRows() []Row {
	return r.rows(func(s Store) int { return len(s.Guarantees) }, func(s Store, i int) (string, Cell) {
		g := s.Guarantees[i]
		if g.Supported {
			return g.Name, Cell{Text: "yes"}
		}
		return g.Name, Cell{Text: "no", Reason: g.Reason, No: true}
	})
}

// FactRows are the facts and limits, a row for each.
func (r Report) FactRows() []Row {
	return r.rows(func(s Store) int { return len(s.Facts) }, func(s Store, i int) (string, Cell) {
		return s.Facts[i].Name, Cell{Text: s.Facts[i].Text}
	})
}

func (r Report) rows(length func(Store) int, cell func(Store, int) (string, Cell)) []Row {
	if len(r.Stores) == 0 {
		return nil
	}
	rows := make([]Row, length(r.Stores[0]))
	for i := range rows {
		for _, s := range r.Stores {
			name, c := cell(s, i)
			rows[i].Name, rows[i].Cells = name, append(rows[i].Cells, c)
		}
	}
	return rows
}

// Chart is what was measured in one case, a bar for each store that has a rate.
type Chart struct {
	Case string
	Bars []Bar
}

// Bar is one store's.
type Bar struct {
	Store, Rate, Latency, Note string
	Percent                    int // of the fastest
	Colour                     int // the store's, from 0
}

// colours are as many as the page has.
const colours = 8

// Charts are the cases in the order in which they were measured.
func (r Report) Charts() []Chart {
	var charts []Chart
	for i, store := range r.Stores {
		for _, result := range store.Results {
			at := slices.IndexFunc(charts, func(c Chart) bool { return c.Case == result.Case })
			if at < 0 {
				at = len(charts)
				charts = append(charts, Chart{Case: result.Case})
			}
			charts[at].Bars = append(charts[at].Bars, bar(store.Name, i%colours, result, r.fastest(result.Case)))
		}
	}
	return charts
}

func (r Report) fastest(name string) float64 {
	most := 0.0
	for _, store := range r.Stores {
		for _, result := range store.Results {
			if result.Case == name {
				most = max(most, result.Rate)
			}
		}
	}
	return most
}

func bar(store string, colour int, result bench.Result, fastest float64) Bar {
	b := Bar{Store: store, Note: result.Note, Colour: colour}
	if result.Rate > 0 {
		b.Rate = fmt.Sprintf("%s %s/s", significant(result.Rate), result.Unit)
		b.Percent = max(1, int(100*result.Rate/fastest))
	}
	if result.P50 > 0 {
		b.Latency = fmt.Sprintf("p50 %s, p99 %s", result.P50.Round(time.Microsecond), result.P99.Round(time.Microsecond))
	}
	return b
}

// significant writes a rate with three digits that mean something.
func significant(rate float64) string {
	unit := ""
	if rate >= 1000 {
		rate, unit = rate/1000, "k"
	}
	return strconv.FormatFloat(rate, 'f', max(0, 3-len(strconv.Itoa(int(rate)))), 64) + unit
}
