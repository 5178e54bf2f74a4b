// Package external takes in alerts of rules that somebody else evaluates: it speaks the API of an
// Alertmanager to a Prometheus, and turns what begins and ends to fire into incidents.
package external

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/midwatch/midwatch/alerts/desk"
	"github.com/midwatch/midwatch/alerts/incident"
	"github.com/midwatch/midwatch/alerts/rule"
	"github.com/midwatch/midwatch/storage/catalog"
	"github.com/midwatch/midwatch/storage/follow"
)

const (
	maxBodyBytes   = 4 << 20
	maxAlerts      = 2000 // of one request
	maxFiring      = 5000 // of one project
	maxLabels      = 64
	maxLabelName   = 128
	maxLabelValue  = 1000
	maxAnnotations = 32
	maxAnnotation  = 2000
	maxHeadline    = 110

	// resolveTimeout is how long an alert fires that says nothing about its end, as in Alertmanager.
	resolveTimeout = 5 * time.Minute
	// maxEnd bounds how far ahead an end may lie: whoever sends goes on sending.
	maxEnd = 24 * time.Hour
	// again is how soon after its end an alert is the same trouble as before.
	again = 10 * time.Minute
	// expireBatch is how many alerts are ended at once, expireEvery how often is looked for them.
	expireBatch = 500
	expireEvery = 15 * time.Second
)

// External keeps others' alerts. It is safe for concurrent use.
type External struct {
	db   *catalog.DB
	desk *desk.Desk
	log  *slog.Logger
}

// New makes an External that tells of alerts at the desk.
func New(db *catalog.DB, d *desk.Desk, log *slog.Logger) *External {
	return &External{db: db, desk: d, log: log}
}

// alert is one as Prometheus sends it.
type alert struct {
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations"`
	StartsAt     time.Time         `json:"startsAt"`
	EndsAt       time.Time         `json:"endsAt"`
	GeneratorURL string            `json:"generatorURL"`
}

// body is what is kept of an alert beside its times.
type body struct {
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations,omitempty"`
	GeneratorURL string            `json:"generator_url,omitempty"`
}

// complete checks an alert and fills in what was left out. The message of its error is for who sends.
func (a *alert) complete(now time.Time) error {
	maps.DeleteFunc(a.Labels, func(_, value string) bool { return value == "" }) // an empty label is none
	switch {
	case len(a.Labels) == 0:
		return errors.New("an alert needs a label")
	case len(a.Labels) > maxLabels:
		return fmt.Errorf("%d labels are too many, %d is the limit", len(a.Labels), maxLabels)
	case len(a.Annotations) > maxAnnotations:
		return fmt.Errorf("%d annotations are too many, %d is the limit", len(a.Annotations), maxAnnotations)
	}
	for name, value := range a.Labels {
		if name == "" || len(name) > maxLabelName || len(value) > maxLabelValue || !utf8.ValidString(name) || !utf8.ValidString(value) {
			return fmt.Errorf("label %.40q: its name or value is empty, too long or no text", name)
		}
	}
	for name, value := range a.Annotations {
		a.Annotations[name] = clip(value, maxAnnotation)
	}
	switch {
	case !a.StartsAt.IsZero():
	case a.EndsAt.IsZero() || a.EndsAt.After(now):
		a.StartsAt = now
	default:
		a.StartsAt = a.EndsAt
	}
	if a.EndsAt.IsZero() {
		a.EndsAt = now.Add(resolveTimeout)
	}
	if a.EndsAt.Before(a.StartsAt) {
		return errors.New("it ends before it starts")
	}
	if most := now.Add(maxEnd); a.EndsAt.After(most) {
		a.EndsAt = most
	}
	a.StartsAt, a.EndsAt = a.StartsAt.UTC(), a.EndsAt.UTC()
	return nil
}

// identity is the same for the same labels, and for nothing else.
func identity(labels map[string]string) string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		fmt.Fprintf(h, "%d:%s%d:%s", len(name), name, len(labels[name]), labels[name])
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// errTooMany says that no more alerts of a project may fire.
var errTooMany = fmt.Errorf("more than %d alerts of a project cannot fire at once", maxFiring)

// take keeps alerts of a project, and tells of what begins and ends.
func (x *External) take(ctx context.Context, project catalog.Project, alerts []alert, now time.Time) error {
	err := x.db.InTx(ctx, func(tx *catalog.Tx) error {
		firing, err := tx.FiringExternalAlerts(ctx, project.Number)
		if err != nil {
			return err
		}
		var signals []incident.Signal
		for _, a := range alerts {
			signal, err := x.one(ctx, tx, project.Number, a, now, &firing)
			if err != nil {
				return err
			}
			if signal != nil {
				signals = append(signals, *signal)
			}
		}
		return x.desk.Apply(ctx, tx, project.OrganisationID, signals, now)
	})
	if err != nil {
		return fmt.Errorf("take alerts of project %d: %w", project.Number, err)
	}
	x.desk.Woke()
	return nil
}

// one keeps an alert and returns what is to be told of it, or nil.
func (x *External) one(ctx context.Context, tx *catalog.Tx, project uint32, a alert, now time.Time, firing *int64) (*incident.Signal, error) {
	id := identity(a.Labels)
	old, err := tx.ExternalAlert(ctx, project, id)
	known := err == nil
	if err != nil && !errors.Is(err, catalog.ErrNotFound) {
		return nil, err
	}
	fires := a.EndsAt.After(now)
	if !fires && !old.Firing {
		return nil, nil // it ended before it was known, or its end is told again
	}
	begins := fires && !old.Firing
	if begins {
		if *firing++; *firing > maxFiring {
			return nil, errTooMany
		}
	}
	kept := body{a.Labels, a.Annotations, clip(a.GeneratorURL, maxAnnotation)}
	data, err := json.Marshal(kept)
	if err != nil {
		return nil, fmt.Errorf("write an alert: %w", err)
	}
	row := catalog.ExternalAlert{Project: project, ID: id, StartsAt: a.StartsAt, EndsAt: a.EndsAt, UpdatedAt: now, Firing: fires, Body: data}
	if err := tx.PutExternalAlert(ctx, row); err != nil {
		return nil, err
	}
	switch {
	case begins:
		return &incident.Signal{
			Kind: incident.Fire, Instance: instanceOf(row, kept), At: now, Again: known && now.Sub(old.EndsAt) < again,
		}, nil
	case !fires:
		return &incident.Signal{Kind: incident.Resolve, Instance: instanceOf(row, kept), At: a.EndsAt}, nil
	}
	return nil, nil
}

// Run ends alerts whose end has passed, until ctx ends, which is its only reason to return.
func (x *External) Run(ctx context.Context) error {
	return follow.Keep(ctx, x.log.With("loop", "external alerts"), func(ctx context.Context) error {
		ticker := time.NewTicker(expireEvery)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-ticker.C:
			}
			if err := x.Expire(ctx, time.Now().UTC()); err != nil {
				return err
			}
		}
	})
}

// Expire ends the alerts of which nobody has said for too long that they still fire.
func (x *External) Expire(ctx context.Context, now time.Time) error {
	for {
		ended, err := x.db.ExternalAlertsEnded(ctx, now, expireBatch)
		if err != nil || len(ended) == 0 {
			return err
		}
		byProject := map[uint32][]string{}
		for _, row := range ended {
			byProject[row.Project] = append(byProject[row.Project], row.ID)
		}
		for _, number := range slices.Sorted(maps.Keys(byProject)) {
			if err := x.expire(ctx, number, byProject[number], now); err != nil {
				return fmt.Errorf("end alerts of project %d: %w", number, err)
			}
		}
		x.desk.Woke()
		if len(ended) < expireBatch {
			return nil
		}
	}
}

func (x *External) expire(ctx context.Context, number uint32, ids []string, now time.Time) error {
	project, err := x.db.Project(ctx, number)
	if err != nil {
		return err
	}
	return x.db.InTx(ctx, func(tx *catalog.Tx) error {
		var signals []incident.Signal
		for _, id := range ids {
			row, err := tx.ExternalAlert(ctx, number, id)
			if err != nil {
				return err
			}
			if !row.Firing || row.EndsAt.After(now) {
				continue // it was told again meanwhile
			}
			row.Firing, row.UpdatedAt = false, now
			if err := tx.PutExternalAlert(ctx, row); err != nil {
				return err
			}
			var kept body
			if err := json.Unmarshal(row.Body, &kept); err != nil {
				x.log.Warn("alert not read", "project", number, "alert", id, "err", err)
			}
			signals = append(signals, incident.Signal{Kind: incident.Resolve, Instance: instanceOf(row, kept), At: row.EndsAt, Reason: rule.DataGone})
		}
		return x.desk.Apply(ctx, tx, project.OrganisationID, signals, now)
	})
}

// instanceOf is an alert as incidents know it. Its severity is what its label of that name says.
func instanceOf(row catalog.ExternalAlert, b body) incident.Instance {
	labels := maps.Clone(b.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	in := incident.Instance{
		Key: "external:" + row.ID, Project: row.Project, Kind: rule.External, Severity: severityOf(labels["severity"]),
		Name: cmp.Or(labels["alertname"], "alert"), Since: row.StartsAt, FiredAt: row.StartsAt,
		Runbook: page(first(b.Annotations, "runbook_url", "runbook")), FirstAction: clip(b.Annotations["first_action"], 300),
		Summary: clip(oneLine(first(b.Annotations, "description", "message", "summary")), 500),
	}
	in.Class = rule.Cause
	if in.Severity == rule.Page {
		in.Class = rule.Symptom // whoever pages says that users feel it
	}
	if class := rule.Class(labels["class"]); class == rule.Symptom || class == rule.Leading || class == rule.Cause && in.Severity != rule.Page {
		in.Class = class
	}
	// Routes, silences and the grouping of incidents know these names.
	set := func(name, value string) {
		if labels[name] == "" && value != "" {
			labels[name] = value
		}
	}
	set("service", cmp.Or(labels["service_name"], labels["job"]))
	set("environment", cmp.Or(labels["env"], labels["deployment_environment"], labels["namespace"]))
	set("area", rule.Feature)
	labels["severity"], labels["class"] = string(in.Severity), string(in.Class)
	in.Labels = labels

	text := cmp.Or(oneLine(first(b.Annotations, "summary", "title", "message")), in.Name)
	if service := labels["service"]; service != "" && !strings.Contains(strings.ToLower(text), strings.ToLower(service)) {
		text = service + ": " + text
	}
	in.Headline = clip(text, maxHeadline)
	return in
}

// severityOf reads the words that rules for Prometheus use.
func severityOf(label string) rule.Severity {
	switch strings.ToLower(label) {
	case "page", "critical":
		return rule.Page
	case "ticket", "warning":
		return rule.Ticket
	}
	return rule.Mail
}

func first(annotations map[string]string, names ...string) string {
	for _, name := range names {
		if text := strings.TrimSpace(annotations[name]); text != "" {
			return text
		}
	}
	return ""
}

// page is an address that can be a link, or nothing.
func page(address string) string {
	if strings.HasPrefix(address, "https://") || strings.HasPrefix(address, "http://") {
		return clip(address, maxLabelValue)
	}
	return ""
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

// clip shortens a text to so many bytes, at the end of a character.
func clip(text string, most int) string {
	text = strings.ToValidUTF8(text, "")
	if len(text) <= most {
		return text
	}
	cut := most - len("…")
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "…"
}
