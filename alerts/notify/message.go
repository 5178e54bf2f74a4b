// Package notify holds what Midwatch tells people: the message, how it reads, and what a receiver answers to it.
// The receivers themselves live in the folders below, one for each kind; receivers.Open makes one from its settings.
package notify

import (
	"context"
	"maps"
	"net/mail"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Action says what a message does to what its receiver shows.
type Action string

// The actions. Trigger opens an incident at the receiver, update, reminder, escalate, acknowledge and comment
// change an open one, resolve and close end it; the rest stand for themselves.
const (
	Trigger     Action = "trigger"
	Update      Action = "update"
	Reminder    Action = "reminder"
	Escalate    Action = "escalate"
	Acknowledge Action = "acknowledge"
	Resolve     Action = "resolve"
	Ticket      Action = "ticket"
	Comment     Action = "comment"
	Close       Action = "close"
	Mail        Action = "mail"
	Digest      Action = "digest"
	Notice      Action = "notice"
	Test        Action = "test"
)

// Ends reports whether the action ends an incident.
func (a Action) Ends() bool { return a == Resolve || a == Close }

// Severities of a message.
const (
	SeverityPage   = "page"
	SeverityTicket = "ticket"
	SeverityMail   = "mail"
)

// Message is one thing told to one receiver. It is frozen in the outbox as JSON when its incident changes, so that a
// later attempt says the same; nothing is looked up when it is sent.
type Message struct {
	Key      string `json:"key"`                // incident:seq:receiver:action, the idempotency key
	Incident string `json:"incident,omitempty"` // UUID; empty for digests, notices and tests
	Seq      int    `json:"seq"`
	Action   Action `json:"action"`
	Severity string `json:"severity"` // page, ticket, mail
	Loud     bool   `json:"loud,omitempty"`

	Organisation  string `json:"organisation,omitempty"`
	Project       string `json:"project,omitempty"`
	Team          string `json:"team,omitempty"`
	ProjectNumber uint32 `json:"project_number,omitempty"`

	Title   string    `json:"title"` // line 1, at most 120 characters, without the prefix of Heading
	At      time.Time `json:"at"`
	Since   time.Time `json:"since,omitzero"`    // the first bad slot, not when the message was made
	Ended   time.Time `json:"ended,omitzero"`    // of a resolve
	Outcome string    `json:"outcome,omitempty"` // how it ended: recovered, data gone, rule removed
	Due     time.Time `json:"due,omitzero"`      // of a ticket
	Late    string    `json:"late,omitempty"`    // why the message is late, if it is
	Zone    string    `json:"zone,omitempty"`    // the reader's; UTC if empty or unknown

	Facts    []Fact    `json:"facts,omitempty"`
	Sections []Section `json:"sections,omitempty"`
	Chart    *Chart    `json:"chart,omitempty"`

	FirstAction string   `json:"first_action,omitempty"`
	Runbook     string   `json:"runbook,omitempty"` // URL
	Links       []Link   `json:"links,omitempty"`
	Buttons     []Button `json:"buttons,omitempty"`
	ReplyTo     string   `json:"reply_to,omitempty"` // where an answer to a mail does what the buttons do; other receivers do not show it
	Told        []string `json:"told,omitempty"`     // who else was told
	Next        string   `json:"next,omitempty"`     // the next step and when

	Rule      RuleRef           `json:"rule,omitzero"`
	Labels    map[string]string `json:"labels,omitempty"`
	Instances []Instance        `json:"instances,omitempty"`

	// Reference is what this receiver answered to the incident's first message (Slack's channel and ts, a mail's
	// Message-ID): later messages thread, reply or edit by it.
	Reference string `json:"reference,omitempty"`
	URL       string `json:"url,omitempty"` // the incident's page
	// InPlaceOf is the key of the message to another receiver which this one is told in place of.
	InPlaceOf string `json:"in_place_of,omitempty"`
}

// Fact is a number with its name: "Value", "12 %".
type Fact struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Section is a part of the dossier. A Lead section (what users feel) stands before the numbers.
type Section struct {
	Title string `json:"title"`
	Lead  bool   `json:"lead,omitempty"`
	Lines []Line `json:"lines"`
}

// Line is a sentence of a section, with the page that shows more, and Links for what can be done about it.
type Line struct {
	Text  string `json:"text"`
	Link  string `json:"link,omitempty"`
	Links []Link `json:"links,omitempty"`
}

// Chart is the picture of the value. Link shows the same window in Midwatch; Image is where receivers that cannot
// carry a picture may fetch it, if it is public.
type Chart struct {
	PNG   []byte `json:"png,omitempty"`
	Alt   string `json:"alt"`
	Link  string `json:"link,omitempty"`
	Image string `json:"image,omitempty"`
}

// Link is a page worth opening.
type Link struct {
	Text string `json:"text"`
	URL  string `json:"url"`
}

// The buttons' ids.
const (
	ButtonAcknowledge = "ack"
	ButtonSilence     = "silence_1h"
	ButtonEscalate    = "escalate"
	ButtonFalseAlarm  = "false_alarm"
	ButtonOpen        = "open"
	// ButtonUnsubscribe ends a digest; mail programs offer it themselves.
	ButtonUnsubscribe = "unsubscribe"
)

// Button is something a reader can do, as a link that does it.
type Button struct {
	ID   string `json:"id"`
	Text string `json:"text"`
	URL  string `json:"url"`
}

// RuleRef names the rule that spoke.
type RuleRef struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Version int64  `json:"version"`
}

// Instance is one label set that is or was bad.
type Instance struct {
	Labels   map[string]string `json:"labels"`
	Value    float64           `json:"value"`
	StartsAt time.Time         `json:"starts_at"`
	EndsAt   time.Time         `json:"ends_at,omitzero"`
	Summary  string            `json:"summary,omitempty"`
}

// ProviderKey is the key of the message's incident at providers that keep incidents of their own (PagerDuty,
// Opsgenie). What belongs to no incident has its own.
func (m Message) ProviderKey() string {
	if m.Incident == "" {
		return "mw-" + m.Key
	}
	return "mw-" + m.Incident
}

// Heading is line 1 as people see it: the title after what kind of message it is.
func (m Message) Heading() string {
	if prefix := m.prefix(); prefix != "" {
		return "[" + prefix + "] " + m.Title
	}
	return m.Title
}

func (m Message) prefix() string {
	switch m.Action {
	case Resolve, Close:
		return "RESOLVED"
	case Update, Comment:
		return "UPDATE"
	case Reminder:
		return "REMINDER"
	case Acknowledge:
		return "ACKNOWLEDGED"
	case Test:
		return "TEST"
	case Digest, Notice, Mail:
		return ""
	}
	switch m.Severity {
	case SeverityPage:
		return "PAGE"
	case SeverityTicket:
		return "TICKET"
	}
	return ""
}

// Location is the reader's zone.
func (m Message) Location() *time.Location {
	location, err := time.LoadLocation(m.Zone)
	if err != nil || m.Zone == "" || m.Zone == "Local" {
		return time.UTC
	}
	return location
}

// The bounds of a message, in characters and counts.
const (
	maxTitle      = 120
	maxText       = 500
	maxLabelValue = 200
	maxLabels     = 64
	maxName       = 100
	maxURL        = 2000
	maxMailbox    = 254
	maxKey        = 255
	maxFacts      = 20
	maxSections   = 12
	maxLines      = 20
	maxLinks      = 10
	maxLineLinks  = 3
	maxButtons    = 5
	maxTold       = 20
	maxInstances  = 50
	maxPNG        = 64 << 10
)

// Bounded returns the message with everything cut to its bound: texts are one line each without control characters
// and without what looks like a secret, label values have at most 200 characters, lists end early, addresses
// are HTTP or gone. Bounding twice changes nothing more.
func (m Message) Bounded() Message {
	m.Key, m.Incident, m.Reference = Clip(m.Key, maxKey), Clip(m.Incident, maxName), Clip(m.Reference, maxKey)
	m.Organisation, m.Project, m.Team = clean(m.Organisation, maxName), clean(m.Project, maxName), clean(m.Team, maxName)
	m.Title = clean(m.Title, maxTitle)
	m.Outcome, m.Late, m.Next = clean(m.Outcome, maxText), clean(m.Late, maxText), clean(m.Next, maxText)
	m.FirstAction, m.Runbook, m.URL = clean(m.FirstAction, maxText), address(m.Runbook), address(m.URL)
	m.Rule.ID, m.Rule.Name = clean(m.Rule.ID, maxName), clean(m.Rule.Name, maxName)
	m.Facts = bounded(m.Facts, maxFacts, func(f Fact) Fact {
		return Fact{Name: clean(f.Name, maxName), Value: clean(f.Value, maxLabelValue)}
	})
	m.Sections = bounded(m.Sections, maxSections, func(s Section) Section {
		s.Title = clean(s.Title, maxName)
		s.Lines = bounded(s.Lines, maxLines, func(l Line) Line {
			return Line{Text: clean(l.Text, maxText), Link: address(l.Link), Links: boundedLinks(l.Links, maxLineLinks)}
		})
		return s
	})
	m.Links = boundedLinks(m.Links, maxLinks)
	m.Buttons = bounded(m.Buttons, maxButtons, func(b Button) Button {
		return Button{ID: clean(b.ID, maxName), Text: clean(b.Text, maxName), URL: address(b.URL)}
	})
	m.Buttons = slices.DeleteFunc(m.Buttons, func(b Button) bool { return b.URL == "" })
	m.ReplyTo = mailbox(m.ReplyTo)
	m.Told = bounded(m.Told, maxTold, func(s string) string { return clean(s, maxName) })
	m.Labels = boundedLabels(m.Labels)
	m.Instances = bounded(m.Instances, maxInstances, func(i Instance) Instance {
		i.Labels, i.Summary = boundedLabels(i.Labels), clean(i.Summary, maxText)
		return i
	})
	if m.Chart != nil {
		chart := Chart{PNG: m.Chart.PNG, Alt: clean(m.Chart.Alt, maxText), Link: address(m.Chart.Link), Image: address(m.Chart.Image)}
		if len(chart.PNG) > maxPNG {
			chart.PNG = nil
		}
		m.Chart = &chart
	}
	return m
}

func bounded[T any](list []T, most int, bound func(T) T) []T {
	if list == nil {
		return nil
	}
	out := make([]T, min(len(list), most))
	for i := range out {
		out[i] = bound(list[i])
	}
	return out
}

func boundedLinks(links []Link, most int) []Link {
	links = bounded(links, most, func(l Link) Link { return Link{Text: clean(l.Text, maxName), URL: address(l.URL)} })
	return slices.DeleteFunc(links, func(l Link) bool { return l.URL == "" })
}

func boundedLabels(labels map[string]string) map[string]string {
	if labels == nil {
		return nil
	}
	out := make(map[string]string, min(len(labels), maxLabels))
	for _, name := range slices.Sorted(maps.Keys(labels))[:min(len(labels), maxLabels)] {
		value := clean(labels[name], maxLabelValue)
		if secretName.MatchString(name) {
			value = hidden
		}
		out[clean(name, maxName)] = value
	}
	return out
}

const hidden = "(hidden)"

var (
	secretName = regexp.MustCompile(`(?i)passw|secret|token|api_?key|authorization|cookie|credential|private_?key`)
	// what comes before a secret is kept, so that a reader still sees which one it was.
	secretText = regexp.MustCompile(`(?i)(\b(?:bearer|basic)\s+)[\w.\-+/=~]{16,}` +
		`|((?:passw(?:or)?d|secret|token|api[_-]?key)["']?\s*[=:]\s*["']?)[^\s"'&,;()]{8,}` +
		`|(://[^\s/:@]*:)[^\s/@]+(@)` +
		`|\b(?:xox[abprs]-|whsec_|gh[pousr]_|sk_live_|AKIA|eyJ)[\w.\-+/=]{8,}`)
)

// clean makes one line of a text: no control or direction characters, single spaces, no secrets, at most n characters.
func clean(s string, n int) string {
	// cut before the costly part, generously: what is hidden may shorten the text.
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case unicode.IsControl(r), r == utf8.RuneError, r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069:
			return -1
		}
		return r
	}, Clip(s, 4*n))
	s = strings.Join(strings.Fields(s), " ")
	if mayHoldSecret(s) {
		s = secretText.ReplaceAllString(s, "${1}${2}${3}"+hidden+"${4}")
	}
	return Clip(s, n)
}

// mayHoldSecret spares most texts the expression: each of its alternatives holds one of these.
func mayHoldSecret(s string) bool {
	s = strings.ToLower(s)
	return slices.ContainsFunc([]string{
		"bearer", "basic", "passw", "secret", "token", "key", "://", "xox", "whsec_", "gh", "sk_live_", "akia", "eyj",
	}, func(sign string) bool { return strings.Contains(s, sign) })
}

// Clip cuts a text to at most n characters; what was cut shows as "…".
func Clip(s string, n int) string {
	if len(s) <= n || utf8.RuneCountInString(s) <= n {
		return s
	}
	runes := 0
	for i := range s {
		if runes++; runes == n {
			return s[:i] + "…"
		}
	}
	return s
}

// address keeps what a reader may click.
func address(s string) string {
	u, err := url.Parse(s)
	if err != nil || len(s) > maxURL || u.Host == "" || u.User != nil || (u.Scheme != "https" && u.Scheme != "http") {
		return ""
	}
	return s
}

// mailbox keeps what a mail can be sent to.
func mailbox(s string) string {
	if a, err := mail.ParseAddress(s); err != nil || a.Address != s || len(s) > maxMailbox {
		return ""
	}
	return s
}

// Receipt is what a receiver answered.
type Receipt struct {
	Reference string // by which later messages of the incident find this one; empty if the receiver has none
	Code      int    // HTTP status or SMTP reply code; 0 if there was no answer
	Excerpt   string // of the answer, at most 300 characters
}

// Notifier tells one receiver. The caller bounds the call by ctx (8 s). The error is a *PermanentError or a
// *RetryError; the receipt is worth keeping in either case.
type Notifier interface {
	Notify(ctx context.Context, m Message) (Receipt, error)
}

// Checker is a notifier that can find out silently whether it would work: the weekly canary.
type Checker interface {
	Check(ctx context.Context) (Receipt, error)
}
