package telemetry_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/midwatch/midwatch/proto/telemetrypb"
	"github.com/midwatch/midwatch/storage/storagetest"
	"github.com/midwatch/midwatch/storage/telemetry"
)

var stale = math.Float64frombits(0x7ff0000000000002)

// bucketKey names a partial; the start of its bucket is in milliseconds.
type bucketKey struct {
	metric string
	fp     uint64
	start  int64
}

func partialsOf(t testing.TB, s *telemetry.Store, sc telemetry.Scope, step time.Duration, metrics ...string) map[bucketKey]telemetry.Partial {
	t.Helper()
	got := make(map[bucketKey]telemetry.Partial)
	last := bucketKey{}
	err := s.MetricPartials(t.Context(), sc, telemetry.PartialsAsk{Step: step, Metrics: metrics}, func(metric string, fp uint64, bucket int, p telemetry.Partial) error {
		key := bucketKey{metric, fp, sc.From().Add(time.Duration(bucket) * step).UnixMilli()}
		if key.metric < last.metric || key.metric == last.metric && (key.fp < last.fp || key.fp == last.fp && key.start <= last.start) {
			t.Errorf("%+v comes after %+v", key, last)
		}
		last = key
		got[key] = p
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestPartialsSayWhatSamplesComeTo(t *testing.T) {
	t.Parallel()
	s := storagetest.Telemetry(t)
	const odd = "it's\\ a\tname"
	frame := metricFrame(1,
		series("c", counter, 1, nil,
			sample(-20*time.Minute, 1), // too old to be a predecessor
			sample(-time.Second, 100), sample(10*time.Second, 110), sample(20*time.Second, 130),
			sample(60*time.Second, 5),                                     // began again, exactly at the edge of a bucket
			sample(70*time.Second, 9), sample(80*time.Second, math.NaN()), // which is no sample
			sample(125*time.Second, 10),
			sample(130*time.Second, stale), sample(140*time.Second, 3), // another one, which began at zero
			sample(18*time.Minute, 7), // after a gap of more than 15 minutes
		),
		series("c", counter, 2, nil, sample(61*time.Second, 4), sample(62*time.Second, 4)),
		series(odd, gauge, 2, nil, sample(time.Second, -1), sample(2*time.Second, math.Inf(1)), sample(3*time.Second, math.Inf(1))),
		series("other", gauge, 3, nil, sample(time.Second, 1)),
	)
	insertMetrics(t, s, "a", frame)
	insertMetrics(t, s, "b", frame) // every sample twice

	start := func(bucket int) int64 { return noon.Add(time.Duration(bucket) * time.Minute).UnixMilli() }
	ms := func(seconds int) int64 { return noon.Add(time.Duration(seconds) * time.Second).UnixMilli() }
	want := map[bucketKey]telemetry.Partial{
		{"c", 1, start(0)}:  {Count: 2, Sum: 240, Min: 110, Max: 130, Last: 130, LastAt: ms(20), Increase: 30},
		{"c", 1, start(1)}:  {Count: 2, Sum: 14, Min: 5, Max: 9, Last: 9, LastAt: ms(70), Increase: 9},
		{"c", 1, start(2)}:  {Count: 2, Sum: 13, Min: 3, Max: 10, Last: 3, LastAt: ms(140), Increase: 1, First: 3, HasFirst: true},
		{"c", 1, start(18)}: {Count: 1, Sum: 7, Min: 7, Max: 7, Last: 7, LastAt: ms(18 * 60), First: 7, HasFirst: true},
		{"c", 2, start(1)}:  {Count: 2, Sum: 8, Min: 4, Max: 4, Last: 4, LastAt: ms(62), First: 4, HasFirst: true},
		{odd, 2, start(0)}:  {Count: 3, Sum: math.Inf(1), Min: -1, Max: math.Inf(1), Last: math.Inf(1), LastAt: ms(3), Increase: math.Inf(1), First: -1, HasFirst: true},
	}
	got := partialsOf(t, s, scope(t, 1, 0, 19*time.Minute), time.Minute, "c", odd, "absent")
	diff(t, "partials", want, got)

	var sum telemetry.Partial
	for i := range 19 {
		sum.Add(got[bucketKey{"c", 1, start(i)}])
	}
	whole := partialsOf(t, s, scope(t, 1, 0, 19*time.Minute), time.Hour, "c")[bucketKey{"c", 1, start(0)}]
	diff(t, "the sum of partials", whole, sum)
}

// TestPartialsGoOnFromBlockToBlock has more samples than a block of the server.
func TestPartialsGoOnFromBlockToBlock(t *testing.T) {
	t.Parallel()
	s := storagetest.Telemetry(t)
	const n = 50_000
	var frames []*telemetrypb.Metric
	for i := range uint64(4) {
		samples := make([]point, n)
		for j := range samples {
			samples[j] = sample(time.Duration(j)*time.Millisecond, float64(j))
		}
		frames = append(frames, series(fmt.Sprint("m", i/2), counter, i, nil, samples...))
	}
	insertMetrics(t, s, "a", metricFrame(1, frames...))
	got := partialsOf(t, s, scope(t, 1, 0, time.Minute), time.Minute, "m0", "m1")
	want := make(map[bucketKey]telemetry.Partial)
	for i := range uint64(4) {
		want[bucketKey{fmt.Sprint("m", i/2), i, noon.UnixMilli()}] = telemetry.Partial{
			Count: n, Sum: n * (n - 1) / 2, Max: n - 1, Last: n - 1, LastAt: noon.UnixMilli() + n - 1, Increase: n - 1, HasFirst: true,
		}
	}
	diff(t, "partials", want, got)
}

func TestPartialsOfAnotherProjectAreNotRead(t *testing.T) {
	t.Parallel()
	s := storagetest.Telemetry(t)
	fill(t, s, 1)
	if got := partialsOf(t, s, hour(t, 2), time.Minute, "m"); len(got) != 0 {
		t.Errorf("project 2 sees %v", got)
	}
	if got := partialsOf(t, s, hour(t, 1), time.Minute, "m"); len(got) != 1 {
		t.Errorf("project 1 sees %v", got)
	}
}

func TestBadAsksForPartialsAreRefused(t *testing.T) {
	t.Parallel()
	s := storagetest.Telemetry(t)
	for _, ask := range []telemetry.PartialsAsk{
		{Step: time.Minute},
		{Step: time.Minute, Metrics: make([]string, 201)},
		{Step: 0, Metrics: []string{"m"}},
		{Step: 1500 * time.Millisecond, Metrics: []string{"m"}},
	} {
		err := s.MetricPartials(t.Context(), hour(t, 1), ask, nil)
		if _, ok := errors.AsType[*telemetry.InvalidError](err); !ok {
			t.Errorf("%+v: %v, want an InvalidError", ask, err)
		}
	}
	long := scope(t, 1, -100_001*time.Second, 0)
	err := s.MetricPartials(t.Context(), long, telemetry.PartialsAsk{Step: time.Second, Metrics: []string{"m"}}, nil)
	if _, ok := errors.AsType[*telemetry.InvalidError](err); !ok {
		t.Errorf("too many steps: %v, want an InvalidError", err)
	}
}

func TestAnErrorOfTheCallerEndsAReadOfPartials(t *testing.T) {
	t.Parallel()
	s := storagetest.Telemetry(t)
	insertMetrics(t, s, "a", metricFrame(1, series("m", gauge, 1, nil, sample(0, 1), sample(time.Minute, 2), sample(2*time.Minute, 3))))
	var calls int
	enough := errors.New("enough")
	err := s.MetricPartials(t.Context(), hour(t, 1), telemetry.PartialsAsk{Step: time.Minute, Metrics: []string{"m"}}, func(string, uint64, int, telemetry.Partial) error {
		calls++
		return enough
	})
	if !errors.Is(err, enough) || calls != 1 {
		t.Errorf("%v after %d calls, want the caller's error after one", err, calls)
	}
}

// wild are series with everything that a sender can do wrong.
func wild(r *rand.Rand, n int) []*telemetrypb.Metric {
	var all []*telemetrypb.Metric
	for i := range n {
		var samples []point
		v := 0.0
		for at := -40 * time.Minute; at < 40*time.Minute; {
			switch r.IntN(20) {
			case 0:
				v = float64(r.IntN(3)) / 3
			case 1:
				samples = append(samples, sample(at, stale))
			case 2:
				samples = append(samples, sample(at, math.NaN()))
			case 3:
				samples = append(samples, sample(at, v+1), sample(at, v)) // of one time
			case 4:
				at += time.Duration(r.IntN(20)) * time.Minute
			case 5:
				at += time.Duration(r.IntN(1000)) * time.Millisecond
			}
			v += r.Float64()
			samples = append(samples, sample(at, v))
			at += time.Duration(5+r.IntN(20)) * time.Second
		}
		all = append(all, series(fmt.Sprint("m", i%3), counter, uint64(i), nil, samples...))
	}
	return all
}

func TestPartialsDoNotDependOnTheRangeThatIsRead(t *testing.T) {
	t.Parallel()
	s := storagetest.Telemetry(t)
	r := rand.New(rand.NewPCG(1, 2))
	frames := wild(r, 12)
	for i := range 3 { // in several parts, some samples twice
		insertMetrics(t, s, fmt.Sprint(i), metricFrame(1, frames[3*i:3*i+6]...))
	}
	names := []string{"m2", "m0", "m1"}
	const step = 20 * time.Second
	const n = int(40 * time.Minute / step)
	begin := scope(t, 1, -20*time.Minute, 20*time.Minute)
	whole := partialsOf(t, s, begin, step, names...)
	if len(whole) < n {
		t.Fatalf("only %d partials", len(whole))
	}
	rapid.Check(t, func(rt *rapid.T) {
		from := rapid.IntRange(0, n-1).Draw(rt, "from")
		to := rapid.IntRange(from+1, n).Draw(rt, "to")
		sc := scope(t, 1, -20*time.Minute+time.Duration(from)*step, -20*time.Minute+time.Duration(to)*step)
		got := partialsOf(t, s, sc, step, names...)
		want := make(map[bucketKey]telemetry.Partial)
		for key, p := range whole {
			if key.start >= sc.From().UnixMilli() && key.start < sc.To().UnixMilli() {
				want[key] = p
			}
		}
		if d := cmp.Diff(want, got); d != "" {
			rt.Fatalf("from bucket %d to %d (-of the whole +alone):\n%s", from, to, d)
		}
	})
}

func TestSeriesAreListedWithTheirLabels(t *testing.T) {
	t.Parallel()
	s := storagetest.Telemetry(t)
	insertMetrics(t, s, "a", metricFrame(1,
		series("b", counter, 2, pairs("code", "500", "job", "api"), sample(-40*time.Minute, 1), sample(-time.Minute, 1)),
		series("b", counter, 1, pairs("code", "200", "job", "api"), sample(0, 1)),
		series("a'\\", gauge, 3, nil, sample(0, 2)),
		series("b", counter, 4, pairs("code", "gone"), sample(-5*time.Hour, 1)),
		series("c", gauge, 5, nil, sample(0, 2)),
		series("b", gauge, 6, nil, sample(-20*time.Hour, 2), sample(0, 2)), // of yesterday, too
	))
	insertMetrics(t, s, "b", metricFrame(2, series("b", counter, 9, pairs("of", "another"), sample(0, 1))))
	got, err := s.SeriesOf(t.Context(), hour(t, 1), []string{"b", "a'\\"})
	if err != nil {
		t.Fatal(err)
	}
	diff(t, "series", []telemetry.Series{
		{Metric: "a'\\", FP: 3, Kind: "gauge", Unit: "s", Labels: map[string]string{}, FirstSeen: noon, LastSeen: noon},
		{Metric: "b", FP: 1, Kind: "counter", Unit: "s", Labels: map[string]string{"code": "200", "job": "api"}, FirstSeen: noon, LastSeen: noon},
		{Metric: "b", FP: 2, Kind: "counter", Unit: "s", Labels: map[string]string{"code": "500", "job": "api"}, FirstSeen: noon.Add(-40 * time.Minute), LastSeen: noon.Add(-time.Minute)},
		{Metric: "b", FP: 6, Kind: "gauge", Unit: "s", Labels: map[string]string{}, FirstSeen: noon.Add(-20 * time.Hour), LastSeen: noon},
	}, got)
	if _, err := s.SeriesOf(t.Context(), hour(t, 1), nil); err == nil {
		t.Error("series of no metric were listed")
	}
}

func TestQuantilesAreInterpolatedInTheirBucket(t *testing.T) {
	t.Parallel()
	inf, nan := math.Inf(1), math.NaN()
	buckets := []telemetry.Bucket{{1, 10}, {0.5, 0}, {2, 10}, {4, 30}, {inf, 40}}
	for _, c := range []struct {
		q            float64
		buckets      []telemetry.Bucket
		value, bound float64
	}{
		{0.125, buckets, 0.75, 0.25},
		{0.25, buckets, 1, 0.5},
		{0.5, buckets, 3, 1},
		{0.75, buckets, 4, 2},
		{0.9, buckets, 4, inf},
		{1, buckets, 4, inf},
		{-1, buckets, -inf, 0},
		{2, buckets, inf, 0},
		{nan, buckets, nan, nan},
		{0.5, []telemetry.Bucket{{10, 4}, {inf, 4}}, 5, 5},
		{0.5, []telemetry.Bucket{{-10, 4}, {inf, 4}}, -10, inf},
		{0.5, []telemetry.Bucket{{1, 1}, {1, 3}, {2, 3}, {inf, 4}}, 0.5, 0.5}, // counts that fall; bounds twice
		{0.5, []telemetry.Bucket{{1, 0}, {inf, 0}}, nan, nan},
		{0.5, []telemetry.Bucket{{1, 1}, {2, 1}}, nan, nan},
		{0.5, []telemetry.Bucket{{inf, 1}}, nan, nan},
		{0.5, nil, nan, nan},
	} {
		value, bound := telemetry.Quantile(c.q, c.buckets)
		if !cmp.Equal([]float64{c.value, c.bound}, []float64{value, bound}, cmpopts.EquateNaNs()) {
			t.Errorf("Quantile(%v, %v) = %v ± %v, want %v ± %v", c.q, c.buckets, value, bound, c.value, c.bound)
		}
	}
}

// TestQuantilesAreWithinTheirError has observations whose true quantile is known.
func TestQuantilesAreWithinTheirError(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		observed := rapid.SliceOfN(rapid.Float64Range(0, 20), 1, 50).Draw(t, "observed")
		bounds := []float64{1, 2, 5, 10, math.Inf(1)}
		buckets := make([]telemetry.Bucket, len(bounds))
		for i, bound := range bounds {
			buckets[i].UpperBound = bound
			for _, v := range observed {
				if v <= bound {
					buckets[i].Count++
				}
			}
		}
		q := rapid.Float64Range(0.01, 1).Draw(t, "q")
		value, bound := telemetry.Quantile(q, buckets)
		var atMost, below int
		for _, v := range observed {
			if v <= value+bound {
				atMost++
			}
			if v < value-bound {
				below++
			}
		}
		if rank := q * float64(len(observed)); float64(atMost) < rank-1e-9 || float64(below) > rank+1e-9 {
			t.Fatalf("%v ± %v: %d are at most that, %d below, of rank %v", value, bound, atMost, below, rank)
		}
	})
}
