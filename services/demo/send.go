package demo

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	collectorlogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	collectormetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	"google.golang.org/protobuf/proto"
)

// signal is what a request carries, for the count of progress.
type signal int

const (
	logs signal = iota
	metrics
	errorEvents
	checkins
	deploys
	signals // how many there are
)

var signalNames = [signals]string{"logs", "metrics", "errors", "check-ins", "deploys"}

// request is one request of an SDK.
type request struct {
	method  string
	url     string
	headers map[string]string
	body    []byte
	signal  signal
	// count is how many records it carries.
	count int
	// answer reads the answer of a success, which may say that records were rejected.
	answer func([]byte) error
}

const (
	requestTimeout = 30 * time.Second
	// giveUp is how long one request is tried.
	giveUp       = 2 * time.Minute
	firstBackoff = 200 * time.Millisecond
	maxBackoff   = 5 * time.Second
	maxAnswer    = 64 << 10
)

// send delivers a request, again when it is told to come back later or nobody answers.
func send(ctx context.Context, client *http.Client, r request) error {
	deadline := time.Now().Add(giveUp)
	for backoff := firstBackoff; ; backoff = min(2*backoff, maxBackoff) {
		wait, err := try(ctx, client, r)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var final finalError
		if errors.As(err, &final) || time.Now().After(deadline) {
			return err
		}
		wait = max(wait, backoff/2+rand.N(backoff))
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
	}
}

// finalError is an answer that another attempt would get again.
type finalError struct{ error }

func (e finalError) Unwrap() error { return e.error }

// try makes one attempt. With an error that may pass it says how long to wait at least.
func try(ctx context.Context, client *http.Client, r request) (wait time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, r.method, r.url, bytes.NewReader(r.body))
	if err != nil {
		return 0, finalError{fmt.Errorf("make request: %w", err)}
	}
	req.Header.Set("User-Agent", "midwatch-demo")
	for name, value := range r.headers {
		req.Header.Set(name, value)
	}
	res, err := client.Do(req)
	if err != nil {
		// Its own words have the whole address, and with it the key.
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err
		}
		return 0, fmt.Errorf("%s %s: %w", r.method, endpoint(req), err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return 0, fmt.Errorf("%s %s: read the answer: %w", r.method, endpoint(req), err)
	}
	switch code := res.StatusCode; {
	case code >= 200 && code < 300:
		if r.answer != nil {
			if err := r.answer(answer); err != nil {
				return 0, finalError{fmt.Errorf("%s %s: %w", r.method, endpoint(req), err)}
			}
		}
		return 0, nil
	case code == http.StatusTooManyRequests, code == http.StatusServiceUnavailable, code == http.StatusBadGateway, code == http.StatusGatewayTimeout:
		return retryAfter(res.Header.Get("Retry-After")), fmt.Errorf("%s %s: %s", r.method, endpoint(req), res.Status)
	default:
		return 0, finalError{fmt.Errorf("%s %s: %s: %s", r.method, endpoint(req), res.Status, strings.TrimSpace(string(answer)))}
	}
}

// endpoint names where a request went, without the key that a ping's path holds.
func endpoint(r *http.Request) string {
	if strings.HasPrefix(r.URL.Path, "/ping/") {
		return r.URL.Scheme + "://" + r.URL.Host + "/ping/…"
	}
	return r.URL.Scheme + "://" + r.URL.Host + r.URL.Path
}

// retryAfter reads seconds or a date; at most a minute.
func retryAfter(value string) time.Duration {
	if value == "" {
		return 0
	}
	wait := time.Duration(0)
	if seconds, err := strconv.Atoi(value); err == nil {
		wait = time.Duration(min(max(seconds, 0), 60)) * time.Second
	} else if at, err := http.ParseTime(value); err == nil {
		wait = time.Until(at)
	}
	return min(max(wait, 0), time.Minute)
}

func compress(body []byte) ([]byte, error) {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(body); err != nil {
		return nil, fmt.Errorf("compress: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("compress: %w", err)
	}
	return b.Bytes(), nil
}

// otlp is a request of an OpenTelemetry SDK.
func otlp(o Options, path string, message proto.Message) (request, error) {
	body, err := proto.MarshalOptions{Deterministic: true}.Marshal(message)
	if err != nil {
		return request{}, fmt.Errorf("encode otlp: %w", err)
	}
	if body, err = compress(body); err != nil {
		return request{}, err
	}
	return request{
		method: http.MethodPost, url: o.OTLPURL + path, body: body,
		headers: map[string]string{
			"Content-Type": "application/x-protobuf", "Content-Encoding": "gzip", "Authorization": "Bearer " + o.Key,
		},
	}, nil
}

func resource(service, instance, release string) *resourcepb.Resource {
	return &resourcepb.Resource{Attributes: keyValues([]any{
		"service.name", service, "service.namespace", "shop", "service.instance.id", instance, "service.version", release,
		"deployment.environment.name", environment, "host.name", "node-" + instance[len(instance)-1:],
	})}
}

func otlpMetrics(o Options, readings []reading) (request, error) {
	message := &collectormetrics.ExportMetricsServiceRequest{}
	points := 0
	for _, r := range readings {
		message.ResourceMetrics = append(message.ResourceMetrics, &metricspb.ResourceMetrics{
			Resource:     resource(r.service, r.instance, r.release),
			ScopeMetrics: []*metricspb.ScopeMetrics{{Scope: &commonpb.InstrumentationScope{Name: "shop/" + r.service}, Metrics: r.metrics}},
		})
		points += r.points()
	}
	out, err := otlp(o, "/v1/metrics", message)
	if err != nil {
		return out, err
	}
	out.signal, out.count = metrics, points
	out.answer = func(body []byte) error {
		var answer collectormetrics.ExportMetricsServiceResponse
		if err := proto.Unmarshal(body, &answer); err != nil {
			return fmt.Errorf("read the answer: %w", err)
		}
		return rejected(answer.GetPartialSuccess().GetRejectedDataPoints(), answer.GetPartialSuccess().GetErrorMessage())
	}
	return out, nil
}

func rejected(n int64, reason string) error {
	if n == 0 {
		return nil
	}
	return fmt.Errorf("%d records were rejected: %s", n, reason)
}

// otlpLogs is what the services with an OpenTelemetry SDK say, by instance.
func otlpLogs(o Options, s *story, lines []line) (request, error) {
	message := &collectorlogs.ExportLogsServiceRequest{}
	type source struct{ instance, release string }
	byInstance := map[source]*logspb.ScopeLogs{}
	for _, l := range lines {
		from := source{l.instance, s.release(l.at)}
		scope := byInstance[from]
		if scope == nil {
			scope = &logspb.ScopeLogs{Scope: &commonpb.InstrumentationScope{Name: "shop/" + l.service}}
			byInstance[from] = scope
			message.ResourceLogs = append(message.ResourceLogs, &logspb.ResourceLogs{
				Resource: resource(l.service, l.instance, from.release), ScopeLogs: []*logspb.ScopeLogs{scope},
			})
		}
		at := uint64(l.at.UnixNano())
		scope.LogRecords = append(scope.LogRecords, &logspb.LogRecord{
			TimeUnixNano: at, ObservedTimeUnixNano: at,
			SeverityNumber: logspb.SeverityNumber(l.severity), SeverityText: strings.ToUpper(l.severity.String()),
			Body:       &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: l.body}},
			Attributes: keyValues(l.attributes), TraceId: l.trace, SpanId: l.span,
		})
	}
	out, err := otlp(o, "/v1/logs", message)
	if err != nil {
		return out, err
	}
	out.signal, out.count = logs, len(lines)
	out.answer = func(body []byte) error {
		var answer collectorlogs.ExportLogsServiceResponse
		if err := proto.Unmarshal(body, &answer); err != nil {
			return fmt.Errorf("read the answer: %w", err)
		}
		return rejected(answer.GetPartialSuccess().GetRejectedLogRecords(), answer.GetPartialSuccess().GetErrorMessage())
	}
	return out, nil
}

// jsonLogs is what a service says that writes JSON, one object a line.
func jsonLogs(o Options, s *story, lines []line) (request, error) {
	var b bytes.Buffer
	w := json.NewEncoder(&b)
	for _, l := range lines {
		record := object{
			"time": l.at.Format(time.RFC3339Nano), "level": l.severity.String(), "service": l.service, "message": l.body,
			"service.instance.id": l.instance, "service.version": s.release(l.at), "env": environment,
		}
		if l.trace != nil {
			record["trace_id"], record["span_id"] = hexText(l.trace), hexText(l.span)
		}
		for i := 0; i+1 < len(l.attributes); i += 2 {
			key, _ := l.attributes[i].(string)
			record[key] = l.attributes[i+1]
		}
		if err := w.Encode(record); err != nil {
			return request{}, fmt.Errorf("encode log line: %w", err)
		}
	}
	body, err := compress(b.Bytes())
	if err != nil {
		return request{}, err
	}
	return request{
		method: http.MethodPost, url: o.URL + "/v1/ingest/logs", body: body, signal: logs, count: len(lines),
		headers: map[string]string{"Content-Type": "application/x-ndjson", "Content-Encoding": "gzip", "Authorization": "Bearer " + o.Key},
	}, nil
}

func hexText(b []byte) string { return fmt.Sprintf("%x", b) }

// request tells of a deploy of one service.
func (d deploy) request(o Options, service string) (request, error) {
	text, err := json.Marshal(object{"service": service, "environment": environment, "release": d.release, "at": d.at.Format(time.RFC3339)})
	if err != nil {
		return request{}, fmt.Errorf("encode deploy: %w", err)
	}
	return request{
		method: http.MethodPost, url: o.URL + "/api/v1/midwatch/deploys", body: text, signal: deploys, count: 1,
		headers: map[string]string{"Content-Type": "application/json", "Authorization": "Bearer " + o.Key},
	}, nil
}

// envelope is a request of a Sentry SDK with one item. Its header has no sent_at: the times of the
// past are meant as they are, not to be corrected by a clock that is off.
func envelope(o Options, header, item string, payload []byte) request {
	body := fmt.Appendf(nil, "%s\n{\"type\":%q,\"length\":%d}\n%s\n", header, item, len(payload), payload)
	out := request{
		method: http.MethodPost, url: o.URL + "/api/" + strconv.FormatUint(uint64(o.Project), 10) + "/envelope/",
		body: body, signal: errorEvents, count: 1,
		headers: map[string]string{
			"Content-Type":  "application/x-sentry-envelope",
			"X-Sentry-Auth": "Sentry sentry_version=7, sentry_client=midwatch-demo/1, sentry_key=" + o.Key,
		},
	}
	if item == "check_in" {
		out.signal = checkins
	}
	return out
}
