package evaluate

import (
	"slices"

	"github.com/midwatch/midwatch/alerts/rule"
)

const (
	// podPhase is the metric of the Kubernetes cluster receiver that has a series for each pod there is:
	// 1 pending, 2 running, 3 succeeded, 4 failed, 5 unknown. A pod that is deleted has no more samples.
	podPhase     = "k8s.pod.phase"
	podSucceeded = 3
	podFailed    = 4

	// podSilence is without a sample of it long enough for a pod to be gone, in seconds: the receiver
	// collects each 10 s, or each minute where somebody wants less.
	podSilence = 180
	// podReach is how much longer than a rule's window back a pod may have been there: a group is absent
	// once its window is empty.
	podReach = 10 * rule.Minute
)

// podLabels are what makes a pod, as rows of pods are told by. The first is its name.
var podLabels = []string{"k8s.pod.name", "k8s.namespace.name", "k8s.cluster.name"}

// podNames are the names of these labels in rules, as commonLabel has them.
var podNames = [][]string{{"k8s_pod_name", "pod", "pod_name"}, {"k8s_namespace_name", "namespace"}, {"k8s_cluster_name", "cluster"}}

// newPods is the plan that reads which pods there are, for a rule that makes a group of each; nil for
// others.
func newPods(organisation string, project uint32, r rule.Rule) (*Plan, error) {
	if !slices.ContainsFunc(r.Query.By, func(by string) bool { return slices.Contains(podNames[0], commonLabel(by)) }) {
		return nil, nil
	}
	p, err := newPlan(organisation, project, 0, rule.Rule{
		ID: r.ID, Kind: rule.Threshold, Window: r.Window + podReach, Interval: r.Interval, Delay: r.Delay,
		Query:  rule.Query{Source: rule.Metrics, Metric: podPhase, Aggregate: "min", By: podLabels},
		Levels: []rule.Level{{Fire: "> 0", Severity: rule.Mail}},
	})
	if err != nil {
		return nil, err
	}
	p.aside, p.ends = true, []int64{podSilence}
	return p, nil
}

// pods says which pods were known at the slots of a table, and which of them had ended, by name.
type pods map[string][]pod

type pod struct {
	labels       []string // of podLabels
	known, ended []bool   // by slot
}

// podsOf judges the rows of pods. One has ended if it says so, or if it was there and is no more while
// other pods of its cluster are: those say that somebody still looks.
func podsOf(rows []Row, slots int) pods {
	looked := map[string][]bool{} // by cluster
	for i := range rows {
		cluster := rows[i].Values[2]
		if looked[cluster] == nil {
			looked[cluster] = make([]bool, slots)
		}
		for slot, n := range rows[i].Numbers {
			looked[cluster][slot] = looked[cluster][slot] || n.End.Samples > 0
		}
	}
	found := pods{}
	for i := range rows {
		one := pod{labels: rows[i].Values, known: make([]bool, slots), ended: make([]bool, slots)}
		for slot, n := range rows[i].Numbers {
			one.known[slot] = n.Samples > 0
			if n.End.Samples > 0 {
				one.ended[slot] = n.End.Value == podSucceeded || n.End.Value == podFailed
			} else {
				one.ended[slot] = n.Samples > 0 && looked[one.labels[2]][slot]
			}
		}
		found[one.labels[0]] = append(found[one.labels[0]], one)
	}
	return found
}

// ended reports whether the pod of a group had ended at a slot: all that are known by what the group says
// of it.
func (all pods) ended(p *Plan, values []string, slot int) bool {
	if len(all) == 0 {
		return false
	}
	want := make([]string, len(podLabels))
	for i, by := range p.Rule.Query.By {
		for k, names := range podNames {
			if i < len(values) && slices.Contains(names, commonLabel(by)) {
				want[k] = values[i]
			}
		}
	}
	ended := false
	for _, one := range all[want[0]] {
		if !one.known[slot] || !alike(want[1], one.labels[1]) || !alike(want[2], one.labels[2]) {
			continue
		}
		if !one.ended[slot] {
			return false
		}
		ended = true
	}
	return ended
}

// alike reports whether two labels may be the same: one that is not there may be any.
func alike(a, b string) bool { return a == "" || b == "" || a == b }
