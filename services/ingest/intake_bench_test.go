package ingest

import (
	"fmt"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/snappy"
	writev2 "github.com/prometheus/client_golang/exp/api/remote/genproto/v2"
	colmetricspb "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	"google.golang.org/protobuf/encoding/protowire"
)

// cpuTime is what this process has used, of both kinds.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func benchmarkLabels(i int) [][2]string {
	return [][2]string{
		{"__name__", fmt.Sprintf("http_requests_%d_total", i/20)},
		{"code", []string{"200", "404", "500"}[i%3]},
		{"handler", fmt.Sprintf("/api/v1/items/%d", i%17)},
		{"instance", fmt.Sprintf("10.0.0.%d:9090", i/1000)},
		{"job", "shop"},
		{"method", "GET"},
		{"pod", fmt.Sprintf("shop-5d9c7b8f6-%04d", i/1000)},
		{"region", "eu-west-1"},
	}
}

// benchmarkWriteV1 and V2 are one scrape of some targets: a sample of each series.
func benchmarkWriteV1(samples int, at time.Time) []byte {
	var b []byte
	for i := range samples {
		var s []byte
		for _, l := range benchmarkLabels(i) {
			s = appendBytes(s, 1, appendString(appendString(nil, 1, l[0]), 2, l[1]))
		}
		sample := appendFixed(nil, 1, 0x4045000000000000)
		sample = protowire.AppendVarint(protowire.AppendTag(sample, 2, protowire.VarintType), uint64(at.UnixMilli()))
		b = appendBytes(b, 1, appendBytes(s, 2, sample))
	}
	return snappy.Encode(nil, b)
}

func benchmarkWriteV2(b *testing.B, samples int, at time.Time) []byte {
	symbols := writev2.NewSymbolTable()
	req := new(writev2.Request)
	for i := range samples {
		var labels []string
		for _, l := range benchmarkLabels(i) {
			labels = append(labels, l[0], l[1])
		}
		req.Timeseries = append(req.Timeseries, &writev2.TimeSeries{
			LabelsRefs: symbols.SymbolizeLabels(labels, nil),
			Samples:    []*writev2.Sample{{Value: float64(i), Timestamp: at.UnixMilli()}},
		})
	}
	req.Symbols = symbols.Symbols()
	return snappy.Encode(nil, marshal(b, req))
}

// benchmarkExport is an export of gauges and counters with twenty points each.
func benchmarkExport(b *testing.B, samples int, at time.Time) []byte {
	str := func(k, v string) *commonpb.KeyValue {
		return &commonpb.KeyValue{Key: k, Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: v}}}
	}
	req := new(colmetricspb.ExportMetricsServiceRequest)
	var metrics []*metricspb.Metric
	for i := range samples {
		if i%1000 == 0 {
			metrics = nil
			req.ResourceMetrics = append(req.ResourceMetrics, &metricspb.ResourceMetrics{
				Resource: &resourcepb.Resource{Attributes: []*commonpb.KeyValue{
					str("service.name", "service-"+strconv.Itoa(i/1000)), str("service.instance.id", "b3f1d2"), str("host.name", "h1"), str("telemetry.sdk.language", "go"),
				}},
				ScopeMetrics: []*metricspb.ScopeMetrics{{Scope: &commonpb.InstrumentationScope{Name: "shop/http", Version: "1.2.0"}}},
			})
		}
		if i%20 == 0 {
			m := &metricspb.Metric{Name: "app.requests." + strconv.Itoa(i%1000/20), Unit: "{request}", Description: "Requests that were answered"}
			if i%40 == 0 {
				m.Data = &metricspb.Metric_Gauge{Gauge: new(metricspb.Gauge)}
			} else {
				m.Data = &metricspb.Metric_Sum{Sum: &metricspb.Sum{AggregationTemporality: 2, IsMonotonic: true}}
			}
			metrics = append(metrics, m)
			req.ResourceMetrics[len(req.ResourceMetrics)-1].ScopeMetrics[0].Metrics = metrics
		}
		p := &metricspb.NumberDataPoint{
			StartTimeUnixNano: uint64(at.Add(-time.Hour).UnixNano()), TimeUnixNano: uint64(at.UnixNano()), Value: &metricspb.NumberDataPoint_AsInt{AsInt: int64(i)},
			Attributes: []*commonpb.KeyValue{str("http.request.method", "GET"), str("http.route", "/api/v1/items/"+strconv.Itoa(i%20)), str("http.response.status_code", "200"), str("url.scheme", "https")},
		}
		switch data := metrics[len(metrics)-1].Data.(type) {
		case *metricspb.Metric_Gauge:
			data.Gauge.DataPoints = append(data.Gauge.DataPoints, p)
		case *metricspb.Metric_Sum:
			data.Sum.DataPoints = append(data.Sum.DataPoints, p)
		}
	}
	return marshal(b, req)
}

// BenchmarkIntake posts metrics over HTTP until the bus has them: the client, intake, the bus and
// its disk are all in this process.
func BenchmarkIntake(b *testing.B) {
	for _, samples := range []int{2000, 8000} {
		for _, c := range []struct {
			name, path string
			body       func(at time.Time) []byte
			header     []string
		}{
			{"RemoteWriteV1", "/api/v1/write", func(at time.Time) []byte { return benchmarkWriteV1(samples, at) }, nil},
			{"RemoteWriteV2", "/api/v1/write", func(at time.Time) []byte { return benchmarkWriteV2(b, samples, at) }, []string{"Content-Type", typeV2}},
			{"OTLP", "/v1/metrics", func(at time.Time) []byte { return benchmarkExport(b, samples, at) }, []string{"Content-Type", mimeProtobuf}},
			{"OTLPGzip", "/v1/metrics", func(at time.Time) []byte { return compress(b, "gzip", benchmarkExport(b, samples, at)) }, []string{"Content-Type", mimeProtobuf, "Content-Encoding", "gzip"}},
		} {
			b.Run(fmt.Sprintf("%s/%d", c.name, samples), func(b *testing.B) {
				e := newEdge(b, edgeConfig{busBytes: 8 << 30})
				body := c.body(time.Now())
				b.ReportAllocs()
				began := cpuTime(b)
				for b.Loop() {
					if got := e.post(b, c.path, body, c.header...); got.status/100 != 2 {
						b.Fatalf("%d %s", got.status, got.body)
					}
				}
				b.ReportMetric(float64(cpuTime(b)-began)/float64(b.N*samples), "cpu-ns/sample")
			})
		}
	}
}
