package query

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"

	"github.com/midwatch/midwatch/alerts/schedule"
	"github.com/midwatch/midwatch/storage/catalog"
	"github.com/midwatch/midwatch/storage/telemetry"
)

const (
	// recentRuns is how many runs the list of monitors shows of each.
	recentRuns = 60
	// briefMessage is how many bytes of what a job said the list of monitors shows; its check-ins have all of it.
	briefMessage = 200
)

// ListMonitors answers with every monitor of the project, its state and its newest runs in the range.
func (s *Server) ListMonitors(ctx context.Context, r ListMonitorsRequestObject) (ListMonitorsResponseObject, error) {
	return read(ctx, s, r.Project, r.Params.From, r.Params.To, func(ctx context.Context, in subject) (ListMonitorsResponseObject, error) {
		var monitors []catalog.Monitor
		var recent map[string][]telemetry.Checkin
		group, ctx := errgroup.WithContext(ctx)
		group.Go(func() (err error) {
			monitors, err = s.monitors(ctx, in.project.Number)
			return err
		})
		group.Go(func() (err error) {
			recent, err = s.store.RecentCheckins(ctx, in.scope, recentRuns)
			return err
		})
		if err := group.Wait(); err != nil {
			return nil, err
		}
		out := ListMonitors200JSONResponse{Monitors: make([]Monitor, len(monitors))}
		for i, m := range monitors {
			out.Monitors[i] = monitorOf(m, recent[m.Slug])
			out.Monitors[i].PingUrl = s.urls.Ping(in.project.IngestKey, m.Slug)
		}
		return out, nil
	})
}

// ListCheckins answers with the check-ins of one monitor, newest first.
func (s *Server) ListCheckins(ctx context.Context, r ListCheckinsRequestObject) (ListCheckinsResponseObject, error) {
	return read(ctx, s, r.Project, r.Params.From, r.Params.To, func(ctx context.Context, in subject) (ListCheckinsResponseObject, error) {
		limit, err := count("limit", r.Params.Limit, 1000, 100)
		if err != nil {
			return nil, err
		}
		slug, err := words("slug", &r.Slug, 100)
		if err != nil {
			return nil, err
		}
		switch _, err := s.db.Monitor(ctx, in.project.Number, slug); {
		case errors.Is(err, catalog.ErrNotFound):
			return nil, notFound("there is no monitor %q in this project", slug)
		case err != nil:
			return nil, fmt.Errorf("read monitor: %w", err)
		}
		checkins, err := s.store.Checkins(ctx, in.scope, slug, limit)
		if err != nil {
			return nil, err
		}
		return ListCheckins200JSONResponse{Checkins: each(checkins, checkinOf)}, nil
	})
}

func (s *Server) monitors(ctx context.Context, project uint32) ([]catalog.Monitor, error) {
	monitors, err := s.db.Monitors(ctx, project)
	if err != nil {
		return nil, fmt.Errorf("read monitors: %w", err)
	}
	return monitors, nil
}

func monitorOf(m catalog.Monitor, recent []telemetry.Checkin) Monitor {
	return Monitor{
		Slug:           m.Slug,
		Name:           cmp.Or(m.Name, m.Slug),
		Uuid:           m.UUID,
		Status:         monitorStatus(m.State.Status),
		StatusSince:    optionalTime(m.State.Since),
		Schedule:       scheduleOf(m.Schedule),
		ScheduleWords:  schedule.Words(m.Schedule.Kind, m.Schedule.Value, m.Schedule.Timezone),
		CreatedAt:      m.CreatedAt.UTC(),
		LastCheckinAt:  optionalTime(m.State.LastCheckinAt),
		LastDurationMs: optional(m.State.LastDuration.Milliseconds()),
		NextExpectedAt: optionalTime(m.State.NextExpectedAt),
		Recent: each(recent, func(c telemetry.Checkin) Checkin {
			c.Message = brief(c.Message, briefMessage)
			return checkinOf(c)
		}),
	}
}

// brief cuts text to at most length bytes and an ellipsis, between characters.
func brief(text string, length int) string {
	if len(text) <= length {
		return text
	}
	for length > 0 && !utf8.RuneStart(text[length]) {
		length--
	}
	return text[:length] + "…"
}

// monitorStatus is the state that alerting noted; a monitor that it has not seen yet is new.
func monitorStatus(status string) MonitorStatus {
	if v := MonitorStatus(status); v.Valid() {
		return v
	}
	return "new"
}

func scheduleOf(v catalog.Schedule) Schedule {
	kind := ScheduleKind(v.Kind)
	if !kind.Valid() {
		kind = "none"
	}
	return Schedule{
		Kind:              kind,
		Value:             v.Value,
		Timezone:          v.Timezone,
		MarginSeconds:     seconds(v.Margin),
		MaxRuntimeSeconds: seconds(v.MaxRuntime),
	}
}

func checkinOf(c telemetry.Checkin) Checkin {
	out := Checkin{
		Id:          c.ID,
		RunId:       optional(c.RunID),
		Time:        c.Time.UTC(),
		Status:      CheckinStatus(c.Status),
		Environment: c.Environment,
		Release:     optional(c.Release),
		Source:      c.Source,
		Message:     c.Message,
	}
	if c.HasDuration {
		ms := c.Duration.Round(time.Millisecond).Milliseconds()
		out.DurationMs = &ms
	}
	if c.HasExitCode {
		out.ExitCode = &c.ExitCode
	}
	return out
}
