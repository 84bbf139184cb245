package main

import (
	"fmt"
	"io"
	"time"

	"github.com/schollz/progressbar/v3"
)

// reporter tells on standard error how far long work is: a bar with the rate and
// the time left on a terminal, otherwise a plain line every few seconds.
type reporter struct {
	out   io.Writer
	verb  string // "imported"
	bar   *progressbar.ProgressBar
	start time.Time
	last  time.Time
	quiet bool
}

const (
	barInterval   = 100 * time.Millisecond
	plainInterval = 2 * time.Second
)

// report starts a reporter; how many events are to come, total tells later.
func (a *app) report(verb string) *reporter {
	r := &reporter{out: a.err, verb: verb, start: time.Now(), last: time.Now(), quiet: a.quiet}
	if a.interactive && !a.quiet {
		r.bar = progressbar.NewOptions(-1,
			progressbar.OptionSetWriter(a.err),
			progressbar.OptionSetDescription(verb),
			progressbar.OptionShowCount(),
			progressbar.OptionShowIts(),
			progressbar.OptionSetItsString("events"),
			progressbar.OptionSetPredictTime(true),
			progressbar.OptionThrottle(barInterval),
			progressbar.OptionClearOnFinish(),
			progressbar.OptionFullWidth(),
		)
	}
	return r
}

// at says how many events are done.
func (r *reporter) at(done int) {
	switch now := time.Now(); {
	case r.quiet:
	case r.bar != nil:
		_ = r.bar.Set(done)
	case now.Sub(r.last) >= plainInterval:
		r.last = now
		fmt.Fprintf(r.out, "%s %s events, %s/s\n", r.verb, grouped(done), grouped(r.rate(done)))
	}
}

// total says how many events there are, once that is known.
func (r *reporter) total(n int) {
	if r.bar != nil && n > 0 {
		r.bar.ChangeMax(n)
	}
}

// end removes the bar. It may be called more than once.
func (r *reporter) end() {
	if r.bar != nil {
		_ = r.bar.Finish()
		_ = r.bar.Clear()
		r.bar = nil
	}
}

func (r *reporter) rate(done int) int {
	seconds := time.Since(r.start).Seconds()
	if seconds <= 0 {
		return 0
	}
	return int(float64(done) / seconds)
}

// took says for a last line how long it took and how fast it was.
func (r *reporter) took(done int) string {
	return fmt.Sprintf("in %s (%s/s)", time.Since(r.start).Round(time.Millisecond), grouped(r.rate(done)))
}
