// Package evaluate turns rules into events: it reads what the rules of a project ask for in as few
// reads as it can, lets rule.StepLevels judge the numbers slot by slot, and commits what has changed
// together with what people are to be told.
//
// The same code evaluates live, after a time of being down, and in rehearsal: a Reader makes Tables
// of numbers, one for each slot and group, and Memory steps through them. Nothing of that depends on
// when it is done or on how long a range is read at once.
package evaluate

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/midwatch/midwatch/alerts/match"
	"github.com/midwatch/midwatch/alerts/oncall"
	"github.com/midwatch/midwatch/alerts/rule"
)

// autoDelay is how long data may take to arrive where the rule says nothing. It is a constant, so
// that a slot has the same data whenever it is evaluated; what takes longer is the watermark's
// matter.
const autoDelay = 10 * rule.Second

// softFactor is how many times longer evidence has to last shortly after a deploy.
const softFactor = 2

// fewBad is how many bad events the end of a window should have, if it were just as bad as the limit,
// for their absence to mean anything.
const fewBad = 0.5

// Plan is a rule made ready: with its defaults, its conditions compiled, and the grid on which its
// data lies. It belongs to one project, and is used by one goroutine at a time.
type Plan struct {
	Rule         rule.Rule
	Organisation string
	Project      uint32
	Version      int64
	Identity     string

	// interval, window, delay, offset and step are in seconds. Slots are at k*interval + offset, and
	// a slot s is made of whole buckets of step in [s-delay-window, s-delay).
	interval, window, delay, offset, step int64

	machines []rule.Machine
	soft     []rule.Machine // after a deploy
	judge    rule.Judge
	// telling is how many events the end of a window must have to say that a trouble is over.
	telling float64

	where, bad match.Set
	active     oncall.Active
	labels     map[string]string // of every instance, but those of its group

	metrics *metricPlan // of rules on metrics
	// histories are what the rule needs of long ago, parts the plans of which its verdict is made, pods is
	// that which says which pods there are.
	histories []*history
	parts     []*Plan
	pods      *Plan
	// release is which label of the query's By names a release, -1 if none does.
	release int
	// ends are the lengths of the ends of the window, in seconds.
	ends []int64
	// sight and events are room that steps use again.
	sight  sight
	events []rule.Event
	// aside says that its numbers are looked at beside those of a rule, which is judged without them where
	// they cannot be had.
	aside bool
}

// NewPlan makes a rule ready. It does not validate it: a rule that cannot be evaluated is an error.
func NewPlan(organisation string, project uint32, version int64, r rule.Rule) (*Plan, error) {
	p, err := newPlan(organisation, project, version, r)
	if err != nil {
		return nil, err
	}
	if err := p.compose(); err != nil {
		return nil, err
	}
	p.release = slices.IndexFunc(p.Rule.Query.By, func(by string) bool { return slices.Contains(releaseLabels, commonLabel(by)) })
	p.pods, err = newPods(organisation, project, p.Rule)
	return p, err
}

// newPlan makes a rule ready as far as it is judged by one number.
func newPlan(organisation string, project uint32, version int64, r rule.Rule) (*Plan, error) {
	p := &Plan{Organisation: organisation, Project: project, Version: version, Identity: rule.Identity(r)}
	r = r.WithDefaults()
	p.Rule = r
	if r.ID == "" || r.Interval <= 0 || r.Window <= 0 || len(r.Levels) == 0 {
		return nil, errors.New("the rule has no id, interval, window or level")
	}
	delay := r.Delay
	if delay == 0 {
		delay = autoDelay
	}
	p.interval, p.window, p.delay = int64(r.Interval), int64(r.Window), int64(delay)
	// All rules of a project have their slots together, so that one read serves them; projects are
	// spread over the interval.
	p.offset = rule.Offset(strconv.FormatUint(uint64(project), 10), "", r.Interval)
	p.step = gcd(gcd(p.interval, p.window), p.delay)
	for i := range r.Levels {
		m := r.Machine(i)
		p.machines = append(p.machines, m)
		m.For *= softFactor
		p.soft = append(p.soft, m)
	}
	var err error
	if bounded(r.Kind) {
		if p.judge, err = r.Judge(); err != nil {
			return nil, err
		}
		for _, l := range p.judge.Limits {
			if l.Fire.Value > 0 {
				p.telling = max(p.telling, fewBad/l.Fire.Value)
			}
		}
	}
	if p.where, err = matchers(r.Query.Where); err != nil {
		return nil, fmt.Errorf("query.where: %w", err)
	}
	if p.bad, err = matchers(r.Query.Bad); err != nil {
		return nil, fmt.Errorf("query.bad: %w", err)
	}
	if p.active, err = oncall.ParseActive(r.Active); err != nil {
		return nil, err
	}
	if r.Query.Source == rule.Metrics {
		p.metrics = newMetricPlan(r)
	}
	if p.sustained() {
		p.ends = windowEnds
	}
	p.labels = maps.Clone(r.Labels)
	if p.labels == nil {
		p.labels = map[string]string{}
	}
	for name, value := range map[string]string{
		"service": r.Service, "environment": r.Environment, "area": r.Area, "class": string(r.Class), "rule": r.ID,
	} {
		if value != "" {
			p.labels[name] = value
		}
	}
	return p, nil
}

// compose adds what kinds need that are judged by more than one number.
func (p *Plan) compose() (err error) {
	r := p.Rule
	switch r.Kind {
	case rule.SLOBurn, rule.Anomaly, rule.Forecasted:
		queries := []rule.Query{r.Query}
		if f := r.Forecast; f != nil && f.CapacityMetric != "" {
			q := r.Query
			q.Metric, q.Aggregate = f.CapacityMetric, "last"
			queries = append(queries, q)
		}
		for _, q := range queries {
			h, err := newHistory(p.Organisation, p.Project, r, q)
			if err != nil {
				return err
			}
			p.histories = append(p.histories, h)
		}
		if r.Kind == rule.SLOBurn && r.SLO == nil {
			return errors.New("the rule has no objective")
		}
	case rule.Uptime, rule.TLSExpiry:
		p.Rule.Query.By = probeLabels[:1]
		p.parts, err = newParts(p.Organisation, p.Project, r)
	case rule.IssueSpike, rule.IssueNew, rule.IssueRegression:
		p.Rule.Query.By = []string{"issue"}
	case rule.Cron, rule.External:
		return fmt.Errorf("%w: %s", ErrElsewhere, r.Kind)
	}
	return err
}

// ErrElsewhere says that rules of a kind are not evaluated by reading telemetry.
var ErrElsewhere = errors.New("rules of this kind are not evaluated here")

// bounded says whether rules of a kind have limits that a person sets.
func bounded(k rule.Kind) bool {
	switch k {
	case rule.Threshold, rule.ErrorRate, rule.LogMatch, rule.LogRatio:
		return true
	}
	return false
}

func matchers(list []rule.Match) (match.Set, error) {
	var set match.Set
	for _, m := range list {
		compiled, err := match.New(m.Label, m.Op, m.Value)
		if err != nil {
			return nil, err
		}
		set = append(set, compiled)
	}
	return set, nil
}

// Scaled is the plan with a level for each share of its worst level's threshold, and these thresholds;
// nil where the kind has limits of its own. It is for Verdicts only.
func (p *Plan) Scaled(shares []float64) (*Plan, []float64) {
	if !bounded(p.Rule.Kind) {
		return nil, nil
	}
	scaled := *p
	worst := p.judge.Limits[0]
	scaled.judge.Limits = nil
	var thresholds []float64
	for _, share := range shares {
		l := worst
		l.Fire.Value *= share
		l.Recover.Value *= share
		scaled.judge.Limits = append(scaled.judge.Limits, l)
		thresholds = append(thresholds, l.Fire.Value)
	}
	return &scaled, thresholds
}

// Slot is the rule's newest slot at or before now, in Unix seconds.
func (p *Plan) Slot(now int64) int64 { return rule.Slot(now, rule.Duration(p.interval), p.offset) }

// Severity is how a level is told at an instant: what may only page in active hours is a ticket
// outside of them.
func (p *Plan) severity(level int, slot int64) rule.Severity {
	s := p.Rule.Levels[level].Severity
	if s == rule.Page && !p.active.Contains(unix(slot)) {
		return rule.Ticket
	}
	return s
}

func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// groupKey names a group by the values of the rule's By, unambiguously.
func groupKey(values []string) string {
	switch len(values) {
	case 0:
		return ""
	case 1:
		return values[0]
	}
	var key []byte
	for i, v := range values {
		if i > 0 {
			key = append(key, ',')
		}
		key = strconv.AppendQuote(key, v)
	}
	return string(key)
}

// groupLabels are the labels of a group.
func (p *Plan) groupLabels(values []string) map[string]string {
	labels := maps.Clone(p.labels)
	for i, v := range values {
		if i < len(p.Rule.Query.By) && v != "" {
			labels[p.Rule.Query.By[i]] = v
		}
	}
	return labels
}

// inOrder sorts plans such that a rule comes after those that it depends on. Circles, which are
// refused when a rule is saved, are cut.
func inOrder(plans map[string]*Plan) []*Plan {
	var ordered []*Plan
	done := make(map[string]bool, len(plans))
	var visit func(id string)
	visit = func(id string) {
		p := plans[id]
		if p == nil || done[id] {
			return
		}
		done[id] = true
		for _, parent := range p.Rule.DependsOn {
			visit(parent)
		}
		ordered = append(ordered, p)
	}
	for _, id := range slices.Sorted(maps.Keys(plans)) {
		visit(id)
	}
	return ordered
}
