// Package discord tells a Discord channel through its webhook.
package discord

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/midwatch/midwatch/alerts/notify"
)

// Settings of a Discord receiver.
type Settings struct {
	WebhookURL string `json:"webhook_url"`
	Mention    string `json:"mention,omitempty"` // in messages with sound: "here", "everyone" or the id of a role
}

// Discord tells one channel.
type Discord struct {
	address string
	mention string
	client  notify.Client
}

var role = regexp.MustCompile(`^[0-9]{5,20}$`)

// New makes a Discord receiver; the error tells the person who configures it what is wrong.
func New(settings Settings, client notify.Client) (*Discord, error) {
	if err := notify.CheckAddress(settings.WebhookURL); err != nil {
		return nil, fmt.Errorf("webhook_url: %w", err)
	}
	u, err := url.Parse(settings.WebhookURL)
	if err != nil {
		return nil, errors.New("webhook_url: it is not an address")
	}
	query := u.Query()
	query.Set("wait", "true") // answer after the message is kept, with its id
	u.RawQuery = query.Encode()
	if m := settings.Mention; m != "" && m != "here" && m != "everyone" && !role.MatchString(m) {
		return nil, errors.New(`mention: "here", "everyone" or the id of a role`)
	}
	return &Discord{address: u.String(), mention: settings.Mention, client: client}, nil
}

// Discord's limits, in characters.
const (
	maxContent     = 2000
	maxTitle       = 256
	maxDescription = 4096
	maxFields      = 25
	maxName        = 256
	maxValue       = 1024
	maxFooter      = 2048
	maxTotal       = 6000 // of an embed
)

type message struct {
	Content  string   `json:"content,omitempty"`
	Embeds   []embed  `json:"embeds"`
	Mentions mentions `json:"allowed_mentions"`
	Flags    int      `json:"flags,omitempty"`
}

type mentions struct {
	Parse []string `json:"parse"`
	Roles []string `json:"roles,omitempty"`
}

type embed struct {
	Title       string   `json:"title"`
	URL         string   `json:"url,omitempty"`
	Description string   `json:"description,omitempty"`
	Timestamp   string   `json:"timestamp"`
	Color       int      `json:"color"`
	Fields      []field  `json:"fields,omitempty"`
	Image       *picture `json:"image,omitempty"`
	Footer      *footer  `json:"footer,omitempty"`
}

type field struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Inline bool   `json:"inline,omitempty"`
}

type picture struct {
	URL string `json:"url"`
}

type footer struct {
	Text string `json:"text"`
}

// silent is Discord's SUPPRESS_NOTIFICATIONS.
const silent = 1 << 12

// Notify posts the message, its chart attached.
func (d *Discord) Notify(ctx context.Context, m notify.Message) (notify.Receipt, error) {
	body, err := json.Marshal(compose(m, d.mention))
	if err != nil {
		return notify.Receipt{}, &notify.PermanentError{Reason: "the body cannot be encoded: " + err.Error()}
	}
	var header http.Header
	if m.Chart != nil && len(m.Chart.PNG) > 0 {
		if body, header, err = withPicture(body, m.Chart.PNG); err != nil {
			return notify.Receipt{}, &notify.PermanentError{Reason: "the body cannot be encoded: " + err.Error()}
		}
	}
	answer, err := d.client.Post(ctx, d.address, header, body)
	receipt := answer.Receipt()
	var said struct {
		ID    string  `json:"id"`
		After float64 `json:"retry_after"`
	}
	// an answer that is not JSON has no id and does not say how long to wait: nothing else follows from it.
	_ = json.Unmarshal(answer.Body, &said)
	var retry *notify.RetryError
	if errors.As(err, &retry) && answer.Code == http.StatusTooManyRequests && said.After > 0 {
		return receipt, notify.Failure(answer.Code, time.Duration(min(said.After, 86400)*float64(time.Second)), retry.Reason)
	}
	if err == nil {
		receipt.Reference = said.ID
	}
	return receipt, err
}

// Check asks for the webhook itself, which posts nothing.
func (d *Discord) Check(ctx context.Context) (notify.Receipt, error) {
	answer, err := d.client.Do(ctx, http.MethodGet, d.address, nil, nil)
	// the answer holds the webhook's token: nothing of it is kept.
	return notify.Receipt{Code: answer.Code}, err
}

func withPicture(body, png []byte) ([]byte, http.Header, error) {
	var b bytes.Buffer
	form := multipart.NewWriter(&b)
	part, err := form.CreatePart(textproto.MIMEHeader{"Content-Disposition": {`form-data; name="payload_json"`}, "Content-Type": {"application/json"}})
	if err != nil {
		return nil, nil, fmt.Errorf("begin the message: %w", err)
	}
	if _, err := part.Write(body); err != nil {
		return nil, nil, fmt.Errorf("write the message: %w", err)
	}
	part, err = form.CreatePart(textproto.MIMEHeader{"Content-Disposition": {`form-data; name="files[0]"; filename="chart.png"`}, "Content-Type": {"image/png"}})
	if err != nil {
		return nil, nil, fmt.Errorf("begin the chart: %w", err)
	}
	if _, err := part.Write(png); err != nil {
		return nil, nil, fmt.Errorf("write the chart: %w", err)
	}
	if err := form.Close(); err != nil {
		return nil, nil, fmt.Errorf("end the form: %w", err)
	}
	return b.Bytes(), http.Header{"Content-Type": {form.FormDataContentType()}}, nil
}

func compose(m notify.Message, mention string) message {
	out := message{Mentions: mentions{Parse: []string{}}}
	switch {
	case !m.Loud:
		out.Flags = silent
	case mention == "here", mention == "everyone":
		out.Content, out.Mentions.Parse = "@"+mention, []string{"everyone"}
	case mention != "":
		out.Content, out.Mentions.Roles = "<@&"+mention+">", []string{mention}
	}
	out.Content = notify.Clip(strings.TrimSpace(out.Content+" "+escape(m.Heading())), maxContent)
	e := embed{Title: notify.Clip(escape(m.Heading()), maxTitle), URL: m.URL, Timestamp: m.At.UTC().Format(time.RFC3339), Color: color(m)}
	if belongs := strings.Join(notify.Footer(m), " · "); belongs != "" {
		e.Footer = &footer{Text: notify.Clip(belongs, maxFooter/2)}
	}
	var about []string
	for _, s := range m.Sections {
		if s.Lead {
			about = append(about, lines(s.Lines)...)
		}
	}
	for _, s := range notify.Sentences(m) {
		about = append(about, escape(s))
	}
	if m.FirstAction != "" {
		about = append(about, "**Do first:** "+escape(m.FirstAction))
	}
	var links []string
	for _, b := range m.Actions() {
		links = append(links, link(b.Text, b.URL))
	}
	if m.Runbook != "" {
		links = append(links, link("Runbook", m.Runbook))
	}
	for _, l := range m.Links {
		links = append(links, link(l.Text, l.URL))
	}
	// links are whole or absent; what is read most comes first.
	room := maxDescription
	e.Description = joined(about, "\n", &room)
	room -= 2
	if list := joined(links, " · ", &room); list != "" {
		e.Description = strings.TrimSpace(e.Description + "\n\n" + list)
	}
	total := length(e.Title) + length(e.Description)
	if e.Footer != nil {
		total += length(e.Footer.Text)
	}
	add := func(f field) {
		if n := length(f.Name) + length(f.Value); len(e.Fields) < maxFields && total+n <= maxTotal && f.Name != "" && f.Value != "" {
			total += n
			e.Fields = append(e.Fields, f)
		}
	}
	for _, f := range m.Facts {
		add(field{Name: notify.Clip(escape(f.Name), maxName), Value: notify.Clip(escape(f.Value), maxValue), Inline: true})
	}
	for _, s := range m.Sections {
		if !s.Lead {
			room := maxValue
			add(field{Name: notify.Clip(escape(s.Title), maxName), Value: joined(lines(s.Lines), "\n", &room)})
		}
	}
	if m.Chart != nil {
		switch {
		case len(m.Chart.PNG) > 0:
			e.Image = &picture{URL: "attachment://chart.png"}
		case m.Chart.Image != "":
			e.Image = &picture{URL: m.Chart.Image}
		}
	}
	out.Embeds = []embed{e}
	return out
}

func lines(list []notify.Line) []string {
	var out []string
	for _, l := range list {
		line := escape(l.Text)
		if l.Link != "" {
			line += " " + link("open", l.Link)
		}
		out = append(out, line)
	}
	return out
}

// joined takes whole lines while there is room, which it takes up.
func joined(list []string, separator string, room *int) string {
	var out []string
	for _, line := range list {
		n := length(line) + length(separator)
		if n > *room {
			break
		}
		*room -= n
		out = append(out, line)
	}
	return strings.Join(out, separator)
}

func length(s string) int { return len([]rune(s)) }

var escaper = strings.NewReplacer(`\`, `\\`, "*", `\*`, "_", `\_`, "~", `\~`, "`", "\\`", "|", `\|`, ">", `\>`, "<", `\<`, "[", `\[`, "]", `\]`, "#", `\#`, "@", "@\u200b")

// escape takes the meaning from Discord's Markdown.
func escape(s string) string { return escaper.Replace(s) }

func link(label, url string) string {
	return "[" + escape(label) + "](" + strings.NewReplacer("(", "%28", ")", "%29", " ", "%20").Replace(url) + ")"
}

func color(m notify.Message) int {
	switch {
	case m.Action.Ends():
		return 0x2e9e63
	case m.Action == notify.Digest || m.Action == notify.Notice || m.Action == notify.Test:
		return 0x5a7699
	case m.Severity == notify.SeverityPage:
		return 0xc8362b
	case m.Severity == notify.SeverityTicket:
		return 0xd9961a
	}
	return 0x5a7699
}
