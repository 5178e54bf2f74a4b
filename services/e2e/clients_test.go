package e2e

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/getsentry/sentry-go"
	"github.com/prometheus/client_golang/exp/api/remote"
	writev2 "github.com/prometheus/client_golang/exp/api/remote/genproto/v2"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploggrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/log"
	"go.opentelemetry.io/otel/metric"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"

	"github.com/midwatch/midwatch/storage/storagetest"
)

// clients is the folder of the npm clients.
func clients(t testing.TB) string { return filepath.Join(root(t), "services", "e2e", "clients") }

func (s *server) dsn() string { return strings.Replace(s.http, "://", "://"+key+"@", 1) + "/1" }

// TestRealClients sends with unmodified clients and reads what they sent through the API. One
// server serves them all.
func TestRealClients(t *testing.T) {
	s := up(t)
	auth := map[string]string{"Authorization": "Bearer " + key}
	grpcAddress := strings.TrimPrefix(s.grpc, "http://")

	t.Run("OpenTelemetry Go over HTTP", func(t *testing.T) {
		metrics, err := otlpmetrichttp.New(t.Context(), otlpmetrichttp.WithEndpointURL(s.otlp+"/v1/metrics"), otlpmetrichttp.WithHeaders(auth))
		if err != nil {
			t.Fatal(err)
		}
		logs, err := otlploghttp.New(t.Context(), otlploghttp.WithEndpointURL(s.otlp+"/v1/logs"), otlploghttp.WithHeaders(auth), otlploghttp.WithCompression(otlploghttp.GzipCompression))
		if err != nil {
			t.Fatal(err)
		}
		sendOTel(t, metrics, logs, "http")
		s.awaitMetric("go_http_orders_total")
		row := s.awaitLog("sailed http")
		if row.Service != "shop-go" || row.Level != "warn" || row.Attributes["port"] != "Lisbon" {
			t.Errorf("log is %+v", row)
		}
	})

	t.Run("OpenTelemetry Go over gRPC", func(t *testing.T) {
		metrics, err := otlpmetricgrpc.New(t.Context(), otlpmetricgrpc.WithEndpoint(grpcAddress), otlpmetricgrpc.WithInsecure(), otlpmetricgrpc.WithHeaders(auth))
		if err != nil {
			t.Fatal(err)
		}
		logs, err := otlploggrpc.New(t.Context(), otlploggrpc.WithEndpoint(grpcAddress), otlploggrpc.WithInsecure(), otlploggrpc.WithHeaders(auth), otlploggrpc.WithCompressor("gzip"))
		if err != nil {
			t.Fatal(err)
		}
		sendOTel(t, metrics, logs, "grpc")
		s.awaitMetric("go_grpc_orders_total")
		s.awaitLog("sailed grpc")
	})

	t.Run("OpenTelemetry JavaScript", func(t *testing.T) {
		command(t, clients(t), []string{
			"OTEL_EXPORTER_OTLP_ENDPOINT=" + s.otlp,
			"OTEL_EXPORTER_OTLP_HEADERS=authorization=Bearer%20" + key,
		}, "node", "otel.mjs")
		s.awaitMetric("js_orders_json_total")
		s.awaitMetric("js_orders_proto_total")
		s.awaitMetric("js_checkout_json_seconds_bucket")
		row := s.awaitLog("anchors")
		if row.Service != "shop-js" || row.Attributes["item.id"] != "42" || row.Resource["service.version"] != "1.2.3" {
			t.Errorf("log is %+v", row)
		}
	})

	t.Run("Prometheus remote write", func(t *testing.T) {
		client := &http.Client{Transport: bearer{}}
		defer client.CloseIdleConnections()
		api, err := remote.NewAPI(s.http, remote.WithAPIHTTPClient(client))
		if err != nil {
			t.Fatal(err)
		}
		stats, err := api.Write(t.Context(), remote.WriteV2MessageType, &writev2.Request{
			Symbols: []string{"", "__name__", "prom_orders_total", "job", "shop"},
			Timeseries: []*writev2.TimeSeries{{
				LabelsRefs: []uint32{1, 2, 3, 4},
				Samples:    []*writev2.Sample{{Value: 5, Timestamp: time.Now().UnixMilli()}},
			}},
		})
		if err != nil || stats.Samples != 1 {
			t.Fatalf("Write = %+v, %v", stats, err)
		}
		s.awaitMetric("prom_orders_total")
	})

	t.Run("telemetrygen", func(t *testing.T) {
		tool := filepath.Join(root(t), ".bin", "telemetrygen")
		header := fmt.Sprintf(`Authorization="Bearer %s"`, key)
		command(t, ".", nil, tool, "logs", "--otlp-http", "--otlp-insecure", "--otlp-endpoint", strings.TrimPrefix(s.otlp, "http://"),
			"--otlp-header", header, "--logs", "25", "--rate", "0", "--body", "generated over http")
		command(t, ".", nil, tool, "logs", "--otlp-insecure", "--otlp-endpoint", grpcAddress,
			"--otlp-header", header, "--logs", "25", "--rate", "0", "--body", "generated over grpc")
		command(t, ".", nil, tool, "metrics", "--otlp-insecure", "--otlp-endpoint", grpcAddress,
			"--otlp-header", header, "--metrics", "5", "--rate", "0", "--otlp-metric-name", "generated")
		for _, words := range []string{`"generated over http"`, `"generated over grpc"`} {
			await(t, words, func() error {
				n, err := s.countLogs(words)
				if err == nil && n != 25 {
					err = fmt.Errorf("%d of 25 records", n)
				}
				return err
			})
		}
		s.awaitMetric("generated")
	})

	t.Run("sentry-go", func(t *testing.T) {
		client, err := sentry.NewClient(sentry.ClientOptions{Dsn: s.dsn(), Release: "shop@2.0.0", Environment: "e2e", AttachStacktrace: true})
		if err != nil {
			t.Fatal(err)
		}
		hub := sentry.NewHub(client, sentry.NewScope())
		hub.CaptureException(fmt.Errorf("load the hold: %w", errors.New("the crane is stuck at berth 12")))
		hub.CaptureCheckIn(&sentry.CheckIn{MonitorSlug: "go-nightly", Status: sentry.CheckInStatusOK, Duration: 1500 * time.Millisecond},
			&sentry.MonitorConfig{Schedule: sentry.IntervalSchedule(1, sentry.MonitorScheduleUnitDay)})
		if !client.Flush(patience) {
			t.Fatal("the events did not leave in time")
		}
		s.awaitIssue("crane is stuck")
		s.awaitMonitor("go-nightly", func(m monitor) bool { return m.Status == "ok" && len(m.Recent) == 1 })
	})

	t.Run("@sentry/node", func(t *testing.T) {
		command(t, clients(t), []string{"SENTRY_DSN=" + s.dsn()}, "node", "sentry.mjs")
		found := s.awaitIssue("cannot read the card")
		if found.Type != "TypeError" || found.Platform != "node" {
			t.Errorf("issue is %+v", found)
		}
		s.awaitIssue("the till was opened")
		s.awaitMonitor("js-nightly", func(m monitor) bool { return m.Status == "ok" && len(m.Recent) == 1 })
		s.checkEvent(t, found)
	})

	t.Run("sentry-cli", func(t *testing.T) {
		cli := filepath.Join(clients(t), "node_modules", ".bin", "sentry-cli")
		env := []string{"SENTRY_DSN=" + s.dsn()}
		command(t, t.TempDir(), env, cli, "send-event", "-m", "the lighthouse is dark", "-r", "shop@1.0.0", "-t", "coast:west")
		s.awaitIssue("the lighthouse is dark")
		command(t, t.TempDir(), env, cli, "monitors", "run", "cli-backup", "--schedule", "0 3 * * *", "--check-in-margin", "5", "--max-runtime", "10", "--timezone", "UTC", "--", "true")
		s.awaitMonitor("cli-backup", func(m monitor) bool { return m.Status == "ok" && len(m.Recent) == 1 })
	})

	t.Run("curl", func(t *testing.T) {
		curl := func(args ...string) string {
			return command(t, ".", nil, "curl", append([]string{"-sS", "--fail-with-body"}, args...)...)
		}
		bearer := "Authorization: Bearer " + key
		curl(s.http+"/v1/ingest/logs", "-H", bearer, "-d", `{"level":"error","service":"shell","message":"curl says ahoy","tide":"low"}`)
		if row := s.awaitLog("curl ahoy"); row.Level != "error" || row.Service != "shell" || row.Attributes["tide"] != "low" {
			t.Errorf("log is %+v", row)
		}
		curl("-X", "POST", s.http+"/ping/"+key+"/curl-job/start?create=1")
		curl("-d", "three files copied", s.http+"/ping/"+key+"/curl-job?create=1")
		m := s.awaitMonitor("curl-job", func(m monitor) bool { return m.Status == "ok" && len(m.Recent) == 1 })
		if m.Recent[0].Message != "three files copied" {
			t.Errorf("run is %+v", m.Recent[0])
		}
		curl(s.http + "/ping/" + key + "/curl-job/1")
		s.awaitMonitor("curl-job", func(m monitor) bool { return m.Status == "failed" })
	})

	t.Run("a first run whose end overtakes its start", func(t *testing.T) {
		const run = "6c1f0e7a2f3b4c5d8e9fa0b1c2d3e4f5"
		for _, body := range []string{
			`{"check_in_id":"` + run + `","status":"ok","duration":0.2}`,
			`{"check_in_id":"` + run + `","status":"in_progress","monitor_config":{"schedule":{"type":"crontab","value":"30 2 * * *"},"timezone":"Europe/Berlin"}}`,
		} {
			if status, _, answer := s.post(s.http+"/api/1/cron/overtaken/"+key+"/", "application/json", []byte(body), "Authorization", ""); status != 202 {
				t.Fatalf("%d %s", status, answer)
			}
		}
		s.awaitMonitor("overtaken", func(m monitor) bool { return m.Status == "ok" })
	})

	t.Run("URLs of other services", func(t *testing.T) {
		curl := func(want string, args ...string) {
			t.Helper()
			if got := command(t, ".", nil, "curl", append([]string{"-sS", "--fail-with-body"}, args...)...); got != want {
				t.Errorf("curl %v: %q, want %q", args, got, want)
			}
		}
		// Cronitor's make their monitor; the others have the UUID of one for their token.
		curl("OK", s.http+"/cronitor/p/"+key+"/moved?state=run&series=1")
		curl("OK", s.http+"/cronitor/p/"+key+"/moved?state=complete&series=1&message=nine+files")
		m := s.awaitMonitor("moved", func(m monitor) bool { return m.Status == "ok" && len(m.Recent) == 1 })
		if run := m.Recent[0]; run.Source != "cronitor" || run.Message != "nine files" {
			t.Errorf("run is %+v", run)
		}
		newest := func(runs int, source, status, message string) {
			t.Helper()
			s.awaitMonitor("moved", func(m monitor) bool {
				if len(m.Recent) != runs {
					return false
				}
				run := m.Recent[runs-1]
				return run.Source == source && run.Status == status && run.Message == message && m.Status == map[string]string{"ok": "ok", "error": "failed"}[status]
			})
		}
		curl("Got it, thanks!", "-d", "s=2&m=no+disk", s.http+"/snitch/"+m.UUID)
		newest(2, "snitch", "error", "no disk")
		curl("OK", s.http+"/api/v1/heartbeat/"+m.UUID)
		newest(3, "heartbeat", "ok", "")
		curl("OK", "-d", "it hurts", s.http+"/api/v1/heartbeat/"+m.UUID+"/fail")
		newest(4, "heartbeat", "error", "it hurts")
		curl("OK", "-d", "well again", s.http+"/ping/"+m.UUID+"/0")
		newest(5, "ping", "ok", "well again")
	})

	t.Run("traces are refused kindly", func(t *testing.T) {
		status, _, answer := s.post(s.otlp+"/v1/traces", "application/json",
			[]byte(`{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174","name":"x"}]}]}]}`))
		if status != 200 || !strings.Contains(answer, "rejectedSpans") {
			t.Errorf("%d %s", status, answer)
		}
	})
}

// bearer sends with the ingest key.
type bearer struct{}

func (bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+key)
	return http.DefaultTransport.RoundTrip(r)
}

// sendOTel sends a counter, a histogram and a log record through the SDK for Go.
func sendOTel(t *testing.T, metrics sdkmetric.Exporter, logs sdklog.Exporter, way string) {
	t.Helper()
	ctx := t.Context()
	res := resource.NewSchemaless(attribute.String("service.name", "shop-go"))
	meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewPeriodicReader(metrics)), sdkmetric.WithResource(res))
	counter, err := meters.Meter("shop").Int64Counter("go." + way + ".orders")
	if err != nil {
		t.Fatal(err)
	}
	counter.Add(ctx, 5, metric.WithAttributes(attribute.String("port", "Lisbon")))
	loggers := sdklog.NewLoggerProvider(sdklog.WithProcessor(sdklog.NewBatchProcessor(logs)), sdklog.WithResource(res))
	var record log.Record
	record.SetTimestamp(time.Now())
	record.SetSeverity(log.SeverityWarn)
	record.SetBody(attribute.StringValue("the ship sailed " + way))
	record.AddAttributes(attribute.String("port", "Lisbon"))
	loggers.Logger("shop").Emit(ctx, record)
	for name, stop := range map[string]func(context.Context) error{"metrics": meters.Shutdown, "logs": loggers.Shutdown} {
		if err := stop(ctx); err != nil {
			t.Fatalf("send %s: %v", name, err)
		}
	}
}

// checkEvent reads the newest event of the issue of sentry.mjs.
func (s *server) checkEvent(t *testing.T, i issue) {
	t.Helper()
	var detail struct{ Events []struct{ ID string } }
	if err := s.api("/projects/1/issues/"+i.ID, around(), &detail); err != nil {
		t.Fatal(err)
	}
	if len(detail.Events) != 1 {
		t.Fatalf("%d events", len(detail.Events))
	}
	var event struct {
		Release    string
		Tags       map[string]string
		Exceptions []struct {
			Type   string
			Frames []struct {
				Function    string
				ContextLine string `json:"context_line"`
			}
		}
		Breadcrumbs []struct{ Message string }
	}
	if err := s.api("/projects/1/events/"+detail.Events[0].ID, around(), &event); err != nil {
		t.Fatal(err)
	}
	if event.Release != "shop@1.42.0" || event.Tags["region"] != "eu-west-1" {
		t.Errorf("release %q, tags %v", event.Release, event.Tags)
	}
	if len(event.Exceptions) == 0 || len(event.Exceptions[0].Frames) == 0 || event.Exceptions[0].Frames[0].Function != "chargeCard" {
		t.Errorf("exceptions are %+v", event.Exceptions)
	}
	found := false
	for _, b := range event.Breadcrumbs {
		found = found || b.Message == "added an anchor"
	}
	if !found {
		t.Errorf("breadcrumbs are %+v", event.Breadcrumbs)
	}
}

func TestMain(m *testing.M) {
	// The SDKs of this process must not report on themselves.
	slog.SetDefault(slog.New(slog.DiscardHandler))
	os.Exit(storagetest.Main(m))
}
