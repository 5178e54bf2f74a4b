package schedule

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/adhocore/gronx"
)

// horizonYears is how far ahead an occurrence is looked for. The rarest possible dates, a 29
// February on a given weekday around a century without a leap year, are 40 years apart.
const horizonYears = 41

// tags are the names of common expressions, those of crontab(5).
var tags = map[string]string{
	"@yearly":   "0 0 1 1 *",
	"@annually": "0 0 1 1 *",
	"@monthly":  "0 0 1 * *",
	"@weekly":   "0 0 * * 0",
	"@daily":    "0 0 * * *",
	"@midnight": "0 0 * * *",
	"@hourly":   "0 * * * *",
}

// fields are the five of an expression: the position of each for gronx, whose first is the second,
// and the form of one part of its list. What the numbers may be is for gronx to say.
var fields = [5]struct {
	name     string
	position int
	part     *regexp.Regexp
}{
	{"minute", 1, plainPart},
	{"hour", 2, plainPart},
	{"day of the month", 3, regexp.MustCompile(`^(?:` + plain + `|L|(?:[1-9]|[12]\d|3[01])W)$`)},
	{"month", 4, plainPart},
	{"day of the week", 5, regexp.MustCompile(`^(?:` + plain + `|[0-7]L|[0-7]#[1-5])$`)},
}

const plain = `(?:\*|\?|\d{1,2}(?:-\d{1,2})?)(?:/\d{1,2})?`

var plainPart = regexp.MustCompile(`^` + plain + `$`)

var (
	monthNames = strings.NewReplacer("JAN", "1", "FEB", "2", "MAR", "3", "APR", "4", "MAY", "5", "JUN", "6",
		"JUL", "7", "AUG", "8", "SEP", "9", "OCT", "10", "NOV", "11", "DEC", "12")
	weekdayNames = strings.NewReplacer("SUN", "0", "MON", "1", "TUE", "2", "WED", "3", "THU", "4", "FRI", "5", "SAT", "6")
)

// cron is an expression taken apart. Minutes, hours and months are sets of bits; which days of a
// month are due is asked of gronx, which knows L, W and # and how the two day fields combine.
type cron struct {
	location  *time.Location
	everyHour bool
	minutes   uint64
	hours     uint64
	months    uint64
	days      []string // segments for gronx in which only the days are restricted
}

// split returns the five fields of an expression in upper case with names turned into numbers.
func split(expression string) ([]string, error) {
	if strings.HasPrefix(expression, "@") {
		long, ok := tags[strings.ToLower(expression)]
		if !ok {
			return nil, fmt.Errorf("unknown cron tag %q", expression)
		}
		expression = long
	}
	got := strings.Fields(strings.ToUpper(expression))
	if len(got) != len(fields) {
		return nil, fmt.Errorf("a cron expression has five fields, %q has %d", expression, len(got))
	}
	got[3] = monthNames.Replace(got[3])
	got[4] = weekdayNames.Replace(got[4])
	return got, nil
}

func parseCron(expression string, location *time.Location) (*cron, error) {
	segments, err := split(expression)
	if err != nil {
		return nil, err
	}
	for i, segment := range segments {
		// Each part by itself: gronx stops at the first that is due and would not see the rest.
		for part := range strings.SplitSeq(segment, ",") {
			if !fields[i].part.MatchString(part) {
				return nil, fmt.Errorf("cron expression %q: %s %q is not valid", expression, fields[i].name, part)
			}
			if _, err := due(part, fields[i].position, reference); err != nil {
				return nil, fmt.Errorf("cron expression %q: %s %q is not valid", expression, fields[i].name, part)
			}
		}
	}
	c := &cron{
		location:  location,
		everyHour: segments[1][0] == '*' || segments[1][0] == '?',
		days:      []string{"*", "*", "*", segments[2], "*", segments[4]},
	}
	for minute := range 60 {
		if ok, _ := due(segments[0], fields[0].position, reference.Add(time.Duration(minute)*time.Minute)); ok {
			c.minutes |= 1 << minute
		}
	}
	for hour := range 24 {
		if ok, _ := due(segments[1], fields[1].position, reference.Add(time.Duration(hour)*time.Hour)); ok {
			c.hours |= 1 << hour
		}
	}
	for month := range 12 {
		if ok, _ := due(segments[3], fields[3].position, reference.AddDate(0, month, 0)); ok {
			c.months |= 1 << (month + 1)
		}
	}
	return c, nil
}

// due asks gronx about one field. Its checker keeps the time that it is asked about, so each
// question has one of its own.
func due(segment string, position int, at time.Time) (bool, error) {
	checker := &gronx.SegmentChecker{}
	checker.SetRef(at)
	return checker.CheckDue(segment, position)
}

func (c *cron) dayDue(day time.Time) bool {
	checker := &gronx.SegmentChecker{}
	checker.SetRef(day)
	ok, err := (&gronx.Gronx{C: checker}).SegmentsDue(c.days)
	return ok && err == nil
}

// next finds the first instant after the given one.
//
// The search itself knows no zones: it walks the readings of a clock on the wall, which are
// represented by times in UTC, and only their readings are turned into instants.
func (c *cron) next(after time.Time) time.Time {
	if c.everyHour {
		return c.nextThroughHours(after)
	}
	reading := Wall(after, c.location)
	for {
		reading = c.nextReading(reading)
		if reading.IsZero() {
			return time.Time{}
		}
		// A reading of the hour that is repeated has its instant in the first of the two, which
		// may be over.
		if at := Instant(reading, c.location); at.After(after) {
			return at
		}
	}
}

// nextThroughHours follows the clock on the wall through its changes: within one offset from UTC
// readings and instants are the same but for that offset.
func (c *cron) nextThroughHours(after time.Time) time.Time {
	reading := Wall(after, c.location)
	at := after
	for {
		_, offset := at.In(c.location).Zone()
		_, end := at.In(c.location).ZoneBounds()
		found := c.nextReading(reading)
		if found.IsZero() {
			return time.Time{}
		}
		candidate := found.Add(-time.Duration(offset) * time.Second)
		if end.IsZero() || candidate.Before(end) {
			return candidate.UTC()
		}
		at = end
		reading = Wall(end, c.location).Add(-time.Nanosecond) // end itself may be due
	}
}

// nextReading returns the first due reading after the given one, or zero.
func (c *cron) nextReading(after time.Time) time.Time {
	from := after.Truncate(time.Minute).Add(time.Minute)
	day := time.Date(from.Year(), from.Month(), from.Day(), 0, 0, 0, 0, time.UTC)
	last := from.Year() + horizonYears
	for day.Year() <= last {
		if c.months&(1<<int(day.Month())) == 0 {
			day = time.Date(day.Year(), day.Month()+1, 1, 0, 0, 0, 0, time.UTC)
			continue
		}
		if c.dayDue(day) {
			if at, ok := c.nextInDay(day, from); ok {
				return at
			}
		}
		day = day.AddDate(0, 0, 1)
	}
	return time.Time{}
}

// nextInDay returns the first due reading of a day that is not before from.
func (c *cron) nextInDay(day, from time.Time) (time.Time, bool) {
	firstHour, firstMinute := 0, 0
	if from.After(day) {
		firstHour, firstMinute = from.Hour(), from.Minute()
	}
	for hour := firstHour; hour < 24; hour++ {
		if c.hours&(1<<hour) != 0 {
			for minute := firstMinute; minute < 60; minute++ {
				if c.minutes&(1<<minute) != 0 {
					return day.Add(time.Duration(hour)*time.Hour + time.Duration(minute)*time.Minute), true
				}
			}
		}
		firstMinute = 0
	}
	return time.Time{}, false
}

// Wall returns what a clock in the zone reads, as a time in UTC.
func Wall(at time.Time, location *time.Location) time.Time {
	_, offset := at.In(location).Zone()
	return at.UTC().Add(time.Duration(offset) * time.Second)
}

// Instant returns when a clock in the zone first reads so, or the end of the gap if it never does.
// time.Date does not promise which of two it takes, nor what becomes of a reading in a gap.
func Instant(reading time.Time, location *time.Location) time.Time {
	// No zone is further than 16 hours from UTC: the search begins before any possible answer.
	at := reading.Add(-17 * time.Hour).In(location)
	for {
		_, offset := at.Zone()
		_, end := at.ZoneBounds()
		candidate := reading.Add(-time.Duration(offset) * time.Second)
		if end.IsZero() || candidate.Before(end) {
			// In a gap the readings of the old offset end too late and those of the new one
			// begin too early: what is before the new offset's beginning is the gap's end.
			if candidate.Before(at) {
				return at.UTC()
			}
			return candidate
		}
		at = end.In(location)
	}
}
