package otlp

import (
	"encoding/hex"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	collogspb "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	colmetricspb "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	"google.golang.org/protobuf/proto"

	"github.com/midwatch/midwatch/proto/telemetrypb"
	"github.com/midwatch/midwatch/services/ingest/record"
	"github.com/midwatch/midwatch/services/ingest/series"
)

var update = flag.Bool("update", false, "write the golden files again")

var now = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func window() record.Window { return record.NewWindow(now, 400) }

// TestGolden converts requests in JSON form.
func TestGolden(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("golden files: %v, %v", files, err)
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			t.Parallel()
			archive, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			input := archive.Files[0]
			var got string
			switch input.Name {
			case "metrics.json":
				req := new(colmetricspb.ExportMetricsServiceRequest)
				if err := UnmarshalJSON(string(input.Data), req); err != nil {
					t.Fatal(err)
				}
				got = showMetrics(metricsOf(t, req))
			case "logs.json":
				req := new(collogspb.ExportLogsServiceRequest)
				if err := UnmarshalJSON(string(input.Data), req); err != nil {
					t.Fatal(err)
				}
				got = showLogs(Logs(req, window()))
			default:
				t.Fatalf("%s begins with %s", name, input.Name)
			}
			if *update {
				archive.Files = append(archive.Files[:1], txtar.File{Name: "want", Data: []byte(got)})
				if err := os.WriteFile(name, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if len(archive.Files) != 2 {
				t.Fatalf("%s has no want", name)
			}
			if diff := cmp.Diff(string(archive.Files[1].Data), got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

// metricsOf converts a request, in both of its forms, and reads what is kept as those on the bus do.
func metricsOf(t testing.TB, req *colmetricspb.ExportMetricsServiceRequest) ([]*telemetrypb.Metric, *Rejections) {
	t.Helper()
	set, rejections := Metrics(req, window())
	metrics := readSet(t, set)
	body, err := proto.Marshal(req)
	if err != nil {
		t.Fatal(err)
	}
	set, again, err := DecodeMetrics(body, window())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(showMetrics(metrics, rejections), showMetrics(readSet(t, set), again)); d != "" {
		t.Errorf("-from structs +from bytes\n%s", d)
	}
	return metrics, rejections
}

// readSet reads a set as those on the bus do, and releases it.
func readSet(t testing.TB, set *series.Set) []*telemetrypb.Metric {
	t.Helper()
	defer set.Release()
	f := new(telemetrypb.MetricFrame)
	if err := proto.Unmarshal(set.Frames(1, 30, math.MaxInt).Next(nil, now), f); err != nil {
		t.Fatal(err)
	}
	if len(f.Batches) == 0 {
		return nil
	}
	return f.Batches[0].Metrics
}

func showRejections(b *strings.Builder, r *Rejections) {
	if r.Count > 0 {
		fmt.Fprintf(b, "rejected %d: %s\n", r.Count, r.Message())
	}
}

func showMetrics(metrics []*telemetrypb.Metric, r *Rejections) string {
	var b strings.Builder
	showRejections(&b, r)
	for _, m := range metrics {
		fmt.Fprintf(&b, "%s %s source=%q unit=%q description=%q\n", m.Name, strings.ToLower(strings.TrimPrefix(m.Kind.String(), "METRIC_KIND_")), m.SourceName, m.Unit, m.Description)
		for _, s := range m.Series {
			fmt.Fprintf(&b, "  {%s}", showLabels(s.Labels))
			for i, ms := range s.TimesMs {
				fmt.Fprintf(&b, " %s@%s", showValue(s.Values[i]), time.UnixMilli(ms).UTC().Format("15:04:05.000"))
			}
			b.WriteByte('\n')
		}
	}
	return b.String()
}

func showValue(v float64) string {
	if math.Float64bits(v) == math.Float64bits(series.Stale()) {
		return "stale"
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}

func showLabels(labels []*telemetrypb.KeyValue) string {
	var parts []string
	for _, l := range labels {
		parts = append(parts, fmt.Sprintf("%s=%q", l.Key, l.Value))
	}
	return strings.Join(parts, ",")
}

func showLogs(groups []*telemetrypb.LogGroup, r *Rejections) string {
	var b strings.Builder
	showRejections(&b, r)
	for _, g := range groups {
		fmt.Fprintf(&b, "group service=%q scope=%q {%s}\n", g.Service, g.Scope, showLabels(g.Resource))
		for _, l := range g.Records {
			fmt.Fprintf(&b, "  %s %d(%s) %q {%s}", time.Unix(0, int64(l.Time)).UTC().Format(time.RFC3339Nano), l.Severity, l.SeverityText, l.Body, showLabels(l.Attributes))
			if len(l.TraceId) > 0 {
				fmt.Fprintf(&b, " trace=%s span=%s", hex.EncodeToString(l.TraceId), hex.EncodeToString(l.SpanId))
			}
			b.WriteByte('\n')
		}
	}
	return b.String()
}

func TestEmptyRequestsAreFine(t *testing.T) {
	t.Parallel()
	if groups, r := Logs(new(collogspb.ExportLogsServiceRequest), window()); len(groups) != 0 || r.Count != 0 || r.Message() != "" {
		t.Errorf("Logs = %v, %v", groups, r)
	}
	if metrics, r := metricsOf(t, new(colmetricspb.ExportMetricsServiceRequest)); len(metrics) != 0 || r.Count != 0 {
		t.Errorf("Metrics = %v, %v", metrics, r)
	}
	// Nothing but names: what is absent must not be looked into.
	req := &colmetricspb.ExportMetricsServiceRequest{ResourceMetrics: []*metricspb.ResourceMetrics{nil, {ScopeMetrics: []*metricspb.ScopeMetrics{nil, {Metrics: []*metricspb.Metric{
		nil,
		{Name: "a"},
		{Name: "b", Data: &metricspb.Metric_Gauge{}},
		{Name: "c", Data: &metricspb.Metric_Sum{}},
		{Name: "d", Data: &metricspb.Metric_Histogram{}},
		{Name: "e", Data: &metricspb.Metric_ExponentialHistogram{}},
		{Name: "f", Data: &metricspb.Metric_Summary{}},
	}}}}}}
	if metrics, r := metricsOf(t, req); len(metrics) != 0 || r.Count != 0 {
		t.Errorf("Metrics = %v, %v", metrics, r)
	}
}

func str(key, value string) *commonpb.KeyValue {
	return &commonpb.KeyValue{Key: key, Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: value}}}
}

func exportOf(resource []*commonpb.KeyValue, metrics ...*metricspb.Metric) *colmetricspb.ExportMetricsServiceRequest {
	return &colmetricspb.ExportMetricsServiceRequest{ResourceMetrics: []*metricspb.ResourceMetrics{{
		Resource:     &resourcepb.Resource{Attributes: resource},
		ScopeMetrics: []*metricspb.ScopeMetrics{{Metrics: metrics}},
	}}}
}

func gauge(name string, points ...*metricspb.NumberDataPoint) *metricspb.Metric {
	return &metricspb.Metric{Name: name, Data: &metricspb.Metric_Gauge{Gauge: &metricspb.Gauge{DataPoints: points}}}
}

func point(value float64, attributes ...*commonpb.KeyValue) *metricspb.NumberDataPoint {
	return &metricspb.NumberDataPoint{TimeUnixNano: uint64(now.UnixNano()), Attributes: attributes, Value: &metricspb.NumberDataPoint_AsDouble{AsDouble: value}}
}

func TestPointsOverABoundAreRejectedAlone(t *testing.T) {
	t.Parallel()
	var many []*commonpb.KeyValue
	for i := range series.MaxLabels {
		many = append(many, str("k"+strconv.Itoa(i), "v"))
	}
	good := point(1, str("ok", "yes"))
	bounds := make([]float64, maxBuckets+1)
	for i := range bounds {
		bounds[i] = float64(i)
	}
	for want, m := range map[string]*metricspb.Metric{
		`metric "m": it has 65 labels, 64 are taken (1)`:                            gauge("m", good, point(2, many...)),
		`metric "m": the value of attribute "k" has 2049 bytes, 2048 are taken (1)`: gauge("m", good, point(2, str("k", strings.Repeat("x", 2049)))),
		`metric "m": an attribute's key has 257 bytes, 256 are taken (1)`:           gauge("m", good, point(2, str(strings.Repeat("k", 257), "x"))),
		`metric "m": a data point has no value (1)`:                                 gauge("m", good, &metricspb.NumberDataPoint{TimeUnixNano: uint64(now.UnixNano())}),
		`metric "m": the time is more than 30 days in the past (1)`:                 gauge("m", good, &metricspb.NumberDataPoint{TimeUnixNano: 1, Value: &metricspb.NumberDataPoint_AsInt{AsInt: 1}}),
		`metric "m": the time is more than one hour in the future (1)`:              gauge("m", good, &metricspb.NumberDataPoint{TimeUnixNano: math.MaxUint64, Value: &metricspb.NumberDataPoint_AsInt{AsInt: 1}}),
	} {
		metrics, r := metricsOf(t, exportOf(nil, m))
		if r.Count != 1 || r.Message() != want {
			t.Errorf("rejected %d: %s, want %s", r.Count, r.Message(), want)
		}
		if len(metrics) != 1 || len(metrics[0].Series) != 1 || metrics[0].Series[0].Values[0] != 1 {
			t.Errorf("%s: kept %v", want, metrics)
		}
	}
	for want, m := range map[string]*metricspb.Metric{
		`metric "": it has no name (2)`: gauge("", good, good),
		`metric "h": a histogram has 258 buckets, 257 are taken (1)`: {Name: "h", Data: &metricspb.Metric_Histogram{Histogram: &metricspb.Histogram{
			AggregationTemporality: 2, DataPoints: []*metricspb.HistogramDataPoint{{TimeUnixNano: uint64(now.UnixNano()), ExplicitBounds: bounds}},
		}}},
		`metric "s": it has no aggregation temporality (1)`: {Name: "s", Data: &metricspb.Metric_Sum{Sum: &metricspb.Sum{DataPoints: []*metricspb.NumberDataPoint{good}}}},
	} {
		if metrics, r := metricsOf(t, exportOf(nil, m)); r.Message() != want || len(metrics) != 0 {
			t.Errorf("rejected %d: %s, want %s; kept %v", r.Count, r.Message(), want, metrics)
		}
	}
}

func TestLittleCannotBecomeMuch(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", series.MaxValueBytes)
	var attributes []*commonpb.KeyValue
	for i := range 50 {
		attributes = append(attributes, str("k"+strconv.Itoa(i), long))
	}
	bounds, counts := make([]float64, maxBuckets), make([]uint64, maxBuckets+1)
	for i := range bounds {
		bounds[i] = float64(i)
	}
	h := &metricspb.Histogram{AggregationTemporality: 2}
	for range 10 {
		h.DataPoints = append(h.DataPoints, &metricspb.HistogramDataPoint{TimeUnixNano: uint64(now.UnixNano()), Attributes: attributes, ExplicitBounds: bounds, BucketCounts: counts})
	}
	for i := range h.DataPoints {
		h.DataPoints[i].Attributes = append(slices.Clone(attributes), str("n", strconv.Itoa(i)))
	}
	metrics, r := metricsOf(t, exportOf(nil, &metricspb.Metric{Name: "h", Data: &metricspb.Metric_Histogram{Histogram: h}}))
	size := 0
	for _, m := range metrics {
		for _, s := range m.Series {
			size += sizeOf(s.Labels)
		}
	}
	if size > maxOutputBytes || size < maxOutputBytes/3 || r.Count == 0 || r.ByReason["too_large"] != int(r.Count) {
		t.Errorf("%d bytes of labels, rejected %d: %s", size, r.Count, r.Message())
	}

	// What a resource says is sent with every message.
	var resource []*commonpb.KeyValue
	for i := range 300 {
		resource = append(resource, str("k"+strconv.Itoa(i), strings.Repeat("x", 1000)))
	}
	groups, _ := Logs(&collogspb.ExportLogsServiceRequest{ResourceLogs: []*logspb.ResourceLogs{{
		Resource:  &resourcepb.Resource{Attributes: resource},
		ScopeLogs: []*logspb.ScopeLogs{{LogRecords: []*logspb.LogRecord{{}}}},
	}}}, window())
	size = 0
	for _, kv := range groups[0].Resource {
		size += len(kv.Key) + len(kv.Value)
	}
	last := groups[0].Resource[len(groups[0].Resource)-1]
	if size > record.MaxSharedBytes+100 || last.Key != record.DroppedAttributes {
		t.Errorf("resource of %d bytes ends in %s=%s", size, last.Key, last.Value)
	}
}

func TestFingerprintIsOfNameAndLabels(t *testing.T) {
	t.Parallel()
	metrics, _ := metricsOf(t, exportOf([]*commonpb.KeyValue{str("service.name", "api")}, gauge("m", point(1, str("b", "2"), str("a", "1")), point(2, str("a", "1"), str("b", "2")))))
	if len(metrics[0].Series) != 1 || len(metrics[0].Series[0].Values) != 2 {
		t.Fatalf("series %v, want one with both samples", metrics[0].Series)
	}
	s := metrics[0].Series[0]
	var labels []*series.Label
	for _, l := range s.Labels {
		labels = append(labels, series.NewLabel(l.Key, l.Value))
	}
	if got := series.Fingerprint("m", labels); got != s.Fingerprint {
		t.Errorf("fingerprint %x, want %x", s.Fingerprint, got)
	}
	if !slices.IsSortedFunc(s.Labels, func(a, b *telemetrypb.KeyValue) int { return strings.Compare(a.Key, b.Key) }) {
		t.Errorf("labels %s are not sorted", showLabels(s.Labels))
	}
}

// TestExponentialBucketsAreExact compares the grid with counting the values themselves. A bound
// of the grid that is also one of the histogram's has exactly the values up to it.
func TestExponentialBucketsAreExact(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for _, unit := range []string{"s", "ms", "us", "ns", "By", "{request}"} {
		g := gridOf(unit)
		for scale := int32(-3); scale <= 12; scale++ {
			// Values well within buckets: rounding at their bounds is the SDK's matter.
			base := math.Exp2(math.Exp2(-float64(scale)))
			buckets := map[int64]uint64{}
			low, high := int64(math.MaxInt64), int64(math.MinInt64)
			var values []float64
			for range 300 {
				exponent := float64(g.first-8) + random.Float64()*float64(g.len()+16)
				v := math.Exp2(exponent * math.Exp2(-float64(g.scale)))
				i := int64(math.Floor(math.Log(v) / math.Log(base)))
				v = math.Pow(base, float64(i)+0.5)
				values = append(values, v)
				buckets[i]++
				low, high = min(low, i), max(high, i)
			}
			if high-low > 1<<18 {
				continue
			}
			counts := make([]uint64, high-low+1)
			for i, n := range buckets {
				counts[i-low] = n
			}
			p := &metricspb.ExponentialHistogramDataPoint{
				TimeUnixNano: uint64(now.UnixNano()), Scale: scale, Count: uint64(len(values)) + 7, ZeroCount: 4,
				Positive: &metricspb.ExponentialHistogramDataPoint_Buckets{Offset: int32(low), BucketCounts: counts},
				Negative: &metricspb.ExponentialHistogramDataPoint_Buckets{BucketCounts: []uint64{1, 2}},
			}
			metrics, r := metricsOf(t, exportOf(nil, &metricspb.Metric{Name: "h", Unit: unit, Data: &metricspb.Metric_ExponentialHistogram{
				ExponentialHistogram: &metricspb.ExponentialHistogram{AggregationTemporality: 2, DataPoints: []*metricspb.ExponentialHistogramDataPoint{p}},
			}}))
			if r.Count != 0 || len(metrics[0].Series) != g.len()+1 {
				t.Fatalf("unit %s scale %d: %d series, %s", unit, scale, len(metrics[0].Series), r.Message())
			}
			previous := 0.0
			for i, s := range metrics[0].Series {
				got := s.Values[0]
				if got < previous {
					t.Errorf("unit %s scale %d: %s has %v after %v", unit, scale, showLabels(s.Labels), got, previous)
				}
				previous = got
				if i == g.len() {
					if got != float64(p.Count) {
						t.Errorf("+Inf has %v, want %d", got, p.Count)
					}
					continue
				}
				want := 7.0
				for _, v := range values {
					if v <= g.bound(i) {
						want++
					}
				}
				// Coarser buckets end at fewer of the grid's bounds; between them the count lags.
				exact := scale >= g.scale || (int64(g.first)+int64(i))%(1<<(g.scale-scale)) == 0
				if exact && got != want || got > want {
					t.Errorf("unit %s scale %d: le=%v has %v, want %v", unit, scale, g.bound(i), got, want)
				}
			}
		}
	}
}

func TestGridBoundsAreStable(t *testing.T) {
	t.Parallel()
	for _, unit := range []string{"s", "ms", "us", "ns", "By", ""} {
		g := gridOf(unit)
		for i := range g.len() {
			want := math.Exp2(float64(int(g.first)+i) * math.Exp2(-float64(g.scale)))
			if got := g.bound(i); math.Abs(got-want) > 1e-15*want || i > 0 && got <= g.bound(i-1) {
				t.Errorf("unit %q: bound %d = %v, want %v", unit, i, got, want)
			}
		}
		if g.len() > 64 {
			t.Errorf("unit %q has %d bounds", unit, g.len())
		}
	}
}

func TestPlaceOfAnyIndexAndScale(t *testing.T) {
	t.Parallel()
	g := gridOf("s")
	for _, scale := range []int32{math.MinInt32, -100, -16, -15, -10, 0, 1, 20, 40, 41, 100, math.MaxInt32} {
		last := 0
		for _, index := range []int64{math.MinInt32, -1 << 20, -100, -1, 0, 1, 100, 1 << 20, math.MaxInt32 + 1<<24} {
			at := g.place(index, scale)
			if at < last || at > g.len() {
				t.Errorf("place(%d, %d) = %d after %d", index, scale, at, last)
			}
			last = at
		}
	}
}

func TestDeepValuesAreCut(t *testing.T) {
	t.Parallel()
	v := &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: "bottom"}}
	list := &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: "bottom"}}
	for range 5000 {
		v = &commonpb.AnyValue{Value: &commonpb.AnyValue_KvlistValue{KvlistValue: &commonpb.KeyValueList{Values: []*commonpb.KeyValue{{Key: "k", Value: v}}}}}
		list = &commonpb.AnyValue{Value: &commonpb.AnyValue_ArrayValue{ArrayValue: &commonpb.ArrayValue{Values: []*commonpb.AnyValue{list}}}}
	}
	groups, _ := Logs(&collogspb.ExportLogsServiceRequest{ResourceLogs: []*logspb.ResourceLogs{{ScopeLogs: []*logspb.ScopeLogs{{LogRecords: []*logspb.LogRecord{
		{Body: v, Attributes: []*commonpb.KeyValue{{Key: "a", Value: v}, {Key: "l", Value: list}}},
	}}}}}}, window())
	l := groups[0].Records[0]
	if !strings.Contains(l.Body, tooDeep) || strings.Count(l.Body, `"k"`) != record.MaxDepth {
		t.Errorf("body %s", l.Body)
	}
	if len(l.Attributes) != 2 || l.Attributes[0].Value != tooDeep || !strings.Contains(l.Attributes[1].Value, tooDeep) {
		t.Errorf("attributes %s", showLabels(l.Attributes))
	}
}

// corpus is an export of 20 services with 30 gauges, 15 counters and 5 histograms each.
func corpus() (*colmetricspb.ExportMetricsServiceRequest, int) {
	req := new(colmetricspb.ExportMetricsServiceRequest)
	n := 0
	for s := range 20 {
		var metrics []*metricspb.Metric
		attributes := []*commonpb.KeyValue{str("http.request.method", "GET"), str("http.route", "/api/v1/items/{id}"), str("url.scheme", "https")}
		for i := range 30 {
			metrics = append(metrics, gauge("app.gauge."+strconv.Itoa(i), point(float64(i), attributes...)))
			n++
		}
		for i := range 15 {
			metrics = append(metrics, &metricspb.Metric{Name: "app.requests." + strconv.Itoa(i), Unit: "{request}", Data: &metricspb.Metric_Sum{Sum: &metricspb.Sum{
				AggregationTemporality: 2, IsMonotonic: true, DataPoints: []*metricspb.NumberDataPoint{point(float64(i), attributes...)},
			}}})
			n++
		}
		for i := range 5 {
			sum := 12.5
			metrics = append(metrics, &metricspb.Metric{Name: "http.server.request.duration." + strconv.Itoa(i), Unit: "s", Data: &metricspb.Metric_Histogram{Histogram: &metricspb.Histogram{
				AggregationTemporality: 2, DataPoints: []*metricspb.HistogramDataPoint{{
					TimeUnixNano: uint64(now.UnixNano()), Attributes: attributes, Count: 15, Sum: &sum,
					ExplicitBounds: []float64{.005, .01, .025, .05, .075, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10},
					BucketCounts:   []uint64{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1},
				}},
			}}})
			n += 17
		}
		req.ResourceMetrics = append(req.ResourceMetrics, exportOf([]*commonpb.KeyValue{
			str("service.name", "service-"+strconv.Itoa(s)), str("service.instance.id", "b3f1d2"), str("host.name", "h1"), str("telemetry.sdk.language", "go"),
		}, metrics...).ResourceMetrics...)
		n++ // target_info
	}
	return req, n
}

func BenchmarkMetrics(b *testing.B) {
	req, n := corpus()
	body, err := proto.Marshal(req)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		set, r, err := DecodeMetrics(body, window())
		if err != nil || r.Count != 0 || set.Samples() != n {
			b.Fatal(err, r.Message(), set.Samples())
		}
		set.Release()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/sample")
}

func BenchmarkLogs(b *testing.B) {
	const lines = 5000
	var records []*logspb.LogRecord
	for range lines {
		records = append(records, &logspb.LogRecord{
			TimeUnixNano: uint64(now.UnixNano()), SeverityNumber: 9, SeverityText: "INFO",
			Body:       &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: "GET /api/v1/items/58217 200 in 37ms"}},
			Attributes: []*commonpb.KeyValue{str("http.request.method", "GET"), str("http.route", "/api/v1/items"), str("region", "eu-west-1"), str("version", "1.3.0"), str("user_id", "31337")},
			TraceId:    []byte("0123456789abcdef"), SpanId: []byte("01234567"),
		})
	}
	req := &collogspb.ExportLogsServiceRequest{ResourceLogs: []*logspb.ResourceLogs{{
		Resource: &resourcepb.Resource{Attributes: []*commonpb.KeyValue{str("service.name", "api")}}, ScopeLogs: []*logspb.ScopeLogs{{LogRecords: records}},
	}}}
	b.ReportAllocs()
	for b.Loop() {
		if groups, _ := Logs(req, window()); len(groups[0].Records) != lines {
			b.Fatal("records are missing")
		}
	}
	b.ReportMetric(float64(lines)*float64(b.N)/b.Elapsed().Seconds(), "lines/s")
}

// TestDecodingDoesNotAllocateForSamples holds the hot path to what a request that is like the one
// before needs.
func TestDecodingDoesNotAllocateForSamples(t *testing.T) {
	var points []*metricspb.NumberDataPoint
	for i := range 1000 {
		points = append(points, point(float64(i), str("http.request.method", "GET"), str("http.route", "/items/"+strconv.Itoa(i))))
	}
	body, err := proto.Marshal(exportOf([]*commonpb.KeyValue{str("service.name", "api")}, gauge("queue.length", points...)))
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(20, func() {
		set, _, err := DecodeMetrics(body, window())
		if err != nil || set.Samples() != len(points) {
			t.Fatal(err, set.Samples())
		}
		set.Release()
	}); n > 60 {
		t.Errorf("decoding %d points allocates %v times", len(points), n)
	}
}
