package series

import (
	"math/bits"
	"math/rand/v2"
	"sync"

	"github.com/midwatch/midwatch/proto/telemetrypb"
)

// maxSeriesSamples bounds the samples of one series of a frame, about 160 KB: a series with more
// is there several times.
const maxSeriesSamples = 10_000

// Metric is what is known of a metric.
type Metric struct {
	Name, SourceName, Unit, Description string
	Kind                                telemetrypb.MetricKind

	number      int32 // into Set.metrics
	first, last int32 // of its series, by number and one; 0: none
}

// Sample is a value at a time in milliseconds since 1970.
type Sample struct {
	MS    int64
	Value float64
}

// Set has the samples of one request. Metrics and series are in the order of their first samples;
// nothing in it refers to memory of others but strings. It is not safe for concurrent use.
type Set struct {
	metrics []*Metric // all
	free    []*Metric // to be used again
	order   []*Metric // with samples
	series  []entry
	samples []sample
	labels  []byte // of the series
	size    int

	slots        []int32 // hash table over series: number and one; 0: free
	seed, factor uint64  // fingerprints come from senders: these keep them from choosing their slots

	space []byte
}

type entry struct {
	fingerprint uint64
	labels      int // into Set.labels
	labelBytes  int32
	metric      int32
	next        int32 // series of the metric, by number and one
	first, last int32 // samples, by number and one
	count       int32
}

type sample struct {
	Sample
	next int32 // of the series, by number and one
}

// Bounds of what is kept for the next request.
const (
	keptBytes   = 4 << 20
	keptEntries = 1 << 16
)

var sets = sync.Pool{New: func() any {
	return &Set{slots: make([]int32, 1<<10), seed: rand.Uint64(), factor: rand.Uint64() | 1}
}}

// NewSet returns an empty set, whose owner releases it.
func NewSet() *Set { return sets.Get().(*Set) }

// Release gives the set back. Neither it nor its metrics are valid any more.
func (s *Set) Release() {
	if len(s.labels) > keptBytes || len(s.series) > keptEntries || len(s.samples) > 4*keptEntries || len(s.metrics) > keptEntries {
		return
	}
	for _, m := range s.metrics {
		*m = Metric{}
	}
	s.free = append(s.free, s.metrics...)
	s.metrics, s.order = s.metrics[:0], s.order[:0]
	s.series, s.samples, s.labels, s.size = s.series[:0], s.samples[:0], s.labels[:0], 0
	clear(s.slots)
	sets.Put(s)
}

// Open adds a metric to put samples into. The caller may change what is known of it until the set
// is written; not its name once it has samples.
func (s *Set) Open(m Metric) *Metric {
	m.number, m.first, m.last = int32(len(s.metrics)), 0, 0
	m.Name, m.SourceName, m.Unit, m.Description = valid(m.Name), valid(m.SourceName), valid(m.Unit), valid(m.Description)
	if len(s.free) == 0 {
		chunk := make([]Metric, 64)
		for i := range chunk {
			s.free = append(s.free, &chunk[i])
		}
	}
	opened := s.free[len(s.free)-1]
	s.free = s.free[:len(s.free)-1]
	*opened = m
	s.metrics = append(s.metrics, opened)
	return opened
}

// Samples is how many samples there are.
func (s *Set) Samples() int { return len(s.samples) }

// Bytes is about what the set takes on the bus.
func (s *Set) Bytes() int { return s.size }

// SampleBytes and SeriesBytes are about what a sample and a series without labels take on the bus.
const (
	SampleBytes = 20
	SeriesBytes = 16
)

// Add puts samples into the series that has some labels, sorted by key, unique and without empty
// ones. It reports false and adds nothing where the set would come to more than limit bytes.
func (s *Set) Add(m *Metric, labels []*Label, limit int, samples ...Sample) bool {
	var fp uint64
	fp, s.space = fingerprint(s.space, m.Name, labels)
	at := s.slot(fp, m.number)
	number := s.slots[at]
	size := s.size + SampleBytes*len(samples)
	if number == 0 {
		size += SeriesBytes + Size(labels)
		if m.first == 0 {
			size += 32 + len(m.Name) + len(m.SourceName) + len(m.Unit) + len(m.Description)
		}
	}
	if size > limit {
		return false
	}
	s.size = size
	for _, one := range samples {
		if number == 0 {
			number = s.addSeries(m, fp, labels)
			s.slots[at] = number
		} else if e := s.series[number-1]; e.count == maxSeriesSamples {
			number = s.another(m, e)
			s.slots[at] = number
		}
		e := &s.series[number-1]
		s.samples = append(s.samples, sample{Sample: one})
		n := int32(len(s.samples))
		if e.first == 0 {
			e.first = n
		} else {
			s.samples[e.last-1].next = n
		}
		e.last = n
		e.count++
	}
	return true
}

// slot returns where a series is in s.slots, or the free slot where it belongs; there is room for
// one more.
func (s *Set) slot(fp uint64, metric int32) int {
	if 2*len(s.series) >= len(s.slots) {
		s.slots = make([]int32, 2*len(s.slots))
		for i := range s.series {
			// Of a series that is there several times the last one is found.
			e := &s.series[i]
			s.slots[s.find(e.fingerprint, e.metric)] = int32(i + 1)
		}
	}
	return s.find(fp, metric)
}

func (s *Set) find(fp uint64, metric int32) int {
	high, low := bits.Mul64(fp^s.seed, s.factor)
	mask := len(s.slots) - 1
	at := int(high^low) & mask
	for s.slots[at] != 0 {
		if e := &s.series[s.slots[at]-1]; e.fingerprint == fp && e.metric == metric {
			break
		}
		at = (at + 1) & mask
	}
	return at
}

// addSeries adds a series without samples and returns its number and one.
func (s *Set) addSeries(m *Metric, fp uint64, labels []*Label) int32 {
	from := len(s.labels)
	for _, l := range labels {
		s.labels = append(s.labels, l.wire()...)
	}
	return s.another(m, entry{fingerprint: fp, metric: m.number, labels: from, labelBytes: int32(len(s.labels) - from)})
}

// another adds a series like e, without samples.
func (s *Set) another(m *Metric, e entry) int32 {
	e.next, e.first, e.last, e.count = 0, 0, 0, 0
	s.series = append(s.series, e)
	n := int32(len(s.series))
	if m.first == 0 {
		m.first = n
		s.order = append(s.order, m)
	} else {
		s.series[m.last-1].next = n
	}
	m.last = n
	return n
}
