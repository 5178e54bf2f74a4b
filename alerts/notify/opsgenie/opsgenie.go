// Package opsgenie tells Opsgenie by its alert API. Opsgenie is not sold any more and ends in April 2027; Jira
// Service Management keeps an API of the same shape, reached by another endpoint.
package opsgenie

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/midwatch/midwatch/alerts/notify"
)

// Description is for the form in which the receiver is configured.
const Description = "Opsgenie ends on 5 April 2027. Until then alerts are created, acknowledged and closed there; plan another receiver."

// Settings of an Opsgenie receiver.
type Settings struct {
	APIKey   string `json:"api_key"`
	Region   string `json:"region,omitempty"`   // us (default) or eu
	Endpoint string `json:"endpoint,omitempty"` // instead of the region's, for Jira Service Management
}

// Opsgenie tells one team's integration.
type Opsgenie struct {
	settings Settings
	client   notify.Client
}

var apiKey = regexp.MustCompile(`^[0-9A-Za-z-]{8,100}$`)

// New makes an Opsgenie receiver; the error tells the person who configures it what is wrong.
func New(settings Settings, client notify.Client) (*Opsgenie, error) {
	if !apiKey.MatchString(settings.APIKey) {
		return nil, errors.New("api_key: the key of an API integration")
	}
	switch settings.Region {
	case "", "us", "eu":
	default:
		return nil, fmt.Errorf("region: %q is neither us nor eu", settings.Region)
	}
	if settings.Endpoint == "" {
		settings.Endpoint = "https://api.opsgenie.com"
		if settings.Region == "eu" {
			settings.Endpoint = "https://api.eu.opsgenie.com"
		}
	}
	if err := notify.CheckAddress(settings.Endpoint); err != nil {
		return nil, fmt.Errorf("endpoint: %w", err)
	}
	return &Opsgenie{settings: settings, client: client}, nil
}

// Opsgenie's limits.
const (
	maxMessage     = 130
	maxAlias       = 512
	maxDescription = 15_000
	maxNote        = 25_000
	maxDetails     = 20
)

type alert struct {
	Message     string            `json:"message"`
	Alias       string            `json:"alias"`
	Description string            `json:"description,omitempty"`
	Details     map[string]string `json:"details,omitempty"`
	Entity      string            `json:"entity,omitempty"`
	Source      string            `json:"source,omitempty"`
	Tags        []string          `json:"tags,omitempty"`
	Priority    string            `json:"priority"`
}

type note struct {
	Source string `json:"source"`
	Note   string `json:"note"`
}

// Notify creates, notes on, acknowledges or closes the alert whose alias is the message's incident. A test is an alert
// that is closed at once.
func (o *Opsgenie) Notify(ctx context.Context, m notify.Message) (notify.Receipt, error) {
	alias := notify.Clip(m.ProviderKey(), maxAlias)
	on := "/v2/alerts/" + url.PathEscape(alias) + "/"
	said := note{Source: "Midwatch", Note: notify.Clip(notify.Text(m), maxNote)}
	var receipt notify.Receipt
	var err error
	switch m.Action {
	case notify.Resolve, notify.Close:
		receipt, err = o.call(ctx, on+"close?identifierType=alias", said)
	case notify.Acknowledge:
		receipt, err = o.call(ctx, on+"acknowledge?identifierType=alias", said)
	case notify.Update, notify.Reminder, notify.Comment:
		receipt, err = o.call(ctx, on+"notes?identifierType=alias", said)
	case notify.Test:
		if receipt, err = o.call(ctx, "/v2/alerts", create(m, alias)); err == nil {
			receipt, err = o.call(ctx, on+"close?identifierType=alias", said)
		}
	default:
		receipt, err = o.call(ctx, "/v2/alerts", create(m, alias))
	}
	if err == nil {
		receipt.Reference = alias
	}
	return receipt, err
}

func create(m notify.Message, alias string) alert {
	a := alert{
		Message: notify.Clip(m.Title, maxMessage), Alias: alias, Description: notify.Clip(notify.Text(m), maxDescription), Source: "Midwatch",
		Entity: notify.Clip(m.Labels["service"], 100), Tags: []string{"midwatch"}, Priority: "P5",
	}
	switch m.Severity {
	case notify.SeverityPage:
		a.Priority = "P1"
	case notify.SeverityTicket:
		a.Priority = "P3"
	}
	if m.Action == notify.Test || m.Action == notify.Notice || m.Action == notify.Digest {
		a.Priority = "P5"
	}
	for _, f := range m.Facts[:min(len(m.Facts), maxDetails)] {
		if a.Details == nil {
			a.Details = map[string]string{}
		}
		a.Details[f.Name] = f.Value
	}
	if m.URL != "" {
		if a.Details == nil {
			a.Details = map[string]string{}
		}
		a.Details["Midwatch"] = m.URL
	}
	for _, label := range []string{"environment", "area"} {
		if value := m.Labels[label]; value != "" {
			a.Tags = append(a.Tags, notify.Clip(value, 50))
		}
	}
	slices.Sort(a.Tags)
	return a
}

func (o *Opsgenie) call(ctx context.Context, path string, body any) (notify.Receipt, error) {
	encoded, err := json.Marshal(body)
	if err != nil {
		return notify.Receipt{}, &notify.PermanentError{Reason: "the body cannot be encoded: " + err.Error()}
	}
	header := http.Header{"Authorization": {"GenieKey " + o.settings.APIKey}}
	answer, err := o.client.Post(ctx, strings.TrimSuffix(o.settings.Endpoint, "/")+path, header, encoded)
	return answer.Receipt(), err
}
