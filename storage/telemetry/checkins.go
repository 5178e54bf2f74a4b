package telemetry

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/midwatch/midwatch/proto/telemetrypb"
)

// Checkin is one run of a job: its start and its end where both are known, else one check-in.
type Checkin struct {
	ID    string // 32 hexadecimal digits; of the check-in that ended the run, else of its start
	RunID string // 32 hexadecimal digits or empty
	Slug  string
	// Time is when the run ended, or when it began where it has not.
	Time time.Time
	// StartedAt is when the run began; zero where that is not known.
	StartedAt time.Time
	Status    string // in_progress, ok, error or log
	// Duration is what the sender told, else the time from start to end.
	Duration    time.Duration
	HasDuration bool
	ExitCode    int
	HasExitCode bool
	Environment string
	Release     string
	Source      string // ping or sentry
	Message     string
}

// Limits of check-ins' reads.
const (
	maxRuns           = 10_000
	maxRunsPerMonitor = 1000
	maxMonitors       = 1000     // whose runs are read at once
	briefBytes        = 256      // of a message in RecentCheckins
	messageBytes      = 48 << 20 // of all messages in Checkins, below readResultBytes

	// runReach is how long before a scope the start of a run that ended in it is looked for.
	runReach = 24 * time.Hour
)

const checkinColumns = `slug, ts, status, checkin_id, run_id, environment, release, duration_ms, exit_code, source, `

// Checkins returns the newest runs of a monitor, newest first. Messages of 100 kB are whole up to a
// limit of 120 runs; of more, long ones have their beginning.
func (s *Store) Checkins(ctx context.Context, sc Scope, slug string, limit int) ([]Checkin, error) {
	if limit < 1 || limit > maxRuns {
		return nil, invalid("the limit must be between 1 and %d", maxRuns)
	}
	const sql = `SELECT ` + checkinColumns + `substring(body, 1, {message:UInt32}) FROM checkins
WHERE ` + inScope + ` AND slug = {slug:String} ORDER BY ts DESC, checkin_id DESC, status DESC LIMIT {rows:UInt32}`
	var rows []checkinRow
	p := params{"slug": slug, "rows": rowsOfRuns(limit), "message": messageBytes / rowsOfRuns(limit)}
	err := s.checkinRows(ctx, sc, sql, p, func(r checkinRow) {
		r.Message = wholeRunes(r.Message)
		rows = append(rows, r)
	})
	if err != nil {
		return nil, err
	}
	runs := foldRuns(rows, sc)
	slices.Reverse(runs)
	return runs[:min(len(runs), limit)], nil
}

// RecentCheckins returns the newest runs of each monitor by slug, oldest first, perMonitor at most.
// Of messages it has the beginning, and of more than 1000 monitors those that reported last.
func (s *Store) RecentCheckins(ctx context.Context, sc Scope, perMonitor int) (map[string][]Checkin, error) {
	if perMonitor < 1 || perMonitor > maxRunsPerMonitor {
		return nil, invalid("the limit must be between 1 and %d", maxRunsPerMonitor)
	}
	// The rows are not held: those of one monitor are folded before the next one's come. So the
	// result may have more bytes than that of other reads: 256 MiB.
	const sql = `SELECT ` + checkinColumns + `substring(body, 1, {brief:UInt32}) FROM checkins
WHERE ` + inScope + ` AND slug IN (
	SELECT slug FROM checkins WHERE ` + inScope + ` GROUP BY slug ORDER BY max(ts) DESC, slug LIMIT {monitors:UInt32})
ORDER BY slug DESC, ts DESC, checkin_id DESC, status DESC LIMIT {rows:UInt32} BY slug
SETTINGS max_result_bytes = 268435456`
	var (
		recent = make(map[string][]Checkin)
		rows   []checkinRow // of one monitor
	)
	fold := func() {
		if runs := foldRuns(rows, sc); len(runs) > 0 {
			recent[rows[0].Slug] = slices.Clone(runs[max(0, len(runs)-perMonitor):])
		}
		clear(rows)
		rows = rows[:0]
	}
	p := params{"rows": rowsOfRuns(perMonitor), "monitors": maxMonitors, "brief": briefBytes}
	err := s.checkinRows(ctx, sc, sql, p, func(r checkinRow) {
		if len(rows) > 0 && rows[0].Slug != r.Slug {
			fold()
		}
		r.Message = wholeRunes(r.Message)
		rows = append(rows, r)
	})
	if err != nil {
		return nil, err
	}
	fold()
	return recent, nil
}

// wholeRunes drops the beginning of a character that the end of s cuts.
func wholeRunes(s string) string {
	for i := len(s) - 1; i >= 0 && i >= len(s)-utf8.UTFMax; i-- {
		if utf8.RuneStart(s[i]) {
			if !utf8.FullRuneInString(s[i:]) {
				return s[:i]
			}
			break
		}
	}
	return s
}

// rowsOfRuns is how many check-ins are read to find so many runs: a start and an end of each, and
// some repetitions.
func rowsOfRuns(runs int) int { return 4*runs + 20 }

// checkinRow is one check-in as it was stored.
type checkinRow struct {
	Checkin
	status telemetrypb.CheckinStatus
	run    string // raw; empty where there is none
	told   time.Duration
}

// checkinRows reads check-ins, newest first for each slug, and hands on each.
func (s *Store) checkinRows(ctx context.Context, sc Scope, sql string, extra params, each func(checkinRow)) error {
	if err := sc.check(); err != nil {
		return err
	}
	wider := sc
	wider.from = clampTime(sc.from.Add(-runReach))
	p := wider.scoped()
	maps.Copy(p, extra)
	return s.query(ctx, sc, "read check-ins", sql, p, func(rows driver.Rows) error {
		var (
			r       checkinRow
			status  uint8
			checkin string
			told    uint64
			exit    int64
		)
		if err := rows.Scan(&r.Slug, &r.Time, &status, &checkin, &r.run, &r.Environment, &r.Release, &told, &exit, &r.Source, &r.Message); err != nil {
			return err
		}
		r.ID, r.RunID = fullHexID(checkin), hexID(r.run)
		if r.RunID == "" {
			r.run = ""
		}
		r.status = telemetrypb.CheckinStatus(status)
		r.Status = statusName(r.status)
		r.told = time.Duration(told) * time.Millisecond
		r.Duration, r.HasDuration = r.told, told > 0
		if exit != noExitCode {
			r.ExitCode, r.HasExitCode = int(exit), true
		}
		each(r)
		return nil
	})
}

func statusName(s telemetrypb.CheckinStatus) string {
	switch s {
	case telemetrypb.CheckinStatus_CHECKIN_STATUS_IN_PROGRESS:
		return "in_progress"
	case telemetrypb.CheckinStatus_CHECKIN_STATUS_OK:
		return "ok"
	case telemetrypb.CheckinStatus_CHECKIN_STATUS_ERROR:
		return "error"
	}
	return "log"
}

func startsFirst(r checkinRow) int {
	if r.status == telemetrypb.CheckinStatus_CHECKIN_STATUS_IN_PROGRESS {
		return 0
	}
	return 1
}

// foldRuns puts the check-ins of one monitor, newest first, together to runs, oldest first, and
// keeps those whose time is in the scope.
//
// A start and the first end after it that have the same run id are one run. Further starts of a
// run that has begun say that it goes on. Where the sender names no run, a start belongs to the next
// end, and a further start is another run. Notes stand for themselves.
func foldRuns(rows []checkinRow, sc Scope) []Checkin {
	var (
		runs []Checkin
		open = make(map[string]int) // index into runs by run id and environment
		seen = make(map[string]bool)
	)
	// A start and an end of the same millisecond: nothing ends before it began.
	ordered := slices.Clone(rows)
	slices.Reverse(ordered)
	slices.SortStableFunc(ordered, func(a, b checkinRow) int {
		return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(startsFirst(a), startsFirst(b)))
	})
	for _, r := range ordered {
		// The same check-in may be stored twice for a while.
		identity := strings.Join([]string{r.ID, r.Time.Format(time.RFC3339Nano), r.Status}, " ")
		if seen[identity] {
			continue
		}
		seen[identity] = true

		key := r.run + "\x00" + r.Environment
		started, isOpen := open[key]
		switch r.status {
		case telemetrypb.CheckinStatus_CHECKIN_STATUS_IN_PROGRESS:
			if isOpen && r.run != "" {
				continue
			}
			r.StartedAt = r.Time
			open[key] = len(runs)
			runs = append(runs, r.Checkin)
		case telemetrypb.CheckinStatus_CHECKIN_STATUS_OK, telemetrypb.CheckinStatus_CHECKIN_STATUS_ERROR:
			if isOpen {
				start := runs[started]
				delete(open, key)
				r.StartedAt = start.Time
				if !r.HasDuration {
					r.Duration, r.HasDuration = r.Time.Sub(start.Time), true
				}
				r.Release = cmp.Or(r.Release, start.Release)
				runs[started] = r.Checkin
				continue
			}
			if r.HasDuration {
				r.StartedAt = r.Time.Add(-r.Duration)
			}
			runs = append(runs, r.Checkin)
		default:
			runs = append(runs, r.Checkin)
		}
	}
	runs = slices.DeleteFunc(runs, func(c Checkin) bool { return c.Time.Before(sc.from) || !c.Time.Before(sc.to) })
	slices.SortStableFunc(runs, func(a, b Checkin) int { return a.Time.Compare(b.Time) })
	if runs == nil {
		runs = []Checkin{}
	}
	return runs
}
