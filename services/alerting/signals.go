package alerting

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/midwatch/midwatch/alerts/incident"
	"github.com/midwatch/midwatch/alerts/monitor"
	"github.com/midwatch/midwatch/alerts/oncall"
	"github.com/midwatch/midwatch/alerts/rule"
	"github.com/midwatch/midwatch/storage/catalog"
)

// flip is a change of a monitor that may be worth telling somebody.
type flip struct {
	monitor       catalog.Monitor
	cfg           monitor.Config
	before, after monitor.State
	at            time.Time
}

func broken(s monitor.Status) bool { return s == monitor.Failed || s == monitor.Missed }

// signal is what a flip says, if it says anything.
func (f flip) signal(r rule.Rule, held bool) (incident.Signal, bool) {
	s := incident.Signal{Kind: incident.Fire, At: f.at, Instance: f.instance(r)}
	was, is := broken(f.before.Status), broken(f.after.Status)
	switch {
	case is && (!was || f.after.Streak > f.before.Streak):
		// Each further bad run says so again: the first may have been during maintenance.
		if held {
			return s, false
		}
		return s, true
	case was && !is:
		s.Kind = incident.Resolve
		if f.after.Status == monitor.Paused {
			s.Reason = rule.RulePaused
		}
		return s, true
	case !was && !is && f.before.Streak > 0 && f.after.Streak == 0:
		s.Kind, s.Section = incident.Note, incident.SectionHealed
		s.Text = fmt.Sprintf("%s: %d of its runs went wrong, and the next went well", f.name(), f.before.Streak)
		s.Instance.Since = f.before.LastCheckinAt
		return s, true
	}
	return s, false
}

func (f flip) name() string { return cmp.Or(f.monitor.Name, f.monitor.Slug) }

func (f flip) instance(r rule.Rule) incident.Instance {
	since := f.after.Since
	in := incident.Instance{
		Key: "cron:" + f.monitor.Slug, Project: f.monitor.Project, Rule: r.ID, Name: cmp.Or(r.Name, f.name()), Kind: rule.Cron,
		Severity: rule.Ticket, Class: rule.Symptom, Since: since, FiredAt: f.at,
		Headline: f.name() + ": " + cmp.Or(monitor.Cause(f.cfg, f.after), string(f.after.Status)),
		Labels: map[string]string{
			"monitor": f.monitor.Slug, "service": cmp.Or(r.Service, f.monitor.Slug), "area": rule.Correctness, "kind": string(rule.Cron),
		},
		Summary: r.Summary, FirstAction: r.FirstAction, Runbook: r.RunbookURL, Team: r.Team, Quiet: r.Quiet == rule.QuietHold,
	}
	if r.Environment != "" {
		in.Labels["environment"] = r.Environment
	}
	if len(r.Levels) > 0 {
		in.Severity = r.Levels[0].Severity
	}
	maps.Copy(in.Labels, r.Labels)
	in.Labels["severity"] = string(in.Severity)
	return in
}

// say applies what flips say to the incidents, in the transaction that changes the monitors.
func (a *Alerter) say(ctx context.Context, tx *catalog.Tx, flips []flip, now time.Time) error {
	if len(flips) == 0 {
		return nil
	}
	told := map[string][]incident.Signal{}
	for _, f := range flips {
		project, err := tx.Project(ctx, f.monitor.Project)
		if errors.Is(err, catalog.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		r, ok, err := a.cron.rule(ctx, tx, project, f.monitor.Slug)
		if err != nil {
			return err
		}
		if !ok {
			continue // its rule is paused
		}
		held, err := a.cron.held(ctx, tx, project, f.instance(r).Labels, f.at)
		if err != nil {
			return err
		}
		if s, ok := f.signal(r, held); ok {
			told[project.OrganisationID] = append(told[project.OrganisationID], s)
		}
	}
	organisations := make([]string, 0, len(told))
	for id := range told {
		organisations = append(organisations, id)
	}
	slices.Sort(organisations)
	for _, id := range organisations {
		if err := a.desk.Apply(ctx, tx, id, told[id], now); err != nil {
			return err
		}
	}
	return nil
}

// cronRules are the rules about monitors and the maintenance windows of organisations, kept until some
// document changes.
type cronRules struct {
	mu      sync.Mutex
	version int64
	rules   map[uint32][]rule.Rule
	windows map[string][]oncall.Window
}

// refresh forgets what is old.
func (c *cronRules) refresh(ctx context.Context, tx *catalog.Tx) error {
	version, err := tx.DocumentsVersion(ctx)
	if err != nil {
		return err
	}
	if version != c.version || c.rules == nil {
		c.version, c.rules, c.windows = version, map[uint32][]rule.Rule{}, map[string][]oncall.Window{}
	}
	return nil
}

// rule returns the rule of a monitor: the one that names it, or one for all, or the zero Rule, by which
// it is a ticket. It returns false where its rule is paused.
func (c *cronRules) rule(ctx context.Context, tx *catalog.Tx, project catalog.Project, slug string) (rule.Rule, bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.refresh(ctx, tx); err != nil {
		return rule.Rule{}, false, err
	}
	rules, known := c.rules[project.Number]
	if !known {
		documents, err := tx.Documents(ctx, project.OrganisationID, incident.DocRule, project.Number)
		if err != nil {
			return rule.Rule{}, false, err
		}
		for _, d := range documents {
			var r rule.Rule
			if json.Unmarshal(d.Body, &r) == nil && r.Kind == rule.Cron {
				r.ID = d.ID
				rules = append(rules, r)
			}
		}
		c.rules[project.Number] = rules
	}
	var all rule.Rule
	for _, r := range rules {
		switch r.Query.Monitor {
		case slug:
			return r, r.State == rule.Live, nil
		case "":
			all = r
		}
	}
	return all, all.ID == "" || all.State == rule.Live, nil
}

// held reports whether maintenance covers what has these labels.
func (c *cronRules) held(ctx context.Context, tx *catalog.Tx, project catalog.Project, labels map[string]string, at time.Time) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.refresh(ctx, tx); err != nil {
		return false, err
	}
	windows, known := c.windows[project.OrganisationID]
	if !known {
		documents, err := tx.Documents(ctx, project.OrganisationID, incident.DocWindow, 0)
		if err != nil {
			return false, err
		}
		for _, d := range documents {
			var w oncall.Window
			if json.Unmarshal(d.Body, &w) == nil {
				windows = append(windows, w)
			}
		}
		c.windows[project.OrganisationID] = windows
	}
	return slices.ContainsFunc(windows, func(w oncall.Window) bool { return w.Covers(labels, at) }), nil
}
