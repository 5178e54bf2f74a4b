// Package monitor is the life of one scheduled job as its check-ins and the passing of time make
// it. It is pure: Apply and Tick turn a state into the next one, whoever calls them and whenever,
// so that a repeated message or a restart gives the same state.
package monitor

import (
	"math"
	"slices"
	"time"

	"github.com/midwatch/midwatch/alerts/schedule"
	"github.com/midwatch/midwatch/proto/telemetrypb"
)

// Status is what a monitor's state comes to in one word.
type Status string

// The statuses.
const (
	New     Status = "new"     // nothing came yet, so nothing is expected
	OK      Status = "ok"      // the newest runs went well, or too few failed to matter
	Running Status = "running" // a run has begun and not ended
	Late    Status = "late"    // the expected time has passed
	Failed  Status = "failed"  // a run said so, or took too long
	Missed  Status = "missed"  // the margin after the expected time has passed as well
	Paused  Status = "paused"  // nobody wants to know
)

const (
	// early is how long before its expected time a run counts for it; half a period at most.
	early = 5 * time.Minute
	// maxOpenRuns and maxEndedRuns bound the memory of a monitor; the oldest are forgotten.
	maxOpenRuns  = 8
	maxEndedRuns = 8
	// maxSlots bounds how many missed runs one Tick counts one by one.
	maxSlots = 1000
)

// Config says what is expected of a job.
type Config struct {
	Schedule schedule.Schedule
	// Margin is how late a run may be before it counts as missed; 0 is the schedule's default.
	Margin time.Duration
	// MaxRuntime is how long a run may take; 0 is no limit.
	MaxRuntime time.Duration
	// FailAfter and RecoverAfter are how many bad or good runs in a row it takes; at least 1.
	FailAfter, RecoverAfter int
	// MissAfter is how many bad runs in a row it takes where the newest did not come at all; 0 is
	// FailAfter.
	MissAfter int
}

// Run is one run of the job as far as it must be remembered.
type Run struct {
	// ID is what its sender named it; zero is a run without a name.
	ID [16]byte
	// Start is when it began; zero where only its end was told.
	Start time.Time
	// End is when it ended or was given up; zero while it runs.
	End time.Time
}

// State is what a monitor knows. The zero State is that of a new monitor. States are values: Apply
// and Tick do not change the one they are given.
type State struct {
	// Status is empty or New before the first check-in. Since is when it came about.
	Status Status
	Since  time.Time
	// LastCheckinAt is the time of the newest check-in.
	LastCheckinAt time.Time
	// NextExpectedAt is when the next run is expected, before any margin; zero is never.
	NextExpectedAt time.Time
	// DueAt is when Tick has something to do unless a check-in comes before; zero is never.
	DueAt time.Time
	// LastDuration is how long the newest run took that ended; 0 is unknown.
	LastDuration time.Duration
	// Runs are those that have not ended and the newest that have, in the order of their arrival.
	Runs []Run
	// Streak counts bad runs in a row; while the status is Failed or Missed, a negative one counts
	// good runs in a row.
	Streak int
}

// Apply takes in a check-in, which received names the arrival of. Check-ins may arrive in any
// order; each is put where its own time belongs. Notes (CHECKIN_STATUS_LOG) change nothing.
func Apply(cfg Config, s State, c *telemetrypb.Checkin, received time.Time) State {
	at := checkinTime(c, received)
	switch c.GetStatus() {
	case telemetrypb.CheckinStatus_CHECKIN_STATUS_IN_PROGRESS,
		telemetrypb.CheckinStatus_CHECKIN_STATUS_OK,
		telemetrypb.CheckinStatus_CHECKIN_STATUS_ERROR:
	default:
		return s
	}
	m := machine{cfg.bounded(), s}
	m.Runs = slices.Clone(s.Runs)
	if m.Status == Paused {
		m.sawCheckin(at)
		return m.State
	}
	// What should have come before this check-in and did not comes first. What is due at this very
	// moment is not overdue: the check-in may be it.
	m.advance(at.Add(-1))
	m.forget() // as Tick would have: it must not matter whether it has been called
	m.sawCheckin(at)
	id := runID(c.GetRunId())
	if c.GetStatus() == telemetrypb.CheckinStatus_CHECKIN_STATUS_IN_PROGRESS {
		m.start(id, at)
	} else {
		took := time.Duration(min(c.GetDurationMs(), uint64(math.MaxInt64/time.Millisecond))) * time.Millisecond
		m.end(id, at, took, c.GetStatus() == telemetrypb.CheckinStatus_CHECKIN_STATUS_OK)
	}
	m.forget()
	m.DueAt = m.due()
	return m.State
}

// Tick lets time pass: what was expected until now and did not come is late or missed, and runs
// that take too long have failed. now must not be later than the time up to which all check-ins
// have been applied, or the absence of one means nothing.
func Tick(cfg Config, s State, now time.Time) State {
	m := machine{cfg.bounded(), s}
	if m.Status == Paused || m.isNew() {
		m.DueAt = time.Time{}
		return m.State
	}
	m.Runs = slices.Clone(s.Runs)
	m.advance(now)
	m.forget()
	m.DueAt = m.due()
	return m.State
}

// Reschedule is for a monitor whose config has become cfg: what is expected is worked out anew,
// from now on. A job is not blamed for what the new schedule would have expected before, nor any
// longer for having missed what the new one does not expect.
func Reschedule(cfg Config, s State, now time.Time) State {
	m := machine{cfg.bounded(), s}
	m.NextExpectedAt = time.Time{}
	if m.Status == Paused || m.isNew() {
		m.DueAt = time.Time{}
		return m.State
	}
	onTime := true // by the new schedule
	if m.cfg.Schedule.Expects() {
		m.serve(m.LastCheckinAt)
		if onTime = m.NextExpectedAt.After(now); !onTime {
			m.NextExpectedAt = m.cfg.Schedule.Next(now)
		}
	}
	switch {
	case m.Status == Late:
		m.set(m.calm(now), now)
	case m.Status == Missed && onTime:
		m.Streak = 0
		m.set(m.calm(now), now)
	}
	m.DueAt = m.due()
	return m.State
}

// Pause stops a monitor: check-ins are noted, but nothing is expected and nothing fails.
func Pause(s State, now time.Time) State {
	m := machine{State: s}
	m.set(Paused, now)
	m.Runs, m.Streak = nil, 0
	m.NextExpectedAt, m.DueAt = time.Time{}, time.Time{}
	return m.State
}

// Resume starts a paused monitor over: it is new until its next check-in.
func Resume(s State, now time.Time) State {
	if s.Status != Paused {
		return s
	}
	m := machine{State: s}
	m.set(New, now)
	return m.State
}

// Cause says in words why a monitor has just become Failed or Missed: "missed, expected
// 2026-11-21T02:30:00Z", "running longer than 5m0s" or "failed". It is empty for any other status.
func Cause(cfg Config, s State) string {
	m := machine{cfg.bounded(), s}
	switch s.Status {
	case Missed:
		slot := s.Since.Add(-m.cfg.Margin)
		// The margin is known by the slot only, and is the longer one in the night of a clock change.
		if longer := slot.Add(-time.Hour); longer.Add(m.margin(longer)).Equal(s.Since) {
			slot = longer
		}
		return "missed, expected " + slot.UTC().Format(time.RFC3339)
	case Failed:
		for _, r := range s.Runs {
			if m.cfg.MaxRuntime > 0 && r.End.Equal(s.Since) && r.Start.Add(m.cfg.MaxRuntime).Equal(r.End) {
				return "running longer than " + m.cfg.MaxRuntime.String()
			}
		}
		return "failed"
	}
	return ""
}

func (c Config) bounded() Config {
	if c.Margin <= 0 {
		c.Margin = c.Schedule.DefaultMargin()
	}
	c.MaxRuntime = max(c.MaxRuntime, 0)
	c.FailAfter = max(c.FailAfter, 1)
	if c.MissAfter <= 0 {
		c.MissAfter = c.FailAfter
	}
	c.RecoverAfter = max(c.RecoverAfter, 1)
	return c
}

// checkinTime is when it happened. A sender's clock that is ahead must not make its job look as if
// it had run in a time to come.
func checkinTime(c *telemetrypb.Checkin, received time.Time) time.Time {
	ns := c.GetTime()
	if ns == 0 || ns > math.MaxInt64 {
		return received
	}
	if at := time.Unix(0, int64(ns)).UTC(); at.Before(received) {
		return at
	}
	return received
}

// runID returns zero for what is no name: nothing, or all zeros, by which Sentry's clients mean
// "the run that is going on".
func runID(b []byte) (id [16]byte) {
	if len(b) == len(id) {
		copy(id[:], b)
	}
	return id
}

// machine is a state that is being changed.
type machine struct {
	cfg Config
	State
}

func (m *machine) isNew() bool { return m.Status == New || m.Status == "" }

func (m *machine) broken() bool { return m.Status == Failed || m.Status == Missed }

func (m *machine) set(s Status, at time.Time) {
	if m.Status != s {
		m.Status, m.Since = s, at
	}
}

func (m *machine) sawCheckin(at time.Time) {
	if at.After(m.LastCheckinAt) {
		m.LastCheckinAt = at
	}
}

// calm is the status of a monitor that is not broken.
func (m *machine) calm(now time.Time) Status {
	switch {
	case m.running():
		return Running
	case !m.NextExpectedAt.IsZero() && !m.NextExpectedAt.After(now):
		return Late
	default:
		return OK
	}
}

// running reports whether a run is believed to go on. Without a limit to its time, one that another
// run has outlived is taken for dead.
func (m *machine) running() bool {
	last := m.lastEnd()
	return slices.ContainsFunc(m.Runs, func(r Run) bool {
		return open(r) && (m.cfg.MaxRuntime > 0 || r.Start.After(last))
	})
}

func open(r Run) bool { return r.End.IsZero() }

// early is cut for short periods, in which a check-in would else count for several runs ahead.
func (m *machine) early() time.Duration { return min(early, m.cfg.Schedule.Period()/2) }

func (m *machine) margin(slot time.Time) time.Duration {
	return m.cfg.Margin + m.cfg.Schedule.ExtraMargin(slot)
}

// lastEnd is when the newest run ended.
func (m *machine) lastEnd() (end time.Time) {
	for _, r := range m.Runs {
		if r.End.After(end) {
			end = r.End
		}
	}
	return end
}

func (m *machine) find(id [16]byte) *Run {
	for i := range m.Runs {
		if m.Runs[i].ID == id {
			return &m.Runs[i]
		}
	}
	return nil
}

// newestOpen is the run that a check-in without a name means.
func (m *machine) newestOpen() *Run {
	var newest *Run
	for i := range m.Runs {
		if r := &m.Runs[i]; open(*r) && (newest == nil || !r.Start.Before(newest.Start)) {
			newest = r
		}
	}
	return newest
}

// start notes that a run began.
func (m *machine) start(id [16]byte, at time.Time) {
	var none [16]byte
	if id == none {
		if !at.After(m.lastEnd()) {
			return // the end of this run has overtaken its start
		}
		// Of runs without a name there is one at a time: the new one takes its place.
		m.Runs = slices.DeleteFunc(m.Runs, func(r Run) bool { return open(r) && r.ID == none })
	} else if known := m.find(id); known != nil {
		if known.Start.IsZero() {
			known.Start = at
			m.tookSince(*known)
		}
		return // it is running or has ended already
	}
	if m.cfg.MaxRuntime > 0 && at.Add(m.cfg.MaxRuntime).Before(m.lastEnd()) {
		return // long given up, and others have ended well or badly since
	}
	m.Runs = append(m.Runs, Run{ID: id, Start: at})
	m.serve(at)
	if !m.broken() {
		m.set(Running, at)
	}
}

// tookSince completes the duration of the newest run, whose start came after its end.
func (m *machine) tookSince(r Run) {
	if m.LastDuration == 0 && r.End.Equal(m.lastEnd()) && r.End.After(r.Start) {
		m.LastDuration = r.End.Sub(r.Start)
	}
}

// end notes how a run ended.
func (m *machine) end(id [16]byte, at time.Time, took time.Duration, good bool) {
	var none [16]byte
	newest := m.lastEnd()
	run := m.find(id)
	if id == none {
		run = m.newestOpen()
	}
	switch {
	case run == nil:
		m.Runs = append(m.Runs, Run{ID: id, End: at})
		m.serve(at)
	case open(*run):
		run.End = at
		if took == 0 && at.After(run.Start) {
			took = at.Sub(run.Start)
		}
	case !at.After(run.End):
		return // told before
	default: // given up, or told otherwise before: the newer word counts
		run.End = at
		if took == 0 && !run.Start.IsZero() {
			took = at.Sub(run.Start)
		}
	}
	if m.cfg.Schedule.Interval() {
		m.serve(at) // intervals are counted from the newest check-in
	}
	if at.Before(newest) {
		// Another run has ended since, and the status is that one's; this one only is not running.
		if !m.broken() {
			m.set(m.calm(newest), newest)
		}
		return
	}
	m.LastDuration = took
	if good {
		m.good(at)
	} else {
		m.bad(Failed, at)
	}
}

func (m *machine) good(at time.Time) {
	if m.broken() {
		m.Streak = min(m.Streak, 0) - 1
		if -m.Streak < m.cfg.RecoverAfter {
			return
		}
	}
	m.Streak = 0
	m.set(m.calm(at), at)
}

// bad counts a run that failed, took too long or did not come.
func (m *machine) bad(s Status, at time.Time) {
	m.Streak = min(max(m.Streak, 0)+1, math.MaxInt32)
	enough := m.cfg.FailAfter
	if s == Missed {
		enough = m.cfg.MissAfter
	}
	switch {
	case m.broken() || m.Streak >= enough:
		m.set(s, at)
	case s == Missed:
		m.set(Late, m.NextExpectedAt) // it still is not there, only not often enough to count
	default:
		m.set(m.calm(at), at)
	}
}

// serve moves what is expected behind the run that a check-in at this time stands for.
func (m *machine) serve(at time.Time) {
	if !m.cfg.Schedule.Expects() {
		m.NextExpectedAt = time.Time{}
		return
	}
	var next time.Time
	switch expected := m.NextExpectedAt; {
	case m.cfg.Schedule.Interval():
		next = m.cfg.Schedule.Next(at)
	case expected.IsZero():
		next = m.cfg.Schedule.Next(at.Add(m.early()))
	case at.Before(expected.Add(-m.early())):
		return // one more between two that are expected
	case at.After(expected):
		next = m.cfg.Schedule.Next(at)
	default:
		next = m.cfg.Schedule.Next(expected)
	}
	if next.After(m.NextExpectedAt) {
		m.NextExpectedAt = next
	}
}

// advance does what is due up to now, in the order of time.
func (m *machine) advance(now time.Time) {
	if m.isNew() {
		return
	}
	if !m.cfg.Schedule.Expects() {
		m.NextExpectedAt = time.Time{}
	}
	for slots := 0; ; {
		run, giveUp := m.firstToGiveUp()
		var overdue time.Time
		if !m.NextExpectedAt.IsZero() {
			overdue = m.NextExpectedAt.Add(m.margin(m.NextExpectedAt))
		}
		switch {
		case run != nil && !giveUp.After(now) && (overdue.IsZero() || !overdue.Before(giveUp)):
			run.End = giveUp
			m.LastDuration = m.cfg.MaxRuntime
			m.bad(Failed, giveUp)
		case !overdue.IsZero() && !overdue.After(now):
			m.bad(Missed, overdue)
			m.NextExpectedAt = m.cfg.Schedule.Next(m.NextExpectedAt)
			if slots++; slots > maxSlots {
				// Nobody looked for a very long time: the rest is one long absence.
				if next := m.cfg.Schedule.Next(now.Add(-m.cfg.Margin)); next.After(m.NextExpectedAt) {
					m.NextExpectedAt = next
				}
				slots = 0
			}
		default:
			if m.Status == OK && m.calm(now) == Late {
				m.set(Late, m.NextExpectedAt)
			}
			return
		}
	}
}

// firstToGiveUp is the run whose time is up first, and when.
func (m *machine) firstToGiveUp() (run *Run, at time.Time) {
	if m.cfg.MaxRuntime == 0 {
		return nil, time.Time{}
	}
	for i := range m.Runs {
		if r := &m.Runs[i]; open(*r) && (run == nil || r.Start.Before(run.Start)) {
			run, at = r, r.Start.Add(m.cfg.MaxRuntime)
		}
	}
	return run, at
}

// due is when advance has something to do next.
func (m *machine) due() time.Time {
	if m.Status == Paused || m.isNew() {
		return time.Time{}
	}
	_, at := m.firstToGiveUp()
	if expected := m.NextExpectedAt; !expected.IsZero() {
		if m.Status != OK {
			expected = expected.Add(m.margin(expected))
		}
		if at.IsZero() || expected.Before(at) {
			at = expected
		}
	}
	return at
}

// forget drops the oldest runs beyond the bounds.
func (m *machine) forget() {
	for _, kind := range []struct {
		open  bool
		limit int
	}{{true, maxOpenRuns}, {false, maxEndedRuns}} {
		extra := -kind.limit
		for _, r := range m.Runs {
			if open(r) == kind.open {
				extra++
			}
		}
		m.Runs = slices.DeleteFunc(m.Runs, func(r Run) bool {
			if open(r) != kind.open || extra <= 0 {
				return false
			}
			extra--
			return true
		})
	}
}
