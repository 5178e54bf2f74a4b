package schedule

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/adhocore/gronx"
	"pgregory.net/rapid"
)

const layout = "2006-01-02T15:04:05Z"

func at(t testing.TB, text string) time.Time {
	t.Helper()
	v, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func parse(t testing.TB, kind, value, zone string) Schedule {
	t.Helper()
	s, err := Parse(kind, value, zone)
	if err != nil {
		t.Fatalf("Parse(%q, %q, %q): %v", kind, value, zone, err)
	}
	return s
}

func TestNext(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, value, zone, after string
		want                     []string
	}{
		{"each minute", "* * * * *", "", "2026-11-21T10:10:33Z", []string{"2026-11-21T10:11:00Z", "2026-11-21T10:12:00Z"}},
		{"strictly after", "0 0 * * *", "", "2026-11-21T00:00:00Z", []string{"2026-11-22T00:00:00Z"}},
		{"just before", "0 0 * * *", "", "2026-11-20T23:59:59.999999999Z", []string{"2026-11-21T00:00:00Z"}},
		{"a day in a zone", "30 2 * * *", "Europe/Berlin", "2026-01-10T12:00:00Z", []string{"2026-01-11T01:30:00Z", "2026-01-12T01:30:00Z"}},
		{"a half-hour zone", "0 9 * * *", "Asia/Kolkata", "2026-01-10T12:00:00Z", []string{"2026-01-11T03:30:00Z"}},
		{"each hour of a half-hour zone", "0 * * * *", "Asia/Kolkata", "2026-01-10T12:00:00Z", []string{"2026-01-10T12:30:00Z", "2026-01-10T13:30:00Z"}},
		{"sunday as 7", "0 12 * * 7", "", "2026-11-21T00:00:00Z", []string{"2026-11-22T12:00:00Z", "2026-11-29T12:00:00Z"}},
		{"sunday as 0", "0 12 * * 0", "", "2026-11-21T00:00:00Z", []string{"2026-11-22T12:00:00Z"}},
		{"sunday by name", "0 12 * * sun", "", "2026-11-21T00:00:00Z", []string{"2026-11-22T12:00:00Z"}},
		{"range that ends at 7", "0 12 * * 6-7", "", "2026-11-20T13:00:00Z", []string{"2026-11-21T12:00:00Z", "2026-11-22T12:00:00Z", "2026-11-28T12:00:00Z"}},
		{"working days", "0 8 * * MON-FRI", "", "2026-11-20T09:00:00Z", []string{"2026-11-23T08:00:00Z"}},
		{"range with step", "10-30/10 8-9 * * *", "", "2026-11-20T08:10:00Z", []string{"2026-11-20T08:20:00Z", "2026-11-20T08:30:00Z", "2026-11-20T09:10:00Z"}},
		{"list", "0,15,45 3 * * *", "", "2026-11-20T03:00:00Z", []string{"2026-11-20T03:15:00Z", "2026-11-20T03:45:00Z", "2026-11-21T03:00:00Z"}},
		{"last day", "0 0 L * *", "", "2027-12-31T12:00:00Z", []string{"2028-01-31T00:00:00Z", "2028-02-29T00:00:00Z", "2028-03-31T00:00:00Z"}},
		{"last friday", "0 0 * * 5L", "", "2026-11-01T00:00:00Z", []string{"2026-11-27T00:00:00Z", "2026-12-25T00:00:00Z"}},
		{"second tuesday", "0 0 * * 2#2", "", "2026-11-01T00:00:00Z", []string{"2026-11-10T00:00:00Z", "2026-12-08T00:00:00Z"}},
		{"fifth monday", "0 0 * * 1#5", "", "2026-11-01T00:00:00Z", []string{"2026-11-30T00:00:00Z", "2027-03-29T00:00:00Z"}},
		{"nearest working day", "0 0 15W * *", "", "2026-11-01T00:00:00Z", []string{"2026-11-16T00:00:00Z", "2026-12-15T00:00:00Z"}},
		{"either day field", "0 0 13 * 5", "", "2026-11-01T00:00:00Z", []string{"2026-11-06T00:00:00Z", "2026-11-13T00:00:00Z", "2026-11-20T00:00:00Z", "2026-11-27T00:00:00Z", "2026-12-04T00:00:00Z", "2026-12-11T00:00:00Z", "2026-12-13T00:00:00Z"}},
		{"the 31st", "0 0 31 * *", "", "2026-11-01T00:00:00Z", []string{"2026-12-31T00:00:00Z", "2027-01-31T00:00:00Z", "2027-03-31T00:00:00Z"}},
		{"leap day", "0 0 29 2 *", "", "2026-11-01T00:00:00Z", []string{"2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"}},
		{"leap day around 2100", "0 0 29 2 *", "", "2096-03-01T00:00:00Z", []string{"2104-02-29T00:00:00Z"}},
		{"months by name", "0 0 1 jan,JUL *", "", "2026-11-01T00:00:00Z", []string{"2027-01-01T00:00:00Z", "2027-07-01T00:00:00Z"}},
		{"tag", "@weekly", "", "2026-11-21T00:00:00Z", []string{"2026-11-22T00:00:00Z", "2026-11-29T00:00:00Z"}},
		{"spaces", "  5   4\t* * *  ", "", "2026-11-21T00:00:00Z", []string{"2026-11-21T04:05:00Z"}},

		// C10: the hour that is left out on 2026-03-29.
		{"spring gap", "30 2 * * *", "Europe/Berlin", "2026-03-28T00:00:00Z", []string{"2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"}},
		// C11: the hour that is there twice on 2026-10-25.
		{"autumn", "30 2 * * *", "Europe/Berlin", "2026-10-24T00:00:00Z", []string{"2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"}},
		{"autumn, asked between the two", "30 2 * * *", "Europe/Berlin", "2026-10-25T00:45:00Z", []string{"2026-10-26T01:30:00Z"}},
		{"autumn, asked in the second hour", "30 2 * * *", "Europe/Berlin", "2026-10-25T01:10:00Z", []string{"2026-10-26T01:30:00Z"}},
		{"several that fall into the gap", "0,30 2,3 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", []string{"2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z", "2026-03-30T00:00:00Z"}},
		{"through the gap", "*/20 * * * *", "Europe/Berlin", "2026-03-29T00:30:00Z", []string{"2026-03-29T00:40:00Z", "2026-03-29T01:00:00Z", "2026-03-29T01:20:00Z"}},
		{"each hour through the gap", "7 * * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", []string{"2026-03-29T00:07:00Z", "2026-03-29T01:07:00Z", "2026-03-29T02:07:00Z"}},
		{"through the repeated hour", "*/30 * * * *", "Europe/Berlin", "2026-10-25T00:00:00Z", []string{"2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z", "2026-10-25T02:00:00Z"}},
		{"half an hour's change, gap", "10 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00:00Z", []string{"2026-10-03T15:30:00Z", "2026-10-04T15:10:00Z"}},
		{"half an hour's change, twice", "45 1 * * *", "Australia/Lord_Howe", "2026-04-04T00:00:00Z", []string{"2026-04-04T14:45:00Z", "2026-04-05T15:15:00Z"}},
		{"a day without midnight", "0 0 * * *", "America/Santiago", "2026-09-05T12:00:00Z", []string{"2026-09-06T04:00:00Z", "2026-09-07T03:00:00Z"}},
		{"a day that was left out", "0 12 * * *", "Pacific/Apia", "2011-12-29T00:00:00Z", []string{"2011-12-29T22:00:00Z", "2011-12-30T10:00:00Z", "2011-12-30T22:00:00Z"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := parse(t, Crontab, c.value, c.zone)
			now := at(t, c.after)
			for i, want := range c.want {
				next := s.Next(now)
				if got := next.UTC().Format(layout); got != want {
					t.Fatalf("occurrence %d of %q (%s) after %s is %s, want %s", i, c.value, c.zone, now.Format(layout), got, want)
				}
				now = next
			}
		})
	}
}

func TestNextInterval(t *testing.T) {
	t.Parallel()
	s := parse(t, Interval, "300", "Europe/Berlin")
	now := at(t, "2026-11-21T10:10:33Z")
	if got, want := s.Next(now), now.Add(5*time.Minute); !got.Equal(want) {
		t.Errorf("Next = %s, want %s", got, want)
	}
}

func TestNothingIsDueWithoutASchedule(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]Schedule{"zero": {}, "none": parse(t, None, "", "")} {
		if got := s.Next(reference); !got.IsZero() || s.Expects() || s.DefaultMargin() != 0 || s.Period() != 0 {
			t.Errorf("%s: Next = %s, Expects = %v, margin %s", name, got, s.Expects(), s.DefaultMargin())
		}
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	f := func(kind, value, zone, want string) {
		t.Helper()
		_, err := Parse(kind, value, zone)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Parse(%q, %q, %q) = %v, want an error with %q", kind, value, zone, err, want)
		}
	}
	f("", "", "", "unknown kind")
	f("weekly", "1", "", "unknown kind")
	f(None, "5", "", "no value")
	f(Crontab, "", "", "five fields")
	f(Crontab, "* * * *", "", "five fields")
	f(Crontab, "0 * * * * *", "", "five fields")
	f(Crontab, "@reboot", "", "unknown cron tag")
	f(Crontab, "@everysecond", "", "unknown cron tag")
	f(Crontab, "60 * * * *", "", "minute \"")
	f(Crontab, "1,99 * * * *", "", "minute \"")
	f(Crontab, "1,,2 * * * *", "", "minute \"")
	f(Crontab, "*/0 * * * *", "", "minute \"")
	f(Crontab, "-5 * * * *", "", "minute \"")
	f(Crontab, "1-2-3 * * * *", "", "minute \"")
	f(Crontab, "L * * * *", "", "minute \"")
	f(Crontab, "0 24 * * *", "", "hour \"")
	f(Crontab, "0 22-2 * * *", "", "hour \"")
	f(Crontab, "0 0 0 * *", "", "day of the month \"")
	f(Crontab, "0 0 32 * *", "", "day of the month \"")
	f(Crontab, "0 0 99W * *", "", "day of the month \"")
	f(Crontab, "0 0 LW * *", "", "day of the month \"")
	f(Crontab, "0 0 1 13 *", "", "month \"")
	f(Crontab, "0 0 * * 8", "", "day of the week \"")
	f(Crontab, "0 0 * * 1#6", "", "day of the week \"")
	f(Crontab, "0 0 * * monday", "", "day of the week \"")
	f(Crontab, "0 0 31 2 *", "", "never due")
	f(Crontab, "0 0 31 4,6,9,11 *", "", "never due")
	f(Crontab, "0 0 30 2 *", "Europe/Berlin", "never due")
	f(Crontab, strings.Repeat("1,", 200)+"1 * * * *", "", "at most")
	f(Crontab, "* * * * *", "Mars/Olympus", "unknown time zone")
	f(Crontab, "* * * * *", "Local", "unknown time zone")
	f(Crontab, "* * * * *", "../etc/passwd", "unknown time zone")
	f(Interval, "", "", "number of seconds")
	f(Interval, "5m", "", "number of seconds")
	f(Interval, "0", "", "not between")
	f(Interval, "-60", "", "not between")
	f(Interval, "99999999999", "", "not between")
	f(Interval, "60", "Nowhere/Else", "unknown time zone")
}

func TestWords(t *testing.T) {
	t.Parallel()
	f := func(kind, value, zone, want string) {
		t.Helper()
		if got := Words(kind, value, zone); got != want {
			t.Errorf("Words(%q, %q, %q) = %q, want %q", kind, value, zone, got, want)
		}
	}
	f(None, "", "", "no schedule")
	f(Interval, "300", "Europe/Berlin", "every 5 minutes")
	f(Interval, "60", "", "every minute")
	f(Interval, "90", "", "every 90 seconds")
	f(Interval, "3600", "", "every hour")
	f(Interval, "5400", "", "every 90 minutes")
	f(Interval, "86400", "", "every day")
	f(Interval, "1209600", "", "every 2 weeks")
	f(Interval, "soon", "", "interval soon")
	f(Crontab, "30 2 * * *", "Europe/Berlin", "every day at 02:30 (Europe/Berlin)")
	f(Crontab, "30 2 * * *", "", "every day at 02:30 (UTC)")
	f(Crontab, "0 9,17 * * *", "UTC", "every day at 09:00 and 17:00 (UTC)")
	f(Crontab, "0 6,12,18 * * *", "UTC", "every day at 06:00, 12:00 and 18:00 (UTC)")
	f(Crontab, "* * * * *", "UTC", "every minute")
	f(Crontab, "*/5 * * * *", "Europe/Berlin", "every 5 minutes")
	f(Crontab, "*/7 * * * *", "UTC", "cron */7 * * * * (UTC)")
	f(Crontab, "0 * * * *", "UTC", "every hour")
	f(Crontab, "@hourly", "UTC", "every hour")
	f(Crontab, "15 * * * *", "UTC", "every hour at minute 15")
	f(Crontab, "0 */6 * * *", "UTC", "every 6 hours (UTC)")
	f(Crontab, "20 */6 * * *", "UTC", "every 6 hours at minute 20 (UTC)")
	f(Crontab, "@daily", "Europe/Berlin", "every day at 00:00 (Europe/Berlin)")
	f(Crontab, "0 4 * * 1", "UTC", "every Monday at 04:00 (UTC)")
	f(Crontab, "0 4 * * 7", "UTC", "every Sunday at 04:00 (UTC)")
	f(Crontab, "0 4 * * MON-FRI", "UTC", "every weekday at 04:00 (UTC)")
	f(Crontab, "0 4 1 * *", "UTC", "on day 1 of every month at 04:00 (UTC)")
	f(Crontab, "0 4 L * *", "UTC", "on the last day of every month at 04:00 (UTC)")
	f(Crontab, "0 0 1 1 *", "UTC", "every year on 1 January at 00:00 (UTC)")
	f(Crontab, "5 4 * * 1,3", "", "cron 5 4 * * 1,3 (UTC)")
	f(Crontab, "0 0 13 * 5", "UTC", "cron 0 0 13 * 5 (UTC)")
	f(Crontab, "*/5 9-17 * * *", "UTC", "cron */5 9-17 * * * (UTC)")
	f(Crontab, "nonsense", "UTC", "cron nonsense (UTC)")
	f("", "", "", "")
}

func TestDefaultMargin(t *testing.T) {
	t.Parallel()
	f := func(kind, value string, want time.Duration) {
		t.Helper()
		if got := parse(t, kind, value, "").DefaultMargin(); got != want {
			t.Errorf("default margin of %q is %s, want %s", value, got, want)
		}
	}
	f(Interval, "60", time.Minute)
	f(Interval, "600", time.Minute)
	f(Interval, "3600", 6*time.Minute)
	f(Interval, "86400", 30*time.Minute)
	f(Crontab, "* * * * *", time.Minute)
	f(Crontab, "*/30 * * * *", 3*time.Minute)
	f(Crontab, "0 3 * * *", 30*time.Minute)
	f(Crontab, "0,20 3 * * *", 2*time.Minute)
	f(Crontab, "0 0 29 2 *", 30*time.Minute)
}

func TestExtraMargin(t *testing.T) {
	t.Parallel()
	f := func(kind, value, slot string, want time.Duration) {
		t.Helper()
		if got := parse(t, kind, value, "Europe/Berlin").ExtraMargin(at(t, slot)); got != want {
			t.Errorf("extra margin of %q at %s is %s, want %s", value, slot, got, want)
		}
	}
	f(Crontab, "30 2 * * *", "2026-03-29T01:00:00Z", time.Hour)
	f(Crontab, "30 2 * * *", "2026-10-25T00:30:00Z", time.Hour)
	f(Crontab, "30 2 * * *", "2026-03-28T01:30:00Z", 0)
	f(Crontab, "0 18 * * *", "2026-03-29T16:00:00Z", 0)
	f(Crontab, "0 * * * *", "2026-03-29T01:00:00Z", 0)
	f(Interval, "3600", "2026-03-29T01:00:00Z", 0)
}

// zones have changes of an hour and of half an hour, north and south of the equator, and none.
var zones = []string{"UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Santiago", "Asia/Kathmandu", "Pacific/Apia", "Africa/Casablanca"}

// expression draws a valid cron expression, not always one with an occurrence.
func expression() *rapid.Generator[string] {
	number := func(low, high int) *rapid.Generator[string] {
		return rapid.Custom(func(t *rapid.T) string { return fmt.Sprint(rapid.IntRange(low, high).Draw(t, "number")) })
	}
	spread := func(low, high int) *rapid.Generator[string] {
		return rapid.Custom(func(t *rapid.T) string {
			a := rapid.IntRange(low, high).Draw(t, "from")
			b := rapid.IntRange(a, high).Draw(t, "to")
			return fmt.Sprintf("%d-%d", a, b)
		})
	}
	stepped := func(low, high int) *rapid.Generator[string] {
		return rapid.Custom(func(t *rapid.T) string {
			whole := rapid.OneOf(rapid.Just("*"), spread(low, high)).Draw(t, "whole")
			return fmt.Sprintf("%s/%d", whole, rapid.IntRange(1, 30).Draw(t, "step"))
		})
	}
	field := func(low, high int, more ...string) *rapid.Generator[string] {
		parts := []*rapid.Generator[string]{rapid.Just("*"), number(low, high), number(low, high), spread(low, high), stepped(low, high)}
		if len(more) > 0 {
			parts = append(parts, rapid.SampledFrom(more))
		}
		return rapid.Custom(func(t *rapid.T) string {
			return strings.Join(rapid.SliceOfN(rapid.OneOf(parts...), 1, 2).Draw(t, "parts"), ",")
		})
	}
	return rapid.Custom(func(t *rapid.T) string {
		return strings.Join([]string{
			field(0, 59).Draw(t, "minute"), field(0, 23).Draw(t, "hour"), field(1, 31, "L", "1W", "15W").Draw(t, "day"),
			field(1, 12).Draw(t, "month"), field(0, 7, "5L", "1#1", "7#5").Draw(t, "weekday"),
		}, " ")
	})
}

func TestNextIsLaterAndMonotone(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := expression().Draw(t, "expression")
		s, err := Parse(Crontab, text, rapid.SampledFrom(zones).Draw(t, "zone"))
		if err != nil {
			if !strings.Contains(err.Error(), "never due") {
				t.Fatalf("Parse(%q): %v", text, err)
			}
			return
		}
		first := time.Unix(rapid.Int64Range(1262304000, 2208988800).Draw(t, "after"), rapid.Int64Range(0, 999_999_999).Draw(t, "nanoseconds"))
		second := first.Add(time.Duration(rapid.Int64Range(0, int64(72*time.Hour)).Draw(t, "later")))
		a, b := s.Next(first), s.Next(second)
		if !a.After(first) || !b.After(second) {
			t.Fatalf("%q: Next(%s) = %s, Next(%s) = %s", text, first, a, second, b)
		}
		if b.Before(a) {
			t.Fatalf("%q: Next(%s) = %s is after Next(%s) = %s", text, first, a, second, b)
		}
		if a.After(second) && !a.Equal(b) {
			t.Fatalf("%q: nothing is due before %s, yet Next(%s) = %s", text, a, second, b)
		}
	})
}

// TestNextAgreesWithEachMinute holds the search against asking gronx about every minute, in UTC.
func TestNextAgreesWithEachMinute(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := expression().Draw(t, "expression")
		s, err := Parse(Crontab, text, "UTC")
		if err != nil {
			return
		}
		segments, err := gronx.Segments(text)
		if err != nil {
			t.Fatalf("Segments(%q): %v", text, err)
		}
		after := time.Unix(rapid.Int64Range(1262304000, 2208988800).Draw(t, "after"), 0).UTC()
		next := s.Next(after)
		checker := gronx.New()
		const minutes = 2000
		for minute := 1; minute <= minutes; minute++ {
			at := after.Truncate(time.Minute).Add(time.Duration(minute) * time.Minute)
			checker.C.SetRef(at)
			due, err := checker.SegmentsDue(segments)
			if err != nil {
				t.Fatalf("SegmentsDue(%q): %v", text, err)
			}
			if due != at.Equal(next) {
				t.Fatalf("%q after %s: Next = %s, but due at %s is %v", text, after, next, at, due)
			}
			if due {
				return
			}
		}
		if !next.After(after.Add((minutes - 1) * time.Minute)) {
			t.Fatalf("%q after %s: Next = %s, which gronx does not know", text, after, next)
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"* * * * *", "*/5 1-3 L 1,2 5#2", "@daily", "0 0 31 2 *", "0 0 29 2 */7", "? ? ? ? ?", "1/2 3-4/5 15W JAN MON", "86400"} {
		f.Add(Crontab, seed, "Europe/Berlin")
		f.Add(Interval, seed, "")
	}
	f.Fuzz(func(t *testing.T, kind, value, zone string) {
		words := Words(kind, value, zone)
		s, err := Parse(kind, value, zone)
		if err != nil {
			return
		}
		if words == "" {
			t.Errorf("no words for %q %q", kind, value)
		}
		now := reference.Add(time.Duration(rand.Int64N(int64(1000 * time.Hour))))
		if next := s.Next(now); s.Expects() && !next.After(now) {
			t.Errorf("%q %q: Next(%s) = %s", kind, value, now, next)
		}
	})
}

func BenchmarkNext(b *testing.B) {
	s := parse(b, Crontab, "30 2 * * 1-5", "Europe/Berlin")
	for b.Loop() {
		s.Next(reference)
	}
}

func BenchmarkParse(b *testing.B) {
	for b.Loop() {
		if _, err := Parse(Crontab, "30 2 * * 1-5", "Europe/Berlin"); err != nil {
			b.Fatal(err)
		}
	}
}
