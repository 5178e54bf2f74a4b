package ingest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	collogspb "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	colmetricspb "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	"google.golang.org/protobuf/proto"

	"github.com/midwatch/midwatch/proto/telemetrypb"
	"github.com/midwatch/midwatch/storage/bus"
	"github.com/midwatch/midwatch/storage/retention"
)

// kept are the numbers of days of a test's project.
var kept = retention.Days{Metrics: 3, Logs: 7, Errors: 1, Checkins: 14}

const (
	oldLog    = -8 * 24 * time.Hour
	oldSample = -4 * 24 * time.Hour
	oldEvent  = -25 * time.Hour
)

func TestWhatIsOlderThanTheProjectKeepsItIsRefused(t *testing.T) {
	t.Parallel()
	e := newEdge(t, edgeConfig{})
	if _, err := e.db.SetRetention(t.Context(), e.project.Number, kept); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	stamp := func(d time.Duration) uint64 { return uint64(now.Add(d).UnixNano()) }

	got := e.post(t, "/v1/ingest/logs", fmt.Appendf(nil, `{"msg":"json new"}`+"\n"+`{"msg":"json old","time":%q}`, now.Add(oldLog).Format(time.RFC3339)))
	if got.status != 400 || !strings.Contains(got.body, `"accepted":1,"rejected":1`) || !strings.Contains(got.body, "the time is more than 7 days in the past") {
		t.Errorf("JSON: %d %s", got.status, got.body)
	}

	record := func(d time.Duration, body string) *logspb.LogRecord {
		return &logspb.LogRecord{TimeUnixNano: stamp(d), Body: &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: body}}}
	}
	body, err := proto.Marshal(&collogspb.ExportLogsServiceRequest{ResourceLogs: []*logspb.ResourceLogs{{ScopeLogs: []*logspb.ScopeLogs{{
		LogRecords: []*logspb.LogRecord{record(0, "otlp new"), record(oldLog, "otlp old")},
	}}}}})
	if err != nil {
		t.Fatal(err)
	}
	got = e.post(t, "/v1/logs", body, "Content-Type", mimeProtobuf)
	var logs collogspb.ExportLogsServiceResponse
	if err := proto.Unmarshal([]byte(got.body), &logs); err != nil || got.status != 200 || logs.PartialSuccess.GetRejectedLogRecords() != 1 ||
		!strings.Contains(logs.PartialSuccess.GetErrorMessage(), "more than 7 days in the past") {
		t.Errorf("OTLP logs: %d %v %v", got.status, &logs, err)
	}

	point := func(d time.Duration) *metricspb.NumberDataPoint {
		return &metricspb.NumberDataPoint{TimeUnixNano: stamp(d), Value: &metricspb.NumberDataPoint_AsDouble{AsDouble: 1}}
	}
	body, err = proto.Marshal(&colmetricspb.ExportMetricsServiceRequest{ResourceMetrics: []*metricspb.ResourceMetrics{{ScopeMetrics: []*metricspb.ScopeMetrics{{
		Metrics: []*metricspb.Metric{{Name: "m", Data: &metricspb.Metric_Gauge{Gauge: &metricspb.Gauge{DataPoints: []*metricspb.NumberDataPoint{point(0), point(oldSample)}}}}},
	}}}}})
	if err != nil {
		t.Fatal(err)
	}
	got = e.post(t, "/v1/metrics", body, "Content-Type", mimeProtobuf)
	var metrics colmetricspb.ExportMetricsServiceResponse
	if err := proto.Unmarshal([]byte(got.body), &metrics); err != nil || metrics.PartialSuccess.GetRejectedDataPoints() != 1 ||
		!strings.Contains(metrics.PartialSuccess.GetErrorMessage(), "more than 3 days in the past") {
		t.Errorf("OTLP metrics: %d %v %v", got.status, &metrics, err)
	}
	if logs, samples := e.counted(t, "midwatch.ingest.rejected", "reason", "too_old", "signal", "logs"), e.counted(t, "midwatch.ingest.rejected", "reason", "too_old", "signal", "metrics"); logs != 2 || samples != 1 {
		t.Errorf("%d logs and %d samples are counted as too old, want 2 and 1", logs, samples)
	}

	for _, b := range e.logBatches(t) {
		if b.RetentionDays != 7 {
			t.Errorf("a batch of logs is kept for %d days, want 7", b.RetentionDays)
		}
	}
	if got := strings.Join(e.bodies(t), ", "); got != "json new, otlp new" {
		t.Errorf("stored: %s", got)
	}
	batches := stored(t, e.bus, bus.Metrics, &telemetrypb.MetricFrame{}, (*telemetrypb.MetricFrame).GetBatches)
	if len(batches) != 1 || batches[0].RetentionDays != 3 || len(batches[0].Metrics[0].Series[0].Values) != 1 {
		t.Errorf("batches of metrics: %v", batches)
	}
}

func TestOldSentryEventsAreRefused(t *testing.T) {
	t.Parallel()
	r := newSentryRig(t, nil)
	if _, err := r.db.SetRetention(t.Context(), 1, kept); err != nil {
		t.Fatal(err)
	}
	event := func(at time.Time, message string) string {
		return fmt.Sprintf(`{"timestamp":%d,"message":%q}`, at.Unix(), message)
	}
	now := time.Now()
	auth := []string{"X-Sentry-Auth", "Sentry sentry_key=" + sentryTestKey}
	old, fresh, broken := event(now.Add(oldEvent), "old"), event(now, "new"), event(now.Add(-40*24*time.Hour), "a broken clock")
	logs := fmt.Sprintf(`{"items":[{"timestamp":%d,"body":"old","level":"info"},{"timestamp":%d,"body":"new","level":"info"}]}`, now.Add(oldLog).Unix(), now.Unix())
	envelope := "{}\n"
	for _, e := range []string{old, fresh, broken} {
		envelope += `{"type":"event"}` + "\n" + e + "\n"
	}
	envelope += `{"type":"log","item_count":2,"content_type":"application/vnd.sentry.items.log+json"}` + "\n" + logs + "\n"
	got := r.do(t, "POST", "/api/1/envelope/", envelope, auth...)
	if got.status != 400 || !strings.Contains(got.body, "item 1 (event): the time is more than one day in the past") ||
		!strings.Contains(got.body, "item 4 (log): the time is more than 7 days in the past") || strings.Contains(got.body, "item 2") || strings.Contains(got.body, "item 3") {
		t.Errorf("envelope: %d %s", got.status, got.body)
	}
	got = r.do(t, "POST", "/api/1/store/", old, auth...)
	if got.status != 400 || !strings.Contains(got.body, "more than one day in the past") {
		t.Errorf("store: %d %s", got.status, got.body)
	}
	var texts []string
	for _, e := range stored(t, r.bus, bus.Errors, &telemetrypb.ErrorFrame{}, (*telemetrypb.ErrorFrame).GetEvents) {
		texts = append(texts, fmt.Sprintf("%s for %d", e.Value, e.RetentionDays))
	}
	if got := strings.Join(texts, ", "); got != "new for 1, a broken clock for 1" {
		t.Errorf("stored: %s", got)
	}
	var bodies []string
	for _, b := range stored(t, r.bus, bus.Logs, &telemetrypb.LogFrame{}, (*telemetrypb.LogFrame).GetBatches) {
		for _, g := range b.Groups {
			for _, l := range g.Records {
				bodies = append(bodies, fmt.Sprintf("%s for %d", l.Body, b.RetentionDays))
			}
		}
	}
	if got := strings.Join(bodies, ", "); got != "new for 7" {
		t.Errorf("stored logs: %s", got)
	}
}

func TestPingsSayForHowLongTheyAreKept(t *testing.T) {
	t.Parallel()
	r := newSentryRig(t, nil)
	m := createMonitor(t, r, "job")
	if _, err := r.db.SetRetention(t.Context(), 1, kept); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/ping/" + sentryTestKey + "/job", "/ping/" + m.UUID, "/api/1/cron/job/" + sentryTestKey + "/?status=ok"} {
		if got := r.do(t, "GET", path, ""); got.status >= 300 {
			t.Errorf("%s: %d %s", path, got.status, got.body)
		}
	}
	all := r.checkins(t)
	if len(all) != 3 {
		t.Fatalf("%d check-ins", len(all))
	}
	for i, c := range all {
		if c.RetentionDays != 14 {
			t.Errorf("check-in %d is kept for %d days, want 14", i, c.RetentionDays)
		}
	}
}

func TestIntakeLearnsOfAnotherRetention(t *testing.T) {
	t.Parallel()
	e := newEdge(t, edgeConfig{})
	at := time.Now()
	e.keys.now = func() time.Time { return at }
	send := func() {
		t.Helper()
		if got := e.post(t, "/v1/ingest/logs", []byte(`{"msg":"a"}`)); got.status != 200 {
			t.Fatalf("%d %s", got.status, got.body)
		}
	}
	send()
	if _, err := e.db.SetRetention(t.Context(), e.project.Number, kept); err != nil {
		t.Fatal(err)
	}
	at = at.Add(keyFresh)
	send()
	var days []uint32
	for _, b := range e.logBatches(t) {
		days = append(days, b.RetentionDays)
	}
	if fmt.Sprint(days) != "[30 7]" {
		t.Errorf("batches are kept for %v days, want 30, then 7", days)
	}
}
