// Package teams tells a Microsoft Teams channel through a webhook of Workflows (Power Automate).
package teams

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/midwatch/midwatch/alerts/notify"
)

// Settings of a Teams receiver. The address holds its own secret (sig=…).
type Settings struct {
	WebhookURL string `json:"webhook_url"`
}

// Teams tells one channel. A Workflow takes the message on and posts it later: a card that it does not
// understand fails where we cannot see it, so cards keep to version 1.4 and under 28 KB. It has no silent canary.
type Teams struct {
	address string
	client  notify.Client
}

// New makes a Teams receiver; the error tells the person who configures it what is wrong.
func New(settings Settings, client notify.Client) (*Teams, error) {
	if err := notify.CheckAddress(settings.WebhookURL); err != nil {
		return nil, fmt.Errorf("webhook_url: %w", err)
	}
	return &Teams{address: settings.WebhookURL, client: client}, nil
}

const maxCard = 27_000 // of 28 KB

type message struct {
	Type        string       `json:"type"`
	Attachments []attachment `json:"attachments"`
}

type attachment struct {
	ContentType string `json:"contentType"`
	Content     card   `json:"content"`
}

type card struct {
	Schema  string    `json:"$schema"`
	Type    string    `json:"type"`
	Version string    `json:"version"`
	Body    []element `json:"body"`
	Actions []action  `json:"actions,omitempty"`
	Teams   width     `json:"msteams"`
}

type width struct {
	Width string `json:"width"`
}

type element struct {
	Type     string    `json:"type"`
	Text     string    `json:"text,omitempty"`
	Wrap     bool      `json:"wrap,omitempty"`
	Weight   string    `json:"weight,omitempty"`
	Size     string    `json:"size,omitempty"`
	Color    string    `json:"color,omitempty"`
	Subtle   bool      `json:"isSubtle,omitempty"`
	Spacing  string    `json:"spacing,omitempty"`
	Style    string    `json:"style,omitempty"`
	URL      string    `json:"url,omitempty"`
	AltText  string    `json:"altText,omitempty"`
	Facts    []fact    `json:"facts,omitempty"`
	Items    []element `json:"items,omitempty"`
	FullSize bool      `json:"bleed,omitempty"`
}

type fact struct {
	Title string `json:"title"`
	Value string `json:"value"`
}

type action struct {
	Type  string `json:"type"`
	Title string `json:"title"`
	URL   string `json:"url"`
	Style string `json:"style,omitempty"`
}

// Notify posts the message as an Adaptive Card.
func (t *Teams) Notify(ctx context.Context, m notify.Message) (notify.Receipt, error) {
	encoded, err := encode(m)
	if err != nil {
		return notify.Receipt{}, &notify.PermanentError{Reason: "the card cannot be encoded: " + err.Error()}
	}
	answer, err := t.client.Post(ctx, t.address, nil, encoded)
	return answer.Receipt(), err
}

// encode leaves out sections, the last first, until the card has its size.
func encode(m notify.Message) ([]byte, error) {
	for {
		encoded, err := json.Marshal(compose(m))
		if err != nil {
			return nil, fmt.Errorf("encode the card: %w", err)
		}
		switch {
		case len(encoded) <= maxCard:
			return encoded, nil
		case len(m.Sections) > 0:
			m.Sections = m.Sections[:len(m.Sections)-1]
		case len(m.Links) > 0:
			m.Links = nil
		case len(m.Facts) > 0:
			m.Facts = nil
		case len(m.Told) > 0:
			m.Told = nil
		default:
			return nil, fmt.Errorf("the card has %d bytes", len(encoded))
		}
	}
}

func compose(m notify.Message) message {
	body := []element{{Type: "Container", Style: style(m), FullSize: true, Items: []element{
		{Type: "TextBlock", Text: escape(m.Heading()), Wrap: true, Weight: "Bolder", Size: "Medium"},
	}}}
	text := func(s string, subtle bool) {
		if s != "" {
			body = append(body, element{Type: "TextBlock", Text: s, Wrap: true, Subtle: subtle, Spacing: "Small"})
		}
	}
	for _, s := range m.Sections {
		if s.Lead {
			text(lines(s.Lines), false)
		}
	}
	for _, sentence := range notify.Sentences(m) {
		text(escape(sentence), true)
	}
	var facts []fact
	for _, f := range m.Facts {
		facts = append(facts, fact{Title: escape(f.Name), Value: escape(f.Value)})
	}
	if facts != nil {
		body = append(body, element{Type: "FactSet", Facts: facts})
	}
	if c := m.Chart; c != nil {
		switch {
		case strings.HasPrefix(c.Image, "https://"): // Teams shows no other
			body = append(body, element{Type: "Image", URL: c.Image, AltText: c.Alt, Size: "Stretch"})
		case c.Link != "":
			text(link(c.Alt, c.Link), false)
		default:
			text(escape(c.Alt), true)
		}
	}
	for _, s := range m.Sections {
		if !s.Lead && len(s.Lines) > 0 {
			text("**"+escape(s.Title)+"**", false)
			text(lines(s.Lines), false)
		}
	}
	if m.FirstAction != "" {
		text("**Do first:** "+escape(m.FirstAction), false)
	}
	var links []string
	if m.Runbook != "" {
		links = append(links, link("Runbook", m.Runbook))
	}
	for _, l := range m.Links {
		links = append(links, link(l.Text, l.URL))
	}
	text(strings.Join(links, " · "), false)
	for _, line := range notify.Footer(m) {
		text(escape(line), true)
	}
	var actions []action
	for i, b := range m.Actions() {
		a := action{Type: "Action.OpenUrl", Title: b.Text, URL: b.URL}
		if i == 0 {
			a.Style = "positive"
		}
		actions = append(actions, a)
	}
	return message{Type: "message", Attachments: []attachment{{
		ContentType: "application/vnd.microsoft.card.adaptive",
		Content: card{
			Schema: "http://adaptivecards.io/schemas/adaptive-card.json", Type: "AdaptiveCard", Version: "1.4",
			Body: body, Actions: actions, Teams: width{Width: "Full"},
		},
	}}}
}

func style(m notify.Message) string {
	switch {
	case m.Action.Ends():
		return "good"
	case m.Action == notify.Digest || m.Action == notify.Notice || m.Action == notify.Test:
		return "emphasis"
	case m.Severity == notify.SeverityPage:
		return "attention"
	case m.Severity == notify.SeverityTicket:
		return "warning"
	}
	return "emphasis"
}

func lines(list []notify.Line) string {
	var out []string
	for _, l := range list {
		line := "- " + escape(l.Text)
		if l.Link != "" {
			line += " " + link("open", l.Link)
		}
		out = append(out, line)
	}
	return strings.Join(out, "\r")
}

var escaper = strings.NewReplacer(`\`, `\\`, "*", `\*`, "_", `\_`, "`", "\\`", "[", `\[`, "]", `\]`, "<", "&lt;", ">", "&gt;", "{{", "{\u200b{")

// escape takes the meaning from the Markdown of cards.
func escape(s string) string { return escaper.Replace(s) }

func link(label, url string) string {
	return "[" + escape(label) + "](" + strings.NewReplacer("(", "%28", ")", "%29", " ", "%20").Replace(url) + ")"
}
