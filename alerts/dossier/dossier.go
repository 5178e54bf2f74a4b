// Package dossier puts together what was known when an incident began: what users feel, the chart of
// the value, and what else happened at the time that may be why. It is frozen with the incident's
// first message, so that all who are told read the same.
package dossier

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/midwatch/midwatch/alerts/incident"
	"github.com/midwatch/midwatch/alerts/notify"
	"github.com/midwatch/midwatch/alerts/oncall"
	"github.com/midwatch/midwatch/alerts/probe"
	"github.com/midwatch/midwatch/alerts/rule"
	"github.com/midwatch/midwatch/storage/catalog"
	"github.com/midwatch/midwatch/storage/telemetry"
)

const (
	// buildTimeout bounds a dossier, partTimeout one part of it: no message waits for a slow read.
	buildTimeout = 1800 * time.Millisecond
	partTimeout  = 1200 * time.Millisecond

	// lead is how long before the first bad slot a trouble may have begun: what a slot tells is that of
	// a window before it.
	lead = 5 * time.Minute
	// compared is the time before a trouble with which it is compared, watched the most that is looked
	// at of the trouble itself.
	compared = time.Hour
	watched  = 2 * time.Hour
	// deployReach is how long before a trouble a deploy may be its cause.
	deployReach = 2 * time.Hour

	maxFound     = 20 // that are read of one thing
	maxLines     = 5  // of a section
	maxCharacter = 140
)

// Dossier is what was known at a time.
type Dossier struct {
	At       time.Time        `json:"at"`
	Sections []notify.Section `json:"sections,omitempty"`
	Facts    []notify.Fact    `json:"facts,omitempty"`
	Chart    *notify.Chart    `json:"chart,omitempty"`
	Links    []notify.Link    `json:"links,omitempty"`
}

// staleAfter is how much younger a message than its dossier may be without saying so.
const staleAfter = 10 * time.Minute

// Add puts a dossier, as JSON, into a message. Adding it twice changes nothing more.
func Add(m *notify.Message, frozen []byte) error {
	var d Dossier
	if err := json.Unmarshal(frozen, &d); err != nil {
		return fmt.Errorf("read the dossier of incident %s: %w", m.Incident, err)
	}
	if m.At.Sub(d.At) > staleAfter {
		d.Facts = append(d.Facts, notify.Fact{Name: "Known at", Value: clock(d.At, m.At, m.Location())})
	}
	for _, s := range d.Sections {
		if !slices.ContainsFunc(m.Sections, func(o notify.Section) bool { return o.Title == s.Title }) {
			m.Sections = append(m.Sections, s)
		}
	}
	for _, f := range d.Facts {
		if !slices.ContainsFunc(m.Facts, func(o notify.Fact) bool { return o.Name == f.Name }) {
			m.Facts = append(m.Facts, f)
		}
	}
	for _, l := range d.Links {
		if !slices.Contains(m.Links, l) {
			m.Links = append(m.Links, l)
		}
	}
	if d.Chart != nil {
		m.Chart = d.Chart
	}
	return nil
}

// Config says what a Builder works with.
type Config struct {
	// URL is that of the pages, without a slash at its end.
	URL string
	// Now is the database's clock.
	Now func(ctx context.Context) (time.Time, error)
}

// Builder makes dossiers. It is safe for concurrent use.
type Builder struct {
	cfg   Config
	db    *catalog.DB
	store *telemetry.Store
}

// New makes a Builder.
func New(cfg Config, db *catalog.DB, store *telemetry.Store) *Builder {
	return &Builder{cfg: cfg, db: db, store: store}
}

// about is what the parts of a dossier are about, and how they speak of it.
type about struct {
	catalog.Incident
	worst       incident.Instance
	environment string
	at          time.Time
	onset       time.Time // when the trouble may have begun, before Since
	zone        *time.Location
	pages       string // address of the project's pages; empty without a project
}

// part is one thing that a dossier tells, or the error of reading it.
type part struct {
	name    string
	section notify.Section
	facts   []notify.Fact
	chart   *notify.Chart
	err     error
}

// Build makes the dossier of an incident within 1.8 seconds. A part that cannot be read in time is
// named instead of told; the error is that of the clock or of the incident itself.
func (b *Builder) Build(ctx context.Context, of catalog.Incident) (Dossier, error) {
	ctx, cancel := context.WithTimeout(ctx, buildTimeout)
	defer cancel()
	a, err := b.about(ctx, of)
	if err != nil {
		return Dossier{}, fmt.Errorf("begin the dossier of incident %s: %w", of.ID, err)
	}
	// In the order in which they are told.
	readers := []struct {
		name string
		read func(ctx context.Context, a about) (part, error)
		// telemetry says that it is about a project.
		telemetry bool
	}{
		{"users", b.users, true},
		{"chart", b.chart, true},
		{"deploys", b.deploys, true},
		{"errors", b.issues, true},
		{"log messages", b.logs, true},
		{"jobs", b.jobs, true},
		{"probes", b.probes, true},
		{"disk and memory", b.resources, true},
		{"other incidents", b.others, false},
		{"the last time", b.lastTime, false},
	}
	parts := make([]part, len(readers))
	var g errgroup.Group
	for i, r := range readers {
		if r.telemetry && a.Project == 0 {
			continue
		}
		g.Go(func() error {
			ctx, cancel := context.WithTimeout(ctx, partTimeout)
			defer cancel()
			p, err := r.read(ctx, a)
			p.name, p.err = r.name, err
			parts[i] = p
			return nil // a part that fails is no reason to have none
		})
	}
	_ = g.Wait() // no part returns an error
	return assemble(a, parts), nil
}

// about reads what the parts have in common.
func (b *Builder) about(ctx context.Context, of catalog.Incident) (about, error) {
	a := about{Incident: of, zone: time.UTC}
	var i incident.Incident
	if err := json.Unmarshal(of.Body, &i); err != nil {
		return a, err
	}
	a.worst, _ = i.Worst()
	a.environment = i.Labels["environment"]
	now, err := b.cfg.Now(ctx)
	if err != nil {
		return a, err
	}
	a.at = now.UTC()
	a.onset = a.Since.Add(-lead)
	if !a.onset.Before(a.at) {
		a.onset = a.at.Add(-lead)
	}
	if b.cfg.URL != "" && of.Project != 0 {
		a.pages = fmt.Sprintf("%s/p/%d/", b.cfg.URL, of.Project)
	}
	// Without its team times are told in UTC.
	if doc, err := b.db.Document(ctx, of.Organisation, incident.DocTeam, 0, of.Team); err == nil {
		var team oncall.Team
		if json.Unmarshal(doc.Body, &team) == nil {
			a.zone = location(team.Zone)
		}
	}
	return a, nil
}

func location(name string) *time.Location { return notify.Message{Zone: name}.Location() }

// assemble makes one dossier of its parts.
func assemble(a about, parts []part) Dossier {
	d := Dossier{At: a.at}
	var slow, failed []string
	for _, p := range parts {
		switch {
		case p.err == nil:
		case errors.Is(p.err, context.DeadlineExceeded) || isLimit(p.err):
			slow = append(slow, p.name)
			continue
		default:
			failed = append(failed, p.name)
			continue
		}
		if len(p.section.Lines) > 0 {
			d.Sections = append(d.Sections, p.section)
		}
		d.Facts = append(d.Facts, p.facts...)
		if p.chart != nil {
			d.Chart = p.chart
		}
	}
	var unknown []notify.Line
	if len(slow) > 0 {
		unknown = append(unknown, notify.Line{Text: "not known: " + strings.Join(slow, ", ") + " (reading took too long)"})
	}
	if len(failed) > 0 {
		unknown = append(unknown, notify.Line{Text: "not known: " + strings.Join(failed, ", ") + " (could not be read)"})
	}
	if len(unknown) > 0 {
		d.Sections = append(d.Sections, notify.Section{Title: "Left out", Lines: unknown})
	}
	if a.pages != "" {
		from, to := a.window()
		d.Links = append(d.Links, notify.Link{Text: "Logs of this time", URL: a.link("logs", from, to, "service", a.Service)})
	}
	return d
}

func isLimit(err error) bool {
	_, ok := errors.AsType[*telemetry.LimitError](err)
	return ok
}

// window is what a chart or a list of this trouble shows: from an hour before until now.
func (a about) window() (from, to time.Time) {
	return a.Since.Add(-compared).Truncate(time.Second), a.until().Add(time.Second).Truncate(time.Second)
}

// until is the end of what is looked at.
func (a about) until() time.Time {
	if latest := a.onset.Add(watched); latest.Before(a.at) {
		return latest
	}
	return a.at
}

// scopes are the time since the trouble began and the hour before that.
func (a about) scopes() (before, now telemetry.Scope, err error) {
	if before, err = telemetry.NewScope(a.Project, a.onset.Add(-compared), a.onset); err != nil {
		return before, now, err
	}
	now, err = telemetry.NewScope(a.Project, a.onset, a.until())
	return before, now, err
}

// link is the address of a page of the project for a time, with further parameters in pairs; those
// without a value are left out.
func (a about) link(page string, from, to time.Time, parameters ...string) string {
	if a.pages == "" {
		return ""
	}
	var query []string
	add := func(name, value string) {
		if value != "" {
			query = append(query, name+"="+strings.ReplaceAll(url.QueryEscape(value), "%3A", ":"))
		}
	}
	if !from.IsZero() {
		add("from", from.UTC().Format(time.RFC3339))
		add("to", to.UTC().Format(time.RFC3339))
	}
	for i := 0; i+1 < len(parameters); i += 2 {
		add(parameters[i], parameters[i+1])
	}
	if len(query) == 0 {
		return a.pages + page
	}
	return a.pages + page + "?" + strings.Join(query, "&")
}

// users tells what users feel.
func (b *Builder) users(ctx context.Context, a about) (part, error) {
	sc, err := telemetry.NewScope(a.Project, a.onset, a.until())
	if err != nil {
		return part{}, err
	}
	var events, users int64
	ask := telemetry.ErrorCountsAsk{Step: sc.To().Sub(sc.From()).Truncate(time.Second) + time.Second, Environment: a.environment}
	err = b.store.ErrorCounts(ctx, sc, ask, func(_ int, _ string, e, u int64) error {
		events, users = events+e, users+u
		return nil
	})
	if err != nil {
		return part{}, err
	}
	return feel(a, events, users), nil
}

// deploys tells what went live shortly before.
func (b *Builder) deploys(ctx context.Context, a about) (part, error) {
	from := a.Since.Add(-deployReach)
	noted, err := b.db.Deploys(ctx, a.Project, from, a.until())
	if err != nil {
		return part{}, err
	}
	sc, err := telemetry.NewScope(a.Project, from, a.until())
	if err != nil {
		return part{}, err
	}
	seen, err := b.store.ReleasesSeen(ctx, sc, maxFound)
	if err != nil && len(noted) == 0 {
		return part{}, err
	}
	return part{section: notify.Section{Title: "Deploys", Lines: deployLines(a, noted, seen)}}, nil
}

// issues tells which errors are new or happen more often.
func (b *Builder) issues(ctx context.Context, a about) (part, error) {
	before, now, err := a.scopes()
	if err != nil {
		return part{}, err
	}
	moves, err := b.store.IssueMovers(ctx, before, now, maxFound)
	if err != nil || len(moves) == 0 {
		return part{}, err
	}
	ids := make([]uint64, len(moves))
	for i, m := range moves {
		ids[i] = m.ID
	}
	known, err := b.db.Issues(ctx, a.Project, ids)
	if err != nil {
		return part{}, err
	}
	return part{section: notify.Section{Title: "Errors that are new or more frequent", Lines: issueLines(a, moves, known)}}, nil
}

// logs tells which messages are new or more frequent.
func (b *Builder) logs(ctx context.Context, a about) (part, error) {
	before, now, err := a.scopes()
	if err != nil {
		return part{}, err
	}
	patterns, err := b.store.LogPatterns(ctx, before, now, a.Service, maxFound)
	if err != nil {
		return part{}, err
	}
	return part{section: notify.Section{Title: "Log messages that are new or more frequent", Lines: logLines(a, patterns)}}, nil
}

// jobs tells which cron jobs are late or failed.
func (b *Builder) jobs(ctx context.Context, a about) (part, error) {
	monitors, err := b.db.Monitors(ctx, a.Project)
	if err != nil {
		return part{}, err
	}
	return part{section: notify.Section{Title: "Jobs that failed or are late", Lines: jobLines(a, monitors)}}, nil
}

// probeReach is how far back the last result of a probe is looked for.
const probeReach = 10 * time.Minute

// probes tells which probes fail.
func (b *Builder) probes(ctx context.Context, a about) (part, error) {
	to := a.at.Truncate(time.Second)
	sc, err := telemetry.NewScope(a.Project, to.Add(-probeReach), to)
	if err != nil {
		return part{}, err
	}
	up, err := b.store.MetricRange(ctx, sc, telemetry.RangeQuery{
		Metric: probe.MetricUp, Aggregate: "last", Step: time.Minute,
		By: []string{probe.LabelProbe, probe.LabelName, probe.LabelRegion},
	})
	switch {
	case errors.Is(err, telemetry.ErrNotFound):
		return part{}, nil
	case err != nil:
		return part{}, err
	}
	return part{section: notify.Section{Title: "Probes that fail", Lines: probeLines(a, up.Series)}}, nil
}

// resources tells how full disks and memory of the service are.
func (b *Builder) resources(ctx context.Context, a about) (part, error) {
	if a.Service == "" {
		return part{}, nil
	}
	const most = 100
	gauges, err := b.store.ResourceGauges(ctx, a.Project, a.Service, a.at, most)
	if err != nil {
		return part{}, err
	}
	return part{section: notify.Section{Title: "Disk and memory", Lines: resourceLines(a, gauges)}}, nil
}

// others tells what else is bad.
func (b *Builder) others(ctx context.Context, a about) (part, error) {
	open, err := b.db.Incidents(ctx, catalog.IncidentFilter{Organisation: a.Organisation, Project: a.Project, State: catalog.IncidentOpen, Limit: 200})
	if err != nil {
		return part{}, err
	}
	return part{section: notify.Section{Title: "Also open", Lines: otherLines(a, open)}}, nil
}

// lastTime tells what was done when the same was bad before.
func (b *Builder) lastTime(ctx context.Context, a about) (part, error) {
	const most = 20
	before, err := b.db.PreviousIncidents(ctx, a.Incident, most)
	if err != nil || len(before) == 0 {
		return part{}, err
	}
	last := before[0]
	for _, i := range before {
		if ruleOf(i) == a.worst.Rule && a.worst.Rule != "" {
			last = i
			break
		}
	}
	entries, err := b.db.IncidentEntries(ctx, last.ID)
	if err != nil {
		return part{}, err
	}
	people, err := b.db.Documents(ctx, a.Organisation, incident.DocPerson, 0)
	if err != nil {
		return part{}, err
	}
	names := make(map[string]string, len(people))
	for _, p := range people {
		var person oncall.Person
		if json.Unmarshal(p.Body, &person) == nil {
			names[p.ID] = person.Name
		}
	}
	return part{section: notify.Section{Title: "The last time", Lines: lastLines(a, last, entries, names)}}, nil
}

// ruleOf is the rule that an incident is known by; empty if there is none.
func ruleOf(i catalog.Incident) string {
	var body incident.Incident
	if json.Unmarshal(i.Body, &body) != nil {
		return ""
	}
	worst, _ := body.Worst()
	return worst.Rule
}

// chart draws the value from an hour before until now.
func (b *Builder) chart(ctx context.Context, a about) (part, error) {
	if a.worst.Rule == "" || !charted(a.worst.Kind) {
		return part{}, nil
	}
	doc, err := b.db.Document(ctx, a.Organisation, incident.DocRule, a.Project, a.worst.Rule)
	switch {
	case errors.Is(err, catalog.ErrNotFound):
		return part{}, nil // it was removed since
	case err != nil:
		return part{}, err
	}
	r, err := rule.Parse(doc.Body)
	if err != nil {
		return part{}, err
	}
	c, err := readCurve(ctx, b.store, a, doc.Version, r)
	if err != nil || !c.any() {
		return part{}, err
	}
	chart, err := c.draw(a)
	if err != nil {
		return part{}, err
	}
	return part{chart: &chart, facts: c.facts()}, nil
}

// issueAddress is the name of an issue in addresses.
func issueAddress(id uint64) string {
	text := strconv.FormatUint(id, 16)
	return "errors/" + strings.Repeat("0", 16-len(text)) + text
}
