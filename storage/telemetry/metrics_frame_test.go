package telemetry

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/midwatch/midwatch/proto/telemetrypb"
	"github.com/midwatch/midwatch/storage/retention"
)

// showBlock writes the rows of a block and what it knows of its series.
func showBlock(t testing.TB, b *MetricBlock) string {
	t.Helper()
	var out strings.Builder
	for i := range b.Rows() {
		fmt.Fprintf(&out, "%d %d %q %x %d %x\n", b.project[i], b.day.ColUInt16[i], b.metric.names[b.metric.keys[i]], b.fp[i], b.at.ColInt64[i], math.Float64bits(join(b.mantissa[i], b.scale[i])))
	}
	for i := range b.series {
		s := &b.series[i]
		m, err := readMetricHead(b.cut(s.head))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "series %v %q %q %q %q %d %d %d:", s.key, m.name, m.sourceName, m.unit, m.description, uint8(m.kind), s.first, s.last)
		if err := eachLabel(b.cut(s.labels), func(key, value []byte) { fmt.Fprintf(&out, " %q=%q", key, value) }); err != nil {
			t.Fatal(err)
		}
		out.WriteByte('\n')
	}
	return out.String()
}

// showFrame is showBlock of a frame that protobuf's own decoder has read.
func showFrame(f *telemetrypb.MetricFrame) string {
	type known struct {
		metric      *telemetrypb.Metric
		series      *telemetrypb.Series
		first, last int64
	}
	var rows, all strings.Builder
	index := map[seriesKey]*known{}
	var order []seriesKey
	for _, batch := range f.Batches {
		for _, m := range batch.Metrics {
			for _, s := range m.Series {
				for i, ms := range s.TimesMs {
					at := min(max(ms, 0), maxTimeMS)
					keep := retention.Class(batch.RetentionDays, retention.Default.Metrics)
					key := seriesKey{s.Fingerprint, batch.ProjectId, storageDay(at*1e6, batch.ReceivedAt, keep), uint16(keep)}
					k := index[key]
					if k == nil {
						k = &known{m, s, at, at}
						index[key] = k
						order = append(order, key)
					}
					k.first, k.last = min(k.first, at), max(k.last, at)
					fmt.Fprintf(&rows, "%d %d %q %x %d %x\n", key.project, key.day, m.Name, key.fp, at, math.Float64bits(s.Values[i]))
				}
			}
		}
	}
	for _, key := range order {
		k := index[key]
		fmt.Fprintf(&all, "series %v %q %q %q %q %d %d %d:", key, k.metric.Name, k.metric.SourceName, k.metric.Unit, k.metric.Description, uint8(k.metric.Kind), k.first, k.last)
		for _, l := range k.series.Labels {
			fmt.Fprintf(&all, " %q=%q", l.Key, l.Value)
		}
		all.WriteByte('\n')
	}
	return rows.String() + all.String()
}

func manyMetrics() *telemetrypb.MetricFrame {
	const received, ms, dayNS = 1_700_000_000_000_000_000, 1_700_000_000_000, 24 * 3600 * 1_000_000_000
	labels := []*telemetrypb.KeyValue{{Key: "a", Value: "1"}, {Key: "wärme", Value: strings.Repeat("x", 2000)}}
	return &telemetrypb.MetricFrame{Batches: []*telemetrypb.MetricBatch{
		{ProjectId: 1, ReceivedAt: received, Metrics: []*telemetrypb.Metric{
			{
				Name: "m_total", SourceName: "m", Unit: "s", Description: strings.Repeat("d", 500), Kind: telemetrypb.MetricKind_METRIC_KIND_COUNTER,
				Series: []*telemetrypb.Series{
					{Fingerprint: 7, Labels: labels, TimesMs: []int64{ms, ms - 86400e3, ms + 1, 0, -5, math.MaxInt64}, Values: []float64{1, 0, math.Copysign(0, -1), math.NaN(), math.Inf(1), 2}},
					{Fingerprint: 8, TimesMs: []int64{ms}, Values: []float64{1}},
					{Fingerprint: 7, Labels: labels, TimesMs: []int64{ms - 7}, Values: []float64{3}},
					{Fingerprint: 9, Labels: labels[:1]},
				},
			},
			{Name: "none"},
			{Series: []*telemetrypb.Series{{TimesMs: []int64{ms}, Values: []float64{0}}}},
		}},
		{ProjectId: 70000, RetentionDays: 7, ReceivedAt: received + dayNS, Metrics: []*telemetrypb.Metric{{Name: "m_total", Series: []*telemetrypb.Series{{Fingerprint: 7, TimesMs: []int64{ms}, Values: []float64{5}}}}}},
		{},
	}}
}

func TestFramesOfProtobufAreRead(t *testing.T) {
	t.Parallel()
	f := manyMetrics()
	b := NewMetricBlock()
	if err := b.Add(marshalFrame(t, f)); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(showFrame(f), showBlock(t, b)); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}

func TestTheBlockIsAsBeforeAfterABadFrame(t *testing.T) {
	t.Parallel()
	good := marshalFrame(t, &telemetrypb.MetricFrame{Batches: []*telemetrypb.MetricBatch{{ProjectId: 1, Metrics: []*telemetrypb.Metric{{Name: "first", Series: []*telemetrypb.Series{{Fingerprint: 1, TimesMs: []int64{5}, Values: []float64{1}}}}}}}})
	bad := func(m *telemetrypb.Metric, tail string) []byte {
		// Good samples of new series stand before what is bad.
		f := manyMetrics()
		b := marshalFrame(t, f)
		metric := append(marshalMetric(t, m), tail...)
		return protowire.AppendBytes(append(b, telemetrypb.TagFrameBatches), protowire.AppendBytes([]byte{telemetrypb.TagBatchItems}, metric))
	}
	series := func(s *telemetrypb.Series) *telemetrypb.Metric {
		return &telemetrypb.Metric{Name: "x", Series: []*telemetrypb.Series{s}}
	}
	for name, frame := range map[string][]byte{
		"cut off":          marshalFrame(t, manyMetrics())[:2000],
		"times and values": bad(series(&telemetrypb.Series{TimesMs: []int64{1, 2}, Values: []float64{1}}), ""),
		"name":             bad(&telemetrypb.Metric{}, "\x0a\x01\xff\x32\x00"),
		"label":            bad(&telemetrypb.Metric{}, "\x32\x1b\x12\x03\x0a\x01\xff\x1a\x08aaaaaaaa\x22\x08aaaaaaaa"),
		"name behind":      bad(series(&telemetrypb.Series{}), "\x0a\x01x"),
		"half a sample":    bad(&telemetrypb.Metric{}, "\x32\x0c\x1a\x04aaaa\x22\x04aaaa"),
	} {
		b := NewMetricBlock()
		if err := b.Add(good); err != nil {
			t.Fatal(err)
		}
		want := showBlock(t, b)
		if err := b.Add(frame); err == nil {
			t.Errorf("%s: no error", name)
		}
		if d := cmp.Diff(want, showBlock(t, b)); d != "" {
			t.Errorf("%s: -want +got\n%s", name, d)
		}
		if err := b.Add(marshalFrame(t, manyMetrics())); err != nil {
			t.Errorf("%s: afterwards: %v", name, err)
		}
		for i := range b.series {
			if got := b.index.get(b.series[i].key, b.series); got != int32(i) {
				t.Errorf("%s: series %d is found at %d", name, i, got)
			}
		}
	}
}

func marshalMetric(t testing.TB, m *telemetrypb.Metric) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// FuzzMetricFrame: what is taken of any bytes is what protobuf's own decoder takes, and what
// protobuf's own encoder writes is taken. Labels of a series that the block has already, or that
// has no samples, are not looked into.
func FuzzMetricFrame(f *testing.F) {
	// Small seeds: the fuzzer spends its time on making large ones smaller.
	f.Add(benchmarkMetricFrame(f, 1))
	f.Add(marshalFrame(f, &telemetrypb.MetricFrame{Batches: []*telemetrypb.MetricBatch{{ProjectId: 1, ReceivedAt: 1, Metrics: []*telemetrypb.Metric{{
		Name: "m", Unit: "s", Kind: 2, Series: []*telemetrypb.Series{
			{Fingerprint: 1, Labels: []*telemetrypb.KeyValue{{Key: "a", Value: "ü"}}, TimesMs: []int64{1, 86400e3}, Values: []float64{1, 2}},
			{Fingerprint: 2, TimesMs: []int64{1}, Values: []float64{1}},
		},
	}}}}}))
	f.Add([]byte("\x0a\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		b := NewMetricBlock()
		if err := b.Add(data); err != nil {
			if b.Rows() != 0 || len(b.series) != 0 || len(b.text) != 0 {
				t.Error("something is left of a bad frame")
			}
			return
		}
		frame := new(telemetrypb.MetricFrame)
		if (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(data, frame) != nil {
			return
		}
		want := showFrame(frame)
		if d := cmp.Diff(want, showBlock(t, b)); d != "" {
			t.Errorf("-want +got\n%s", d)
		}
		again := NewMetricBlock()
		if err := again.Add(marshalFrame(t, frame)); err != nil {
			t.Fatalf("as protobuf writes it: %v", err)
		}
		if d := cmp.Diff(want, showBlock(t, again)); d != "" {
			t.Errorf("as protobuf writes it: -want +got\n%s", d)
		}
	})
}
