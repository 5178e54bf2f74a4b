package schedule

import (
	"fmt"
	"math/bits"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Words says a schedule as a person would ("every day at 02:30 (Europe/Berlin)"), or shows the
// expression itself where that would be a riddle ("cron 5 4 * * 1,3 (UTC)"). What Parse refuses is
// shown as it is.
func Words(kind, value, timezone string) string {
	if timezone == "" {
		timezone = "UTC"
	}
	value = strings.TrimSpace(value)
	switch kind {
	case None:
		return "no schedule"
	case Interval:
		every, err := parseInterval(value)
		if err != nil {
			return "interval " + value
		}
		return "every " + lengthWords(every)
	case Crontab:
		words, local := cronWords(value)
		if words == "" {
			return fmt.Sprintf("cron %s (%s)", value, timezone)
		}
		if local {
			return fmt.Sprintf("%s (%s)", words, timezone)
		}
		return words
	default:
		return strings.TrimSpace(kind + " " + value)
	}
}

var lengths = []struct {
	name string
	of   time.Duration
}{
	{"week", 7 * 24 * time.Hour}, {"day", 24 * time.Hour}, {"hour", time.Hour}, {"minute", time.Minute}, {"second", time.Second},
}

// lengthWords uses the largest unit of which it is a whole number: "day", "90 minutes".
func lengthWords(d time.Duration) string {
	for _, l := range lengths {
		if d%l.of == 0 {
			if d == l.of {
				return l.name
			}
			return fmt.Sprintf("%d %ss", d/l.of, l.name)
		}
	}
	return d.String()
}

var (
	numberField = regexp.MustCompile(`^\d{1,2}$`)
	stepField   = regexp.MustCompile(`^(?:\*|0)/(\d{1,2})$`)
)

// cronWords returns "" for what has no short saying, and whether the zone matters to it.
func cronWords(expression string) (words string, local bool) {
	f, err := split(expression)
	if err != nil {
		return "", false
	}
	c, err := parseCron(expression, time.UTC)
	if err != nil {
		return "", false
	}
	minute, hour, dayOfMonth, month, weekday := f[0], f[1], f[2], f[3], f[4]
	if everyDay := star(dayOfMonth) && star(month) && star(weekday); everyDay {
		if words := hoursWords(minute, hour); words != "" {
			return words, !star(hour)
		}
	}
	clock := clockWords(c)
	if clock == "" {
		return "", false
	}
	switch {
	case star(dayOfMonth) && star(month) && star(weekday):
		return "every day at " + clock, true
	case star(dayOfMonth) && star(month) && weekday == "1-5":
		return "every weekday at " + clock, true
	case star(dayOfMonth) && star(month) && numberField.MatchString(weekday):
		return fmt.Sprintf("every %s at %s", time.Weekday(number(weekday)%7), clock), true
	case dayOfMonth == "L" && star(month) && star(weekday):
		return "on the last day of every month at " + clock, true
	case numberField.MatchString(dayOfMonth) && star(month) && star(weekday):
		return fmt.Sprintf("on day %d of every month at %s", number(dayOfMonth), clock), true
	case numberField.MatchString(dayOfMonth) && numberField.MatchString(month) && star(weekday):
		return fmt.Sprintf("every year on %d %s at %s", number(dayOfMonth), time.Month(number(month)), clock), true
	default:
		return "", false
	}
}

// hoursWords says what repeats within the day.
func hoursWords(minute, hour string) string {
	minutes, hours := step(minute, 60), step(hour, 24)
	switch {
	case star(hour) && minutes > 0:
		return "every " + lengthWords(time.Duration(minutes)*time.Minute)
	case star(hour) && minute == "0":
		return "every hour"
	case star(hour) && numberField.MatchString(minute):
		return fmt.Sprintf("every hour at minute %d", number(minute))
	case hours > 1 && minute == "0":
		return fmt.Sprintf("every %d hours", hours)
	case hours > 1 && numberField.MatchString(minute):
		return fmt.Sprintf("every %d hours at minute %d", hours, number(minute))
	default:
		return ""
	}
}

// clockWords lists the times of a day: one minute in up to four hours.
func clockWords(c *cron) string {
	if bits.OnesCount64(c.minutes) != 1 || bits.OnesCount64(c.hours) > 4 {
		return ""
	}
	var times []string
	for hour := range 24 {
		if c.hours&(1<<hour) != 0 {
			times = append(times, fmt.Sprintf("%02d:%02d", hour, bits.TrailingZeros64(c.minutes)))
		}
	}
	last := len(times) - 1
	if last <= 0 {
		return strings.Join(times, "")
	}
	return strings.Join(times[:last], ", ") + " and " + times[last]
}

func star(field string) bool { return field == "*" || field == "?" }

// step returns n of "*/n" where n divides the whole, so that the distance is the same throughout;
// 1 for "*", else 0.
func step(field string, whole int) int {
	if star(field) {
		return 1
	}
	m := stepField.FindStringSubmatch(field)
	if m == nil {
		return 0
	}
	if n := number(m[1]); n > 0 && whole%n == 0 {
		return n
	}
	return 0
}

// number reads one or two digits.
func number(digits string) int {
	n, _ := strconv.Atoi(digits) // the caller has matched them
	return n
}
