package console

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/midwatch/midwatch/services/access"
	"github.com/midwatch/midwatch/storage/catalog"
)

const (
	maxIssues      = 500
	maxReleaseName = 500
)

var issuePattern = regexp.MustCompile(`^[0-9a-f]{16}$`)

// ResolveIssue says that an issue does not happen any more.
func (s *Server) ResolveIssue(ctx context.Context, r ResolveIssueRequestObject) (ResolveIssueResponseObject, error) {
	lives, err := s.resolve(ctx, r.Project, []string{r.Issue}, *r.Body)
	if err != nil {
		return nil, err
	}
	return ResolveIssue200JSONResponse(lives[0]), nil
}

// ResolveIssues says so of several.
func (s *Server) ResolveIssues(ctx context.Context, r ResolveIssuesRequestObject) (ResolveIssuesResponseObject, error) {
	lives, err := s.resolve(ctx, r.Project, r.Body.Issues, IssueResolution{In: r.Body.In, Release: r.Body.Release})
	return ResolveIssues200JSONResponse{Issues: lives}, err
}

// ReopenIssue takes back that an issue is resolved.
func (s *Server) ReopenIssue(ctx context.Context, r ReopenIssueRequestObject) (ReopenIssueResponseObject, error) {
	lives, err := s.reopen(ctx, r.Project, []string{r.Issue})
	if err != nil {
		return nil, err
	}
	return ReopenIssue200JSONResponse(lives[0]), nil
}

// ReopenIssues takes it back of several.
func (s *Server) ReopenIssues(ctx context.Context, r ReopenIssuesRequestObject) (ReopenIssuesResponseObject, error) {
	lives, err := s.reopen(ctx, r.Project, r.Body.Issues)
	return ReopenIssues200JSONResponse{Issues: lives}, err
}

func (s *Server) resolve(ctx context.Context, number uint32, issues []string, in IssueResolution) ([]IssueLife, error) {
	return s.changeIssues(ctx, number, issues, func(project catalog.Project, ids []uint64) ([]catalog.Issue, error) {
		resolution, err := s.resolutionOf(ctx, project, in)
		if err != nil {
			return nil, err
		}
		return s.db.ResolveIssues(ctx, project.Number, ids, resolution)
	})
}

func (s *Server) reopen(ctx context.Context, number uint32, issues []string) ([]IssueLife, error) {
	return s.changeIssues(ctx, number, issues, func(project catalog.Project, ids []uint64) ([]catalog.Issue, error) {
		return s.db.ReopenIssues(ctx, project.Number, ids)
	})
}

// resolutionOf checks where the fix is.
func (s *Server) resolutionOf(ctx context.Context, project catalog.Project, in IssueResolution) (catalog.Resolution, error) {
	out := catalog.Resolution{At: time.Now().UTC(), By: actor(ctx)}
	where := cmp.Or(text(in.In), catalog.FixedNow)
	if !ResolvedIn(where).Valid() {
		return out, access.Invalid("in: now, release or next_release")
	}
	release, err := line("release", text(in.Release), maxReleaseName)
	if err != nil {
		return out, err
	}
	if release != "" && where != catalog.FixedInRelease {
		return out, access.Invalid("release: only where in is release")
	}
	if where == catalog.FixedNow || release != "" {
		out.Release = release
		return out, nil
	}
	newest, err := s.db.NewestRelease(ctx, project.Number, out.At)
	if err != nil {
		return out, err
	}
	if newest == "" {
		// What has no release could never bring the issue back.
		return out, access.Invalid("in: neither the errors nor the deploys of this project name a release yet; send now, or the release")
	}
	if out.Next = where == catalog.FixedNext; !out.Next {
		out.Release = newest
	}
	return out, nil
}

// changeIssues changes issues of a project that the caller may see, all of them or none.
func (s *Server) changeIssues(ctx context.Context, number uint32, issues []string, change func(catalog.Project, []uint64) ([]catalog.Issue, error)) ([]IssueLife, error) {
	project, err := s.guard.Project(ctx, number)
	if err != nil {
		return nil, err
	}
	if len(issues) == 0 || len(issues) > maxIssues {
		return nil, access.Invalid("issues: from 1 to %d", maxIssues)
	}
	ids := make([]uint64, len(issues))
	for i, name := range issues {
		id, err := strconv.ParseUint(name, 16, 64)
		if err != nil || !issuePattern.MatchString(name) {
			return nil, access.Invalid("issue: %.50q is not an issue's id, which has 16 hexadecimal digits", name)
		}
		ids[i] = id
	}
	changed, err := change(project, ids)
	if errors.Is(err, catalog.ErrNotFound) {
		return nil, s.noIssue(ctx, project, ids)
	}
	if err != nil {
		return nil, err
	}
	lives := make([]IssueLife, len(changed))
	for i, issue := range changed {
		lives[i] = lifeOf(issue)
	}
	slices.SortFunc(lives, func(a, b IssueLife) int { return cmp.Compare(a.Id, b.Id) })
	return lives, nil
}

// noIssue names the first of the issues that does not exist.
func (s *Server) noIssue(ctx context.Context, project catalog.Project, ids []uint64) error {
	known, err := s.db.Issues(ctx, project.Number, ids)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if _, ok := known[id]; !ok {
			return access.NotFound("there is no issue %016x in this project", id)
		}
	}
	return access.NotFound("an issue was not there; try again")
}

func lifeOf(i catalog.Issue) IssueLife {
	out := IssueLife{Id: fmt.Sprintf("%016x", i.ID), Status: IssueStatus(i.Status())}
	if !i.ResolvedAt.IsZero() {
		out.ResolvedAt, out.ResolvedBy = unless(i.ResolvedAt), unless(i.ResolvedBy)
		out.ResolvedIn, out.ResolvedRelease = unless(ResolvedIn(i.FixedIn())), unless(i.ResolvedRelease)
	}
	if i.Status() == catalog.IssueRegressed {
		out.RegressedAt, out.RegressedRelease = unless(i.RegressedAt), unless(i.RegressedRelease)
	}
	return out
}
