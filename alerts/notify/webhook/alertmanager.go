package webhook

import (
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/midwatch/midwatch/alerts/notify"
)

// group is the body of Alertmanager's webhook, version 4, as Alertmanager 0.28 sends it.
type group struct {
	Receiver          string            `json:"receiver"`
	Status            string            `json:"status"`
	Alerts            []alert           `json:"alerts"`
	GroupLabels       map[string]string `json:"groupLabels"`
	CommonLabels      map[string]string `json:"commonLabels"`
	CommonAnnotations map[string]string `json:"commonAnnotations"`
	ExternalURL       string            `json:"externalURL"`
	Version           string            `json:"version"`
	GroupKey          string            `json:"groupKey"`
	TruncatedAlerts   uint64            `json:"truncatedAlerts"`
}

type alert struct {
	Status       string            `json:"status"`
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations"`
	StartsAt     time.Time         `json:"startsAt"`
	EndsAt       time.Time         `json:"endsAt"` // the zero time while it fires, as there
	GeneratorURL string            `json:"generatorURL"`
	Fingerprint  string            `json:"fingerprint"`
}

func empty(settings Settings) group {
	return group{
		Receiver: settings.Name, Status: "resolved", Alerts: []alert{}, GroupLabels: map[string]string{}, CommonLabels: map[string]string{},
		CommonAnnotations: map[string]string{}, ExternalURL: settings.RunsAt, Version: "4", GroupKey: "{}:{}",
	}
}

func alertmanager(m notify.Message, settings Settings) group {
	g := empty(settings)
	g.GroupKey = fmt.Sprintf("{}/{incident=%q}:{}", m.Incident)
	if m.Incident == "" {
		g.GroupKey = fmt.Sprintf("{}/{key=%q}:{}", m.Key)
	}
	maps.Copy(g.GroupLabels, m.Labels)
	name := m.Rule.Name
	if name == "" {
		name = "Midwatch " + string(m.Action)
	}
	common := map[string]string{"alertname": name, "severity": m.Severity}
	for label, value := range map[string]string{"organisation": m.Organisation, "project": m.Project, "team": m.Team} {
		if value != "" {
			common[label] = value
		}
	}
	for label, value := range m.Labels {
		if _, taken := common[label]; !taken {
			common[label] = value
		}
	}
	annotations := map[string]string{"summary": m.Title}
	for annotation, value := range map[string]string{"description": notify.Short(m), "runbook_url": m.Runbook, "first_action": m.FirstAction} {
		if value != "" {
			annotations[annotation] = value
		}
	}
	g.CommonAnnotations, g.CommonLabels = maps.Clone(annotations), maps.Clone(common)

	instances := m.Instances
	if len(instances) == 0 {
		instances = []notify.Instance{{StartsAt: m.Since, EndsAt: m.Ended}}
	}
	for _, i := range instances {
		a := alert{
			Status: "firing", Labels: maps.Clone(i.Labels), Annotations: maps.Clone(annotations), StartsAt: i.StartsAt.UTC(),
			EndsAt: i.EndsAt.UTC(), GeneratorURL: m.URL,
		}
		if a.Labels == nil {
			a.Labels = map[string]string{}
		}
		maps.Copy(a.Labels, common)
		maps.Copy(a.Labels, i.Labels)
		a.Labels["alertname"] = name
		if i.Summary != "" {
			a.Annotations["summary"] = i.Summary
		}
		if a.StartsAt.IsZero() {
			a.StartsAt = m.At.UTC()
		}
		switch {
		case m.Action.Ends():
			if a.EndsAt.IsZero() {
				a.EndsAt = later(m.Ended, m.At).UTC()
			}
		case m.Incident == "":
			// what belongs to no incident is never resolved by a message: it ends by itself.
			a.EndsAt = m.At.Add(5 * time.Minute).UTC()
		}
		if m.Action.Ends() || (!i.EndsAt.IsZero() && !i.EndsAt.After(m.At)) {
			a.Status = "resolved"
		}
		if a.Status == "firing" {
			g.Status = "firing"
		}
		// a label of one instance only is not common.
		maps.DeleteFunc(g.CommonLabels, func(label, value string) bool { return a.Labels[label] != value })
		maps.DeleteFunc(g.CommonAnnotations, func(annotation, value string) bool { return a.Annotations[annotation] != value })
		a.Fingerprint = fingerprint(a.Labels)
		g.Alerts = append(g.Alerts, a)
	}
	return g
}

func later(t, otherwise time.Time) time.Time {
	if t.IsZero() {
		return otherwise
	}
	return t
}

// fingerprint is Prometheus' of a label set: FNV-1a over names and values, each followed by 0xff.
func fingerprint(labels map[string]string) string {
	h := fnv.New64a()
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		_, _ = h.Write([]byte(name + "\xff" + labels[name] + "\xff"))
	}
	s := strconv.FormatUint(h.Sum64(), 16)
	return "0000000000000000"[len(s):] + s
}
