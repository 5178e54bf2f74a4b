package evaluate

import (
	"cmp"
	"slices"
	"strings"

	"github.com/midwatch/midwatch/alerts/rule"
)

// The metrics of probes as they are stored, and their labels; see alerts/probe.
const (
	probeUp        = "midwatch_probe_up"
	probeRemaining = "midwatch_probe_certificate_remaining_seconds"
	probeLifetime  = "midwatch_probe_certificate_lifetime_seconds"
	probeValid     = "midwatch_probe_certificate_valid"
)

// certificateRegions is how many regions have to see a certificate that is not valid.
const certificateRegions = 2

// probeLabels are what a row of a probe's metric is told by. The first is its id.
var probeLabels = []string{"probe", "probe_name", "region", "kind", "service"}

// newParts are the plans of the metrics that make the verdict of a rule on probes.
func newParts(organisation string, project uint32, r rule.Rule) ([]*Plan, error) {
	type number struct{ metric, aggregate string }
	numbers := []number{{probeUp, "last"}}
	if r.Kind == rule.TLSExpiry {
		// One odd answer makes no certificate bad: what counts is the share of the window.
		numbers = []number{{probeRemaining, "last"}, {probeLifetime, "last"}, {probeValid, "avg"}}
	}
	var parts []*Plan
	for _, n := range numbers {
		part := rule.Rule{
			ID: r.ID, Kind: rule.Threshold, Window: r.Window, Interval: r.Interval, Delay: r.Delay,
			Query:  rule.Query{Source: rule.Metrics, Metric: n.metric, Aggregate: n.aggregate, By: probeLabels},
			Levels: []rule.Level{{Fire: "> 0", Severity: rule.Mail}},
		}
		p, err := newPlan(organisation, project, 0, part)
		if err != nil {
			return nil, err
		}
		p.ends = nil
		parts = append(parts, p)
	}
	return parts, nil
}

// watches reports whether a rule is about the probe of a row.
func (p *Plan) watches(row *Row) bool {
	labels := make(map[string]string, len(probeLabels))
	for i, label := range probeLabels {
		labels[label] = row.Values[i]
	}
	m := p.Rule.Query.Monitor
	return (m == "" || m == labels["probe"] || m == labels["probe_name"]) && p.concerns(labels) && matches(p.where, labels)
}

func region(row *Row) string { return row.Values[2] }

// probed are the rows of a rule on probes, by probe.
func (p *Plan) probed(a Ask, parts []Table) []Row {
	if p.Rule.Kind == rule.TLSExpiry {
		return p.certificates(a, parts[0].Rows, parts[1].Rows, parts[2].Rows)
	}
	return p.reach(a, parts[0].Rows)
}

// reach judges probes by what the regions say.
func (p *Plan) reach(a Ask, seen []Row) []Row {
	probes := map[string][]*Row{}
	for i := range seen {
		probes[seen[i].Values[0]] = append(probes[seen[i].Values[0]], &seen[i])
	}
	blind := make([]map[string]bool, a.Slots)
	for slot := range blind {
		blind[slot] = blindRegions(seen, slot)
	}
	var rows []Row
	for id, all := range probes {
		if !slices.ContainsFunc(all, p.watches) {
			continue
		}
		row := Row{Key: id, Values: []string{id}, Judged: make([][]rule.Observation, a.Slots)}
		for slot := range row.Judged {
			var answers []rule.Region
			for _, r := range all {
				if n := r.Numbers[slot]; n.Samples > 0 {
					answers = append(answers, rule.Region{Failed: n.Value == 0, Blind: blind[slot][region(r)]})
				}
			}
			o := rule.Reach(answers, len(all), p.Rule.Query.Regions, p.Rule.MinSamples)
			row.Judged[slot] = slices.Repeat([]rule.Observation{o}, len(p.machines))
		}
		rows = append(rows, row)
	}
	return byKey(rows)
}

func blindRegions(seen []Row, slot int) map[string]bool {
	failing, probes := map[string]int{}, map[string]int{}
	for i := range seen {
		if n := seen[i].Numbers[slot]; n.Samples > 0 {
			probes[region(&seen[i])]++
			if n.Value == 0 {
				failing[region(&seen[i])]++
			}
		}
	}
	blind := map[string]bool{}
	for name, n := range probes {
		blind[name] = rule.BlindRegion(failing[name], n)
	}
	return blind
}

// certificates judges the certificates of probes by that which has the least time left.
func (p *Plan) certificates(a Ask, remaining, lifetime, valid []Row) []Row {
	rows := map[string]*Row{}
	refused := p.refused(a, valid)
	for i := range remaining {
		left := &remaining[i]
		if !p.watches(left) {
			continue
		}
		id := left.Values[0]
		row := rows[id]
		if row == nil {
			row = &Row{Key: id, Values: []string{id}, Judged: make([][]rule.Observation, a.Slots)}
			rows[id] = row
		}
		whole, found := slices.BinarySearchFunc(lifetime, left.Key, func(r Row, key string) int { return strings.Compare(r.Key, key) })
		for slot := range row.Judged {
			n := left.Numbers[slot]
			if n.Samples == 0 || !found || lifetime[whole].Numbers[slot].Samples == 0 {
				continue
			}
			if was := row.Judged[slot]; was != nil && was[0].Value <= n.Value {
				continue
			}
			c := rule.Certificate{Remaining: rule.Duration(n.Value), Lifetime: rule.Duration(lifetime[whole].Numbers[slot].Value), Valid: refused[id] == nil || !refused[id][slot]}
			at := unix(a.First + int64(slot)*p.interval)
			row.Judged[slot] = make([]rule.Observation, len(p.machines))
			for i, level := range p.Rule.Levels {
				row.Judged[slot][i] = rule.TLS(c, level.Severity, p.Rule.Active == "" || p.active.Contains(at))
			}
		}
	}
	var out []Row
	for _, row := range rows {
		for slot := range row.Judged {
			if row.Judged[slot] == nil {
				row.Judged[slot] = slices.Repeat([]rule.Observation{{Verdict: rule.None}}, len(p.machines))
			}
		}
		out = append(out, *row)
	}
	return byKey(out)
}

// refused says in which slots the certificate of a probe did not convince for most of the window: in two
// regions or as many as the rule says, or in all that there are. Probes that do not tell are believed.
func (p *Plan) refused(a Ask, valid []Row) map[string][]bool {
	regions := map[string][]*Row{}
	for i := range valid {
		regions[valid[i].Values[0]] = append(regions[valid[i].Values[0]], &valid[i])
	}
	refused := map[string][]bool{}
	for id, all := range regions {
		slots := make([]bool, a.Slots)
		for slot := range slots {
			looked, against := 0, 0
			for _, r := range all {
				if n := r.Numbers[slot]; n.Samples > 0 {
					looked++
					if n.Value < 0.5 {
						against++
					}
				}
			}
			slots[slot] = against > 0 && against >= min(cmp.Or(p.Rule.Query.Regions, certificateRegions), looked)
		}
		refused[id] = slots
	}
	return refused
}
