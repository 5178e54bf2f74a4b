package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/midwatch/midwatch/services/access"
	"github.com/midwatch/midwatch/storage/catalog"
)

// noticesShown is how far back notices are shown.
const noticesShown = 7 * 24 * time.Hour

// ListNotices answers with what happened to the project's data without its doing.
func (s *Server) ListNotices(ctx context.Context, r ListNoticesRequestObject) (ListNoticesResponseObject, error) {
	project, err := s.guard.Project(ctx, r.Project)
	if err != nil {
		return nil, err
	}
	notices, err := s.db.NoticesTo(ctx, userOf(ctx), project.Number, time.Now().Add(-noticesShown))
	if err != nil {
		return nil, err
	}
	out := ListNotices200JSONResponse{Notices: make([]Notice, len(notices))}
	for i, n := range notices {
		if out.Notices[i], err = noticeOf(n); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// DismissNotice hides a notice from who is signed in. What still is so stays: it is a warning that
// others rely on being read, and ends by itself.
func (s *Server) DismissNotice(ctx context.Context, r DismissNoticeRequestObject) (DismissNoticeResponseObject, error) {
	project, err := s.guard.Project(ctx, r.Project)
	if err != nil {
		return nil, err
	}
	user := userOf(ctx)
	if user == "" {
		return nil, access.Forbidden("a notice is dismissed by a person who is signed in, not by an API token")
	}
	gone := access.NotFound("this notice is not there any more, or was told anew: read the list again")
	notices, err := s.db.Notices(ctx, project.Number, r.Body.At)
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(notices, func(n catalog.Notice) bool {
		return n.Kind == r.Body.Kind && n.Subject == r.Body.Subject && n.At.Equal(r.Body.At)
	})
	if at < 0 {
		return nil, gone
	}
	shown, err := noticeOf(notices[at])
	if err != nil {
		return nil, err
	}
	if shown.Open {
		return nil, access.Conflict("this still is so and cannot be dismissed: the notice changes when it is over")
	}
	// One that is told anew meanwhile has another time, and is not found.
	err = s.db.DismissNotice(ctx, user, project.Number, notices[at])
	if errors.Is(err, catalog.ErrNotFound) {
		return nil, gone
	}
	if err != nil {
		return nil, err
	}
	return DismissNotice204Response{}, nil
}

func noticeOf(n catalog.Notice) (Notice, error) {
	out := Notice{Kind: NoticeKind(n.Kind), Subject: n.Subject, At: n.At, Message: n.Message}
	if err := json.Unmarshal([]byte(n.Details), &out.Details); err != nil {
		return out, fmt.Errorf("read the details of notice %s %q: %w", n.Kind, n.Subject, err)
	}
	out.Open, _ = out.Details["open"].(bool) // only what lasts has it
	return out, nil
}

// userOf is the id of the person who calls, or nothing for an API token.
func userOf(ctx context.Context) string {
	if p, _ := access.From(ctx); p.User != nil {
		return p.User.ID
	}
	return ""
}
