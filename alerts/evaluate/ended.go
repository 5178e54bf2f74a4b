package evaluate

import (
	"context"
	"slices"
	"strings"

	"github.com/midwatch/midwatch/alerts/rule"
	"github.com/midwatch/midwatch/storage/catalog"
)

const (
	// endedFor is catalog.EndedFor in seconds.
	endedFor = int64(catalog.EndedFor / 1e9)
	// lastWords is how long after it was said to have ended something may still send, in seconds: a host
	// says so first and then flushes what it has.
	lastWords = 120
	// releaseReach is how long before a slot deploys are known, in seconds.
	releaseReach = 60 * day
)

// releaseLabels are the labels that name a release, instanceLabels those that each instance of a service
// has its own value of, as commonLabel has them.
var (
	releaseLabels  = []string{"service_version", "release"}
	instanceLabels = []string{
		"service_instance_id", "instance", "host_name", "host", "hostname", "container_id", "k8s_pod_name", "k8s_pod_uid", "k8s_node_name",
		"k8s_replicaset_name", "pod", "pod_name", "node",
	}
)

// endings are what is known by SQL to have ended in a project.
type endings struct {
	// words are what somebody has said, by the first of its labels.
	words   map[[2]string][]word
	deploys []catalog.Deploy // newest first
}

// word says that all that has labels has ended.
type word struct {
	at     int64
	labels [][2]string
}

// readEndings reads what matters to the groups of rules in slots from one time to another.
func readEndings(ctx context.Context, db *catalog.DB, project uint32, plans []*Plan, from, to int64) (*endings, error) {
	if !slices.ContainsFunc(plans, func(p *Plan) bool { return len(p.Rule.Query.By) > 0 }) {
		return nil, nil
	}
	said, err := db.EndedEntities(ctx, project, unix(from-endedFor), unix(to+1))
	if err != nil {
		return nil, err
	}
	e := &endings{words: map[[2]string][]word{}}
	for _, one := range said {
		w := word{at: one.At.Unix()}
		for name, value := range one.Labels {
			w.labels = append(w.labels, [2]string{commonLabel(name), value})
		}
		if len(w.labels) == 0 {
			continue
		}
		slices.SortFunc(w.labels, func(a, b [2]string) int { return strings.Compare(a[0], b[0]) })
		e.words[w.labels[0]] = append(e.words[w.labels[0]], w)
	}
	if slices.ContainsFunc(plans, func(p *Plan) bool { return p.release >= 0 }) {
		if e.deploys, err = db.Deploys(ctx, project, unix(from-releaseReach), unix(to+1)); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// ended reports whether what a group without data is about has ended, by a slot of a table. seen are all
// groups of the slot, last is the newest slot in which this one had data.
func (p *Plan) ended(e *endings, t *Table, slot int, o *observed, last int64, seen []observed) bool {
	if !o.absent || len(o.values) == 0 {
		return false
	}
	at := t.First + int64(slot)*p.interval
	return t.pods.ended(p, o.values, slot) || e != nil && (p.told(e, o.values, last, at) || p.retired(e, o.values, seen, at))
}

// told reports whether somebody has said that a group has ended, and nothing was sent since.
func (p *Plan) told(e *endings, values []string, last, at int64) bool {
	if len(e.words) == 0 {
		return false
	}
	labels := map[string]string{}
	for name, value := range p.groupLabels(values) {
		labels[commonLabel(name)] = value
	}
	for name, value := range labels {
		for _, w := range e.words[[2]string{name, value}] {
			// What was seen long after it ended lives again.
			if w.at > at || at-w.at >= endedFor || last > w.at+p.echo()+lastWords {
				continue
			}
			if !slices.ContainsFunc(w.labels, func(l [2]string) bool { return labels[l[0]] != l[1] }) {
				return true
			}
		}
	}
	return false
}

// echo is for how long after its last sample a group has data, in seconds.
func (p *Plan) echo() int64 {
	switch p.Rule.Kind {
	case rule.SLOBurn:
		return p.delay + p.histories[0].reach
	case rule.Forecasted:
		return p.delay + halfHour
	}
	return p.delay + p.window
}

// retired reports whether a group is of a release that a newer one has replaced: of both somebody has
// told when they were deployed, and the newer one is here in its place.
func (p *Plan) retired(e *endings, values []string, seen []observed, at int64) bool {
	if p.release < 0 || p.release >= len(values) || values[p.release] == "" {
		return false
	}
	since := p.deployed(e, values, at)
	if since == 0 {
		return false // nobody knows which is newer
	}
	return slices.ContainsFunc(seen, func(o observed) bool {
		return o.present && o.values[p.release] != "" && o.values[p.release] != values[p.release] &&
			p.samePlace(o.values, values) && p.deployed(e, o.values, at) > since
	})
}

// deployed is when the release of a group was last deployed as of a slot; 0 if nobody told.
func (p *Plan) deployed(e *endings, values []string, at int64) int64 {
	release, service, environment := values[p.release], p.valueIn(values, "service"), p.valueIn(values, "environment")
	for _, d := range e.deploys {
		if d.Of(release) && d.At.Unix() <= at && d.In(service, environment) {
			return d.At.Unix()
		}
	}
	return 0
}

// samePlace reports whether two groups differ by their release and by what each instance has its own of.
func (p *Plan) samePlace(a, b []string) bool {
	for i, by := range p.Rule.Query.By {
		if i != p.release && a[i] != b[i] && !slices.Contains(instanceLabels, commonLabel(by)) {
			return false
		}
	}
	return true
}
