package oncall

import (
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/midwatch/midwatch/alerts/schedule"
)

const (
	maxRepeatBytes    = 200
	maxRepeatInterval = 99
	maxRepeatCount    = 1000
	// repeatHorizonYears is how far behind the time asked for a repetition is looked for: 29 February
	// may be 8 years away.
	repeatHorizonYears = 12
)

// repeat is a rule of RFC 5545, section 3.3.10, as far as maintenance needs it. It knows no zones:
// its times are readings of the clock on the wall, as times in UTC.
type repeat struct {
	frequency string
	interval  int
	byDay     []dayOfMonth
	until     time.Time // the last reading; zero is none
	count     int       // 0 is without end
}

// dayOfMonth is a day of the week, or the nth of its kind in a month; from the month's end if nth is
// negative, each if it is 0.
type dayOfMonth struct {
	weekday time.Weekday
	nth     int
}

func parseRepeat(text string, location *time.Location) (repeat, error) {
	if len(text) > maxRepeatBytes {
		return repeat{}, fmt.Errorf("a rule has at most %d bytes", maxRepeatBytes)
	}
	r := repeat{interval: 1}
	seen := map[string]bool{}
	for part := range strings.SplitSeq(strings.TrimPrefix(strings.ToUpper(strings.TrimSpace(text)), "RRULE:"), ";") {
		key, value, _ := strings.Cut(part, "=")
		if seen[key] {
			return repeat{}, fmt.Errorf("%s is there twice", key)
		}
		seen[key] = true
		if err := r.set(key, value, location); err != nil {
			return repeat{}, err
		}
	}
	if r.frequency == "" {
		return repeat{}, errors.New("FREQ is missing")
	}
	if r.count > 0 && !r.until.IsZero() {
		return repeat{}, errors.New("UNTIL and COUNT exclude one another")
	}
	for _, d := range r.byDay {
		if d.nth != 0 && r.frequency != "MONTHLY" {
			return repeat{}, errors.New("BYDAY has numbers for FREQ=MONTHLY only")
		}
	}
	return r, nil
}

func (r *repeat) set(key, value string, location *time.Location) (err error) {
	switch key {
	case "FREQ":
		if value != "DAILY" && value != "WEEKLY" && value != "MONTHLY" {
			return fmt.Errorf("FREQ is DAILY, WEEKLY or MONTHLY, not %.20q", value)
		}
		r.frequency = value
	case "INTERVAL":
		r.interval, err = parseCount(key, value, maxRepeatInterval)
	case "COUNT":
		r.count, err = parseCount(key, value, maxRepeatCount)
	case "UNTIL":
		r.until, err = parseUntil(value, location)
	case "BYDAY":
		for day := range strings.SplitSeq(value, ",") {
			d, err := parseByDay(day)
			if err != nil {
				return err
			}
			r.byDay = append(r.byDay, d)
		}
	default:
		return fmt.Errorf("%.20q is not FREQ, INTERVAL, BYDAY, UNTIL or COUNT", key)
	}
	return err
}

func parseCount(key, value string, most int) (int, error) {
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 || n > most {
		return 0, fmt.Errorf("%s is a number between 1 and %d, not %.20q", key, most, value)
	}
	return n, nil
}

// parseUntil reads an instant, or a time or a day of the zone. A day ends at midnight.
func parseUntil(value string, location *time.Location) (time.Time, error) {
	if at, err := time.Parse("20060102T150405Z", value); err == nil {
		return schedule.Wall(at, location), nil
	}
	if reading, err := time.Parse("20060102T150405", value); err == nil {
		return reading, nil
	}
	if day, err := time.Parse("20060102", value); err == nil {
		return day.AddDate(0, 0, 1).Add(-time.Nanosecond), nil
	}
	return time.Time{}, fmt.Errorf("UNTIL is such as 20261231 or 20261231T220000Z, not %.20q", value)
}

func parseByDay(text string) (dayOfMonth, error) {
	if len(text) >= 2 {
		number, name := text[:len(text)-2], text[len(text)-2:]
		nth, err := strconv.Atoi(number)
		if number == "" {
			err = nil
		}
		if day := strings.Index("SUMOTUWETHFRSA", name); err == nil && day >= 0 && day%2 == 0 && nth >= -5 && nth <= 5 && (nth != 0 || number == "") {
			return dayOfMonth{time.Weekday(day / 2), nth}, nil
		}
	}
	return dayOfMonth{}, fmt.Errorf("BYDAY has days such as MO, or 1MO and -1SU for months, not %.20q", text)
}

// readings returns the beginnings, in order, from the one that begins at start. It may leave out
// those before from, and ends some years after that.
func (r repeat) readings(start, from time.Time) iter.Seq[time.Time] {
	return func(yield func(time.Time) bool) {
		last := from.Year() + repeatHorizonYears
		if start.After(from) {
			last = start.Year() + repeatHorizonYears
		}
		clock, count := start.Sub(date(start)), 0
		for n := r.firstPeriod(start, from); ; n++ {
			first, days := r.period(start, n)
			if first.Year() > last {
				return
			}
			for i := range days {
				day := first.AddDate(0, 0, i)
				begin := day.Add(clock)
				if begin.Before(start) || !r.due(day, start) {
					continue
				}
				if !r.until.IsZero() && begin.After(r.until) {
					return
				}
				if !yield(begin) {
					return
				}
				if count++; count == r.count {
					return
				}
			}
		}
	}
}

// firstPeriod returns the number of a period that is not after from. What is counted is counted from
// its beginning.
func (r repeat) firstPeriod(start, from time.Time) int {
	if r.count > 0 || !from.After(start) {
		return 0
	}
	days := int(from.Sub(start) / (24 * time.Hour))
	switch r.frequency {
	case "WEEKLY":
		days /= 7
	case "MONTHLY":
		days /= 31
	}
	return max(days/r.interval-1, 0)
}

// period returns the first day of the nth period and how many it has. Weeks begin on Mondays.
func (r repeat) period(start time.Time, n int) (first time.Time, days int) {
	day := date(start)
	switch r.frequency {
	case "DAILY":
		return day.AddDate(0, 0, n*r.interval), 1
	case "WEEKLY":
		monday := day.AddDate(0, 0, -int((day.Weekday()+6)%7))
		return monday.AddDate(0, 0, 7*n*r.interval), 7
	default:
		first = time.Date(day.Year(), day.Month()+time.Month(n*r.interval), 1, 0, 0, 0, 0, time.UTC)
		return first, first.AddDate(0, 1, -1).Day()
	}
}

// due reports whether the rule names the day of one of its periods.
func (r repeat) due(day, start time.Time) bool {
	if len(r.byDay) == 0 {
		switch r.frequency {
		case "WEEKLY":
			return day.Weekday() == start.Weekday()
		case "MONTHLY":
			return day.Day() == start.Day()
		default:
			return true
		}
	}
	lastDay := time.Date(day.Year(), day.Month()+1, 0, 0, 0, 0, 0, time.UTC).Day()
	for _, d := range r.byDay {
		if d.weekday != day.Weekday() {
			continue
		}
		fromStart, fromEnd := (day.Day()-1)/7+1, -((lastDay-day.Day())/7 + 1)
		if d.nth == 0 || d.nth == fromStart || d.nth == fromEnd {
			return true
		}
	}
	return false
}

// names reports whether the rule has a repetition at its start.
func (r repeat) names(start time.Time) bool { return r.due(date(start), start) }
