package query

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/midwatch/midwatch/storage/catalog"
	"github.com/midwatch/midwatch/storage/telemetry"
)

const (
	// maxFound is how many issues whose title has the words are looked for in the range.
	maxFound = 1000
	// maxIssueEvents is how many events an issue's page shows.
	maxIssueEvents = 100
)

// ListIssues answers with the issues that happened in the range, last seen first.
func (s *Server) ListIssues(ctx context.Context, r ListIssuesRequestObject) (ListIssuesResponseObject, error) {
	return read(ctx, s, r.Project, r.Params.From, r.Params.To, func(ctx context.Context, in subject) (ListIssuesResponseObject, error) {
		limit, err := count("limit", r.Params.Limit, 500, 100)
		if err != nil {
			return nil, err
		}
		text, err := words("q", r.Params.Q, 200)
		if err != nil {
			return nil, err
		}
		out := ListIssues200JSONResponse{Issues: []Issue{}, StepSeconds: seconds(telemetry.Step(in.scope))}
		var ids []uint64 // nil takes every issue of the range
		if text != "" {
			ids, err = s.db.SearchIssues(ctx, in.project.Number, text, maxFound)
			if err != nil {
				return nil, fmt.Errorf("search issues: %w", err)
			}
			if len(ids) == 0 {
				return out, nil
			}
		}
		activity, total, step, err := s.store.IssueActivity(ctx, in.scope, ids, limit)
		if err != nil {
			return nil, err
		}
		out.Issues, err = s.issues(ctx, in.project.Number, activity)
		if err != nil {
			return nil, err
		}
		slices.SortStableFunc(out.Issues, func(a, b Issue) int { return b.LastSeen.Compare(a.LastSeen) })
		out.Total, out.StepSeconds = total, seconds(step)
		return out, nil
	})
}

// GetIssue answers with one issue, its newest events in the range and its tags.
func (s *Server) GetIssue(ctx context.Context, r GetIssueRequestObject) (GetIssueResponseObject, error) {
	return read(ctx, s, r.Project, r.Params.From, r.Params.To, func(ctx context.Context, in subject) (GetIssueResponseObject, error) {
		id, err := issueID(r.Issue)
		if err != nil {
			return nil, err
		}
		known, err := s.db.Issues(ctx, in.project.Number, []uint64{id})
		if err != nil {
			return nil, fmt.Errorf("read issue: %w", err)
		}
		newest, err := s.db.NewestRelease(ctx, in.project.Number, time.Now())
		if err != nil {
			return nil, fmt.Errorf("read issue: %w", err)
		}
		out := GetIssue200JSONResponse{NewestRelease: optional(newest)}
		var activity []telemetry.IssueActivity
		group, ctx := errgroup.WithContext(ctx)
		group.Go(func() (err error) {
			var step time.Duration
			activity, _, step, err = s.store.IssueActivity(ctx, in.scope, []uint64{id}, 1)
			out.StepSeconds = seconds(step)
			return err
		})
		group.Go(func() error {
			events, err := s.store.IssueEvents(ctx, in.scope, id, maxIssueEvents)
			out.Events = each(events, eventSummaryOf)
			return err
		})
		group.Go(func() error {
			tags, err := s.store.IssueTags(ctx, in.scope, id)
			out.Tags = resize(out.Tags, len(tags))
			for i, t := range tags {
				out.Tags[i].Key = t.Key
				out.Tags[i].Values = resize(out.Tags[i].Values, len(t.Values))
				for j, v := range t.Values {
					out.Tags[i].Values[j].Value, out.Tags[i].Values[j].Count = v.Value, v.Count
				}
			}
			return err
		})
		if err := group.Wait(); err != nil {
			return nil, err
		}
		issue, found := known[id]
		switch {
		case len(activity) > 0:
			out.Issue = issueOf(issue, activity[0])
		case found: // it happened, but not in this range
			out.Issue = issueOf(issue, telemetry.IssueActivity{ID: id, Trend: quiet(in.scope)})
		default:
			return nil, notFound("there is no issue %s in this project", r.Issue)
		}
		return out, nil
	})
}

// GetEvent answers with one error event.
func (s *Server) GetEvent(ctx context.Context, r GetEventRequestObject) (GetEventResponseObject, error) {
	return read(ctx, s, r.Project, r.Params.From, r.Params.To, func(ctx context.Context, in subject) (GetEventResponseObject, error) {
		id, err := eventID(r.Event)
		if err != nil {
			return nil, err
		}
		e, err := s.store.Event(ctx, in.scope, id)
		if errors.Is(err, telemetry.ErrNotFound) {
			return nil, notFound("there is no event %s in this range", r.Event)
		}
		if err != nil {
			return nil, err
		}
		return GetEvent200JSONResponse(eventOf(e)), nil
	})
}

// issues joins what issues did with what is known of them, in the order of activity.
func (s *Server) issues(ctx context.Context, project uint32, activity []telemetry.IssueActivity) ([]Issue, error) {
	if len(activity) == 0 {
		return []Issue{}, nil
	}
	ids := each(activity, func(a telemetry.IssueActivity) uint64 { return a.ID })
	known, err := s.db.Issues(ctx, project, ids)
	if err != nil {
		return nil, fmt.Errorf("read issues: %w", err)
	}
	return each(activity, func(a telemetry.IssueActivity) Issue { return issueOf(known[a.ID], a) }), nil
}

// issueOf joins one issue. The writer stores events a moment before the issue that they belong to: until then i is zero
// and the issue is shown by its id, since an error that is not shown at all looks like none.
func issueOf(i catalog.Issue, a telemetry.IssueActivity) Issue {
	out := Issue{
		Id:           issueText(a.ID),
		Title:        cmp.Or(i.Title, "Issue "+issueText(a.ID)),
		Type:         i.Type,
		Value:        i.Value,
		Culprit:      i.Culprit,
		Level:        cmp.Or(i.Level, "error"),
		Platform:     i.Platform,
		FirstSeen:    i.FirstSeen.UTC(),
		LastSeen:     i.LastSeen.UTC(),
		FirstRelease: optional(i.FirstRelease),
		LastRelease:  optional(i.LastRelease),
		Events:       a.Events,
		Users:        a.Users,
		TotalEvents:  max(i.Count, a.Events), // the counts are of two stores, one of which may be a moment behind
		Trend:        presentTrend(a.Trend),
		Status:       IssueStatus(i.Status()),
	}
	if !i.ResolvedAt.IsZero() {
		out.ResolvedAt, out.ResolvedBy = optional(i.ResolvedAt), optional(i.ResolvedBy)
		out.ResolvedIn, out.ResolvedRelease = optional(ResolvedIn(i.FixedIn())), optional(i.ResolvedRelease)
	}
	if i.Status() == catalog.IssueRegressed {
		out.RegressedAt, out.RegressedRelease = optional(i.RegressedAt), optional(i.RegressedRelease)
	}
	if !a.FirstSeen.IsZero() && (i.FirstSeen.IsZero() || a.FirstSeen.Before(i.FirstSeen)) {
		out.FirstSeen = a.FirstSeen.UTC()
	}
	if a.LastSeen.After(i.LastSeen) {
		out.LastSeen = a.LastSeen.UTC()
	}
	return out
}

func eventSummaryOf(e telemetry.EventSummary) EventSummary {
	return EventSummary{
		Id:          e.ID,
		Time:        e.Time.UTC(),
		Level:       e.Level,
		Environment: e.Environment,
		Release:     e.Release,
		Value:       e.Value,
		User:        e.UserID,
	}
}

// eventOf lays out one event: its columns, which intake has checked, over what the payload says.
func eventOf(e telemetry.Event) Event {
	out := parseEvent(e.Payload)
	out.Id = e.ID
	out.IssueId = issueText(e.IssueID)
	out.Time = e.Time.UTC()
	out.ReceivedAt = e.ReceivedAt.UTC()
	out.Level = e.Level
	out.Platform = e.Platform
	out.Environment = e.Environment
	out.Release = e.Release
	out.Title = e.Title
	out.Culprit = e.Culprit
	out.Transaction = e.Transaction
	out.ServerName = e.ServerName
	out.TraceId = optional(e.TraceID)
	if len(e.Tags) > 0 {
		out.Tags = e.Tags
	}
	if out.Message == nil && e.Type == "" {
		out.Message = optional(e.Value)
	}
	return out
}

func issueText(id uint64) string { return fmt.Sprintf("%016x", id) }

// quiet returns the trend of something that did not happen in a scope.
func quiet(scope telemetry.Scope) Trend {
	step := int64(telemetry.Step(scope))
	return make(Trend, (scope.To().UnixNano()-1)/step-scope.From().UnixNano()/step+1)
}
