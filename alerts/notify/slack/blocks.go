package slack

import (
	"fmt"
	"strings"

	"github.com/midwatch/midwatch/alerts/notify"
)

// Slack's limits.
const (
	maxBlocks  = 50
	maxSection = 3000
	maxHeader  = 150
	maxFields  = 10
	maxField   = 2000
	maxButtons = 5
	maxButton  = 75
	maxText    = 3000
)

type message struct {
	Channel   string  `json:"channel,omitempty"`
	TS        string  `json:"ts,omitempty"`
	ThreadTS  string  `json:"thread_ts,omitempty"`
	Broadcast bool    `json:"reply_broadcast,omitempty"`
	Text      string  `json:"text,omitempty"` // what notifications show, and clients without blocks
	Blocks    []block `json:"blocks,omitempty"`
	Unfurl    *bool   `json:"unfurl_links,omitempty"`
}

type block struct {
	Type     string `json:"type"`
	Text     *text  `json:"text,omitempty"`
	Fields   []text `json:"fields,omitempty"`
	Elements []any  `json:"elements,omitempty"`
	ImageURL string `json:"image_url,omitempty"`
	AltText  string `json:"alt_text,omitempty"`
}

type text struct {
	Type string `json:"type"`
	Text string `json:"text"`
}

type button struct {
	Type     string `json:"type"`
	Text     text   `json:"text"`
	URL      string `json:"url"`
	ActionID string `json:"action_id"`
	Style    string `json:"style,omitempty"`
}

// full is the whole message in blocks.
func full(m notify.Message, mentioned string) message {
	heading := m.Heading()
	var named string
	if m.Loud {
		named = mention(mentioned)
	}
	blocks := []block{{Type: "header", Text: &text{Type: "plain_text", Text: notify.Clip(heading, maxHeader)}}}
	section := func(mrkdwn string) {
		if mrkdwn != "" {
			blocks = append(blocks, block{Type: "section", Text: &text{Type: "mrkdwn", Text: mrkdwn}})
		}
	}
	for _, s := range m.Sections {
		if s.Lead {
			section(named + lines("", s.Lines))
			named = ""
		}
	}
	section(strings.TrimSpace(named + escape(strings.Join(notify.Sentences(m), "\n"))))
	var fields []text
	for _, f := range m.Facts[:min(len(m.Facts), maxFields)] {
		fields = append(fields, text{Type: "mrkdwn", Text: clipped("*"+escape(f.Name)+"*\n"+escape(f.Value), maxField)})
	}
	if fields != nil {
		blocks = append(blocks, block{Type: "section", Fields: fields})
	}
	if m.Chart != nil {
		switch {
		case m.Chart.Image != "":
			blocks = append(blocks, block{Type: "image", ImageURL: m.Chart.Image, AltText: notify.Clip(m.Chart.Alt, 2000)})
		case m.Chart.Link != "":
			section(link(m.Chart.Alt, m.Chart.Link))
		default:
			section(escape(m.Chart.Alt))
		}
	}
	for _, s := range m.Sections {
		if !s.Lead {
			section(lines(s.Title, s.Lines))
		}
	}
	var do []string
	if m.FirstAction != "" {
		do = append(do, "*First:* "+escape(m.FirstAction))
	}
	if m.Runbook != "" {
		do = append(do, link("Runbook", m.Runbook))
	}
	section(strings.Join(do, "\n"))
	var links []string
	for _, l := range m.Links {
		links = append(links, link(l.Text, l.URL))
	}
	section(clipped(strings.Join(links, " · "), maxSection))
	if buttons := actions(m); buttons != nil {
		blocks = append(blocks[:min(len(blocks), maxBlocks-2)], block{Type: "actions", Elements: buttons})
	}
	blocks = append(blocks[:min(len(blocks), maxBlocks-1)], footer(m)...)
	no := false
	return message{Text: named + clipped(escape(heading), maxText), Blocks: blocks, Unfurl: &no}
}

// short is what a thread, or a channel that has seen the incident, still needs.
func short(m notify.Message) message {
	body := []string{"*" + escape(m.Heading()) + "*"}
	for _, sentence := range notify.Sentences(m) {
		body = append(body, escape(sentence))
	}
	for _, f := range m.Facts {
		body = append(body, escape(f.Name)+": "+escape(f.Value))
	}
	if m.URL != "" {
		body = append(body, link("Open the incident", m.URL))
	}
	no := false
	blocks := append([]block{{Type: "section", Text: &text{Type: "mrkdwn", Text: joined(body)}}}, footer(m)...)
	return message{Text: clipped(escape(m.Heading()), maxText), Blocks: blocks, Unfurl: &no}
}

// footer is at most one block: Slack refuses an empty one.
func footer(m notify.Message) []block {
	belongs := notify.Footer(m)
	if belongs == nil {
		return nil
	}
	return []block{{Type: "context", Elements: []any{text{Type: "mrkdwn", Text: clipped(escape(strings.Join(belongs, " · ")), maxField)}}}}
}

func actions(m notify.Message) []any {
	var elements []any
	buttons := m.Actions()
	for _, b := range buttons[:min(len(buttons), maxButtons)] {
		element := button{Type: "button", Text: text{Type: "plain_text", Text: notify.Clip(b.Text, maxButton)}, URL: b.URL, ActionID: b.ID}
		if b.ID == notify.ButtonAcknowledge {
			element.Style = "primary"
		}
		elements = append(elements, element)
	}
	return elements
}

func lines(title string, list []notify.Line) string {
	var out []string
	if title != "" {
		out = append(out, "*"+escape(title)+"*")
	}
	for _, l := range list {
		line := escape(l.Text)
		if l.Link != "" {
			line += " " + link("open", l.Link)
		}
		if title != "" {
			line = "• " + line
		}
		out = append(out, line)
	}
	return joined(out)
}

// joined are as many whole lines as fit a section, so that no link and no entity is cut.
func joined(list []string) string {
	var out strings.Builder
	for _, line := range list {
		if out.Len()+len(line)+1 > maxSection {
			break
		}
		if out.Len() > 0 {
			out.WriteByte('\n')
		}
		out.WriteString(line)
	}
	return out.String()
}

// clipped cuts escaped text, and an entity that the cut would leave open with it.
func clipped(s string, n int) string {
	if cut := notify.Clip(s, n); cut != s {
		cut = strings.TrimSuffix(cut, "…")
		if i := strings.LastIndexByte(cut, '&'); i >= 0 && !strings.Contains(cut[i:], ";") {
			cut = cut[:i]
		}
		if i := strings.LastIndexByte(cut, '<'); i >= 0 && !strings.Contains(cut[i:], ">") {
			cut = cut[:i]
		}
		return cut + "…"
	}
	return s
}

// emphasis gets a zero-width space after it, since Slack has no escape for its marks.
var escaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "*", "*\u200b", "`", "`\u200b", "~", "~\u200b")

// escape makes text of others harmless: no mention, no link, no emphasis.
func escape(s string) string { return escaper.Replace(s) }

func link(label, url string) string {
	// in a link the label ends at ">" and the address at "|".
	url = strings.NewReplacer("&", "&amp;", "<", "%3C", ">", "%3E", "|", "%7C").Replace(url)
	return fmt.Sprintf("<%s|%s>", url, strings.ReplaceAll(escape(label), "|", "¦"))
}

func mention(who string) string {
	switch {
	case who == "":
		return ""
	case who == "here", who == "channel":
		return "<!" + who + "> "
	case strings.HasPrefix(who, "S"):
		return "<!subteam^" + who + "> "
	}
	return "<@" + who + "> "
}
