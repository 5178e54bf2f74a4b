package notify

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"regexp"
	"strings"
)

// Text is the message as plain text, in the order in which a person needs it.
func Text(m Message) string { return text(m, "") }

// MailText is Text for a mail, which may be answered.
func MailText(m Message) string { return text(m, answer(m)) }

// answer says what an answer to a mail may be; empty where nobody would read it.
func answer(m Message) string {
	if m.ReplyTo == "" {
		return ""
	}
	return "Or answer this mail with ack, escalate, silence or false alarm."
}

func text(m Message, answer string) string {
	var b strings.Builder
	block := func(lines ...string) {
		if len(lines) == 0 {
			return
		}
		if b.Len() > 0 {
			b.WriteByte('\n')
		}
		for _, line := range lines {
			b.WriteString(line + "\n")
		}
	}
	block(m.Heading())
	for _, s := range m.Sections {
		if s.Lead {
			block(sectionText(s)...)
		}
	}
	block(Sentences(m)...)
	var facts []string
	for _, f := range m.Facts {
		facts = append(facts, f.Name+": "+f.Value)
	}
	block(facts...)
	if m.Chart != nil {
		block(nonEmpty("Chart: "+m.Chart.Alt, m.Chart.Link)...)
	}
	for _, s := range m.Sections {
		if !s.Lead {
			block(sectionText(s)...)
		}
	}
	if m.FirstAction != "" {
		block("Do first: " + m.FirstAction)
	}
	if m.Runbook != "" {
		block("Runbook: " + m.Runbook)
	}
	var told []string
	if len(m.Told) > 0 {
		told = append(told, "Also told: "+strings.Join(m.Told, ", "))
	}
	if m.Next != "" {
		told = append(told, "Next: "+m.Next)
	}
	block(told...)
	var links []string
	for _, button := range m.Actions() {
		links = append(links, button.Text+": "+button.URL)
	}
	links = append(links, nonEmpty(answer)...)
	for _, l := range m.Links {
		links = append(links, l.Text+": "+l.URL)
	}
	block(links...)
	if ids := identity(m); len(ids) > 0 {
		block(append([]string{"--"}, ids...)...)
	}
	return b.String()
}

func sectionText(s Section) []string {
	lines := []string{s.Title}
	if s.Title == "" {
		lines = nil
	}
	for _, l := range s.Lines {
		lines = append(lines, "- "+l.Text)
		if l.Link != "" {
			lines = append(lines, "  "+l.Link)
		}
		for _, more := range l.Links {
			lines = append(lines, "  "+more.Text+": "+more.URL)
		}
	}
	return lines
}

func nonEmpty(list ...string) []string {
	var out []string
	for _, s := range list {
		if s != "" {
			out = append(out, s)
		}
	}
	return out
}

// Actions are the message's buttons; without any, one that opens its page.
func (m Message) Actions() []Button {
	if len(m.Buttons) == 0 && m.URL != "" {
		return []Button{{ID: ButtonOpen, Text: "Open in Midwatch", URL: m.URL}}
	}
	return m.Buttons
}

// Short is a message of two lines for where there is no room: line 1, and the link that acknowledges or opens it.
func Short(m Message) string {
	link := m.URL
	for _, b := range m.Buttons {
		if b.ID == ButtonAcknowledge {
			link = b.URL
		}
	}
	return strings.TrimSpace(m.Heading() + "\n" + link)
}

// Footer is where a message belongs: who was told, who owns it, the rule and the ids.
func Footer(m Message) []string {
	var out []string
	if len(m.Told) > 0 {
		out = append(out, "Also told: "+strings.Join(m.Told, ", "))
	}
	if m.Next != "" {
		out = append(out, "Next: "+m.Next)
	}
	return append(out, identity(m)...)
}

func identity(m Message) []string {
	var out []string
	if owner := strings.Join(nonEmpty(m.Organisation, m.Project, m.Team), " / "); owner != "" {
		out = append(out, owner)
	}
	if m.Rule.ID != "" {
		out = append(out, fmt.Sprintf("Rule %s, version %d (%s)", m.Rule.Name, m.Rule.Version, m.Rule.ID))
	}
	if m.Incident != "" {
		out = append(out, fmt.Sprintf("Incident %s, message %d, key %s", m.Incident, m.Seq, m.ProviderKey()))
	}
	return out
}

//go:embed message.html
var page string

var pages = template.Must(template.New("message").Funcs(template.FuncMap{"keep": keep}).Parse(page))

var quantity = regexp.MustCompile(`(\d) (%|[A-Za-z]{1,3}\b)`)

// keep holds a number and its unit on one line.
func keep(s string) string { return quantity.ReplaceAllString(s, "$1\u00a0$2") }

// HTML is the message as the page of a mail: one column, styles inline, light and dark. Picture is where its chart is
// (a "cid:", "data:image/png" or HTTP address); without one the chart is its description.
func HTML(m Message, picture string) (string, error) {
	if !strings.HasPrefix(picture, "cid:") && !strings.HasPrefix(picture, "data:image/png;base64,") {
		picture = address(picture)
	}
	view := struct {
		Message
		Sentences, Identity []string
		Bar, Word, ToldText string
		Answer              string
		Lead, Rest          []Section
		Picture             template.URL
		First               *Button
		Others              []Button
	}{Message: m, Sentences: Sentences(m), Identity: identity(m), ToldText: strings.Join(m.Told, ", "), Word: m.prefix(), Answer: answer(m), Picture: template.URL(picture)}
	view.Bar = "info"
	switch {
	case m.Action.Ends():
		view.Bar = "ok"
	case m.Action == Digest || m.Action == Notice || m.Action == Test:
	case m.Severity == SeverityPage:
		view.Bar = "bad"
	case m.Severity == SeverityTicket:
		view.Bar = "warn"
	}
	for _, s := range m.Sections {
		if s.Lead {
			view.Lead = append(view.Lead, s)
		} else {
			view.Rest = append(view.Rest, s)
		}
	}
	for i, button := range m.Actions() {
		if i == 0 {
			view.First = &button
		} else {
			view.Others = append(view.Others, button)
		}
	}
	var b bytes.Buffer
	if err := pages.Execute(&b, view); err != nil {
		return "", fmt.Errorf("render the message as a page: %w", err)
	}
	return b.String(), nil
}
