// Package telegram tells a Telegram chat as a bot.
package telegram

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"

	"github.com/midwatch/midwatch/alerts/notify"
)

// Settings of a Telegram receiver.
type Settings struct {
	Token    string `json:"token"`              // of the bot: 123456:ABC…
	ChatID   string `json:"chat_id"`            // a number, or @channel
	Endpoint string `json:"endpoint,omitempty"` // of the Bot API; Telegram's if empty
}

// Telegram tells one chat.
type Telegram struct {
	settings Settings
	client   notify.Client
}

var (
	token = regexp.MustCompile(`^[0-9]{3,20}:[0-9A-Za-z_-]{10,100}$`)
	chat  = regexp.MustCompile(`^(-?[0-9]{1,20}|@[0-9A-Za-z_]{3,64})$`)
)

// New makes a Telegram receiver; the error tells the person who configures it what is wrong.
func New(settings Settings, client notify.Client) (*Telegram, error) {
	if !token.MatchString(settings.Token) {
		return nil, errors.New("token: it looks like 123456:ABC…, as BotFather gave it")
	}
	if !chat.MatchString(settings.ChatID) {
		return nil, errors.New("chat_id: a number or @channel")
	}
	if settings.Endpoint == "" {
		settings.Endpoint = "https://api.telegram.org"
	}
	if err := notify.CheckAddress(settings.Endpoint); err != nil {
		return nil, fmt.Errorf("endpoint: %w", err)
	}
	return &Telegram{settings: settings, client: client}, nil
}

type message struct {
	ChatID    string    `json:"chat_id"`
	Text      string    `json:"text"`
	ParseMode string    `json:"parse_mode"`
	Quiet     bool      `json:"disable_notification,omitempty"`
	Preview   preview   `json:"link_preview_options"`
	Reply     *reply    `json:"reply_parameters,omitempty"`
	Keyboard  *keyboard `json:"reply_markup,omitempty"`
}

type preview struct {
	Disabled bool `json:"is_disabled"`
}

type reply struct {
	MessageID int64 `json:"message_id"`
	Anyway    bool  `json:"allow_sending_without_reply"`
}

type keyboard struct {
	Rows [][]button `json:"inline_keyboard"`
}

type button struct {
	Text string `json:"text"`
	URL  string `json:"url"`
}

// Notify sends the message, as a reply to the incident's first one.
func (t *Telegram) Notify(ctx context.Context, m notify.Message) (notify.Receipt, error) {
	body := message{ChatID: t.settings.ChatID, Text: text(m), ParseMode: "HTML", Quiet: !m.Loud, Preview: preview{Disabled: true}, Keyboard: buttons(m)}
	if id, err := strconv.ParseInt(m.Reference, 10, 64); err == nil && id > 0 {
		body.Reply = &reply{MessageID: id, Anyway: true}
	}
	said, receipt, err := t.call(ctx, "sendMessage", body)
	if err == nil {
		receipt.Reference = m.Reference
		if body.Reply == nil && said.Result.MessageID > 0 {
			receipt.Reference = strconv.FormatInt(said.Result.MessageID, 10)
		}
	}
	return receipt, err
}

// Check asks for the chat, which also finds out whether the bot is still in it.
func (t *Telegram) Check(ctx context.Context) (notify.Receipt, error) {
	_, receipt, err := t.call(ctx, "getChat", map[string]string{"chat_id": t.settings.ChatID})
	return receipt, err
}

type answer struct {
	OK          bool   `json:"ok"`
	Description string `json:"description"`
	Result      struct {
		MessageID int64 `json:"message_id"`
	} `json:"result"`
	Parameters struct {
		RetryAfter int64 `json:"retry_after"`
		MigrateTo  int64 `json:"migrate_to_chat_id"`
	} `json:"parameters"`
}

func (t *Telegram) call(ctx context.Context, method string, body any) (answer, notify.Receipt, error) {
	encoded, err := json.Marshal(body)
	if err != nil {
		return answer{}, notify.Receipt{}, &notify.PermanentError{Reason: "the body cannot be encoded: " + err.Error()}
	}
	got, err := t.client.Post(ctx, strings.TrimSuffix(t.settings.Endpoint, "/")+"/bot"+t.settings.Token+"/"+method, nil, encoded)
	receipt := got.Receipt()
	var said answer
	parsed := json.Unmarshal(got.Body, &said)
	var retry *notify.RetryError
	switch {
	case said.Parameters.MigrateTo != 0:
		// the group became a supergroup with another id: its owner has to say so.
		reason := fmt.Sprintf("the group has moved: its chat_id is now %d", said.Parameters.MigrateTo)
		return said, receipt, &notify.PermanentError{Code: got.Code, Broken: true, Reason: reason}
	case errors.As(err, &retry) && got.Code == http.StatusTooManyRequests && said.Parameters.RetryAfter > 0:
		after := time.Duration(min(said.Parameters.RetryAfter, 86400)) * time.Second
		return said, receipt, notify.Failure(got.Code, after, retry.Reason)
	case err != nil:
		return said, receipt, err
	case parsed != nil:
		return said, receipt, &notify.RetryError{Code: got.Code, Reason: "the answer is not Telegram's", Err: parsed}
	case !said.OK:
		return said, receipt, &notify.PermanentError{Code: got.Code, Reason: "Telegram answered: " + notify.Clip(said.Description, 200)}
	}
	return said, receipt, nil
}

const (
	maxText   = 4096 // UTF-16 units, counted with the tags to be safe
	maxButton = 60
)

// text is as many whole lines as fit: no tag and no entity is ever cut.
func text(m notify.Message) string {
	var lines []string
	add := func(line string) { lines = append(lines, line) }
	add("<b>" + html.EscapeString(m.Heading()) + "</b>")
	sections := func(lead bool) {
		for _, s := range m.Sections {
			if s.Lead != lead {
				continue
			}
			if !lead {
				add("\n<b>" + html.EscapeString(s.Title) + "</b>")
			}
			for _, l := range s.Lines {
				line := html.EscapeString(l.Text)
				if l.Link != "" {
					line += ` <a href="` + html.EscapeString(l.Link) + `">open</a>`
				}
				add(line)
			}
		}
	}
	sections(true)
	for _, s := range notify.Sentences(m) {
		add("<i>" + html.EscapeString(s) + "</i>")
	}
	if len(m.Facts) > 0 {
		add("")
	}
	for _, f := range m.Facts {
		add(html.EscapeString(f.Name) + ": <b>" + html.EscapeString(f.Value) + "</b>")
	}
	if c := m.Chart; c != nil && c.Link != "" {
		add(`<a href="` + html.EscapeString(c.Link) + `">` + html.EscapeString(c.Alt) + `</a>`)
	}
	if m.FirstAction != "" {
		add("\n<b>Do first:</b> " + html.EscapeString(m.FirstAction))
	}
	if m.Runbook != "" {
		add(`<a href="` + html.EscapeString(m.Runbook) + `">Runbook</a>`)
	}
	sections(false)
	add("")
	for _, l := range m.Links {
		add(`<a href="` + html.EscapeString(l.URL) + `">` + html.EscapeString(l.Text) + `</a>`)
	}
	for _, line := range notify.Footer(m) {
		add(html.EscapeString(line))
	}
	var out strings.Builder
	room := maxText
	for _, line := range lines {
		if room -= len(utf16.Encode([]rune(line))) + 1; room < 0 {
			break
		}
		out.WriteString(line + "\n")
	}
	return strings.TrimSpace(out.String())
}

func buttons(m notify.Message) *keyboard {
	var rows [][]button
	for _, b := range m.Actions() {
		// Telegram refuses the whole message for a button that leads to "localhost" or a name without a dot.
		if u, err := url.Parse(b.URL); err != nil || !strings.Contains(u.Hostname(), ".") {
			continue
		}
		one := button{Text: notify.Clip(b.Text, maxButton), URL: b.URL}
		if len(rows) < 2 || len(rows[len(rows)-1]) == 2 { // the first has a row of its own
			rows = append(rows, nil)
		}
		rows[len(rows)-1] = append(rows[len(rows)-1], one)
	}
	if rows == nil {
		return nil
	}
	return &keyboard{Rows: rows}
}
