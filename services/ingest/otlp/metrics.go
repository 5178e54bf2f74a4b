package otlp

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"sync"

	"github.com/prometheus/otlptranslator"
	colmetricspb "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"

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
// of the same series are put together. The owner of the set releases it.
func Metrics(req *colmetricspb.ExportMetricsServiceRequest, w record.Window) (*series.Set, *Rejections) {
	c := newMetricConverter(w)
	for _, rm := range req.GetResourceMetrics() {
		c.beginResource()
		for _, kv := range rm.GetResource().GetAttributes() {
			c.keyText, c.valueText = append(c.keyText[:0], kv.GetKey()...), append(c.valueText[:0], text(kv.GetValue(), record.MaxDepth)...)
			c.resourceAttribute(c.keyText, c.valueText)
		}
		c.endResource()
		for _, sm := range rm.GetScopeMetrics() {
			for _, m := range sm.GetMetrics() {
				c.metric(m)
			}
		}
		c.targetInfo()
	}
	return c.end()
}

// metricHead is what is told of a metric besides its points.
type metricHead struct{ name, unit, description []byte }

func headOf(m *metricspb.Metric) metricHead {
	return metricHead{[]byte(m.GetName()), []byte(m.GetUnit()), []byte(m.GetDescription())}
}

// nameKey is what the Prometheus name of a metric is made of.
type nameKey struct {
	name, unit string
	t          otlptranslator.MetricType
}

// knownMetric is a metric that was met before, maybe in another request.
type knownMetric struct {
	source, unit, description string

	name               string // of Prometheus
	bucket, sum, count string // names of the series of histograms and summaries
}

type metricKey struct {
	name string
	kind telemetrypb.MetricKind
}

// metricConverter is used for one request after another; what it remembers of names says the same
// for every request.
type metricConverter struct {
	namer      otlptranslator.MetricNamer
	known      map[nameKey]*knownMetric
	labelNames map[string][]byte // attribute keys to label names; empty where there is none

	// Of a request.
	window     record.Window
	now        uint64
	set        *series.Set
	rejections *Rejections
	metrics    map[metricKey]*series.Metric

	// Of the open resource.
	name, namespace, instance []byte
	identity                  []*series.Label // job and instance
	shared                    []*series.Label // promoted attributes, sorted
	info                      []*series.Label // labels of target_info, sorted; nil: there is none
	newest                    uint64          // time of its newest point, 0: none yet
	spare                     []*series.Label // used of them are in use
	used                      int
	spareOf                   []*attribute // usedOf of them are in use
	usedOf                    int
	clipped                   []byte       // space
	promotedOf, infoOf        []*attribute // space

	// The attributes of the point at hand: the first n of memo, over more that are too many. Those
	// of the next point are mostly the same ones in the same places.
	memo   [series.MaxLabels]attribute
	n      int
	over   int
	own    string // the label that points cannot have
	failed error  // why the point is not kept
	// merged are the labels of a point with the first mergedOf attributes, unless moved.
	merged   []*series.Label
	mergedOf int
	moved    bool

	keyText, valueText []byte          // space
	sorted             []*attribute    // space
	extended           []*series.Label // space

	bounds   []float64       // of the last explicit histogram
	les      []*series.Label // its labels
	infinite *series.Label
	quantile series.Label // of the last summary
	grids    map[grid][]*series.Label
	counts   []uint64 // space

	left int // messages that the request may still have
}

const (
	// keptNames bounds the names that are remembered, keptMetrics what there is room for in the
	// next request.
	keptNames   = 4096
	keptMetrics = 4096
)

// attribute is an attribute of a point or of a resource.
type attribute struct {
	series.Label // its label name and its text

	ok    bool
	key   []byte // the attribute's own
	label []byte
	raw   []byte // as sent, where it is known
}

var converters = sync.Pool{New: func() any {
	return &metricConverter{
		namer:      otlptranslator.MetricNamer{WithMetricSuffixes: true},
		known:      map[nameKey]*knownMetric{},
		labelNames: map[string][]byte{},
		metrics:    map[metricKey]*series.Metric{},
		infinite:   series.NewLabel("le", "+Inf"),
		grids:      map[grid][]*series.Label{},
	}
}}

func newMetricConverter(w record.Window) *metricConverter {
	c := converters.Get().(*metricConverter)
	c.window, c.now = w, uint64(w.Now.UnixNano())
	c.set, c.rejections = series.NewSet(), new(Rejections)
	c.left = maxMessages
	return c
}

// end returns what is kept and gives the converter back.
func (c *metricConverter) end() (*series.Set, *Rejections) {
	set, rejections := c.set, c.rejections
	c.set, c.rejections = nil, nil
	if len(c.metrics) > keptMetrics {
		return set, rejections
	}
	clear(c.metrics)
	c.forget()
	converters.Put(c)
	return set, rejections
}

// forget lets go of what the places of attributes hold of a request.
func (c *metricConverter) forget() {
	for i := range c.memo {
		c.memo[i].ok, c.memo[i].raw = false, nil
	}
	c.moved = true
}

// A refusal says why a point is not kept.
type refusal struct{ word, text string }

func (r *refusal) Error() string { return r.text }

func refuse(word, format string, args ...any) error {
	return &refusal{word, fmt.Sprintf(format, args...)}
}

// reject counts points of a metric that are not kept for err.
func (c *metricConverter) reject(n int, metric []byte, err error) {
	if n == 0 {
		return
	}
	text := fmt.Sprintf("metric %q: %s", record.Clip(string(metric), 128), err)
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

// beginResource starts a resource.
func (c *metricConverter) beginResource() {
	c.identity, c.shared, c.info, c.newest = c.identity[:0], c.shared[:0], nil, 0
	c.name, c.namespace, c.instance = c.name[:0], c.namespace[:0], c.instance[:0]
	c.promotedOf, c.infoOf, c.used = c.promotedOf[:0], c.infoOf[:0], 0
	c.usedOf = 0
}

// resourceAttribute takes an attribute of the open resource.
func (c *metricConverter) resourceAttribute(key, value []byte) {
	if len(value) == 0 {
		return
	}
	switch string(key) {
	case "service.name":
		c.name = clip(c.name, value, maxPromotedBytes)
	case "service.namespace":
		c.namespace = clip(c.namespace, value, maxPromotedBytes)
	case "service.instance.id":
		c.instance = clip(c.instance, value, maxPromotedBytes)
	default:
		if label := c.labelName(key); len(label) > 0 && string(label) != "job" && string(label) != "instance" {
			c.infoOf = append(c.infoOf, c.attributeOf(label, key, value, series.MaxValueBytes))
		}
	}
	if promoted[string(key)] {
		if label := c.labelName(key); len(label) > 0 {
			c.promotedOf = append(c.promotedOf, c.attributeOf(label, key, value, maxPromotedBytes))
		}
	}
}

// clip is record.Clip into space that is used again.
func clip(space, value []byte, limit int) []byte {
	if len(value) <= limit {
		return append(space[:0], value...)
	}
	return append(space[:0], record.Clip(string(value), limit)...)
}

// attributeOf makes an attribute of the open resource.
func (c *metricConverter) attributeOf(label, key, value []byte, limit int) *attribute {
	if c.usedOf == len(c.spareOf) {
		c.spareOf = append(c.spareOf, new(attribute))
	}
	a := c.spareOf[c.usedOf]
	c.usedOf++
	c.clipped = clip(c.clipped, value, limit)
	a.Set(label, c.clipped)
	a.label, a.key = label, append(a.key[:0], key...)
	return a
}

// endResource prepares the labels that all series of the resource have.
func (c *metricConverter) endResource() {
	job := c.name
	if len(c.namespace) > 0 && len(c.name) > 0 {
		job = append(append(c.namespace, '/'), c.name...)
	}
	if len(c.instance) > 0 {
		c.identity = append(c.identity, c.label("instance", c.instance))
	}
	if len(job) > 0 {
		c.identity = append(c.identity, c.label("job", job))
	}
	c.shared, _ = c.merge(c.shared, c.promotedOf, nil, nil)
	if len(c.infoOf) > 0 && len(c.identity) > 0 {
		slices.SortFunc(c.infoOf, byLabel)
		c.info, _ = c.merge(nil, c.infoOf[:min(len(c.infoOf), series.MaxLabels-len(c.identity))], nil, c.identity)
	}
	c.moved = true
}

// label makes a label that is valid until the end of the resource.
func (c *metricConverter) label(key string, value []byte) *series.Label {
	if c.used == len(c.spare) {
		c.spare = append(c.spare, new(series.Label))
	}
	l := c.spare[c.used]
	c.used++
	c.keyText = append(c.keyText[:0], key...)
	l.Set(c.keyText, value)
	return l
}

// targetInfo adds the series that carries what is known of the resource, so that queries can join
// with it.
func (c *metricConverter) targetInfo() {
	if c.info == nil || c.newest == 0 {
		return
	}
	m := c.open("target_info", telemetrypb.MetricKind_METRIC_KIND_GAUGE, &knownMetric{description: "Attributes of the resource that the metrics of this job and instance are from"})
	c.add(m, c.info, c.newest, 1)
}

// metric converts the points of one metric.
func (c *metricConverter) metric(m *metricspb.Metric) {
	head := headOf(m)
	switch data := m.GetData().(type) {
	case *metricspb.Metric_Gauge:
		points := data.Gauge.GetDataPoints()
		if o, err := c.numbers(head, len(points), sumOf{gauge: true}); err != nil {
			c.reject(len(points), head.name, err)
		} else {
			c.decodedNumbers(head, o, points)
		}
	case *metricspb.Metric_Sum:
		points := data.Sum.GetDataPoints()
		if o, err := c.numbers(head, len(points), sumOf{false, data.Sum.GetAggregationTemporality(), data.Sum.GetIsMonotonic()}); err != nil {
			c.reject(len(points), head.name, err)
		} else {
			c.decodedNumbers(head, o, points)
		}
	case *metricspb.Metric_Histogram:
		c.explicits(head, data.Histogram)
	case *metricspb.Metric_ExponentialHistogram:
		c.exponentials(head, data.ExponentialHistogram)
	case *metricspb.Metric_Summary:
		c.summaries(head, data.Summary)
	}
}

func (c *metricConverter) explicits(head metricHead, data *metricspb.Histogram) {
	points := data.GetDataPoints()
	h, err := c.histogram(head, otlptranslator.MetricTypeHistogram, data.GetAggregationTemporality())
	if err != nil {
		c.reject(len(points), head.name, err)
		return
	}
	for _, p := range points {
		c.rejectPoint(head, c.explicit(h, p))
	}
}

func (c *metricConverter) exponentials(head metricHead, data *metricspb.ExponentialHistogram) {
	points := data.GetDataPoints()
	h, err := c.histogram(head, otlptranslator.MetricTypeExponentialHistogram, data.GetAggregationTemporality())
	if err != nil {
		c.reject(len(points), head.name, err)
		return
	}
	grid := gridOf(string(head.unit))
	for _, p := range points {
		c.rejectPoint(head, c.exponential(h, grid, p))
	}
}

func (c *metricConverter) summaries(head metricHead, data *metricspb.Summary) {
	points := data.GetDataPoints()
	k, err := c.lookup(head, otlptranslator.MetricTypeSummary)
	if err != nil {
		c.reject(len(points), head.name, err)
		return
	}
	const kind = telemetrypb.MetricKind_METRIC_KIND_SUMMARY
	quantiles, sum, count := c.open(k.name, kind, k), c.open(k.sum, kind, k), c.open(k.count, kind, k)
	for _, p := range points {
		c.rejectPoint(head, c.summary(quantiles, sum, count, p))
	}
}

func (c *metricConverter) rejectPoint(head metricHead, err error) {
	if err != nil {
		c.reject(1, head.name, err)
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

// lookup finds what is known of a metric by its name, unit and type.
func (c *metricConverter) lookup(head metricHead, t otlptranslator.MetricType) (*knownMetric, error) {
	k, ok := c.known[nameKey{string(head.name), string(head.unit), t}]
	if !ok {
		if len(head.name) == 0 {
			return nil, refuse("no_name", "it has no name")
		}
		if len(head.name) > record.MaxNameBytes || len(head.unit) > maxUnitBytes {
			return nil, refuse("name_too_long", "its name is over %d bytes or its unit over %d", record.MaxNameBytes, maxUnitBytes)
		}
		source, unit := string(head.name), string(head.unit)
		name, err := c.namer.Build(otlptranslator.Metric{Name: source, Unit: unit, Type: t})
		if err != nil {
			return nil, refuse("bad_name", "%s", err)
		}
		k = &knownMetric{source: source, unit: unit, name: name, bucket: name + "_bucket", sum: name + "_sum", count: name + "_count"}
		if len(c.known) >= keptNames {
			clear(c.known)
		}
		c.known[nameKey{source, unit, t}] = k
	}
	if len(head.description) > maxDescriptionBytes {
		k.description = record.Clip(string(head.description), maxDescriptionBytes)
	} else if k.description != string(head.description) {
		k.description = string(head.description)
	}
	return k, nil
}

// open returns the metric of a name and kind to add series to.
func (c *metricConverter) open(name string, kind telemetrypb.MetricKind, k *knownMetric) *series.Metric {
	key := metricKey{name, kind}
	if o, ok := c.metrics[key]; ok {
		return o
	}
	m := series.Metric{Name: name, Kind: kind, Unit: k.unit, Description: k.description}
	if k.source != name {
		m.SourceName = k.source
	}
	o := c.set.Open(m)
	c.metrics[key] = o
	return o
}

// add puts a sample into the series of some sorted labels.
func (c *metricConverter) add(m *series.Metric, labels []*series.Label, ns uint64, value float64) {
	c.set.Add(m, labels, math.MaxInt, series.Sample{MS: int64(ns / 1e6), Value: value})
}

// sizeOf is about what labels take on the bus.
func sizeOf(labels []*telemetrypb.KeyValue) int {
	size := 16
	for _, l := range labels {
		size += 6 + len(l.Key) + len(l.Value)
	}
	return size
}

// beginPoint starts a point. own is the name of a label that the point itself cannot have.
func (c *metricConverter) beginPoint(own string) {
	if c.own != own {
		c.forget()
		c.own = own
	}
	c.n, c.over, c.failed = 0, 0, nil
}

// again takes an attribute of the point at hand if it is the one that was last met at its place.
func (c *metricConverter) again(raw []byte) bool {
	if c.n < len(c.memo) {
		if a := &c.memo[c.n]; a.raw != nil && bytes.Equal(a.raw, raw) {
			c.n++
			return true
		}
	}
	return false
}

// pointAttribute takes an attribute of the point at hand. raw is the attribute as it was sent, where
// it stays readable until the end of the request.
func (c *metricConverter) pointAttribute(raw, key, value []byte) {
	label := c.labelName(key)
	switch {
	case len(label) == 0 || string(label) == c.own || len(value) == 0 || c.failed != nil:
		return
	case len(value) > series.MaxValueBytes:
		c.failed = refuse("label_too_long", "the value of attribute %q has %d bytes, %d are taken", record.Clip(string(key), 64), len(value), series.MaxValueBytes)
		return
	case len(label) > record.MaxKeyBytes:
		c.failed = refuse("label_too_long", "an attribute's key has %d bytes, %d are taken", len(label), record.MaxKeyBytes)
		return
	case c.n == len(c.memo):
		c.over++
		return
	}
	a := &c.memo[c.n]
	c.n++
	if !a.ok || !bytes.Equal(a.key, key) {
		c.moved = true
		a.key = append(a.key[:0], key...)
	}
	a.Set(label, value)
	a.ok, a.label, a.raw = true, label, raw
}

// decodedAttributes takes the attributes of a point from generated structs.
func (c *metricConverter) decodedAttributes(attributes []*commonpb.KeyValue, own string) {
	c.beginPoint(own)
	for _, kv := range attributes {
		c.keyText, c.valueText = append(c.keyText[:0], kv.GetKey()...), append(c.valueText[:0], text(kv.GetValue(), record.MaxDepth)...)
		c.pointAttribute(nil, c.keyText, c.valueText)
	}
}

// endPoint checks what all points have and returns the labels of the point at hand, which are valid
// until the next one; copies is how many series they are for.
func (c *metricConverter) endPoint(ns uint64, copies int) ([]*series.Label, uint64, error) {
	if ns == 0 {
		ns = c.now
	}
	if err := c.window.Check(ns); err != nil {
		return nil, 0, err
	}
	if c.failed != nil {
		return nil, 0, c.failed
	}
	if n := c.n + c.over + len(c.shared) + len(c.identity) + 1; n > series.MaxLabels {
		return nil, 0, refuse("too_many_labels", "it has %d labels, %d are taken", n, series.MaxLabels)
	}
	if c.moved || c.mergedOf != c.n {
		c.sorted = c.sorted[:0]
		for i := range c.memo[:c.n] {
			c.sorted = append(c.sorted, &c.memo[i])
		}
		var joined bool
		c.merged, joined = c.merge(c.merged, c.sorted, c.shared, c.identity)
		c.mergedOf, c.moved = c.n, joined
	}
	if c.set.Bytes()+copies*(series.SeriesBytes+series.Size(c.merged)+40) > maxOutputBytes {
		return nil, 0, refuse("too_large", "the series of this request come to more than %d MiB, send smaller batches", maxOutputBytes>>20)
	}
	c.newest = max(c.newest, ns)
	return c.merged, ns, nil
}

func byLabel(a, b *attribute) int {
	if n := bytes.Compare(a.label, b.label); n != 0 {
		return n
	}
	return bytes.Compare(a.key, b.key)
}

// merge makes a sorted list of labels in space. A key of identity wins over one of attributes, and
// that over one of shared. Attributes whose keys became the same label are put together with
// semicolons, of which it tells. It sorts attributes; shared and identity are sorted.
func (c *metricConverter) merge(space []*series.Label, attributes []*attribute, shared, identity []*series.Label) (list []*series.Label, joined bool) {
	slices.SortFunc(attributes, byLabel)
	list = space[:0]
	for len(attributes) > 0 || len(shared) > 0 || len(identity) > 0 {
		// The smallest of the three heads, the more important source first.
		var next []byte
		if len(attributes) > 0 {
			next = attributes[0].label
		}
		for _, others := range [...][]*series.Label{shared, identity} {
			if len(others) > 0 && (next == nil || bytes.Compare(others[0].Key(), next) < 0) {
				next = others[0].Key()
			}
		}
		same := 0
		for same < len(attributes) && bytes.Equal(attributes[same].label, next) {
			same++
		}
		isShared := len(shared) > 0 && bytes.Equal(shared[0].Key(), next)
		switch {
		case len(identity) > 0 && bytes.Equal(identity[0].Key(), next):
			list = append(list, identity[0])
			identity = identity[1:]
		case same == 1:
			list = append(list, &attributes[0].Label)
		case same > 1:
			var value []byte
			for i, a := range attributes[:same] {
				if i > 0 {
					value = append(value, ';')
				}
				value = append(value, a.Value()...)
			}
			l := new(series.Label)
			l.Set(next, clip(nil, value, series.MaxValueBytes))
			list = append(list, l)
			joined = true
		default:
			list = append(list, shared[0])
		}
		attributes = attributes[same:]
		if isShared {
			shared = shared[1:]
		}
	}
	return list, joined
}

// with returns labels with one more, in its place; they are valid until the next call.
func (c *metricConverter) with(labels []*series.Label, more *series.Label) []*series.Label {
	at, _ := slices.BinarySearchFunc(labels, more, func(a, b *series.Label) int { return bytes.Compare(a.Key(), b.Key()) })
	c.extended = append(append(append(c.extended[:0], labels[:at]...), more), labels[at:]...)
	return c.extended
}

// labelName is the label of an attribute key, or empty where there can be none.
func (c *metricConverter) labelName(key []byte) []byte {
	if name, ok := c.labelNames[string(key)]; ok {
		return name
	}
	namer := otlptranslator.LabelNamer{}
	built, err := namer.Build(string(key))
	if err != nil || built == "__name__" {
		built = "" // an empty key or only punctuation: it cannot be asked for
	}
	name := []byte(built)
	if len(key) <= record.MaxKeyBytes {
		if len(c.labelNames) >= keptNames {
			clear(c.labelNames)
		}
		c.labelNames[string(key)] = name
	}
	return name
}

// sumOf says what number points are.
type sumOf struct {
	gauge       bool
	temporality metricspb.AggregationTemporality
	monotonic   bool
}

// numbers opens the metric of n points of a gauge or a sum.
func (c *metricConverter) numbers(head metricHead, n int, of sumOf) (*series.Metric, error) {
	var t otlptranslator.MetricType = otlptranslator.MetricTypeGauge
	kind := telemetrypb.MetricKind_METRIC_KIND_GAUGE
	if !of.gauge {
		if err := cumulative(of.temporality); err != nil {
			return nil, err
		}
		t = otlptranslator.MetricTypeNonMonotonicCounter
		if of.monotonic {
			t, kind = otlptranslator.MetricTypeMonotonicCounter, telemetrypb.MetricKind_METRIC_KIND_COUNTER
		}
	}
	if n == 0 {
		return nil, nil
	}
	k, err := c.lookup(head, t)
	if err != nil {
		return nil, err
	}
	return c.open(k.name, kind, k), nil
}

// decodedNumbers converts points of gauges and sums from generated structs.
func (c *metricConverter) decodedNumbers(head metricHead, o *series.Metric, points []*metricspb.NumberDataPoint) {
	for _, p := range points {
		n := number{ns: p.GetTimeUnixNano(), flags: p.GetFlags()}
		switch v := p.GetValue().(type) {
		case *metricspb.NumberDataPoint_AsDouble:
			n.value, n.has = v.AsDouble, true
		case *metricspb.NumberDataPoint_AsInt:
			n.value, n.has = float64(v.AsInt), true
		}
		c.decodedAttributes(p.GetAttributes(), "")
		c.rejectPoint(head, c.number(o, n))
	}
}

// number is a point of a gauge or a sum besides its attributes.
type number struct {
	ns    uint64
	value float64
	has   bool // a value
	flags uint32
}

// number converts the point whose attributes are at hand.
func (c *metricConverter) number(o *series.Metric, n number) error {
	value := series.Value(n.value)
	if ended(n.flags) {
		value = series.Stale()
	} else if !n.has {
		return refuse("no_value", "a data point has no value")
	}
	labels, ns, err := c.endPoint(n.ns, 1)
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
func (c *metricConverter) summary(quantiles, sum, count *series.Metric, p *metricspb.SummaryDataPoint) error {
	if len(p.GetQuantileValues()) > maxBuckets {
		return refuse("too_many_buckets", "a summary has %d quantiles, %d are taken", len(p.GetQuantileValues()), maxBuckets)
	}
	c.decodedAttributes(p.GetAttributes(), "quantile")
	labels, ns, err := c.endPoint(p.GetTimeUnixNano(), len(p.GetQuantileValues())+2)
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
		c.quantile.Set([]byte("quantile"), []byte(formatBound(q.GetQuantile())))
		c.add(quantiles, c.with(labels, &c.quantile), ns, value(q.GetValue()))
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
