// Package pagerduty tells a PagerDuty service by its Events API v2.
package pagerduty

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/midwatch/midwatch/alerts/notify"
)

// Settings of a PagerDuty receiver.
type Settings struct {
	RoutingKey string `json:"routing_key"`        // 32 characters, of the service's integration
	Region     string `json:"region,omitempty"`   // us (default) or eu
	Endpoint   string `json:"endpoint,omitempty"` // instead of the region's
}

// PagerDuty tells one service.
type PagerDuty struct {
	settings Settings
	client   notify.Client
}

var routingKey = regexp.MustCompile(`^[0-9A-Za-z]{32}$`)

// New makes a PagerDuty receiver; the error tells the person who configures it what is wrong.
func New(settings Settings, client notify.Client) (*PagerDuty, error) {
	if !routingKey.MatchString(settings.RoutingKey) {
		return nil, errors.New("routing_key: it has 32 letters and digits (the integration key of Events API v2)")
	}
	switch settings.Region {
	case "", "us", "eu":
	default:
		return nil, fmt.Errorf("region: %q is neither us nor eu", settings.Region)
	}
	if settings.Endpoint == "" {
		settings.Endpoint = "https://events.pagerduty.com"
		if settings.Region == "eu" {
			settings.Endpoint = "https://events.eu.pagerduty.com"
		}
	}
	if err := notify.CheckAddress(settings.Endpoint); err != nil {
		return nil, fmt.Errorf("endpoint: %w", err)
	}
	return &PagerDuty{settings: settings, client: client}, nil
}

// PagerDuty's limits.
const (
	maxSummary = 1024
	maxEvent   = 500_000 // of 512 KB, since its K may be either
	maxKey     = 255
)

type event struct {
	RoutingKey string   `json:"routing_key"`
	Action     string   `json:"event_action,omitempty"` // not of a change event
	DedupKey   string   `json:"dedup_key,omitempty"`
	Payload    *payload `json:"payload,omitempty"`
	Client     string   `json:"client,omitempty"`
	ClientURL  string   `json:"client_url,omitempty"`
	Links      []link   `json:"links,omitempty"`
	Images     []img    `json:"images,omitempty"`
}

type payload struct {
	Summary   string         `json:"summary"`
	Source    string         `json:"source"`
	Severity  string         `json:"severity,omitempty"`
	Timestamp string         `json:"timestamp,omitempty"`
	Component string         `json:"component,omitempty"`
	Group     string         `json:"group,omitempty"`
	Class     string         `json:"class,omitempty"`
	Details   map[string]any `json:"custom_details,omitempty"`
}

type link struct {
	HRef string `json:"href"`
	Text string `json:"text"`
}

type img struct {
	Src  string `json:"src"`
	HRef string `json:"href,omitempty"`
	Alt  string `json:"alt,omitempty"`
}

// Notify triggers, acknowledges or resolves the incident of the message; PagerDuty folds what has the same key. A test
// is an event that is resolved at once, a digest is a change event: neither wakes anybody for long.
func (p *PagerDuty) Notify(ctx context.Context, m notify.Message) (notify.Receipt, error) {
	if m.Action == notify.Digest {
		return p.Change(ctx, Change{Summary: m.Title, Source: source(m), At: m.At, Details: digestDetails(m), Links: []notify.Link{{Text: "Open in Midwatch", URL: m.URL}}})
	}
	key := notify.Clip(m.ProviderKey(), maxKey)
	e := event{RoutingKey: p.settings.RoutingKey, DedupKey: key}
	switch {
	case m.Action.Ends():
		e.Action = "resolve"
	case m.Action == notify.Acknowledge:
		e.Action = "acknowledge"
	default:
		e = p.trigger(m, key)
	}
	receipt, err := p.send(ctx, "/v2/enqueue", e)
	if err == nil && m.Action == notify.Test {
		receipt, err = p.send(ctx, "/v2/enqueue", event{RoutingKey: p.settings.RoutingKey, DedupKey: key, Action: "resolve"})
	}
	return receipt, err
}

// Check sends a change event, which wakes nobody.
func (p *PagerDuty) Check(ctx context.Context) (notify.Receipt, error) {
	return p.Change(ctx, Change{Summary: "Midwatch checks that it can reach this service", Source: "midwatch", At: p.client.Now()})
}

// Change is something that was changed, such as a deploy; PagerDuty shows it beside incidents.
type Change struct {
	Summary, Source string
	At              time.Time
	Details         map[string]string
	Links           []notify.Link
}

// Change tells PagerDuty of a change.
func (p *PagerDuty) Change(ctx context.Context, c Change) (notify.Receipt, error) {
	e := event{RoutingKey: p.settings.RoutingKey, Payload: &payload{
		Summary: notify.Clip(c.Summary, maxSummary), Source: c.Source, Timestamp: c.At.UTC().Format(time.RFC3339),
	}}
	for name, value := range c.Details {
		if e.Payload.Details == nil {
			e.Payload.Details = map[string]any{}
		}
		e.Payload.Details[name] = value
	}
	for _, l := range c.Links {
		if l.URL == "" {
			continue
		}
		e.Links = append(e.Links, link{HRef: l.URL, Text: l.Text})
	}
	return p.send(ctx, "/v2/change/enqueue", e)
}

func digestDetails(m notify.Message) map[string]string {
	out := map[string]string{}
	for _, s := range m.Sections {
		out[s.Title] = joined(s.Lines)
	}
	return out
}

func joined(list []notify.Line) string {
	var lines []string
	for _, l := range list {
		lines = append(lines, l.Text)
	}
	return strings.Join(lines, "\n")
}

func (p *PagerDuty) trigger(m notify.Message, key string) event {
	e := event{RoutingKey: p.settings.RoutingKey, Action: "trigger", DedupKey: key, Client: "Midwatch", ClientURL: m.URL}
	e.Payload = &payload{
		// PagerDuty says itself what kind of message it is.
		Summary: notify.Clip(m.Title, maxSummary), Source: source(m), Severity: severity(m), Timestamp: m.At.UTC().Format(time.RFC3339),
		Component: m.Labels["service"], Group: m.Project, Class: m.Labels["area"], Details: details(m),
	}
	if m.Runbook != "" {
		e.Links = append(e.Links, link{HRef: m.Runbook, Text: "Runbook"})
	}
	for _, b := range m.Actions() {
		e.Links = append(e.Links, link{HRef: b.URL, Text: b.Text})
	}
	for _, l := range m.Links {
		e.Links = append(e.Links, link{HRef: l.URL, Text: l.Text})
	}
	if c := m.Chart; c != nil && strings.HasPrefix(c.Image, "https://") { // PagerDuty shows no other
		e.Images = []img{{Src: c.Image, HRef: c.Link, Alt: c.Alt}}
	}
	return e
}

func source(m notify.Message) string {
	for _, s := range []string{m.Labels["service"], m.Project, m.Organisation} {
		if s != "" {
			return s
		}
	}
	return "midwatch"
}

func severity(m notify.Message) string {
	switch {
	case m.Action == notify.Test || m.Action == notify.Notice || m.Action == notify.Digest:
		return "info"
	case m.Severity == notify.SeverityPage:
		return "critical"
	case m.Severity == notify.SeverityTicket:
		return "warning"
	}
	return "info"
}

// details are the message by its parts: what a person reads who has only PagerDuty's page.
func details(m notify.Message) map[string]any {
	d := map[string]any{}
	add := func(name, value string) {
		if value != "" {
			d[name] = value
		}
	}
	add("when", strings.Join(notify.Sentences(m), " "))
	add("first_action", m.FirstAction)
	add("also_told", strings.Join(m.Told, ", "))
	add("next", m.Next)
	for _, f := range m.Facts {
		add(f.Name, f.Value)
	}
	for _, s := range m.Sections {
		add(s.Title, joined(s.Lines))
	}
	if m.Chart != nil {
		add("chart", strings.TrimSpace(m.Chart.Alt+" "+m.Chart.Link))
	}
	if m.Rule.ID != "" {
		add("rule", fmt.Sprintf("%s, version %d (%s)", m.Rule.Name, m.Rule.Version, m.Rule.ID))
	}
	add("incident", m.Incident)
	if len(m.Labels) > 0 {
		d["labels"] = m.Labels
	}
	return d
}

func (p *PagerDuty) send(ctx context.Context, path string, e event) (notify.Receipt, error) {
	encoded, err := json.Marshal(e)
	if err != nil {
		return notify.Receipt{}, &notify.PermanentError{Reason: "the event cannot be encoded: " + err.Error()}
	}
	// the longest details go first.
	for len(encoded) > maxEvent && e.Payload != nil && len(e.Payload.Details) > 0 {
		longest := slices.MaxFunc(slices.Sorted(maps.Keys(e.Payload.Details)), func(a, b string) int {
			return len(fmt.Sprint(e.Payload.Details[a])) - len(fmt.Sprint(e.Payload.Details[b]))
		})
		delete(e.Payload.Details, longest)
		if encoded, err = json.Marshal(e); err != nil {
			return notify.Receipt{}, &notify.PermanentError{Reason: "the event cannot be encoded: " + err.Error()}
		}
	}
	answer, err := p.client.Post(ctx, strings.TrimSuffix(p.settings.Endpoint, "/")+path, nil, encoded)
	receipt := answer.Receipt()
	if err == nil {
		receipt.Reference = e.DedupKey
	}
	return receipt, err
}
