package catalog

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// MaxMonitors is how many monitors a project may have. CreateMonitor keeps to it; who makes
// monitors by PutMonitor asks CountMonitors first.
const MaxMonitors = 1000

// Statuses of a monitor.
const (
	MonitorNew     = "new"
	MonitorOK      = "ok"
	MonitorRunning = "running"
	MonitorLate    = "late"
	MonitorFailed  = "failed"
	MonitorMissed  = "missed"
	MonitorPaused  = "paused"
)

// Kinds of schedules.
const (
	ScheduleNone     = "none"
	ScheduleCrontab  = "crontab"
	ScheduleInterval = "interval"
)

// Monitor watches one scheduled job. It is named by its project and slug, and by its UUID.
type Monitor struct {
	Project uint32
	Slug    string
	// UUID is part of an address that needs no key, so it is random and not told to others.
	UUID      string
	Name      string
	Schedule  Schedule
	State     MonitorState
	CreatedAt time.Time
}

// Schedule says when a job is expected and how late it may be.
type Schedule struct {
	// Kind is "none" (nothing is expected), "crontab" or "interval".
	Kind string
	// Value is a cron expression, or the seconds of an interval in decimal digits.
	Value string
	// Timezone is an IANA name; empty is UTC.
	Timezone string
	// Margin is how late a check-in may be before the job counts as missed.
	Margin time.Duration
	// MaxRuntime is how long a started job may take; 0 is no limit.
	MaxRuntime time.Duration
	// FailAfter and RecoverAfter are how many bad or good runs in a row change the status; 1 at
	// least.
	FailAfter, RecoverAfter int
	// MissAfter is how many bad runs in a row it takes where the newest did not come; 0 is FailAfter.
	MissAfter int
}

// MonitorState is what the check-ins made of a monitor. Zero times say never.
type MonitorState struct {
	// Status is one of the Monitor… constants; Since is when it came about.
	Status string
	Since  time.Time
	// LastCheckinAt is when the newest check-in came, LastStartAt when a run that has not ended began.
	LastCheckinAt, LastStartAt time.Time
	// NextExpectedAt is when the next run is expected, before any margin.
	NextExpectedAt time.Time
	// DueAt is when the state must be looked at again if nothing comes: MonitorsDue finds it by it.
	DueAt time.Time
	// LastDuration of a run that ended; 0 is unknown.
	LastDuration time.Duration
	// Runs are those that are remembered, in the words of whoever reads the check-ins. Bad counts the
	// runs in a row that speak against the status; it is negative while good ones are counted towards
	// RecoverAfter.
	Runs string
	Bad  int
}

const monitorColumns = `project, slug, uuid, name,
	schedule_kind, schedule_value, schedule_timezone, margin, max_runtime, fail_after, recover_after, miss_after,
	status, status_since, last_checkin_at, last_start_at, next_expected_at, due_at, last_duration, runs, bad, created_at`

const insertMonitor = `INSERT INTO monitors (` + monitorColumns + `) VALUES
	($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22)`

func monitorArgs(m Monitor) []any {
	return []any{
		int64(m.Project), m.Slug, m.UUID, m.Name,
		m.Schedule.Kind, m.Schedule.Value, m.Schedule.Timezone,
		int64(m.Schedule.Margin), int64(m.Schedule.MaxRuntime), int64(m.Schedule.FailAfter), int64(m.Schedule.RecoverAfter), int64(m.Schedule.MissAfter),
		m.State.Status, fromTime(m.State.Since), fromTime(m.State.LastCheckinAt), fromTime(m.State.LastStartAt),
		fromTime(m.State.NextExpectedAt), fromTime(m.State.DueAt), int64(m.State.LastDuration), m.State.Runs, int64(m.State.Bad),
		fromTime(m.CreatedAt),
	}
}

func scanMonitor(row scanner) (Monitor, error) {
	var m Monitor
	var project, margin, maxRuntime, failAfter, recoverAfter, missAfter, since, checkin, start, next, due, duration, bad, created int64
	err := row.Scan(&project, &m.Slug, &m.UUID, &m.Name,
		&m.Schedule.Kind, &m.Schedule.Value, &m.Schedule.Timezone, &margin, &maxRuntime, &failAfter, &recoverAfter, &missAfter,
		&m.State.Status, &since, &checkin, &start, &next, &due, &duration, &m.State.Runs, &bad, &created)
	m.Project, m.CreatedAt = uint32(project), toTime(created)
	m.Schedule.Margin, m.Schedule.MaxRuntime = time.Duration(margin), time.Duration(maxRuntime)
	m.Schedule.FailAfter, m.Schedule.RecoverAfter = int(failAfter), int(recoverAfter)
	m.Schedule.MissAfter = int(missAfter)
	m.State.Since, m.State.LastCheckinAt, m.State.LastStartAt = toTime(since), toTime(checkin), toTime(start)
	m.State.NextExpectedAt, m.State.DueAt = toTime(next), toTime(due)
	m.State.LastDuration, m.State.Bad = time.Duration(duration), int(bad)
	return m, err
}

// Monitors returns the monitors of a project by slug.
func (db *DB) Monitors(ctx context.Context, project uint32) ([]Monitor, error) {
	monitors, err := view(ctx, db, func(r runner) ([]Monitor, error) {
		return many(ctx, r, scanMonitor, `SELECT `+monitorColumns+` FROM monitors WHERE project = $1 ORDER BY slug LIMIT $2`, int64(project), MaxMonitors)
	})
	if err != nil {
		return nil, fmt.Errorf("monitors of project %d: %w", project, err)
	}
	return monitors, nil
}

// Monitor returns a monitor by its name, or ErrNotFound.
func (db *DB) Monitor(ctx context.Context, project uint32, slug string) (Monitor, error) {
	return view(ctx, db, func(r runner) (Monitor, error) { return monitor(ctx, r, project, slug) })
}

// Monitor returns a monitor by its name, or ErrNotFound.
func (tx *Tx) Monitor(ctx context.Context, project uint32, slug string) (Monitor, error) {
	return monitor(ctx, tx.runner, project, slug)
}

func monitor(ctx context.Context, r runner, project uint32, slug string) (Monitor, error) {
	m, err := one(ctx, r, scanMonitor, `SELECT `+monitorColumns+` FROM monitors WHERE project = $1 AND slug = $2`, int64(project), slug)
	if err != nil {
		return Monitor{}, fmt.Errorf("monitor %q of project %d: %w", slug, project, err)
	}
	return m, nil
}

// MonitorByUUID returns a monitor by its UUID in any of its spellings, or ErrNotFound. Errors do
// not show the UUID.
func (db *DB) MonitorByUUID(ctx context.Context, id string) (Monitor, error) {
	parsed, err := uuid.Parse(id)
	if err != nil {
		return Monitor{}, fmt.Errorf("monitor of a uuid: %w", ErrNotFound)
	}
	m, err := view(ctx, db, func(r runner) (Monitor, error) {
		return one(ctx, r, scanMonitor, `SELECT `+monitorColumns+` FROM monitors WHERE uuid = $1`, parsed.String())
	})
	if err != nil {
		return Monitor{}, fmt.Errorf("monitor of a uuid: %w", err)
	}
	return m, nil
}

// MonitorsDue returns monitors of all projects that must be looked at again, longest overdue
// first.
func (db *DB) MonitorsDue(ctx context.Context, now time.Time, limit int) ([]Monitor, error) {
	monitors, err := view(ctx, db, func(r runner) ([]Monitor, error) {
		return many(ctx, r, scanMonitor, `SELECT `+monitorColumns+` FROM monitors WHERE due_at > 0 AND due_at <= $1
			ORDER BY due_at, project, slug LIMIT $2`, fromTime(now), max(limit, 0))
	})
	if err != nil {
		return nil, fmt.Errorf("monitors due: %w", err)
	}
	return monitors, nil
}

// CreateMonitor makes a monitor and returns it with what was left to be filled in: its UUID, status
// and time. ErrConflict says that the project has one of this slug, ErrLimit that it has
// MaxMonitors.
func (db *DB) CreateMonitor(ctx context.Context, m Monitor) (Monitor, error) {
	var made Monitor
	err := db.InTx(ctx, func(tx *Tx) error {
		n, err := tx.CountMonitors(ctx, m.Project)
		if err != nil {
			return err
		}
		made = tx.complete(m)
		changedRows, err := tx.exec(ctx, insertMonitor+` ON CONFLICT (project, slug) DO NOTHING`, monitorArgs(made)...)
		if err := changed(changedRows, err); err != nil {
			return err
		}
		if n >= MaxMonitors {
			return ErrLimit // after the insert, so that a slug that is taken is said to be so
		}
		return nil
	})
	if err != nil {
		return Monitor{}, fmt.Errorf("create monitor %q of project %d: %w", m.Slug, m.Project, err)
	}
	return made, nil
}

// CountMonitors returns how many monitors a project has.
func (tx *Tx) CountMonitors(ctx context.Context, project uint32) (int, error) {
	n, err := one(ctx, tx.runner, scanInt, `SELECT count(*) FROM monitors WHERE project = $1`, int64(project))
	if err != nil {
		return 0, fmt.Errorf("count the monitors of project %d: %w", project, err)
	}
	return int(n), nil
}

// PutMonitor writes a monitor whole, making it if the project has none of its slug. The UUID and
// the time of creation of one that exists stay as they are.
func (tx *Tx) PutMonitor(ctx context.Context, m Monitor) error {
	_, err := tx.exec(ctx, insertMonitor+` ON CONFLICT (project, slug) DO UPDATE SET
		name = excluded.name,
		schedule_kind = excluded.schedule_kind, schedule_value = excluded.schedule_value, schedule_timezone = excluded.schedule_timezone,
		margin = excluded.margin, max_runtime = excluded.max_runtime, fail_after = excluded.fail_after, recover_after = excluded.recover_after, miss_after = excluded.miss_after,
		status = excluded.status, status_since = excluded.status_since,
		last_checkin_at = excluded.last_checkin_at, last_start_at = excluded.last_start_at,
		next_expected_at = excluded.next_expected_at, due_at = excluded.due_at,
		last_duration = excluded.last_duration, runs = excluded.runs, bad = excluded.bad`, monitorArgs(tx.complete(m))...)
	if err != nil {
		return fmt.Errorf("put monitor %q of project %d: %w", m.Slug, m.Project, err)
	}
	return nil
}

// DeleteMonitor forgets a monitor, or returns ErrNotFound. Its check-ins stay until they are too old.
func (tx *Tx) DeleteMonitor(ctx context.Context, project uint32, slug string) error {
	n, err := tx.exec(ctx, `DELETE FROM monitors WHERE project = $1 AND slug = $2`, int64(project), slug)
	if err == nil && n == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("delete monitor %q of project %d: %w", slug, project, err)
	}
	return nil
}

// complete fills in what a new monitor may be given without.
func (tx *Tx) complete(m Monitor) Monitor {
	if m.CreatedAt.IsZero() {
		m.CreatedAt = toTime(fromTime(tx.now))
	}
	if m.UUID == "" {
		m.UUID = uuid.NewString() // version 4: all of it random, for it is a secret
	}
	m.Name = cmp.Or(m.Name, m.Slug)
	m.Schedule.Kind = cmp.Or(m.Schedule.Kind, ScheduleNone)
	m.Schedule.FailAfter = max(m.Schedule.FailAfter, 1)
	m.Schedule.RecoverAfter = max(m.Schedule.RecoverAfter, 1)
	m.Schedule.MissAfter = max(m.Schedule.MissAfter, 0)
	m.State.Status = cmp.Or(m.State.Status, MonitorNew)
	if m.State.Since.IsZero() {
		m.State.Since = m.CreatedAt
	}
	return m
}
