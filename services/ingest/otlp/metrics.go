package otlp

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/otlptranslator"
	colmetricspb "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"

	"github.com/midwatch/midwatch/proto/telemetrypb"
	"github.com/midwatch/midwatch/services/ingest/record"
	"github.com/midwatch/midwatch/services/ingest/series"
)

const (
	// maxBuckets bounds the buckets of one explicit histogram.
	maxBuckets = 256
	// maxOutputBytes bounds what the series of one request come to: every bucket repeats the
	// labels of its histogram, so that little can be made to say much.
	maxOutputBytes = 64 << 20
	// maxPromotedBytes bounds a resource attribute that becomes a label of every series.
	maxPromotedBytes = 256

	maxUnitBytes        = 64
	maxDescriptionBytes = 1 << 10

	// deltaSetting is what to change where an SDK sends deltas.
	deltaSetting = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE=cumulative"
)

// promoted are the resource attributes that become labels of every series; the others are on
// target_info alone.
var promoted = map[string]bool{
	"cloud.region":                true,
	"container.name":              true,
	"deployment.environment":      true,
	"deployment.environment.name": true,
	"host.name":                   true,
	"k8s.cluster.name":            true,
	"k8s.container.name":          true,
	"k8s.cronjob.name":            true,
	"k8s.daemonset.name":          true,
	"k8s.deployment.name":         true,
	"k8s.job.name":                true,
	"k8s.namespace.name":          true,
	"k8s.node.name":               true,
	"k8s.pod.name":                true,
	"k8s.statefulset.name":        true,
	"service.name":                true,
	"service.version":             true,
}

// Metrics converts the data points of a request into series under their Prometheus names. Points
// of the same series are put together.
func Metrics(req *colmetricspb.ExportMetricsServiceRequest, w record.Window) ([]*telemetrypb.Metric, *Rejections) {
	c := metricConverter{
		window:     w,
		now:        uint64(w.Now.UnixNano()),
		names:      otlptranslator.MetricNamer{WithMetricSuffixes: true},
		labelNames: map[string]string{},
		metrics:    map[metricKey]*openMetric{},
		grids:      map[grid][]*telemetrypb.KeyValue{},
	}
	for _, rm := range req.GetResourceMetrics() {
		c.resource(rm.GetResource())
		for _, sm := range rm.GetScopeMetrics() {
			for _, m := range sm.GetMetrics() {
				c.metric(m)
			}
		}
		c.targetInfo()
	}
	return c.out, &c.rejections
}

type metricKey struct {
	name string
	kind telemetrypb.MetricKind
}

// openMetric is a metric whose series are still being collected.
type openMetric struct {
	*telemetrypb.Metric
	series map[uint64]*telemetrypb.Series
}

type metricConverter struct {
	window     record.Window
	now        uint64
	names      otlptranslator.MetricNamer
	labelNames map[string]string // attribute keys to label names; "" where there is none

	// Of the open resource.
	identity []*telemetrypb.KeyValue // job and instance
	shared   []*telemetrypb.KeyValue // promoted attributes, sorted
	info     []*telemetrypb.KeyValue // labels of target_info, sorted; nil: there is none
	newest   uint64                  // time of its newest point, 0: none yet

	metrics    map[metricKey]*openMetric
	out        []*telemetrypb.Metric
	size       int // of out, about
	rejections Rejections

	// Space for many.
	keyValues []telemetrypb.KeyValue
	pointers  []*telemetrypb.KeyValue
	series    []telemetrypb.Series
	samples   []telemetrypb.Sample
	sampleOf  []*telemetrypb.Sample
	attrs     []attribute // of the point at hand

	bounds []float64               // of the last explicit histogram
	les    []*telemetrypb.KeyValue // its labels
	grids  map[grid][]*telemetrypb.KeyValue
}

// attribute is a point's attribute with its label name.
type attribute struct {
	label, key string
	value      string
}

// A refusal says why a point is not kept.
type refusal struct{ word, text string }

func (r *refusal) Error() string { return r.text }

func refuse(word, format string, args ...any) error {
	return &refusal{word, fmt.Sprintf(format, args...)}
}

// reject counts points of a metric that are not kept for err.
func (c *metricConverter) reject(n int, metric string, err error) {
	text := fmt.Sprintf("metric %q: %s", record.Clip(metric, 128), err)
	var r *refusal
	var t *record.TimeError
	switch {
	case errors.As(err, &r):
		c.rejections.add(int64(n), r.word, text)
	case errors.As(err, &t):
		c.rejections.add(int64(n), t.Reason(), text)
	default:
		c.rejections.add(int64(n), "invalid", text)
	}
}

// resource prepares the labels that all series of a resource have.
func (c *metricConverter) resource(r *resourcepb.Resource) {
	c.identity, c.shared, c.info, c.newest = nil, nil, nil, 0
	var name, namespace, instance string
	var info []attribute
	c.attrs = c.attrs[:0]
	for _, kv := range r.GetAttributes() {
		value := text(kv.GetValue(), record.MaxDepth)
		if value == "" {
			continue
		}
		switch kv.Key {
		case "service.name":
			name = record.Clip(value, maxPromotedBytes)
		case "service.namespace":
			namespace = record.Clip(value, maxPromotedBytes)
		case "service.instance.id":
			instance = record.Clip(value, maxPromotedBytes)
		default:
			if label := c.labelName(kv.Key); label != "" && label != "job" && label != "instance" {
				info = append(info, attribute{label, kv.Key, record.Clip(value, series.MaxValueBytes)})
			}
		}
		if promoted[kv.Key] {
			if label := c.labelName(kv.Key); label != "" {
				c.attrs = append(c.attrs, attribute{label, kv.Key, record.Clip(value, maxPromotedBytes)})
			}
		}
	}
	job := name
	if namespace != "" && name != "" {
		job = namespace + "/" + name
	}
	if instance != "" {
		c.identity = append(c.identity, c.keyValue("instance", instance))
	}
	if job != "" {
		c.identity = append(c.identity, c.keyValue("job", job))
	}
	c.shared = c.labels(c.attrs, nil, nil)
	if len(info) > 0 && len(c.identity) > 0 {
		slices.SortFunc(info, byLabel)
		info = info[:min(len(info), series.MaxLabels-len(c.identity))]
		c.info = c.labels(info, nil, c.identity)
	}
}

// targetInfo adds the series that carries what is known of the resource, so that queries can join
// with it.
func (c *metricConverter) targetInfo() {
	if c.info == nil || c.newest == 0 {
		return
	}
	m := c.open("target_info", telemetrypb.MetricKind_METRIC_KIND_GAUGE, &metricspb.Metric{Description: "Attributes of the resource that the metrics of this job and instance are from"})
	c.add(m, c.info, c.newest, 1)
}

// metric converts the points of one metric.
func (c *metricConverter) metric(m *metricspb.Metric) {
	switch data := m.GetData().(type) {
	case *metricspb.Metric_Gauge:
		c.numbers(m, otlptranslator.MetricTypeGauge, telemetrypb.MetricKind_METRIC_KIND_GAUGE, data.Gauge.GetDataPoints())
	case *metricspb.Metric_Sum:
		points := data.Sum.GetDataPoints()
		if err := cumulative(data.Sum.GetAggregationTemporality()); err != nil {
			c.reject(len(points), m.GetName(), err)
			return
		}
		if data.Sum.GetIsMonotonic() {
			c.numbers(m, otlptranslator.MetricTypeMonotonicCounter, telemetrypb.MetricKind_METRIC_KIND_COUNTER, points)
		} else {
			c.numbers(m, otlptranslator.MetricTypeNonMonotonicCounter, telemetrypb.MetricKind_METRIC_KIND_GAUGE, points)
		}
	case *metricspb.Metric_Histogram:
		points := data.Histogram.GetDataPoints()
		h, err := c.histogram(m, otlptranslator.MetricTypeHistogram, data.Histogram.GetAggregationTemporality())
		if err != nil {
			c.reject(len(points), m.GetName(), err)
			return
		}
		for _, p := range points {
			c.rejectPoint(m, c.explicit(h, p))
		}
	case *metricspb.Metric_ExponentialHistogram:
		points := data.ExponentialHistogram.GetDataPoints()
		h, err := c.histogram(m, otlptranslator.MetricTypeExponentialHistogram, data.ExponentialHistogram.GetAggregationTemporality())
		if err != nil {
			c.reject(len(points), m.GetName(), err)
			return
		}
		grid := gridOf(m.GetUnit())
		for _, p := range points {
			c.rejectPoint(m, c.exponential(h, grid, p))
		}
	case *metricspb.Metric_Summary:
		points := data.Summary.GetDataPoints()
		name, err := c.name(m, otlptranslator.MetricTypeSummary)
		if err != nil {
			c.reject(len(points), m.GetName(), err)
			return
		}
		const kind = telemetrypb.MetricKind_METRIC_KIND_SUMMARY
		quantiles, sum, count := c.open(name, kind, m), c.open(name+"_sum", kind, m), c.open(name+"_count", kind, m)
		for _, p := range points {
			c.rejectPoint(m, c.summary(quantiles, sum, count, p))
		}
	}
}

func (c *metricConverter) rejectPoint(m *metricspb.Metric, err error) {
	if err != nil {
		c.reject(1, m.GetName(), err)
	}
}

// cumulative refuses what is not a running total: a rate over deltas that are taken for totals
// would be wrong without a sign of it.
func cumulative(t metricspb.AggregationTemporality) error {
	switch t {
	case metricspb.AggregationTemporality_AGGREGATION_TEMPORALITY_CUMULATIVE:
		return nil
	case metricspb.AggregationTemporality_AGGREGATION_TEMPORALITY_DELTA:
		return refuse("delta_temporality", "delta temporality is not kept: set %s in its SDK, or put the deltatocumulative processor into the collector", deltaSetting)
	default:
		return refuse("no_temporality", "it has no aggregation temporality")
	}
}

// name is the Prometheus name of a metric.
func (c *metricConverter) name(m *metricspb.Metric, t otlptranslator.MetricType) (string, error) {
	if m.GetName() == "" {
		return "", refuse("no_name", "it has no name")
	}
	if len(m.GetName()) > record.MaxNameBytes || len(m.GetUnit()) > maxUnitBytes {
		return "", refuse("name_too_long", "its name is over %d bytes or its unit over %d", record.MaxNameBytes, maxUnitBytes)
	}
	name, err := c.names.Build(otlptranslator.Metric{Name: m.GetName(), Unit: m.GetUnit(), Type: t})
	if err != nil {
		return "", refuse("bad_name", "%s", err)
	}
	return name, nil
}

// open returns the metric of a name and kind to add series to.
func (c *metricConverter) open(name string, kind telemetrypb.MetricKind, m *metricspb.Metric) *openMetric {
	key := metricKey{name, kind}
	if o, ok := c.metrics[key]; ok {
		return o
	}
	o := &openMetric{
		Metric: &telemetrypb.Metric{
			Name: name, Kind: kind,
			Unit:        m.GetUnit(),
			Description: record.Clip(m.GetDescription(), maxDescriptionBytes),
		},
		series: map[uint64]*telemetrypb.Series{},
	}
	if m.GetName() != name {
		o.SourceName = m.GetName()
	}
	c.metrics[key] = o
	return o
}

// add puts a sample into the series of some sorted labels, which it keeps.
func (c *metricConverter) add(m *openMetric, labels []*telemetrypb.KeyValue, ns uint64, value float64) {
	fingerprint := series.Fingerprint(m.Name, labels)
	s, ok := m.series[fingerprint]
	if !ok {
		if len(m.series) == 0 {
			c.out = append(c.out, m.Metric)
		}
		if len(c.series) == 0 {
			c.series = make([]telemetrypb.Series, 128)
		}
		s = &c.series[0]
		c.series = c.series[1:]
		s.Fingerprint, s.Labels = fingerprint, labels
		m.series[fingerprint] = s
		m.Series = append(m.Series, s)
		c.size += sizeOf(labels)
	}
	if len(c.samples) == 0 {
		c.samples = make([]telemetrypb.Sample, 128)
		c.sampleOf = make([]*telemetrypb.Sample, 128)
	}
	sample := &c.samples[0]
	sample.TimeMs, sample.Value = int64(ns/1e6), value
	if s.Samples == nil {
		s.Samples = c.sampleOf[:0:1]
	}
	s.Samples = append(s.Samples, sample)
	c.samples, c.sampleOf = c.samples[1:], c.sampleOf[1:]
	c.size += 20
}

// sizeOf is about what labels take on the bus.
func sizeOf(labels []*telemetrypb.KeyValue) int {
	size := 16
	for _, l := range labels {
		size += 6 + len(l.Key) + len(l.Value)
	}
	return size
}

// begin checks what all points have and returns their labels. extra counts the labels that the
// caller adds, own is the name of one that the point itself cannot have then; copies is how many
// series the labels are for.
func (c *metricConverter) begin(attributes []*commonpb.KeyValue, ns uint64, own string, copies int) ([]*telemetrypb.KeyValue, uint64, error) {
	if ns == 0 {
		ns = c.now
	}
	if err := c.window.Check(ns); err != nil {
		return nil, 0, err
	}
	c.attrs = c.attrs[:0]
	for _, kv := range attributes {
		label := c.labelName(kv.GetKey())
		if label == "" || label == own {
			continue
		}
		value := text(kv.GetValue(), record.MaxDepth)
		switch {
		case value == "":
			continue
		case len(value) > series.MaxValueBytes:
			return nil, 0, refuse("label_too_long", "the value of attribute %q has %d bytes, %d are taken", record.Clip(kv.GetKey(), 64), len(value), series.MaxValueBytes)
		case len(label) > record.MaxKeyBytes:
			return nil, 0, refuse("label_too_long", "an attribute's key has %d bytes, %d are taken", len(label), record.MaxKeyBytes)
		}
		c.attrs = append(c.attrs, attribute{label, kv.GetKey(), value})
	}
	if n := len(c.attrs) + len(c.shared) + len(c.identity) + 1; n > series.MaxLabels {
		return nil, 0, refuse("too_many_labels", "it has %d labels, %d are taken", n, series.MaxLabels)
	}
	labels := c.labels(c.attrs, c.shared, c.identity)
	if c.size+copies*(sizeOf(labels)+40) > maxOutputBytes {
		return nil, 0, refuse("too_large", "the series of this request come to more than %d MiB, send smaller batches", maxOutputBytes>>20)
	}
	c.newest = max(c.newest, ns)
	return labels, ns, nil
}

func byLabel(a, b attribute) int {
	if n := strings.Compare(a.label, b.label); n != 0 {
		return n
	}
	return strings.Compare(a.key, b.key)
}

// labels makes a sorted list of labels. A key of identity wins over one of attributes, and that
// over one of shared. Attributes whose keys became the same label are put together with
// semicolons. It sorts attributes; shared and identity are sorted.
func (c *metricConverter) labels(attributes []attribute, shared, identity []*telemetrypb.KeyValue) []*telemetrypb.KeyValue {
	slices.SortFunc(attributes, byLabel)
	n := len(attributes) + len(shared) + len(identity)
	if n == 0 {
		return nil
	}
	list := c.list(n)
	for len(attributes) > 0 || len(shared) > 0 || len(identity) > 0 {
		// The smallest of the three heads, the more important source first.
		const after = "\xff" // sorts behind every label name
		a, s, i := after, after, after
		if len(attributes) > 0 {
			a = attributes[0].label
		}
		if len(shared) > 0 {
			s = shared[0].Key
		}
		if len(identity) > 0 {
			i = identity[0].Key
		}
		next := min(a, s, i)
		switch next {
		case i:
			list = append(list, identity[0])
		case a:
			value := attributes[0].value
			for i := 1; i < len(attributes) && attributes[i].label == next; i++ {
				value = value + ";" + attributes[i].value
			}
			list = append(list, c.keyValue(next, record.Clip(value, series.MaxValueBytes)))
		default:
			list = append(list, shared[0])
		}
		for len(attributes) > 0 && attributes[0].label == next {
			attributes = attributes[1:]
		}
		if s == next {
			shared = shared[1:]
		}
		if i == next {
			identity = identity[1:]
		}
	}
	return list
}

// with returns labels with one more, in its place.
func (c *metricConverter) with(labels []*telemetrypb.KeyValue, more *telemetrypb.KeyValue) []*telemetrypb.KeyValue {
	at, _ := slices.BinarySearchFunc(labels, more.Key, func(l *telemetrypb.KeyValue, key string) int { return strings.Compare(l.Key, key) })
	list := c.list(len(labels) + 1)
	list = append(list, labels[:at]...)
	list = append(list, more)
	return append(list, labels[at:]...)
}

// list makes room for n labels.
func (c *metricConverter) list(n int) []*telemetrypb.KeyValue {
	if len(c.pointers) < n {
		c.pointers = make([]*telemetrypb.KeyValue, 1024)
	}
	list := c.pointers[:0:n]
	c.pointers = c.pointers[n:]
	return list
}

func (c *metricConverter) keyValue(key, value string) *telemetrypb.KeyValue {
	if len(c.keyValues) == 0 {
		c.keyValues = make([]telemetrypb.KeyValue, 256)
	}
	kv := &c.keyValues[0]
	c.keyValues = c.keyValues[1:]
	kv.Key, kv.Value = key, value
	return kv
}

// labelName is the label of an attribute key, or empty where there can be none.
func (c *metricConverter) labelName(key string) string {
	if name, ok := c.labelNames[key]; ok {
		return name
	}
	namer := otlptranslator.LabelNamer{}
	name, err := namer.Build(key)
	if err != nil || name == "__name__" {
		name = "" // an empty key or only punctuation: it cannot be asked for
	}
	c.labelNames[key] = name
	return name
}

// numbers converts the points of gauges and sums.
func (c *metricConverter) numbers(m *metricspb.Metric, t otlptranslator.MetricType, kind telemetrypb.MetricKind, points []*metricspb.NumberDataPoint) {
	if len(points) == 0 {
		return
	}
	name, err := c.name(m, t)
	if err != nil {
		c.reject(len(points), m.GetName(), err)
		return
	}
	o := c.open(name, kind, m)
	for _, p := range points {
		c.rejectPoint(m, c.number(o, p))
	}
}

func (c *metricConverter) number(o *openMetric, p *metricspb.NumberDataPoint) error {
	var value float64
	switch v := p.GetValue().(type) {
	case *metricspb.NumberDataPoint_AsDouble:
		value = series.Value(v.AsDouble)
	case *metricspb.NumberDataPoint_AsInt:
		value = float64(v.AsInt)
	default:
		if !ended(p.GetFlags()) {
			return refuse("no_value", "a data point has no value")
		}
	}
	if ended(p.GetFlags()) {
		value = series.Stale()
	}
	labels, ns, err := c.begin(p.GetAttributes(), p.GetTimeUnixNano(), "", 1)
	if err != nil {
		return err
	}
	c.add(o, labels, ns, value)
	return nil
}

// ended reports whether a point says that its series has no value any more.
func ended(flags uint32) bool {
	return flags&uint32(metricspb.DataPointFlags_DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK) != 0
}

// summary converts a point of a summary.
func (c *metricConverter) summary(quantiles, sum, count *openMetric, p *metricspb.SummaryDataPoint) error {
	if len(p.GetQuantileValues()) > maxBuckets {
		return refuse("too_many_buckets", "a summary has %d quantiles, %d are taken", len(p.GetQuantileValues()), maxBuckets)
	}
	labels, ns, err := c.begin(p.GetAttributes(), p.GetTimeUnixNano(), "quantile", len(p.GetQuantileValues())+2)
	if err != nil {
		return err
	}
	value := func(v float64) float64 {
		if ended(p.GetFlags()) {
			return series.Stale()
		}
		return series.Value(v)
	}
	for _, q := range p.GetQuantileValues() {
		label := c.keyValue("quantile", formatBound(q.GetQuantile()))
		c.add(quantiles, c.with(labels, label), ns, value(q.GetValue()))
	}
	c.add(sum, labels, ns, value(p.GetSum()))
	c.add(count, labels, ns, value(float64(p.GetCount())))
	return nil
}

// formatBound writes a bucket's bound or a quantile as Prometheus does.
func formatBound(v float64) string {
	if math.IsInf(v, 1) {
		return "+Inf"
	}
	return strconv.FormatFloat(v, 'f', -1, 64)
}
