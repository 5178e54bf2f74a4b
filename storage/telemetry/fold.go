package telemetry

import (
	"math"
	"time"
)

// Aggregates of RangeQuery.
const (
	aggregateAvg   = "avg"
	aggregateSum   = "sum"
	aggregateMin   = "min"
	aggregateMax   = "max"
	aggregateLast  = "last"
	aggregateCount = "count"
	aggregateRate  = "rate"
)

// staleMarker are the bits of the NaN by which Prometheus says that a series has ended.
const staleMarker = 0x7ff0000000000002

const (
	// lookback is how long the last sample of a series stands for it where a step has none.
	lookback = 5 * time.Minute
	// rateGap is the longest time between two samples over which a counter is taken to have
	// grown steadily; it is twice the step where that is longer.
	rateGap = 15 * time.Minute
)

// fold makes lines of points out of samples in one pass. Samples come by series, and those of a
// series by time.
//
// First the samples of a series in a step become one value: their mean for avg, sum and count,
// their least, greatest and last for min, max and last. A step without a sample takes the last
// sample before it if that is at most five minutes older than the step, so that a sum does not
// drop where a sample is late. For rate the growth between two samples is spread evenly over the
// time between them; the value of a step is the growth in it over the part of it that samples
// cover, and over the part in which the series did not exist: that a deploy replaces a series by
// another makes no peak. A counter that has become less began again at zero. A staleness marker, or
// an overdue sample, ends a series: it stands for nothing after it.
//
// Then the values of the series of a group become one: their mean for avg and last, their sum for
// sum and rate, the least and greatest for min and max, how many they are for count.
//
// A sample with the time of the one before it is a repetition, and is left out; so is NaN.
type fold struct {
	aggregate string
	first     int64 // start of step 0, in milliseconds like all times here
	step      int64
	n         int
	from, to  int64
	horizon   int64 // what would have happened until then has happened
	gap       int64

	groups []foldGroup

	// The series at hand.
	group    *foldGroup
	started  bool // lastAt is set
	known    bool // lastAt and lastV are of a sample, with no end of the series since
	lastAt   int64
	lastV    float64
	interval int64 // between the last two samples
	rate     float64
	born     int64 // the first sample of a series, until its step has been opened; 0 is none

	current  int // the step that count, sum, … are of; -1 is none
	done     int // the steps before it have been handed to the group
	count    int
	sum      float64
	min, max float64
	last     float64
	covered  float64 // rate only
}

// foldGroup is the line of a group: one entry for each step.
type foldGroup struct {
	value []float64
	count []int32
}

func newFold(aggregate string, steps buckets, sc Scope, groups int) *fold {
	f := &fold{
		aggregate: aggregate,
		first:     steps.first.UnixMilli(),
		step:      steps.step.Milliseconds(),
		n:         steps.n,
		from:      ceilMS(sc.from),
		to:        ceilMS(sc.to),
		horizon:   min(ceilMS(sc.to), time.Now().UnixMilli()),
		gap:       max(rateGap, 2*steps.step).Milliseconds(),
		groups:    make([]foldGroup, groups),
		current:   -1,
	}
	return f
}

// reach is how long before the range samples matter.
func (f *fold) reach() int64 {
	if f.aggregate == aggregateRate {
		return f.gap
	}
	return lookback.Milliseconds()
}

// begin says that the samples that follow are of another series, of group i.
func (f *fold) begin(i int) {
	f.end()
	g := &f.groups[i]
	if g.value == nil {
		g.value, g.count = make([]float64, f.n), make([]int32, f.n)
	}
	f.group = g
}

// end says that the series has no more samples.
func (f *fold) end() {
	if f.group != nil {
		if f.aggregate == aggregateRate && f.known && f.horizon-f.lastAt > f.interval*3/2 {
			f.die(f.lastAt)
		}
		f.flush()
		f.carry(f.n)
	}
	f.group = nil
	f.started, f.known = false, false
	f.interval, f.rate, f.born = 0, 0, 0
	f.current, f.done = -1, 0
}

// die says that the series ended at a time: for the rest of the step it did not grow.
func (f *fold) die(at int64) {
	if f.current >= 0 && f.index(at) == f.current {
		f.covered += float64(max(0, min(f.first+int64(f.current+1)*f.step, f.horizon)-at))
	}
	f.known = false
}

// add takes the next sample.
func (f *fold) add(at int64, v float64) {
	if f.started && at == f.lastAt {
		return
	}
	if math.IsNaN(v) {
		if math.Float64bits(v) == staleMarker {
			if f.aggregate == aggregateRate && f.known {
				f.die(f.lastAt)
			}
			f.flush()
			f.carry(f.index(at))
			f.known, f.started, f.lastAt = false, true, at
			f.interval = 0
		}
		return
	}
	if f.aggregate == aggregateRate {
		f.addRate(at, v)
	} else {
		f.addValue(at, v)
	}
	f.started, f.known, f.lastAt, f.lastV = true, true, at, v
}

// index is the step of a time, which may be before the first.
func (f *fold) index(at int64) int {
	if at < f.first {
		return -1
	}
	return min(int((at-f.first)/f.step), f.n)
}

func (f *fold) addValue(at int64, v float64) {
	if at < f.from {
		return // it may stand for the steps that follow
	}
	if i := f.index(at); i != f.current {
		f.flush()
		f.carry(i)
		f.open(i)
		f.min, f.max = v, v
	}
	f.count++
	f.sum += v
	f.min, f.max, f.last = min(f.min, v), max(f.max, v), v
}

func (f *fold) open(i int) {
	f.current = i
	f.count, f.sum, f.covered = 0, 0, 0
}

func (f *fold) addRate(at int64, v float64) {
	if !f.known {
		f.interval, f.born = 0, at
		return
	}
	if at-f.lastAt > f.gap {
		f.interval = 0
		return // nothing is known of the time before
	}
	grown := v - f.lastV
	if grown < 0 {
		grown = v
	}
	f.interval = at - f.lastAt
	f.rate = grown / float64(f.interval)
	begin, end := max(f.lastAt, f.from), min(at, f.to)
	for begin < end {
		i := f.index(begin)
		if i != f.current {
			f.flush()
			f.open(i)
			if f.born != 0 && f.index(f.born) == i {
				f.covered += float64(max(0, f.born-max(f.first+int64(i)*f.step, f.from)))
			}
			f.born = 0
		}
		part := min(end, f.first+int64(i+1)*f.step) - begin
		f.sum += f.rate * float64(part)
		f.covered += float64(part)
		begin += part
	}
}

// flush hands the current step to the group.
func (f *fold) flush() {
	if f.current < 0 {
		return
	}
	switch {
	case f.aggregate == aggregateRate && f.covered > 0:
		f.put(f.current, 1000*f.sum/f.covered)
	case f.aggregate == aggregateRate || f.count == 0:
	case f.aggregate == aggregateMin:
		f.put(f.current, f.min)
	case f.aggregate == aggregateMax:
		f.put(f.current, f.max)
	case f.aggregate == aggregateLast:
		f.put(f.current, f.last)
	default:
		f.put(f.current, f.sum/float64(f.count))
	}
	f.done = f.current + 1
	f.current = -1
}

// carry lets the last sample stand for the steps up to step end, as far as it may.
func (f *fold) carry(end int) {
	if !f.known {
		f.done = max(f.done, end)
		return
	}
	limit, value := lookback.Milliseconds(), f.lastV
	if f.aggregate == aggregateRate {
		// What the next sample would say, until it is overdue.
		if limit, value = f.interval*3/2, 1000*f.rate; f.interval == 0 {
			return
		}
	}
	for i := f.done; i < min(end, f.n); i++ {
		if f.first+int64(i)*f.step-f.lastAt > limit {
			break
		}
		f.put(i, value)
	}
	f.done = max(f.done, end)
}

func (f *fold) put(i int, v float64) {
	g := f.group
	if i < 0 || i >= f.n {
		return
	}
	switch {
	case g.count[i] == 0:
		g.value[i] = v
	case f.aggregate == aggregateMin:
		g.value[i] = min(g.value[i], v)
	case f.aggregate == aggregateMax:
		g.value[i] = max(g.value[i], v)
	default:
		g.value[i] += v
	}
	g.count[i]++
}

// points returns the line of a group: the steps that have a finite value.
func (f *fold) points(i int) []Point {
	g := f.groups[i]
	points := []Point{}
	for i, n := range g.count {
		if n == 0 {
			continue
		}
		v := g.value[i]
		switch f.aggregate {
		case aggregateAvg, aggregateLast:
			v /= float64(n)
		case aggregateCount:
			v = float64(n)
		}
		if math.IsNaN(v) || math.IsInf(v, 0) {
			continue
		}
		points = append(points, Point{At: f.first + int64(i)*f.step, Value: v})
	}
	return points
}

// ceilMS is the first millisecond that is not before t.
func ceilMS(t time.Time) int64 { return -floorDiv(-t.UnixNano(), 1e6) }

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
