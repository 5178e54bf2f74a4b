package console

import (
	"cmp"
	"context"
	"errors"
	"regexp"
	"strings"
	"time"

	"github.com/midwatch/midwatch/alerts/schedule"
	"github.com/midwatch/midwatch/services/access"
	"github.com/midwatch/midwatch/storage/catalog"
)

const (
	maxMonitorName = 200
	maxTimezone    = 100
	maxMargin      = 7 * 24 * time.Hour
	maxRuntime     = 30 * 24 * time.Hour
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
	return CreateMonitor201JSONResponse{
		Slug:        m.Slug,
		Name:        m.Name,
		Uuid:        m.UUID,
		Status:      MonitorStatus(m.State.Status),
		StatusSince: &m.State.Since,
		Schedule: Schedule{
			Kind: ScheduleKind(m.Schedule.Kind), Value: m.Schedule.Value, Timezone: m.Schedule.Timezone,
			MarginSeconds: int(m.Schedule.Margin / time.Second), MaxRuntimeSeconds: int(m.Schedule.MaxRuntime / time.Second),
		},
		ScheduleWords: schedule.Words(m.Schedule.Kind, m.Schedule.Value, m.Schedule.Timezone),
		CreatedAt:     m.CreatedAt,
		PingUrl:       s.urls.Ping(project.IngestKey, m.Slug),
		Recent:        []Checkin{},
	}, nil
}

// scheduleOf checks a schedule and fills in what was left out.
func scheduleOf(in *NewSchedule) (catalog.Schedule, error) {
	if in == nil {
		return catalog.Schedule{Kind: schedule.None}, nil
	}
	if !in.Kind.Valid() {
		return catalog.Schedule{}, access.Invalid("schedule.kind: crontab or interval")
	}
	out := catalog.Schedule{Kind: string(in.Kind), Value: strings.TrimSpace(in.Value), FailAfter: 1, RecoverAfter: 1}
	if in.Timezone != nil {
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
	if out.Margin == 0 {
		out.Margin = parsed.DefaultMargin()
	}
	out.MaxRuntime, err = seconds("schedule.max_runtime_seconds", in.MaxRuntimeSeconds, maxRuntime)
	return out, err
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
