package oncall

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestASilenceCoversWhatItMatchesUntilItsEnd(t *testing.T) {
	t.Parallel()
	s := Silence{
		Matchers: matchers(t, `service="checkout"`), From: at(t, "2026-11-20T09:00Z"), To: at(t, "2026-11-20T10:00Z"),
		Author: "ada", Reason: "a known fault of the provider",
	}
	valid(t, s)
	checkout := map[string]string{"service": "checkout"}
	for text, want := range map[string]bool{
		"2026-11-20T08:59Z": false, "2026-11-20T09:00Z": true, "2026-11-20T09:59Z": true, "2026-11-20T10:00Z": false,
	} {
		if got := s.Covers(checkout, at(t, text)); got != want {
			t.Errorf("%s: got %v", text, got)
		}
	}
	if s.Covers(map[string]string{"service": "cart"}, at(t, "2026-11-20T09:30Z")) {
		t.Error("another service is covered")
	}
}

func TestSilencesNameWhatIsWrong(t *testing.T) {
	t.Parallel()
	with := func(change func(*Silence)) Silence {
		s := Silence{Matchers: matchers(t, "a=b"), From: at(t, "2026-11-20T09:00Z"), To: at(t, "2026-11-20T10:00Z"), Author: "a", Reason: "r"}
		change(&s)
		return s
	}
	for want, s := range map[string]Silence{
		"matchers: would mute":  with(func(s *Silence) { s.Matchers = nil }),
		"matchers: would mute ": with(func(s *Silence) { s.Matchers = matchers(t, `a=~".*",b!="c"`) }),
		"matchers[0].op: ":      with(func(s *Silence) { s.Matchers[0].Op = "" }),
		"to: is not after":      with(func(s *Silence) { s.To = s.From }),
		"to: a silence":         with(func(s *Silence) { s.To = s.From.Add(30*24*time.Hour + 1) }),
		"author: ":              with(func(s *Silence) { s.Author = "" }),
		"reason: ":              with(func(s *Silence) { s.Reason = " " }),
	} {
		if err := s.Validate(); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestWindowsRepeatByTheClockOnTheWall(t *testing.T) {
	t.Parallel()
	const none = ""
	for _, c := range []struct {
		name, from, to, zone, repeat string
		after                        string
		want                         []string // each the first after the end of the one before
	}{
		{"once", "2026-11-20T22:00Z", "2026-11-21T02:00Z", "", "", "2026-11-01T00:00Z", []string{"2026-11-20T22:00Z 2026-11-21T02:00Z", none}},
		{
			"each night, also the long one", "2026-10-23T20:00Z", "2026-10-24T04:00Z", "Europe/Berlin", "FREQ=DAILY", "2026-10-24T04:00Z",
			[]string{"2026-10-24T20:00Z 2026-10-25T05:00Z", "2026-10-25T21:00Z 2026-10-26T05:00Z"},
		},
		{
			"into the gap", "2026-03-28T01:30Z", "2026-03-28T03:00Z", "Europe/Berlin", "FREQ=DAILY", "2026-03-28T03:00Z",
			[]string{"2026-03-29T01:00Z 2026-03-29T02:00Z", "2026-03-30T00:30Z 2026-03-30T02:00Z"},
		},
		{
			"one of which a gap leaves nothing is left out", "2026-03-28T01:10Z", "2026-03-28T01:50Z", "Europe/Berlin", "FREQ=DAILY", "2026-03-28T01:50Z",
			[]string{"2026-03-30T00:10Z 2026-03-30T00:50Z"},
		},
		{
			"every second week on two days", "2026-11-02T09:00Z", "2026-11-02T10:00Z", "", "FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,TH", "2026-11-02T10:00Z",
			[]string{"2026-11-05T09:00Z 2026-11-05T10:00Z", "2026-11-16T09:00Z 2026-11-16T10:00Z", "2026-11-19T09:00Z 2026-11-19T10:00Z"},
		},
		{
			"a week's day by default", "2026-11-04T09:00Z", "2026-11-04T10:00Z", "", "RRULE:FREQ=WEEKLY", "2027-11-01T00:00Z",
			[]string{"2027-11-03T09:00Z 2027-11-03T10:00Z"},
		},
		{
			"the month's first Monday and last Sunday", "2026-11-02T09:00Z", "2026-11-02T10:00Z", "", "FREQ=MONTHLY;BYDAY=1MO,-1SU", "2026-11-02T10:00Z",
			[]string{"2026-11-29T09:00Z 2026-11-29T10:00Z", "2026-12-07T09:00Z 2026-12-07T10:00Z", "2026-12-27T09:00Z 2026-12-27T10:00Z"},
		},
		{
			"months without the day are left out", "2026-12-31T09:00Z", "2026-12-31T10:00Z", "", "FREQ=MONTHLY", "2026-12-31T10:00Z",
			[]string{"2027-01-31T09:00Z 2027-01-31T10:00Z", "2027-03-31T09:00Z 2027-03-31T10:00Z"},
		},
		{
			"the 29th of February, every 12 months", "2096-02-29T09:00Z", "2096-02-29T10:00Z", "", "FREQ=MONTHLY;INTERVAL=12", "2096-02-29T10:00Z",
			[]string{"2104-02-29T09:00Z 2104-02-29T10:00Z"},
		},
		{
			"working days", "2026-11-20T09:00Z", "2026-11-20T10:00Z", "", "FREQ=DAILY;BYDAY=MO,TU,WE,TH,FR", "2026-11-20T10:00Z",
			[]string{"2026-11-23T09:00Z 2026-11-23T10:00Z"},
		},
		{
			"three times", "2026-11-20T09:00Z", "2026-11-20T10:00Z", "", "FREQ=DAILY;COUNT=3", "2026-11-01T00:00Z",
			[]string{"2026-11-20T09:00Z 2026-11-20T10:00Z", "2026-11-21T09:00Z 2026-11-21T10:00Z", "2026-11-22T09:00Z 2026-11-22T10:00Z", none},
		},
		{
			"until a day, with it", "2026-11-20T09:00Z", "2026-11-20T10:00Z", "", "FREQ=DAILY;UNTIL=20261121", "2026-11-20T10:00Z",
			[]string{"2026-11-21T09:00Z 2026-11-21T10:00Z", none},
		},
		{
			"until an instant, with it", "2026-11-20T09:00Z", "2026-11-20T10:00Z", "Asia/Tokyo", "FREQ=DAILY;UNTIL=20261121T090000Z", "2026-11-20T10:00Z",
			[]string{"2026-11-21T09:00Z 2026-11-21T10:00Z", none},
		},
		{
			"long ago", "2001-11-20T09:00Z", "2001-11-20T10:00Z", "", "FREQ=DAILY;INTERVAL=3", "2026-11-20T10:00Z",
			[]string{"2026-11-21T09:00Z 2026-11-21T10:00Z"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := Window{Name: "w", From: at(t, c.from), To: at(t, c.to), Zone: c.zone, Repeat: c.repeat}
			valid(t, w)
			now := at(t, c.after)
			var got []string
			for range c.want {
				s, ok := w.Next(now)
				if !ok {
					got = append(got, none)
					continue
				}
				const layout = "2006-01-02T15:04Z07:00"
				got = append(got, s.From.Format(layout)+" "+s.To.Format(layout))
				if !w.Contains(s.From) || !w.Contains(s.To.Add(-1)) || w.Contains(s.To) || w.Contains(s.From.Add(-1)) {
					t.Errorf("%+v is not what the window contains", s)
				}
				now = s.To
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWindowsNameWhatIsWrong(t *testing.T) {
	t.Parallel()
	repeat := func(rule string) Window {
		return Window{Name: "w", From: at(t, "2026-11-20T09:00Z"), To: at(t, "2026-11-20T10:00Z"), Repeat: rule}
	}
	with := func(w Window, change func(*Window)) Window {
		change(&w)
		return w
	}
	for want, w := range map[string]Window{
		"name: ":            with(repeat(""), func(w *Window) { w.Name = "" }),
		"zone: ":            with(repeat(""), func(w *Window) { w.Zone = "Nowhere" }),
		"to: is not after":  with(repeat(""), func(w *Window) { w.To = w.From }),
		"to: a maintenance": with(repeat(""), func(w *Window) { w.To = w.From.Add(7*24*time.Hour + 1) }),
		"matchers[0].":      with(repeat(""), func(w *Window) { w.Matchers = append(w.Matchers, matchers(t, "a=b")...); w.Matchers[0].Op = "" }),
		"repeat: the windows would touch one another": with(repeat("FREQ=DAILY"), func(w *Window) { w.To = w.From.Add(24 * time.Hour) }),
		"repeat: the windows would touch":             with(repeat("FREQ=MONTHLY;BYDAY=3FR,4FR"), func(w *Window) { w.To = w.From.AddDate(0, 0, 7) }),
		"repeat: the window begins on a Friday":       repeat("FREQ=WEEKLY;BYDAY=MO"),
		"repeat: the rule ends before":                repeat("FREQ=DAILY;UNTIL=20261119"),
		"repeat: FREQ is DAILY":                       repeat("FREQ=YEARLY"),
		"repeat: FREQ is missing":                     repeat("COUNT=3"),
		"repeat: COUNT is there twice":                repeat("FREQ=DAILY;COUNT=3;COUNT=4"),
		"repeat: COUNT is a number":                   repeat("FREQ=DAILY;COUNT=0"),
		"repeat: INTERVAL is a number":                repeat("FREQ=DAILY;INTERVAL=100"),
		"repeat: UNTIL is such as":                    repeat("FREQ=DAILY;UNTIL=2026-11-30"),
		"repeat: UNTIL and COUNT":                     repeat("FREQ=DAILY;COUNT=3;UNTIL=20261130"),
		"repeat: BYDAY has days":                      repeat("FREQ=WEEKLY;BYDAY=XX"),
		"repeat: BYDAY has days such":                 repeat("FREQ=WEEKLY;BYDAY="),
		"repeat: BYDAY has numbers":                   repeat("FREQ=WEEKLY;BYDAY=1FR"),
		`repeat: "BYHOUR" is not`:                     repeat("FREQ=DAILY;BYHOUR=3"),
		"repeat: a rule has at most":                  repeat(strings.Repeat("FREQ=DAILY;", 30)),
	} {
		if err := w.Validate(); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestAWindowCoversWhatItMatches(t *testing.T) {
	t.Parallel()
	w := Window{Name: "w", Matchers: matchers(t, "service=db"), From: at(t, "2026-11-20T09:00Z"), To: at(t, "2026-11-20T10:00Z")}
	now := at(t, "2026-11-20T09:30Z")
	if !w.Covers(map[string]string{"service": "db"}, now) || w.Covers(map[string]string{"service": "web"}, now) {
		t.Error("a window does not keep to its matchers")
	}
	var again Window
	text, err := json.Marshal(w)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &again); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(w, again); diff != "" {
		t.Error(diff)
	}
}

// FuzzParseRepeat looks for rules that panic or of which no repetition is found in bounded time.
func FuzzParseRepeat(f *testing.F) {
	f.Add("FREQ=MONTHLY;BYDAY=1MO,-1SU;INTERVAL=2;UNTIL=20261231")
	f.Add("FREQ=WEEKLY;COUNT=1000;INTERVAL=99")
	f.Fuzz(func(t *testing.T, rule string) {
		w := Window{Name: "w", From: at(t, "2026-11-20T09:00Z"), To: at(t, "2026-11-20T10:00Z"), Zone: "Europe/Berlin", Repeat: rule}
		if w.Validate() != nil {
			return
		}
		now := at(t, "2031-03-01T00:00Z")
		if s, ok := w.Next(now); ok && (!s.From.Before(s.To) || !now.Before(s.To) || !w.Contains(s.From)) {
			t.Errorf("%q: got %+v", rule, s)
		}
	})
}
