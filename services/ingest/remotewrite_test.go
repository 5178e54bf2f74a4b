package ingest

import (
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/snappy"
	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/exp/api/remote"
	writev2 "github.com/prometheus/client_golang/exp/api/remote/genproto/v2"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/midwatch/midwatch/services/ingest/series"
)

const (
	typeV1 = mimeProtobuf
	typeV2 = mimeProtobuf + ";proto=" + messageV2

	samplesWritten    = "X-Prometheus-Remote-Write-Samples-Written"
	histogramsWritten = "X-Prometheus-Remote-Write-Histograms-Written"
	exemplarsWritten  = "X-Prometheus-Remote-Write-Exemplars-Written"
)

// writeV1 is a prometheus.WriteRequest with one sample of each of some metrics, before snappy.
func writeV1(at time.Time, value float64, names ...string) []byte {
	message := func(b []byte, number protowire.Number, m []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(b, number, protowire.BytesType), m)
	}
	var b []byte
	for _, name := range names {
		sample := protowire.AppendFixed64(protowire.AppendTag(nil, 1, protowire.Fixed64Type), math.Float64bits(value))
		sample = protowire.AppendVarint(protowire.AppendTag(sample, 2, protowire.VarintType), uint64(at.UnixMilli()))
		label := func(name, value string) []byte {
			return message(message(nil, 1, []byte(name)), 2, []byte(value))
		}
		b = message(b, 1, message(message(message(nil, 1, label("__name__", name)), 1, label("job", "shop")), 2, sample))
	}
	return b
}

// writeRequest is the same in 2.0.
func writeRequest(at time.Time, value float64, names ...string) *writev2.Request {
	symbols := writev2.NewSymbolTable()
	req := new(writev2.Request)
	for _, name := range names {
		req.Timeseries = append(req.Timeseries, &writev2.TimeSeries{
			LabelsRefs: symbols.SymbolizeLabels([]string{"__name__", name, "job", "shop"}, nil),
			Samples:    []*writev2.Sample{{Value: value, Timestamp: at.UnixMilli()}},
			Metadata:   &writev2.Metadata{Type: writev2.Metadata_METRIC_TYPE_COUNTER, HelpRef: symbols.Symbolize("Help of " + name)},
		})
	}
	req.Symbols = symbols.Symbols()
	return req
}

func (e *edge) storedSamples(t *testing.T) []string {
	t.Helper()
	out := []string{}
	for _, m := range e.storedMetrics(t) {
		for _, s := range m.Series {
			for _, v := range s.Values {
				out = append(out, fmt.Sprintf("%s %v", m.Name, v))
			}
		}
	}
	return out
}

func TestRemoteWrite(t *testing.T) {
	t.Parallel()
	e := newEdge(t, edgeConfig{})
	now := time.Now()
	old := now.Add(-40 * 24 * time.Hour)
	mixed := writeRequest(now, 3, "c", "d", "")
	mixed.Timeseries[1].Samples[0].Timestamp = old.UnixMilli()
	exemplars := writeRequest(now, 4, "e")
	exemplars.Timeseries[0].Exemplars = []*writev2.Exemplar{{Value: 1}}
	native := writeRequest(now, 5, "f")
	native.Timeseries = append(native.Timeseries, &writev2.TimeSeries{LabelsRefs: native.Timeseries[0].LabelsRefs, Histograms: []*writev2.Histogram{{Sum: 1}}})
	for _, c := range []struct {
		name, contentType, encoding string
		body                        []byte
		status                      int
		written, answer             string
	}{
		{"1.0", typeV1, "snappy", writeV1(now, 1, "a", "b"), 204, "", ""},
		{"1.0 by its name", typeV1 + "; proto=" + messageV1, "Snappy", writeV1(now, 2, "a"), 204, "", ""},
		{"neither encoding nor type", "", "", writeV1(now, 3, "a"), 204, "", ""},
		{"another name of protobuf", "application/vnd.google.protobuf", "", writeV1(now, 4, "a"), 204, "", ""},
		{"2.0", typeV2, "snappy", marshal(t, writeRequest(now, 5, "a", "b")), 204, "2 0 0", ""},
		{"2.0 with a quoted name", mimeProtobuf + `; proto="` + messageV2 + `"`, "", marshal(t, writeRequest(now, 6, "a")), 204, "1 0 0", ""},
		{"nothing", typeV1, "snappy", nil, 204, "", ""},
		{"nothing in 2.0", typeV2, "snappy", nil, 204, "0 0 0", ""},
		{"all too old", typeV1, "snappy", writeV1(old, 1, "a"), 400, "", `0 samples are stored, 1 are not: metric "a": the time is more than 30 days in the past (1)`},
		{
			"partial", typeV2, "snappy", marshal(t, mixed), 400, "1 0 0",
			`1 samples are stored, 2 are not: metric "d": the time is more than 30 days in the past (1); the series {__name__="", job="shop"}: it has no __name__ (1)`,
		},
		{"exemplars", typeV2, "snappy", marshal(t, exemplars), 204, "1 0 0", ""},
		{
			"native histograms", typeV2, "snappy", marshal(t, native), 400, "1 0 0",
			`1 samples are stored, 1 are not: metric "f": native histograms are not kept yet, classic ones are: set always_scrape_classic_histograms: true and send_native_histograms: false (1)`,
		},
	} {
		for _, path := range []string{"/api/v1/write", "/api/v1/write/"} {
			got := e.post(t, path, snappy.Encode(nil, c.body), "Content-Type", c.contentType, "Content-Encoding", c.encoding)
			if got.status != c.status || got.body != c.answer || writtenHeaders(got.header) != c.written {
				t.Errorf("%s: %d %q %s, want %d %q %s", c.name, got.status, writtenHeaders(got.header), got.body, c.status, c.written, c.answer)
			}
		}
	}
	got := slices.Compact(e.storedSamples(t))
	if want := "a 1,b 1,a 1,b 1,a 2,a 3,a 4,a 5,b 5,a 5,b 5,a 6,c 3,e 4,f 5"; strings.Join(got, ",") != want {
		t.Errorf("stored %s, want %s", strings.Join(got, ","), want)
	}
	for reason, want := range map[string]int64{"too_old": 4, "no_name": 2, "exemplar_not_kept": 2, "native_histogram_not_kept": 2} {
		if got := e.counted(t, "midwatch.ingest.rejected", "protocol", "remote_write", "reason", reason); got != want {
			t.Errorf("rejected for %s: %d, want %d", reason, got, want)
		}
	}
	if got := e.counted(t, "midwatch.ingest.accepted", "signal", "metrics", "protocol", "remote_write"); got != 22 {
		t.Errorf("%d samples are counted, want 22", got)
	}
	if used := e.held.used.Load(); used != 0 {
		t.Errorf("%d bytes are still held", used)
	}
}

// writtenHeaders are the numbers that a sender of 2.0 is told; empty where it is told none.
func writtenHeaders(h http.Header) string {
	return strings.TrimSpace(h.Get(samplesWritten) + " " + h.Get(histogramsWritten) + " " + h.Get(exemplarsWritten))
}

func TestRemoteWriteErrors(t *testing.T) {
	t.Parallel()
	e := newEdge(t, edgeConfig{config: Config{MaxBodyBytes: 1 << 20}, usage: map[string]int64{"metrics": 1}})
	now := time.Now()
	good := snappy.Encode(nil, marshal(t, writeRequest(now, 1, "a")))
	announced := func(n uint64, body []byte) []byte { return append(protowire.AppendVarint(nil, n), body...) }
	for _, c := range []struct {
		name, contentType string
		body              []byte
		header            []string
		status            int
		words             string
	}{
		{"JSON", "application/json", good, nil, 415, `content type "application/json" is not that of remote write: send application/x-protobuf`},
		{"no type at all", ";", good, nil, 415, "cannot be read"},
		{"a later version", mimeProtobuf + ";proto=io.prometheus.write.v3.Request", good, nil, 415, `message "io.prometheus.write.v3.Request" is not known here: send io.prometheus.write.v2.Request or prometheus.WriteRequest`},
		{"gzip", typeV2, compress(t, "gzip", good), []string{"Content-Encoding", "gzip"}, 415, `unknown content encoding "gzip": send snappy`},
		{"identity", typeV1, good, []string{"Content-Encoding", "identity"}, 415, "unknown content encoding"},
		{"no key", typeV2, good, []string{"Authorization", ""}, 401, "no ingest key"},
		{"wrong key", typeV1, good, []string{"Authorization", "Bearer unknown-key"}, 401, "no project has this ingest key"},
		{"too large", typeV1, make([]byte, 2<<20), nil, 413, "the limit is 1048576 bytes after decompression"},
		{"too large unpacked", typeV2, snappy.Encode(nil, make([]byte, 2<<20)), nil, 413, "the limit is 1048576 bytes after decompression"},
		{"said to be large", typeV1, announced(1<<32-1, []byte("x")), nil, 413, "the body is too large"},
		{"said to be larger than it can be", typeV1, announced(1<<19, []byte("x")), nil, 400, "the body cannot be unpacked as snappy: 4 bytes cannot become 524288"},
		{"no length", typeV1, nil, nil, 400, "the body cannot be unpacked as snappy"},
		{"not snappy", typeV2, []byte("hello, this is text"), nil, 400, "the body cannot be unpacked as snappy"},
		{"not protobuf", typeV1, snappy.Encode(nil, []byte("hello")), nil, 400, "the body is not a prometheus.WriteRequest: "},
		{"not protobuf in 2.0", typeV2, snappy.Encode(nil, []byte("hello")), nil, 400, "the body is not a io.prometheus.write.v2.Request: "},
	} {
		got := e.post(t, "/api/v1/write", c.body, append([]string{"Content-Type", c.contentType}, c.header...)...)
		written := ""
		if c.contentType == typeV2 {
			written = "0 0 0"
		}
		if got.status != c.status || !strings.Contains(got.body, c.words) || writtenHeaders(got.header) != written || !strings.HasPrefix(got.header.Get("Content-Type"), "text/plain") {
			t.Errorf("%s: %d %q %s, want %d %s", c.name, got.status, writtenHeaders(got.header), got.body, c.status, c.words)
		}
	}
	if got := e.storedSamples(t); len(got) != 0 {
		t.Errorf("stored %v", got)
	}

	// The limit of a project.
	if got := e.post(t, "/api/v1/write", good, "Content-Type", typeV2); got.status != 204 {
		t.Fatalf("%d %s", got.status, got.body)
	}
	got := e.post(t, "/api/v1/write", snappy.Encode(nil, writeV1(now, 1, "b", "c")), "Content-Type", typeV1)
	if got.status != 429 || got.header.Get("Retry-After") == "" || !strings.Contains(got.body, "limit of metrics a minute") {
		t.Errorf("%d %v %s", got.status, got.header, got.body)
	}
	if used := e.held.used.Load(); used != 0 {
		t.Errorf("%d bytes are still held", used)
	}
	// As much as may be is held.
	if !e.held.take(e.held.limit - 1000) {
		t.Fatal("the gauge is not empty")
	}
	got = e.post(t, "/api/v1/write", good, "Content-Type", typeV2)
	if got.status != 503 || got.header.Get("Retry-After") != "5" || writtenHeaders(got.header) != "0 0 0" {
		t.Errorf("%d %v %s", got.status, got.header, got.body)
	}
	e.held.give(e.held.limit - 1000)
}

func TestRemoteWriteIsKeptOnce(t *testing.T) {
	t.Parallel()
	e := newEdge(t, edgeConfig{})
	now := time.Now()
	for range 3 {
		if got := e.post(t, "/api/v1/write", snappy.Encode(nil, writeV1(now, 1, "a")), "Content-Type", typeV1); got.status != 204 {
			t.Errorf("%d %s", got.status, got.body)
		}
		if got := e.post(t, "/api/v1/write", snappy.Encode(nil, marshal(t, writeRequest(now, 2, "b"))), "Content-Type", typeV2); got.status != 204 || got.header.Get(samplesWritten) != "1" {
			t.Errorf("%d %v %s", got.status, got.header, got.body)
		}
	}
	if got := strings.Join(e.storedSamples(t), ","); got != "a 1,b 2" {
		t.Errorf("stored %s, want each once", got)
	}
}

func TestRemoteWriteToABufferThatCannotTakeIt(t *testing.T) {
	t.Parallel()
	full := newEdge(t, edgeConfig{busBytes: 64 << 10})
	away := newEdge(t, edgeConfig{})
	away.bus.Close()
	for words, e := range map[string]*edge{"the buffer is full": full, "the buffer does not answer": away} {
		var got reply
		for i := range 50 {
			names := []string{}
			for j := range 200 {
				names = append(names, fmt.Sprintf("a_metric_with_a_long_name_%d_%d", i, j))
			}
			if got = e.post(t, "/api/v1/write", snappy.Encode(nil, marshal(t, writeRequest(time.Now(), 1, names...))), "Content-Type", typeV2); got.status != 204 {
				break
			}
		}
		if got.status != 503 || got.header.Get("Retry-After") != "5" || !strings.Contains(got.body, words) || writtenHeaders(got.header) != "0 0 0" {
			t.Errorf("%s: %d %v %s", words, got.status, got.header, got.body)
		}
	}
}

func TestRemoteWriteKeepsStaleMarkers(t *testing.T) {
	t.Parallel()
	e := newEdge(t, edgeConfig{})
	if got := e.post(t, "/api/v1/write", snappy.Encode(nil, writeV1(time.Now(), series.Stale(), "up")), "Content-Type", typeV1); got.status != 204 {
		t.Fatalf("%d %s", got.status, got.body)
	}
	if got := e.storedMetrics(t)[0].Series[0].Values[0]; math.Float64bits(got) != math.Float64bits(series.Stale()) {
		t.Errorf("the staleness marker became %x", math.Float64bits(got))
	}
}

// TestPrometheusClient sends with the code that senders of 2.0 have.
func TestPrometheusClient(t *testing.T) {
	t.Parallel()
	e := newEdge(t, edgeConfig{})
	client := &http.Client{Transport: keyed{}}
	t.Cleanup(client.CloseIdleConnections)
	api, err := remote.NewAPI(e.url, remote.WithAPIHTTPClient(client))
	if err != nil {
		t.Fatal(err)
	}
	stats, err := api.Write(t.Context(), remote.WriteV2MessageType, writeRequest(time.Now(), 1, "a_total", "b_total"))
	if err != nil || stats.Samples != 2 || stats.Histograms != 0 || stats.Exemplars != 0 {
		t.Errorf("Write = %+v, %v", stats, err)
	}
	bad := writeRequest(time.Now(), 1, "c_total", "")
	if stats, err = api.Write(t.Context(), remote.WriteV2MessageType, bad); err == nil || !strings.Contains(err.Error(), "it has no __name__") || stats.Samples != 1 {
		t.Errorf("Write of a bad series = %+v, %v", stats, err)
	}
	got := e.storedMetrics(t)
	if len(got) != 3 || got[0].Name != "a_total" || got[0].Description != "Help of a_total" || got[0].Kind.String() != "METRIC_KIND_COUNTER" || got[0].Series[0].Labels[0].Value != "shop" {
		t.Errorf("stored %v", got)
	}
}

// keyed sends with the ingest key.
type keyed struct{}

func (keyed) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+edgeKey)
	return http.DefaultTransport.RoundTrip(r)
}

func TestRemoteWriteIsARouteOfMetricsByPOST(t *testing.T) {
	t.Parallel()
	for serve, want := range map[Signals]string{
		{Metrics: true}:            "POST /api/v1/write, POST /api/v1/write/",
		{Logs: true, Errors: true}: "",
	} {
		router := echo.New()
		(&Server{serve: serve}).Mount(router)
		got := []string{}
		for _, route := range router.Routes() {
			if strings.HasPrefix(route.Path, "/api/v1/") {
				got = append(got, route.Method+" "+route.Path)
			}
		}
		slices.Sort(got)
		if strings.Join(got, ", ") != want {
			t.Errorf("%+v: routes %s, want %s", serve, strings.Join(got, ", "), want)
		}
	}
}

func BenchmarkRemoteWrite(b *testing.B) {
	e := newEdge(b, edgeConfig{busBytes: 8 << 30})
	const samples = 2000
	names := []string{}
	for i := range samples {
		names = append(names, fmt.Sprintf("http_requests_%d_total", i))
	}
	at := time.Now()
	for b.Loop() {
		b.StopTimer()
		at = at.Add(time.Millisecond)
		body := snappy.Encode(nil, marshal(b, writeRequest(at, 1, names...)))
		b.StartTimer()
		if got := e.post(b, "/api/v1/write", body, "Content-Type", typeV2); got.status != 204 {
			b.Fatalf("%d %s", got.status, got.body)
		}
	}
	b.ReportMetric(samples*float64(b.N)/b.Elapsed().Seconds(), "samples/s")
}
