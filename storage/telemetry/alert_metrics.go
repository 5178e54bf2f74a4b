package telemetry

import (
	"context"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"
)

// Reads of alert rules are by bucket: bucket i of a read is [From + i·Step, From + (i+1)·Step) of
// its scope, the last one as far as the scope goes. What a bucket holds does not depend on the
// range that is read around it, so that a rule sees the same numbers whether a slot is read alone,
// an hour is caught up with, or a month is rehearsed.

const (
	maxAlertBuckets = 100_000 // 30 days by half minutes are 86,400
	maxAlertMetrics = 200
)

// alertBuckets returns the buckets of a read of alert rules.
func alertBuckets(sc Scope, step time.Duration) (buckets, error) {
	if err := sc.check(); err != nil {
		return buckets{}, err
	}
	if step < time.Second || step%time.Second != 0 {
		return buckets{}, invalid("the step must be whole seconds")
	}
	n := (sc.to.Sub(sc.from) + step - 1) / step
	if n > maxAlertBuckets {
		return buckets{}, invalid("the range has %d steps of %s: %d is the limit", n, step, maxAlertBuckets)
	}
	return buckets{first: sc.from, step: step, n: int(n)}, nil
}

// PartialsAsk says which metrics to read; see MetricPartials.
type PartialsAsk struct {
	Step    time.Duration // whole seconds
	Metrics []string      // 200 at most
}

// Partial is what the samples of one series in one bucket come to.
type Partial struct {
	Count         int64 // 1 at least
	Sum, Min, Max float64
	Last          float64
	LastAt        int64 // in milliseconds since 1970
	// Increase is how much a counter has grown from each sample's predecessor to the sample, all of
	// it in the bucket of the sample. A counter that has become less began again at zero.
	Increase float64
	// First is the sum of the samples that have no predecessor, mostly one at most: what a counter
	// has grown if it is known not to have been there before.
	First    float64
	HasFirst bool // some sample has no predecessor
}

// Add makes p the partial of its own samples and of those of next, which come later.
func (p *Partial) Add(next Partial) {
	switch {
	case next.Count == 0:
		return
	case p.Count == 0:
		*p = next
		return
	}
	p.Count += next.Count
	p.Sum += next.Sum
	p.Min, p.Max = min(p.Min, next.Min), max(p.Max, next.Max)
	p.Last, p.LastAt = next.Last, next.LastAt
	p.Increase += next.Increase
	p.First += next.First
	p.HasFirst = p.HasFirst || next.HasFirst
}

// partials makes partials out of samples in one pass. Samples come by series, and those of a series
// by time.
//
// The predecessor of a sample is the one before it, if that is at most rateGap older and no
// staleness marker is between them. NaN is left out. Of samples with one time the greatest counts,
// so that the order in which repetitions are read does not matter.
type partials struct {
	from, step int64 // in milliseconds, like all times here
	each       func(bucket int, p Partial) error

	pending bool // at and value are of a sample that may be repeated
	at      int64
	value   float64 // a staleness marker, too

	known  bool // there is a predecessor
	lastAt int64
	last   float64

	bucket int
	p      Partial // of bucket; without samples there is none
}

// add takes the next sample of the series.
func (f *partials) add(at int64, v float64) error {
	if math.IsNaN(v) && math.Float64bits(v) != staleMarker {
		return nil
	}
	if f.pending && at == f.at {
		if math.IsNaN(f.value) || v > f.value {
			f.value = v
		}
		return nil
	}
	err := f.settle()
	f.pending, f.at, f.value = true, at, v
	return err
}

// settle counts the pending sample.
func (f *partials) settle() error {
	if !f.pending {
		return nil
	}
	f.pending = false
	at, v := f.at, f.value
	if math.IsNaN(v) {
		f.known = false
		return nil
	}
	if at >= f.from {
		if err := f.count(at, v); err != nil {
			return err
		}
	}
	f.known, f.lastAt, f.last = true, at, v
	return nil
}

func (f *partials) count(at int64, v float64) error {
	if bucket := int((at - f.from) / f.step); bucket != f.bucket || f.p.Count == 0 {
		if err := f.flush(); err != nil {
			return err
		}
		f.bucket = bucket
		f.p = Partial{Min: v, Max: v}
	}
	p := &f.p
	p.Count++
	p.Sum += v
	p.Min, p.Max = min(p.Min, v), max(p.Max, v)
	p.Last, p.LastAt = v, at
	switch {
	case !f.known || at-f.lastAt > rateGap.Milliseconds():
		p.First += v
		p.HasFirst = true
	case v < f.last:
		p.Increase += v
	case v > f.last: // and not both infinite
		p.Increase += v - f.last
	}
	return nil
}

func (f *partials) flush() error {
	if f.p.Count == 0 {
		return nil
	}
	p := f.p
	f.p = Partial{}
	return f.each(f.bucket, p)
}

// end says that the series has no more samples.
func (f *partials) end() error {
	err := f.settle()
	if err == nil {
		err = f.flush()
	}
	f.pending, f.known, f.p = false, false, Partial{}
	return err
}

// MetricPartials reads the samples of metrics by bucket: it calls each for every series and bucket
// that has samples, by metric, series and time. A read is one query of one server thread's worth of
// memory however long the range is; it ends with a LimitError after 50 million samples, those of
// the 15 minutes before the scope included, which are read for predecessors. An error of each ends
// the read and is returned as it is.
func (s *Store) MetricPartials(ctx context.Context, sc Scope, ask PartialsAsk, each func(metric string, fp uint64, bucket int, p Partial) error) error {
	if _, err := alertBuckets(sc, ask.Step); err != nil {
		return err
	}
	if len(ask.Metrics) == 0 || len(ask.Metrics) > maxAlertMetrics {
		return invalid("between 1 and %d metrics can be read at once", maxAlertMetrics)
	}
	var (
		names  = newNamesColumn()
		fps    proto.ColUInt64
		times  proto.ColInt64
		values proto.ColFloat64

		from   = ceilMS(sc.from)
		metric string
		fp     uint64
		read   int64
	)
	f := &partials{from: from, step: ask.Step.Milliseconds(), each: func(bucket int, p Partial) error {
		return each(metric, fp, bucket, p)
	}}
	in, parameters := blockList("metric", ask.Metrics)
	parameters = append(parameters,
		blockParam("project", strconv.FormatUint(uint64(sc.project), 10)),
		blockParam("from", strconv.FormatInt(max(from-rateGap.Milliseconds(), 0), 10)),
		blockParam("to", strconv.FormatInt(ceilMS(sc.to), 10)),
	)
	err := s.readBlocks(ctx, "read samples", ch.Query{
		Body: `SELECT metric, fp, toUnixTimestamp64Milli(ts) AS at, value FROM metric_samples
WHERE project_id = {project:UInt32} AND metric IN (` + in + `)
	AND ts >= fromUnixTimestamp64Milli({from:Int64}, 'UTC') AND ts < fromUnixTimestamp64Milli({to:Int64}, 'UTC')
ORDER BY project_id, metric, fp, ts`,
		Parameters: parameters,
		Result: proto.Results{
			{Name: "metric", Data: names}, {Name: "fp", Data: &fps}, {Name: "at", Data: &times}, {Name: "value", Data: &values},
		},
	}, func(rows int) error {
		if read += int64(rows); read > maxSamples {
			return &LimitError{Limit: "rows"}
		}
		for i := range rows {
			if i == 0 || fps[i] != fps[i-1] || names.key(i) != names.key(i-1) {
				if name := names.at(i); fps[i] != fp || name != metric {
					if err := f.end(); err != nil {
						return err
					}
					fp, metric = fps[i], name
				}
			}
			if err := f.add(times[i], values[i]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return f.end()
}

// namesColumn receives a LowCardinality(String) column whose neighbouring rows mostly are the same:
// no row costs a string.
type namesColumn struct {
	proto.ColLowCardinalityRaw
	texts *proto.ColStr
}

func newNamesColumn() *namesColumn {
	c := &namesColumn{texts: new(proto.ColStr)}
	c.Index = c.texts
	return c
}

// key is the number of a row's text, in this block.
func (c *namesColumn) key(row int) int {
	switch c.Key {
	case proto.KeyUInt8:
		return int(c.Keys8[row])
	case proto.KeyUInt16:
		return int(c.Keys16[row])
	case proto.KeyUInt32:
		return int(c.Keys32[row])
	}
	return int(c.Keys64[row])
}

func (c *namesColumn) at(row int) string { return c.texts.Row(c.key(row)) }

// blockList returns the placeholders of some texts in a list, and their parameters.
func blockList(kind string, values []string) (placeholders string, parameters []proto.Parameter) {
	list := make([]string, len(values))
	for i, value := range values {
		name := paramName(kind, i)
		list[i] = "{" + name + ":String}"
		parameters = append(parameters, blockParam(name, value))
	}
	return strings.Join(list, ", "), parameters
}

// readBlocks runs a read by block and calls each with the number of rows of every block. What each
// returns ends the read.
func (s *Store) readBlocks(ctx context.Context, doing string, q ch.Query, each func(rows int) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, readTimeout, errReadTimeout)
	defer cancel()
	var stop error // of each, which is no error of the read
	q.Settings = blockSettings()
	q.OnResult = func(_ context.Context, b proto.Block) error {
		if stop == nil {
			stop = each(b.Rows)
		}
		return stop
	}
	err := s.blocks.do(ctx, s.blocks.reads, q)
	if stop != nil {
		return stop
	}
	return readError(ctx, doing, err)
}

// Series is one series of a metric.
type Series struct {
	Metric string
	FP     uint64
	Labels map[string]string // without the metric's name; not nil; not to be changed
	Kind   string            // as in Metric
	Unit   string
	// FirstSeen is when the series began, as far as the day before the scope knows. LastSeen may be
	// ten minutes behind.
	FirstSeen, LastSeen time.Time
}

// firstSeenReach is how long before a scope the beginning of its series is looked for.
const firstSeenReach = 24 * time.Hour

// SeriesOf returns the series that some metrics have in a scope, by metric and fingerprint; those
// that ended up to ten minutes before it may be among them. It ends with a LimitError if they are
// more than 500,000.
func (s *Store) SeriesOf(ctx context.Context, sc Scope, metrics []string) ([]Series, error) {
	if err := sc.check(); err != nil {
		return nil, err
	}
	if len(metrics) == 0 || len(metrics) > maxAlertMetrics {
		return nil, invalid("between 1 and %d metrics can be read at once", maxAlertMetrics)
	}
	var (
		names  = newNamesColumn()
		fps    proto.ColUInt64
		labels = proto.NewMap(proto.ColumnOf[string](new(proto.ColStr)), proto.ColumnOf[string](new(proto.ColStr)))
		kinds  proto.ColUInt8
		units  proto.ColStr
		first  proto.ColInt64
		last   proto.ColInt64

		series = []Series{}
		texts  = make(map[string]string) // label names and values repeat
	)
	text := func(s string) string {
		if known, ok := texts[s]; ok {
			return known
		}
		texts[s] = s
		return s
	}
	in, parameters := blockList("metric", metrics)
	from := ceilMS(sc.from) - seriesRefreshMS
	parameters = append(parameters,
		blockParam("project", strconv.FormatUint(uint64(sc.project), 10)),
		blockParam("known", strconv.FormatInt(max(from-firstSeenReach.Milliseconds(), 0), 10)),
		blockParam("from", strconv.FormatInt(max(from, 0), 10)),
		blockParam("to", strconv.FormatInt(ceilMS(sc.to), 10)),
	)
	err := s.readBlocks(ctx, "read series", ch.Query{
		Body: `SELECT metric, fp, argMax(labels, last_seen)::Map(String, String) AS labels_, argMax(kind, last_seen)::UInt8 AS kind_, argMax(unit, last_seen)::String AS unit_,
	toUnixTimestamp64Milli(min(first_seen)) AS first, toUnixTimestamp64Milli(max(last_seen)) AS last
FROM metric_series WHERE project_id = {project:UInt32} AND metric IN (` + in + `)
	AND last_seen >= fromUnixTimestamp64Milli({known:Int64}, 'UTC') AND first_seen < fromUnixTimestamp64Milli({to:Int64}, 'UTC')
GROUP BY metric, fp HAVING last >= {from:Int64} ORDER BY metric, fp`,
		Parameters: parameters,
		Result: proto.Results{
			{Name: "metric", Data: names},
			{Name: "fp", Data: &fps},
			{Name: "labels_", Data: labels},
			{Name: "kind_", Data: &kinds},
			{Name: "unit_", Data: &units},
			{Name: "first", Data: &first},
			{Name: "last", Data: &last},
		},
	}, func(rows int) error {
		if len(series)+rows > maxSeries {
			return &LimitError{Limit: "series"}
		}
		series = slices.Grow(series, rows)
		for i := range rows {
			one := Series{
				Metric: text(names.at(i)), FP: fps[i], Kind: kindName(kinds[i]), Unit: text(units.Row(i)),
				FirstSeen: time.UnixMilli(first[i]).UTC(), LastSeen: time.UnixMilli(last[i]).UTC(),
			}
			pairs := labels.RowKV(i)
			one.Labels = make(map[string]string, len(pairs))
			for _, pair := range pairs {
				one.Labels[text(pair.Key)] = text(pair.Value)
			}
			series = append(series, one)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return series, nil
}

// Bucket is a bucket of a histogram: how many observations were at most UpperBound.
type Bucket struct {
	UpperBound float64 // the label le
	Count      float64 // with those of all lower buckets
}

// Quantile returns the value that a share q of a histogram's observations do not exceed, as
// Prometheus' histogram_quantile does: by linear interpolation in the bucket it falls into, of
// which the lowest begins at 0 if its bound is positive. errorBound is how far the true value may
// be off, which the width of the bucket says; it is +Inf in the bucket without an end, where value
// is the bound below. Buckets may be in any order, and the highest must be +Inf; without it or
// without observations both are NaN.
func Quantile(q float64, buckets []Bucket) (value, errorBound float64) {
	b := slices.Clone(buckets)
	slices.SortFunc(b, func(x, y Bucket) int {
		switch {
		case x.UpperBound < y.UpperBound:
			return -1
		case x.UpperBound > y.UpperBound:
			return 1
		}
		return 0
	})
	b = joinBuckets(b)
	n := len(b)
	if n < 2 || !math.IsInf(b[n-1].UpperBound, 1) || !(b[n-1].Count > 0) || math.IsNaN(q) {
		return math.NaN(), math.NaN()
	}
	switch {
	case q < 0:
		return math.Inf(-1), 0
	case q > 1:
		return math.Inf(1), 0
	}
	rank := q * b[n-1].Count
	i, _ := slices.BinarySearchFunc(b[:n-1], rank, func(x Bucket, rank float64) int {
		if x.Count < rank {
			return -1
		}
		return 1
	})
	if i == n-1 {
		return b[n-2].UpperBound, math.Inf(1)
	}
	lower, below, upper := 0.0, 0.0, b[i].UpperBound
	switch {
	case i > 0:
		lower, below = b[i-1].UpperBound, b[i-1].Count
	case upper <= 0:
		return upper, math.Inf(1)
	}
	value = upper
	if in := b[i].Count - below; in > 0 {
		value = lower + (upper-lower)*(rank-below)/in
	}
	return value, max(value-lower, upper-value)
}

// joinBuckets sums buckets of one bound, which lie together, and makes counts rise: buckets that
// were sampled at different times may be out of step.
func joinBuckets(b []Bucket) []Bucket {
	joined := b[:0]
	for _, next := range b {
		if last := len(joined) - 1; last >= 0 && joined[last].UpperBound == next.UpperBound {
			joined[last].Count += next.Count
			continue
		}
		joined = append(joined, next)
	}
	for i := 1; i < len(joined); i++ {
		joined[i].Count = max(joined[i].Count, joined[i-1].Count)
	}
	return joined
}
