package query

import (
	"context"
	"time"

	"github.com/midwatch/midwatch/storage/telemetry"
)

// SearchLogs answers with a page of log records, newest first.
func (s *Server) SearchLogs(ctx context.Context, r SearchLogsRequestObject) (SearchLogsResponseObject, error) {
	return read(ctx, s, r.Project, r.Params.From, r.Params.To, func(ctx context.Context, in subject) (SearchLogsResponseObject, error) {
		filter, err := logFilter(r.Params.Q, r.Params.Level, r.Params.Service)
		if err != nil {
			return nil, err
		}
		limit, err := count("limit", r.Params.Limit, 1000, 100)
		if err != nil {
			return nil, err
		}
		cursor, err := words("cursor", r.Params.Cursor, 200)
		if err != nil {
			return nil, err
		}
		page, err := s.store.Logs(ctx, in.scope, filter, limit, cursor)
		if err != nil {
			return nil, err
		}
		return SearchLogs200JSONResponse{Rows: each(page.Rows, logOf), NextCursor: optional(page.Next)}, nil
	})
}

// LogHistogram answers with how many records match.
func (s *Server) LogHistogram(ctx context.Context, r LogHistogramRequestObject) (LogHistogramResponseObject, error) {
	return read(ctx, s, r.Project, r.Params.From, r.Params.To, func(ctx context.Context, in subject) (LogHistogramResponseObject, error) {
		filter, err := logFilter(r.Params.Q, r.Params.Level, r.Params.Service)
		if err != nil {
			return nil, err
		}
		h, err := s.store.LogHistogram(ctx, in.scope, filter)
		if err != nil {
			return nil, err
		}
		return LogHistogram200JSONResponse(logHistogramOf(h)), nil
	})
}

func logFilter(q *LogText, levels *LogLevel, services *LogService) (telemetry.LogFilter, error) {
	var f telemetry.LogFilter
	var err error
	if f.Text, err = words("q", q, 1000); err != nil {
		return f, err
	}
	if levels != nil {
		for _, l := range *levels {
			if !l.Valid() {
				return f, invalid("level: %q is none of unknown, trace, debug, info, warn, error, fatal", l)
			}
			f.Levels = append(f.Levels, string(l))
		}
		f.Levels = unique(f.Levels)
	}
	f.Services, err = names("service", services, 50, 200)
	return f, err
}

func logOf(l telemetry.Log) Log {
	return Log{
		Id:           l.ID,
		Time:         l.Time.UTC().Format(time.RFC3339Nano),
		Level:        Level(l.Level),
		Severity:     l.Severity,
		SeverityText: optional(l.SeverityText),
		Service:      l.Service,
		Body:         l.Body,
		Attributes:   present(l.Attributes),
		Resource:     present(l.Resource),
		TraceId:      optional(l.TraceID),
		SpanId:       optional(l.SpanID),
	}
}

func logHistogramOf(h telemetry.LogHistogram) LogHistogram {
	out := LogHistogram{Total: h.Total, StepSeconds: seconds(h.Step)}
	out.Buckets = resize(out.Buckets, len(h.Buckets))
	for i, b := range h.Buckets {
		out.Buckets[i].At, out.Buckets[i].Counts = b.At.UTC(), present(b.Counts)
	}
	out.Services = resize(out.Services, len(h.Services))
	for i, c := range h.Services {
		out.Services[i].Service, out.Services[i].Count = c.Service, c.Count
	}
	return out
}
