package dossier

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/midwatch/midwatch/alerts/notify"
	"github.com/midwatch/midwatch/alerts/rule"
	"github.com/midwatch/midwatch/storage/telemetry"
)

// gauge says how full something is by a metric, or by two of them.
type gauge struct {
	what string // disk, memory
	// One of these: a share, what is used and what there is of it, what is free and what there is, or
	// one metric whose label state says which is which.
	share       string
	used, total string
	free        string
	byState     string
}

// gauges are the metrics that telemetry reads for this.
var gauges = []gauge{
	{what: "disk", share: "system_filesystem_utilization_ratio"},
	{what: "disk", byState: "system_filesystem_usage_bytes"},
	{what: "disk", byState: "system_filesystem_usage"},
	{what: "disk", free: "node_filesystem_avail_bytes", total: "node_filesystem_size_bytes"},
	{what: "volume", free: "k8s_volume_available_bytes", total: "k8s_volume_capacity_bytes"},
	{what: "volume", free: "kubelet_volume_stats_available_bytes", total: "kubelet_volume_stats_capacity_bytes"},
	{what: "memory", used: "container_memory_working_set_bytes", total: "container_spec_memory_limit_bytes"},
	{what: "memory", used: "container_memory_usage_bytes", total: "container_spec_memory_limit_bytes"},
	{what: "memory", used: "k8s_pod_memory_working_set_bytes", total: "k8s_container_memory_limit_bytes"},
	{what: "Java heap", used: "jvm_memory_used_bytes", total: "jvm_memory_limit_bytes"},
	{what: "Go memory", used: "go_memory_used_bytes", total: "go_memory_limit_bytes"},
	{what: "memory", byState: "system_memory_usage_bytes"},
	{what: "memory", free: "node_memory_MemAvailable_bytes", total: "node_memory_MemTotal_bytes"},
}

// alone are metrics of memory without anything to compare them with.
var alone = []string{"process_memory_usage_bytes", "process_memory_usage", "process_resident_memory_bytes"}

// Labels by which one series of a gauge belongs to another, from the widest to the narrowest place.
var (
	placeLabels = []string{"host_name", "k8s_node_name", "node", "instance", "k8s_pod_name", "pod", "k8s_container_name", "container", "persistentvolumeclaim", "k8s_volume_name", "mountpoint"}
	nameLabels  = []string{"mountpoint", "persistentvolumeclaim", "k8s_volume_name"}
	ownerLabels = []string{"k8s_pod_name", "pod", "k8s_container_name", "container", "host_name", "k8s_node_name", "node", "instance"}
	// virtual are file systems that are full by design, or are memory.
	virtual = []string{"squashfs", "tmpfs", "devtmpfs", "ramfs", "iso9660", "overlay"}
)

// reading is how full one thing is.
type reading struct {
	what   string
	share  float64
	labels map[string]string
	metric string
}

// resourceLines tells how full disks and memory are, the fullest first, each place once.
func resourceLines(a about, all []telemetry.ResourceGauge) []notify.Line {
	byMetric := map[string][]telemetry.ResourceGauge{}
	for _, g := range all {
		if fs := cmp.Or(g.Labels["fstype"], g.Labels["type"]); slices.Contains(virtual, fs) {
			continue
		}
		byMetric[g.Metric] = append(byMetric[g.Metric], g)
	}
	var found []reading
	known := map[string]bool{}
	for _, g := range gauges {
		for _, r := range g.read(byMetric) {
			// The same disk may be told by several exporters.
			key := r.what + "|" + placeOf(r.labels)
			if r.share >= 0 && r.share <= 1.5 && !known[key] {
				known[key] = true
				found = append(found, r)
			}
		}
	}
	slices.SortStableFunc(found, func(x, y reading) int { return cmp.Compare(y.share, x.share) })
	from, to := a.window()
	var lines []notify.Line
	for _, r := range found {
		lines = append(lines, notify.Line{
			Text: sentence(r.name(), fmt.Sprintf(" %.0f %% ", r.share*100)+r.word()), Link: a.link("metrics", from, to, "metric", r.metric),
		})
	}
	if len(lines) == 0 {
		lines = processLines(a, byMetric)
	}
	return atMost(lines, a.link("metrics", from, to))
}

// processLines tells the memory of processes whose limit nobody knows.
func processLines(a about, byMetric map[string][]telemetry.ResourceGauge) []notify.Line {
	from, to := a.window()
	for _, metric := range alone {
		most, n := 0.0, 0
		for _, g := range byMetric[metric] {
			most = max(most, g.Value)
			n++
		}
		if n == 0 {
			continue
		}
		text := "a process has " + rule.Quantity(most, "By") + " of memory"
		if n > 1 {
			text = fmt.Sprintf("the largest of %d processes has %s of memory", n, rule.Quantity(most, "By"))
		}
		return []notify.Line{{Text: text, Link: a.link("metrics", from, to, "metric", metric)}}
	}
	return nil
}

// read makes the readings that a gauge's metrics allow.
func (g gauge) read(byMetric map[string][]telemetry.ResourceGauge) []reading {
	switch {
	case g.share != "":
		var out []reading
		for _, one := range byMetric[g.share] {
			out = append(out, reading{g.what, one.Value, one.Labels, g.share})
		}
		return out
	case g.byState != "":
		return g.ofStates(byMetric[g.byState])
	}
	type sums struct {
		part, total float64
		labels      map[string]string
		both        bool
	}
	places := map[string]*sums{}
	var order []string
	part := cmp.Or(g.used, g.free)
	for _, one := range byMetric[part] {
		key := placeOf(one.Labels)
		if places[key] == nil {
			places[key] = &sums{labels: one.Labels}
			order = append(order, key)
		}
		places[key].part += one.Value
	}
	for _, one := range byMetric[g.total] {
		if s := places[placeOf(one.Labels)]; s != nil && one.Value > 0 {
			s.total += one.Value
			s.both = true
		}
	}
	var out []reading
	for _, key := range order {
		s := places[key]
		if !s.both {
			continue
		}
		share := s.part / s.total
		if g.free != "" {
			share = 1 - share
		}
		out = append(out, reading{g.what, share, s.labels, part})
	}
	return out
}

// ofStates adds up what is used, free and the like of each place.
func (g gauge) ofStates(all []telemetry.ResourceGauge) []reading {
	type sums struct {
		used, total float64
		labels      map[string]string
	}
	places := map[string]*sums{}
	var order []string
	for _, one := range all {
		key := placeOf(one.Labels)
		if places[key] == nil {
			places[key] = &sums{labels: one.Labels}
			order = append(order, key)
		}
		places[key].total += one.Value
		if one.Labels["state"] == "used" {
			places[key].used += one.Value
		}
	}
	var out []reading
	for _, key := range order {
		if s := places[key]; s.total > 0 {
			out = append(out, reading{g.what, s.used / s.total, s.labels, g.byState})
		}
	}
	return out
}

// placeOf is what series about one place have in common.
func placeOf(labels map[string]string) string {
	var b strings.Builder
	for _, name := range placeLabels {
		b.WriteString(labels[name] + "|")
	}
	return b.String()
}

// word is how people speak of it: disks are full, memory is used.
func (r reading) word() string {
	if r.what == "disk" || r.what == "volume" {
		return "full"
	}
	return "used"
}

// name is what is full: "disk / of db-1".
func (r reading) name() string {
	text := r.what
	if n := slices.IndexFunc(nameLabels, func(label string) bool { return r.labels[label] != "" }); n >= 0 {
		text += " " + r.labels[nameLabels[n]]
	}
	for _, label := range ownerLabels {
		if v := r.labels[label]; v != "" {
			return text + " of " + v
		}
	}
	return text
}
