package series

import (
	"fmt"
	"math"
	"testing"
	"time"
)

// benchmarkSet has a sample of each of some series, twenty to a metric.
func benchmarkSet(n int) *Set {
	s := NewSet()
	shared := []*Label{NewLabel("instance", "10.0.0.1:9090"), NewLabel("job", "shop"), NewLabel("method", "GET"), NewLabel("pod", "shop-5d9c7b8f6-0001"), NewLabel("region", "eu-west-1")}
	var m *Metric
	for i := range n {
		if i%20 == 0 {
			m = s.Open(Metric{Name: fmt.Sprintf("http_requests_%d_total", i/20)})
		}
		s.Add(m, append([]*Label{NewLabel("code", "200"), NewLabel("handler", fmt.Sprint("/api/v1/items/", i%20))}, shared...), math.MaxInt, Sample{int64(i), float64(i)})
	}
	return s
}

func writeAll(s *Set, b []byte) []byte {
	f := s.Frames(1, 30, 512<<10)
	for {
		if b = f.Next(b[:0], time.Unix(1_700_000_000, 0)); len(b) == 0 {
			return b
		}
	}
}

func BenchmarkFrames(b *testing.B) {
	const samples = 8000
	s := benchmarkSet(samples)
	var space []byte
	b.ReportAllocs()
	for b.Loop() {
		space = writeAll(s, space)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*samples), "ns/sample")
}

func TestWritingFramesDoesNotAllocateForSamples(t *testing.T) {
	s := benchmarkSet(8000)
	space := make([]byte, 0, 1<<20)
	if n := testing.AllocsPerRun(10, func() { space = writeAll(s, space) }); n > 20 {
		t.Errorf("writing 8000 samples allocates %v times", n)
	}
}
