// Package webhook tells any HTTP endpoint, as Standard Webhooks describes it (standardwebhooks.com), with a body of
// our own or that of Alertmanager's webhook.
package webhook

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/midwatch/midwatch/alerts/notify"
)

// The bodies that a webhook can send.
const (
	BodyMidwatch     = "midwatch"
	BodyAlertmanager = "alertmanager"
)

// Settings of a webhook.
type Settings struct {
	URL string `json:"url"`
	// Secrets sign each call: "whsec_" and base64 of 24 to 64 bytes. While one is being replaced there are two, and
	// two signatures. Without any the calls are not signed.
	Secrets       []string `json:"secrets,omitempty"`
	Authorization string   `json:"authorization,omitempty"` // the whole header
	Body          string   `json:"body,omitempty"`          // midwatch (default) or alertmanager
	// RunsAt is where Midwatch's pages are; alertmanager bodies name it. Not a setting of the user.
	RunsAt string `json:"-"`
	Name   string `json:"-"` // of the receiver
}

// Webhook tells one endpoint.
type Webhook struct {
	settings Settings
	keys     [][]byte
	client   notify.Client
}

const maxSecrets = 4

// New makes a webhook; the error tells the person who configures it what is wrong.
func New(settings Settings, client notify.Client) (*Webhook, error) {
	if err := notify.CheckAddress(settings.URL); err != nil {
		return nil, fmt.Errorf("url: %w", err)
	}
	switch settings.Body {
	case "":
		settings.Body = BodyMidwatch
	case BodyMidwatch, BodyAlertmanager:
	default:
		return nil, fmt.Errorf("body: %q is neither midwatch nor alertmanager", settings.Body)
	}
	if len(settings.Secrets) > maxSecrets {
		return nil, fmt.Errorf("secrets: at most %d", maxSecrets)
	}
	if strings.ContainsAny(settings.Authorization, "\r\n\x00") {
		return nil, errors.New("authorization: it must be one line")
	}
	w := &Webhook{settings: settings, client: client}
	for _, secret := range settings.Secrets {
		encoded, ok := strings.CutPrefix(secret, "whsec_")
		key, err := base64.StdEncoding.DecodeString(encoded)
		if !ok || err != nil || len(key) < 24 || len(key) > 64 {
			return nil, errors.New(`secrets: each is "whsec_" and base64 of 24 to 64 bytes`)
		}
		w.keys = append(w.keys, key)
	}
	return w, nil
}

// Notify posts the message.
func (w *Webhook) Notify(ctx context.Context, m notify.Message) (notify.Receipt, error) {
	var body any = ours(m)
	if w.settings.Body == BodyAlertmanager {
		body = alertmanager(m, w.settings)
	}
	return w.post(ctx, m.Key, body)
}

// Check posts a ping: an event without data that receivers ignore.
func (w *Webhook) Check(ctx context.Context) (notify.Receipt, error) {
	now := w.client.Now()
	if w.settings.Body == BodyAlertmanager {
		// a group without alerts is the quietest thing that Alertmanager's body can say.
		return w.post(ctx, "ping:"+strconv.FormatInt(now.Unix(), 10), empty(w.settings))
	}
	return w.post(ctx, "ping:"+strconv.FormatInt(now.Unix(), 10), event{Type: "ping", Timestamp: now.UTC(), Data: struct{}{}})
}

func (w *Webhook) post(ctx context.Context, id string, body any) (notify.Receipt, error) {
	encoded, err := json.Marshal(body)
	if err != nil {
		return notify.Receipt{}, &notify.PermanentError{Reason: "the body cannot be encoded: " + err.Error()}
	}
	header := http.Header{"Idempotency-Key": {id}, "Content-Type": {"application/json"}}
	if w.settings.Authorization != "" {
		header.Set("Authorization", w.settings.Authorization)
	}
	at := strconv.FormatInt(w.client.Now().Unix(), 10)
	header.Set("Webhook-Id", id)
	header.Set("Webhook-Timestamp", at)
	var signatures []string
	for _, key := range w.keys {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(id + "." + at + "."))
		mac.Write(encoded)
		signatures = append(signatures, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	if signatures != nil {
		header.Set("Webhook-Signature", strings.Join(signatures, " "))
	}
	answer, err := w.client.Post(ctx, w.settings.URL, header, encoded)
	return answer.Receipt(), err
}

// event is the envelope of Standard Webhooks.
type event struct {
	Type      string    `json:"type"`
	Timestamp time.Time `json:"timestamp"`
	Data      any       `json:"data"`
}

// data is the message without what only pages need; it is part of the public API.
type data struct {
	Key          string            `json:"key"`
	Incident     string            `json:"incident,omitempty"`
	Sequence     int               `json:"sequence"`
	Action       notify.Action     `json:"action"`
	Severity     string            `json:"severity"`
	Organisation string            `json:"organisation,omitempty"`
	Project      string            `json:"project,omitempty"`
	Number       uint32            `json:"project_number,omitempty"`
	Team         string            `json:"team,omitempty"`
	Title        string            `json:"title"`
	Since        time.Time         `json:"since,omitzero"`
	Ended        time.Time         `json:"ended,omitzero"`
	Outcome      string            `json:"outcome,omitempty"`
	Due          time.Time         `json:"due,omitzero"`
	Late         string            `json:"late,omitempty"`
	Facts        []notify.Fact     `json:"facts,omitempty"`
	Sections     []notify.Section  `json:"sections,omitempty"`
	FirstAction  string            `json:"first_action,omitempty"`
	Runbook      string            `json:"runbook,omitempty"`
	Links        []notify.Link     `json:"links,omitempty"`
	Told         []string          `json:"told,omitempty"`
	Next         string            `json:"next,omitempty"`
	Rule         notify.RuleRef    `json:"rule,omitzero"`
	Labels       map[string]string `json:"labels,omitempty"`
	Instances    []notify.Instance `json:"instances,omitempty"`
	URL          string            `json:"url,omitempty"`
}

// maxBody keeps calls under the 20 kB that Standard Webhooks advises.
const maxBody = 20_000

func ours(m notify.Message) event {
	d := data{
		Key: m.Key, Incident: m.Incident, Sequence: m.Seq, Action: m.Action, Severity: m.Severity,
		Organisation: m.Organisation, Project: m.Project, Number: m.ProjectNumber, Team: m.Team, Title: m.Title,
		Since: m.Since.UTC(), Ended: m.Ended.UTC(), Outcome: m.Outcome, Due: m.Due.UTC(), Late: m.Late, Facts: m.Facts,
		Sections: m.Sections, FirstAction: m.FirstAction, Runbook: m.Runbook, Links: m.Links, Told: m.Told, Next: m.Next,
		Rule: m.Rule, Labels: m.Labels, Instances: m.Instances, URL: m.URL,
	}
	e := event{Type: kind(m.Action), Timestamp: m.At.UTC(), Data: &d}
	// what a reader finds on the incident's page goes first.
	for _, drop := range []func(){
		func() { d.Instances = d.Instances[:min(len(d.Instances), 10)] },
		func() { d.Sections, d.Links = nil, nil },
		func() { d.Instances, d.Facts, d.Told = nil, nil, nil },
		func() { d.Labels = nil },
	} {
		if encoded, err := json.Marshal(e); err == nil && len(encoded) <= maxBody {
			break
		}
		drop()
	}
	return e
}

// kind is the event's type: "incident.trigger"; what belongs to no incident is "digest", "notice", "test".
func kind(a notify.Action) string {
	switch a {
	case notify.Digest, notify.Notice, notify.Test:
		return string(a)
	}
	return "incident." + string(a)
}
