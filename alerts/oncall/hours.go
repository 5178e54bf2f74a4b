package oncall

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/midwatch/midwatch/alerts/schedule"
)

// Span is the time from From until before To.
type Span struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

// Contains reports whether at lies in the span.
func (s Span) Contains(at time.Time) bool { return !at.Before(s.From) && at.Before(s.To) }

// Hours are times of the week by the clock on the wall: from From until before To on each of Days.
// Where To is not later than From it is that of the next day, so that "22:00" to "07:00" of "Fri" is
// the night from Friday to Saturday. The zone is that of whoever has the hours.
//
// Where clocks change, a time that does not exist is the end of the gap, and one that exists twice
// is the first.
type Hours struct {
	// Days is "Mon-Fri", "Sat,Sun", "Mon,Wed-Fri" or the like; empty or "daily" is each day.
	Days string `json:"days"`
	// From and To are "08:00"; To may be "24:00".
	From string `json:"from"`
	To   string `json:"to"`
}

// Validate reports what is wrong; the message names the field. Hours that begin when they end are
// refused, since they may be meant to be none or all.
func (h Hours) Validate() error {
	_, err := h.compile()
	return err
}

// hours are Hours that have been read; the zero value holds never.
type hours struct {
	days     weekdays
	from, to time.Duration // after midnight on the wall; to is later than from, and may be of the next day
}

func (h Hours) compile() (hours, error) {
	days, err := parseDays(h.Days)
	if err != nil {
		return hours{}, fmt.Errorf("days: %w", err)
	}
	from, err := parseClock(h.From)
	if err != nil {
		return hours{}, fmt.Errorf("from: %w", err)
	}
	if from == 24*time.Hour {
		return hours{}, errors.New("from: the day begins at 00:00")
	}
	to, err := parseClock(h.To)
	if err != nil {
		return hours{}, fmt.Errorf("to: %w", err)
	}
	if to == from {
		return hours{}, errors.New("to: is the same as from; the whole day is 00:00 to 24:00")
	}
	if to < from {
		to += 24 * time.Hour
	}
	return hours{days, from, to}, nil
}

// week is several hours together, in a zone.
type week struct {
	hours    []hours
	location *time.Location
}

// compileWeek leaves out what cannot be read, and uses UTC for a zone that cannot.
func compileWeek(all []Hours, zone string) week {
	location, err := schedule.Zone(zone)
	if err != nil {
		location = time.UTC
	}
	w := week{location: location}
	for _, h := range all {
		if compiled, err := h.compile(); err == nil {
			w.hours = append(w.hours, compiled)
		}
	}
	return w
}

// spans returns when the hours hold between from and to, in order, without overlaps; spans that
// touch are one.
func (w week) spans(from, to time.Time) []Span {
	var found []Span
	last := date(schedule.Wall(to, w.location)).AddDate(0, 0, 1)
	for _, h := range w.hours {
		// Hours begin on the day before at the earliest, and zones have left out whole days.
		for day := date(schedule.Wall(from, w.location)).AddDate(0, 0, -2); !day.After(last); day = day.AddDate(0, 0, 1) {
			if !h.days.has(day.Weekday()) {
				continue
			}
			s := Span{schedule.Instant(day.Add(h.from), w.location), schedule.Instant(day.Add(h.to), w.location)}
			if s, ok := s.clip(from, to); ok {
				found = append(found, s)
			}
		}
	}
	slices.SortFunc(found, func(a, b Span) int { return a.From.Compare(b.From) })
	return join(found)
}

// join makes one of spans that overlap or touch; they are in order of From.
func join(spans []Span) []Span {
	var joined []Span
	for _, s := range spans {
		if n := len(joined); n > 0 && !s.From.After(joined[n-1].To) {
			if s.To.After(joined[n-1].To) {
				joined[n-1].To = s.To
			}
			continue
		}
		joined = append(joined, s)
	}
	return joined
}

func (s Span) clip(from, to time.Time) (Span, bool) {
	if s.From.Before(from) {
		s.From = from
	}
	if s.To.After(to) {
		s.To = to
	}
	return s, s.From.Before(s.To)
}

// holds returns until when the hours hold that hold at the instant; horizon at the latest.
func (w week) holds(at time.Time, horizon time.Duration) (time.Time, bool) {
	if len(w.hours) == 0 {
		return time.Time{}, false
	}
	spans := w.spans(at, at.Add(horizon))
	if len(spans) == 0 || !spans[0].Contains(at) {
		return time.Time{}, false
	}
	return spans[0].To, true
}

// whole reports whether the hours leave nothing of an ordinary week.
func (w week) whole() bool {
	w.location = time.UTC
	begin := time.Date(2024, time.January, 1, 0, 0, 0, 0, time.UTC)
	end := begin.AddDate(0, 0, 7)
	spans := w.spans(begin, end)
	return len(spans) == 1 && spans[0] == Span{begin, end}
}

// Active is the time in which a rule may page, such as "Mon-Fri 08:00-20:00 Europe/Berlin". The
// zero Active is always.
type Active struct {
	text string
	week week
}

// ParseActive reads days, hours and a time zone, in this order. Each may be left out: the days are
// then all, the hours the whole day, the zone UTC. An empty text is always. The messages of its
// errors are fit for a user.
func ParseActive(text string) (Active, error) {
	const example = `active hours are such as "Mon-Fri 08:00-20:00 Europe/Berlin"`
	if len(text) > 200 {
		return Active{}, errors.New(example)
	}
	fields := strings.Fields(text)
	if len(fields) == 0 {
		return Active{}, nil
	}
	a := Active{text: strings.Join(fields, " ")}
	h := Hours{From: "00:00", To: "24:00"}
	if _, err := parseDays(fields[0]); err == nil {
		h.Days, fields = fields[0], fields[1:]
	}
	if len(fields) > 0 && strings.Contains(fields[0], ":") {
		from, to, ok := strings.Cut(fields[0], "-")
		if !ok {
			return Active{}, fmt.Errorf("hours %q have no end: %s", fields[0], example)
		}
		h.From, h.To, fields = from, to, fields[1:]
	}
	if len(fields) > 1 {
		return Active{}, fmt.Errorf("%q is not understood: %s", fields[0], example)
	}
	zone := strings.Join(fields, "")
	location, err := schedule.Zone(zone)
	if err != nil {
		return Active{}, fmt.Errorf("%w: %s", err, example)
	}
	compiled, err := h.compile()
	if err != nil {
		return Active{}, err
	}
	a.week = week{[]hours{compiled}, location}
	return a, nil
}

// Contains reports whether at lies in the active hours.
func (a Active) Contains(at time.Time) bool {
	if a.text == "" {
		return true
	}
	_, holds := a.week.holds(at, time.Nanosecond)
	return holds
}

// String returns the text that ParseActive reads; empty is always.
func (a Active) String() string { return a.text }

// weekdays is a set of days of the week, a bit each.
type weekdays uint8

const everyDay weekdays = 1<<7 - 1

func (w weekdays) has(day time.Weekday) bool { return w&(1<<day) != 0 }

func parseDays(text string) (weekdays, error) {
	if text == "" || strings.EqualFold(text, "daily") {
		return everyDay, nil
	}
	if len(text) > 60 {
		return 0, errors.New("are too many")
	}
	var days weekdays
	for part := range strings.SplitSeq(text, ",") {
		first, last, isRange := strings.Cut(strings.TrimSpace(part), "-")
		from, err := parseWeekday(first)
		if err != nil {
			return 0, err
		}
		to := from
		if isRange {
			if to, err = parseWeekday(last); err != nil {
				return 0, err
			}
		}
		for day := from; ; day = (day + 1) % 7 {
			days |= 1 << day
			if day == to {
				break
			}
		}
	}
	return days, nil
}

func parseWeekday(text string) (time.Weekday, error) {
	text = strings.TrimSpace(text)
	for day := time.Sunday; day <= time.Saturday; day++ {
		if strings.EqualFold(text, day.String()[:3]) || strings.EqualFold(text, day.String()) {
			return day, nil
		}
	}
	return 0, fmt.Errorf(`%.20q is not a day such as "Mon"`, text)
}

// parseClock reads "09:00" as the time after midnight; "24:00" is the day's end.
func parseClock(text string) (time.Duration, error) {
	if text == "24:00" {
		return 24 * time.Hour, nil
	}
	at, err := time.Parse("15:04", text)
	if err != nil || len(text) != len("15:04") {
		return 0, fmt.Errorf(`%.20q is not a time such as "09:00"`, text)
	}
	return time.Duration(at.Hour())*time.Hour + time.Duration(at.Minute())*time.Minute, nil
}

// date returns the midnight of a reading.
func date(reading time.Time) time.Time {
	return time.Date(reading.Year(), reading.Month(), reading.Day(), 0, 0, 0, 0, time.UTC)
}
