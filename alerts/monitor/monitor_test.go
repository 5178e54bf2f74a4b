package monitor

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/midwatch/midwatch/alerts/schedule"
	"github.com/midwatch/midwatch/proto/telemetrypb"
)

// start is a full hour in UTC, so that "*/10 * * * *" is due at 10:00 (minutes and seconds), 20:00
// and so on after it.
var start = time.Date(2026, time.November, 21, 0, 0, 0, 0, time.UTC)

func parse(t testing.TB, kind, value, zone string) schedule.Schedule {
	t.Helper()
	s, err := schedule.Parse(kind, value, zone)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// tenMinutes is what the vectors of the design assume.
func tenMinutes(t testing.TB, failAfter, recoverAfter int) Config {
	t.Helper()
	return Config{
		Schedule: parse(t, schedule.Crontab, "*/10 * * * *", ""),
		Margin:   2 * time.Minute, MaxRuntime: 5 * time.Minute,
		FailAfter: failAfter, RecoverAfter: recoverAfter,
	}
}

// clock reads "minutes:seconds" or "hours:minutes:seconds" after start.
func clock(t testing.TB, text string) time.Time {
	t.Helper()
	var h, m, s int
	format, parts := "%d:%d", []any{&m, &s}
	if strings.Count(text, ":") == 2 {
		format, parts = "%d:%d:%d", []any{&h, &m, &s}
	}
	if _, err := fmt.Sscanf(text, format, parts...); err != nil {
		t.Fatalf("%q is no time: %v", text, err)
	}
	return start.Add(time.Duration(h)*time.Hour + time.Duration(m)*time.Minute + time.Duration(s)*time.Second)
}

func clockText(at time.Time) string {
	d := at.Sub(start)
	if d >= time.Hour {
		return fmt.Sprintf("%d:%02d:%02d", int(d.Hours()), int(d.Minutes())%60, int(d.Seconds())%60)
	}
	return fmt.Sprintf("%02d:%02d", int(d.Minutes()), int(d.Seconds())%60)
}

// named makes the id of a run from its number.
func named(n string) []byte {
	if n == "" {
		return nil
	}
	id := make([]byte, 16)
	copy(id[16-len(n):], n)
	return id
}

// checkin reads "ok 10:20", "start#1 10:05", "fail#2 11:00"; the time may be followed by the time
// of arrival ("ok 10:20 12:00").
func checkin(t testing.TB, text string) (*telemetrypb.Checkin, time.Time) {
	t.Helper()
	f := strings.Fields(text)
	kind, run, _ := strings.Cut(f[0], "#")
	status := map[string]telemetrypb.CheckinStatus{
		"ok":    telemetrypb.CheckinStatus_CHECKIN_STATUS_OK,
		"fail":  telemetrypb.CheckinStatus_CHECKIN_STATUS_ERROR,
		"start": telemetrypb.CheckinStatus_CHECKIN_STATUS_IN_PROGRESS,
		"log":   telemetrypb.CheckinStatus_CHECKIN_STATUS_LOG,
	}[kind]
	if status == 0 {
		t.Fatalf("unknown check-in %q", text)
	}
	at := clock(t, f[1])
	received := at
	if len(f) == 3 {
		received = clock(t, f[2])
	}
	c := &telemetrypb.Checkin{Slug: "job", Status: status, Time: uint64(at.UnixNano()), ReceivedAt: uint64(received.UnixNano()), RunId: named(run)}
	return c, received
}

// play sends the check-ins at their times with a tick whenever one is due, until end. It returns
// the state and the statuses with the time of each.
func play(t testing.TB, cfg Config, s State, checkins []string, end string) (State, string) {
	t.Helper()
	return playTo(t, cfg, s, checkins, end, func(State) {})
}

// playTo is play before an audience.
func playTo(t testing.TB, cfg Config, s State, checkins []string, end string, audience func(State)) (State, string) {
	t.Helper()
	var seen []string
	see := func(next State) {
		audience(next)
		if next.Status != s.Status {
			seen = append(seen, clockText(next.Since)+" "+string(next.Status))
		}
		s = next
	}
	ticks := func(until time.Time) {
		for range 10_000 {
			if s.DueAt.IsZero() || s.DueAt.After(until) {
				return
			}
			due := s.DueAt
			see(Tick(cfg, s, due))
			if s.DueAt.Equal(due) {
				t.Fatalf("Tick at %s leaves it due", clockText(due))
			}
		}
		t.Fatal("ticks without end")
	}
	for _, text := range checkins {
		c, received := checkin(t, text)
		ticks(received.Add(-1))
		see(Apply(cfg, s, c, received))
	}
	ticks(clock(t, end))
	return s, strings.Join(seen, ", ")
}

// alerts reads what a person is told out of a life: when the monitor broke and why, and when it
// recovered. Everything else is only shown.
type alerts struct {
	cfg    Config
	broken bool
	told   []string
}

func (a *alerts) see(s State) {
	broken := s.Status == Failed || s.Status == Missed
	switch {
	case broken && !a.broken:
		a.told = append(a.told, clockText(s.Since)+" "+Cause(a.cfg, s))
	case !broken && a.broken:
		a.told = append(a.told, clockText(s.Since)+" resolved")
	}
	a.broken = broken
}

// TestVectors are the vectors of the design for scheduled jobs. A monitor is silent until its first
// check-in, so where a vector begins with an absence, one run on time stands before it.
func TestVectors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		id                      string
		checkins                string
		failAfter, recoverAfter int
		end                     string
		shown, told             string
	}{
		{"C1", "ok 10:20, ok 20:30", 1, 1, "21:59", "10:20 ok, 20:00 late, 20:30 ok", ""},
		{
			"C2", "ok 10:20, ok 30:30", 1, 1, "31:00",
			"10:20 ok, 20:00 late, 22:00 missed, 30:30 ok", "22:00 missed, expected 2026-11-21T00:20:00Z; 30:30 resolved",
		},
		{"C3", "ok 00:10, ok 11:50", 1, 1, "12:00", "00:10 ok, 10:00 late, 11:50 ok", ""},
		{
			"C4", "fail 10:10, fail 20:10, ok 30:10, ok 40:10", 2, 2, "41:00",
			"10:10 ok, 20:00 late, 20:10 failed, 40:10 ok", "20:10 failed; 40:10 resolved",
		},
		{"C5", "fail 10:10, ok 20:10", 2, 1, "21:00", "10:10 ok, 20:00 late, 20:10 ok", ""},
		{
			"C6", "start#1 10:05, start#2 20:05, ok#2 21:00", 1, 1, "21:30",
			"10:05 running, 15:05 failed, 21:00 ok", "15:05 running longer than 5m0s; 21:00 resolved",
		},
		{"C8", "ok 00:10, ok 09:00", 1, 1, "19:59", "00:10 ok", ""},
		{"C8 at first", "ok 09:00", 1, 1, "19:59", "09:00 ok", ""},
		{"C9", "fail 10:10", 3, 1, "12:00", "10:10 ok", ""},
		{"C9 later", "fail 10:10", 3, 1, "31:59", "10:10 ok, 20:00 late", ""},
	} {
		t.Run(c.id, func(t *testing.T) {
			t.Parallel()
			cfg := tenMinutes(t, c.failAfter, c.recoverAfter)
			told := alerts{cfg: cfg}
			_, shown := playTo(t, cfg, State{}, strings.Split(c.checkins, ", "), c.end, told.see)
			if shown != c.shown {
				t.Errorf("statuses\n got %s\nwant %s", shown, c.shown)
			}
			if got := strings.Join(told.told, "; "); got != c.told {
				t.Errorf("told\n got %s\nwant %s", got, c.told)
			}
		})
	}
	t.Run("C7", func(t *testing.T) {
		t.Parallel()
		// Nothing is read between 09:00 and 17:00, so time stands still for the monitor at 09:00. What
		// came meanwhile is applied with the time of its arrival before time goes on.
		cfg := tenMinutes(t, 1, 1)
		told := alerts{cfg: cfg}
		s, _ := playTo(t, cfg, State{}, []string{"ok 00:10"}, "09:00", told.see)
		c, received := checkin(t, "ok 10:10")
		s = Apply(cfg, s, c, received)
		told.see(s)
		s = Tick(cfg, s, clock(t, "17:00"))
		told.see(s)
		if s.Status != OK || !s.NextExpectedAt.Equal(clock(t, "20:00")) || told.told != nil {
			t.Errorf("after the stall: %s, expected at %s, told %q", s.Status, clockText(s.NextExpectedAt), told.told)
		}
	})
	cfg := Config{Schedule: parse(t, schedule.Crontab, "30 2 * * *", "Europe/Berlin"), Margin: 2 * time.Minute}
	at := func(text string) time.Time {
		v, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	ok := func(s State, text string) State {
		return Apply(cfg, s, &telemetrypb.Checkin{Status: telemetrypb.CheckinStatus_CHECKIN_STATUS_OK, Time: uint64(at(text).UnixNano())}, at(text))
	}
	t.Run("C10", func(t *testing.T) {
		t.Parallel()
		s := ok(State{}, "2026-03-28T01:30:10Z")
		if want := at("2026-03-29T01:00:00Z"); !s.NextExpectedAt.Equal(want) {
			t.Fatalf("expected at %s, want %s", s.NextExpectedAt, want)
		}
		// The margin is 62 minutes in this night.
		if got := Tick(cfg, s, at("2026-03-29T02:01:59Z")).Status; got != Late {
			t.Errorf("status before the end of the margin is %s, want late", got)
		}
		missed := Tick(cfg, s, at("2026-03-29T02:02:00Z"))
		if got := Cause(cfg, missed); missed.Status != Missed || got != "missed, expected 2026-03-29T01:00:00Z" {
			t.Errorf("status at the end of the margin is %s (%s), want missed", missed.Status, got)
		}
		s = ok(s, "2026-03-29T01:00:20Z")
		if want := at("2026-03-30T00:30:00Z"); s.Status != OK || !s.NextExpectedAt.Equal(want) {
			t.Errorf("after the run: %s, expected at %s, want ok and %s", s.Status, s.NextExpectedAt, want)
		}
	})
	t.Run("C11", func(t *testing.T) {
		t.Parallel()
		s := ok(State{}, "2026-10-24T00:30:10Z")
		if want := at("2026-10-25T00:30:00Z"); !s.NextExpectedAt.Equal(want) {
			t.Fatalf("expected at %s, want %s", s.NextExpectedAt, want)
		}
		for _, run := range []string{"2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"} {
			s = ok(s, run)
			if want := at("2026-10-26T01:30:00Z"); s.Status != OK || !s.NextExpectedAt.Equal(want) {
				t.Errorf("after the run of %s: %s, expected at %s, want ok and %s", run, s.Status, s.NextExpectedAt, want)
			}
		}
	})
}

func TestThresholdsByReason(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name                 string
		failAfter, missAfter int
		checkins, end, want  string
	}{
		{"absence counts at once, failures do not", 2, 1, "fail 10:10", "22:00", "10:10 ok, 20:00 late, 22:00 missed"},
		{"the second failure counts", 2, 1, "fail 10:10, fail 20:10", "21:00", "10:10 ok, 20:00 late, 20:10 failed"},
		{"a failure counts at once, absences do not", 1, 3, "ok 10:10", "33:00", "10:10 ok, 20:00 late"},
		{"the third absence counts", 1, 3, "ok 10:10", "42:00", "10:10 ok, 20:00 late, 42:00 missed"},
		{"a failure after an absence counts", 1, 3, "ok 10:10, fail 25:00", "26:00", "10:10 ok, 20:00 late, 25:00 failed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cfg := tenMinutes(t, c.failAfter, 1)
			cfg.MissAfter = c.missAfter
			if _, got := play(t, cfg, State{}, strings.Split(c.checkins, ", "), c.end); got != c.want {
				t.Errorf("statuses\n got %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestStatuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name                    string
		checkins                string
		failAfter, recoverAfter int
		end, want               string
	}{
		{"silent before the first check-in", "", 1, 1, "50:00", ""},
		{"a note changes nothing", "log 10:10", 1, 1, "50:00", ""},
		{"a note does not end a run", "start#1 10:05, log#1 10:20", 1, 1, "15:05", "10:05 running, 15:05 failed"},
		{"failure and recovery", "fail 10:10, ok 20:00", 1, 1, "20:00", "10:10 failed, 20:00 ok"},
		{"missed twice is still missed", "ok 10:10", 1, 1, "45:00", "10:10 ok, 20:00 late, 22:00 missed"},
		{"missed once of two", "ok 10:10, ok 30:10", 2, 1, "31:00", "10:10 ok, 20:00 late, 30:10 ok"},
		{"missed twice of two", "ok 10:10", 2, 1, "33:00", "10:10 ok, 20:00 late, 32:00 missed"},
		{"missed, then failed", "ok 10:10, fail 25:00", 1, 1, "26:00", "10:10 ok, 20:00 late, 22:00 missed, 25:00 failed"},
		{
			"a failure between resets the recovery", "fail 10:10, ok 20:00, fail 30:00, ok 40:00, ok 50:00", 1, 2, "50:30",
			"10:10 failed, 50:00 ok",
		},
		{"a start does not heal", "fail 10:10, start#1 20:00, ok#1 21:00", 1, 1, "21:30", "10:10 failed, 21:00 ok"},
		{"on the last moment of the margin", "ok 10:10, ok 22:00", 1, 1, "22:30", "10:10 ok, 20:00 late, 22:00 ok"},
		{"end on the last moment", "start#1 10:00, ok#1 15:00", 1, 1, "15:30", "10:00 running, 15:00 ok"},
		{"one more between two", "ok 10:10, ok 13:00, ok 20:10", 1, 1, "21:00", "10:10 ok, 20:00 late, 20:10 ok"},
		{"a run that ends close to the next", "start#1 10:00, ok#1 14:59", 1, 1, "22:00", "10:00 running, 14:59 ok, 20:00 late, 22:00 missed"},
		{"the end in front of the start", "ok#1 10:20, start#1 10:05", 1, 1, "19:59", "10:20 ok"},
		{"the end in front of the start, arriving so", "ok#1 10:06 10:06, start#1 10:05 10:07", 1, 1, "19:59", "10:06 ok"},
		{"the same without names", "ok 10:06 10:06, start 10:05 10:07", 1, 1, "19:59", "10:06 ok"},
		{"zeros name no run", "start#0 10:05, ok#0 10:30", 1, 1, "19:59", "10:05 running, 10:30 ok"},
		{"an end without a name ends the run that goes on", "start#7 10:05, ok 10:30", 1, 1, "19:59", "10:05 running, 10:30 ok"},
		{"overlapping runs", "start#1 10:00, start#2 11:00, ok#2 12:00, ok#1 13:00", 1, 1, "19:59", "10:00 running, 13:00 ok"},
		{"an overlapping run hangs", "start#1 10:00, start#2 11:00, ok#2 12:00", 1, 1, "19:59", "10:00 running, 15:00 failed"},
		{"the other overlapping run hangs", "start#1 10:00, start#2 11:00, ok#1 12:00", 1, 1, "19:59", "10:00 running, 16:00 failed"},
		{"too long, but it ends well", "start#1 10:00, ok#1 16:00", 1, 1, "19:59", "10:00 running, 15:00 failed, 16:00 ok"},
		{"told twice", "fail#1 10:10, fail#1 10:10", 2, 1, "19:59", "10:10 ok"},
		{"an old failure arrives late", "ok 20:10, fail 10:10 20:30", 1, 1, "21:00", "20:10 ok"},
		{"an old success arrives late", "fail 20:10, ok 10:10 20:30", 1, 1, "21:00", "20:10 failed"},
		{"from the future", "ok 40:00 10:10", 1, 1, "20:00", "10:10 ok, 20:00 late"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var checkins []string
			if c.checkins != "" {
				checkins = strings.Split(c.checkins, ", ")
			}
			_, got := play(t, tenMinutes(t, c.failAfter, c.recoverAfter), State{}, checkins, c.end)
			if got != c.want {
				t.Errorf("statuses\n got %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestInterval(t *testing.T) {
	t.Parallel()
	cfg := Config{Schedule: parse(t, schedule.Interval, "600", "")}
	s, got := play(t, cfg, State{}, []string{"start#1 10:00", "ok#1 13:00", "ok 23:30"}, "34:29")
	if want := "10:00 running, 13:00 ok, 23:00 late, 23:30 ok, 33:30 late"; got != want {
		t.Errorf("statuses\n got %s\nwant %s", got, want)
	}
	if want := clock(t, "34:30"); !s.DueAt.Equal(want) {
		t.Errorf("due at %s, want %s", clockText(s.DueAt), clockText(want))
	}
}

func TestWithoutASchedule(t *testing.T) {
	t.Parallel()
	s, got := play(t, Config{}, State{}, []string{"ok 10:00", "start#1 20:00", "fail#2 21:00", "ok#3 25:00"}, "100:00:00")
	if want := "10:00 ok, 20:00 running, 21:00 failed, 25:00 ok"; got != want {
		t.Errorf("statuses\n got %s\nwant %s", got, want)
	}
	if !s.DueAt.IsZero() || !s.NextExpectedAt.IsZero() {
		t.Errorf("due at %s, expected at %s, want never", s.DueAt, s.NextExpectedAt)
	}
}

func TestDuration(t *testing.T) {
	t.Parallel()
	cfg := tenMinutes(t, 1, 1)
	s, _ := play(t, cfg, State{}, []string{"start#1 10:00", "ok#1 12:30"}, "12:30")
	if s.LastDuration != 150*time.Second {
		t.Errorf("from the start: %s", s.LastDuration)
	}
	c, at := checkin(t, "ok#2 20:30")
	c.DurationMs = 4200
	if s = Apply(cfg, s, c, at); s.LastDuration != 4200*time.Millisecond {
		t.Errorf("as told: %s", s.LastDuration)
	}
	s, _ = play(t, cfg, State{}, []string{"ok#1 12:30 12:30", "start#1 12:00 12:31"}, "12:31")
	if s.LastDuration != 30*time.Second {
		t.Errorf("the end first: %s", s.LastDuration)
	}
}

func TestPauseAndResume(t *testing.T) {
	t.Parallel()
	cfg := tenMinutes(t, 1, 1)
	s, _ := play(t, cfg, State{}, []string{"ok 10:10"}, "11:00")
	s, got := play(t, cfg, Pause(s, clock(t, "11:00")), []string{"fail 21:00"}, "50:00")
	if got != "" || s.Status != Paused || !s.LastCheckinAt.Equal(clock(t, "21:00")) {
		t.Errorf("while paused: %q, %+v", got, s)
	}
	_, got = play(t, cfg, Resume(s, clock(t, "55:00")), []string{"ok 1:00:10"}, "1:13:00")
	if want := "1:00:10 ok, 1:10:00 late, 1:12:00 missed"; got != want {
		t.Errorf("after resuming\n got %s\nwant %s", got, want)
	}
}

func TestReschedule(t *testing.T) {
	t.Parallel()
	s, _ := play(t, tenMinutes(t, 1, 1), State{}, []string{"ok 10:10"}, "21:00")
	if s.Status != Late {
		t.Fatalf("status is %s, want late", s.Status)
	}
	daily := Config{Schedule: parse(t, schedule.Crontab, "0 3 * * *", "")}
	if got := Reschedule(daily, s, clock(t, "21:00")); got.Status != OK || !got.NextExpectedAt.Equal(clock(t, "3:00:00")) || !got.DueAt.Equal(got.NextExpectedAt) {
		t.Errorf("a rarer schedule: %+v", got)
	}
	each := Config{Schedule: parse(t, schedule.Crontab, "* * * * *", "")}
	if got := Reschedule(each, s, clock(t, "21:30")); got.Status != OK || !got.NextExpectedAt.Equal(clock(t, "22:00")) {
		t.Errorf("a denser schedule: %+v", got)
	}
	if got := Reschedule(Config{}, s, clock(t, "21:00")); got.Status != OK || !got.DueAt.IsZero() {
		t.Errorf("no schedule: %+v", got)
	}
	missed, _ := play(t, tenMinutes(t, 1, 1), State{}, []string{"ok 10:10"}, "23:00")
	if missed.Status != Missed {
		t.Fatalf("status is %s, want missed", missed.Status)
	}
	if got := Reschedule(daily, missed, clock(t, "23:30")); got.Status != OK || got.Streak != 0 || !got.Since.Equal(clock(t, "23:30")) {
		t.Errorf("what was missed is not expected any more: %+v", got)
	}
	if got := Reschedule(each, missed, clock(t, "23:30")); got.Status != Missed || !got.NextExpectedAt.Equal(clock(t, "24:00")) {
		t.Errorf("what was missed is still expected: %+v", got)
	}
	if got := Reschedule(Config{}, missed, clock(t, "23:30")); got.Status != OK {
		t.Errorf("nothing is expected any more: %+v", got)
	}
	if got := Reschedule(each, State{}, clock(t, "21:00")); !got.DueAt.IsZero() {
		t.Errorf("a new monitor: %+v", got)
	}
}

func TestALongAbsenceIsBounded(t *testing.T) {
	t.Parallel()
	cfg := Config{Schedule: parse(t, schedule.Crontab, "* * * * *", "")}
	s, _ := play(t, cfg, State{}, []string{"ok 10:00"}, "10:30")
	now := start.AddDate(3, 0, 0)
	s = Tick(cfg, s, now)
	if s.Status != Missed || !s.DueAt.After(now) || s.DueAt.Sub(now) > 2*time.Minute {
		t.Errorf("after three years: %s, due %s", s.Status, s.DueAt)
	}
}

func TestRunsAreBounded(t *testing.T) {
	t.Parallel()
	cfg := tenMinutes(t, 1, 1)
	var s State
	for i := range 100 {
		at := start.Add(time.Duration(i) * time.Second)
		id := binary.BigEndian.AppendUint64(make([]byte, 8), uint64(i+1))
		c := &telemetrypb.Checkin{Status: telemetrypb.CheckinStatus_CHECKIN_STATUS_IN_PROGRESS, Time: uint64(at.UnixNano()), RunId: id}
		s = Apply(cfg, s, c, at)
		if i%3 == 0 {
			c.Status = telemetrypb.CheckinStatus_CHECKIN_STATUS_OK
			s = Apply(cfg, s, c, at)
		}
	}
	if got := len(s.Runs); got > maxOpenRuns+maxEndedRuns {
		t.Errorf("%d runs are remembered", got)
	}
}

// history is what happens to a monitor: check-ins that arrive in order but need not have happened
// in it.
type arrival struct {
	c        *telemetrypb.Checkin
	received time.Time
}

func history() *rapid.Generator[[]arrival] {
	return rapid.Custom(func(t *rapid.T) []arrival {
		now := start
		var out []arrival
		for range rapid.IntRange(0, 40).Draw(t, "arrivals") {
			now = now.Add(time.Duration(rapid.IntRange(0, 900).Draw(t, "gap")) * time.Second)
			at := now.Add(-time.Duration(rapid.IntRange(0, 90).Draw(t, "delay")) * time.Second)
			out = append(out, arrival{&telemetrypb.Checkin{
				Status: telemetrypb.CheckinStatus(rapid.IntRange(1, 4).Draw(t, "status")),
				Time:   uint64(at.UnixNano()), RunId: named(rapid.SampledFrom([]string{"", "0", "1", "2", "3"}).Draw(t, "run")),
			}, now})
		}
		return out
	})
}

func config(t *rapid.T) Config {
	kinds := [][2]string{{schedule.None, ""}, {schedule.Interval, "300"}, {schedule.Crontab, "*/10 * * * *"}, {schedule.Crontab, "* * * * *"}, {schedule.Crontab, "7 */2 * * *"}}
	kind := rapid.SampledFrom(kinds).Draw(t, "schedule")
	s, err := schedule.Parse(kind[0], kind[1], "")
	if err != nil {
		t.Fatal(err)
	}
	return Config{
		Schedule: s, Margin: time.Duration(rapid.IntRange(0, 1200).Draw(t, "margin")) * time.Second,
		MaxRuntime: time.Duration(rapid.IntRange(0, 900).Draw(t, "runtime")) * time.Second,
		FailAfter:  rapid.IntRange(0, 3).Draw(t, "fail after"), RecoverAfter: rapid.IntRange(0, 3).Draw(t, "recover after"),
		MissAfter: rapid.IntRange(0, 3).Draw(t, "miss after"),
	}
}

// TestTicksBetweenChangeNothing: it must not matter how often the clock is looked at, since a
// restart skips ticks and a second replica adds some.
func TestTicksBetweenChangeNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		cfg := config(t)
		arrivals := history().Draw(t, "history")
		var end time.Time
		run := func(extra bool) State {
			var s State
			now := start
			for _, a := range arrivals {
				if extra && a.c.GetStatus() != telemetrypb.CheckinStatus_CHECKIN_STATUS_LOG {
					// Not beyond the time of the check-in itself: what is late in arriving may be
					// taken for missing meanwhile.
					at := time.Unix(0, int64(a.c.GetTime()))
					for now = now.Add(17 * time.Second); now.Before(at); now = now.Add(17 * time.Second) {
						s = Tick(cfg, s, now)
					}
				}
				s = Apply(cfg, s, a.c, a.received)
				end = a.received.Add(time.Hour)
			}
			return Tick(cfg, s, end)
		}
		if diff := cmp.Diff(run(false), run(true)); diff != "" {
			t.Fatalf("ticks between change the state (-without +with):\n%s", diff)
		}
	})
}

func TestStatesAreSound(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		cfg := config(t)
		var s State
		sound := func(now time.Time) {
			switch {
			case s.Status == Late && !cfg.Schedule.Expects():
				t.Fatalf("late without a schedule: %+v", s)
			case len(s.Runs) > maxOpenRuns+maxEndedRuns:
				t.Fatalf("%d runs", len(s.Runs))
			case cfg.Schedule.Expects() && s.Status != New && s.Status != "" && s.DueAt.IsZero():
				t.Fatalf("never due: %+v", s)
			case s.Since.After(now):
				t.Fatalf("%s since %s, after %s", s.Status, s.Since, now)
			}
		}
		for _, a := range history().Draw(t, "history") {
			before := fmt.Sprintf("%+v", s)
			given := s
			s = Apply(cfg, given, a.c, a.received)
			if after := fmt.Sprintf("%+v", given); after != before {
				t.Fatalf("Apply changed what it was given:\n%s\n%s", before, after)
			}
			sound(a.received)
			now := a.received.Add(time.Duration(rapid.IntRange(0, 3600).Draw(t, "wait")) * time.Second)
			ticked := Tick(cfg, s, now)
			if !ticked.DueAt.IsZero() && !ticked.DueAt.After(now) {
				t.Fatalf("due at %s after Tick at %s: %+v", ticked.DueAt, now, ticked)
			}
			if diff := cmp.Diff(ticked, Tick(cfg, ticked, now)); diff != "" {
				t.Fatalf("Tick twice is not Tick once:\n%s", diff)
			}
		}
	})
}

func BenchmarkApply(b *testing.B) {
	cfg := tenMinutes(b, 1, 1)
	first, at := checkin(b, "ok 10:10")
	s := Apply(cfg, State{}, first, at)
	c, at := checkin(b, "ok 20:10")
	b.ReportAllocs()
	for b.Loop() {
		Apply(cfg, s, c, at)
	}
}
