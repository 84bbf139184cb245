package githistory

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestEveryDateOfAHistoryCanBeWritten(t *testing.T) {
	for name, test := range map[string]struct{ printed, seconds, want string }{
		"an ordinary one":                 {"2001-09-09T03:46:40+02:00", "1000000000", "2001-09-09T03:46:40+02:00"},
		"UTC":                             {"2001-09-09T01:46:40Z", "1000000000", "2001-09-09T01:46:40Z"},
		"a zone before all others":        {"2001-09-04T21:07:40-100:39", "1000000000", "2001-09-09T01:46:40Z"},
		"a zone after all others":         {"2001-09-11T05:32:40+51:46", "1000000000", "2001-09-09T01:46:40Z"},
		"a zone of a whole day":           {"2001-09-10T01:46:40+24:00", "1000000000", "2001-09-09T01:46:40Z"},
		"a zone with minutes above 59":    {"2001-09-09T11:46:40+09:60", "1000000000", "2001-09-09T11:46:40+10:00"},
		"before 1970":                     {"1969-12-31T23:59:59Z", "-1", "1969-12-31T23:59:59Z"},
		"a year with five digits":         {"12026-01-01T00:00:00Z", "317340950400", "1970-01-01T00:00:00Z"},
		"the last year, which is past it": {"9999-12-31T23:59:59-12:00", "253402343999", "1970-01-01T00:00:00Z"},
	} {
		t.Run(name, func(t *testing.T) {
			date, err := authorDate(test.printed, test.seconds)
			require.NoError(t, err)
			require.Equal(t, test.want, date.Format(time.RFC3339))
			_, err = date.MarshalJSON()
			require.NoError(t, err)
		})
	}
}
