// Package remotewrite reads the requests of Prometheus remote write, 1.0 and 2.0. It is pure: no
// I/O, no clock. Samples that cannot be kept are left out and counted, with words for their sender.
package remotewrite

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"sync"
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
	// kept is how many symbols and metrics a collector has room for once it is used again.
	kept = 1 << 16

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
	// Set has the samples, put together by series.
	*series.Set

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

// checkLabel returns why a series with a label is not kept, or nil.
func checkLabel(name, value []byte) error {
	switch {
	case len(name) == 0:
		return refuse("empty_label_name", "a label has no name")
	case !utf8.Valid(name) || !utf8.Valid(value):
		return refuse("not_utf8", "the label %q is not UTF-8", clip(name))
	case string(name) == nameLabel && len(value) > record.MaxNameBytes:
		return refuse("name_too_long", "its name has %d bytes, %d are taken", len(value), record.MaxNameBytes)
	case len(name) > record.MaxKeyBytes:
		return refuse("label_too_long", "the name of a label has %d bytes, %d are taken", len(name), record.MaxKeyBytes)
	case len(value) > series.MaxValueBytes:
		return refuse("label_too_long", "the value of label %q has %d bytes, %d are taken", clip(name), len(value), series.MaxValueBytes)
	}
	return nil
}

// clip makes of a sender's bytes what fits into a message.
func clip(b []byte) string { return record.Clip(string(b[:min(len(b), 128)]), 64) }

// remembered is the label that was last met at its place in a series: mostly the next series has
// the same one there.
type remembered struct {
	series.Label
	ok      bool
	encoded []byte    // 1.0: it, as sent
	refs    [2]uint32 // 2.0
}

type openMetric struct {
	*series.Metric
	known bool // its kind was told, not guessed
}

// collector puts the series of a request together.
type collector struct {
	window record.Window
	out    *Request

	metrics map[string]int32 // into opened, by name
	opened  []openMetric
	last    int32 // the metric of the series before; -1: none

	families map[string]metadata // 1.0

	symbols  [][]byte // 2.0: of the body
	toldLast metadata // of the symbols toldAs
	toldAs   [3]uint64
	toldOnce bool

	// The labels at hand are remembered by their place. The first sorted places are in order, and
	// no key is twice, unless moved.
	memo   [series.MaxLabels]remembered
	sorted int
	moved  bool

	// The series at hand.
	labels     []*series.Label
	count      int   // of its labels, also those that are not in labels
	err        error // why it is not kept
	samples    []series.Sample
	histograms int
	exemplars  int
	refs       []uint32 // 2.0
	told       metadata // 2.0

	identityOf []*series.Label // space
}

var collectors = sync.Pool{New: func() any { return &collector{metrics: map[string]int32{}} }}

func newCollector(w record.Window) *collector {
	c := collectors.Get().(*collector)
	c.window, c.out, c.last = w, &Request{Set: series.NewSet()}, -1
	return c
}

// end returns what is kept and gives the collector back.
func (c *collector) end() *Request {
	out := c.out
	c.out = nil
	if len(c.symbols) > kept || len(c.opened) > kept || cap(c.samples) > kept {
		return out
	}
	clear(c.metrics)
	clear(c.opened)
	clear(c.symbols)
	for i := range c.memo {
		c.memo[i].ok, c.memo[i].encoded = false, nil
	}
	c.opened, c.symbols, c.families = c.opened[:0], c.symbols[:0], nil
	c.told, c.toldOnce, c.sorted, c.moved = metadata{}, false, 0, true
	collectors.Put(c)
	return out
}

// beginSeries starts a series.
func (c *collector) beginSeries() {
	c.labels, c.count, c.err = c.labels[:0], 0, nil
	c.samples, c.histograms, c.exemplars = c.samples[:0], 0, 0
}

// fail notes why the series at hand is not kept; the first reason counts.
func (c *collector) fail(err error) {
	if c.err == nil {
		c.err = err
	}
}

// label adds a label to the series at hand and returns where it is remembered; nil where the series
// is not kept because of it.
func (c *collector) label(name, value []byte) *remembered {
	c.count++
	if c.count > series.MaxLabels {
		c.err = refuse("too_many_labels", "it has more than %d labels", series.MaxLabels)
		return nil
	}
	if err := checkLabel(name, value); err != nil {
		c.fail(err)
		return nil
	}
	l := &c.memo[c.count-1]
	if !l.ok || !bytes.Equal(l.Key(), name) {
		c.moved = true
	}
	l.Set(name, value)
	l.ok = true
	c.labels = append(c.labels, &l.Label)
	return l
}

// endSeries keeps the series at hand, or counts why not.
func (c *collector) endSeries() {
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
		if err := c.check(s.MS); err != nil {
			c.out.add(1, c.subject(), err)
			continue
		}
		kept = append(kept, s)
	}
	if len(kept) == 0 {
		return
	}
	if !c.out.Add(c.metric(name), labels, maxOutputBytes, kept...) {
		c.out.add(len(kept), c.subject(), errTooLarge)
	}
}

// check is record.Window.Check for milliseconds.
func (c *collector) check(ms int64) error {
	const last = 1 << 43 // fits as nanoseconds, and is in the year 2248
	return c.window.Check(uint64(min(max(ms, 0), last)) * 1e6)
}

// identity checks the labels of the series at hand. It returns its name and its other labels,
// sorted and without empty ones; they are valid until the next series.
func (c *collector) identity() (name []byte, labels []*series.Label, err error) {
	if c.err != nil {
		return nil, nil, c.err
	}
	if err := c.sort(); err != nil {
		return nil, nil, err
	}
	labels = c.identityOf[:0]
	for _, l := range c.labels {
		switch {
		case len(l.Value()) == 0:
		case string(l.Key()) == nameLabel:
			name = l.Value()
		default:
			labels = append(labels, l)
		}
	}
	c.identityOf = labels
	if len(name) == 0 {
		return nil, nil, refuse("no_name", "it has no %s", nameLabel)
	}
	return name, labels, nil
}

// sort brings the labels into order and refuses those of which one is there twice.
func (c *collector) sort() error {
	if !c.moved && c.sorted == len(c.labels) {
		return nil
	}
	rise := true
	for i := 1; i < len(c.labels) && rise; i++ {
		rise = bytes.Compare(c.labels[i-1].Key(), c.labels[i].Key()) < 0
	}
	if rise {
		c.sorted, c.moved = len(c.labels), false
		return nil
	}
	c.moved = true
	series.Sort(c.labels)
	for i := 1; i < len(c.labels); i++ {
		if bytes.Equal(c.labels[i-1].Key(), c.labels[i].Key()) {
			return refuse("duplicate_label", "the label %q is there twice", record.Clip(string(c.labels[i].Key()), 64))
		}
	}
	return nil
}

func (c *collector) name() string {
	for _, l := range c.labels {
		if string(l.Key()) == nameLabel {
			return string(l.Value())
		}
	}
	return ""
}

// subject names the series at hand to its sender.
func (c *collector) subject() string {
	if name := c.name(); name != "" {
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
		key := strconv.Quote(record.Clip(string(l.Key()), 64)) // what is told has one line
		fmt.Fprintf(&b, "%s=%q", key[1:len(key)-1], record.Clip(string(l.Value()), 64))
	}
	b.WriteString("}")
	return b.String()
}

// metric returns the metric of a name.
func (c *collector) metric(name []byte) *series.Metric {
	if c.last < 0 || c.opened[c.last].Name != string(name) {
		i, ok := c.metrics[string(name)]
		if !ok {
			i = int32(len(c.opened))
			name := string(name)
			c.opened = append(c.opened, openMetric{Metric: c.out.Open(series.Metric{Name: name, Kind: guess(name)})})
			c.metrics[name] = i
		}
		c.last = i
	}
	m := &c.opened[c.last]
	if !m.known {
		if told := c.about(m.Name); told.known || m.Unit == "" && m.Description == "" {
			m.Unit, m.Description = told.unit, told.help
			if told.known {
				m.Kind, m.known = told.kind, true
			}
		}
	}
	return m.Metric
}
