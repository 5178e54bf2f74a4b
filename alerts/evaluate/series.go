package evaluate

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/midwatch/midwatch/alerts/match"
	"github.com/midwatch/midwatch/alerts/rule"
	"github.com/midwatch/midwatch/storage/telemetry"
)

// role is what a series is to a rule.
type role uint8

const (
	roleValue  role = iota // what is looked at
	roleEvents             // a counter of events, of which some are bad
	roleSum                // the sum of a histogram's observations
	roleBucket             // a bucket of a histogram
)

// source is a metric that a rule reads.
type source struct {
	metric string
	role   role
}

// metricPlan says which series a rule reads, and how.
type metricPlan struct {
	aggregate string
	quantile  float64 // of aggregate, if it is one
	per       float64 // seconds, of a rate
	// options are the ways in which the metric may be stored; the first that is there is meant.
	options [][]source

	// What is known of the series as of a generation of the index.
	generation *int
	chosen     []source
	series     map[uint64]place
	groups     map[string]int
	keys       []groupName
}

type groupName struct {
	key    string
	values []string
}

// place is where a series belongs.
type place struct {
	group int // -1: nowhere
	role  role
	bad   bool
	le    float64
}

// unitSuffixes are what the intake appends to the names of OpenTelemetry's metrics.
var unitSuffixes = []string{"", "_seconds", "_milliseconds", "_bytes", "_ratio", "_percent"}

// storedNames are the names under which a metric may be stored: as it is written, and as the intake
// writes OpenTelemetry's names.
func storedNames(name string) []string {
	names := []string{name}
	if !strings.ContainsRune(name, '.') {
		return names
	}
	base := storedLabel(name)
	for _, suffix := range unitSuffixes {
		names = append(names, base+suffix)
	}
	return names
}

// storedLabel is a name with "_" for whatever Prometheus does not allow.
func storedLabel(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '_':
			return r
		}
		return '_'
	}, name)
}

func newMetricPlan(r rule.Rule) *metricPlan {
	m := &metricPlan{aggregate: r.Query.Aggregate, per: 1}
	if r.Query.Per > 0 {
		m.per = float64(r.Query.Per)
	}
	q, isQuantile := rule.Quantile(m.aggregate)
	if isQuantile {
		m.quantile = q
	}
	add := func(sources ...source) { m.options = append(m.options, sources) }
	for _, name := range storedNames(r.Query.Metric) {
		switch {
		case r.Kind == rule.ErrorRate || r.Kind == rule.SLOBurn:
			add(source{name, roleEvents})
			add(source{name + "_count", roleEvents})
			add(source{name + "_total", roleEvents})
		case isQuantile:
			if strings.HasSuffix(name, "_bucket") {
				add(source{name, roleBucket})
			}
			add(source{name + "_bucket", roleBucket})
		case m.aggregate == "rate" || m.aggregate == "increase" || m.aggregate == "":
			add(source{name, roleValue})
			add(source{name + "_total", roleValue})
			add(source{name + "_count", roleValue})
		case m.aggregate == "avg":
			add(source{name, roleValue})
			add(source{name + "_count", roleEvents}, source{name + "_sum", roleSum})
		default:
			add(source{name, roleValue})
			add(source{name + "_total", roleValue})
		}
	}
	return m
}

// names are all metrics that the rule may read.
func (m *metricPlan) names() []string {
	var names []string
	for _, option := range m.options {
		for _, s := range option {
			names = append(names, s.metric)
		}
	}
	return names
}

// known reports whether the index has a series that the rule reads.
func (m *metricPlan) known(x *index) bool {
	return slices.ContainsFunc(m.options, func(option []source) bool { return x.metrics[option[0].metric] != nil })
}

// arrange settles which metrics are read, as far as the index knows them.
func (m *metricPlan) arrange(x *index) {
	if m.generation == x.generation && m.series != nil {
		return
	}
	m.generation, m.chosen = x.generation, nil
	m.series, m.groups, m.keys = map[uint64]place{}, map[string]int{}, nil
	for _, option := range m.options {
		if x.metrics[option[0].metric] != nil {
			m.chosen = option
			return
		}
	}
}

// place is where a series belongs in the rule's groups.
func (p *Plan) place(s *telemetry.Series, role role) place {
	m := p.metrics
	if known, ok := m.series[s.FP]; ok {
		return known
	}
	at := place{group: -1, role: role}
	if p.concerns(s.Labels) && matches(p.where, s.Labels) {
		at.bad = len(p.bad) > 0 && matches(p.bad, s.Labels)
		if role == roleBucket {
			at.le = math.NaN()
			if le, err := strconv.ParseFloat(s.Labels["le"], 64); err == nil {
				at.le = le
			}
		}
		values := make([]string, len(p.Rule.Query.By))
		for i, label := range p.Rule.Query.By {
			values[i] = valueOf(s.Labels, label)
		}
		key := groupKey(values)
		g, ok := m.groups[key]
		if !ok {
			g = len(m.keys)
			m.groups[key] = g
			m.keys = append(m.keys, groupName{key, values})
		}
		at.group = g
	}
	m.series[s.FP] = at
	return at
}

// aliases are the labels under which agents keep what rules call service and environment.
var aliases = map[string][]string{
	"service":     {"service_name", "job"},
	"environment": {"deployment_environment_name", "deployment_environment", "env"},
}

// valueOf is the value of a label, which may be written as OpenTelemetry does.
func valueOf(labels map[string]string, label string) string {
	if v, ok := labels[label]; ok {
		return v
	}
	if v, ok := labels[storedLabel(label)]; ok {
		return v
	}
	for _, alias := range aliases[label] {
		if v, ok := labels[alias]; ok {
			return v
		}
	}
	return ""
}

// matches reports whether labels fulfil conditions.
func matches(set match.Set, labels map[string]string) bool {
	for _, m := range set {
		if _, ok := labels[m.Label]; !ok {
			if !m.Match(map[string]string{m.Label: valueOf(labels, m.Label)}) {
				return false
			}
		} else if !m.Match(labels) {
			return false
		}
	}
	return true
}

// concerns reports whether something with these labels may be of the rule's service and environment:
// it says so, or does not say what it is of. A query that names these labels itself has the word.
func (p *Plan) concerns(labels map[string]string) bool {
	for label, want := range map[string]string{"service": p.Rule.Service, "environment": p.Rule.Environment} {
		if want == "" || p.asks(label) {
			continue
		}
		v := valueOf(labels, label)
		if v == labels["job"] && labels["service"] == "" && labels["service_name"] == "" {
			continue // what Prometheus calls a job need not be a service
		}
		if v != "" && v != want {
			return false
		}
	}
	return true
}

// asks reports whether the query itself has a condition on a label or makes groups of it.
func (p *Plan) asks(label string) bool {
	is := func(name string) bool { return commonLabel(name) == label }
	q := p.Rule.Query
	return slices.ContainsFunc(q.By, is) || slices.ContainsFunc(q.Where, func(m rule.Match) bool { return is(m.Label) })
}

// commonLabel is the name that a label has in rules, however an agent writes it: service, environment,
// or the label as it is stored.
func commonLabel(label string) string {
	label = storedLabel(label)
	for name, all := range aliases {
		if slices.Contains(all, label) {
			return name
		}
	}
	return label
}

// valueIn is what the service or environment of a group is: its own, or that of the rule.
func (p *Plan) valueIn(values []string, label string) string {
	for i, by := range p.Rule.Query.By {
		if i < len(values) && values[i] != "" && commonLabel(by) == label {
			return values[i]
		}
	}
	return p.labels[label]
}

// bucket is what a series did in one bucket.
type bucket struct {
	n      int64 // number of the bucket
	p      telemetry.Partial
	growth float64
}

// window is what a series did in the buckets [from, to) of b, which are in order.
func window(b []bucket, from, to int64) (p telemetry.Partial, growth float64) {
	for _, one := range b {
		if one.n >= to {
			break
		}
		if one.n >= from {
			p.Add(one.p)
			growth += one.growth
		}
	}
	return p, growth
}

// sums are the numbers of one group as they come together from its series.
type sums struct {
	cells []cell
	les   []float64
	// counts are those of the buckets of les, by slot.
	counts [][]float64
}

type cell struct {
	series  int
	samples float64
	value   float64
	bad     float64
	total   float64
}

// fold makes the rows of a table out of series, which come one after another.
type fold struct {
	ask  Ask
	from int64 // of bucket 0, in Unix seconds
	// spans are the lengths that are looked at: the window, and its ends if they are shorter.
	spans  []int64
	groups []map[int]*sums // by span
}

func newFold(a Ask, from int64) *fold {
	f := &fold{ask: a, from: from, spans: a.Plan.spans()}
	for range f.spans {
		f.groups = append(f.groups, map[int]*sums{})
	}
	return f
}

// spans are the lengths of the window and of its ends, in whole buckets.
func (p *Plan) spans() []int64 {
	spans := []int64{p.window}
	for _, length := range p.ends {
		length = (length + p.step - 1) / p.step * p.step
		if length < p.window {
			spans = append(spans, length)
		}
	}
	return spans
}

// sustained reports whether a breach has to be there at the end of the window, too. What is counted
// until it is too much has no such end.
func (p *Plan) sustained() bool {
	switch p.Rule.Kind {
	case rule.ErrorRate, rule.LogRatio:
		return true
	case rule.Threshold:
		return p.Rule.Query.Aggregate != "increase"
	}
	return false
}

// add adds a series. What the values of a series in a window come to, and what the series of a group
// then do, is as in the queries of pages: means are averaged, sums, rates and growth add up, extremes
// are those of all, and a count is how many series there are.
func (f *fold) add(at place, b []bucket) {
	if at.group < 0 || len(b) == 0 {
		return
	}
	p := f.ask.Plan
	first := 0
	for i := range f.ask.Slots {
		end := f.ask.First + int64(i)*p.interval - p.delay - f.from
		from, to := (end-p.window)/p.step, end/p.step
		for first < len(b) && b[first].n < from {
			first++
		}
		if first == len(b) {
			return
		}
		if b[first].n >= to {
			continue
		}
		for k, length := range f.spans {
			if part, growth := window(b[first:], to-length/p.step, to); part.Count > 0 {
				f.put(k, at, i, part, growth)
			}
		}
	}
}

func (f *fold) put(span int, at place, slot int, part telemetry.Partial, growth float64) {
	g := f.groups[span][at.group]
	if g == nil {
		g = &sums{cells: make([]cell, f.ask.Slots)}
		f.groups[span][at.group] = g
	}
	c := &g.cells[slot]
	switch at.role {
	case roleEvents:
		c.series++
		c.samples += growth
		c.total += growth
		if at.bad {
			c.bad += growth
		}
		return
	case roleSum:
		c.value += growth
		return
	case roleBucket:
		c.series++
		g.bucket(at.le, f.ask.Slots)[slot] += growth
		if math.IsInf(at.le, 1) {
			c.samples += growth
		}
		return
	}
	p := f.ask.Plan
	v := 0.0
	switch m := p.metrics; m.aggregate {
	case "min":
		v = part.Min
	case "max":
		v = part.Max
	case "last":
		v = part.Last
	case "rate":
		v = growth / float64(f.spans[span]) * m.per
	case "increase":
		v = growth
	case "count":
		v = 1
	default:
		v = part.Sum / float64(part.Count)
	}
	switch {
	case c.series == 0:
		c.value = v
	case p.metrics.aggregate == "min":
		c.value = min(c.value, v)
	case p.metrics.aggregate == "max":
		c.value = max(c.value, v)
	default:
		c.value += v
	}
	c.series++
	c.samples += float64(part.Count)
}

// bucket are the counts of a bucket by slot.
func (g *sums) bucket(le float64, slots int) []float64 {
	i := slices.Index(g.les, le)
	if i < 0 {
		i = len(g.les)
		g.les = append(g.les, le)
		g.counts = append(g.counts, make([]float64, slots))
	}
	return g.counts[i]
}

// rows are the rows of the table, by key.
func (f *fold) rows() []Row {
	m := f.ask.Plan.metrics
	rows := make([]Row, 0, len(f.groups[0]))
	for i := range f.groups[0] {
		row := Row{Key: m.keys[i].key, Values: m.keys[i].values, Numbers: make([]Numbers, f.ask.Slots)}
		for slot := range row.Numbers {
			n := &row.Numbers[slot]
			n.Number = f.number(0, i, slot)
			for span := 1; span < len(f.spans) && (n.End == nil || !f.ask.Plan.tells(*n.End)); span++ {
				end := f.number(span, i, slot)
				n.End = &end
			}
		}
		rows = append(rows, row)
	}
	return byKey(rows)
}

func (f *fold) number(span, group, slot int) Number {
	g := f.groups[span][group]
	if g == nil {
		return Number{}
	}
	m, c := f.ask.Plan.metrics, g.cells[slot]
	n := Number{Samples: c.samples, Value: c.value, Bad: c.bad, Total: c.total}
	switch {
	case c.series == 0:
		return Number{}
	case len(g.les) > 0:
		buckets := make([]telemetry.Bucket, len(g.les))
		for i, le := range g.les {
			buckets[i] = telemetry.Bucket{UpperBound: le, Count: g.counts[i][slot]}
		}
		n.Value, _ = telemetry.Quantile(m.quantile, buckets)
	case len(m.chosen) > 1: // a mean out of sum and count
		n.Value = c.value / c.total
	case m.aggregate == "avg" || m.aggregate == "last":
		n.Value = c.value / float64(c.series)
	}
	if n.Value-n.Value != 0 { // nothing was observed
		return Number{}
	}
	return n
}
