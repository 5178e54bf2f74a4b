package query

import (
	"context"
	"errors"
	"time"

	"github.com/midwatch/midwatch/storage/telemetry"
)

const (
	// maxMetrics is how many metrics a list shows; a part of the name finds the others.
	maxMetrics = 1000
	// maxPoints is the most steps that a line may have, as in Prometheus.
	maxPoints = 11_000
)

// ListMetrics answers with the metrics that were written in the range.
func (s *Server) ListMetrics(ctx context.Context, r ListMetricsRequestObject) (ListMetricsResponseObject, error) {
	return read(ctx, s, r.Project, r.Params.From, r.Params.To, func(ctx context.Context, in subject) (ListMetricsResponseObject, error) {
		part, err := words("q", r.Params.Q, 200)
		if err != nil {
			return nil, err
		}
		metrics, truncated, err := s.store.Metrics(ctx, in.scope, part, maxMetrics)
		if err != nil {
			return nil, err
		}
		return ListMetrics200JSONResponse{Metrics: each(metrics, metricOf), Truncated: truncated}, nil
	})
}

// MetricRange answers with one metric over time.
func (s *Server) MetricRange(ctx context.Context, r MetricRangeRequestObject) (MetricRangeResponseObject, error) {
	return read(ctx, s, r.Project, r.Params.From, r.Params.To, func(ctx context.Context, in subject) (MetricRangeResponseObject, error) {
		q, err := rangeQuery(in.scope, r)
		if err != nil {
			return nil, err
		}
		m, err := s.store.MetricRange(ctx, in.scope, q)
		if errors.Is(err, telemetry.ErrNotFound) {
			return nil, notFound("there is no metric %q in this range", r.Metric)
		}
		if err != nil {
			return nil, err
		}
		return MetricRange200JSONResponse(metricRangeOf(m)), nil
	})
}

func rangeQuery(scope telemetry.Scope, r MetricRangeRequestObject) (telemetry.RangeQuery, error) {
	var q telemetry.RangeQuery
	var err error
	if q.Metric, err = words("metric", &r.Metric, 500); err != nil {
		return q, err
	}
	if q.By, err = names("by", r.Params.By, 10, 200); err != nil {
		return q, err
	}
	if a := r.Params.Aggregate; a != nil {
		if !a.Valid() {
			return q, invalid("aggregate: %q is none of avg, sum, min, max, last, count, rate", *a)
		}
		q.Aggregate = string(*a)
	}
	if r.Params.Step != nil {
		step, err := count("step", r.Params.Step, 86_400, 0)
		if err != nil {
			return q, err
		}
		q.Step = time.Duration(step) * time.Second
		if n := scope.To().Sub(scope.From()) / q.Step; n > maxPoints {
			return q, invalid("step: %d s gives %d points for this range and at most %d are drawn: take a longer step or narrow the range", step, n, maxPoints)
		}
	}
	return q, nil
}

func metricOf(m telemetry.Metric) Metric {
	return Metric{
		Name:        m.Name,
		SourceName:  optional(m.SourceName),
		Kind:        metricKind(m.Kind),
		Unit:        m.Unit,
		Description: m.Description,
		Series:      m.Series,
		Labels:      each(m.Labels, func(l string) string { return l }),
		LastAt:      optionalTime(m.LastAt),
	}
}

func metricRangeOf(m telemetry.MetricRange) MetricRange {
	out := MetricRange{
		Name:        m.Name,
		Kind:        metricKind(m.Kind),
		Unit:        m.Unit,
		Aggregate:   Aggregate(m.Aggregate),
		StepSeconds: seconds(m.Step),
		SamplesRead: m.SamplesRead,
		Truncated:   m.Truncated,
	}
	out.Series = resize(out.Series, len(m.Series))
	for i, line := range m.Series {
		o := &out.Series[i]
		o.Labels = present(line.Labels)
		o.Points = resize(o.Points, len(line.Points))
		for j, p := range line.Points {
			o.Points[j].At, o.Points[j].Value = p.At, p.Value
		}
	}
	return out
}

func metricKind(kind string) MetricKind {
	if k := MetricKind(kind); k.Valid() {
		return k
	}
	return "unknown"
}
