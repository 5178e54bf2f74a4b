package telemetry

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// foldSeries folds series into one group over [0 s, 60 s) in steps of 10 s that began at the time
// 1000000 s. Absent values are NaN.
func foldSeries(t *testing.T, aggregate string, from, to int, series ...[]float64) []float64 {
	t.Helper()
	const base = 1_000_000
	sc, err := NewScope(1, time.Unix(base+int64(from), 0), time.Unix(base+int64(to), 0))
	if err != nil {
		t.Fatal(err)
	}
	steps := bucketsOf(sc, 10*time.Second)
	f := newFold(aggregate, steps, sc, 1)
	for _, s := range series {
		f.begin(0)
		for i := 0; i < len(s); i += 2 {
			f.add(int64((base+s[i])*1000), s[i+1])
		}
	}
	f.end()
	values := make([]float64, steps.n)
	for i := range values {
		values[i] = math.NaN()
	}
	for _, p := range f.points(0) {
		values[(p.At-steps.first.UnixMilli())/10000] = p.Value
	}
	return values
}

func TestFold(t *testing.T) {
	t.Parallel()
	nan, stale, inf := math.NaN(), math.Float64frombits(staleMarker), math.Inf(1)
	type s = []float64
	f := func(aggregate string, want []float64, series ...[]float64) {
		t.Helper()
		got := foldSeries(t, aggregate, 0, 60, series...)
		if d := cmp.Diff(want, got, cmpopts.EquateNaNs(), cmpopts.EquateApprox(1e-9, 0)); d != "" {
			t.Errorf("%s of %v (-want +got):\n%s", aggregate, series, d)
		}
	}
	f("avg", s{nan, nan, nan, nan, nan, nan}, s{})
	f("avg", s{2, 3, 5, 5, 5, 5}, s{0, 1, 9, 3, 20, 5})   // the last sample stands for what follows
	f("avg", s{1, 1, 1, nan, nan, nan}, s{-280, 1})       // for five minutes
	f("avg", s{nan, nan, nan, nan, nan, nan}, s{-301, 1}) // and no longer
	f("avg", s{1, nan, nan, nan, 2, 2}, s{0, 1, 5, stale, 40, 2})
	f("avg", s{1, 1, nan, nan, nan, nan}, s{0, 1, 25, stale})
	f("avg", s{nan, nan, nan, nan, nan, nan}, s{-10, 1, -5, stale})
	f("avg", s{1, 1, 1, 1, 1, 1}, s{0, 1, 5, nan, 30, nan}) // NaN says nothing
	f("avg", s{1, 1, 1, 1, 1, 1}, s{0, 1, 0, 9, 0, 1})      // nor does a repetition
	f("avg", s{nan, 1, 1, 1, 1, 1}, s{0, inf, 10, 1})       // a line has finite points only
	f("avg", s{2, 2, 2, 2, 2, 2}, s{0, 1}, s{0, 3})
	f("avg", s{1, 2, 2, 2, 2, 2}, s{0, 1}, s{10, 3})
	f("sum", s{1, 4, 4, 4, 4, 4}, s{0, 1}, s{10, 3})
	f("sum", s{2, 3, 3, 3, 3, 3}, s{0, 1, 5, 3})
	f("min", s{1, 2, 2, 2, 2, 2}, s{0, 1, 5, 2}, s{0, 3, 10, 4})
	f("max", s{3, 4, 4, 4, 4, 4}, s{0, 1, 5, 2}, s{0, 3, 10, 4})
	f("last", s{2.5, 2.5, 2.5, 2.5, 2.5, 2.5}, s{0, 1, 5, 2}, s{0, 3})
	f("count", s{1, 2, 2, 2, 2, 2}, s{0, 1, 1, 1, 2, 1}, s{10, 1})
	f("count", s{nan, nan, nan, nan, nan, nan})

	f("rate", s{nan, nan, nan, nan, nan, nan}, s{0, 100})
	f("rate", s{1, 1, 1, 1, 1, 1}, s{-5, 0, 65, 70})                // spread over the steps between
	f("rate", s{1, 3, nan, nan, nan, nan}, s{0, 0, 10, 10, 20, 40}) // overdue: it ended
	f("rate", s{1, 1, 1, 1, 3, 3}, s{0, 0, 40, 40, 50, 70})         // stands for what comes, until it is overdue
	f("rate", s{1.5, 2, 2, nan, nan, nan}, s{0, 0, 5, 5, 15, 25, 20, 35, 25, 45, 30, 55})
	f("rate", s{1, 0.5, nan, nan, nan, nan}, s{0, 100, 10, 110, 20, 5}) // began again at 0
	f("rate", s{1, nan, nan, 2, nan, nan}, s{0, 0, 10, 10, 11, stale, 30, 100, 40, 120})
	// A series takes over from another within a step, as in a deploy.
	f("rate", s{1, 1, 0.8, 1, 1, 1},
		s{-3, 0, 2, 5, 7, 10, 12, 15, 17, 20, 22, 25},
		s{24, 0, 29, 5, 34, 10, 39, 15, 44, 20, 49, 25, 54, 30, 59, 35})
	f("rate", s{1, 1, 1, 1, 1, 1}, s{-900, 0, 0, 900})
	f("rate", s{1, 1, 1, 1, 1, 1}, s{-899, 0, 1, 900})
	f("rate", s{nan, nan, nan, nan, nan, nan}, s{-900, 0, 1, 900}) // too far apart
	f("rate", s{3, 3, 3, 3, 3, 3}, s{-5, 0, 65, 70}, s{-5, 0, 65, 140})
	f("rate", s{nan, nan, nan, nan, nan, nan}, s{0, 0, 10, inf})
}

func TestFoldCountsOnlyTheRange(t *testing.T) {
	t.Parallel()
	nan := math.NaN()
	f := func(aggregate string, want []float64, series ...float64) {
		t.Helper()
		// The first and the last step reach beyond [5 s, 25 s).
		got := foldSeries(t, aggregate, 5, 25, series)
		if d := cmp.Diff(want, got, cmpopts.EquateNaNs(), cmpopts.EquateApprox(1e-9, 0)); d != "" {
			t.Errorf("%s of %v (-want +got):\n%s", aggregate, series, d)
		}
	}
	f("sum", []float64{7, 7, 7}, 5, 7)
	f("sum", []float64{1, 7, 7}, 4, 1, 10, 7)
	f("rate", []float64{2, 2, 2}, 0, 0, 5, 100, 30, 150)
	f("rate", []float64{nan, nan, nan}, 0, 0, 5, 100, 5.1, math.Float64frombits(staleMarker))
}

func FuzzFold(f *testing.F) {
	aggregates := []string{"avg", "sum", "min", "max", "last", "count", "rate"}
	f.Add(uint8(6), []byte{0, 1, 2, 3, 4, 5, 6, 7, 8})
	f.Add(uint8(0), []byte{255, 0, 10, 20, 30, 250})
	f.Fuzz(func(t *testing.T, n uint8, data []byte) {
		aggregate := aggregates[int(n)%len(aggregates)]
		// Pairs of a step in time and a value; 255 ends a series or stands for a marker.
		var all [][]float64
		var s []float64
		at := -400.0
		for i := 0; i+1 < len(data); i += 2 {
			if data[i] == 255 {
				all, s, at = append(all, s), nil, -400
				continue
			}
			at += float64(data[i])
			v := float64(data[i+1])
			if data[i+1] == 255 {
				v = math.Float64frombits(staleMarker)
			}
			if at < 60 {
				s = append(s, at, v)
			}
		}
		for i, v := range foldSeries(t, aggregate, 0, 60, append(all, s)...) {
			if math.IsInf(v, 0) || v < 0 || aggregate != "sum" && aggregate != "rate" && v > max(254, float64(len(data))) {
				t.Fatalf("%s: step %d has %v", aggregate, i, v)
			}
		}
	})
}

func BenchmarkFoldRate(b *testing.B) {
	sc, err := NewScope(1, time.Unix(1_000_000, 0), time.Unix(1_000_000+86400, 0))
	if err != nil {
		b.Fatal(err)
	}
	const samples = 5760
	b.ReportAllocs()
	for b.Loop() {
		f := newFold(aggregateRate, bucketsOf(sc, time.Minute), sc, 1)
		f.begin(0)
		for i := range int64(samples) {
			f.add(1_000_000_000+i*15000, float64(i))
		}
		f.end()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/samples, "ns/sample")
}
