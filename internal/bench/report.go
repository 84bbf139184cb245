package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"text/tabwriter"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
)

// WriteTable writes the results as a table with a row for each case and store.
func WriteTable(w io.Writer, results []Result) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "case\tstore\trate\tto the first\tp50\tp99\theap\t")
	for _, name := range names(results, func(r Result) string { return r.Case }) {
		first := 0.0 // the rate of the first store that was measured in this case
		for _, r := range results {
			if r.Case != name {
				continue
			}
			rate, ratio := "–", ""
			if r.Rate > 0 {
				rate = fmt.Sprintf("%.0f %s/s", r.Rate, r.Unit)
			}
			if first > 0 {
				ratio = fmt.Sprintf("%.2f×", r.Rate/first)
			} else {
				first = r.Rate
			}
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%d MB\t%s\n", r.Case, r.Store, rate, ratio, short(r.P50), short(r.P99), r.Bytes>>20, r.Note)
		}
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("write the table: %w", err)
	}
	return nil
}

func short(d time.Duration) string {
	if d == 0 {
		return "–"
	}
	return d.Round(time.Microsecond).String()
}

// WriteJSON writes the results as one indented JSON array.
func WriteJSON(w io.Writer, results []Result) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(results); err != nil {
		return fmt.Errorf("write the results as JSON: %w", err)
	}
	return nil
}

// Plot draws the rates as bars, a group for each case and a colour for each
// store, into a file whose ending says the format (.png, .svg).
func Plot(path string, results []Result) error {
	results = slices.DeleteFunc(slices.Clone(results), func(r Result) bool { return r.Rate == 0 })
	if len(results) == 0 {
		return fmt.Errorf("plot %s: there are no rates to draw", path)
	}
	cases := names(results, func(r Result) string { return r.Case })
	stores := names(results, func(r Result) string { return r.Store })
	p := plot.New()
	p.Title.Text = "Events per second (logarithmic)"
	p.X.Tick.Marker = powersOfTen()
	slices.Reverse(cases) // the first one on top
	p.NominalY(cases...)
	p.Y.Tick.Label.Font.Size = vg.Points(9)
	p.Legend.Top = true
	width := vg.Points(18) / vg.Length(len(stores))
	for s, store := range stores {
		rates := make(plotter.Values, len(cases))
		for i := range rates {
			for _, r := range results {
				if r.Store == store && r.Case == cases[i] {
					rates[i] = math.Log10(max(1, r.Rate))
				}
			}
		}
		bars, err := plotter.NewBarChart(rates, width)
		if err != nil {
			return fmt.Errorf("plot %s: %w", path, err)
		}
		bars.Horizontal, bars.LineStyle.Width = true, 0
		bars.Color = plotutil.Color(s)
		bars.Offset = width * (vg.Length(s) - vg.Length(len(stores)-1)/2)
		p.Add(bars)
		p.Legend.Add(store, bars)
	}
	p.X.Min, p.X.Max = 0, math.Ceil(p.X.Max+0.8) // room for the legend
	if err := p.Save(10*vg.Inch, vg.Points(60)+vg.Points(26)*vg.Length(len(cases)), path); err != nil {
		return fmt.Errorf("plot %s: %w; end the name in .png or .svg", path, err)
	}
	return nil
}

// powersOfTen labels an axis of logarithms. The bars start at one event a second,
// which the library's own logarithmic scale cannot draw: it starts them at zero.
func powersOfTen() plot.ConstantTicks {
	var ticks plot.ConstantTicks
	for i, label := range []string{"1", "10", "100", "1k", "10k", "100k", "1M", "10M"} {
		ticks = append(ticks, plot.Tick{Value: float64(i), Label: label})
	}
	return ticks
}

// names returns the distinct names of the results in their first order.
func names(results []Result, name func(Result) string) []string {
	var all []string
	for _, r := range results {
		if !slices.Contains(all, name(r)) {
			all = append(all, name(r))
		}
	}
	return all
}
