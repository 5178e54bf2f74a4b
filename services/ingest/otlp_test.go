package ingest

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploggrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	otellog "go.opentelemetry.io/otel/log"
	"go.opentelemetry.io/otel/metric"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	collogspb "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	colmetricspb "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/midwatch/midwatch/storage/bus"
)

func logRequest(bodies ...string) *collogspb.ExportLogsServiceRequest {
	scope := new(logspb.ScopeLogs)
	for _, body := range bodies {
		r := &logspb.LogRecord{TimeUnixNano: uint64(time.Now().UnixNano()), Body: &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: body}}}
		if body == "old" {
			r.TimeUnixNano = 1
		}
		scope.LogRecords = append(scope.LogRecords, r)
	}
	return &collogspb.ExportLogsServiceRequest{ResourceLogs: []*logspb.ResourceLogs{{ScopeLogs: []*logspb.ScopeLogs{scope}}}}
}

func marshal(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestOTLPHTTP(t *testing.T) {
	t.Parallel()
	e := newEdge(t, edgeConfig{})
	at := fmt.Sprint(time.Now().UnixNano())
	partial := marshal(t, &collogspb.ExportLogsServiceResponse{PartialSuccess: &collogspb.ExportLogsPartialSuccess{
		RejectedLogRecords: 1, ErrorMessage: "the time is more than 30 days in the past (1)",
	}})
	for _, c := range []struct {
		name, path, contentType, encoding, body string
		answer                                  string
	}{
		{"protobuf", "/v1/logs", mimeProtobuf, "", string(marshal(t, logRequest("1", "2"))), ""},
		{"gzip", "/v1/logs/", mimeProtobuf, "gzip", string(compress(t, "gzip", marshal(t, logRequest("3")))), ""},
		{"zstd", "/v1/logs", mimeProtobuf, "zstd", string(compress(t, "zstd", marshal(t, logRequest("4")))), ""},
		{"JSON", "/v1/logs", "application/json", "", `{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":"` + at + `","body":{"stringValue":"5"}}]}]}]}`, "{}"},
		{"partial", "/v1/logs", mimeProtobuf, "", string(marshal(t, logRequest("6", "old", "7"))), string(partial)},
		{
			"partial JSON", "/v1/logs", "application/json", "", `{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":1,"body":{"stringValue":"old"}},{"body":{"stringValue":"8"}}]}]}]}`,
			`{"partialSuccess":{"rejectedLogRecords":"1","errorMessage":"the time is more than 30 days in the past (1)"}}`,
		},
		{"nothing", "/v1/logs", mimeProtobuf, "", "", ""},
		{"empty JSON", "/v1/metrics/", "application/json", "", "{}", "{}"},
		{"no JSON", "/v1/metrics", "application/json", "", "", "{}"},
		{
			"delta", "/v1/metrics", "application/json", "", `{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"m","sum":{"aggregationTemporality":1,"dataPoints":[{"timeUnixNano":"` + at + `","asInt":1}]}},{"name":"g","gauge":{"dataPoints":[{"timeUnixNano":"` + at + `","asInt":1}]}}]}]}]}`,
			`{"partialSuccess":{"rejectedDataPoints":"1","errorMessage":"metric \"m\": delta temporality is not kept: set OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE=cumulative in its SDK, or put the deltatocumulative processor into the collector (1)"}}`,
		},
		{
			"traces", "/v1/traces", mimeProtobuf, "", string(marshal(t, &coltracepb.ExportTraceServiceRequest{ResourceSpans: []*tracepb.ResourceSpans{{ScopeSpans: []*tracepb.ScopeSpans{{Spans: []*tracepb.Span{{}, {}}}}}}})),
			string(marshal(t, &coltracepb.ExportTraceServiceResponse{PartialSuccess: &coltracepb.ExportTracePartialSuccess{RejectedSpans: 2, ErrorMessage: tracesNotKept}})),
		},
		{"no traces", "/v1/traces", "application/json; charset=utf-8", "", "{}", "{}"},
	} {
		got := e.post(t, c.path, []byte(c.body), "Content-Type", c.contentType, "Content-Encoding", c.encoding)
		sent, _, _ := strings.Cut(c.contentType, ";")
		if answer := strings.ReplaceAll(strings.ReplaceAll(got.body, ": ", ":"), ", \"", ",\""); got.status != 200 || answer != strings.ReplaceAll(strings.ReplaceAll(c.answer, ": ", ":"), ", \"", ",\"") || got.header.Get("Content-Type") != sent {
			t.Errorf("%s: %d %s %q, want %q", c.name, got.status, got.header.Get("Content-Type"), got.body, c.answer)
		}
	}
	if got := strings.Join(e.bodies(t), " "); got != "1 2 3 4 5 6 7 8" {
		t.Errorf("stored %s", got)
	}
	if got := e.storedMetrics(t); len(got) != 1 || got[0].Name != "g" {
		t.Errorf("stored %v", got)
	}
	for reason, want := range map[string]int64{"too_old": 2, "delta_temporality": 1, "not_kept": 2} {
		if got := e.counted(t, "midwatch.ingest.rejected", "reason", reason); got != want {
			t.Errorf("rejected for %s: %d, want %d", reason, got, want)
		}
	}
}

func TestOTLPHTTPErrors(t *testing.T) {
	t.Parallel()
	e := newEdge(t, edgeConfig{config: Config{MaxBodyBytes: 1 << 20}, usage: map[string]int64{"logs": 1}})
	good := marshal(t, logRequest("x"))
	large := make([]byte, 2<<20)
	for _, c := range []struct {
		name, path string
		body       []byte
		header     []string
		status     int
		code       codes.Code
		words      string
	}{
		{"no type", "/v1/logs", good, nil, 415, codes.InvalidArgument, `content type "" is not OTLP: send application/x-protobuf or application/json`},
		{"form", "/v1/metrics", good, []string{"Content-Type", "application/x-www-form-urlencoded"}, 415, codes.InvalidArgument, "is not OTLP"},
		{"no key", "/v1/logs", good, []string{"Content-Type", mimeProtobuf, "Authorization", ""}, 401, codes.Unauthenticated, "no ingest key"},
		{"wrong key", "/v1/traces", good, []string{"Content-Type", mimeProtobuf, "Authorization", "Bearer unknown-key"}, 401, codes.Unauthenticated, "no project has this ingest key"},
		{"wrong key in JSON", "/v1/logs", good, []string{"Content-Type", "application/json", "Authorization", "Bearer unknown-key"}, 401, codes.Unauthenticated, "no project has this ingest key"},
		{"undecodable", "/v1/logs", []byte("\x0a\xff\xff"), []string{"Content-Type", mimeProtobuf}, 400, codes.InvalidArgument, "the body is not an OTLP logs request as application/x-protobuf"},
		{"undecodable JSON", "/v1/metrics", []byte(`{"resourceMetrics":7}`), []string{"Content-Type", "application/json"}, 400, codes.InvalidArgument, "at byte 19: '7' where an array is expected"},
		{"too large", "/v1/logs", large, []string{"Content-Type", mimeProtobuf}, 413, codes.ResourceExhausted, "the limit is 1048576 bytes after decompression"},
		{"bomb", "/v1/logs", compress(t, "gzip", large), []string{"Content-Type", mimeProtobuf, "Content-Encoding", "gzip"}, 413, codes.ResourceExhausted, "the body is too large"},
		{"cut off", "/v1/logs", compress(t, "gzip", good)[:20], []string{"Content-Type", mimeProtobuf, "Content-Encoding", "gzip"}, 400, codes.InvalidArgument, "the body is cut off"},
		{"unknown encoding", "/v1/logs", good, []string{"Content-Type", mimeProtobuf, "Content-Encoding", "lz4"}, 415, codes.InvalidArgument, `unknown content encoding "lz4"`},
	} {
		got := e.post(t, c.path, c.body, c.header...)
		want := mimeProtobuf
		m := new(rpcstatus.Status)
		if got.header.Get("Content-Type") == "application/json" {
			want = "application/json"
			if !strings.Contains(got.body, `"message":`) || !strings.Contains(strings.ReplaceAll(got.body, " ", ""), fmt.Sprintf(`"code":%d`, c.code)) {
				t.Errorf("%s: %s", c.name, got.body)
			}
			m.Code, m.Message = int32(c.code), strings.ReplaceAll(got.body, `\"`, `"`)
		} else if err := proto.Unmarshal([]byte(got.body), m); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if slices.Contains(c.header, mimeProtobuf) != (want == mimeProtobuf) {
			t.Errorf("%s: answered as %s", c.name, want)
		}
		if got.status != c.status || m.Code != int32(c.code) || !strings.Contains(m.Message, c.words) {
			t.Errorf("%s: %d %v, want %d %s %s", c.name, got.status, m, c.status, c.code, c.words)
		}
	}

	// The limit of a project: to be sent again.
	if got := e.post(t, "/v1/logs", good, "Content-Type", mimeProtobuf); got.status != 200 {
		t.Fatalf("%d %q", got.status, got.body)
	}
	m := new(rpcstatus.Status)
	got := e.post(t, "/v1/logs", marshal(t, logRequest("y")), "Content-Type", mimeProtobuf)
	if err := proto.Unmarshal([]byte(got.body), m); err != nil || got.status != 429 || got.header.Get("Retry-After") == "" || codes.Code(m.Code) != codes.ResourceExhausted {
		t.Errorf("%d %v %v, %v", got.status, got.header, m, err)
	}
	// A bus that is away as well.
	e.bus.Close()
	got = e.post(t, "/v1/metrics", []byte(`{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"g","gauge":{"dataPoints":[{"asInt":1}]}}]}]}]}`), "Content-Type", "application/json")
	if got.status != 503 || got.header.Get("Retry-After") != "5" || !strings.Contains(got.body, "the buffer does not answer") {
		t.Errorf("%d %v %s", got.status, got.header, got.body)
	}
}

func TestOTLPIsKeptOnce(t *testing.T) {
	t.Parallel()
	e := newEdge(t, edgeConfig{})
	body := marshal(t, logRequest("1"))
	untimed := logRequest("2")
	untimed.ResourceLogs[0].ScopeLogs[0].LogRecords[0].TimeUnixNano = 0
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+edgeKey)
	client := collogspb.NewLogsServiceClient(e.conn)
	for range 3 {
		if got := e.post(t, "/v1/logs", body, "Content-Type", mimeProtobuf); got.status != 200 {
			t.Errorf("%d %s", got.status, got.body)
		}
		if _, err := client.Export(ctx, untimed); err != nil {
			t.Error(err)
		}
	}
	if got := strings.Join(e.bodies(t), " "); got != "1 2" {
		t.Errorf("stored %s, want each once", got)
	}
}

func TestOTLPGRPC(t *testing.T) {
	t.Parallel()
	e := newEdge(t, edgeConfig{config: Config{MaxBodyBytes: 1 << 20}, usage: map[string]int64{"logs": 4}})
	client := collogspb.NewLogsServiceClient(e.conn)
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+edgeKey)
	resp, err := client.Export(ctx, logRequest("1", "old"), grpc.UseCompressor(gzip.Name))
	if err != nil || resp.PartialSuccess.GetRejectedLogRecords() != 1 || resp.PartialSuccess.GetErrorMessage() != "the time is more than 30 days in the past (1)" {
		t.Errorf("Export = %v, %v", resp, err)
	}
	if resp, err := client.Export(metadata.AppendToOutgoingContext(t.Context(), "x-midwatch-key", edgeKey), logRequest("2")); err != nil || resp.PartialSuccess != nil {
		t.Errorf("Export = %v, %v", resp, err)
	}
	if resp, err := colmetricspb.NewMetricsServiceClient(e.conn).Export(ctx, new(colmetricspb.ExportMetricsServiceRequest)); err != nil || resp.PartialSuccess != nil {
		t.Errorf("Export of nothing = %v, %v", resp, err)
	}
	spans := &coltracepb.ExportTraceServiceRequest{ResourceSpans: []*tracepb.ResourceSpans{{ScopeSpans: []*tracepb.ScopeSpans{{Spans: []*tracepb.Span{{}}}}}}}
	if resp, err := coltracepb.NewTraceServiceClient(e.conn).Export(ctx, spans); err != nil || resp.PartialSuccess.GetRejectedSpans() != 1 {
		t.Errorf("Export of spans = %v, %v", resp, err)
	}
	if got := strings.Join(e.bodies(t), " "); got != "1 2" {
		t.Errorf("stored %s", got)
	}

	for _, c := range []struct {
		name  string
		ctx   context.Context
		req   *collogspb.ExportLogsServiceRequest
		code  codes.Code
		retry bool
		words string
	}{
		{"no key", t.Context(), logRequest("x"), codes.Unauthenticated, false, "no ingest key"},
		{"wrong key", metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer unknown-key"), logRequest("x"), codes.Unauthenticated, false, "no project has this ingest key"},
		{"too large", ctx, logRequest(strings.Repeat("x", 2<<20)), codes.ResourceExhausted, false, ""},
		{"limit", ctx, logRequest("3", "4", "5"), codes.ResourceExhausted, true, "limit of logs a minute"},
	} {
		_, err := client.Export(c.ctx, c.req)
		checkStatus(t, c.name, err, c.code, c.retry, c.words)
	}
	e.bus.Close()
	_, err = client.Export(ctx, logRequest("3"))
	checkStatus(t, "no bus", err, codes.Unavailable, true, "the buffer does not answer")
	if got := e.counted(t, "midwatch.ingest.requests", "protocol", otlpGRPC, "code", "Unavailable"); got != 1 {
		t.Errorf("%d requests are counted as Unavailable", got)
	}
}

func checkStatus(t *testing.T, name string, err error, code codes.Code, retry bool, words string) {
	t.Helper()
	st := status.Convert(err)
	retries := slices.ContainsFunc(st.Details(), func(d any) bool {
		info, ok := d.(*errdetails.RetryInfo)
		return ok && info.RetryDelay.AsDuration() > 0
	})
	if st.Code() != code || retries != retry || !strings.Contains(st.Message(), words) {
		t.Errorf("%s: %v, to be sent again: %t; want %s, %t", name, err, retries, code, retry)
	}
}

// TestOTelSDK drives the exporters that applications have.
func TestOTelSDK(t *testing.T) {
	t.Parallel()
	e := newEdge(t, edgeConfig{})
	ctx := t.Context()
	headers := map[string]string{"authorization": "Bearer " + edgeKey}
	host, target := strings.TrimPrefix(e.url, "http://"), e.conn.Target()

	metricHTTP, err := otlpmetrichttp.New(ctx, otlpmetrichttp.WithEndpoint(host), otlpmetrichttp.WithInsecure(), otlpmetrichttp.WithHeaders(headers), otlpmetrichttp.WithCompression(otlpmetrichttp.GzipCompression))
	if err != nil {
		t.Fatal(err)
	}
	metricGRPC, err := otlpmetricgrpc.New(ctx, otlpmetricgrpc.WithEndpoint(target), otlpmetricgrpc.WithInsecure(), otlpmetricgrpc.WithHeaders(headers), otlpmetricgrpc.WithCompressor("gzip"))
	if err != nil {
		t.Fatal(err)
	}
	for name, exporter := range map[string]sdkmetric.Exporter{"http": metricHTTP, "grpc": metricGRPC} {
		provider := sdkmetric.NewMeterProvider(
			sdkmetric.WithResource(resource.NewSchemaless(attribute.String("service.name", "shop"), attribute.String("service.instance.id", name))),
			sdkmetric.WithReader(sdkmetric.NewPeriodicReader(exporter)),
			sdkmetric.WithView(sdkmetric.NewView(sdkmetric.Instrument{Name: "size"}, sdkmetric.Stream{Aggregation: sdkmetric.AggregationBase2ExponentialHistogram{MaxSize: 160, MaxScale: 20}})),
		)
		meter := provider.Meter("test")
		counter, err1 := meter.Int64Counter("orders", metric.WithUnit("{order}"))
		duration, err2 := meter.Float64Histogram("request.duration", metric.WithUnit("s"), metric.WithExplicitBucketBoundaries(.1, 1))
		size, err3 := meter.Int64Histogram("size", metric.WithUnit("By"))
		if err1 != nil || err2 != nil || err3 != nil {
			t.Fatal(err1, err2, err3)
		}
		counter.Add(ctx, 3, metric.WithAttributes(attribute.String("region", "eu")))
		duration.Record(ctx, .5)
		size.Record(ctx, 1000)
		if err := provider.Shutdown(ctx); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	got := map[string]float64{}
	for _, m := range e.storedMetrics(t) {
		for _, s := range m.Series {
			key := m.Name
			for _, l := range s.Labels {
				if l.Key == "instance" || l.Key == "le" {
					key += " " + l.Value
				}
			}
			for _, v := range s.Values {
				got[key] = v
			}
		}
	}
	for _, instance := range []string{"http", "grpc"} {
		for key, want := range map[string]float64{
			"orders_total %s": 3, "request_duration_seconds_bucket %s 0.1": 0, "request_duration_seconds_bucket %s 1": 1, "request_duration_seconds_bucket %s +Inf": 1,
			"request_duration_seconds_sum %s": .5, "size_bytes_bucket %s 512": 0, "size_bytes_bucket %s 1024": 1, "size_bytes_count %s": 1,
		} {
			key = fmt.Sprintf(key, instance)
			if v, ok := got[key]; !ok || v != want {
				t.Errorf("%s = %v, %t, want %v", key, v, ok, want)
			}
		}
	}

	logHTTP, err := otlploghttp.New(ctx, otlploghttp.WithEndpoint(host), otlploghttp.WithInsecure(), otlploghttp.WithHeaders(headers))
	if err != nil {
		t.Fatal(err)
	}
	logGRPC, err := otlploggrpc.New(ctx, otlploggrpc.WithEndpoint(target), otlploggrpc.WithInsecure(), otlploggrpc.WithHeaders(headers))
	if err != nil {
		t.Fatal(err)
	}
	for _, exporter := range []sdklog.Exporter{logHTTP, logGRPC} {
		provider := sdklog.NewLoggerProvider(sdklog.WithProcessor(sdklog.NewBatchProcessor(exporter)))
		var r otellog.Record
		r.SetTimestamp(time.Now())
		r.SetSeverity(otellog.SeverityWarn)
		r.SetBody(attribute.MapValue(attribute.String("order", "17")))
		provider.Logger("test").Emit(ctx, r)
		if err := provider.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	}
	if got := e.bodies(t); len(got) != 2 || got[0] != `{"order":"17"}` || got[1] != got[0] {
		t.Errorf("stored %q", got)
	}

	traceHTTP, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpoint(host), otlptracehttp.WithInsecure(), otlptracehttp.WithHeaders(headers))
	if err != nil {
		t.Fatal(err)
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(traceHTTP))
	_, span := provider.Tracer("test").Start(ctx, "x")
	span.End()
	if err := provider.Shutdown(ctx); err != nil {
		t.Errorf("traces: %v", err) // a partial success is no error of shutting down
	}
}

func TestRolesServeTheirSignals(t *testing.T) {
	t.Parallel()
	e := newEdge(t, edgeConfig{})
	if got := e.post(t, "/api/1/envelope/", nil); got.status != http.StatusNotFound {
		t.Errorf("Sentry on a role of logs and metrics: %d", got.status)
	}
	if _, err := e.bus.Backlog(t.Context(), bus.Errors); err != nil {
		t.Error(err)
	}
}
