// Package slack tells a Slack channel, through an incoming webhook or as a bot. A bot keeps one message an incident
// up to date and adds to its thread; a webhook can only post.
package slack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"github.com/midwatch/midwatch/alerts/notify"
)

// Settings of a Slack receiver: a webhook, or a bot's token with a channel.
type Settings struct {
	WebhookURL string `json:"webhook_url,omitempty"`
	Token      string `json:"token,omitempty"`   // xoxb-…
	Channel    string `json:"channel,omitempty"` // id (C…) or #name
	// Mention is who is named in messages with sound: "here", "channel" or the id of a user or group.
	Mention  string `json:"mention,omitempty"`
	Endpoint string `json:"endpoint,omitempty"` // of the Web API; Slack's if empty
}

// Slack tells one channel.
type Slack struct {
	settings Settings
	client   notify.Client
}

var mentionID = regexp.MustCompile(`^[UWS][A-Z0-9]{2,20}$`)

// New makes a Slack receiver; the error tells the person who configures it what is wrong.
func New(settings Settings, client notify.Client) (*Slack, error) {
	switch {
	case settings.WebhookURL == "" && settings.Token == "":
		return nil, errors.New("webhook_url or token: one of them is needed")
	case settings.WebhookURL != "" && settings.Token != "":
		return nil, errors.New("webhook_url and token: only one of them")
	case settings.WebhookURL != "":
		if err := notify.CheckAddress(settings.WebhookURL); err != nil {
			return nil, fmt.Errorf("webhook_url: %w", err)
		}
	case settings.Channel == "":
		return nil, errors.New("channel: a bot needs one")
	case strings.ContainsAny(settings.Token, " \r\n\t"):
		return nil, errors.New("token: it must not hold spaces")
	}
	if m := settings.Mention; m != "" && m != "here" && m != "channel" && !mentionID.MatchString(m) {
		return nil, errors.New(`mention: "here", "channel" or the id of a user or group`)
	}
	if settings.Endpoint == "" {
		settings.Endpoint = "https://slack.com/api"
	}
	if err := notify.CheckAddress(settings.Endpoint); err != nil {
		return nil, fmt.Errorf("endpoint: %w", err)
	}
	return &Slack{settings: settings, client: client}, nil
}

// Notify posts the message; as a bot it edits the incident's first message and answers in its thread.
func (s *Slack) Notify(ctx context.Context, m notify.Message) (notify.Receipt, error) {
	if s.settings.WebhookURL != "" {
		body := full(m, s.settings.Mention)
		if m.Action.Ends() {
			body = short(m)
		}
		return s.hook(ctx, body)
	}
	channel, ts, threaded := strings.Cut(m.Reference, ":")
	if !threaded {
		first := full(m, s.settings.Mention)
		first.Channel = s.settings.Channel
		return s.call(ctx, "chat.postMessage", first)
	}
	// edit first: if the reply fails, another attempt edits the same once more, which nobody sees.
	edited := full(m, "")
	edited.Channel, edited.TS = channel, ts
	if receipt, err := s.call(ctx, "chat.update", edited); err != nil && !gone(err) {
		return receipt, err
	}
	reply := short(m)
	reply.Channel, reply.ThreadTS = channel, ts
	if m.Loud {
		reply.Text = mention(s.settings.Mention) + reply.Text
		reply.Broadcast = true
	}
	receipt, err := s.call(ctx, "chat.postMessage", reply)
	receipt.Reference = m.Reference
	return receipt, err
}

// Check asks Slack who the bot is. A webhook cannot be asked silently: an empty message is refused by a working one
// with "no_text" or "invalid_payload", by one that is gone with another word.
func (s *Slack) Check(ctx context.Context) (notify.Receipt, error) {
	if s.settings.Token != "" {
		return s.call(ctx, "auth.test", message{})
	}
	answer, err := s.client.Post(ctx, s.settings.WebhookURL, nil, []byte(`{}`))
	receipt := answer.Receipt()
	if word := strings.TrimSpace(string(answer.Body)); answer.Code == http.StatusBadRequest && (word == "no_text" || word == "invalid_payload") {
		return receipt, nil
	}
	return receipt, err
}

func (s *Slack) hook(ctx context.Context, body message) (notify.Receipt, error) {
	encoded, err := json.Marshal(body)
	if err != nil {
		return notify.Receipt{}, &notify.PermanentError{Reason: "the body cannot be encoded: " + err.Error()}
	}
	answer, err := s.client.Post(ctx, s.settings.WebhookURL, nil, encoded)
	return answer.Receipt(), err
}

// call is one of the Web API, which answers 200 to nearly everything and says in the body how it went.
func (s *Slack) call(ctx context.Context, method string, body message) (notify.Receipt, error) {
	encoded, err := json.Marshal(body)
	if err != nil {
		return notify.Receipt{}, &notify.PermanentError{Reason: "the body cannot be encoded: " + err.Error()}
	}
	header := http.Header{"Authorization": {"Bearer " + s.settings.Token}, "Content-Type": {"application/json; charset=utf-8"}}
	answer, err := s.client.Post(ctx, strings.TrimSuffix(s.settings.Endpoint, "/")+"/"+method, header, encoded)
	receipt := answer.Receipt()
	if err != nil {
		return receipt, err
	}
	var said struct {
		OK      bool   `json:"ok"`
		Error   string `json:"error"`
		Channel string `json:"channel"`
		TS      string `json:"ts"`
	}
	if err := json.Unmarshal(answer.Body, &said); err != nil {
		return receipt, &notify.RetryError{Code: answer.Code, Reason: "the answer is not Slack's", Err: err}
	}
	if said.OK {
		if said.Channel != "" && said.TS != "" {
			receipt.Reference = said.Channel + ":" + said.TS
		}
		return receipt, nil
	}
	reason := "Slack answered " + notify.Clip(said.Error, 100)
	switch said.Error {
	case "ratelimited", "rate_limited", "internal_error", "fatal_error", "request_timeout", "service_unavailable", "team_added_to_org", "":
		return receipt, &notify.RetryError{Code: answer.Code, After: answer.After, Reason: reason}
	case "msg_too_long", "msg_blocks_too_long", "invalid_blocks", "invalid_blocks_format", "no_text",
		"message_not_found", "cant_update_message", "edit_window_closed", "thread_not_found":
		return receipt, &refusal{PermanentError: notify.PermanentError{Code: answer.Code, Reason: reason}, word: said.Error}
	}
	return receipt, &notify.PermanentError{Code: answer.Code, Broken: true, Reason: reason}
}

// refusal is a permanent error that is about the message, not about the receiver.
type refusal struct {
	notify.PermanentError
	word string
}

func (r *refusal) Unwrap() error { return &r.PermanentError }

// gone reports that the message to edit is no more: the thread goes on without it.
func gone(err error) bool {
	var r *refusal
	return errors.As(err, &r) && (r.word == "message_not_found" || r.word == "cant_update_message" || r.word == "edit_window_closed")
}
