package otlp

import (
	"math"
	"slices"

	"github.com/prometheus/otlptranslator"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"

	"github.com/midwatch/midwatch/proto/telemetrypb"
	"github.com/midwatch/midwatch/services/ingest/series"
)

// histogram is where the series of a histogram go.
type histogram struct {
	buckets, sum, count *series.Metric
}

// histogram opens the three metrics of a histogram.
func (c *metricConverter) histogram(head metricHead, t otlptranslator.MetricType, temporality metricspb.AggregationTemporality) (histogram, error) {
	if err := cumulative(temporality); err != nil {
		return histogram{}, err
	}
	k, err := c.lookup(head, t)
	if err != nil {
		return histogram{}, err
	}
	const kind = telemetrypb.MetricKind_METRIC_KIND_HISTOGRAM
	return histogram{buckets: c.open(k.bucket, kind, k), sum: c.open(k.sum, kind, k), count: c.open(k.count, kind, k)}, nil
}

// explicit converts a point of a histogram with bounds of its own.
func (c *metricConverter) explicit(h histogram, p *metricspb.HistogramDataPoint) error {
	bounds, counts := p.GetExplicitBounds(), p.GetBucketCounts()
	stale := ended(p.GetFlags())
	switch {
	case len(bounds) > maxBuckets:
		return refuse("too_many_buckets", "a histogram has %d buckets, %d are taken", len(bounds)+1, maxBuckets+1)
	case len(counts) == 0 && (len(bounds) == 0 || stale):
	case len(counts) != len(bounds)+1:
		return refuse("bad_histogram", "a histogram has %d bounds and %d buckets, there must be one bucket more than bounds", len(bounds), len(counts))
	}
	for i, b := range bounds {
		if math.IsNaN(b) || i > 0 && b <= bounds[i-1] {
			return refuse("bad_histogram", "the bounds of a histogram do not rise")
		}
	}
	c.decodedAttributes(p.GetAttributes(), "le")
	labels, ns, err := c.endPoint(p.GetTimeUnixNano(), len(bounds)+3)
	if err != nil {
		return err
	}
	var total uint64
	for i, le := range c.boundLabels(bounds) {
		if !stale {
			total += counts[i]
		}
		if math.IsInf(bounds[i], 1) {
			continue // the last bucket has this bound anyway
		}
		c.add(h.buckets, c.with(labels, le), ns, recorded(float64(total), stale))
	}
	c.finish(h, labels, ns, p.GetCount(), p.Sum, stale)
	return nil
}

// finish adds what both kinds of histogram have besides buckets.
func (c *metricConverter) finish(h histogram, labels []*series.Label, ns, count uint64, sum *float64, stale bool) {
	c.add(h.buckets, c.with(labels, c.infinite), ns, recorded(float64(count), stale))
	c.add(h.count, labels, ns, recorded(float64(count), stale))
	if sum != nil || stale {
		var v float64
		if sum != nil {
			v = *sum
		}
		c.add(h.sum, labels, ns, recorded(v, stale))
	}
}

func recorded(v float64, stale bool) float64 {
	if stale {
		return series.Stale()
	}
	return series.Value(v)
}

// boundLabels returns the le labels of some bounds; neighbouring points mostly have the same ones.
func (c *metricConverter) boundLabels(bounds []float64) []*series.Label {
	if !slices.Equal(bounds, c.bounds) {
		c.bounds = append(c.bounds[:0], bounds...)
		for i, b := range bounds {
			if i == len(c.les) {
				c.les = append(c.les, new(series.Label))
			}
			c.les[i].Set([]byte("le"), []byte(formatBound(b)))
		}
	}
	return c.les[:len(bounds)]
}

// grid is a row of bucket bounds: base^first to base^last with base 2^(2^-scale). An exponential
// histogram chooses its scale and range by the values it saw, and both change while it runs; sums
// over instances and rates over time need bounds that never do. So every exponential histogram of
// a unit is written with the same grid. Buckets of a finer scale fit into those of the grid
// without a rest, so the counts stay exact; what is lost is resolution.
type grid struct {
	scale       int32
	first, last int32 // exponents of the base
}

// gridOf returns the grid of a unit. Durations get steps of the square root of two from 8 µs to
// 17 minutes, everything else steps of two.
func gridOf(unit string) grid {
	switch unit {
	case "s":
		return grid{1, -34, 20}
	case "ms":
		return grid{1, -14, 40}
	case "us":
		return grid{1, 6, 60}
	case "ns":
		return grid{1, 26, 80}
	case "By":
		return grid{0, 0, 40}
	default:
		return grid{0, -20, 40}
	}
}

// len is the number of bounds.
func (g grid) len() int { return int(g.last-g.first) + 1 }

// bound is the i-th bound. It is computed from exact powers of two, so that it has the same bits
// everywhere.
func (g grid) bound(i int) float64 {
	e := int(g.first) + i
	if g.scale == 0 {
		return math.Ldexp(1, e)
	}
	if e&1 == 0 {
		return math.Ldexp(1, e>>1)
	}
	return math.Ldexp(math.Sqrt2, e>>1)
}

// place returns the position of the first bound that is not below any value of bucket index of a
// scale; len() where all bounds are.
func (g grid) place(index int64, scale int32) int {
	// The bucket's upper bound is base^(index+1) of its own scale; in steps of the grid that is
	// (index+1) / 2^(scale-g.scale), rounded up.
	var exponent int64
	switch shift := int64(scale) - int64(g.scale); {
	case shift >= 40:
		// All of these buckets are within one step of base^0.
		if exponent = 1; index < 0 {
			exponent = 0
		}
	case shift >= 0:
		exponent = index>>shift + 1
	case shift > -16:
		exponent = (index + 1) << -shift
	case index >= 0:
		return g.len()
	default:
		exponent = 0
	}
	return int(min(max(exponent-int64(g.first), 0), int64(g.len())))
}

// exponential converts a point of an exponential histogram.
func (c *metricConverter) exponential(h histogram, g grid, p *metricspb.ExponentialHistogramDataPoint) error {
	stale := ended(p.GetFlags())
	c.decodedAttributes(p.GetAttributes(), "le")
	labels, ns, err := c.endPoint(p.GetTimeUnixNano(), g.len()+3)
	if err != nil {
		return err
	}
	c.counts = append(c.counts[:0], make([]uint64, g.len()+1)...)
	counts := c.counts
	// Every bound is above zero, hence above all negative values.
	for _, n := range p.GetNegative().GetBucketCounts() {
		counts[0] += n
	}
	zero := 0
	for threshold := p.GetZeroThreshold(); zero < g.len() && g.bound(zero) < threshold; {
		zero++
	}
	counts[zero] += p.GetZeroCount()
	offset := int64(p.GetPositive().GetOffset())
	for i, n := range p.GetPositive().GetBucketCounts() {
		if n > 0 {
			counts[g.place(offset+int64(i), p.GetScale())] += n
		}
	}
	les := c.gridLabels(g)
	var total uint64
	for i, le := range les {
		total += counts[i]
		c.add(h.buckets, c.with(labels, le), ns, recorded(float64(total), stale))
	}
	c.finish(h, labels, ns, p.GetCount(), p.Sum, stale)
	return nil
}

// gridLabels returns the le labels of a grid.
func (c *metricConverter) gridLabels(g grid) []*series.Label {
	if les, ok := c.grids[g]; ok {
		return les
	}
	les := make([]*series.Label, g.len())
	for i := range les {
		les[i] = series.NewLabel("le", formatBound(g.bound(i)))
	}
	c.grids[g] = les
	return les
}
