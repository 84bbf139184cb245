package conformance

import (
	"encoding/xml"
	"fmt"
	"io"
	"time"
)

// The part of JUnit's XML that build servers agree on.
type junitSuite struct {
	XMLName  xml.Name    `xml:"testsuite"`
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Skipped  int         `xml:"skipped,attr"`
	Time     string      `xml:"time,attr"`
	Started  string      `xml:"timestamp,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Class   string        `xml:"classname,attr"`
	Name    string        `xml:"name,attr"`
	Time    string        `xml:"time,attr"`
	Failure *junitMessage `xml:"failure"`
	Skipped *junitMessage `xml:"skipped"`
}

type junitMessage struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// WriteJUnit writes the report as JUnit XML. Checks that are skipped,
// unsupported or waived are JUnit's "skipped", with the reason.
func (r Report) WriteJUnit(w io.Writer) error {
	suite := junitSuite{
		Name:     printable("switchyard conformance: " + r.Backend),
		Tests:    len(r.Results),
		Failures: r.Count(Failed),
		Skipped:  r.Count(Skipped) + r.Count(Unsupported) + r.Count(Waived),
		Time:     seconds(r.Duration),
		Started:  r.Started.UTC().Format(time.RFC3339),
	}
	for _, result := range r.Results {
		c := junitCase{Class: printable(r.Backend), Name: result.Check, Time: seconds(result.Duration)}
		switch result.Status {
		case Passed:
		case Failed:
			c.Failure = &junitMessage{Message: printable(result.Sentence), Text: result.explain()}
		case Skipped, Unsupported, Waived:
			c.Skipped = &junitMessage{Message: printable(fmt.Sprintf("%s: %s", result.Status, result.Reason))}
		}
		suite.Cases = append(suite.Cases, c)
	}
	text, err := xml.MarshalIndent(suite, "", "  ")
	if err != nil {
		return fmt.Errorf("write report as JUnit: %w", err)
	}
	return writeString(w, xml.Header+string(text)+"\n")
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.3f", d.Seconds()) }
