// Package schedule says when a job is due: cron expressions and intervals in time zones. It is
// pure: it has no clock and does no I/O.
package schedule

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	// The zones' rules come along: a container without them must not be unable to read a schedule.
	_ "time/tzdata"
)

// The kinds of a schedule.
const (
	None     = "none"     // nothing is expected
	Crontab  = "crontab"  // a cron expression in a time zone
	Interval = "interval" // a number of seconds after the last one
)

const (
	// MinInterval and MaxInterval bound schedules of kind Interval.
	MinInterval = 10 * time.Second
	MaxInterval = 10 * 366 * 24 * time.Hour

	// MaxValueBytes bounds the text of a schedule.
	MaxValueBytes = 200

	minMargin = time.Minute
	maxMargin = 30 * time.Minute

	// clockChangeMargin is added in the night of a clock change, clockChangeReach to either side.
	clockChangeMargin = time.Hour
	clockChangeReach  = 3 * time.Hour
)

// reference is where questions that have no time of their own begin, so that their answers are
// always the same.
var reference = time.Date(2024, time.January, 1, 0, 0, 0, 0, time.UTC)

// Schedule says when something is due. The zero Schedule is of kind None: never. It may be copied
// and used concurrently.
type Schedule struct {
	every time.Duration
	cron  *cron
}

// Parse reads a schedule. The value is a cron expression of five fields, a tag such as "@daily",
// or for an interval its length in seconds; the time zone is a name of the IANA database, UTC when
// it is empty, and counts for cron expressions only. An expression that can never be due
// ("0 0 31 2 *") is an error. The messages are fit for a user.
func Parse(kind, value, timezone string) (Schedule, error) {
	location, err := Zone(timezone)
	if err != nil {
		return Schedule{}, err
	}
	if len(value) > MaxValueBytes {
		return Schedule{}, fmt.Errorf("a schedule has at most %d characters", MaxValueBytes)
	}
	value = strings.TrimSpace(value)
	switch kind {
	case None:
		if value != "" {
			return Schedule{}, fmt.Errorf("a schedule of kind %q has no value", None)
		}
		return Schedule{}, nil
	case Interval:
		every, err := parseInterval(value)
		return Schedule{every: every}, err
	case Crontab:
		c, err := parseCron(value, location)
		if err != nil {
			return Schedule{}, err
		}
		s := Schedule{cron: c}
		if s.Next(reference).IsZero() {
			return Schedule{}, fmt.Errorf("cron expression %q is never due: no such date", value)
		}
		return s, nil
	default:
		return Schedule{}, fmt.Errorf("unknown kind of schedule %q: it is %q, %q or %q", kind, None, Crontab, Interval)
	}
}

// Zone returns the time zone of a name of the IANA database; UTC when it is empty.
func Zone(name string) (*time.Location, error) {
	if name == "" {
		return time.UTC, nil
	}
	// "Local" would be the zone of whichever machine happens to ask.
	if name == "Local" || len(name) > 100 {
		return nil, fmt.Errorf("unknown time zone %.100q", name)
	}
	location, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("unknown time zone %q", name)
	}
	return location, nil
}

func parseInterval(value string) (time.Duration, error) {
	seconds, err := strconv.ParseInt(value, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("an interval is a number of seconds, not %q", value)
	}
	if low, high := int64(MinInterval/time.Second), int64(MaxInterval/time.Second); seconds < low || seconds > high {
		return 0, fmt.Errorf("an interval of %d seconds is not between %d and %d", seconds, low, high)
	}
	return time.Duration(seconds) * time.Second, nil
}

// Next returns the first time after the given one that is due, or the zero time if there is none.
// For an interval the given time is that of the last occurrence.
//
// Where clocks change, a fixed hour that does not exist on that day is due at the first instant
// after the gap, and one that exists twice is due once, at the first. Expressions that run through
// all hours ("*/5 * * * *", "0 */2 * * *") follow the clock on the wall instead, as cron does:
// nothing is due in the gap, and the repeated hour is due again.
func (s Schedule) Next(after time.Time) time.Time {
	switch {
	case s.every > 0:
		return after.Add(s.every)
	case s.cron != nil:
		return s.cron.next(after)
	default:
		return time.Time{}
	}
}

// Expects reports whether anything is ever due.
func (s Schedule) Expects() bool { return s.every > 0 || s.cron != nil }

// Interval reports whether occurrences are counted from the one before rather than by the clock.
func (s Schedule) Interval() bool { return s.every > 0 }

// Period is the shortest time between two occurrences that follow one another; for irregular
// expressions that of a stretch of a few dozen. It is 0 when nothing is due.
func (s Schedule) Period() time.Duration {
	if s.cron == nil {
		return s.every
	}
	var shortest time.Duration
	at := s.cron.next(reference)
	for range 32 {
		next := s.cron.next(at)
		if next.IsZero() {
			break
		}
		if gap := next.Sub(at); shortest == 0 || gap < shortest {
			shortest = gap
		}
		at = next
	}
	return shortest
}

// DefaultMargin is how long after the due time a job is waited for unless somebody says otherwise:
// a tenth of the period, but at least one and at most 30 minutes. It is 0 when nothing is due.
func (s Schedule) DefaultMargin() time.Duration {
	if !s.Expects() {
		return 0
	}
	return min(max(s.Period()/10, minMargin), maxMargin)
}

// ExtraMargin is what the margin of the occurrence at slot grows by: an hour for a fixed hour in
// the night of a clock change, since systems disagree on when such a job runs; else 0.
func (s Schedule) ExtraMargin(slot time.Time) time.Duration {
	if s.cron == nil || s.cron.everyHour {
		return 0
	}
	_, before := slot.Add(-clockChangeReach).In(s.cron.location).Zone()
	_, behind := slot.Add(clockChangeReach).In(s.cron.location).Zone()
	if before == behind {
		return 0
	}
	return clockChangeMargin
}
