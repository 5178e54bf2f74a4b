package query

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/midwatch/midwatch/storage/catalog"
	"github.com/midwatch/midwatch/storage/telemetry"
)

const (
	// lookBack is how far back a signal's data still counts as being received.
	lookBack = 30 * 24 * time.Hour
	// clockSkew is how far a sender's clock may be ahead of ours.
	clockSkew = time.Hour
)

// GetOverview answers with one figure and one line for each signal.
func (s *Server) GetOverview(ctx context.Context, r GetOverviewRequestObject) (GetOverviewResponseObject, error) {
	return read(ctx, s, r.Project, r.Params.From, r.Params.To, func(ctx context.Context, in subject) (GetOverviewResponseObject, error) {
		var o telemetry.Overview
		var top []Issue
		var monitors []catalog.Monitor
		var fresh int
		group, ctx := errgroup.WithContext(ctx)
		group.Go(func() (err error) {
			if o, err = s.store.Overview(ctx, in.scope); err != nil {
				return err
			}
			top, err = s.issues(ctx, in.project.Number, o.Errors.Top)
			return err
		})
		group.Go(func() (err error) {
			monitors, err = s.monitors(ctx, in.project.Number)
			return err
		})
		group.Go(func() (err error) {
			if fresh, err = s.db.IssuesFirstSeen(ctx, in.project.Number, in.scope.From(), in.scope.To()); err != nil {
				return fmt.Errorf("count new issues: %w", err)
			}
			return nil
		})
		if err := group.Wait(); err != nil {
			return nil, err
		}

		out := GetOverview200JSONResponse{StepSeconds: seconds(o.Step)}
		out.Logs.Total, out.Logs.Errors = o.Logs.Total, o.Logs.Errors
		out.Logs.Trend, out.Logs.ErrorTrend = presentTrend(o.Logs.Trend), presentTrend(o.Logs.ErrorTrend)
		out.Errors.Events, out.Errors.Users, out.Errors.Issues = o.Errors.Events, o.Errors.Users, o.Errors.Issues
		out.Errors.NewIssues, out.Errors.Top, out.Errors.Trend = fresh, top, presentTrend(o.Errors.Trend)
		out.Metrics.Metrics, out.Metrics.Series, out.Metrics.Samples = o.Metrics.Metrics, o.Metrics.Series, o.Metrics.Samples
		out.Metrics.Trend = presentTrend(o.Metrics.Trend)
		out.Monitors.Total = len(monitors)
		for _, m := range monitors {
			switch monitorStatus(m.State.Status) {
			case "ok", "running":
				out.Monitors.Ok++
			case "late":
				out.Monitors.Late++
			case "failed", "missed":
				out.Monitors.Bad++
			}
		}
		return out, nil
	})
}

// GetSignals answers with which signals have data.
func (s *Server) GetSignals(ctx context.Context, r GetSignalsRequestObject) (GetSignalsResponseObject, error) {
	now := time.Now()
	return read(ctx, s, r.Project, now.Add(-lookBack), now.Add(clockSkew), func(ctx context.Context, in subject) (GetSignalsResponseObject, error) {
		last, err := s.store.LastReceived(ctx, in.scope)
		if err != nil {
			return nil, err
		}
		state := func(signal string) SignalState {
			at, ok := last[signal]
			return SignalState{Received: ok, LastAt: optionalTime(at)}
		}
		return GetSignals200JSONResponse{
			Logs:     state("logs"),
			Metrics:  state("metrics"),
			Errors:   state("errors"),
			Checkins: state("checkins"),
		}, nil
	})
}
