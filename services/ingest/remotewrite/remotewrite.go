// Package remotewrite reads the requests of Prometheus remote write, 1.0 and 2.0. It is pure: no
// I/O, no clock. Samples that cannot be kept are left out and counted, with words for their sender.
package remotewrite

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/midwatch/midwatch/proto/telemetrypb"
	"github.com/midwatch/midwatch/services/ingest/record"
	"github.com/midwatch/midwatch/services/ingest/series"
)

// Version says which message a request is.
type Version int

// The versions of the protocol.
const (
	V1 Version = 1 // prometheus.WriteRequest
	V2 Version = 2 // io.prometheus.write.v2.Request
)

// Bounds of one request, beside those of its body and its records.
const (
	// maxOutputBytes bounds what the series of one request come to: in 2.0 a label takes two bytes
	// to repeat.
	maxOutputBytes = 64 << 20
	// maxSymbols bounds the symbols of 2.0: an empty one takes two bytes.
	maxSymbols = 1 << 20
	// maxShared is how many labels are remembered to be used again.
	maxShared = 1 << 16

	maxUnitBytes        = 64
	maxDescriptionBytes = 1 << 10
)

const (
	nameLabel = "__name__"

	histogramNotKept = "native histograms are not kept yet, classic ones are: set always_scrape_classic_histograms: true and send_native_histograms: false"
	exemplarNotKept  = "exemplars are not kept yet"
)

// Request is what is kept of a request.
type Request struct {
	// Metrics have the samples, put together by series. A series' labels may be shared with others.
	Metrics []*telemetrypb.Metric
	// Samples is how many there are in Metrics.
	Samples int

	Rejections
}

// metadata is what a sender tells of a metric.
type metadata struct {
	kind       telemetrypb.MetricKind
	unit, help string
	known      bool
}

// kinds are the metric types of both versions. The buckets of a gauge histogram go up and down.
var kinds = [...]telemetrypb.MetricKind{
	1: telemetrypb.MetricKind_METRIC_KIND_COUNTER,
	2: telemetrypb.MetricKind_METRIC_KIND_GAUGE,
	3: telemetrypb.MetricKind_METRIC_KIND_HISTOGRAM,
	4: telemetrypb.MetricKind_METRIC_KIND_GAUGE, // gauge histogram
	5: telemetrypb.MetricKind_METRIC_KIND_SUMMARY,
	6: telemetrypb.MetricKind_METRIC_KIND_GAUGE, // info
	7: telemetrypb.MetricKind_METRIC_KIND_GAUGE, // state set
}

func newMetadata(metricType uint64, unit, help []byte) metadata {
	m := metadata{
		unit: record.Clip(text(unit), maxUnitBytes),
		help: record.Clip(text(help), maxDescriptionBytes),
	}
	if metricType < uint64(len(kinds)) {
		m.kind = kinds[metricType]
	}
	m.known = m.kind != telemetrypb.MetricKind_METRIC_KIND_UNSPECIFIED
	return m
}

func text(b []byte) string { return strings.ToValidUTF8(string(b), "\uFFFD") }

// guess is the kind of a metric that nothing is told of, by its suffix. Names with colons are of
// recording rules: what their last word sums up may be anything.
func guess(name string) telemetrypb.MetricKind {
	if strings.Contains(name, ":") {
		return telemetrypb.MetricKind_METRIC_KIND_UNSPECIFIED
	}
	for _, suffix := range [...]string{"_total", "_count", "_sum", "_bucket"} {
		if strings.HasSuffix(name, suffix) {
			return telemetrypb.MetricKind_METRIC_KIND_COUNTER
		}
	}
	return telemetrypb.MetricKind_METRIC_KIND_UNSPECIFIED
}

// label is a label that was looked at once for all series that have it.
type label struct {
	kv  *telemetrypb.KeyValue
	err error // why a series with it is not kept
}

func newLabel(name, value []byte) label {
	switch {
	case len(name) == 0:
		return label{err: refuse("empty_label_name", "a label has no name")}
	case !utf8.Valid(name) || !utf8.Valid(value):
		return label{err: refuse("not_utf8", "the label %q is not UTF-8", clip(name))}
	case string(name) == nameLabel && len(value) > record.MaxNameBytes:
		return label{err: refuse("name_too_long", "its name has %d bytes, %d are taken", len(value), record.MaxNameBytes)}
	case len(name) > record.MaxKeyBytes:
		return label{err: refuse("label_too_long", "the name of a label has %d bytes, %d are taken", len(name), record.MaxKeyBytes)}
	case len(value) > series.MaxValueBytes:
		return label{err: refuse("label_too_long", "the value of label %q has %d bytes, %d are taken", clip(name), len(value), series.MaxValueBytes)}
	}
	return label{kv: &telemetrypb.KeyValue{Key: string(name), Value: string(value)}}
}

// clip makes of a sender's bytes what fits into a message.
func clip(b []byte) string { return record.Clip(string(b[:min(len(b), 128)]), 64) }

type sample struct {
	ms    int64
	value float64
}

// seriesKey names a series in collector.series.
type seriesKey struct {
	metric      *openMetric
	fingerprint uint64
}

type openMetric struct {
	*telemetrypb.Metric
	known bool // its kind was told, not guessed
}

// collector puts the series of a request together.
type collector struct {
	window  record.Window
	metrics map[string]*openMetric
	series  map[seriesKey]*telemetrypb.Series
	size    int // of out, about
	out     Request

	// The series at hand.
	labels     []*telemetrypb.KeyValue
	count      int    // of its labels, also those that are not in labels
	named      string // its name, once it is no more in labels
	err        error  // why it is not kept
	samples    []sample
	histograms int
	exemplars  int

	// Space for many.
	pointers []*telemetrypb.KeyValue
	space    []telemetrypb.Series
	values   []telemetrypb.Sample
	valueOf  []*telemetrypb.Sample
}

func newCollector(w record.Window) collector {
	return collector{window: w, metrics: map[string]*openMetric{}, series: map[seriesKey]*telemetrypb.Series{}}
}

// begin starts a series.
func (c *collector) begin() {
	c.labels, c.count, c.named, c.err = c.labels[:0], 0, "", nil
	c.samples, c.histograms, c.exemplars = c.samples[:0], 0, 0
}

// fail notes why the series at hand is not kept; the first reason counts.
func (c *collector) fail(err error) {
	if c.err == nil {
		c.err = err
	}
}

// room counts a label of the series at hand and reports whether it is to be looked at.
func (c *collector) room() bool {
	c.count++
	if c.count > series.MaxLabels {
		c.err = refuse("too_many_labels", "it has more than %d labels", series.MaxLabels)
		return false
	}
	return true
}

func (c *collector) label(l label) {
	if l.err != nil {
		c.fail(l.err)
		return
	}
	c.labels = append(c.labels, l.kv)
}

// end keeps the series at hand, or counts why not. about is asked for the metadata of a metric
// that is new or not known.
func (c *collector) end(about func(name string) metadata) {
	c.out.dropExemplars(c.exemplars)
	name, labels, err := c.identity()
	if err != nil {
		c.out.add(max(1, len(c.samples)+c.histograms), c.subject(), err)
		return
	}
	if c.histograms > 0 {
		c.out.add(c.histograms, c.subject(), errHistogram)
	}
	kept := c.samples[:0]
	for _, s := range c.samples {
		if err := c.check(s.ms); err != nil {
			c.out.add(1, c.subject(), err)
			continue
		}
		kept = append(kept, s)
	}
	if len(kept) == 0 {
		return
	}
	if err := c.keep(name, labels, kept, about); err != nil {
		c.out.add(len(kept), c.subject(), err)
	}
}

// check is record.Window.Check for milliseconds.
func (c *collector) check(ms int64) error {
	const last = 1 << 43 // fits as nanoseconds, and is in the year 2248
	return c.window.Check(uint64(min(max(ms, 0), last)) * 1e6)
}

// identity checks the labels of the series at hand. It returns its name and its other labels,
// sorted and without empty ones, in c.labels.
func (c *collector) identity() (string, []*telemetrypb.KeyValue, error) {
	if c.err != nil {
		return "", nil, c.err
	}
	byKey := func(a, b *telemetrypb.KeyValue) int { return strings.Compare(a.Key, b.Key) }
	if !slices.IsSortedFunc(c.labels, byKey) {
		series.Sort(c.labels)
	}
	for i := 1; i < len(c.labels); i++ {
		if c.labels[i].Key == c.labels[i-1].Key {
			return "", nil, refuse("duplicate_label", "the label %q is there twice", record.Clip(c.labels[i].Key, 64))
		}
	}
	name := c.name()
	if name == "" {
		return "", nil, refuse("no_name", "it has no %s", nameLabel)
	}
	labels := slices.DeleteFunc(c.labels, func(l *telemetrypb.KeyValue) bool { return l.Value == "" || l.Key == nameLabel })
	c.labels, c.named = labels, name
	return name, labels, nil
}

func (c *collector) name() string {
	for _, l := range c.labels {
		if l.Key == nameLabel {
			return l.Value
		}
	}
	return ""
}

// subject names the series at hand to its sender.
func (c *collector) subject() string {
	name := c.named
	if name == "" {
		name = c.name()
	}
	if name != "" {
		return fmt.Sprintf("metric %q", record.Clip(name, 128))
	}
	var b strings.Builder
	b.WriteString("the series {")
	for i, l := range c.labels {
		if i == 4 {
			b.WriteString(", …")
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		key := strconv.Quote(record.Clip(l.Key, 64)) // what is told has one line
		fmt.Fprintf(&b, "%s=%q", key[1:len(key)-1], record.Clip(l.Value, 64))
	}
	b.WriteString("}")
	return b.String()
}

// keep puts samples into a series.
func (c *collector) keep(name string, labels []*telemetrypb.KeyValue, samples []sample, about func(string) metadata) error {
	m, ok := c.metrics[name]
	if !ok {
		m = &openMetric{Metric: &telemetrypb.Metric{Name: name, Kind: guess(name)}}
	}
	if !m.known {
		if told := about(name); told.known || m.Unit == "" && m.Description == "" {
			m.Unit, m.Description = told.unit, told.help
			if told.known {
				m.Kind, m.known = told.kind, true
			}
		}
	}
	key := seriesKey{m, series.Fingerprint(name, labels)}
	s, seen := c.series[key]
	size := 20 * len(samples)
	if !seen {
		size += sizeOf(labels)
	}
	if !ok {
		size += 32 + len(name) + len(m.Unit) + len(m.Description)
	}
	if c.size+size > maxOutputBytes {
		return refuse("too_large", "the series of this request come to more than %d MiB, send smaller batches", maxOutputBytes>>20)
	}
	c.size += size
	if !ok {
		c.metrics[name] = m
		c.out.Metrics = append(c.out.Metrics, m.Metric)
	}
	if !seen {
		if len(c.space) == 0 {
			c.space = make([]telemetrypb.Series, 128)
		}
		s = &c.space[0]
		c.space = c.space[1:]
		s.Fingerprint, s.Labels = key.fingerprint, c.list(labels)
		c.series[key] = s
		m.Series = append(m.Series, s)
	}
	for _, one := range samples {
		if len(c.values) == 0 {
			c.values = make([]telemetrypb.Sample, 128)
			c.valueOf = make([]*telemetrypb.Sample, 128)
		}
		v := &c.values[0]
		// The bits of NaN stay as they are: one of them is the staleness marker.
		v.TimeMs, v.Value = one.ms, one.value
		if s.Samples == nil {
			s.Samples = c.valueOf[:0:1]
		}
		s.Samples = append(s.Samples, v)
		c.values, c.valueOf = c.values[1:], c.valueOf[1:]
	}
	c.out.Samples += len(samples)
	return nil
}

// list copies labels.
func (c *collector) list(labels []*telemetrypb.KeyValue) []*telemetrypb.KeyValue {
	n := len(labels)
	if n == 0 {
		return nil
	}
	if len(c.pointers) < n {
		c.pointers = make([]*telemetrypb.KeyValue, 1024)
	}
	list := c.pointers[:n:n]
	c.pointers = c.pointers[n:]
	copy(list, labels)
	return list
}

// sizeOf is about what labels take on the bus.
func sizeOf(labels []*telemetrypb.KeyValue) int {
	size := 16
	for _, l := range labels {
		size += 6 + len(l.Key) + len(l.Value)
	}
	return size
}
