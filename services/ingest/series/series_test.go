package series

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/midwatch/midwatch/proto/telemetrypb"
)

func TestFingerprint(t *testing.T) {
	t.Parallel()
	labels := []*Label{NewLabel("b", "2"), NewLabel("a", "1")}
	Sort(labels)
	// It is stored: it must never change.
	want := xxhash.Sum64String("\x02\x00\x00\x00up\x01\x00\x00\x00a\x01\x00\x00\x001\x01\x00\x00\x00b\x01\x00\x00\x002")
	if got := Fingerprint("up", labels); got != want {
		t.Errorf("Fingerprint = %x, want %x", got, want)
	}
	// Lengths keep what is beside each other apart.
	if Fingerprint("ab", nil) == Fingerprint("a", []*Label{NewLabel("b", "")}) ||
		Fingerprint("u", []*Label{NewLabel("ab", "c")}) == Fingerprint("u", []*Label{NewLabel("a", "bc")}) {
		t.Error("different series have the same fingerprint")
	}
}

func TestALabelIsSetAgain(t *testing.T) {
	t.Parallel()
	l := NewLabel("a", strings.Repeat("x", 300))
	l.Set([]byte("wärme"), []byte("b"))
	if string(l.Key()) != "wärme" || string(l.Value()) != "b" || l.Size() != len(NewLabel("wärme", "b").wire()) {
		t.Errorf("%q=%q", l.Key(), l.Value())
	}
}

func TestValue(t *testing.T) {
	t.Parallel()
	if math.Float64bits(Stale()) != staleBits || math.Float64bits(Value(Stale())) == staleBits || !math.IsNaN(Value(math.NaN())) {
		t.Error("a NaN is taken for the staleness marker")
	}
	for _, v := range []float64{0, -1.5, math.Inf(1)} {
		if Value(v) != v {
			t.Errorf("Value(%v) = %v", v, Value(v))
		}
	}
}

// frames writes a set as frames and reads each with protobuf's own decoder.
func frames(t testing.TB, s *Set, limit int) []*telemetrypb.MetricFrame {
	t.Helper()
	var out []*telemetrypb.MetricFrame
	w := s.Frames(3, 30, limit)
	for {
		b := w.Next([]byte("before"), time.Unix(5, 0))
		if string(b) == "before" {
			return out
		}
		f := new(telemetrypb.MetricFrame)
		if err := proto.Unmarshal(bytes.TrimPrefix(b, []byte("before")), f); err != nil {
			t.Fatal(err)
		}
		if n := proto.Size(f); n != len(b)-len("before") {
			t.Errorf("a frame has %d bytes, protobuf makes it %d", len(b)-len("before"), n)
		}
		out = append(out, f)
	}
}

func TestASetIsWrittenInTheOrderOfItsSamples(t *testing.T) {
	t.Parallel()
	s := NewSet()
	defer s.Release()
	one, two, long := NewLabel("a", "1"), NewLabel("wärme", "ü"), NewLabel("c", strings.Repeat("v", 2000))
	if frames(t, s, 1) != nil {
		t.Error("an empty set has frames")
	}
	gauge := s.Open(Metric{Name: "gauge", SourceName: "g", Unit: "s", Description: strings.Repeat("d", 200), Kind: telemetrypb.MetricKind_METRIC_KIND_GAUGE})
	s.Open(Metric{Name: "none"})
	counter := s.Open(Metric{Name: "counter\xff", Kind: 500})
	same := s.Open(Metric{Name: "gauge"})
	add := func(m *Metric, labels []*Label, samples ...Sample) {
		t.Helper()
		if !s.Add(m, labels, math.MaxInt, samples...) {
			t.Error("a sample does not fit")
		}
	}
	add(counter, nil, Sample{1, 1}, Sample{-1, math.Copysign(0, -1)})
	add(gauge, []*Label{one, two, long}, Sample{2, math.Inf(1)})
	add(gauge, []*Label{one}, Sample{3, 3})
	add(same, []*Label{one}, Sample{4, 4})
	add(counter, nil, Sample{0, 0})
	add(gauge, []*Label{one, two, long}, Sample{5, 5})
	wants := []*telemetrypb.Metric{
		{Name: "counter\uFFFD", Kind: 500, Series: []*telemetrypb.Series{{
			Fingerprint: Fingerprint("counter\uFFFD", nil), TimesMs: []int64{1, -1, 0}, Values: []float64{1, math.Copysign(0, -1), 0},
		}}},
		{Name: "gauge", SourceName: "g", Unit: "s", Description: strings.Repeat("d", 200), Kind: telemetrypb.MetricKind_METRIC_KIND_GAUGE, Series: []*telemetrypb.Series{
			{
				Fingerprint: Fingerprint("gauge", []*Label{one, two, long}), TimesMs: []int64{2, 5}, Values: []float64{math.Inf(1), 5},
				Labels: []*telemetrypb.KeyValue{{Key: "a", Value: "1"}, {Key: "wärme", Value: "ü"}, {Key: "c", Value: strings.Repeat("v", 2000)}},
			},
			{Fingerprint: Fingerprint("gauge", []*Label{one}), TimesMs: []int64{3}, Values: []float64{3}, Labels: []*telemetrypb.KeyValue{{Key: "a", Value: "1"}}},
		}},
		{Name: "gauge", Series: []*telemetrypb.Series{{Fingerprint: Fingerprint("gauge", []*Label{one}), TimesMs: []int64{4}, Values: []float64{4}, Labels: []*telemetrypb.KeyValue{{Key: "a", Value: "1"}}}}},
	}
	got := frames(t, s, 1<<20)
	want := []*telemetrypb.MetricFrame{{Batches: []*telemetrypb.MetricBatch{{ProjectId: 3, ReceivedAt: 5e9, RetentionDays: 30, Metrics: wants}}}}
	if d := cmp.Diff(want, got, protocmp.Transform()); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
	if s.Samples() != 7 {
		t.Errorf("%d samples", s.Samples())
	}
	// One series to a frame.
	if got := frames(t, s, 1); len(got) != 4 || len(got[1].Batches[0].Metrics) != 1 || got[1].Batches[0].Metrics[0].Unit != "s" || got[2].Batches[0].Metrics[0].Unit != "s" {
		t.Errorf("frames %v", got)
	}
}

// TestCutsDoNotDependOnTheRetention cuts a set before and after its project has chosen again.
func TestCutsDoNotDependOnTheRetention(t *testing.T) {
	t.Parallel()
	s := NewSet()
	defer s.Release()
	m := s.Open(Metric{Name: "m"})
	for i := range 200 {
		if !s.Add(m, []*Label{NewLabel("l", fmt.Sprint(100+i))}, math.MaxInt, Sample{1, 1}) {
			t.Fatal("it does not fit")
		}
	}
	for limit := 500; limit < 600; limit++ {
		first := func(days int) int {
			b := s.Frames(1, days, limit).Next(nil, time.Unix(5, 0))
			f := new(telemetrypb.MetricFrame)
			if err := proto.Unmarshal(b, f); err != nil {
				t.Fatal(err)
			}
			return len(f.Batches[0].Metrics[0].Series)
		}
		if a, b := first(30), first(400); a != b {
			t.Fatalf("with a limit of %d the first frame has %d series, and %d if they are kept for longer", limit, a, b)
		}
	}
}

func TestFramesKeepTheirLimit(t *testing.T) {
	t.Parallel()
	s := NewSet()
	defer s.Release()
	const metrics, series, limit = 50, 300, 10_000
	for i := range metrics {
		m := s.Open(Metric{Name: fmt.Sprint("m", i)})
		for j := range series {
			if !s.Add(m, []*Label{NewLabel("l", strings.Repeat("x", j+1))}, math.MaxInt, Sample{int64(i), float64(j)}) {
				t.Fatal("it does not fit")
			}
		}
	}
	next := 0
	for _, f := range frames(t, s, limit) {
		if n := proto.Size(f); n > limit {
			t.Errorf("a frame has %d bytes", n)
		}
		for _, m := range f.Batches[0].Metrics {
			for _, one := range m.Series {
				if want := fmt.Sprint("m", next/series); m.Name != want || one.Values[0] != float64(next%series) || len(one.Labels[0].Value) != next%series+1 {
					t.Fatalf("series %d is %v of %s", next, one.Values, m.Name)
				}
				next++
			}
		}
	}
	if next != metrics*series {
		t.Errorf("%d series, want %d", next, metrics*series)
	}
}

func TestALongSeriesIsThereSeveralTimes(t *testing.T) {
	t.Parallel()
	s := NewSet()
	defer s.Release()
	m := s.Open(Metric{Name: "m"})
	labels := []*Label{NewLabel("a", "1")}
	const n = 2*maxSeriesSamples + 1
	many := make([]Sample, maxSeriesSamples+5)
	for i := range many {
		many[i].MS = int64(i)
	}
	s.Add(m, labels, math.MaxInt, many...)
	for i := len(many); i < n; i++ {
		s.Add(m, labels, math.MaxInt, Sample{int64(i), 0})
	}
	// The table grows in between, and still finds the last part.
	for i := range 5000 {
		s.Add(m, []*Label{NewLabel("other", fmt.Sprint(i))}, math.MaxInt, Sample{0, 0})
	}
	s.Add(m, labels, math.MaxInt, Sample{n, 0})
	at := int64(0)
	for _, f := range frames(t, s, 1<<20) {
		for _, one := range f.Batches[0].Metrics[0].Series {
			if one.Labels[0].Key != "a" {
				continue
			}
			if len(one.TimesMs) > maxSeriesSamples {
				t.Errorf("a series has %d samples", len(one.TimesMs))
			}
			for _, ms := range one.TimesMs {
				if ms != at {
					t.Fatalf("sample %d is at %d", at, ms)
				}
				at++
			}
		}
	}
	if at != n+1 {
		t.Errorf("%d samples, want %d", at, n+1)
	}
}

func TestASetIsBounded(t *testing.T) {
	t.Parallel()
	s := NewSet()
	defer s.Release()
	m := s.Open(Metric{Name: "m"})
	kept := 0
	for i := range 100 {
		if s.Add(m, []*Label{NewLabel("i", fmt.Sprint(i))}, 1000, Sample{1, 1}) {
			kept++
		}
	}
	if kept != s.Samples() || kept < 15 || kept > 30 || s.Bytes() > 1000 {
		t.Errorf("%d of 100 samples in %d bytes", kept, s.Bytes())
	}
}
