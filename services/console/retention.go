package console

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/midwatch/midwatch/services/access"
	"github.com/midwatch/midwatch/storage/catalog"
	"github.com/midwatch/midwatch/storage/retention"
)

// noticesShown is how far back notices are shown.
const noticesShown = 7 * 24 * time.Hour

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

// ListNotices answers with what happened to the project's data without its doing.
func (s *Server) ListNotices(ctx context.Context, r ListNoticesRequestObject) (ListNoticesResponseObject, error) {
	project, err := s.guard.Project(ctx, r.Project)
	if err != nil {
		return nil, err
	}
	notices, err := s.db.Notices(ctx, project.Number, time.Now().Add(-noticesShown))
	if err != nil {
		return nil, err
	}
	out := ListNotices200JSONResponse{Notices: make([]Notice, len(notices))}
	for i, n := range notices {
		out.Notices[i] = Notice{Kind: NoticeKind(n.Kind), At: n.At, Message: n.Message}
		if err := json.Unmarshal([]byte(n.Details), &out.Notices[i].Details); err != nil {
			return nil, fmt.Errorf("read the details of notice %s %q: %w", n.Kind, n.Subject, err)
		}
	}
	return out, nil
}

func retentionOf(p catalog.Project) Retention {
	d := p.Retention
	return Retention{
		Days:    RetentionDays{Metrics: d.Metrics, Logs: d.Logs, Errors: d.Errors, Checkins: d.Checkins},
		Choices: retention.Classes(),
	}
}
