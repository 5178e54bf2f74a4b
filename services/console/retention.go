package console

import (
	"context"

	"github.com/midwatch/midwatch/services/access"
	"github.com/midwatch/midwatch/storage/catalog"
	"github.com/midwatch/midwatch/storage/retention"
)

// GetRetention answers with how long the project's telemetry is kept.
func (s *Server) GetRetention(ctx context.Context, r GetRetentionRequestObject) (GetRetentionResponseObject, error) {
	project, err := s.guard.Project(ctx, r.Project)
	if err != nil {
		return nil, err
	}
	return GetRetention200JSONResponse(retentionOf(project)), nil
}

// SetRetention changes how long the project's telemetry is kept.
func (s *Server) SetRetention(ctx context.Context, r SetRetentionRequestObject) (SetRetentionResponseObject, error) {
	project, err := s.guard.Project(ctx, r.Project)
	if err != nil {
		return nil, err
	}
	days := retention.Days{Metrics: r.Body.Metrics, Logs: r.Body.Logs, Errors: r.Body.Errors, Checkins: r.Body.Checkins}
	if err := days.Check(); err != nil {
		return nil, access.Invalid("%s", err)
	}
	changed, err := s.db.SetRetention(ctx, project.Number, days)
	if err != nil {
		return nil, err
	}
	s.log.InfoContext(ctx, "retention changed", "project_id", project.Number,
		"metrics_days", days.Metrics, "logs_days", days.Logs, "errors_days", days.Errors, "checkins_days", days.Checkins)
	return SetRetention200JSONResponse(retentionOf(changed)), nil
}

func retentionOf(p catalog.Project) Retention {
	d := p.Retention
	return Retention{
		Days:    RetentionDays{Metrics: d.Metrics, Logs: d.Logs, Errors: d.Errors, Checkins: d.Checkins},
		Choices: retention.Classes(),
	}
}
