package console

import (
	"context"

	"github.com/midwatch/midwatch/storage/catalog"
)

// GetBadges answers with where a project's badges and its status page are.
func (s *Server) GetBadges(ctx context.Context, r GetBadgesRequestObject) (GetBadgesResponseObject, error) {
	project, err := s.guard.Project(ctx, r.Project)
	if err != nil {
		return nil, err
	}
	b, err := s.db.Badges(ctx, project.Number)
	if err != nil {
		return nil, err
	}
	return GetBadges200JSONResponse(s.badgesOf(b)), nil
}

// SetBadges says whether a project has a status page.
func (s *Server) SetBadges(ctx context.Context, r SetBadgesRequestObject) (SetBadgesResponseObject, error) {
	project, err := s.guard.Project(ctx, r.Project)
	if err != nil {
		return nil, err
	}
	b, err := s.db.SetStatusPage(ctx, project.Number, r.Body.StatusPage)
	if err != nil {
		return nil, err
	}
	s.log.InfoContext(ctx, "status page changed", "project_id", project.Number, "shown", b.StatusPage)
	return SetBadges200JSONResponse(s.badgesOf(b)), nil
}

// ReplaceBadgeKey has the addresses of a project's badges and status page stop to work, and makes
// others.
func (s *Server) ReplaceBadgeKey(ctx context.Context, r ReplaceBadgeKeyRequestObject) (ReplaceBadgeKeyResponseObject, error) {
	project, err := s.guard.Project(ctx, r.Project)
	if err != nil {
		return nil, err
	}
	b, err := s.db.ReplaceBadgeKey(ctx, project.Number)
	if err != nil {
		return nil, err
	}
	s.log.InfoContext(ctx, "badge key replaced", "project_id", project.Number)
	return ReplaceBadgeKey200JSONResponse(s.badgesOf(b)), nil
}

func (s *Server) badgesOf(b catalog.Badges) Badges {
	return Badges{BadgeUrl: s.urls.Badge(b.Key), StatusPage: b.StatusPage, StatusUrl: s.urls.Status(b.Key)}
}
