package query

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
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
		return ListCheckins200JSONResponse{Checkins: each(checkins, checkinOf), Durations: durationsOf(checkins)}, nil
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
	usual, ratio := trendOf(recent)
	return Monitor{
		Slug:            m.Slug,
		UsualDurationMs: usual,
		DurationRatio:   ratio,
		Name:            cmp.Or(m.Name, m.Slug),
		Uuid:            m.UUID,
		Status:          monitorStatus(m.State.Status),
		StatusSince:     optionalTime(m.State.Since),
		Schedule:        scheduleOf(m.Schedule),
		ScheduleWords:   schedule.Words(m.Schedule.Kind, m.Schedule.Value, m.Schedule.Timezone),
		CreatedAt:       m.CreatedAt.UTC(),
		LastCheckinAt:   optionalTime(m.State.LastCheckinAt),
		LastDurationMs:  optional(m.State.LastDuration.Milliseconds()),
		NextExpectedAt:  optionalTime(m.State.NextExpectedAt),
		Recent: each(recent, func(c telemetry.Checkin) Checkin {
			c.Message = brief(c.Message, briefMessage)
			return checkinOf(c)
		}),
	}
}

const (
	// usualRuns is how many successful runs the usual duration is taken from, and usualFrom from how
	// many on there is one.
	usualRuns = 30
	usualFrom = 3
)

// trendOf says how long the successful runs before the newest one that ended took, as their median
// in milliseconds, and how many times as long that one took. Runs are given oldest first.
func trendOf(runs []telemetry.Checkin) (usualMS *int64, ratio *float64) {
	var newest *telemetry.Checkin
	var before []time.Duration
	for i := len(runs) - 1; i >= 0 && len(before) < usualRuns; i-- {
		r := &runs[i]
		switch {
		case !r.HasDuration || r.Status != "ok" && r.Status != "error":
		case newest == nil:
			newest = r
		case r.Status == "ok":
			before = append(before, r.Duration)
		}
	}
	if len(before) < usualFrom {
		return nil, nil
	}
	usual := percentile(before, 50)
	usualMS = new(usual.Round(time.Millisecond).Milliseconds())
	if usual > 0 {
		ratio = new(float64(newest.Duration) / float64(usual))
	}
	return usualMS, ratio
}

// durationsOf sums up how long the successful ones of some runs took; nil where that is not known of
// any.
func durationsOf(runs []telemetry.Checkin) *Durations {
	var took []time.Duration
	for _, r := range runs {
		if r.HasDuration && r.Status == "ok" {
			took = append(took, r.Duration)
		}
	}
	if len(took) == 0 {
		return nil
	}
	ms := func(p int) int64 { return percentile(took, p).Round(time.Millisecond).Milliseconds() }
	return &Durations{Runs: len(took), P50Ms: ms(50), P95Ms: ms(95)}
}

// percentile is the smallest of some durations that p percent of them do not exceed. It sorts them.
func percentile(of []time.Duration, p int) time.Duration {
	slices.Sort(of)
	return of[max((len(of)*p+99)/100, 1)-1]
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
		FailAfter:         max(v.FailAfter, 1),
		MissAfter:         max(cmp.Or(v.MissAfter, v.FailAfter), 1),
		RecoverAfter:      max(v.RecoverAfter, 1),
	}
}

func checkinOf(c telemetry.Checkin) Checkin {
	out := Checkin{
		Id:          c.ID,
		RunId:       optional(c.RunID),
		Time:        c.Time.UTC(),
		StartedAt:   optionalTime(c.StartedAt),
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
