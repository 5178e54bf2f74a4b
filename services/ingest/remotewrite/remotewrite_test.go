package remotewrite

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	writev2 "github.com/prometheus/client_golang/exp/api/remote/genproto/v2"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/midwatch/midwatch/proto/telemetrypb"
	"github.com/midwatch/midwatch/services/ingest/record"
	"github.com/midwatch/midwatch/services/ingest/series"
)

const nowMS = 1795255200000 // 2026-11-21 10:00:00

func window() record.Window { return record.NewWindow(time.UnixMilli(nowMS), 400) }

// point is a sample of a test.
type point struct {
	ms    int64
	value float64
}

// one is a series of a test: labels are names and values in turn.
type one struct {
	labels     []string
	points     []point
	histograms int
	exemplars  int
	about      about // 2.0 only
}

// about is the metadata of a family, which 2.0 has no name for.
type about struct {
	family     string
	kind       uint64
	help, unit string
}

func labels(pairs ...string) []string { return pairs }

func at(values ...float64) []point {
	points := []point{}
	for i, v := range values {
		points = append(points, point{nowMS + int64(i)*1000, v})
	}
	return points
}

// message appends a message under a field.
func message(b []byte, number protowire.Number, m []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, number, protowire.BytesType), m)
}

func appendSample(b []byte, p point) []byte {
	b = protowire.AppendFixed64(protowire.AppendTag(b, 1, protowire.Fixed64Type), math.Float64bits(p.value))
	return protowire.AppendVarint(protowire.AppendTag(b, 2, protowire.VarintType), uint64(p.ms))
}

// encodeV1 writes a prometheus.WriteRequest.
func encodeV1(list []one, families ...about) []byte {
	var b []byte
	for _, s := range list {
		var m []byte
		for i := 0; i < len(s.labels); i += 2 {
			m = message(m, 1, message(message(nil, 1, []byte(s.labels[i])), 2, []byte(s.labels[i+1])))
		}
		for _, p := range s.points {
			m = message(m, 2, appendSample(nil, p))
		}
		for range s.exemplars {
			m = message(m, 3, appendSample(nil, point{nowMS, 1}))
		}
		for range s.histograms {
			m = message(m, 4, nil)
		}
		b = message(b, 1, m)
	}
	for _, f := range families {
		m := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), f.kind)
		m = message(message(message(m, 2, []byte(f.family)), 4, []byte(f.help)), 5, []byte(f.unit))
		b = message(b, 3, m)
	}
	return b
}

// encodeV2 has the sender's own code write an io.prometheus.write.v2.Request.
func encodeV2(t testing.TB, list []one) []byte {
	t.Helper()
	symbols := writev2.NewSymbolTable()
	req := new(writev2.Request)
	for _, s := range list {
		ts := &writev2.TimeSeries{LabelsRefs: symbols.SymbolizeLabels(s.labels, nil)}
		for _, p := range s.points {
			ts.Samples = append(ts.Samples, &writev2.Sample{Value: p.value, Timestamp: p.ms})
		}
		for range s.histograms {
			ts.Histograms = append(ts.Histograms, &writev2.Histogram{Sum: 1, Timestamp: nowMS})
		}
		for range s.exemplars {
			ts.Exemplars = append(ts.Exemplars, &writev2.Exemplar{Value: 1})
		}
		if s.about != (about{}) {
			ts.Metadata = &writev2.Metadata{
				Type: writev2.Metadata_MetricType(s.about.kind), HelpRef: symbols.Symbolize(s.about.help), UnitRef: symbols.Symbolize(s.about.unit),
			}
		}
		req.Timeseries = append(req.Timeseries, ts)
	}
	req.Symbols = symbols.Symbols()
	b, err := proto.Marshal(req)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// metricsOf reads what is kept of a request as those on the bus do.
func metricsOf(t testing.TB, r *Request) []*telemetrypb.Metric {
	t.Helper()
	f := new(telemetrypb.MetricFrame)
	if err := proto.Unmarshal(r.Frames(1, 30, math.MaxInt).Next(nil, time.UnixMilli(nowMS)), f); err != nil {
		t.Fatal(err)
	}
	if len(f.Batches) == 0 {
		return nil
	}
	return f.Batches[0].Metrics
}

// show writes what is kept of a request, and what its sender is told.
func show(t testing.TB, r *Request) string {
	t.Helper()
	var b strings.Builder
	for _, m := range metricsOf(t, r) {
		fmt.Fprintf(&b, "%s %s", m.Name, strings.ToLower(strings.TrimPrefix(m.Kind.String(), "METRIC_KIND_")))
		if m.Unit != "" || m.Description != "" {
			fmt.Fprintf(&b, " %q %q", m.Unit, m.Description)
		}
		b.WriteString("\n")
		for _, s := range m.Series {
			b.WriteString(" ")
			for _, l := range s.Labels {
				fmt.Fprintf(&b, " %s=%s", l.Key, l.Value)
			}
			for i, ms := range s.TimesMs {
				fmt.Fprintf(&b, " %v@%d", s.Values[i], ms-nowMS)
			}
			b.WriteString("\n")
		}
	}
	if r.Rejected > 0 {
		b.WriteString(r.Message() + "\n")
	}
	return b.String()
}

func TestBothVersionsKeepTheSame(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 3000)
	many := labels("__name__", "up")
	for i := range 64 {
		many = append(many, fmt.Sprintf("l%02d", i), "v")
	}
	for _, c := range []struct {
		name string
		list []one
		want string
	}{
		{"nothing", nil, ""},
		{
			"samples",
			[]one{
				{labels: labels("__name__", "up", "instance", "a:1", "job", "x"), points: at(1, 0)},
				{labels: labels("__name__", "up", "instance", "b:1", "job", "x"), points: at(-1.5)},
				{labels: labels("__name__", "up"), points: at(math.Inf(1))},
			},
			"up unspecified\n  instance=a:1 job=x 1@0 0@1000\n  instance=b:1 job=x -1.5@0\n  +Inf@0\n",
		},
		{
			"the same series again",
			[]one{
				{labels: labels("__name__", "a", "x", "1"), points: at(1)},
				{labels: labels("__name__", "b", "x", "1"), points: at(2)},
				{labels: labels("__name__", "a", "x", "1"), points: []point{{nowMS - 5000, 3}}},
			},
			"a unspecified\n  x=1 1@0 3@-5000\nb unspecified\n  x=1 2@0\n",
		},
		{
			"unsorted, empty and UTF-8 labels",
			[]one{{labels: labels("z", "1", "__name__", "wärme.grad", "empty", "", "a b", "ü"), points: at(1)}},
			"wärme.grad unspecified\n  a b=ü z=1 1@0\n",
		},
		{
			"kinds by suffix",
			[]one{
				{labels: labels("__name__", "r_total"), points: at(1)},
				{labels: labels("__name__", "h_bucket", "le", "+Inf"), points: at(1)},
				{labels: labels("__name__", "h_sum"), points: at(1)},
				{labels: labels("__name__", "h_count"), points: at(1)},
				{labels: labels("__name__", "job:x:rate_sum"), points: at(1)},
			},
			"r_total counter\n  1@0\nh_bucket counter\n  le=+Inf 1@0\nh_sum counter\n  1@0\nh_count counter\n  1@0\njob:x:rate_sum unspecified\n  1@0\n",
		},
		{
			"a bad series beside good ones",
			[]one{
				{labels: labels("__name__", "up", "job", "a", "job", "b"), points: at(1, 2)},
				{labels: labels("__name__", "up", "", "a"), points: at(1)},
				{labels: labels("job", "a", "x", "y"), points: at(1)},
				{labels: labels("__name__", "", "job", "a"), points: at(1)},
				{labels: labels("__name__", "up", "job", "good"), points: at(1)},
				{labels: labels("__name__", "up", "job", long), points: at(1)},
				{labels: labels("__name__", long), points: at(1)},
				{labels: labels("__name__", "up", long, "a"), points: at(1)},
				{labels: many, points: at(1)},
			},
			"up unspecified\n  job=good 1@0\n1 samples are stored, 9 are not: " + strings.Join([]string{
				`metric "up": the label "job" is there twice (2)`,
				`metric "up": a label has no name (1)`,
				`the series {job="a", x="y"}: it has no __name__ (1)`,
				`the series {__name__="", job="a"}: it has no __name__ (1)`,
				`metric "up": the value of label "job" has 3000 bytes, 2048 are taken (1)`,
				`the series {}: its name has 3000 bytes, 512 are taken (1)`,
				`metric "up": the name of a label has 3000 bytes, 256 are taken (1)`,
				`metric "up": it has more than 64 labels (1)`,
			}, "; ") + "\n",
		},
		{
			"times",
			[]one{
				{labels: labels("__name__", "up"), points: []point{{0, 1}, {nowMS - 31*86400e3, 1}, {nowMS + 7200e3, 1}, {math.MaxInt64, 1}, {math.MinInt64, 1}}},
				{labels: labels("__name__", "up"), points: []point{{nowMS - 29*86400e3, 7}}},
			},
			"up unspecified\n  7@-2505600000\n1 samples are stored, 5 are not: metric \"up\": the time is more than 30 days in the past (3); metric \"up\": the time is more than one hour in the future (2)\n",
		},
		{
			"histograms and exemplars",
			[]one{
				{labels: labels("__name__", "native"), histograms: 2, exemplars: 1},
				{labels: labels("__name__", "c_total"), points: at(1), exemplars: 2},
			},
			"c_total counter\n  1@0\n1 samples are stored, 2 are not: metric \"native\": " + histogramNotKept + " (2); exemplars are not kept yet (3)\n",
		},
		{
			"many reasons", func() (list []one) {
				for i := range 12 {
					list = append(list, one{labels: labels("x", fmt.Sprint(i)), points: at(1)})
				}
				return list
			}(),
			`0 samples are stored, 12 are not: the series {x="0"}: it has no __name__ (1); the series {x="1"}: it has no __name__ (1); the series {x="2"}: it has no __name__ (1); ` +
				`the series {x="3"}: it has no __name__ (1); the series {x="4"}: it has no __name__ (1); the series {x="5"}: it has no __name__ (1); the series {x="6"}: it has no __name__ (1); ` +
				`the series {x="7"}: it has no __name__ (1); and more` + "\n",
		},
	} {
		for version, body := range map[Version][]byte{V1: encodeV1(c.list), V2: encodeV2(t, c.list)} {
			got, err := Decode(version, body, window())
			if err != nil {
				t.Errorf("%s, version %d: %v", c.name, version, err)
				continue
			}
			if diff := cmp.Diff(c.want, show(t, got)); diff != "" {
				t.Errorf("%s, version %d: -want +got\n%s", c.name, version, diff)
			}
			check(t, got)
		}
	}
}

func TestMetadata(t *testing.T) {
	t.Parallel()
	const counter, gauge, histogram, summary = 1, 2, 3, 5
	v1 := encodeV1([]one{
		{labels: labels("__name__", "req_total"), points: at(1)},
		{labels: labels("__name__", "orders_total"), points: at(1)}, // OpenMetrics has no suffix on the family
		{labels: labels("__name__", "d_seconds_bucket", "le", "1"), points: at(1)},
		{labels: labels("__name__", "d_seconds_sum"), points: at(1)},
		{labels: labels("__name__", "rpc"), points: at(1)},
		{labels: labels("__name__", "rpc_count"), points: at(1)},
		{labels: labels("__name__", "queue_sum"), points: at(1)},
		{labels: labels("__name__", "temp"), points: at(1)},
		{labels: labels("__name__", "other"), points: at(1)},
	},
		about{"req_total", counter, "Requests", ""}, about{"orders", counter, "Orders", "orders"}, about{"d_seconds", histogram, "Durations", "seconds"},
		about{"rpc", summary, "Calls", ""}, about{"queue", gauge, "Queue", ""}, about{"queue_sum", gauge, "Sum", ""}, about{"temp", gauge, strings.Repeat("h", 2000), strings.Repeat("u", 70)}, about{"other", 99, "", ""})
	const want = `req_total counter "" "Requests"
  1@0
orders_total counter "orders" "Orders"
  1@0
d_seconds_bucket histogram "seconds" "Durations"
  le=1 1@0
d_seconds_sum histogram "seconds" "Durations"
  1@0
rpc summary "" "Calls"
  1@0
rpc_count summary "" "Calls"
  1@0
queue_sum gauge "" "Sum"
  1@0
temp gauge "` + "%s" + `" "` + "%s" + `"
  1@0
other unspecified
  1@0
`
	got, err := Decode(V1, v1, window())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(fmt.Sprintf(want, strings.Repeat("u", 64-8)+"…[cut]", strings.Repeat("h", 1024-8)+"…[cut]"), show(t, got)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	// Alone it leaves nothing to keep, and is no fault.
	if got, err := Decode(V1, encodeV1(nil, about{"a", counter, "A", ""}), window()); err != nil || got.Samples() != 0 || got.Rejected != 0 {
		t.Errorf("metadata alone: %v, %v", got, err)
	}
	got, err = Decode(V2, encodeV2(t, []one{
		{labels: labels("__name__", "a", "x", "1"), points: at(1)},
		{labels: labels("__name__", "a", "x", "2"), points: at(1), about: about{kind: counter, help: "A", unit: "things"}},
		{labels: labels("__name__", "a", "x", "3"), points: at(1), about: about{kind: gauge, help: "B"}},
		{labels: labels("__name__", "b_sum"), points: at(1), about: about{kind: summary}},
	}), window())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("a counter \"things\" \"A\"\n  x=1 1@0\n  x=2 1@0\n  x=3 1@0\nb_sum summary\n  1@0\n", show(t, got)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestNaNKeepsItsBits(t *testing.T) {
	t.Parallel()
	list := []one{{labels: labels("__name__", "up"), points: at(series.Stale(), math.Float64frombits(0x7ff8000000000001), math.Float64frombits(0xfff8000000001234), math.Copysign(0, -1))}}
	for version, body := range map[Version][]byte{V1: encodeV1(list), V2: encodeV2(t, list)} {
		got, err := Decode(version, body, window())
		if err != nil {
			t.Fatal(err)
		}
		for i, v := range metricsOf(t, got)[0].Series[0].Values {
			if math.Float64bits(v) != math.Float64bits(list[0].points[i].value) {
				t.Errorf("version %d: %x became %x", version, math.Float64bits(list[0].points[i].value), math.Float64bits(v))
			}
		}
	}
}

func TestReferences(t *testing.T) {
	t.Parallel()
	encode := func(symbols []string, series ...*writev2.TimeSeries) []byte {
		b, err := proto.Marshal(&writev2.Request{Symbols: symbols, Timeseries: series})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	symbols := []string{"", "__name__", "up", "job"}
	points := []*writev2.Sample{{Value: 1, Timestamp: nowMS}}
	good := &writev2.TimeSeries{LabelsRefs: []uint32{1, 2}, Samples: points}
	got, err := Decode(V2, encode(
		symbols, good,
		&writev2.TimeSeries{LabelsRefs: []uint32{1, 2, 3}, Samples: points},
		&writev2.TimeSeries{LabelsRefs: []uint32{1, 2, 3, 4}, Samples: points},
		&writev2.TimeSeries{LabelsRefs: []uint32{1, 2, 3, math.MaxUint32}, Samples: points},
		&writev2.TimeSeries{LabelsRefs: []uint32{1, 2}, Samples: points, Metadata: &writev2.Metadata{HelpRef: 9}},
		&writev2.TimeSeries{LabelsRefs: []uint32{1, 2}},
	), window())
	if err != nil {
		t.Fatal(err)
	}
	want := "up unspecified\n  1@0\n1 samples are stored, 5 are not: " + strings.Join([]string{
		`metric "up": the references to its labels are not pairs (1)`,
		`metric "up": it refers to symbol 4 of 4 (1)`,
		`metric "up": it refers to symbol 4294967295 of 4 (1)`,
		`metric "up": it refers to symbol 9 of 4 (1)`,
		`metric "up": it has no samples (1)`,
	}, "; ") + "\n"
	if diff := cmp.Diff(want, show(t, got)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if _, err := Decode(V2, encode([]string{"a"}, good), window()); err == nil || err.Error() != "the first symbol is not empty" {
		t.Errorf("Decode = %v", err)
	}
	if _, err := Decode(V2, []byte(strings.Repeat("\x22\x00", maxSymbols+1)), window()); err == nil || !strings.Contains(err.Error(), "more than 1048576 symbols") {
		t.Errorf("Decode = %v", err)
	}
	// Not packed, and with the symbols behind.
	b := message(nil, 5, append([]byte{1 << 3, 1, 1 << 3, 2}, message(nil, 2, appendSample(nil, point{nowMS, 1}))...))
	for _, s := range symbols {
		b = message(b, 4, []byte(s))
	}
	if got, err := Decode(V2, b, window()); err != nil || show(t, got) != "up unspecified\n  1@0\n" {
		t.Errorf("Decode = %v, %v", got, err)
	}
}

func TestOutputIsBounded(t *testing.T) {
	t.Parallel()
	// A few bytes of references stand for 60 labels of 2 KiB.
	pairs := labels("__name__", "up")
	for i := range 60 {
		pairs = append(pairs, fmt.Sprintf("l%d", i), strings.Repeat("v", 2048))
	}
	list := []one{}
	for i := range 1000 {
		list = append(list, one{labels: append(slices.Clone(pairs), "n", fmt.Sprint(i)), points: at(1)})
	}
	got, err := Decode(V2, encodeV2(t, list), window())
	if err != nil {
		t.Fatal(err)
	}
	if got.Samples() == 0 || got.Rejected == 0 || got.ByReason["too_large"] != got.Rejected || !strings.Contains(got.Message(), "come to more than 64 MiB, send smaller batches") {
		t.Errorf("%d are kept, %d are not: %s", got.Samples(), got.Rejected, got.Message())
	}
}

func TestWhatIsNoMessageIsRefused(t *testing.T) {
	t.Parallel()
	body := encodeV1([]one{{labels: labels("__name__", "up"), points: at(1)}})
	for version, bodies := range map[Version][][]byte{
		V1: {body[:len(body)-1], []byte("hello"), {0xff}, message(nil, 1, []byte{0x0a, 5}), message(nil, 1, message(nil, 1, []byte{0x0a, 5})), message(nil, 1, message(nil, 2, []byte{9})), message(nil, 3, []byte{8})},
		V2: {[]byte("hello"), message(nil, 5, []byte{0x0a, 1, 0xff}), message(nil, 5, message(nil, 5, []byte{8}))},
	} {
		for _, b := range bodies {
			if got, err := Decode(version, b, window()); err == nil || got != nil {
				t.Errorf("version %d of %x = %v, %v", version, b, got, err)
			}
		}
	}
}

// check holds a result against what is promised of all.
func check(t *testing.T, r *Request) {
	t.Helper()
	samples := 0
	names := map[string]bool{}
	for _, m := range metricsOf(t, r) {
		if m.Name == "" || len(m.Name) > record.MaxNameBytes || names[m.Name] || len(m.Series) == 0 {
			t.Errorf("metric %q with %d series", m.Name, len(m.Series))
		}
		names[m.Name] = true
		if !utf8.ValidString(m.Name) || !utf8.ValidString(m.Unit) || !utf8.ValidString(m.Description) {
			t.Errorf("metric %q is not UTF-8", m.Name)
		}
		fingerprints := map[uint64]bool{}
		for _, s := range m.Series {
			var labels []*series.Label
			for _, l := range s.Labels {
				labels = append(labels, series.NewLabel(l.Key, l.Value))
			}
			if s.Fingerprint != series.Fingerprint(m.Name, labels) || fingerprints[s.Fingerprint] || len(s.Labels) >= series.MaxLabels || len(s.TimesMs) == 0 || len(s.TimesMs) != len(s.Values) {
				t.Errorf("series %v", s)
			}
			fingerprints[s.Fingerprint] = true
			if !slices.IsSortedFunc(s.Labels, func(a, b *telemetrypb.KeyValue) int { return strings.Compare(a.Key, b.Key) }) {
				t.Errorf("labels %v are not sorted", s.Labels)
			}
			for i, l := range s.Labels {
				if l.Key == "" || l.Value == "" || l.Key == nameLabel || i > 0 && s.Labels[i-1].Key == l.Key || len(l.Key) > record.MaxKeyBytes || len(l.Value) > series.MaxValueBytes ||
					!utf8.ValidString(l.Key) || !utf8.ValidString(l.Value) {
					t.Errorf("label %q=%q", l.Key, l.Value)
				}
			}
			for _, ms := range s.TimesMs {
				if err := window().Check(uint64(ms) * 1e6); ms < 0 || err != nil {
					t.Errorf("sample at %d: %v", ms, err)
				}
			}
			samples += len(s.TimesMs)
		}
	}
	counted := 0
	for n := range maps.Values(r.ByReason) {
		counted += n
	}
	if samples != r.Samples() || counted != r.Rejected+r.Exemplars {
		t.Errorf("%d samples are said to be %d, %d rejections %d", samples, r.Samples(), counted, r.Rejected+r.Exemplars)
	}
	if told := r.Message(); (told == "") != (r.Rejected == 0) || !utf8.ValidString(told) || strings.ContainsAny(told, "\n\r") || len(told) > 2*record.MaxReasons*record.MaxReasonBytes {
		t.Errorf("told %q", told)
	}
}

// FuzzWrite: no bytes make the decoder of a version panic or give what is not promised.
func FuzzWrite(f *testing.F) {
	list := []one{
		{labels: labels("__name__", "up", "job", "a"), points: at(1, series.Stale()), about: about{kind: 2, help: "h", unit: "u"}},
		{labels: labels("job", "a", "job", "b", "", "\xff"), points: []point{{-1, 1}, {1 << 62, 1}}, histograms: 1, exemplars: 1},
		{labels: labels("__name__", "a_total", "z", "", "a", "1"), points: at(2)},
	}
	f.Add(encodeV1(list, about{"up", 2, "help", "unit"}, about{"a", 1, "\xff", ""}))
	list[1].labels = list[1].labels[:4]
	f.Add(encodeV2(f, list))
	f.Add([]byte("\x2a\x06\x0a\x04\x01\x02\x03\xff"))
	f.Add([]byte("\x0b\x0b\x0c\x0c"))
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, version := range []Version{V1, V2} {
			got, err := Decode(version, body, window())
			if (got == nil) == (err == nil) {
				t.Fatalf("Decode = %v, %v", got, err)
			}
			if err == nil {
				check(t, got)
				got.Release()
			}
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	const samples = 2000
	list := []one{}
	for i := range samples {
		list = append(list, one{
			labels: labels("__name__", fmt.Sprintf("http_requests_%d_total", i%100), "code", "200", "handler", fmt.Sprintf("/api/v1/items/%d", i%17), "instance", fmt.Sprintf("10.0.0.%d:9090", i/100),
				"job", "shop", "method", "GET", "pod", fmt.Sprintf("shop-5d9c7b8f6-%04d", i/10), "region", "eu-west-1"),
			points: at(float64(i)),
		})
	}
	for version, body := range map[Version][]byte{V1: encodeV1(list), V2: encodeV2(b, list)} {
		b.Run(fmt.Sprintf("V%d", version), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				got, err := Decode(version, body, window())
				if err != nil || got.Samples() != samples {
					b.Fatal(got, err)
				}
				got.Release()
			}
			b.ReportMetric(samples*float64(b.N)/b.Elapsed().Seconds(), "samples/s")
		})
	}
}

// TestDecodingDoesNotAllocateForSamples holds the hot path to what a request that is like the one
// before needs.
func TestDecodingDoesNotAllocateForSamples(t *testing.T) {
	list := []one{}
	for i := range 1000 {
		list = append(list, one{labels: labels("__name__", "up", "instance", fmt.Sprint("h", i), "job", "x"), points: at(1)})
	}
	for version, body := range map[Version][]byte{V1: encodeV1(list), V2: encodeV2(t, list)} {
		if n := testing.AllocsPerRun(20, func() {
			got, err := Decode(version, body, window())
			if err != nil || got.Samples() != len(list) {
				t.Fatal(err)
			}
			got.Release()
		}); n > 60 {
			t.Errorf("version %d: decoding %d samples allocates %v times", version, len(list), n)
		}
	}
}
