package console

import (
	"cmp"
	"context"
	"errors"
	"regexp"
	"strings"
	"time"

	"github.com/midwatch/midwatch/alerts/monitor"
	"github.com/midwatch/midwatch/alerts/schedule"
	"github.com/midwatch/midwatch/services/access"
	"github.com/midwatch/midwatch/services/heartbeat"
	"github.com/midwatch/midwatch/storage/catalog"
)

const (
	maxMonitorName = 200
	maxTimezone    = 100
	maxMargin      = 7 * 24 * time.Hour
	maxRuntime     = 30 * 24 * time.Hour
	maxThreshold   = 720
)

var monitorSlug = regexp.MustCompile(`^[a-z0-9_-]{1,100}$`)

// CreateMonitor makes a monitor. It expects nothing before the first check-in.
func (s *Server) CreateMonitor(ctx context.Context, r CreateMonitorRequestObject) (CreateMonitorResponseObject, error) {
	project, err := s.guard.Project(ctx, r.Project)
	if err != nil {
		return nil, err
	}
	m := catalog.Monitor{Project: project.Number, Slug: r.Body.Slug}
	if !monitorSlug.MatchString(m.Slug) {
		return nil, access.Invalid("slug: 1 to 100 lower-case letters, digits, hyphens and underscores")
	}
	if r.Body.Name != nil {
		if m.Name, err = line("name", *r.Body.Name, maxMonitorName); err != nil {
			return nil, err
		}
	}
	if m.Schedule, err = scheduleOf(r.Body.Schedule); err != nil {
		return nil, err
	}
	m, err = s.db.CreateMonitor(ctx, m)
	switch {
	case errors.Is(err, catalog.ErrConflict):
		return nil, access.Conflict("slug: there is a monitor %q already", r.Body.Slug)
	case errors.Is(err, catalog.ErrLimit):
		return nil, access.Conflict("a project has at most %d monitors", catalog.MaxMonitors)
	case err != nil:
		return nil, err
	}
	return CreateMonitor201JSONResponse(s.monitorOf(project, m)), nil
}

// UpdateMonitor changes a monitor's name, its schedule, or both. What another schedule expects
// counts from now on.
func (s *Server) UpdateMonitor(ctx context.Context, r UpdateMonitorRequestObject) (UpdateMonitorResponseObject, error) {
	var name *string
	if r.Body.Name != nil {
		text, err := line("name", *r.Body.Name, maxMonitorName)
		if err != nil {
			return nil, err
		}
		name = &text
	}
	var schedule *catalog.Schedule
	if r.Body.Schedule != nil {
		checked, err := scheduleOf(r.Body.Schedule)
		if err != nil {
			return nil, err
		}
		schedule = &checked
	}
	m, err := s.changeMonitor(ctx, r.Project, r.Slug, func(m *catalog.Monitor, now time.Time) error {
		if name != nil {
			m.Name = cmp.Or(*name, m.Slug)
		}
		if schedule == nil || *schedule == m.Schedule {
			return nil
		}
		cfg, err := heartbeat.Config(*schedule)
		if err != nil {
			return err
		}
		m.Schedule = *schedule
		m.State = heartbeat.Saved(monitor.Reschedule(cfg, heartbeat.State(m.State), now))
		return nil
	})
	if err != nil {
		return nil, err
	}
	return UpdateMonitor200JSONResponse(m), nil
}

// PauseMonitor stops expecting anything of a job.
func (s *Server) PauseMonitor(ctx context.Context, r PauseMonitorRequestObject) (PauseMonitorResponseObject, error) {
	m, err := s.changeMonitor(ctx, r.Project, r.Slug, func(m *catalog.Monitor, now time.Time) error {
		m.State = heartbeat.Saved(monitor.Pause(heartbeat.State(m.State), now))
		return nil
	})
	if err != nil {
		return nil, err
	}
	return PauseMonitor200JSONResponse(m), nil
}

// ResumeMonitor watches a paused job again, from its next check-in on.
func (s *Server) ResumeMonitor(ctx context.Context, r ResumeMonitorRequestObject) (ResumeMonitorResponseObject, error) {
	m, err := s.changeMonitor(ctx, r.Project, r.Slug, func(m *catalog.Monitor, now time.Time) error {
		m.State = heartbeat.Saved(monitor.Resume(heartbeat.State(m.State), now))
		return nil
	})
	if err != nil {
		return nil, err
	}
	return ResumeMonitor200JSONResponse(m), nil
}

// DeleteMonitor forgets a monitor.
func (s *Server) DeleteMonitor(ctx context.Context, r DeleteMonitorRequestObject) (DeleteMonitorResponseObject, error) {
	project, err := s.guard.Project(ctx, r.Project)
	if err != nil {
		return nil, err
	}
	err = s.db.InTx(ctx, func(tx *catalog.Tx) error { return tx.DeleteMonitor(ctx, project.Number, r.Slug) })
	if err != nil {
		return nil, noMonitor(err, r.Slug)
	}
	s.log.InfoContext(ctx, "monitor deleted", "project_id", project.Number, "monitor", r.Slug)
	return DeleteMonitor204Response{}, nil
}

// changeMonitor reads, changes and writes a monitor in one transaction, since alerting changes the
// same row. change may run more than once.
func (s *Server) changeMonitor(ctx context.Context, number uint32, slug string, change func(*catalog.Monitor, time.Time) error) (Monitor, error) {
	project, err := s.guard.Project(ctx, number)
	if err != nil {
		return Monitor{}, err
	}
	var m catalog.Monitor
	err = s.db.InTx(ctx, func(tx *catalog.Tx) (err error) {
		if m, err = tx.Monitor(ctx, project.Number, slug); err != nil {
			return err
		}
		if err := change(&m, time.Now()); err != nil {
			return err
		}
		return tx.PutMonitor(ctx, m)
	})
	if err != nil {
		return Monitor{}, noMonitor(err, slug)
	}
	return s.monitorOf(project, m), nil
}

func noMonitor(err error, slug string) error {
	if errors.Is(err, catalog.ErrNotFound) {
		return access.NotFound("there is no monitor %q in this project", slug)
	}
	return err
}

// monitorOf is a monitor without its runs, which are telemetry.
func (s *Server) monitorOf(project catalog.Project, m catalog.Monitor) Monitor {
	return Monitor{
		Slug:        m.Slug,
		Name:        m.Name,
		Uuid:        m.UUID,
		Status:      MonitorStatus(m.State.Status),
		StatusSince: &m.State.Since,
		Schedule: Schedule{
			Kind: ScheduleKind(m.Schedule.Kind), Value: m.Schedule.Value, Timezone: m.Schedule.Timezone,
			MarginSeconds: int(m.Schedule.Margin / time.Second), MaxRuntimeSeconds: int(m.Schedule.MaxRuntime / time.Second),
			FailAfter: max(m.Schedule.FailAfter, 1), RecoverAfter: max(m.Schedule.RecoverAfter, 1),
			MissAfter: max(cmp.Or(m.Schedule.MissAfter, m.Schedule.FailAfter), 1),
		},
		ScheduleWords:  schedule.Words(m.Schedule.Kind, m.Schedule.Value, m.Schedule.Timezone),
		CreatedAt:      m.CreatedAt,
		LastCheckinAt:  sometime(m.State.LastCheckinAt),
		NextExpectedAt: sometime(m.State.NextExpectedAt),
		PingUrl:        s.urls.Ping(project.IngestKey, m.Slug),
		Recent:         []Checkin{},
	}
}

// sometime is a time that may be never.
func sometime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// scheduleOf checks a schedule and fills in what was left out.
func scheduleOf(in *NewSchedule) (catalog.Schedule, error) {
	if in == nil {
		return catalog.Schedule{Kind: schedule.None, FailAfter: 1, RecoverAfter: 1}, nil
	}
	if !in.Kind.Valid() {
		return catalog.Schedule{}, access.Invalid("schedule.kind: none, crontab or interval")
	}
	out := catalog.Schedule{Kind: string(in.Kind), Value: strings.TrimSpace(in.Value)}
	if in.Timezone != nil && in.Kind != NewScheduleKindNone {
		out.Timezone = *in.Timezone
	}
	if in.Kind == NewScheduleKindCrontab {
		out.Timezone = cmp.Or(out.Timezone, "UTC")
	}
	if len(out.Timezone) > maxTimezone {
		return out, access.Invalid("schedule.timezone: at most %d characters", maxTimezone)
	}
	parsed, err := schedule.Parse(out.Kind, out.Value, out.Timezone)
	if err != nil {
		return out, access.Invalid("schedule: %s", err)
	}
	if out.Margin, err = seconds("schedule.margin_seconds", in.MarginSeconds, maxMargin); err != nil {
		return out, err
	}
	switch {
	case !parsed.Expects():
		out.Margin = 0
	case out.Margin == 0:
		out.Margin = parsed.DefaultMargin()
	}
	if out.MaxRuntime, err = seconds("schedule.max_runtime_seconds", in.MaxRuntimeSeconds, maxRuntime); err != nil {
		return out, err
	}
	if out.FailAfter, err = threshold("schedule.fail_after", in.FailAfter, 1); err != nil {
		return out, err
	}
	if out.RecoverAfter, err = threshold("schedule.recover_after", in.RecoverAfter, 1); err != nil {
		return out, err
	}
	out.MissAfter, err = threshold("schedule.miss_after", in.MissAfter, 0)
	if out.MissAfter == out.FailAfter {
		out.MissAfter = 0 // as fail_after, also when a sender changes that
	}
	return out, err
}

// threshold is how many runs it takes; fallback where nothing is said.
func threshold(name string, n *int, fallback int) (int, error) {
	if n == nil {
		return fallback, nil
	}
	if *n < 1 || *n > maxThreshold {
		return 0, access.Invalid("%s: %d is not from 1 to %d", name, *n, maxThreshold)
	}
	return *n, nil
}

func seconds(name string, n *int, most time.Duration) (time.Duration, error) {
	if n == nil {
		return 0, nil
	}
	if *n < 0 || *n > int(most/time.Second) {
		return 0, access.Invalid("%s: %d is not from 0 to %d", name, *n, int(most/time.Second))
	}
	return time.Duration(*n) * time.Second, nil
}
